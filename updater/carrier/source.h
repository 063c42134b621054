/*
 * source - where bundle bytes come from: a file, standard input, HTTP(S). Read once, front to back.
 *
 *	source_file_new / source_http_new -> { source_read | source_skip }* -> source_free
 *
 * source_want() and source_expect() say what of the rest will be read, so that a source which has to
 * ask for ranges asks for no more, and for several at a time.
 *
 * A source knows nothing of bundles. Errors: FAIL_IO for what is local, FAIL_NETWORK for a server,
 * a connection, TLS; the message names the source (a URL without its credentials). After an error
 * a source stays broken: `failed` says so to whoever sees only a short read.
 */
#ifndef ABIDE_UPDATER_CARRIER_SOURCE_H
#define ABIDE_UPDATER_CARRIER_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/mem.h"

struct source;

/* Bytes [start, end) of a source. */
struct source_range {
	uint64_t start;
	uint64_t end;
};

/* What will be read, asked for piece by piece so that nobody has to keep it. */
struct source_wants {
	/* The first wanted range that ends after byte `from`, cut so that it begins no earlier. Gaps
	 * of fewer than `gap` (>= 1) bytes are taken along. False: no more. An earlier `from` than
	 * last time starts over. */
	bool (*next)(void *arg, uint64_t from, uint64_t gap, struct source_range *ret);
	void *arg;
};

struct source_ops {
	/* 1..cap bytes; 0 at the end. */
	int (*read)(struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err);
	/* Moves up to `len` bytes forward without reading them and says how many it was: 0 where
	 * that is impossible or not worth it. NULL: always 0. */
	int (*skip)(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err);
	/* See source_want(). NULL: it does not matter. */
	void (*want)(struct source *source, const struct source_wants *wants);
	void (*free)(struct source *source);
};

struct source {
	const struct source_ops *ops;
	const char *name; /* for messages, printable; owned by the implementation */
	uint64_t offset; /* of the next byte that is read */
	struct source_range expected; /* see source_expect() */
	uint64_t fetched; /* bytes that came in */
	uint32_t resumed; /* reconnects after a loss */
	bool failed;
};

/* What a source does while it waits; see source_options. */
struct source_listener {
	void (*note)(void *arg, const char *text); /* for a person: "connection lost, ..." */
	void (*alive)(void *arg); /* bytes arrive, or a reconnect is prepared; may be often */
	void *arg;
};

struct source_options {
	unsigned int stall_timeout; /* seconds without a byte (HTTP: below min_rate) */
	unsigned int min_rate; /* bytes a second, over stall_timeout; HTTP only */
	unsigned int retries; /* reconnects in a row without progress; HTTP only */
	struct bytes ca; /* borrowed PEM; empty: the system's; HTTPS only */
	struct source_listener listener; /* members may be NULL */
};

/* fd is borrowed. Anything that can be read: a regular file, a block device, a pipe. */
int source_file_new(int fd, const char *name, const struct source_options *options,
	struct source **ret, struct err *err);
/* Nothing is connected before the first read. */
int source_http_new(const char *url, const struct source_options *options, struct source **ret,
	struct err *err);
/* Before a sandbox closes: has the HTTP library load what it would want to open later. */
int source_http_prepare(struct err *err);

/* What fetches from URLs, for who may or may not have it: only who names SOURCE_HTTP is linked with
 * an HTTP library. */
struct source_fetcher {
	int (*prepare)(struct err *err);
	int (*open)(const char *url, const struct source_options *options, struct source **ret,
		struct err *err);
};

extern const struct source_fetcher SOURCE_HTTP;

bool source_is_url(const char *name);
/* "http://user:password@host/x" -> "http://host/x", printable; for anything that may be shown. */
void source_url_display(const char *url, char *ret, size_t cap);

int source_read(struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err);
int source_skip(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err);
/* These ranges will be read, and what is between them skipped; `wants->arg` is used until the next
 * advice. Only advice: anything can be read, but what was not wanted may cost a request of its own.
 * Without it all is expected to be read. */
void source_want(struct source *source, const struct source_wants *wants);
/* The same for the next `len` bytes alone. */
void source_expect(struct source *source, uint64_t len);
void source_free(struct source **source);

#endif
