#include "updater/writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/index.h"
#include "updater/mem.h"
#include "updater/worker.h"

#define WRITE_SIZE  (1u << 20)
#define WINDOW_SIZE (WRITE_SIZE + INDEX_CHUNK_MAX + MEM_BLOCK)
#define BOUNCE_SIZE (INDEX_CHUNK_MAX + 2 * MEM_BLOCK)

/* A piece on its way to the slot. From worker_start() to worker_wait() `dev`, `data` and what it
 * points to are only read, by both threads. */
struct flight {
	struct blockdev *dev;
	const uint8_t *data;
	size_t len; /* 0: none */
	uint64_t off;
};

/* The window holds image bytes [base, base + fill). fill 0: nothing is pending, and base is the
 * position rounded down to a block. Everything before base is in the slot or in flight to it,
 * except the first block, which is in `first` until writer_finish().
 *
 * There are two windows: one is written by the worker while the other is filled. Only write_out()
 * hands one over, whole blocks that were committed and so verified; and it waits for the one before
 * first, so that writes reach the slot in order, and one that failed is known before the next
 * begins. Whoever flushes, or writes something else, waits too: see settle(). */
struct writer {
	struct blockdev *slot;
	uint64_t image_size;
	uint64_t position; /* of the next byte */
	uint64_t base; /* multiple of MEM_BLOCK */
	size_t fill;
	uint8_t *window;
	uint8_t *other; /* free, or in flight */
	struct flight flight;
	struct worker *worker;
	uint8_t *first; /* MEM_BLOCK bytes */
	uint8_t *bounce; /* BOUNCE_SIZE bytes, for unaligned reads */
	uint64_t written;
};

int writer_new(struct blockdev *slot, uint64_t image_size, struct writer **ret, struct err *err)
{
	CLEANUP(writer_free) struct writer *writer = NULL;
	void *p = NULL;

	if (round_up(image_size, MEM_BLOCK) > slot->size)
		return err_set(err, FAIL_SPACE,
			"'%s' has %" PRIu64 " bytes, the image has %" PRIu64, slot->name,
			slot->size, image_size);
	if (mem_alloc(sizeof(*writer), &p, err) < 0)
		return -1;
	writer = p;
	writer->slot = slot;
	writer->image_size = image_size;
	if (mem_alloc_aligned(WINDOW_SIZE, &p, err) < 0)
		return -1;
	writer->window = p;
	if (mem_alloc_aligned(WINDOW_SIZE, &p, err) < 0)
		return -1;
	writer->other = p;
	if (mem_alloc_aligned(MEM_BLOCK, &p, err) < 0)
		return -1;
	writer->first = p;
	if (mem_alloc_aligned(BOUNCE_SIZE, &p, err) < 0)
		return -1;
	writer->bounce = p;
	if (worker_new(&writer->worker, err) < 0)
		return -1;
	*ret = steal_ptr(&writer);
	return 0;
}

void writer_free(struct writer **writer)
{
	if (!writer || !*writer)
		return;
	/* First: after an error or an interruption a write may still be on its way, out of one of
	 * the windows. What it writes was verified, and the seal says `writing`. */
	worker_free(&(*writer)->worker);
	free((*writer)->window);
	free((*writer)->other);
	free((*writer)->first);
	free((*writer)->bounce);
	free(*writer);
	*writer = NULL;
}

static int put(struct writer *writer, const void *data, size_t len, uint64_t off, struct err *err)
{
	if (len == 0)
		return 0;
	if (blockdev_pwrite(writer->slot, data, len, off, err) < 0)
		return -1;
	writer->written += len;
	return 0;
}

