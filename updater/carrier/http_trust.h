/*
 * http_trust - the authorities that servers are judged by: parsed once, and shared by all connections
 * (wraps OpenSSL).
 *
 * libcurl parses them for each connection: with those of a usual system 1.5 MB and 20 ms each.
 *
 *	http_trust_new -> { http_trust_give for each connection }* -> http_trust_free
 *
 * libcurl itself is handed the first certificate only (http_trust_first), so that it takes its own
 * way for everything else, and never has none, of which some builds of it make the system's.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_TRUST_H
#define ABIDE_UPDATER_CARRIER_HTTP_TRUST_H

#include <stdbool.h>

#include "updater/err.h"
#include "updater/mem.h"

#define HTTP_TRUST_MAX (1u << 20) /* bytes of a file of authorities */

struct http_trust;

/* pem: borrowed; empty: `file`, and what may be in `directory` under its hash (or NULL). */
int http_trust_new(const struct bytes *pem, const char *file, const char *directory,
	struct http_trust **ret, struct err *err);
void http_trust_free(struct http_trust **trust);
/* PEM, valid as long as it is. */
struct bytes http_trust_first(const struct http_trust *trust);
/* Has an SSL_CTX judge by it. The first time parses it; false: there is no certificate in it. */
bool http_trust_give(struct http_trust *trust, void *ssl_ctx);

#endif
