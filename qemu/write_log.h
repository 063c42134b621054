/*
 * write_log - every write, flush and discard that a virtual device did to its disk, in order.
 *
 *	vm_start with write_log -> ... -> vm_cut -> write_log_open -> entries -> write_log_close
 *
 * QEMU's blklogwrites driver writes it, in the format of Linux's dm-log-writes (Documentation/
 * admin-guide/device-mapper/log-writes.rst): a superblock, then for each entry a sector that
 * describes it and the sectors it wrote.
 */
#ifndef ABIDE_QEMU_WRITE_LOG_H
#define ABIDE_QEMU_WRITE_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "qemu/mapping.h"
#include "updater/err.h"

enum write_log_flags {
	WRITE_LOG_FLUSH = 1, /* what was written before it is durable */
	WRITE_LOG_FUA = 2, /* this write is durable itself */
	WRITE_LOG_DISCARD = 4,
	WRITE_LOG_MARK = 8,
};

struct write_log_entry {
	uint64_t off; /* bytes, on the disk */
	uint64_t len; /* bytes; 0: a flush */
	const uint8_t *data; /* NULL: a flush or a discard */
	uint64_t flags;
};

struct write_log {
	struct mapping file;
	struct write_log_entry *entries;
	size_t count;
};

/* Ends where the log was cut off. FAIL_UNTRUSTED if it is none. */
int write_log_open(const char *path, struct write_log *ret, struct err *err);
/* As of a disk without a cache: what it has answered is durable. So every write is flushed before the
 * next one, and a power cut leaves all of them but at most a part of the last. */
void write_log_no_cache(struct write_log *log);
/* As of a flash that lies from there on: what was programmed is there, in its order, whatever the disk
 * holds back. */
void write_log_flash(struct write_log *log, uint64_t from);
void write_log_close(struct write_log *log);

#endif
