/*
 * http_patience - how often a broken transfer is tried again, after how long, and how slow a server may
 * be. Time counts only while somebody waits for the server: a slow disk on the other side is not a
 * slow server.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_PATIENCE_H
#define ABIDE_UPDATER_CARRIER_HTTP_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "updater/carrier/source.h"

struct http_patience {
	const struct source_options
		*options; /* borrowed: stall_timeout, min_rate, retries, alive */
	unsigned int attempts;
	uint64_t gained; /* bytes since they began to count */
	int64_t window_ms; /* waited in this window of stall_timeout, for the rate */
	uint64_t window_bytes;
};

int64_t http_now_ms(void); /* of a clock that nobody sets */
void http_patience_gain(struct http_patience *patience, uint64_t bytes);
/* One more retry; false: there were too many in a row. `attempts` says which one it is. */
bool http_patience_retry(struct http_patience *patience);
/* Waits as long as fits that retry. */
void http_patience_back_off(const struct http_patience *patience);
/* After that long a wait: the last window's bytes were too few. */
bool http_patience_too_slow(struct http_patience *patience, int64_t waited_ms, uint64_t *ret_bytes);

#endif
