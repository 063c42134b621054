#include "updater/carrier/http_fetch.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "updater/carrier/http_lane.h"
#include "updater/carrier/http_patience.h"

#define LANES         3u
#define ON_ITS_WAY    (1u << 20) /* bytes: as long as there are fewer, more is asked for */
#define SLICE_MS      250
#define LINGER_MS     1000
#define REDIRECTS_MAX 5u

enum several {
	SEVERAL_UNKNOWN, /* ranges at once: not tried yet */
	SEVERAL_TAKEN,
	SEVERAL_NOT,
};

struct http_fetch {
	struct source *base;
	struct source_options options;
	struct http_pool *pool;
	const char *url;
	const char *display;
	struct http_file file;
	struct http_lane lanes[LANES];
	size_t first; /* of the queue, which wraps */
	size_t used;
	size_t lanes_max; /* the server takes no more at a time */
	enum several several;
	bool gave_up;
	struct http_patience patience;
};

__attribute__((format(printf, 3, 4))) static int fail(
	const struct http_fetch *fetch, struct err *err, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args); /* a long message is cut */
	va_end(args);
	return err_set(err, FAIL_NETWORK, "'%s': %s", fetch->display, text);
}

static void alive(const struct http_fetch *fetch)
{
	if (fetch->options.listener.alive)
		fetch->options.listener.alive(fetch->options.listener.arg);
}

static void note(const struct http_fetch *fetch, const char *text)
{
	if (fetch->options.listener.note)
		fetch->options.listener.note(fetch->options.listener.arg, text);
}

/* The lanes in the order of their ranges. */
static struct http_lane *lane_at(struct http_fetch *fetch, size_t i)
{
	return &fetch->lanes[(fetch->first + i) % LANES];
}

static const struct http_lane *first_lane(const struct http_fetch *fetch)
{
	return &fetch->lanes[fetch->first];
}

static bool is_running(const struct http_lane *lane)
{
	return !lane->parked && http_transfer_progress(lane->transfer)->end == HTTP_RUNNING;
}

static int start_at(
	struct http_fetch *fetch, struct http_lane *lane, const char *url, struct err *err)
{
	const struct http_request request = {
		.url = url,
		.question = http_lane_question(lane),
		.total = fetch->file.total,
		.validator = http_response_validator(&fetch->file.first),
	};

	http_lane_started(lane);
	if (http_transfer_start(lane->transfer, &request, err) < 0)
		return err_wrap(err, "'%s'", fetch->display);
	return 0;
}

static int start(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	lane->redirects = 0;
	return start_at(fetch, lane, fetch->url, err);
}

/* ---- going on after a loss ---- */

static int retry(
	struct http_fetch *fetch, struct http_lane *lane, const char *reason, struct err *err)
{
	char at[64];
	char text[400];

	http_lane_where(lane, &fetch->file, at, sizeof(at));
	if (!http_patience_retry(&fetch->patience))
		return fail(fetch, err, "connection lost at %s (%s); gave up after %u retries", at,
			reason, fetch->options.retries);
	(void)snprintf(text, sizeof(text), "connection lost at %s (%s), resuming (%u of %u)", at,
		reason, fetch->patience.attempts, fetch->options.retries);
	note(fetch, text);
	http_patience_back_off(&fetch->patience);
	return start(fetch, lane, err);
}

static int give_up(struct http_fetch *fetch)
{
	fetch->several = SEVERAL_NOT;
	fetch->gave_up = true;
	note(fetch, "the server does not answer several ranges at once: they are asked for one by "
		    "one");
	return 0;
}

static int lose(
	struct http_fetch *fetch, struct http_lane *lane, const char *reason, struct err *err)
{
	char at[64];

	if (!fetch->file.begun)
		return fail(fetch, err, "%s", reason);
	http_lane_where(lane, &fetch->file, at, sizeof(at));
	if (fetch->file.first.refuses_ranges)
		return fail(fetch, err,
			"connection lost at %s (%s), and the server does not take ranges", at,
			reason);
	/* Some servers find out that they cannot do it when the header is sent. */
	if (lane->judged && lane->received == 0 && lane->count - lane->in > 1)
		return give_up(fetch);
	http_transfer_stop(lane->transfer);
	fetch->base->resumed++;
	if (lane == first_lane(fetch))
		return retry(fetch, lane, reason, err);
	lane->parked = true;
	return 0;
}

