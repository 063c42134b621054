/*
 * source_http - bundle bytes from a server (wraps libcurl, driven by the reader: "pull").
 *
 * The body goes through one buffer; when it is full the transfer is paused, so that TCP slows the
 * server down. Time and rate are measured only while the reader waits here: a slow disk on the
 * other side is not a slow server.
 *
 * The body's length is counted here and not by libcurl, because libcurl takes no notice of bytes
 * beyond Content-Length. Redirects are followed here, because each needs its own judgement.
 */
#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "updater/carrier/http_response.h"
#include "updater/carrier/source.h"

#define HTTP_BUFFER         (512u << 10)
#define HTTP_SLICE_MS       250
#define HTTP_LINGER_MS      1000 /* for the server to close, or to send what it should not */
#define HTTP_JUMP_MIN       (1u << 20) /* skipping less costs less than a new connection */
#define HTTP_PROGRESS       (1u << 20) /* bytes after which retries count anew */
#define HTTP_BACKOFF_MS     250 /* doubled each time */
#define HTTP_BACKOFF_MAX_MS 30000
#define HTTP_REDIRECTS_MAX  5
#define HTTP_URL_MAX        4096

enum verdict {
	VERDICT_NONE, /* no whole header yet */
	VERDICT_BODY, /* what follows is the bundle */
	VERDICT_REDIRECT,
	VERDICT_AGAIN, /* not now, but perhaps later */
	VERDICT_FAIL, /* http->failure says why */
};

struct source_http {
	struct source base;
	struct source_options options;
	char url[HTTP_URL_MAX + 1];
	char display[256];
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	bool active; /* easy is in multi */
	bool paused;
	bool done; /* no more bytes will come */
	bool excess;
	uint8_t *buf; /* HTTP_BUFFER; unread are [at, end) */
	size_t at;
	size_t end;
	uint64_t position; /* in the body: of the next byte that comes in */
	bool has_total;
	uint64_t total;
	bool begun; /* `first` is an answer with the bundle's bytes */
	struct http_response first;
	struct http_response response; /* of the running transfer */
	enum verdict verdict;
	struct err failure;
	size_t discarded;
	unsigned int redirects;
	unsigned int attempts; /* since `progress` */
	uint64_t progress;
	int64_t window_ms; /* waited in this window */
	uint64_t window_bytes;
	int64_t linger_ms;
	char reason[CURL_ERROR_SIZE];
};

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

__attribute__((format(printf, 3, 4))) static int fail(
	const struct source_http *http, struct err *err, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* a long message is cut */
	va_end(args);
	return err_set(err, FAIL_NETWORK, "'%s': %s", http->display, text);
}

static void where(const struct source_http *http, char *ret, size_t cap)
{
	if (http->has_total)
		(void)snprintf(ret, cap, "%llu of %llu bytes", (unsigned long long)http->position,
			(unsigned long long)http->total);
	else
		(void)snprintf(ret, cap, "%llu bytes", (unsigned long long)http->position);
}

static void alive(const struct source_http *http)
{
	if (http->options.listener.alive)
		http->options.listener.alive(http->options.listener.arg);
}

/* ---- judging an answer ---- */

static enum verdict judge_range(struct source_http *http)
{
	const struct http_response *response = &http->response;

	if (!response->has_range || response->range_start != http->position ||
		(http->has_total && response->has_range_total &&
			response->range_total != http->total)) {
		(void)fail(http, &http->failure,
			"the server sent another range than was asked for (from byte %llu)",
			(unsigned long long)http->position);
		return VERDICT_FAIL;
	}
	return VERDICT_BODY;
}

static enum verdict judge_whole(struct source_http *http)
{
	char position[64];

	if (http->position == 0)
		return VERDICT_BODY;
	where(http, position, sizeof(position));
	(void)fail(http, &http->failure,
		"the server does not take ranges, so the transfer cannot go on where it was (at "
		"%s)",
		position);
	return VERDICT_FAIL;
}

