/* The pool that connections run on, and the authorities they share. */
#include <stdlib.h>
#include <string.h>

#include "updater/carrier/http_pool_state.h"

static CURLcode on_tls(CURL *easy, void *ssl_ctx, void *arg)
{
	struct http_pool *pool = arg;

	(void)easy;
	return http_trust_give(pool->trust, ssl_ctx) ? CURLE_OK : CURLE_SSL_CACERT_BADFILE;
}

/* Shared by all connections where libcurl has its TLS of OpenSSL, else a copy of libcurl's in each. */
bool http_pool_set_trust(struct http_pool *pool, CURL *easy)
{
	struct bytes pem = pool->trust ? http_trust_first(pool->trust) : pool->ca;
	struct curl_blob blob = {pem.data, pem.len, CURL_BLOB_NOCOPY};

	if (pool->trust && (curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls) != CURLE_OK ||
				   curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, pool) != CURLE_OK))
		return false;
	return blob.len == 0 || curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob) == CURLE_OK;
}

/* Where the system's authorities are, as libcurl knows it. */
static void default_trust(CURL *easy, const char **ret_file, const char **ret_directory)
{
#if LIBCURL_VERSION_NUM >= 0x075400
	if (curl_easy_getinfo(easy, CURLINFO_CAINFO, ret_file) != CURLE_OK)
		*ret_file = NULL;
	if (curl_easy_getinfo(easy, CURLINFO_CAPATH, ret_directory) != CURLE_OK)
		*ret_directory = NULL;
#else
	(void)easy, (void)ret_file, (void)ret_directory;
#endif
}

/* Best effort: what fails here is tried by libcurl in its own way, which says what is wrong. */
static void share_trust(struct http_pool *pool)
{
	const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);
	const char *file = NULL;
	const char *directory = NULL;
	CURL *easy;
	struct err ignored; /* see above */

	if (!version->ssl_version || strncmp(version->ssl_version, "OpenSSL/", 8) != 0)
		return;
	easy = curl_easy_init();
	if (!easy)
		return;
	default_trust(easy, &file, &directory);
	if (pool->ca.len > 0 || file)
		(void)http_trust_new(&pool->ca, file, directory, &pool->trust, &ignored);
	curl_easy_cleanup(easy);
}

int http_pool_new(const struct bytes *ca, struct http_pool **ret, struct err *err)
{
	void *p = NULL;
	struct http_pool *pool;

	if (mem_alloc(sizeof(*pool), &p, err) < 0)
		return -1;
	pool = p;
	pool->multi = curl_multi_init();
	if (!pool->multi) {
		free(pool);
		return err_memory(err);
	}
	pool->ca = *ca;
	share_trust(pool);
	*ret = pool;
	return 0;
}

void http_pool_free(struct http_pool **pool)
{
	struct http_pool *taken = steal_ptr(pool);

	if (!taken)
		return;
	(void)curl_multi_cleanup(taken->multi); /* it is empty */
	http_trust_free(&taken->trust);
	free(taken);
}
