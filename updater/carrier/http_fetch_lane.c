/*
 * http_fetch_lane - one request of several: asked, judged, counted, lost and begun again (the picture
 * in http_fetch.h).
 */
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#include "updater/carrier/http_fetch_state.h"

#define REDIRECTS_MAX 5u

int http_fetch_fail(const struct http_fetch *fetch, struct err *err, const char *fmt, ...)
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

int http_fetch_start(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
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
		return http_fetch_fail(fetch, err,
			"connection lost at %s (%s); gave up after %u retries", at, reason,
			fetch->options.retries);
	(void)snprintf(text, sizeof(text), "connection lost at %s (%s), resuming (%u of %u)", at,
		reason, fetch->patience.attempts, fetch->options.retries);
	note(fetch, text);
	http_patience_back_off(&fetch->patience);
	return http_fetch_start(fetch, lane, err);
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
		return http_fetch_fail(fetch, err, "%s", reason);
	http_lane_where(lane, &fetch->file, at, sizeof(at));
	if (fetch->file.first.refuses_ranges)
		return http_fetch_fail(fetch, err,
			"connection lost at %s (%s), and the server does not take ranges", at,
			reason);
	/* Some servers find out that they cannot do it when the header is sent. */
	if (lane->judged && lane->received == 0 && lane->count - lane->in > 1)
		return give_up(fetch);
	http_transfer_stop(lane->transfer);
	fetch->base->resumed++;
	if (lane == &fetch->lanes[fetch->first])
		return retry(fetch, lane, reason, err);
	lane->parked = true;
	return 0;
}

/* The server takes no more requests at a time, or has a bad moment. */
static int is_busy(
	struct http_fetch *fetch, struct http_lane *lane, const char *reason, struct err *err)
{
	if (lane != &fetch->lanes[fetch->first])
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
		return http_fetch_fail(fetch, err, "the server redirects to nowhere");
	if (++lane->redirects > REDIRECTS_MAX)
		return http_fetch_fail(fetch, err, "more than %u redirects", REDIRECTS_MAX);
	source_url_display(url, shown, sizeof(shown));
	if (!source_is_url(url))
		return http_fetch_fail(
			fetch, err, "redirected to '%s', which is neither http nor https", shown);
	if (secure && strncasecmp(url, "https:", 6) != 0)
		return http_fetch_fail(fetch, err,
			"redirected from https down to '%s', which is not followed", shown);
	return start_at(fetch, lane, url, err);
}

static int ask_for_less(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	if (lane->count - lane->in > 1)
		return give_up(fetch);
	lane->ranges[lane->in].end = HTTP_OPEN;
	return http_fetch_start(fetch, lane, err);
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
	return http_fetch_fail(fetch, err, "%s", text);
}

/* Where a redirect leads libcurl says only at its end. */
static bool can_judge(const struct http_lane *lane)
{
	const struct http_progress *progress = http_transfer_progress(lane->transfer);

	return !lane->judged && progress->response.complete &&
	       (progress->end != HTTP_RUNNING || !http_is_redirect(progress->response.status));
}

/* ---- its end, and silence ---- */

static int on_end(struct http_fetch *fetch, struct http_lane *lane, struct err *err)
{
	const struct http_progress *progress = http_transfer_progress(lane->transfer);

	switch (progress->end) {
	case HTTP_RUNNING:
		return 0;
	case HTTP_EXCESS:
		return http_fetch_fail(fetch, err,
			"the server sent more than the %llu bytes it announced",
			(unsigned long long)progress->response.length);
	case HTTP_BAD_PARTS:
		return http_fetch_fail(fetch, err, "the server's multipart answer is malformed");
	case HTTP_OTHER_PARTS:
		return give_up(fetch);
	case HTTP_TLS:
		return http_fetch_fail(fetch, err,
			"the server's TLS certificate is not accepted: %s", progress->reason);
	case HTTP_NO_CA:
		return http_fetch_fail(fetch, err, "no usable CA certificates: %s (set ca-file)",
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
		return http_fetch_fail(fetch, err, "no answer within %u seconds", seconds);
	(void)snprintf(reason, sizeof(reason), "not a byte for %u seconds", seconds);
	return lose(fetch, lane, reason, err);
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
		return http_fetch_fail(fetch, err,
			"the server sent more than was asked for (up to byte %llu)",
			(unsigned long long)lane->in_at);
	return 0;
}

int http_fetch_step(
	struct http_fetch *fetch, struct http_lane *lane, int64_t waited, struct err *err)
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
	if (!http_lane_running(lane))
		return on_end(fetch, lane, err);
	return http_lane_complete(lane) ? 0 : check_silence(fetch, lane, err);
}