static enum verdict judge_status(struct source_http *http)
{
	unsigned int status = http->response.status;

	switch (status) {
	case 200:
		return judge_whole(http);
	case 206:
		return judge_range(http);
	case 301:
	case 302:
	case 303:
	case 307:
	case 308:
		return VERDICT_REDIRECT;
	case 429:
	case 500:
	case 502:
	case 503:
	case 504:
		if (http->begun) {
			(void)snprintf(http->reason, sizeof(http->reason), "answered %u %s", status,
				http_status_text(status));
			return VERDICT_AGAIN;
		}
		break;
	}
	(void)fail(http, &http->failure, "the server answered %u %s", status,
		http_status_text(status));
	return VERDICT_FAIL;
}

static enum verdict judge(struct source_http *http)
{
	const struct http_response *response = &http->response;
	bool body = response->status == 200 || response->status == 206;

	if (response->malformed) {
		(void)fail(http, &http->failure, "the server's answer is malformed");
		return VERDICT_FAIL;
	}
	if (body && response->encoded) {
		(void)fail(http, &http->failure,
			"the server sent it with a Content-Encoding, expected the plain file");
		return VERDICT_FAIL;
	}
	if (body && http->begun && !http_response_same(&http->first, response)) {
		(void)fail(http, &http->failure, "it changed on the server during the transfer");
		return VERDICT_FAIL;
	}
	return judge_status(http);
}

static void begin_body(struct source_http *http)
{
	const struct http_response *response = &http->response;

	if (!http->begun) {
		http->begun = true;
		http->first = *response;
	}
	if (!http->has_total && response->has_range_total) {
		http->has_total = true;
		http->total = response->range_total;
	}
	/* No overflow: both are within MANIFEST_NUMBER_MAX. */
	if (!http->has_total && response->has_length) {
		http->has_total = true;
		http->total = http->position + response->length;
	}
}

/* ---- libcurl's callbacks ---- */

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct source_http *http = arg;
	size_t len = size * count;

	http_response_line(&http->response, line, len);
	if (http->response.complete && http->verdict == VERDICT_NONE) {
		http->verdict = judge(http);
		if (http->verdict == VERDICT_BODY)
			begin_body(http);
	}
	return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct source_http *http = arg;
	size_t len = size * count;

	if (http->verdict == VERDICT_REDIRECT && len <= HTTP_BUFFER - http->discarded) {
		http->discarded += len; /* a page for people; libcurl wants it read to its end */
		return len;
	}
	if (http->verdict != VERDICT_BODY)
		return len + 1; /* ends the transfer; its verdict says what it was */
	if (http->has_total && len > http->total - http->position) {
		http->excess = true;
		return len + 1;
	}
	if (len > HTTP_BUFFER - http->end && http->at > 0) {
		memmove(http->buf, http->buf + http->at, http->end - http->at);
		http->end -= http->at;
		http->at = 0;
	}
	if (len > HTTP_BUFFER - http->end) {
		http->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	memcpy(http->buf + http->end, data, len);
	http->end += len;
	http->position += len;
	http->window_bytes += len;
	http->base.fetched += len;
	alive(http);
	return len;
}

/* ---- transfers ---- */

static void stop_transfer(struct source_http *http)
{
	if (http->active)
		(void)curl_multi_remove_handle(http->multi, http->easy); /* it is in there */
	http->active = false;
	http->paused = false;
}

static int set_headers(struct source_http *http, struct err *err)
{
	const char *validator = http_response_validator(&http->first);
	char line[HTTP_VALIDATOR_MAX + 16];
	struct curl_slist *list;

	curl_slist_free_all(http->headers);
	/* A connection carries one answer: its end shows bytes that should not be there. */
	http->headers = curl_slist_append(NULL, "Connection: close");
	if (http->headers && http->position > 0 && validator) {
		(void)snprintf(line, sizeof(line), "If-Range: %s", validator);
		list = curl_slist_append(http->headers, line);
		if (!list)
			return err_memory(err);
		http->headers = list;
	}
	return http->headers ? 0 : err_memory(err);
}

