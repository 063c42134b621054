#include "updater/carrier/http_trust.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "updater/fs.h"

#define PEM_END "-----END CERTIFICATE-----"

struct http_trust {
	struct bytes own; /* what was read from a file */
	struct bytes pem; /* that, or the caller's */
	size_t first; /* length of the part that ends with the first certificate */
	char *directory; /* or NULL */
	X509_STORE *store; /* once it was needed */
};

/* If there is no end of one, all of it. */
static size_t first_certificate(const struct bytes *pem)
{
	const uint8_t *end =
		pem->len ? memmem(pem->data, pem->len, PEM_END, strlen(PEM_END)) : NULL;

	return end ? (size_t)(end - pem->data) + strlen(PEM_END) : pem->len;
}

int http_trust_new(const struct bytes *pem, const char *file, const char *directory,
	struct http_trust **ret, struct err *err)
{
	CLEANUP(http_trust_free) struct http_trust *trust = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*trust), &p, err) < 0)
		return -1;
	trust = p;
	trust->pem = *pem;
	if (pem->len == 0) {
		if (fs_read_file(file, HTTP_TRUST_MAX, &trust->own, err) < 0)
			return -1;
		trust->pem = trust->own;
		if (directory && mem_strdup(directory, &trust->directory, err) < 0)
			return -1;
	}
	trust->first = first_certificate(&trust->pem);
	*ret = steal_ptr(&trust);
	return 0;
}

void http_trust_free(struct http_trust **trust)
{
	struct http_trust *taken = steal_ptr(trust);

	if (!taken)
		return;
	X509_STORE_free(taken->store);
	bytes_finish(&taken->own);
	free(taken->directory);
	free(taken);
}

struct bytes http_trust_first(const struct http_trust *trust)
{
	return (struct bytes){.data = trust->pem.data, .len = trust->first};
}

/* One after the other: what a parser of all of them leaves behind is megabytes. */
static bool add_all(X509_STORE *store, const struct bytes *pem)
{
	BIO *bio = BIO_new_mem_buf(pem->data, (int)pem->len);
	size_t count = 0;
	X509 *certificate;
	bool good = bio != NULL;

	while (good && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		good = X509_STORE_add_cert(store, certificate) == 1;
		X509_free(certificate);
		count++;
	}
	/* It ends with the error that there is no more. */
	good = good && count > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	ERR_clear_error();
	BIO_free(bio);
	return good;
}

static X509_STORE *parse(const struct http_trust *trust)
{
	X509_STORE *store = X509_STORE_new();

	/* As libcurl has it: the shortest way to an authority that is trusted, which need not be a
	 * root. */
	if (store &&
		X509_STORE_set_flags(
			store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
		add_all(store, &trust->pem)) {
		/* A directory that is not there has none. */
		if (trust->directory)
			(void)X509_STORE_load_path(store, trust->directory);
		return store;
	}
	X509_STORE_free(store);
	return NULL;
}

bool http_trust_give(struct http_trust *trust, void *ssl_ctx)
{
	if (!trust->store)
		trust->store = parse(trust);
	if (!trust->store)
		return false;
	SSL_CTX_set1_cert_store(ssl_ctx, trust->store);
	return true;
}
