#include "updater/writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/index.h"
#include "updater/mem.h"
#include "updater/worker.h"

#define WRITE_SIZE  (512u << 10)
#define ZERO_MIN    (64u << 10) /* below, a write that is under way anyway is cheaper */
#define WINDOW_SIZE (WRITE_SIZE + INDEX_CHUNK_MAX + MEM_BLOCK)

/* A piece on its way to the slot. From worker_start() to worker_wait() all but `written`
 * is only read, by both threads. */
struct flight {
	struct blockdev *dev;
	const uint8_t *data; /* NULL: zeros, by the device if it can */
	uint64_t len; /* 0: none */
	uint64_t off;
	bool written; /* out: the bytes were sent, not zeroed by the device */
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
	uint8_t *bounce; /* MEM_BLOCK bytes, for a block that is read */
	bool slot_zeroes; /* as far as is known */
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
	writer->slot_zeroes = true;
	if (mem_alloc_aligned(WINDOW_SIZE, &p, err) < 0)
		return -1;
	writer->window = p;
	if (mem_alloc_aligned(WINDOW_SIZE, &p, err) < 0)
		return -1;
	writer->other = p;
	if (mem_alloc_aligned(MEM_BLOCK, &p, err) < 0)
		return -1;
	writer->first = p;
	if (mem_alloc_aligned(MEM_BLOCK, &p, err) < 0)
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

/* Once at most: then it is known that the device cannot. */
static int write_zeros(const struct flight *flight, struct err *err)
{
	CLEANUP(cleanup_free) void *zeros = NULL;
	size_t len;

	if (mem_alloc_aligned(ZERO_MIN, &zeros, err) < 0)
		return -1;
	for (uint64_t done = 0; done < flight->len; done += len) {
		uint64_t left = flight->len - done;

		len = left < ZERO_MIN ? (size_t)left : ZERO_MIN;
		if (blockdev_pwrite(flight->dev, zeros, len, flight->off + done, err) < 0)
			return -1;
	}
	return 0;
}

static int fly(void *arg, struct err *err)
{
	struct flight *flight = arg;
	bool zeroed = false;

	if (!flight->data && blockdev_zero(flight->dev, flight->len, flight->off, &zeroed, err) < 0)
		return -1;
	flight->written = !zeroed;
	if (zeroed)
		return 0;
	if (!flight->data)
		return write_zeros(flight, err);
	return blockdev_pwrite(flight->dev, flight->data, (size_t)flight->len, flight->off, err);
}

/* Nothing is in flight any more, and all that was is in the slot. */
static int settle(struct writer *writer, struct err *err)
{
	int status = worker_wait(writer->worker, err);

	if (status == 0 && writer->flight.len > 0) {
		writer->written += writer->flight.written ? writer->flight.len : 0;
		writer->slot_zeroes &= writer->flight.data || !writer->flight.written;
	}
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

static int put_zeros(struct writer *writer, uint64_t len, struct err *err)
{
	while (len > 0) {
		size_t n = len < INDEX_CHUNK_MAX ? (size_t)len : INDEX_CHUNK_MAX;
		uint8_t *room;

		if (writer_reserve(writer, n, &room, err) < 0)
			return -1;
		memset(room, 0, n);
		if (writer_commit(writer, n, err) < 0)
			return -1;
		len -= n;
	}
	return 0;
}

/* Sends off what is pending, which ends with a block, and then whole blocks of zeros. */
static int zero_out(struct writer *writer, uint64_t len, struct err *err)
{
	if (write_out(writer, writer->fill, err) < 0 || settle(writer, err) < 0)
		return -1;
	/* Power cut before, within or after: as with the writes, see write_out(). Zeroing is
	 * ordered and made durable by the same flushes. */
	writer->flight = (struct flight){.dev = writer->slot, .len = len, .off = writer->position};
	worker_start(writer->worker, fly, &writer->flight);
	writer->position += len;
	writer->base = writer->position;
	return 0;
}

int writer_zero(struct writer *writer, uint64_t len, struct err *err)
{
	uint64_t at = writer->position > MEM_BLOCK ? writer->position : MEM_BLOCK;
	uint64_t head = round_up(at, MEM_BLOCK) - writer->position;
	uint64_t blocks = len > head ? (len - head) & ~(uint64_t)(MEM_BLOCK - 1) : 0;

	if (len > writer->image_size - writer->position)
		return err_set(err, FAIL_UNTRUSTED, "more bytes than the image has");
	/* Zeroing that is under way will tell whether the device can. */
	if (writer->flight.len > 0 && !writer->flight.data && settle(writer, err) < 0)
		return -1;
	if (!writer->slot_zeroes || blocks < ZERO_MIN)
		return put_zeros(writer, len, err);
	if (put_zeros(writer, head, err) < 0 || zero_out(writer, blocks, err) < 0)
		return -1;
	return put_zeros(writer, len - head - blocks, err);
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
	if (in_flight(writer, block, block + MEM_BLOCK) && !writer->flight.data) {
		memset(writer->bounce, 0, MEM_BLOCK);
		*ret = writer->bounce;
		return 0;
	}
	if (in_flight(writer, block, block + MEM_BLOCK)) {
		*ret = writer->flight.data + (block - writer->flight.off);
		return 0;
	}
	if (blockdev_pread(writer->slot, writer->bounce, MEM_BLOCK, block, err) < 0)
		return -1;
	*ret = writer->bounce;
	return 0;
}

uint64_t writer_on_medium(const struct writer *writer)
{
	const struct flight *flight = &writer->flight;

	return flight->len > 0 && flight->off < writer->base ? flight->off : writer->base;
}

int writer_read(struct writer *writer, uint64_t off, uint8_t *buf, size_t len, struct err *err)
{
	assert(off + len <= writer->position);
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

const uint8_t *writer_first(const struct writer *writer)
{
	return writer->first;
}

uint64_t writer_position(const struct writer *writer)
{
	return writer->position;
}

uint64_t writer_written(const struct writer *writer)
{
	return writer->written;
}