/* The server takes no more requests at a time, or has a bad moment. */
static int is_busy(
	struct http_fetch *fetch, struct http_lane *lane, const char *reason, struct err *err)
{
	if (lane != first_lane(fetch))
		fetch->lanes_max = 1;
	return lose(fetch, lane, reason, err);
}

/* ---- judging an answer ---- */

static int follow_redirect(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	char url[HTTP_URL_MAX + 1];
	char shown[200];
	bool secure = false;

	if (!http_transfer_redirect(lane->transfer, url, &secure))
		return fail(fetch, err, "the server redirects to nowhere");
	if (++lane->redirects > REDIRECTS_MAX)
		return fail(fetch, err, "more than %u redirects", REDIRECTS_MAX);
	source_url_display(url, shown, sizeof(shown));
	if (!source_is_url(url))
		return fail(
			fetch, err, "redirected to '%s', which is neither http nor https", shown);
	if (secure && strncasecmp(url, "https:", 6) != 0)
		return fail(fetch, err, "redirected from https down to '%s', which is not followed",
			shown);
	return start_at(fetch, lane, url, err);
}

static int ask_for_less(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	if (lane->count - lane->in > 1)
		return give_up(fetch);
	lane->ranges[lane->in].end = HTTP_OPEN;
	return start(fetch, lane, err);
}

static int take(struct http_fetch *fetch, struct http_lane *lane)
{
	const struct http_response *response = &http_transfer_progress(lane->transfer)->response;
	struct http_question asked = http_lane_question(lane);

	http_answer_learn(&fetch->file, &asked, response);
	if (response->status == 200)
		lane->ranges[lane->in].end = HTTP_OPEN; /* though a part was asked for */
	if (asked.count > 1)
		fetch->several = SEVERAL_TAKEN;
	lane->judged = true;
	return 0;
}

static int judge(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	const struct http_response *response = &http_transfer_progress(lane->transfer)->response;
	struct http_question asked = http_lane_question(lane);
	char text[HTTP_TEXT_MAX + 1] = "";

	switch (http_answer_judge(&fetch->file, &asked, response, text)) {
	case HTTP_TAKE:
		return take(fetch, lane);
	case HTTP_REDIRECT:
		return follow_redirect(fetch, lane, err);
	case HTTP_BUSY:
		return is_busy(fetch, lane, text, err);
	case HTTP_FEWER_RANGES:
		return ask_for_less(fetch, lane, err);
	case HTTP_REFUSE:
		break;
	}
	return fail(fetch, err, "%s", text);
}

/* Where a redirect leads libcurl says only at its end. */
static bool can_judge(const struct http_lane *lane)
{
	const struct http_progress *progress = http_transfer_progress(lane->transfer);

	return !lane->judged && progress->response.complete &&
	       (progress->end != HTTP_RUNNING || !http_is_redirect(progress->response.status));
}

/* ---- pumping ---- */

static int on_end(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	const struct http_progress *progress = http_transfer_progress(lane->transfer);

	switch (progress->end) {
	case HTTP_RUNNING:
		return 0;
	case HTTP_EXCESS:
		return fail(fetch, err, "the server sent more than the %llu bytes it announced",
			(unsigned long long)progress->response.length);
	case HTTP_BAD_PARTS:
		return fail(fetch, err, "the server's multipart answer is malformed");
	case HTTP_OTHER_PARTS:
		return give_up(fetch);
	case HTTP_TLS:
		return fail(fetch, err, "the server's TLS certificate is not accepted: %s",
			progress->reason);
	case HTTP_NO_CA:
		return fail(fetch, err, "no usable CA certificates: %s (set ca-file)",
			progress->reason);
	case HTTP_CLOSED:
	case HTTP_BROKEN:
		break;
	}
	if (lane->judged && progress->end == HTTP_CLOSED && !http_lane_complete(lane) &&
		http_lane_left(lane, &fetch->file) == HTTP_OPEN) {
		http_lane_close(lane);
		fetch->file.has_total = true;
		fetch->file.total = lane->in_at;
	}
	if (http_lane_complete(lane))
		return 0;
	return lose(fetch, lane,
		progress->end == HTTP_CLOSED ? "the server closed it" : progress->reason, err);
}