static int start_transfer(struct source_http *http, const char *url, struct err *err)
{
	char range[32];
	int failed = 0;

	stop_transfer(http);
	http->response = (struct http_response){0};
	http->verdict = VERDICT_NONE;
	http->discarded = 0;
	http->window_ms = 0;
	http->window_bytes = 0;
	http->linger_ms = 0;
	http->reason[0] = '\0';
	(void)snprintf(range, sizeof(range), "%llu-", (unsigned long long)http->position);
	if (set_headers(http, err) < 0)
		return -1;
	failed |= curl_easy_setopt(http->easy, CURLOPT_URL, url) != CURLE_OK;
	failed |= curl_easy_setopt(http->easy, CURLOPT_HTTPHEADER, http->headers) != CURLE_OK;
	failed |= curl_easy_setopt(http->easy, CURLOPT_RANGE, http->position ? range : NULL) !=
		  CURLE_OK;
	if (failed || curl_multi_add_handle(http->multi, http->easy) != CURLM_OK)
		return fail(http, err, "cannot start a transfer");
	http->active = true;
	return 0;
}

static int follow_redirect(struct source_http *http, struct err *err)
{
	char *url = NULL;
	char copy[HTTP_URL_MAX + 1];
	char shown[256];
	const char *scheme = NULL;

	if (curl_easy_getinfo(http->easy, CURLINFO_REDIRECT_URL, &url) != CURLE_OK || !url ||
		strlen(url) > HTTP_URL_MAX)
		return fail(http, err, "the server redirects to nowhere");
	if (++http->redirects > HTTP_REDIRECTS_MAX)
		return fail(http, err, "more than %d redirects", HTTP_REDIRECTS_MAX);
	(void)snprintf(copy, sizeof(copy), "%s", url);
	source_url_display(copy, shown, sizeof(shown));
	if (!source_is_url(copy))
		return fail(
			http, err, "redirected to '%s', which is neither http nor https", shown);
	if (curl_easy_getinfo(http->easy, CURLINFO_SCHEME, &scheme) == CURLE_OK && scheme &&
		strcasecmp(scheme, "https") == 0 && strncasecmp(copy, "https:", 6) != 0)
		return fail(http, err, "redirected from https down to '%s', which is not followed",
			shown);
	return start_transfer(http, copy, err);
}

static void back_off(const struct source_http *http, int64_t delay)
{
	int64_t until = now_ms() + delay;

	for (int64_t now = now_ms(); now < until; now = now_ms()) {
		int64_t left = until - now < HTTP_SLICE_MS ? until - now : HTTP_SLICE_MS;
		struct timespec slice = {.tv_nsec = (long)left * 1000000};

		alive(http);
		(void)nanosleep(&slice, NULL); /* a shorter one is fine */
	}
}

/* The connection broke after the bundle had begun to arrive: go on from where it stopped. */
static int resume(struct source_http *http, const char *reason, struct err *err)
{
	char position[64];
	char text[400];
	int64_t delay = HTTP_BACKOFF_MS;

	where(http, position, sizeof(position));
	if (http->first.refuses_ranges)
		return fail(http, err,
			"connection lost at %s (%s), and the server does not take ranges", position,
			reason);
	if (http->position - http->progress >= HTTP_PROGRESS)
		http->attempts = 0;
	http->progress = http->position;
	if (http->attempts == http->options.retries)
		return fail(http, err, "connection lost at %s (%s); gave up after %u retries",
			position, reason, http->options.retries);
	for (unsigned int i = 0; i < http->attempts && delay < HTTP_BACKOFF_MAX_MS; i++)
		delay *= 2;
	delay = delay < HTTP_BACKOFF_MAX_MS ? delay : HTTP_BACKOFF_MAX_MS;
	http->attempts++;
	(void)snprintf(text, sizeof(text), "connection lost at %s (%s), resuming (%u of %u)",
		position, reason, http->attempts, http->options.retries);
	if (http->options.listener.note)
		http->options.listener.note(http->options.listener.arg, text);
	http->base.resumed++;
	http->redirects = 0;
	stop_transfer(http);
	back_off(http, delay);
	return start_transfer(http, http->url, err);
}

