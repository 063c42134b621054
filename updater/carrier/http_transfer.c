#include "updater/carrier/http_transfer.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "updater/carrier/source.h"

struct http_transfer {
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	bool active; /* easy is in multi */
	bool paused;
	bool excess;
	uint8_t *buf; /* HTTP_BUFFER bytes; those in it are [at, end) */
	size_t at;
	size_t end;
	size_t dropped;
	struct http_progress progress;
	char reason[CURL_ERROR_SIZE];
};

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct http_transfer *transfer = arg;

	http_response_line(&transfer->progress.response, line, size * count);
	return size * count;
}

/* Any other number than was given ends the transfer. */
static size_t drop(struct http_transfer *transfer, size_t len)
{
	transfer->dropped += len;
	return transfer->dropped > HTTP_BUFFER ? len + 1 : len;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_transfer *transfer = arg;
	struct http_progress *progress = &transfer->progress;
	const struct http_response *response = &progress->response;
	size_t len = size * count;

	if (response->status != 200 && response->status != 206)
		return drop(transfer, len);
	if (response->has_length && len > response->length - progress->received) {
		transfer->excess = true;
		return len + 1;
	}
	if (len > HTTP_BUFFER - transfer->end && transfer->at > 0) {
		memmove(transfer->buf, transfer->buf + transfer->at, transfer->end - transfer->at);
		transfer->end -= transfer->at;
		transfer->at = 0;
	}
	if (len > HTTP_BUFFER - transfer->end) {
		transfer->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	memcpy(transfer->buf + transfer->end, data, len);
	transfer->end += len;
	progress->received += len;
	return len;
}

/* ---- making one ---- */

static int set_options(struct http_transfer *transfer, const struct bytes *pem, struct err *err)
{
	CURL *easy = transfer->easy;
	struct curl_blob ca = {pem->data, pem->len, CURL_BLOB_COPY};
	bool good = true;

	good &= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 64L << 10) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) ==
		CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) ==
		CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_USERAGENT, "abide/" ABIDE_VERSION) == CURLE_OK;
#if LIBCURL_VERSION_NUM >= 0x075500
	good &= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
	good &= curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
			(long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) == CURLE_OK;
#endif
	if (ca.len)
		good &= curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca) == CURLE_OK;
	if (!good)
		return err_set(err, FAIL_IO, "the HTTP library lacks what is needed");
	return 0;
}

static int init(struct http_transfer *transfer, const struct bytes *ca, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(HTTP_BUFFER, &p, err) < 0)
		return -1;
	transfer->buf = p;
	transfer->multi = curl_multi_init();
	transfer->easy = curl_easy_init();
	if (!transfer->multi || !transfer->easy)
		return err_memory(err);
	return set_options(transfer, ca, err);
}

int http_transfer_new(const struct bytes *ca, struct http_transfer **ret, struct err *err)
{
	void *p = NULL;
	struct http_transfer *transfer;

	if (mem_alloc(sizeof(*transfer), &p, err) < 0)
		return -1;
	transfer = p;
	if (init(transfer, ca, err) < 0) {
		http_transfer_free(&transfer);
		return -1;
	}
	*ret = transfer;
	return 0;
}

void http_transfer_free(struct http_transfer **transfer)
{
	struct http_transfer *taken = steal_ptr(transfer);

	if (!taken)
		return;
	http_transfer_stop(taken);
	curl_easy_cleanup(taken->easy);
	if (taken->multi)
		(void)curl_multi_cleanup(taken->multi); /* it is empty */
	curl_slist_free_all(taken->headers);
	free(taken->buf);
	free(taken);
}

/* ---- running one ---- */

void http_transfer_stop(struct http_transfer *transfer)
{
	if (transfer->active)
		(void)curl_multi_remove_handle(transfer->multi, transfer->easy); /* it is in it */
	transfer->active = false;
	transfer->paused = false;
}

static int set_headers(struct http_transfer *transfer, uint64_t from, bool again,
	const char *validator, struct err *err)
{
	char line[HTTP_VALIDATOR_MAX + 16];
	struct curl_slist *longer;

	curl_slist_free_all(transfer->headers);
	/* A connection that carries one answer shows by its end bytes that should not be there. */
	transfer->headers =
		curl_slist_append(NULL, again ? "Connection: keep-alive" : "Connection: close");
	if (!transfer->headers)
		return err_memory(err);
	if (from == 0 || !validator)
		return 0;
	(void)snprintf(line, sizeof(line), "If-Range: %s", validator);
	longer = curl_slist_append(transfer->headers, line);
	if (!longer)
		return err_memory(err);
	transfer->headers = longer;
	return 0;
}

