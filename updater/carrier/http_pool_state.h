/*
 * http_pool_state - what the connections of a pool share (http_pool.c), for those that run on it
 * (http_transfer.c). Nobody else includes it.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_POOL_STATE_H
#define ABIDE_UPDATER_CARRIER_HTTP_POOL_STATE_H

#include <curl/curl.h>
#include <stdbool.h>

#include "updater/carrier/http_transfer.h"
#include "updater/carrier/http_trust.h"

struct http_pool {
	CURLM *multi;
	struct bytes ca; /* borrowed */
	struct http_trust *trust; /* NULL: libcurl's business */
	bool moved; /* bytes came in since this was last looked at */
};

/* Has a connection judge servers by the pool's authorities. */
bool http_pool_set_trust(struct http_pool *pool, CURL *easy);

#endif
