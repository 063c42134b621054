/*
 * http_response - what a server's header lines say about the body that follows. Pure.
 *
 * Source: RFC 9110 (ranges, validators), RFC 9112.
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_RESPONSE_H
#define ABIDE_UPDATER_CARRIER_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_VALIDATOR_MAX 255u
#define HTTP_BOUNDARY_MAX  70u /* RFC 2046 */

struct http_response {
	unsigned int status; /* 0: none yet */
	bool complete; /* the empty line was seen */
	bool malformed; /* a number that is none, two lengths that differ */
	bool has_length; /* Content-Length; not if chunked */
	uint64_t length;
	bool chunked;
	bool encoded; /* Content-Encoding other than identity */
	bool takes_ranges; /* Accept-Ranges: bytes */
	bool refuses_ranges; /* Accept-Ranges: none */
	bool has_range; /* Content-Range: bytes START-LAST/TOTAL */
	uint64_t range_start;
	uint64_t range_end; /* LAST + 1 */
	bool has_range_total;
	uint64_t range_total;
	char boundary[HTTP_BOUNDARY_MAX + 1]; /* of multipart/byteranges; else "" */
	char etag[HTTP_VALIDATOR_MAX + 1]; /* "" if none, or too long to keep */
	char modified[HTTP_VALIDATOR_MAX + 1];
};

/* One line as it came, with or without its end. A status line starts over. */
void http_response_line(struct http_response *response, const char *text, size_t len);
/* One field of a header, "Name: value". What is not known is left out. */
void http_response_field(struct http_response *response, const char *text, size_t len);
/* Whether two answers are about the same bytes, as far as they say. */
bool http_response_same(const struct http_response *a, const struct http_response *b);
/* What may stand in If-Range; NULL if there is nothing (a weak tag may not). */
const char *http_response_validator(const struct http_response *response);
/* "Not Found" for 404; "" for one without a well-known name. */
const char *http_status_text(unsigned int status);

#endif
