/*
 * http_fetch - a file on a server, in ranges: several requests at a time, what they bring in the order
 * in which it was asked for, and what happens when a connection breaks, stalls or creeps.
 *
 *	http_fetch_new -> { http_fetch_ask* | http_fetch_pump | http_fetch_take }* -> http_fetch_free
 *
 * Each request runs in a lane. The lanes are a queue: bytes are handed out of the first only, the
 * others fill their buffers meanwhile. What a lane goes through:
 *
 *	 ask                    200, or 206 as asked
 *	-----> waiting for an answer ----------------> body --> complete (--> lingers: the server
 *	          ^  |   ^   redirect (<= 5)             |       closes, or sends what it should not)
 *	          |  +---+                               |
 *	          +----- back-off, If-Range <------------+
 *	                                       lost, or silent
 *
 * Only the loss of the first lane is a retry. Another one waits until it is first, and then goes on
 * where it was without waiting: an outage breaks all of them, and is one outage.
 *
 * Errors: FAIL_NETWORK, with the URL.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_FETCH_H
#define ABIDE_UPDATER_CARRIER_HTTP_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_answer.h"
#include "updater/carrier/http_transfer.h"
#include "updater/carrier/source.h"

struct http_fetch;

/* `base`'s counters are kept, `options` copied, what they point to borrowed. */
int http_fetch_new(const char *url, const char *display, const struct source_options *options,
	struct source *base, struct http_fetch **ret, struct err *err);
void http_fetch_free(struct http_fetch **fetch);
const struct http_file *http_fetch_file(const struct http_fetch *fetch);
/* How many ranges one request may have: 1 until the server has shown that it takes them, and again
 * where it turned out to take only one. */
size_t http_fetch_ranges_max(const struct http_fetch *fetch);
/* Whether another request is worth while: a lane is free, and not enough is on its way. */
bool http_fetch_has_room(const struct http_fetch *fetch);
/* Has room. The ranges lie behind all that was asked for. A lone first request may get the whole file
 * instead. */
int http_fetch_ask(
	struct http_fetch *fetch, const struct source_range *ranges, size_t count, struct err *err);
/* Where the last of what was asked for ends; 0: nothing was. Further on than asked, where the server sends
 * the whole file instead. */
uint64_t http_fetch_end(const struct http_fetch *fetch);
/* One turn: what can be done at once, or a short wait. */
int http_fetch_pump(struct http_fetch *fetch, struct err *err);

/* Nothing is running, nothing left to hand out. */
bool http_fetch_idle(const struct http_fetch *fetch);
/* The next byte to be handed out, and where its range ends (HTTP_OPEN: not known). False: none. */
bool http_fetch_next(const struct http_fetch *fetch, struct source_range *ret);
/* How many of these bytes are there. */
size_t http_fetch_ready(const struct http_fetch *fetch);
/* How many of them are still to come. */
uint64_t http_fetch_missing(const struct http_fetch *fetch);
/* At most cap bytes, of one range; says how many. buf NULL: drops them. */
size_t http_fetch_take(struct http_fetch *fetch, void *buf, size_t cap);
/* Forgets all that was asked for. */
void http_fetch_reset(struct http_fetch *fetch);
/* Nothing more will come of what was asked for: several ranges were too many. To be reset, and asked
 * anew. */
bool http_fetch_gave_up(const struct http_fetch *fetch);

#endif
