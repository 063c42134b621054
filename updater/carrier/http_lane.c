#include "updater/carrier/http_lane.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

void http_lane_assign(struct http_lane *lane, const struct source_range *ranges, size_t count)
{
	struct http_transfer *transfer = lane->transfer;

	*lane = (struct http_lane){.transfer = transfer, .count = count};
	memcpy(lane->ranges, ranges, count * sizeof(*ranges));
	lane->in_at = lane->out_at = ranges[0].start;
}

struct http_question http_lane_question(struct http_lane *lane)
{
	assert(lane->in < lane->count);
	/* What came in of this one is not asked for again. */
	lane->ranges[lane->in].start = lane->in_at;
	return (struct http_question){
		.ranges = lane->ranges + lane->in,
		.count = lane->count - lane->in,
	};
}

void http_lane_started(struct http_lane *lane)
{
	lane->judged = false;
	lane->parked = false;
	lane->received = 0;
	lane->body = 0;
	lane->silent_ms = 0;
}

uint64_t http_lane_end(const struct http_lane *lane, const struct http_file *file, size_t i)
{
	uint64_t end = lane->ranges[i].end;

	return file->has_total && file->total < end ? file->total : end;
}

bool http_lane_complete(const struct http_lane *lane)
{
	return lane->in == lane->count;
}

bool http_lane_running(const struct http_lane *lane)
{
	return !lane->parked && http_transfer_progress(lane->transfer)->end == HTTP_RUNNING;
}

bool http_lane_handed_out(const struct http_lane *lane)
{
	return lane->out == lane->count;
}

/* Steps over what has been received, or handed out, of the ranges. Returns what is too much. */
static uint64_t advance(const struct http_lane *lane, const struct http_file *file, size_t *range,
	uint64_t *at, uint64_t len)
{
	while (*range < lane->count) {
		uint64_t end = http_lane_end(lane, file, *range);
		uint64_t n = end - *at < len ? end - *at : len;

		*at += n;
		len -= n;
		if (*at < end)
			break;
		if (++*range < lane->count)
			*at = lane->ranges[*range].start;
	}
	return len;
}

bool http_lane_update(struct http_lane *lane, const struct http_file *file, uint64_t *ret_fresh)
{
	const struct http_progress *progress = http_transfer_progress(lane->transfer);
	uint64_t fresh = lane->judged ? progress->received - lane->received : 0;

	*ret_fresh = progress->body - lane->body;
	lane->body = progress->body;
	lane->received += fresh;
	return advance(lane, file, &lane->in, &lane->in_at, fresh) == 0;
}

void http_lane_close(struct http_lane *lane)
{
	lane->ranges[lane->in].end = lane->in_at;
	lane->count = ++lane->in;
	if (lane->out_at == lane->in_at)
		lane->out = lane->in;
}

uint64_t http_lane_left(const struct http_lane *lane, const struct http_file *file)
{
	uint64_t left = 0;

	for (size_t i = lane->in; i < lane->count; i++) {
		uint64_t end = http_lane_end(lane, file, i);

		if (end == HTTP_OPEN)
			return HTTP_OPEN;
		left += end - (i == lane->in ? lane->in_at : lane->ranges[i].start);
	}
	return left;
}

void http_lane_hand_out(struct http_lane *lane, const struct http_file *file, size_t len)
{
	(void)advance(lane, file, &lane->out, &lane->out_at, len); /* it was there */
}

size_t http_lane_ready(const struct http_lane *lane, const struct http_file *file)
{
	if (http_lane_handed_out(lane))
		return 0;
	if (lane->in == lane->out)
		return (size_t)(lane->in_at - lane->out_at); /* in the buffer: it fits */
	return (size_t)(http_lane_end(lane, file, lane->out) - lane->out_at);
}

uint64_t http_lane_missing(const struct http_lane *lane, const struct http_file *file)
{
	uint64_t end;

	if (lane->in != lane->out || http_lane_complete(lane))
		return 0;
	end = http_lane_end(lane, file, lane->in);
	return end == HTTP_OPEN ? HTTP_OPEN : end - lane->in_at;
}

void http_lane_where(
	const struct http_lane *lane, const struct http_file *file, char *ret, size_t cap)
{
	if (file->has_total)
		(void)snprintf(ret, cap, "%llu of %llu bytes", (unsigned long long)lane->in_at,
			(unsigned long long)file->total);
	else
		(void)snprintf(ret, cap, "%llu bytes", (unsigned long long)lane->in_at);
}
