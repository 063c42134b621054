/*
 * fs - files: whole reads with a limit, durable replacement, full reads and writes.
 *
 * Every descriptor is O_CLOEXEC. Durability goes through here and blockdev only.
 */
#ifndef ABIDE_UPDATER_FS_H
#define ABIDE_UPDATER_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "updater/err.h"
#include "updater/mem.h"

/* open(2) with O_CLOEXEC. Returns -1 with err set on failure. */
int fs_open(const char *path, int flags, mode_t mode, int *ret_fd, struct err *err);
/* The whole file; fails with FAIL_SPACE if it is longer than `limit` bytes. NUL-ended beyond len.
 */
int fs_read_file(const char *path, size_t limit, struct bytes *ret, struct err *err);
/* Replaces `path` so that a power cut leaves the old file or the new one, never a mix:
 * temporary file `path`.new, write, fsync, rename, fsync of the directory. A symbolic link is
 * replaced, not followed. After an error of the last fsync the new file may be in place. */
int fs_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct err *err);
/* Makes the directory and its parents, durably; an existing one is fine. */
int fs_make_dirs(const char *path, mode_t mode, struct err *err);
/* Flushes the directory that holds `path`: after this its entry survives a power cut. */
int fs_sync_parent(const char *path, struct err *err);
/* "a/b" from "a" and "b" into ret; fails with FAIL_USAGE if it does not fit. */
int fs_join(const char *dir, const char *name, char *ret, size_t cap, struct err *err);

/* Until len bytes or the end; *ret_len says how many. `what` names the object in errors. */
int fs_read_full(int fd, const char *what, void *buf, size_t len, size_t *ret_len, struct err *err);
int fs_write_full(int fd, const char *what, const void *buf, size_t len, struct err *err);

#endif
