#include "updater/carrier/http_transfer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "updater/carrier/http_parts.h"
#include "updater/carrier/http_pool_state.h"

#define RANGE_TEXT 40u /* two numbers of a bundle's size, a dash, a comma */

struct http_transfer {
	struct http_pool *pool;
	CURL *easy;
	struct curl_slist *headers;
	bool active; /* easy is in multi */
	bool paused;
	enum http_end flaw; /* why we ended it; HTTP_RUNNING: we did not */
	struct http_question asked;
	uint64_t total;
	size_t part; /* of a multipart answer, the next one; they are the ranges */
	struct http_parts parts;
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

static void keep(struct http_transfer *transfer, const char *data, size_t len)
{
	memcpy(transfer->buf + transfer->end, data, len);
	transfer->end += len;
	transfer->progress.received += len;
}

static bool is_multipart(const struct http_transfer *transfer)
{
	const struct http_response *response = &transfer->progress.response;

	return transfer->asked.count > 1 && response->status == 206 && response->boundary[0];
}

/* The next part is the next range? */
static enum http_end check_part(struct http_transfer *transfer)
{
	const struct http_response *part = &transfer->parts.part;
	const struct source_range *range = &transfer->asked.ranges[transfer->part];

	if (part->range_total != transfer->total)
		return HTTP_BAD_PARTS;
	if (transfer->part == transfer->asked.count || part->range_start != range->start ||
		part->range_end != range->end)
		return HTTP_OTHER_PARTS;
	transfer->part++;
	return HTTP_RUNNING;
}

static enum http_end take_parts(struct http_transfer *transfer, const char *data, size_t len)
{
	enum http_parts_event event = HTTP_PARTS_DATA;
	enum http_end flaw = HTTP_RUNNING;

	while (event != HTTP_PARTS_MORE && flaw == HTTP_RUNNING) {
		const char *bytes = NULL;
		size_t n = 0;

		event = http_parts_next(&transfer->parts, &data, &len, &bytes, &n);
		if (event == HTTP_PARTS_DATA)
			keep(transfer, bytes, n);
		else if (event == HTTP_PARTS_MALFORMED)
			flaw = HTTP_BAD_PARTS;
		else if (event == HTTP_PARTS_RANGE)
			flaw = check_part(transfer);
		else if (event == HTTP_PARTS_END && transfer->part < transfer->asked.count)
			flaw = HTTP_OTHER_PARTS;
	}
	return flaw;
}

/* Makes room for `len` bytes at the end of the buffer, if there can be. */
static bool make_room(struct http_transfer *transfer, size_t len)
{
	if (len > HTTP_BUFFER - transfer->end && transfer->at > 0) {
		memmove(transfer->buf, transfer->buf + transfer->at, transfer->end - transfer->at);
		transfer->end -= transfer->at;
		transfer->at = 0;
	}
	return len <= HTTP_BUFFER - transfer->end;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct http_transfer *transfer = arg;
	struct http_progress *progress = &transfer->progress;
	const struct http_response *response = &progress->response;
	size_t len = size * count;

	if (transfer->flaw != HTTP_RUNNING)
		return len + 1;
	if (response->status != 200 && response->status != 206)
		return drop(transfer, len);
	if (response->has_length && len > response->length - progress->body) {
		transfer->flaw = HTTP_EXCESS;
		return len + 1;
	}
	if (!make_room(transfer, len)) {
		transfer->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	transfer->pool->moved = true;
	progress->body += len;
	if (is_multipart(transfer))
		transfer->flaw = take_parts(transfer, data, len);
	else
		keep(transfer, data, len);
	return transfer->flaw == HTTP_RUNNING ? len : len + 1;
}

/* ---- making one ---- */

static int set_options(struct http_transfer *transfer, struct err *err)
{
	CURL *easy = transfer->easy;
	bool good = http_pool_set_trust(transfer->pool, easy);

	good &= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) == CURLE_OK;
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
	if (!good)
		return err_set(err, FAIL_IO, "the HTTP library lacks what is needed");
	return 0;
}

static int init(struct http_transfer *transfer, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(HTTP_BUFFER, &p, err) < 0)
		return -1;
	transfer->buf = p;
	transfer->easy = curl_easy_init();
	if (!transfer->easy)
		return err_memory(err);
	return set_options(transfer, err);
}

