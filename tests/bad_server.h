/*
 * bad_server - a small HTTP server on loopback that misbehaves in one chosen way. For the tests of
 * the carrier in process, and as a program (tests/tools/badserver.c) for those of the command line.
 */
#ifndef ABIDE_TESTS_BAD_SERVER_H
#define ABIDE_TESTS_BAD_SERVER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The modes; each serves the file, with ranges and an ETag, but:
 *
 *	good             nothing is wrong
 *	reset-once       the first answer is cut by a reset half-way
 *	reset-always     every answer is, after a tenth of the file
 *	reset-no-ranges  as reset-once, and ranges are ignored
 *	reset-refused    as reset-once, and says "Accept-Ranges: none"
 *	reset-changed    as reset-once, and then it is another file (ETag)
 *	reset-wrong      as reset-once, and then the range is not the one asked for
 *	reset-busy       as reset-once, and then 503, once
 *	short            closes after half of Content-Length; no ranges
 *	longer           more bytes than Content-Length
 *	drip             ten bytes, ten times a second
 *	hang             never answers
 *	hang-body        half of the file, then silence; no ranges
 *	hang-once        as hang-body for the first answer, with ranges
 *	encoded          Content-Encoding: gzip
 *	garbage          not HTTP
 *	redirect         302 to `argument`
 *	chunked          chunked, without a length
 *	chunked-cut      chunked, closed before the last chunk
 *	close            neither length nor chunks: the body ends with the connection
 *	range            serves exactly the range that was asked for, also from the first byte on
 *	range-wrong      as range, but from the second answer on another one
 *	range-whole      ... 200 and the whole file
 *	range-changed    ... of another file (ETag)
 *	range-parts      ... as multipart/byteranges
 *	range-endless    ... to the end of the file
 *	range-encoded    ... with Content-Encoding: gzip
 *	range-refused    answers 416 to every range
 *	range-gone       ... 416, though the range is there
 *	range-short      announces fewer bytes than its Content-Range has
 *	range-late       as range, but the last byte of Content-Range is another one
 *	parts            as range, and several ranges as multipart/byteranges
 *	parts-whole      ... 200 and the whole file to several
 *	parts-refused    ... 416
 *	parts-swapped    ... the first two in the other order
 *	parts-joined     ... as one, with what is between them
 *	parts-fewer      ... without the last one
 *	parts-more       ... one twice
 *	parts-wrong      ... one that begins a byte later
 *	parts-total      ... of a file of another length
 *	parts-changed    ... of another file (ETag)
 *	parts-malformed  ... with another boundary than announced
 *	parts-endless    ... the first of which does not end
 *	parts-encoded    ... with Content-Encoding: gzip in a part
 *	parts-cut        ... once cut by a reset in the middle of the first part
 *	parts-empty      ... closed behind the header
 */
struct bad_server {
	const char *mode;
	const char *argument; /* redirect */
	const uint8_t *data;
	size_t len;
};

/* A listening socket on a free port of 127.0.0.1; -1 with errno. */
int bad_server_listen(unsigned int *ret_port);
/* Serves for ever. Returns only if the mode is unknown. */
void bad_server_run(const struct bad_server *server, int fd);

#endif
