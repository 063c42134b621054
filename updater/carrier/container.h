/*
 * container - a bundle's members, in their order, from a source (wraps libarchive).
 *
 *	container_new -> { container_next -> { container_borrow | container_read | container_skip }*
 *}* until MEMBER_KIND_END -> container_free
 *
 * Strict: a plain ustar or pax tar; exactly the members of members.h in exactly that order; regular
 * files, not sparse; sizes within the limits below; zero padding; an end-of-archive mark, and only
 * zeros after it. libarchive decodes each member's header (and may read at most
 * CONTAINER_HEADER_MAX bytes for it); where members begin and end is counted here, so that data can
 * be borrowed from the buffer, and skipped in the source.
 *
 * Fails: FAIL_UNTRUSTED for anything that is not such a container, also when it ends too early
 * ("truncated"); FAIL_IO or FAIL_NETWORK when the source failed. Messages name source and member.
 * Memory is one buffer of CONTAINER_BUFFER bytes, whatever the bundle says.
 */
#ifndef ABIDE_UPDATER_CARRIER_CONTAINER_H
#define ABIDE_UPDATER_CARRIER_CONTAINER_H

#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/members.h"
#include "updater/carrier/source.h"
#include "updater/err.h"
#include "updater/mem.h"

#define CONTAINER_HEADER_MAX (64u << 10) /* a member's tar header, pax records included */
#define CONTAINER_BORROW_MAX (256u << 10) /* = INDEX_CHUNK_MAX: no stored chunk is longer */
#define CONTAINER_AHEAD      (64u << 10) /* asked for where it is not known what comes */
#define CONTAINER_BUFFER     (2u * CONTAINER_BORROW_MAX)

struct container;

/* Borrows the source. */
int container_new(struct source *source, struct container **ret, struct err *err);
void container_free(struct container **container);
/* Skips what is left of the current member. */
int container_next(struct container *container, struct member *ret, struct err *err);
/* The next len bytes of the member (len <= CONTAINER_BORROW_MAX): valid until the next call. More
 * than are left of it is FAIL_UNTRUSTED. */
int container_borrow(struct container *container, size_t len, const uint8_t **ret, struct err *err);
int container_read(struct container *container, void *buf, size_t len, struct err *err);
int container_skip(struct container *container, uint64_t len, struct err *err);
/* Advice for what follows: `len` bytes will be borrowed or read, and then maybe some skipped. */
void container_expect(struct container *container, uint64_t len);
/* The same for ranges within the current member's data: `wants->arg` is used until the next member. */
void container_want(struct container *container, const struct source_wants *wants);
/* The whole member, which must not be longer than `limit`. */
int container_read_all(struct container *container, const struct member *member, uint64_t limit,
	struct bytes *ret, struct err *err);
/* Before a sandbox closes: has libraries load what they would want to open later. */
void container_prepare(void);

#endif