int http_transfer_new(struct http_pool *pool, struct http_transfer **ret, struct err *err)
{
	void *p = NULL;
	struct http_transfer *transfer;

	if (mem_alloc(sizeof(*transfer), &p, err) < 0)
		return -1;
	transfer = p;
	transfer->pool = pool;
	if (init(transfer, err) < 0) {
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
	curl_slist_free_all(taken->headers);
	free(taken->buf);
	free(taken);
}

/* ---- running one ---- */

void http_transfer_stop(struct http_transfer *transfer)
{
	if (transfer->active)
		(void)curl_multi_remove_handle(
			transfer->pool->multi, transfer->easy); /* it is in it */
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

/* "0-99,200-299"; "100-" to the end. False: it is all of the file. */
static bool range_field(const struct http_question *asked, char *ret, size_t cap)
{
	size_t len = 0;

	if (asked->ranges[0].start == 0 && asked->ranges[0].end == HTTP_OPEN)
		return false;
	for (size_t i = 0; i < asked->count && len < cap; i++) {
		const struct source_range *range = &asked->ranges[i];

		len += (size_t)snprintf(ret + len, cap - len, "%s%llu-", i ? "," : "",
			(unsigned long long)range->start);
		if (range->end != HTTP_OPEN && len < cap)
			len += (size_t)snprintf(
				ret + len, cap - len, "%llu", (unsigned long long)range->end - 1);
	}
	assert(len < cap);
	return true;
}

static void begin(struct http_transfer *transfer, const struct http_request *request)
{
	http_transfer_stop(transfer);
	transfer->progress = (struct http_progress){0};
	transfer->flaw = HTTP_RUNNING;
	transfer->asked = request->question;
	transfer->total = request->total;
	transfer->part = 0;
	transfer->dropped = 0;
	transfer->reason[0] = '\0';
	http_parts_init(&transfer->parts, transfer->progress.response.boundary);
}

int http_transfer_start(
	struct http_transfer *transfer, const struct http_request *request, struct err *err)
{
	CURL *easy = transfer->easy;
	const struct source_range *first = &request->question.ranges[0];
	bool again = first->start && first->end != HTTP_OPEN;
	char range[HTTP_RANGES_MAX * RANGE_TEXT];
	bool good = true, ranged;

	assert(request->question.count >= 1 && request->question.count <= HTTP_RANGES_MAX);
	begin(transfer, request);
	if (set_headers(transfer, first->start, again, request->validator, err) < 0)
		return -1;
	ranged = range_field(&request->question, range, sizeof(range));
	good &= curl_easy_setopt(easy, CURLOPT_URL, request->url) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_RANGE, ranged ? range : NULL) == CURLE_OK;
	good &= curl_easy_setopt(easy, CURLOPT_IGNORE_CONTENT_LENGTH, again ? 0L : 1L) == CURLE_OK;
	if (!good || curl_multi_add_handle(transfer->pool->multi, easy) != CURLM_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot start a transfer");
	transfer->active = true;
	return 0;
}

static enum http_end end_of(const struct http_transfer *transfer, CURLcode code)
{
	if (transfer->flaw != HTTP_RUNNING)
		return transfer->flaw;
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
	transfer->pool->moved = true;
}

int http_pool_pump(struct http_pool *pool, int timeout_ms, struct err *err)
{
	CURLMsg *message;
	int running = 0;
	int queued = 0;

	if (curl_multi_perform(pool->multi, &running) != CURLM_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot go on");
	while ((message = curl_multi_info_read(pool->multi, &queued))) {
		char *transfer = NULL;

		if (message->msg == CURLMSG_DONE &&
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) ==
				CURLE_OK)
			ended((struct http_transfer *)(void *)transfer, message->data.result);
	}
	if (!pool->moved && curl_multi_poll(pool->multi, NULL, 0, timeout_ms, NULL) != CURLM_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot wait");
	pool->moved = false;
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

bool http_transfer_paused(const struct http_transfer *transfer)
{
	return transfer->paused;
}

size_t http_transfer_buffered(const struct http_transfer *transfer)
{
	return transfer->end - transfer->at;
}

/* The transfer goes on where it was paused: what libcurl kept comes at once. What is wrong with that is
 * told here only, and would go on as if nothing had been. */
static void go_on(struct http_transfer *transfer)
{
	CURLcode code;

	if (!transfer->paused || http_transfer_buffered(transfer) > HTTP_BUFFER / 2)
		return;
	transfer->paused = false;
	code = curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
	if (code != CURLE_OK)
		ended(transfer, code);
}

size_t http_transfer_drop(struct http_transfer *transfer, size_t len)
{
	size_t ready = http_transfer_buffered(transfer);
	size_t n = ready < len ? ready : len;

	transfer->at += n;
	if (transfer->at == transfer->end)
		transfer->at = transfer->end = 0;
	go_on(transfer);
	return n;
}

size_t http_transfer_take(struct http_transfer *transfer, void *buf, size_t cap)
{
	size_t ready = http_transfer_buffered(transfer);
	size_t n = ready < cap ? ready : cap;

	memcpy(buf, transfer->buf + transfer->at, n);
	return http_transfer_drop(transfer, n);
}

int source_http_prepare(struct err *err)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot be used");
	return 0;
}