int writer_begin(struct writer *writer, struct err *err)
{
	if (blockdev_pread(writer->slot, writer->bounce, MEM_BLOCK, 0, err) < 0)
		return -1;
	if (mem_is_zero(writer->bounce, MEM_BLOCK))
		return 0;
	/* Power cut before this is durable: the slot says `writing` but still holds the old image,
	 * whole. After it: an image without a superblock, which nothing can boot. */
	memset(writer->bounce, 0, MEM_BLOCK);
	if (put(writer, writer->bounce, MEM_BLOCK, 0, err) < 0)
		return -1;
	return blockdev_flush(writer->slot, err);
}

static int fly(void *arg, struct err *err)
{
	const struct flight *flight = arg;

	return blockdev_pwrite(flight->dev, flight->data, flight->len, flight->off, err);
}

/* Nothing is in flight any more, and all that was is in the slot. */
static int settle(struct writer *writer, struct err *err)
{
	int status = worker_wait(writer->worker, err);

	if (status == 0)
		writer->written += writer->flight.len;
	writer->flight.len = 0;
	return status;
}

/* Sends off the window's first `len` bytes, a multiple of MEM_BLOCK; the first block is kept. */
static int write_out(struct writer *writer, size_t len, struct err *err)
{
	size_t kept = writer->base == 0 && len > 0 ? MEM_BLOCK : 0;
	uint8_t *full = writer->window;

	if (len == 0)
		return 0;
	if (settle(writer, err) < 0)
		return -1;
	if (kept)
		memcpy(writer->first, full, MEM_BLOCK);
	memcpy(writer->other, full + len, writer->fill - len); /* less than a block */
	writer->window = writer->other;
	writer->other = full;
	/* Power cut between any two of these writes: the seal says `writing`, the group is not in
	 * the boot order; the next install checks what is here and goes on. */
	if (len > kept) {
		writer->flight = (struct flight){.dev = writer->slot,
			.data = full + kept,
			.len = len - kept,
			.off = writer->base + kept};
		worker_start(writer->worker, fly, &writer->flight);
	}
	writer->base += len;
	writer->fill -= len;
	return 0;
}

/* Loads the part of the block around the position that lies before it: bytes that were skipped. */
static int load_head(struct writer *writer, struct err *err)
{
	size_t head;

	if (writer->fill > 0)
		return 0;
	writer->base = writer->position & ~(uint64_t)(MEM_BLOCK - 1);
	head = (size_t)(writer->position - writer->base);
	if (head == 0)
		return 0;
	if (blockdev_pread(writer->slot, writer->window, MEM_BLOCK, writer->base, err) < 0)
		return -1;
	writer->fill = head;
	return 0;
}

int writer_reserve(struct writer *writer, size_t len, uint8_t **ret, struct err *err)
{
	assert(len <= INDEX_CHUNK_MAX);
	if (len > writer->image_size - writer->position)
		return err_set(err, FAIL_UNTRUSTED, "more bytes than the image has");
	if (load_head(writer, err) < 0)
		return -1;
	*ret = writer->window + writer->fill;
	return 0;
}

int writer_commit(struct writer *writer, size_t len, struct err *err)
{
	writer->fill += len;
	writer->position += len;
	if (writer->fill < WRITE_SIZE)
		return 0;
	return write_out(writer, writer->fill & ~(size_t)(MEM_BLOCK - 1), err);
}

int writer_skip(struct writer *writer, size_t len, struct err *err)
{
	size_t used = writer->fill % MEM_BLOCK;

	assert(writer->position >= MEM_BLOCK);
	if (len > writer->image_size - writer->position)
		return err_set(err, FAIL_UNTRUSTED, "more bytes than the image has");
	if (used > 0) {
		/* The pending bytes end within a block: complete it from what the slot holds. */
		size_t gap = MEM_BLOCK - used;
		size_t take = len < gap ? len : gap;
		uint64_t block = writer->base + writer->fill - used;

		if (blockdev_pread(writer->slot, writer->bounce, MEM_BLOCK, block, err) < 0)
			return -1;
		memcpy(writer->window + writer->fill, writer->bounce + used, take);
		writer->fill += take;
		writer->position += take;
		len -= take;
		if (writer->fill % MEM_BLOCK != 0)
			return 0;
	}
	if (write_out(writer, writer->fill, err) < 0)
		return -1;
	writer->position += len;
	writer->base = writer->position & ~(uint64_t)(MEM_BLOCK - 1);
	return 0;
}

