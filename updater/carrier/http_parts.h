/*
 * http_parts - the parts of a multipart/byteranges body, as its bytes arrive. Pure.
 *
 *	http_parts_init -> { http_parts_next until HTTP_PARTS_MORE, on what arrived }*
 *
 * Strict: the boundary that the header named, one CRLF before it, a Content-Range with a total in
 * each part, no more than HTTP_PARTS_HEAD_MAX bytes of header lines for each, and behind the last
 * one nothing but a line's end. A part is as long as its Content-Range says; the boundary is not
 * searched for in the data.
 *
 * Source: RFC 9110 section 14.6, RFC 2046 section 5.1.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_PARTS_H
#define ABIDE_UPDATER_CARRIER_HTTP_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_response.h"

#define HTTP_PARTS_LINE_MAX 255u
#define HTTP_PARTS_HEAD_MAX 1024u

enum http_parts_state {
	HTTP_PARTS_BEFORE, /* the first boundary, or a line's end before it */
	HTTP_PARTS_BETWEEN, /* the line's end behind a part */
	HTTP_PARTS_BOUNDARY,
	HTTP_PARTS_HEAD,
	HTTP_PARTS_BODY,
	HTTP_PARTS_TAIL, /* behind the closing boundary */
};

struct http_parts {
	enum http_parts_state state;
	const char *boundary; /* borrowed */
	char line[HTTP_PARTS_LINE_MAX + 1];
	size_t line_len;
	size_t head_len;
	struct http_response part; /* its range_start, range_end, range_total count */
	uint64_t left; /* bytes of its body */
};

enum http_parts_event {
	HTTP_PARTS_MORE, /* all is used up */
	HTTP_PARTS_RANGE, /* a part begins: parts->part is complete */
	HTTP_PARTS_DATA, /* bytes of it: *ret_data, *ret_len */
	HTTP_PARTS_END, /* the closing boundary */
	HTTP_PARTS_MALFORMED, /* and nothing after it makes sense */
};

void http_parts_init(struct http_parts *parts, const char *boundary);
/* Takes from *data and *len what makes one event. */
enum http_parts_event http_parts_next(struct http_parts *parts, const char **data, size_t *len,
	const char **ret_data, size_t *ret_len);

#endif
