/*
 * writer - puts an image into a slot, front to back, in large aligned direct writes.
 *
 *	writer_new -> writer_begin
 *	  -> { writer_reserve + writer_commit | writer_zero | writer_skip }*
 *	  -> writer_finish -> writer_free
 *
 * Bytes are put together in private memory: reserve, fill, check, and only then commit. What was
 * not committed is never written.
 *
 * One write at a time is under way in a thread of its own, while the next bytes are put together.
 * So a write that failed is told by a later call: by the next one that writes, and at the latest by
 * writer_flush() or writer_finish(). When these return, nothing is under way; after an error or an
 * interruption writer_free() waits for what is.
 *
 * The image's first block (MEM_BLOCK bytes, which hold the superblock of every file system) is
 * wiped by writer_begin() and written last, after all else is flushed. So a half-written image has
 * no superblock: not even a bootloader that lost its environment can load a kernel from it.
 */
#ifndef ABIDE_UPDATER_WRITER_H
#define ABIDE_UPDATER_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "updater/blockdev.h"
#include "updater/err.h"

struct writer;

/* Borrows the slot; sizes in bytes. Writes nothing yet. */
int writer_new(struct blockdev *slot, uint64_t image_size, struct writer **ret, struct err *err);
void writer_free(struct writer **writer);

/* Wipes the first block unless it is wiped already, and flushes. */
int writer_begin(struct writer *writer, struct err *err);
/* Room for the next `len` bytes (<= INDEX_CHUNK_MAX) of the image. Valid until the next call. */
int writer_reserve(struct writer *writer, size_t len, uint8_t **ret, struct err *err);
/* They are in place and checked. May write out. */
int writer_commit(struct writer *writer, size_t len, struct err *err);
/* The next `len` bytes are zeros. Long runs are zeroed by the device, where it can: not written. */
int writer_zero(struct writer *writer, uint64_t len, struct err *err);
/* The next `len` bytes are right in the slot already: not written, but for blocks shared with
 * bytes that are. Not allowed within the first block. */
int writer_skip(struct writer *writer, size_t len, struct err *err);
/* Reads back bytes from before the present position, wherever they are at the moment: in memory, or
 * block by block from the slot. */
int writer_read(struct writer *writer, uint64_t off, uint8_t *buf, size_t len, struct err *err);
/* From the second block up to here, the slot has all bytes as they will stay: for reading in larger
 * pieces. */
uint64_t writer_on_medium(const struct writer *writer);
/* Flushes; *ret_mark: all of the image but its first block is durable up to there. */
int writer_flush(struct writer *writer, uint64_t *ret_mark, struct err *err);
/* After the whole image: writes the rest, flushes, writes the first block, flushes. */
int writer_finish(struct writer *writer, struct err *err);

/* The image's first block, in memory until the end; once something was flushed. */
const uint8_t *writer_first(const struct writer *writer);
uint64_t writer_position(const struct writer *writer);
/* Bytes written into the slot so far, the first block's included; not what it zeroed itself. */
uint64_t writer_written(const struct writer *writer);

#endif
