/*
 * tarball - writes a bundle's container (wraps libarchive's writer).
 *
 *	tarball_new -> { tarball_add | tarball_begin -> tarball_append* }* -> tarball_end ->
 *tarball_free
 *
 * A pax tar in which nothing depends on who writes it, where or when: mode 0644, user and group 0,
 * no names, one time for all members. pax records only where ustar has no room (8 GiB and more).
 */
#ifndef ABIDE_IMAGE_TARBALL_H
#define ABIDE_IMAGE_TARBALL_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "updater/err.h"
#include "updater/mem.h"

struct tarball;

/* Writes to fd, which stays the caller's; `name` is for messages. */
int tarball_new(int fd, const char *name, time_t mtime, struct tarball **ret, struct err *err);
void tarball_free(struct tarball **tarball);

/* A member in one piece. */
int tarball_add(
	struct tarball *tarball, const char *member, const struct bytes *bytes, struct err *err);
/* A member in pieces, which must add up to size. */
int tarball_begin(struct tarball *tarball, const char *member, uint64_t size, struct err *err);
int tarball_append(struct tarball *tarball, const void *data, size_t len, struct err *err);
/* After the last member. */
int tarball_end(struct tarball *tarball, struct err *err);

#endif
