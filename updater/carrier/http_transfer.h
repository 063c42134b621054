/*
 * http_transfer - GETs, several at a time, and the bytes that come of each (wraps libcurl).
 *
 * Mechanism only: what an answer means, whether to go on, and where, is for http_fetch.c.
 *
 *	http_pool_new -> http_transfer_new (each)
 *	  -> { http_transfer_start -> { http_pool_pump | http_transfer_take }* -> http_transfer_stop }*
 *	  -> http_transfer_free (each) -> http_pool_free
 *
 * The transfers of a pool share its connections; each has one of its own while it runs. Bytes of a
 * 200 or 206 go into the transfer's buffer of HTTP_BUFFER bytes; of a multipart answer, those of its
 * parts. When it is full the transfer is paused, so that TCP slows the server down. Other bodies are
 * pages for people, and dropped.
 *
 * The body's length is counted here and not by libcurl, which takes no notice of bytes beyond
 * Content-Length. Redirects are not followed.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_TRANSFER_H
#define ABIDE_UPDATER_CARRIER_HTTP_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_answer.h"
#include "updater/carrier/http_response.h"
#include "updater/carrier/source.h"
#include "updater/err.h"
#include "updater/mem.h"

#define HTTP_BUFFER     (256u << 10)
#define HTTP_URL_MAX    4096u
#define HTTP_REASON_MAX 200u
/* A Range field of them stays under 4 KiB: servers take lines of 8 KiB, and Apache 200 ranges. */
#define HTTP_RANGES_MAX 100u

struct http_pool;
struct http_transfer;

/* 1 to HTTP_RANGES_MAX ranges, which do not touch. HTTP_OPEN may end a single one. */
struct http_request {
	const char *url;
	struct http_question question; /* its ranges are borrowed until the transfer has ended */
	uint64_t total; /* of the file; where there are several ranges */
	const char *validator; /* for If-Range; or NULL */
};

enum http_end {
	HTTP_RUNNING,
	HTTP_CLOSED, /* the server ended it, in order as far as HTTP can tell */
	HTTP_EXCESS, /* more bytes than it announced */
	HTTP_BAD_PARTS, /* a multipart answer that is malformed, or of another file */
	HTTP_OTHER_PARTS, /* one that has other parts, or in another order, than asked for */
	HTTP_BROKEN, /* resolving, connecting, sending, receiving: may work next time */
	HTTP_TLS, /* the certificate is not accepted */
	HTTP_NO_CA, /* no certificates to judge it by */
};

/* The running transfer, or the last one. */
struct http_progress {
	enum http_end end;
	char reason[HTTP_REASON_MAX + 1]; /* in words, printable; unless running or closed */
	struct http_response response;
	uint64_t body; /* bytes of its body that came in */
	uint64_t received; /* those of them that are the file's */
};

/* ca: PEM, borrowed until it is freed; empty: the system's. */
int http_pool_new(const struct bytes *ca, struct http_pool **ret, struct err *err);
void http_pool_free(struct http_pool **pool);
/* Does for all transfers what can be done at once; if that is nothing waits for at most that long. */
int http_pool_pump(struct http_pool *pool, int timeout_ms, struct err *err);

int http_transfer_new(struct http_pool *pool, struct http_transfer **ret, struct err *err);
void http_transfer_free(struct http_transfer **transfer);
/* Ends a running one; what is in the buffer stays. Where the answer has a length that was asked for,
 * the connection is used again if the server lets it, and bytes beyond Content-Length are dropped with
 * it; else it carries one answer. */
int http_transfer_start(
	struct http_transfer *transfer, const struct http_request *request, struct err *err);
const struct http_progress *http_transfer_progress(const struct http_transfer *transfer);
/* Where a redirect leads, absolute; false if nowhere. *ret_secure: it came over TLS. */
bool http_transfer_redirect(
	const struct http_transfer *transfer, char ret[static HTTP_URL_MAX + 1], bool *ret_secure);
/* Its buffer is full: nothing comes until some of it is taken. */
bool http_transfer_paused(const struct http_transfer *transfer);
size_t http_transfer_buffered(const struct http_transfer *transfer);
/* At most cap bytes out of the buffer. */
size_t http_transfer_take(struct http_transfer *transfer, void *buf, size_t cap);
/* Forgets what is in the buffer, or at most `len` bytes of it; says how many it was. */
size_t http_transfer_drop(struct http_transfer *transfer, size_t len);
/* Ends a running one; what is in the buffer stays. */
void http_transfer_stop(struct http_transfer *transfer);

#endif
