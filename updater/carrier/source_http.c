/*
 * source_http - bundle bytes from a server: what is asked for, and what happens when the connection
 * breaks, stalls or creeps. Which answers are taken is http_answer.c's, the transfers themselves are
 * http_transfer.c's.
 *
 *	                  start                      200, or 206 as asked
 *	source_http_read -------> waiting for an answer ----------------> body --> complete --> done
 *	                             ^  |   ^   redirect (<= 5)             |   (lingers: the server
 *	                             |  +---+                               |    closes, or sends what
 *	                             +----- back-off, Range and If-Range <--+    it should not)
 *	                                                          lost, or silent
 *
 * Time and rate count only while the reader waits here: a slow disk on the other side is not a slow
 * server.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "updater/carrier/http_answer.h"
#include "updater/carrier/http_transfer.h"
#include "updater/carrier/source.h"

#define SLICE_MS       250
#define LINGER_MS      1000
#define JUMP_MIN       (1u << 20) /* skipping less costs less than a new connection */
#define PROGRESS_MIN   (1u << 20) /* bytes after which retries count anew */
#define AHEAD          (64u << 10) /* asked for at least, where ranges are asked for */
#define BACKOFF_MS     250 /* doubled each time */
#define BACKOFF_MAX_MS 30000
#define REDIRECTS_MAX  5u

