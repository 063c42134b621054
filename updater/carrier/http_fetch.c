#include "updater/carrier/http_fetch.h"

#include <stdlib.h>

#include "updater/carrier/http_fetch_state.h"

#define ON_ITS_WAY (1u << 20) /* bytes: as long as there are fewer, more is asked for */
#define SLICE_MS   250
#define LINGER_MS  1000

/* The lanes in the order of their ranges. */
static struct http_lane *lane_at(struct http_fetch *fetch, size_t i)
{
	return &fetch->lanes[(fetch->first + i) % HTTP_LANES];
}

static const struct http_lane *first_lane(const struct http_fetch *fetch)
{
	return &fetch->lanes[fetch->first];
}

/* ---- pumping ---- */

static void remove_first(struct http_fetch *fetch)
{
	struct http_lane *lane = lane_at(fetch, 0);

	http_transfer_stop(lane->transfer);
	(void)http_transfer_drop(lane->transfer, HTTP_BUFFER);
	fetch->first = (fetch->first + 1) % HTTP_LANES;
	fetch->used--;
}

/* A whole answer has ended, or it has had time enough to end. */
static bool is_over(const struct http_lane *lane)
{
	return http_lane_handed_out(lane) &&
	       (!http_lane_running(lane) || lane->silent_ms >= LINGER_MS);
}

static int check_rate(struct http_fetch *fetch, int64_t waited, struct err *err)
{
	uint64_t bytes = 0;

	if (!http_patience_too_slow(&fetch->patience, waited, &bytes))
		return 0;
	return http_fetch_fail(fetch, err,
		"the server is too slow: %llu bytes in %u seconds, expected at least %u a second",
		(unsigned long long)bytes, fetch->options.stall_timeout, fetch->options.min_rate);
}

int http_fetch_pump(struct http_fetch *fetch, struct err *err)
{
	int64_t before = http_now_ms();
	int64_t waited;

	if (fetch->used > 0 && lane_at(fetch, 0)->parked &&
		http_fetch_start(fetch, lane_at(fetch, 0), err) < 0)
		return -1;
	if (http_pool_pump(fetch->pool, SLICE_MS, err) < 0)
		return err_wrap(err, "'%s'", fetch->display);
	waited = http_now_ms() - before;
	for (size_t i = 0; i < fetch->used && !fetch->gave_up; i++)
		if (http_fetch_step(fetch, lane_at(fetch, i), waited, err) < 0)
			return -1;
	while (fetch->used > 0 && is_over(lane_at(fetch, 0)))
		remove_first(fetch);
	return check_rate(fetch, waited, err);
}

/* ---- asking ---- */

const struct http_file *http_fetch_file(const struct http_fetch *fetch)
{
	return &fetch->file;
}

size_t http_fetch_ranges_max(const struct http_fetch *fetch)
{
	bool may = fetch->several != SEVERAL_NOT && fetch->file.has_total &&
		   http_file_takes_ranges(&fetch->file);

	return may ? HTTP_RANGES_MAX : 1;
}

bool http_fetch_has_room(const struct http_fetch *fetch)
{
	uint64_t left = 0;

	if (fetch->used == 0)
		return true;
	if (!fetch->file.begun || fetch->used >= fetch->lanes_max)
		return false;
	for (size_t i = 0; i < fetch->used && left < ON_ITS_WAY; i++) {
		const struct http_lane *lane = &fetch->lanes[(fetch->first + i) % HTTP_LANES];
		uint64_t more = http_lane_left(lane, &fetch->file);

		/* Its answer says how to go on. */
		if (lane->count > 1 && fetch->several == SEVERAL_UNKNOWN)
			return false;
		left = more < ON_ITS_WAY ? left + more : ON_ITS_WAY;
	}
	return left < ON_ITS_WAY;
}

uint64_t http_fetch_end(const struct http_fetch *fetch)
{
	size_t last = (fetch->first + fetch->used + HTTP_LANES - 1) % HTTP_LANES;
	const struct http_lane *lane = &fetch->lanes[last];

	return fetch->used ? http_lane_end(lane, &fetch->file, lane->count - 1) : 0;
}

int http_fetch_ask(
	struct http_fetch *fetch, const struct source_range *ranges, size_t count, struct err *err)
{
	struct http_lane *lane = lane_at(fetch, fetch->used);

	if (!lane->transfer && http_transfer_new(fetch->pool, &lane->transfer, err) < 0)
		return -1;
	http_lane_assign(lane, ranges, count);
	fetch->used++;
	return http_fetch_start(fetch, lane, err);
}

/* ---- handing out ---- */

bool http_fetch_idle(const struct http_fetch *fetch)
{
	return fetch->used == 0;
}

bool http_fetch_next(const struct http_fetch *fetch, struct source_range *ret)
{
	for (size_t i = 0; i < fetch->used; i++) {
		const struct http_lane *lane = &fetch->lanes[(fetch->first + i) % HTTP_LANES];

		if (http_lane_handed_out(lane))
			continue;
		ret->start = lane->out_at;
		ret->end = http_lane_end(lane, &fetch->file, lane->out);
		return true;
	}
	return false;
}

size_t http_fetch_ready(const struct http_fetch *fetch)
{
	return fetch->used ? http_lane_ready(first_lane(fetch), &fetch->file) : 0;
}

uint64_t http_fetch_missing(const struct http_fetch *fetch)
{
	return fetch->used ? http_lane_missing(first_lane(fetch), &fetch->file) : 0;
}

static void handed_out(struct http_fetch *fetch, size_t len)
{
	struct http_lane *lane = lane_at(fetch, 0);

	http_lane_hand_out(lane, &fetch->file, len);
	if (http_lane_handed_out(lane) && !http_lane_running(lane))
		remove_first(fetch);
}

size_t http_fetch_take(struct http_fetch *fetch, void *buf, size_t cap)
{
	size_t ready = http_fetch_ready(fetch);
	size_t n = ready < cap ? ready : cap;

	if (n == 0)
		return 0;
	n = buf ? http_transfer_take(lane_at(fetch, 0)->transfer, buf, n)
		: http_transfer_drop(lane_at(fetch, 0)->transfer, n);
	handed_out(fetch, n);
	return n;
}

void http_fetch_reset(struct http_fetch *fetch)
{
	while (fetch->used > 0)
		remove_first(fetch);
	fetch->gave_up = false;
}

bool http_fetch_gave_up(const struct http_fetch *fetch)
{
	return fetch->gave_up;
}

/* ---- making one ---- */

int http_fetch_new(const char *url, const char *display, const struct source_options *options,
	struct source *base, struct http_fetch **ret, struct err *err)
{
	void *p = NULL;
	struct http_fetch *fetch;

	if (mem_alloc(sizeof(*fetch), &p, err) < 0)
		return -1;
	fetch = p;
	fetch->base = base;
	fetch->options = *options;
	fetch->url = url;
	fetch->display = display;
	fetch->lanes_max = HTTP_LANES;
	fetch->patience.options = &fetch->options;
	if (http_pool_new(&fetch->options.ca, &fetch->pool, err) < 0) {
		http_fetch_free(&fetch);
		return -1;
	}
	*ret = fetch;
	return 0;
}

void http_fetch_free(struct http_fetch **fetch)
{
	struct http_fetch *taken = steal_ptr(fetch);

	if (!taken)
		return;
	for (size_t i = 0; i < HTTP_LANES; i++)
		http_transfer_free(&taken->lanes[i].transfer);
	http_pool_free(&taken->pool);
	free(taken);
}
