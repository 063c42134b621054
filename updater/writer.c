#include "updater/writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/index.h"
#include "updater/mem.h"

#define WRITE_SIZE  (1u << 20)
#define WINDOW_SIZE (WRITE_SIZE + INDEX_CHUNK_MAX + MEM_BLOCK)
#define BOUNCE_SIZE (INDEX_CHUNK_MAX + 2 * MEM_BLOCK)

/* The window holds image bytes [base, base + fill). fill 0: nothing is pending, and base is the
 * position rounded down to a block. Everything before base is in the slot, except the first block,
 * which is in `first` until writer_finish(). */
struct writer {
	struct blockdev *slot;
	uint64_t image_size;
	uint64_t position; /* of the next byte */
	uint64_t base; /* multiple of MEM_BLOCK */
	size_t fill;
	uint8_t *window;
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
	if (mem_alloc_aligned(MEM_BLOCK, &p, err) < 0)
		return -1;
	writer->first = p;
	if (mem_alloc_aligned(BOUNCE_SIZE, &p, err) < 0)
		return -1;
	writer->bounce = p;
	*ret = steal_ptr(&writer);
	return 0;
}

void writer_free(struct writer **writer)
{
	if (!writer || !*writer)
		return;
	free((*writer)->window);
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

/* Writes out the window's first `len` bytes, a multiple of MEM_BLOCK; the first block is kept. */
static int write_out(struct writer *writer, size_t len, struct err *err)
{
	size_t kept = writer->base == 0 && len > 0 ? MEM_BLOCK : 0;

	if (kept)
		memcpy(writer->first, writer->window, MEM_BLOCK);
	/* Power cut between any two of these writes: the seal says `writing`, the group is not in
	 * the boot order; the next install checks what is here and goes on. */
	if (put(writer, writer->window + kept, len - kept, writer->base + kept, err) < 0)
		return -1;
	memmove(writer->window, writer->window + len, writer->fill - len);
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
	if (blockdev_pread(writer->slot, writer->bounce, MEM_BLOCK, block, err) < 0)
		return -1;
	*ret = writer->bounce;
	return 0;
}

/* Wholly on the medium: one read, not one for each block. */
static bool is_on_medium(const struct writer *writer, uint64_t start, uint64_t end)
{
	return start >= MEM_BLOCK && end - start <= BOUNCE_SIZE &&
	       (writer->fill == 0 || end <= writer->base);
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
		blockdev_flush(writer->slot, err) < 0)
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
	if (write_out(writer, padded, err) < 0)
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
