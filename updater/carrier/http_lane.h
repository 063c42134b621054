/*
 * http_lane - one of several requests of http_fetch.c: its ranges, how far they came in and how far
 * they were handed out. Bookkeeping only.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_LANE_H
#define ABIDE_UPDATER_CARRIER_HTTP_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_answer.h"
#include "updater/carrier/http_transfer.h"
#include "updater/carrier/source.h"

struct http_lane {
	struct http_transfer *transfer;
	struct source_range ranges[HTTP_RANGES_MAX];
	size_t count;
	size_t in, out; /* the ranges that are received, and handed out */
	uint64_t in_at, out_at; /* in them: the next byte */
	bool judged; /* the answer's body is what was asked for */
	bool parked; /* lost, to go on when it is the first */
	unsigned int redirects;
	uint64_t received; /* of the transfer, when it was last looked at: the file's bytes */
	uint64_t body; /* and all of the body */
	int64_t silent_ms; /* waited since the last byte */
};

void http_lane_assign(struct http_lane *lane, const struct source_range *ranges, size_t count);
/* What is still to be asked for; not if complete. */
struct http_question http_lane_question(struct http_lane *lane);
/* A transfer was started for that question. */
void http_lane_started(struct http_lane *lane);
/* Takes in the transfer's progress. False: more bytes came than were asked for. */
bool http_lane_update(struct http_lane *lane, const struct http_file *file, uint64_t *ret_fresh);
/* Where range i ends: HTTP_OPEN if nobody knows. */
uint64_t http_lane_end(const struct http_lane *lane, const struct http_file *file, size_t i);
bool http_lane_complete(const struct http_lane *lane);
/* Its transfer is under way. */
bool http_lane_running(const struct http_lane *lane);
/* The file has ended, without having said where it would. */
void http_lane_close(struct http_lane *lane);
/* Bytes that are still to come; HTTP_OPEN if nobody knows. */
uint64_t http_lane_left(const struct http_lane *lane, const struct http_file *file);
/* Of the range that is handed out: bytes that came in, and those that are still to come. Those of an
 * answer that is not judged yet are not among the former. */
size_t http_lane_ready(const struct http_lane *lane, const struct http_file *file);
uint64_t http_lane_missing(const struct http_lane *lane, const struct http_file *file);
/* "1000 of 5000 bytes": how far it came in. */
void http_lane_where(
	const struct http_lane *lane, const struct http_file *file, char *ret, size_t cap);
bool http_lane_handed_out(const struct http_lane *lane);
/* len bytes were taken out of the transfer's buffer, all of one range. */
void http_lane_hand_out(struct http_lane *lane, const struct http_file *file, size_t len);

#endif