static int transport_failed(struct source_http *http, CURLcode code, struct err *err)
{
	char reason[200];
	const char *text = http->reason[0] ? http->reason : curl_easy_strerror(code);

	mem_printable(text, strlen(text), reason, sizeof(reason));
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		return fail(http, err, "the server's TLS certificate is not accepted: %s", reason);
	if (code == CURLE_SSL_CACERT_BADFILE)
		return fail(http, err, "no usable CA certificates: %s (set ca-file)", reason);
	if (code == CURLE_OUT_OF_MEMORY)
		return err_memory(err);
	if (!http->begun)
		return fail(http, err, "%s", reason);
	return resume(http, reason, err);
}

/* The running transfer ended. */
static int transfer_ended(struct source_http *http, CURLcode code, struct err *err)
{
	bool whole = http->has_total ? http->position == http->total : code == CURLE_OK;

	stop_transfer(http);
	if (http->excess)
		return fail(http, err, "the server sent more than the %llu bytes it announced",
			(unsigned long long)http->total);
	switch (http->verdict) {
	case VERDICT_NONE:
		return transport_failed(http, code == CURLE_OK ? CURLE_GOT_NOTHING : code, err);
	case VERDICT_REDIRECT:
		return follow_redirect(http, err);
	case VERDICT_AGAIN:
		return resume(http, http->reason, err);
	case VERDICT_FAIL:
		*err = http->failure;
		return -1;
	case VERDICT_BODY:
		break;
	}
	http->done = whole;
	if (whole)
		return 0;
	return code == CURLE_OK ? resume(http, "the server closed it", err)
				: transport_failed(http, code, err);
}

/* ---- pulling ---- */

static bool complete(const struct source_http *http)
{
	return http->begun && http->has_total && http->position == http->total;
}

static int check_rate(struct source_http *http, struct err *err)
{
	unsigned int seconds = http->options.stall_timeout;
	uint64_t bytes = http->window_bytes;

	if (http->window_ms < (int64_t)seconds * 1000 || complete(http))
		return 0;
	http->window_ms = 0;
	http->window_bytes = 0;
	if (bytes >= (uint64_t)seconds * http->options.min_rate)
		return 0;
	if (bytes > 0)
		return fail(http, err,
			"the server is too slow: %llu bytes in %u seconds, expected at least %u a "
			"second",
			(unsigned long long)bytes, seconds, http->options.min_rate);
	if (!http->begun)
		return fail(http, err, "no answer within %u seconds", seconds);
	return resume(http, "not a byte came", err);
}

/* All bytes are here; now the server closes, or shows that it has more. */
static void linger(struct source_http *http, int64_t waited)
{
	if (!complete(http))
		return;
	http->linger_ms += waited;
	if (http->linger_ms < HTTP_LINGER_MS)
		return;
	stop_transfer(http);
	http->done = true;
}

/* One turn: what can be done at once, or a short wait. */
static int pump(struct source_http *http, struct err *err)
{
	int64_t start = now_ms();
	int running = 0;
	int queued = 0;
	CURLMsg *message;

	if (!http->active && start_transfer(http, http->url, err) < 0)
		return -1;
	if (http->paused) {
		http->paused = false;
		/* A failure ends the transfer, and is told there. */
		(void)curl_easy_pause(http->easy, CURLPAUSE_CONT);
	}
	if (curl_multi_perform(http->multi, &running) != CURLM_OK)
		return fail(http, err, "the transfer cannot be driven");
	message = curl_multi_info_read(http->multi, &queued);
	if (message && message->msg == CURLMSG_DONE)
		return transfer_ended(http, message->data.result, err);
	if (http->end > http->at)
		return 0;
	if (curl_multi_poll(http->multi, NULL, 0, HTTP_SLICE_MS, NULL) != CURLM_OK)
		return fail(http, err, "cannot wait for the server");
	http->window_ms += now_ms() - start;
	linger(http, now_ms() - start);
	return http->done ? 0 : check_rate(http, err);
}

