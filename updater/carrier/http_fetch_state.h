/*
 * http_fetch_state - what the queue of lanes (http_fetch.c) and the life of one of them
 * (http_fetch_lane.c) share. Nobody else includes it.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_FETCH_STATE_H
#define ABIDE_UPDATER_CARRIER_HTTP_FETCH_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_fetch.h"
#include "updater/carrier/http_lane.h"
#include "updater/carrier/http_patience.h"

#define HTTP_LANES 3u

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
	struct http_lane lanes[HTTP_LANES];
	size_t first; /* of the queue, which wraps */
	size_t used;
	size_t lanes_max; /* the server takes no more at a time */
	enum several several;
	bool gave_up;
	struct http_patience patience;
};

/* FAIL_NETWORK, with the URL before it. */
__attribute__((format(printf, 3, 4))) int http_fetch_fail(
	const struct http_fetch *fetch, struct err *err, const char *fmt, ...);
/* Sends the request for what the lane has not yet. */
int http_fetch_start(struct http_fetch *fetch, struct http_lane *lane, struct err *err);
/* What came in meanwhile is counted and judged; what was lost is begun again. */
int http_fetch_step(
	struct http_fetch *fetch, struct http_lane *lane, int64_t waited, struct err *err);

#endif
