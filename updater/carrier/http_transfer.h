/*
 * http_transfer - one GET after another, and the bytes that come of it (wraps libcurl).
 *
 * Mechanism only: what an answer means, whether to go on, and where, is for source_http.c.
 *
 *	http_transfer_new -> { http_transfer_start -> { http_transfer_pump | http_transfer_take }*
 *	  -> http_transfer_stop }* -> http_transfer_free
 *
 * Bytes of a 200 or 206 go into a buffer of HTTP_BUFFER bytes. When it is full the transfer is
 * paused, so that TCP slows the server down. Other bodies are pages for people, and dropped.
 *
 * The body's length is counted here and not by libcurl, which takes no notice of bytes beyond
 * Content-Length. Redirects are not followed.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_TRANSFER_H
#define ABIDE_UPDATER_CARRIER_HTTP_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_response.h"
#include "updater/err.h"
#include "updater/mem.h"

#define HTTP_BUFFER     (256u << 10)
#define HTTP_URL_MAX    4096u
#define HTTP_REASON_MAX 200u

struct http_transfer;

enum http_end {
	HTTP_RUNNING,
	HTTP_CLOSED, /* the server ended it, in order as far as HTTP can tell */
	HTTP_EXCESS, /* more bytes than it announced */
	HTTP_BROKEN, /* resolving, connecting, sending, receiving: may work next time */
	HTTP_TLS, /* the certificate is not accepted */
	HTTP_NO_CA, /* no certificates to judge it by */
};

/* The running transfer, or the last one. */
struct http_progress {
	enum http_end end;
	char reason[HTTP_REASON_MAX + 1]; /* in words, printable; unless running or closed */
	struct http_response response;
	uint64_t received; /* bytes of its body that came in */
};

/* ca: borrowed PEM; empty: the system's. */
int http_transfer_new(const struct bytes *ca, struct http_transfer **ret, struct err *err);
void http_transfer_free(struct http_transfer **transfer);
/* From byte `from` up to, not including, `to` (0: the end); `validator` (or NULL) goes into If-Range.
 * Ends a running one; what is in the buffer stays. With `from` and `to` the connection is used again
 * if the server lets it, and bytes beyond Content-Length are dropped with it; else it carries one
 * answer. */
int http_transfer_start(struct http_transfer *transfer, const char *url, uint64_t from, uint64_t to,
	const char *validator, struct err *err);
/* Does what can be done at once; if that is nothing waits for at most that long. */
int http_transfer_pump(struct http_transfer *transfer, int timeout_ms, struct err *err);
const struct http_progress *http_transfer_progress(const struct http_transfer *transfer);
/* Where a redirect leads, absolute; false if nowhere. *ret_secure: it came over TLS. */
bool http_transfer_redirect(
	const struct http_transfer *transfer, char ret[static HTTP_URL_MAX + 1], bool *ret_secure);
size_t http_transfer_buffered(const struct http_transfer *transfer);
/* At most cap bytes out of the buffer. */
size_t http_transfer_take(struct http_transfer *transfer, void *buf, size_t cap);
/* Forgets what is in the buffer. */
void http_transfer_discard(struct http_transfer *transfer);
/* Ends a running one; what is in the buffer stays. */
void http_transfer_stop(struct http_transfer *transfer);

#endif
