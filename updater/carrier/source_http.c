/*
 * source_http - bundle bytes from a server: which ranges are asked for, and when.
 *
 * What is wanted is asked for in order, as many ranges in a request as the server takes, and the next
 * request goes out before the last one is answered: round trips do not add up. A server without
 * ranges is read as one stream. How answers come in is http_fetch.c's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "updater/carrier/http_fetch.h"
#include "updater/carrier/source.h"

#define JUMP_MIN (1u << 20) /* skipping less costs less than a new connection */
#define AHEAD    (64u << 10) /* asked for where more is read than was wanted */
/* Bytes that nobody wants are fetched all the same where the gap is smaller: another range in the
 * same request costs 20 bytes up and 120 down, a request of its own a round trip. */
#define GAP_PARTS (2u << 10)
#define GAP_ONE   (64u << 10)

struct source_http {
	struct source base;
	struct source_options options;
	struct http_fetch *fetch;
	char url[HTTP_URL_MAX + 1];
	char display[256];
	bool hinted;
	struct source_wants wants;
	uint64_t planned; /* up to here it was asked for, as far as it is wanted */
	bool told; /* that the server takes no ranges */
};

static bool takes_ranges(const struct source_http *http)
{
	return http_file_takes_ranges(http_fetch_file(http->fetch));
}

static bool at_end(const struct source_http *http)
{
	const struct http_file *file = http_fetch_file(http->fetch);

	return file->has_total && http->base.offset >= file->total;
}

/* From here on nothing is on its way. */
static void go_to(struct source_http *http, uint64_t at)
{
	http_fetch_reset(http->fetch);
	http->planned = at;
}

/* ---- what is asked for ---- */

/* The next wanted ranges behind what was asked for already, as many as one request may have. */
static size_t gather(struct source_http *http, struct source_range ranges[static HTTP_RANGES_MAX])
{
	const struct http_file *file = http_fetch_file(http->fetch);
	size_t max = http_fetch_ranges_max(http->fetch);
	uint64_t gap = max > 1 ? GAP_PARTS : GAP_ONE;
	uint64_t end = http_fetch_end(http->fetch);
	uint64_t from = end > http->planned ? end : http->planned;
	size_t count = 0;

	while (count < max && http->wants.next(http->wants.arg, from, gap, &ranges[count])) {
		struct source_range *range = &ranges[count];

		/* What a store says may lie anywhere. */
		if (file->has_total && range->end > file->total)
			range->end = file->total;
		if (range->start >= range->end)
			break;
		from = range->end;
		count++;
	}
	return count;
}

static int ask(
	struct source_http *http, const struct source_range *ranges, size_t count, struct err *err)
{
	http->planned = ranges[count - 1].end;
	return http_fetch_ask(http->fetch, ranges, count, err);
}

/* The reader waits for these, and they are not on their way. */
static int ask_here(struct source_http *http, struct err *err)
{
	uint64_t at = http->base.offset;
	struct source_range range = {at, HTTP_OPEN};

	/* A stream goes on as one. */
	if (http->hinted && (takes_ranges(http) || !http_fetch_file(http->fetch)->begun))
		range.end = at + AHEAD;
	return ask(http, &range, 1, err);
}

static int ask_ahead(struct source_http *http, struct err *err)
{
	struct source_range ranges[HTTP_RANGES_MAX];
	struct source_range next;
	size_t count;

	while (http_fetch_has_room(http->fetch)) {
		bool waits = !http_fetch_next(http->fetch, &next);
		bool streams = http_fetch_file(http->fetch)->begun && !takes_ranges(http);

		if (at_end(http))
			return 0;
		count = http->hinted && !streams ? gather(http, ranges) : 0;
		if (waits && (count == 0 || ranges[0].start > http->base.offset))
			return ask_here(http, err);
		if (count == 0)
			return 0;
		if (ask(http, ranges, count, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- reading ---- */

/* One turn, until something can be read at the reader's place. */
static int turn(struct source_http *http, struct err *err)
{
	struct source_range next;

	/* The reader is where nobody expected it. */
	if (http_fetch_next(http->fetch, &next) && next.start != http->base.offset)
		go_to(http, http->base.offset);
	if (http_fetch_gave_up(http->fetch))
		go_to(http, http->base.offset);
	if (ask_ahead(http, err) < 0)
		return -1;
	return http_fetch_pump(http->fetch, err);
}

static int source_http_read(
	struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	struct source_http *http = (struct source_http *)source;
	struct source_range next;

	for (;;) {
		if (http_fetch_idle(http->fetch) && at_end(http))
			break;
		if (http_fetch_ready(http->fetch) > 0 && http_fetch_next(http->fetch, &next) &&
			next.start == http->base.offset)
			break;
		if (turn(http, err) < 0)
			return -1;
	}
	*ret_len = http_fetch_take(http->fetch, buf, cap);
	return 0;
}

/* ---- skipping ---- */

static void tell_no_ranges(struct source_http *http)
{
	if (http->told || !http_fetch_file(http->fetch)->begun || takes_ranges(http) ||
		!http->options.listener.note)
		return;
	http->told = true;
	http->options.listener.note(http->options.listener.arg,
		"the server takes no ranges: what is not wanted is fetched, too");
}

/* The bytes up to `end` that are on their way already, so that the connection can be used again. */
static int drain(struct source_http *http, uint64_t end, struct err *err)
{
	struct source_range next;

	while (http_fetch_next(http->fetch, &next) && next.start < end) {
		if (http_fetch_take(http->fetch, NULL, (size_t)(end - next.start)) == 0 &&
			http_fetch_pump(http->fetch, err) < 0)
			return -1;
	}
	return 0;
}

/* Asks for the bytes from further on, if that is worth a request and the server can do it. */
static int source_http_skip(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err)
{
	struct source_http *http = (struct source_http *)source;
	const struct http_file *file = http_fetch_file(http->fetch);
	uint64_t at = source->offset;
	struct source_range next;
	uint64_t target;

	if (!file->has_total || !takes_ranges(http) || at_end(http)) {
		if (len >= JUMP_MIN)
			tell_no_ranges(http);
		return 0;
	}
	target = len < file->total - at ? at + len : file->total;
	*ret_len = target - at;
	if (http_fetch_next(http->fetch, &next) && next.start < target) {
		uint64_t rest = http_fetch_missing(http->fetch);

		if (target < next.end && target - at < http_fetch_ready(http->fetch) + JUMP_MIN) {
			*ret_len = 0;
			return 0;
		}
		if (target < next.end || rest >= JUMP_MIN)
			go_to(http, target);
		else if (drain(http, next.end, err) < 0)
			return -1;
	}
	if (http->planned < target)
		http->planned = target;
	return 0;
}

static void source_http_want(struct source *source, const struct source_wants *wants)
{
	struct source_http *http = (struct source_http *)source;

	http->hinted = true;
	http->wants = *wants;
}

static void source_http_free(struct source *source)
{
	struct source_http *http = (struct source_http *)source;

	http_fetch_free(&http->fetch);
	free(http);
}

static const struct source_ops OPS = {
	.read = source_http_read,
	.skip = source_http_skip,
	.want = source_http_want,
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
	if (http_fetch_new(http->url, http->display, options, &http->base, &http->fetch, err) < 0) {
		source_http_free(&http->base);
		return -1;
	}
	*ret = &http->base;
	return 0;
}

const struct source_fetcher SOURCE_HTTP = {
	.prepare = source_http_prepare,
	.open = source_http_new,
};