static int check_silence(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	unsigned int seconds = fetch->options.stall_timeout;
	char reason[64];

	if (lane->silent_ms < (int64_t)seconds * 1000)
		return 0;
	if (!fetch->file.begun)
		return fail(fetch, err, "no answer within %u seconds", seconds);
	(void)snprintf(reason, sizeof(reason), "not a byte for %u seconds", seconds);
	return lose(fetch, lane, reason, err);
}

static int check_rate(struct http_fetch *fetch, int64_t waited, struct err *err)
{
	uint64_t bytes = 0;

	if (!http_patience_too_slow(&fetch->patience, waited, &bytes))
		return 0;
	return fail(fetch, err,
		"the server is too slow: %llu bytes in %u seconds, expected at least %u a second",
		(unsigned long long)bytes, fetch->options.stall_timeout, fetch->options.min_rate);
}

static int count(struct http_fetch *fetch, struct http_lane *lane, int64_t waited, struct err *err)
{
	uint64_t fresh = 0;
	bool good = http_lane_update(lane, &fetch->file, &fresh);

	fetch->base->fetched += fresh;
	http_patience_gain(&fetch->patience, fresh);
	if (fresh)
		alive(fetch);
	/* A lane that is full waits for us. */
	lane->silent_ms =
		fresh || http_transfer_paused(lane->transfer) ? 0 : lane->silent_ms + waited;
	if (!good)
		return fail(fetch, err, "the server sent more than was asked for (up to byte %llu)",
			(unsigned long long)lane->in_at);
	return 0;
}

static int step(struct http_fetch *fetch, struct http_lane *lane, int64_t waited, struct err *err)
{
	if (lane->parked)
		return 0;
	if (count(fetch, lane, waited, err) < 0)
		return -1;
	if (can_judge(lane)) {
		if (judge(fetch, lane, err) < 0)
			return -1;
		if (!lane->judged)
			return 0;
		if (count(fetch, lane, 0, err) < 0)
			return -1;
	}
	if (!is_running(lane))
		return on_end(fetch, lane, err);
	return http_lane_complete(lane) ? 0 : check_silence(fetch, lane, err);
}

static void remove_first(struct http_fetch *fetch)
{
	struct http_lane *lane = lane_at(fetch, 0);

	http_transfer_stop(lane->transfer);
	(void)http_transfer_drop(lane->transfer, HTTP_BUFFER);
	fetch->first = (fetch->first + 1) % LANES;
	fetch->used--;
}

/* A whole answer has ended, or it has had time enough to end. */
static bool is_over(const struct http_lane *lane)
{
	return http_lane_handed_out(lane) && (!is_running(lane) || lane->silent_ms >= LINGER_MS);
}

int http_fetch_pump(struct http_fetch *fetch, struct err *err)
{
	int64_t before = http_now_ms();
	int64_t waited;

	if (fetch->used > 0 && lane_at(fetch, 0)->parked &&
		start(fetch, lane_at(fetch, 0), err) < 0)
		return -1;
	if (http_pool_pump(fetch->pool, SLICE_MS, err) < 0)
		return err_wrap(err, "'%s'", fetch->display);
	waited = http_now_ms() - before;
	for (size_t i = 0; i < fetch->used && !fetch->gave_up; i++)
		if (step(fetch, lane_at(fetch, i), waited, err) < 0)
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
		const struct http_lane *lane = &fetch->lanes[(fetch->first + i) % LANES];
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
	size_t last = (fetch->first + fetch->used + LANES - 1) % LANES;
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
	return start(fetch, lane, err);
}

/* ---- handing out ---- */

bool http_fetch_idle(const struct http_fetch *fetch)
{
	return fetch->used == 0;
}

bool http_fetch_next(const struct http_fetch *fetch, struct source_range *ret)
{
	for (size_t i = 0; i < fetch->used; i++) {
		const struct http_lane *lane = &fetch->lanes[(fetch->first + i) % LANES];

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
	if (http_lane_handed_out(lane) && !is_running(lane))
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
	fetch->lanes_max = LANES;
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
	for (size_t i = 0; i < LANES; i++)
		http_transfer_free(&taken->lanes[i].transfer);
	http_pool_free(&taken->pool);
	free(taken);
}