int http_transfer_start(struct http_transfer *transfer, const char *url, uint64_t from, uint64_t to,
	const char *validator, struct err *err)
{
	CURL *easy = transfer->easy;
	bool again = from && to;
	char range[48];
	bool good = true;

	http_transfer_stop(transfer);
	transfer->progress = (struct http_progress){0};
	transfer->excess = false;
	transfer->dropped = 0;
	transfer->reason[0] = '\0';
	if (set_headers(transfer, from, again, validator, err) < 0)
		return -1;
	if (to)
		(void)snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)from,
			(unsigned long long)to - 1);
	else
		(void)snprintf(range, sizeof(range), "%llu-", (unsigned long long)from);
	good &= curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_RANGE, from || to ? range : NULL) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_IGNORE_CONTENT_LENGTH, again ? 0L : 1L) == CURLE_OK;
	if (!good || curl_multi_add_handle(transfer->multi, easy) != CURLM_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot start a transfer");
	transfer->active = true;
	return 0;
}

static enum http_end end_of(const struct http_transfer *transfer, CURLcode code)
{
	if (transfer->excess)
		return HTTP_EXCESS;
	if (code == CURLE_OK)
		return HTTP_CLOSED;
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return HTTP_TLS;
	return code == CURLE_SSL_CACERT_BADFILE ? HTTP_NO_CA : HTTP_BROKEN;
}

static void ended(struct http_transfer *transfer, CURLcode code)
{
	const char *text = transfer->reason[0] ? transfer->reason : curl_easy_strerror(code);
	struct http_progress *progress = &transfer->progress;

	progress->end = end_of(transfer, code);
	mem_printable(text, strlen(text), progress->reason, sizeof(progress->reason));
	http_transfer_stop(transfer);
}

int http_transfer_pump(struct http_transfer *transfer, int timeout_ms, struct err *err)
{
	uint64_t before = transfer->progress.received;
	CURLMsg *message;
	int running = 0;
	int queued = 0;

	if (!transfer->active)
		return 0;
	if (transfer->paused && http_transfer_buffered(transfer) == 0) {
		transfer->paused = false;
		/* A failure ends the transfer, which is told below. */
		(void)curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
	}
	if (curl_multi_perform(transfer->multi, &running) != CURLM_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot go on");
	message = curl_multi_info_read(transfer->multi, &queued);
	if (message && message->msg == CURLMSG_DONE) {
		ended(transfer, message->data.result);
		return 0;
	}
	if (transfer->progress.received > before)
		return 0;
	if (curl_multi_poll(transfer->multi, NULL, 0, timeout_ms, NULL) != CURLM_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot wait");
	return 0;
}

const struct http_progress *http_transfer_progress(const struct http_transfer *transfer)
{
	return &transfer->progress;
}

bool http_transfer_redirect(
	const struct http_transfer *transfer, char ret[static HTTP_URL_MAX + 1], bool *ret_secure)
{
	const char *url = NULL;
	const char *scheme = NULL;

	if (curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &url) != CURLE_OK || !url ||
		strlen(url) > HTTP_URL_MAX)
		return false;
	*ret_secure = curl_easy_getinfo(transfer->easy, CURLINFO_SCHEME, &scheme) == CURLE_OK &&
		      scheme && strcasecmp(scheme, "https") == 0;
	(void)snprintf(ret, HTTP_URL_MAX + 1, "%s", url);
	return true;
}

size_t http_transfer_buffered(const struct http_transfer *transfer)
{
	return transfer->end - transfer->at;
}

size_t http_transfer_take(struct http_transfer *transfer, void *buf, size_t cap)
{
	size_t ready = http_transfer_buffered(transfer);
	size_t n = ready < cap ? ready : cap;

	memcpy(buf, transfer->buf + transfer->at, n);
	transfer->at += n;
	if (transfer->at == transfer->end)
		http_transfer_discard(transfer);
	return n;
}

void http_transfer_discard(struct http_transfer *transfer)
{
	transfer->at = 0;
	transfer->end = 0;
}

int source_http_prepare(struct err *err)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot be used");
	return 0;
}