struct source_http {
	struct source base;
	struct source_options options;
	struct http_transfer *transfer;
	char url[HTTP_URL_MAX + 1];
	char display[256];
	bool started;
	bool done; /* no more bytes will come */
	bool judged; /* the running transfer's answer is the bundle's bytes */
	uint64_t from; /* of the running transfer, or of the next */
	uint64_t to; /* where it ends; 0: with the file */
	bool hinted;
	uint64_t expected; /* up to here it will be read, as far as was said */
	bool told; /* that the server takes no ranges */
	struct http_file file;
	unsigned int redirects;
	unsigned int attempts;
	uint64_t progress; /* where they began to count */
	uint64_t received; /* of the running transfer, when it was last looked at */
	int64_t silent_ms; /* waited since the last byte */
	int64_t window_ms; /* waited in this window of stall_timeout, for the rate */
	uint64_t window_bytes;
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

static void alive(const struct source_http *http)
{
	if (http->options.listener.alive)
		http->options.listener.alive(http->options.listener.arg);
}

/* In the bundle: of the next byte that comes in. */
static uint64_t position(const struct source_http *http)
{
	const struct http_progress *progress = http_transfer_progress(http->transfer);

	return http->from + (http->judged ? progress->received : 0);
}

/* Where the running transfer's bytes end, as far as is known. */
static uint64_t end_of_range(const struct source_http *http)
{
	if (!http->to || (http->file.has_total && http->file.total < http->to))
		return http->file.has_total ? http->file.total : UINT64_MAX;
	return http->to;
}

/* All that was asked for is here, and it is not the end of the file. */
static bool range_complete(const struct source_http *http)
{
	return http->judged && http->to && position(http) == http->to && http->file.has_total &&
	       http->to < http->file.total;
}

static bool complete(const struct source_http *http)
{
	return http->file.begun && http->file.has_total && position(http) == http->file.total;
}

static void where(const struct source_http *http, char *ret, size_t cap)
{
	if (http->file.has_total)
		(void)snprintf(ret, cap, "%llu of %llu bytes", (unsigned long long)position(http),
			(unsigned long long)http->file.total);
	else
		(void)snprintf(ret, cap, "%llu bytes", (unsigned long long)position(http));
}

static int start(struct source_http *http, const char *url, uint64_t from, struct err *err)
{
	/* A stream goes on as one; the rest of a range, too. */
	if (!http->hinted || (http->file.begun && !http_file_takes_ranges(&http->file)))
		http->to = 0;
	else if (http->to <= from)
		http->to = http->expected >= from + AHEAD || !http->file.begun ? http->expected
									       : from + AHEAD;
	if (http->to <= from)
		http->to = 0;
	http->started = true;
	http->judged = false;
	http->from = from;
	http->received = 0;
	http->silent_ms = 0;
	http->window_ms = 0;
	http->window_bytes = 0;
	if (http_transfer_start(http->transfer, url, from, http->to,
		    http_response_validator(&http->file.first), err) < 0)
		return err_wrap(err, "'%s'", http->display);
	return 0;
}

/* ---- going on after a loss ---- */

static void back_off(const struct source_http *http)
{
	int64_t delay = BACKOFF_MS;
	int64_t until;

	for (unsigned int i = 1; i < http->attempts && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	until = now_ms() + (delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS);
	for (int64_t now = now_ms(); now < until; now = now_ms()) {
		int64_t left = until - now < SLICE_MS ? until - now : SLICE_MS;
		struct timespec slice = {.tv_nsec = (long)left * 1000000};

		alive(http);
		(void)nanosleep(&slice, NULL); /* a shorter one is fine */
	}
}

static int resume(struct source_http *http, const char *reason, struct err *err)
{
	uint64_t from = position(http);
	char at[64];
	char text[400];

	where(http, at, sizeof(at));
	if (http->file.first.refuses_ranges)
		return fail(http, err,
			"connection lost at %s (%s), and the server does not take ranges", at,
			reason);
	if (from - http->progress >= PROGRESS_MIN) {
		http->attempts = 0;
		http->progress = from;
	}
	if (http->attempts == http->options.retries)
		return fail(http, err, "connection lost at %s (%s); gave up after %u retries", at,
			reason, http->options.retries);
	http->attempts++;
	(void)snprintf(text, sizeof(text), "connection lost at %s (%s), resuming (%u of %u)", at,
		reason, http->attempts, http->options.retries);
	if (http->options.listener.note)
		http->options.listener.note(http->options.listener.arg, text);
	http->base.resumed++;
	http->redirects = 0;
	http->to = http->to > from ? http->to : 0;
	http_transfer_stop(http->transfer);
	back_off(http);
	return start(http, http->url, from, err);
}

/* ---- judging an answer ---- */

static int follow_redirect(struct source_http *http, struct err *err)
{
	char url[HTTP_URL_MAX + 1];
	char shown[200];
	bool secure = false;

	if (!http_transfer_redirect(http->transfer, url, &secure))
		return fail(http, err, "the server redirects to nowhere");
	if (++http->redirects > REDIRECTS_MAX)
		return fail(http, err, "more than %u redirects", REDIRECTS_MAX);
	source_url_display(url, shown, sizeof(shown));
	if (!source_is_url(url))
		return fail(
			http, err, "redirected to '%s', which is neither http nor https", shown);
	if (secure && strncasecmp(url, "https:", 6) != 0)
		return fail(http, err, "redirected from https down to '%s', which is not followed",
			shown);
	return start(http, url, http->from, err);
}

static struct http_question question(const struct source_http *http)
{
	return (struct http_question){.from = http->from, .to = http->to};
}

static void take(struct source_http *http)
{
	const struct http_response *response = &http_transfer_progress(http->transfer)->response;
	struct http_question asked = question(http);

	http_answer_learn(&http->file, &asked, response);
	if (response->status == 200)
		http->to = 0; /* the whole file, though a part was asked for */
	http->judged = true;
}

static int judge(struct source_http *http, struct err *err)
{
	const struct http_response *response = &http_transfer_progress(http->transfer)->response;
	struct http_question asked = question(http);
	char text[HTTP_TEXT_MAX + 1] = "";

	switch (http_answer_judge(&http->file, &asked, response, text)) {
	case HTTP_TAKE:
		take(http);
		return 0;
	case HTTP_REDIRECT:
		return follow_redirect(http, err);
	case HTTP_BUSY:
		return resume(http, text, err);
	case HTTP_WITHOUT_RANGE:
		http->hinted = false;
		http->to = 0;
		return start(http, http->url, http->from, err);
	case HTTP_REFUSE:
		break;
	}
	return fail(http, err, "%s", text);
}

/* ---- pulling ---- */

static int transfer_ended(struct source_http *http, struct err *err)
{
	const struct http_progress *progress = http_transfer_progress(http->transfer);

	switch (progress->end) {
	case HTTP_RUNNING:
		return 0;
	case HTTP_EXCESS:
		return fail(http, err, "the server sent more than the %llu bytes it announced",
			(unsigned long long)progress->response.length);
	case HTTP_TLS:
		return fail(http, err, "the server's TLS certificate is not accepted: %s",
			progress->reason);
	case HTTP_NO_CA:
		return fail(
			http, err, "no usable CA certificates: %s (set ca-file)", progress->reason);
	case HTTP_CLOSED:
	case HTTP_BROKEN:
		break;
	}
	if (http->judged)
		http->done = http->file.has_total ? complete(http) : progress->end == HTTP_CLOSED;
	if (http->done)
		return 0;
	if (!http->file.begun)
		return fail(http, err, "%s", progress->reason);
	return resume(http,
		progress->end == HTTP_CLOSED ? "the server closed it" : progress->reason, err);
}

static int check_silence(struct source_http *http, struct err *err)
{
	unsigned int seconds = http->options.stall_timeout;
	char reason[64];

	if (http->silent_ms < (int64_t)seconds * 1000)
		return 0;
	if (!http->file.begun)
		return fail(http, err, "no answer within %u seconds", seconds);
	(void)snprintf(reason, sizeof(reason), "not a byte for %u seconds", seconds);
	return resume(http, reason, err);
}

/* A slow drip may go on for days. */
static int check_rate(struct source_http *http, struct err *err)
{
	unsigned int seconds = http->options.stall_timeout;
	uint64_t bytes = http->window_bytes;

	if (http->window_ms < (int64_t)seconds * 1000)
		return 0;
	http->window_ms = 0;
	http->window_bytes = 0;
	/* None at all is silence, which a new connection may cure. */
	if (bytes == 0 || bytes >= (uint64_t)seconds * http->options.min_rate)
		return 0;
	return fail(http, err,
		"the server is too slow: %llu bytes in %u seconds, expected at least %u a second",
		(unsigned long long)bytes, seconds, http->options.min_rate);
}

static void count(struct source_http *http, int64_t waited)
{
	uint64_t received = http_transfer_progress(http->transfer)->received;
	uint64_t fresh = received - http->received;

	http->received = received;
	http->base.fetched += fresh;
	http->window_bytes += fresh;
	http->window_ms += waited;
	http->silent_ms = fresh ? 0 : http->silent_ms + waited;
	if (fresh)
		alive(http);
}

/* Where a redirect leads libcurl says only at its end. */
static bool can_judge(const struct source_http *http)
{
	const struct http_progress *progress = http_transfer_progress(http->transfer);

	return !http->judged && progress->response.complete &&
	       (progress->end != HTTP_RUNNING || !http_is_redirect(progress->response.status));
}

/* One turn: what can be done at once, or a short wait. */
static int pump(struct source_http *http, struct err *err)
{
	const struct http_progress *progress = http_transfer_progress(http->transfer);
	int64_t before = now_ms();

	if (!http->started && start(http, http->url, http->from, err) < 0)
		return -1;
	if (http_transfer_pump(http->transfer, SLICE_MS, err) < 0)
		return err_wrap(err, "'%s'", http->display);
	count(http, now_ms() - before);
	if (can_judge(http))
		return judge(http, err);
	if (http->judged && position(http) > end_of_range(http))
		return fail(http, err, "the server sent more than was asked for (%llu bytes)",
			(unsigned long long)(end_of_range(http) - http->from));
	if (range_complete(http))
		return 0;
	if (progress->end != HTTP_RUNNING)
		return transfer_ended(http, err);
	if (complete(http)) {
		http->done = http->silent_ms >= LINGER_MS;
		return 0;
	}
	return check_rate(http, err) < 0 ? -1 : check_silence(http, err);
}

/* The next request is made when something is read: by then it is known how much is expected. */
static void go_to(struct source_http *http, uint64_t at)
{
	http_transfer_stop(http->transfer);
	http_transfer_discard(http->transfer);
	http->from = at;
	http->to = 0;
	http->judged = false;
	http->started = false;
	http->redirects = 0;
}

static int source_http_read(
	struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	struct source_http *http = (struct source_http *)source;

	/* Nothing leaves the buffer before its answer is judged. */
	while (!http->done && (!http->judged || http_transfer_buffered(http->transfer) == 0)) {
		if (range_complete(http))
			go_to(http, position(http));
		if (pump(http, err) < 0)
			return -1;
	}
	*ret_len = http_transfer_take(http->transfer, buf, cap);
	return 0;
}

/* The bytes that are on their way already, so that the connection can be used again. */
static int drain(struct source_http *http, struct err *err)
{
	while (!range_complete(http) && !complete(http)) {
		http_transfer_discard(http->transfer);
		if (pump(http, err) < 0)
			return -1;
	}
	return 0;
}

static void tell_no_ranges(struct source_http *http)
{
	if (http->told || !http->file.begun || http_file_takes_ranges(&http->file) ||
		!http->options.listener.note)
		return;
	http->told = true;
	http->options.listener.note(http->options.listener.arg,
		"the server takes no ranges: what is not wanted is fetched, too");
}

/* Asks for the bytes from further on, if that is worth a request and the server can do it. */
static int source_http_skip(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err)
{
	struct source_http *http = (struct source_http *)source;
	uint64_t ready = http_transfer_buffered(http->transfer);
	uint64_t at = position(http) - ready; /* of the reader */
	uint64_t target;

	if (http->done || !http->file.has_total || !http_file_takes_ranges(&http->file)) {
		if (len >= JUMP_MIN)
			tell_no_ranges(http);
		return 0;
	}
	target = len < http->file.total - at ? at + len : http->file.total;
	if (http->started && http->judged && http->to && target >= end_of_range(http)) {
		if (end_of_range(http) - position(http) < JUMP_MIN && drain(http, err) < 0)
			return -1;
	} else if (http->started && (!http->judged || len < ready + JUMP_MIN)) {
		return 0;
	}
	*ret_len = target - at;
	http->progress = target;
	go_to(http, target);
	http->done = target == http->file.total;
	return 0;
}

static void source_http_expect(struct source *source, uint64_t len)
{
	struct source_http *http = (struct source_http *)source;
	uint64_t at = position(http) - http_transfer_buffered(http->transfer);

	http->hinted = true;
	if (__builtin_add_overflow(at, len, &http->expected))
		http->expected = UINT64_MAX;
}

static void source_http_free(struct source *source)
{
	struct source_http *http = (struct source_http *)source;

	http_transfer_free(&http->transfer);
	free(http);
}

static const struct source_ops OPS = {
	.read = source_http_read,
	.skip = source_http_skip,
	.expect = source_http_expect,
	.free = source_http_free,
};

int source_http_new(
	const char *url, const struct source_options *options, struct source **ret, struct err *err)
{
	void *p = NULL;
	struct source_http *http;

	if (strlen(url) > HTTP_URL_MAX)
		return err_set(
			err, FAIL_USAGE, "the URL is longer than %u characters", HTTP_URL_MAX);
	if (mem_alloc(sizeof(*http), &p, err) < 0)
		return -1;
	http = p;
	http->base.ops = &OPS;
	http->base.name = http->display;
	http->options = *options;
	(void)snprintf(http->url, sizeof(http->url), "%s", url);
	source_url_display(url, http->display, sizeof(http->display));
	if (http_transfer_new(&http->options.ca, &http->transfer, err) < 0) {
		source_http_free(&http->base);
		return -1;
	}
	*ret = &http->base;
	return 0;
}
