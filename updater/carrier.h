/*
 * carrier - the installer's end of the pipe to the process that touches untrusted bytes.
 *
 * carrier_open() starts a child, the program `abide-carrier` or `abide-carrier-http`, that gives up
 * every right (its own user, no new privileges, limits, a seccomp filter) and then fetches, unpacks
 * and decompresses. Whatever comes back is only bytes:
 * lengths are bounded here, contents are for the caller to authenticate.
 *
 *	carrier_open -> carrier_manifest -> carrier_index (each image, in order) -> (carrier_stores)
 *	  -> (carrier_weigh*) -> { carrier_want -> carrier_chunk (each wanted one, ascending) } (each image, in order)
 *	  -> carrier_end -> carrier_close
 *
 * carrier_close() may come at any point and ends the child. An image of which nothing is wanted
 * may be asked for with an empty bitmap, or left out.
 *
 * The chunks of a delta are encoded against chunks of its base, which the child cannot read: while
 * it works it asks for some, by number, and gets what `struct carrier_base` gives.
 *
 * A child that crashes, hangs for longer than stall_timeout, or breaks the protocol is an error
 * (FAIL_UNTRUSTED for lies, FAIL_IO for death, FAIL_NETWORK/FAIL_IO/FAIL_UNTRUSTED as the child
 * reports about its source). Its texts are made printable before they get into a message.
 * SIGINT/SIGTERM: when *interrupted becomes non-zero, calls return FAIL_INTERRUPTED.
 */
#ifndef ABIDE_UPDATER_CARRIER_H
#define ABIDE_UPDATER_CARRIER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/mem.h"

struct carrier;
struct ring_room; /* carrier/ring.h */

struct carrier_options {
	const char *user; /* to run as when started as root; NULL: "abide", else "nobody" */
	const char *ca_file; /* PEM for HTTPS; NULL: the system's */
	unsigned int stall_timeout; /* seconds without a byte; 0: 60 */
	unsigned int min_rate; /* bytes a second over stall_timeout, HTTP only; 0: 1024 */
	unsigned int retries; /* reconnects after a broken transfer, with back-off */
	const volatile sig_atomic_t *interrupted; /* or NULL */
	void (*note)(void *arg, const char *text); /* "connection lost, resuming at ..."; or NULL */
	void *note_arg;
	/* Tests only: runs in the child instead of the real carrier. Its return is the exit status.
	 */
	int (*impostor)(int in_fd, int out_fd, struct ring_room *room, void *arg);
	void *impostor_arg;
};

struct carrier_stats {
	uint64_t fetched; /* bytes read from the source, as the child says: for display only */
	uint32_t resumed; /* reconnects */
};

/* The chunks of a delta's base, by the index of the image of the same class. */
struct carrier_base {
	uint32_t count; /* of chunks */
	/* i < count. Known before the first byte is sent. */
	uint32_t (*length)(void *arg, uint32_t i);
	/* Its bytes, compared with the base's signed index; valid until the next call. */
	int (*chunk)(void *arg, uint32_t i, const uint8_t **ret, struct err *err);
	void *arg;
};

/* source: a path, "-" (standard input), "http://..." or "https://...". A path is opened here, with
 * the caller's rights, read only; a URL is the child's business. */
int carrier_open(const char *source, const struct carrier_options *options, struct carrier **ret,
	struct err *err);
int carrier_manifest(struct carrier *carrier, struct bytes *ret_manifest,
	struct bytes *ret_signature, struct err *err);
/* Exactly `size` bytes of CLASS.index, which must be the next member. */
int carrier_index(struct carrier *carrier, const char *class, uint64_t size, struct bytes *ret,
	struct err *err);
/* After the last index: the stores are fetched and parsed, there. *ret_delta: the bundle is a delta,
 * as the child says, and *ret_base the artifact it is of use with. */
int carrier_stores(
	struct carrier *carrier, bool *ret_delta, struct digest *ret_base, struct err *err);
/* How many bytes of the source carrier_want() would read for these chunks, as they are stored: as the
 * child says, for display only. */
int carrier_weigh(struct carrier *carrier, const char *class, const struct index *index,
	const uint8_t *bitmap, uint64_t *ret, struct err *err);
/* Bit i of the bitmap (byte i / 8, bit i % 8): chunk i of CLASS is wanted. The index is the
 * authenticated one; the child uses its own copy. base: borrowed until the last of the chunks came;
 * NULL: the child has no reason to ask. */
int carrier_want(struct carrier *carrier, const char *class, const struct index *index,
	const uint8_t *bitmap, const struct carrier_base *base, struct err *err);
/* The plain bytes of the next wanted chunk, which must be `number`, exactly len long. They are in
 * the caller's private memory when this returns: digest them before use. */
int carrier_chunk(
	struct carrier *carrier, uint32_t number, uint8_t *buf, size_t len, struct err *err);
/* After the last image: the container ended as it should. */
int carrier_end(struct carrier *carrier, struct carrier_stats *ret, struct err *err);
void carrier_close(struct carrier **carrier);

#endif