static int source_http_read(
	struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	struct source_http *http = (struct source_http *)source;
	size_t n;

	while (http->at == http->end && !http->done) {
		http->at = 0;
		http->end = 0;
		if (pump(http, err) < 0)
			return -1;
	}
	n = http->end - http->at < cap ? http->end - http->at : cap;
	memcpy(buf, http->buf + http->at, n);
	http->at += n;
	*ret_len = n;
	return 0;
}

/* Asks for the bytes from further on, if that is worth a connection and the server can do it. */
static int source_http_skip(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err)
{
	struct source_http *http = (struct source_http *)source;
	uint64_t ready = http->end - http->at;
	uint64_t left;

	if (len < ready + HTTP_JUMP_MIN || !http->begun || !http->first.takes_ranges ||
		!http->has_total || http->done)
		return 0;
	left = http->total - http->position;
	len = len - ready < left ? len - ready : left;
	stop_transfer(http);
	http->at = 0;
	http->end = 0;
	http->position += len;
	http->progress = http->position;
	http->redirects = 0;
	*ret_len = ready + len;
	http->done = http->position == http->total;
	return http->done ? 0 : start_transfer(http, http->url, err);
}

static void source_http_free(struct source *source)
{
	struct source_http *http = (struct source_http *)source;

	stop_transfer(http);
	if (http->easy)
		curl_easy_cleanup(http->easy);
	if (http->multi)
		(void)curl_multi_cleanup(http->multi); /* it is empty */
	curl_slist_free_all(http->headers);
	free(http->buf);
	free(http);
}

static const struct source_ops OPS = {
	.read = source_http_read,
	.skip = source_http_skip,
	.free = source_http_free,
};

static int set_options(struct source_http *http, struct err *err)
{
	CURL *easy = http->easy;
	struct curl_blob ca = {http->options.ca.data, http->options.ca.len, CURL_BLOB_NOCOPY};
	int failed = 0;

	failed |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, http) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, http) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->reason) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 128L << 10) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_IGNORE_CONTENT_LENGTH, 1L) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) != CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) !=
		  CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) !=
		  CURLE_OK;
	failed |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "abide/" ABIDE_VERSION) != CURLE_OK;
#if LIBCURL_VERSION_NUM >= 0x075500
	failed |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK;
#else
	failed |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
			  (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) != CURLE_OK;
#endif
	if (ca.len)
		failed |= curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca) != CURLE_OK;
	return failed ? fail(http, err, "the HTTP library lacks what is needed") : 0;
}

static int http_init(struct source_http *http, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(HTTP_BUFFER, &p, err) < 0)
		return -1;
	http->buf = p;
	http->multi = curl_multi_init();
	http->easy = curl_easy_init();
	if (!http->multi || !http->easy)
		return err_memory(err);
	return set_options(http, err);
}

int source_http_new(
	const char *url, const struct source_options *options, struct source **ret, struct err *err)
{
	void *p = NULL;
	struct source_http *http;

	if (strlen(url) > HTTP_URL_MAX)
		return err_set(
			err, FAIL_USAGE, "the URL is longer than %d characters", HTTP_URL_MAX);
	if (mem_alloc(sizeof(*http), &p, err) < 0)
		return -1;
	http = p;
	http->base.ops = &OPS;
	http->base.name = http->display;
	http->options = *options;
	(void)snprintf(http->url, sizeof(http->url), "%s", url);
	source_url_display(url, http->display, sizeof(http->display));
	if (http_init(http, err) < 0) {
		source_http_free(&http->base);
		return -1;
	}
	*ret = &http->base;
	return 0;
}

int source_http_prepare(struct err *err)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return err_set(err, FAIL_IO, "the HTTP library cannot be used");
	return 0;
}