static bool in_flight(const struct writer *writer, uint64_t start, uint64_t end)
{
	const struct flight *flight = &writer->flight;

	return flight->len > 0 && start < flight->off + flight->len && end > flight->off;
}

/* The block at `block` (aligned, before the position) as it will be. */
static int read_block(struct writer *writer, uint64_t block, const uint8_t **ret, struct err *err)
{
	if (writer->fill > 0 && block >= writer->base) {
		*ret = writer->window + (block - writer->base);
		return 0;
	}
	if (block == 0) {
		*ret = writer->first;
		return 0;
	}
	/* The worker only reads it, too. */
	if (in_flight(writer, block, block + MEM_BLOCK)) {
		*ret = writer->flight.data + (block - writer->flight.off);
		return 0;
	}
	if (blockdev_pread(writer->slot, writer->bounce, MEM_BLOCK, block, err) < 0)
		return -1;
	*ret = writer->bounce;
	return 0;
}

/* Wholly on the medium: one read, not one for each block. */
static bool is_on_medium(const struct writer *writer, uint64_t start, uint64_t end)
{
	return start >= MEM_BLOCK && end - start <= BOUNCE_SIZE &&
	       (writer->fill == 0 || end <= writer->base) && !in_flight(writer, start, end);
}

int writer_read(struct writer *writer, uint64_t off, uint8_t *buf, size_t len, struct err *err)
{
	uint64_t start = off & ~(uint64_t)(MEM_BLOCK - 1);
	uint64_t end = round_up(off + len, MEM_BLOCK);

	assert(off + len <= writer->position);
	if (is_on_medium(writer, start, end)) {
		if (blockdev_pread(
			    writer->slot, writer->bounce, (size_t)(end - start), start, err) < 0)
			return -1;
		memcpy(buf, writer->bounce + (off - start), len);
		return 0;
	}
	while (len > 0) {
		uint64_t block = off & ~(uint64_t)(MEM_BLOCK - 1);
		size_t within = (size_t)(off - block);
		size_t take = MEM_BLOCK - within < len ? MEM_BLOCK - within : len;
		const uint8_t *data;

		if (read_block(writer, block, &data, err) < 0)
			return -1;
		memmove(buf, data + within, take);
		buf += take;
		off += take;
		len -= take;
	}
	return 0;
}

int writer_flush(struct writer *writer, uint64_t *ret_mark, struct err *err)
{
	if (write_out(writer, writer->fill & ~(size_t)(MEM_BLOCK - 1), err) < 0 ||
		settle(writer, err) < 0 || blockdev_flush(writer->slot, err) < 0)
		return -1;
	*ret_mark = writer->base;
	return 0;
}

int writer_finish(struct writer *writer, struct err *err)
{
	size_t padded = (size_t)round_up(writer->fill, MEM_BLOCK);

	if (writer->position != writer->image_size)
		return err_set(err, FAIL_UNTRUSTED, "fewer bytes than the image has");
	memset(writer->window + writer->fill, 0, padded - writer->fill);
	writer->fill = padded;
	if (write_out(writer, padded, err) < 0 || settle(writer, err) < 0)
		return -1;
	/* The order of the next three is the point of this module: a superblock may reach the
	 * medium only after all it refers to. A cut between them leaves an image without one. */
	if (blockdev_flush(writer->slot, err) < 0 ||
		put(writer, writer->first, MEM_BLOCK, 0, err) < 0)
		return -1;
	return blockdev_flush(writer->slot, err);
}

uint64_t writer_position(const struct writer *writer)
{
	return writer->position;
}

uint64_t writer_written(const struct writer *writer)
{
	return writer->written;
}
