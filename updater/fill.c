#include "updater/fill.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/digest.h"
#include "updater/mem.h"
#include "updater/writer.h"

#define READ_SIZE     (1u << 20)
#define READ_CAP      (READ_SIZE + INDEX_CHUNK_MAX + 2 * MEM_BLOCK)
#define RUN_CAP       (INDEX_CHUNK_MAX + 2 * MEM_BLOCK)
#define MARK_INTERVAL (UINT64_C(64) << 20) /* bytes between two durable marks in the seal */
#define ZERO_RUN      (UINT64_C(16) << 20) /* bytes zeroed at a time: how late an interruption is */

static int check_interrupted(const struct fill *fill, struct err *err)
{
	if (fill->interrupted && *fill->interrupted)
		return err_set(err, FAIL_INTERRUPTED, "interrupted");
	return 0;
}

static void report(const struct fill *fill, bool checking, uint64_t done)
{
	if (fill->progress)
		fill->progress(fill->arg, checking, done, index_image_size(fill->index));
}

/* ---- what is in place already ---- */

/* A span of a slot, [base, base + len), read ahead in large aligned pieces where one read follows
 * the other, else no more than is wanted. */
struct reader {
	struct blockdev *slot; /* the last one read; NULL: none yet */
	uint64_t base;
	size_t len;
	uint64_t next; /* where the last read ended */
	uint8_t *buf;
	size_t cap; /* of buf; at least a chunk and two blocks */
	uint64_t limit; /* nothing is read beyond; 0: the slot's end */
};

static int reader_init(struct reader *reader, size_t cap, struct err *err)
{
	void *p = NULL;

	if (mem_alloc_aligned(cap, &p, err) < 0)
		return -1;
	*reader = (struct reader){.buf = p, .cap = cap};
	return 0;
}

static void reader_finish(struct reader *reader)
{
	free(reader->buf);
}

static int reader_get(struct reader *reader, struct blockdev *slot, uint64_t off, size_t len,
	const uint8_t **ret, struct err *err)
{
	bool same = reader->slot && reader->slot == slot;
	bool follows = same && off - reader->next < READ_SIZE;

	if (!same || off < reader->base || off + len > reader->base + reader->len) {
		uint64_t base = off & ~(uint64_t)(MEM_BLOCK - 1);
		uint64_t end = round_up(off + len, MEM_BLOCK);
		uint64_t limit =
			(reader->limit ? reader->limit : slot->size) & ~(uint64_t)(MEM_BLOCK - 1);

		if (follows || !reader->slot)
			end = base + reader->cap;
		if (end > limit)
			end = limit;
		/* Nothing is in the buffer if the read fails. */
		reader->slot = slot;
		reader->len = 0;
		reader->base = base;
		if (off + len > end)
			return err_set(err, FAIL_SPACE, "read '%s' at %" PRIu64 ": past its end",
				slot->name, off);
		if (blockdev_pread(slot, reader->buf, (size_t)(end - base), base, err) < 0)
			return -1;
		reader->len = (size_t)(end - base);
	}
	reader->next = off + len;
	*ret = reader->buf + (off - reader->base);
	return 0;
}

static bool is_reused(enum plan_source source)
{
	return source == PLAN_SEED || source == PLAN_MOVED;
}

static struct blockdev *seed_of(const struct fill *fill, uint32_t i, uint64_t *ret_offset)
{
	unsigned int number = plan_seed_of(fill->plan, i, ret_offset);

	return number == PLAN_SELF ? fill->slot : fill->seeds[number];
}

/* Is chunk i where the plan has it? What cannot be read only costs a fetch; in the target the write
 * that follows may even heal a bad sector, and the read-back is what judges it. */
static int check_source(struct fill *fill, struct reader *reader, struct hasher *hasher, uint32_t i,
	uint64_t offset, bool *ret, struct err *err)
{
	uint32_t len = index_length(fill->index, i);
	struct blockdev *slot = fill->slot;
	const uint8_t *data;
	struct digest digest;
	struct err unread;

	if (is_reused(plan_source(fill->plan, i)))
		slot = seed_of(fill, i, &offset);
	if (reader_get(reader, slot, offset, len, &data, &unread) < 0) {
		*ret = false;
		return 0;
	}
	if (digest_of(hasher, data, len, &digest, err) < 0)
		return -1;
	*ret = index_matches(fill->index, i, &digest);
	return 0;
}

static bool is_local(enum plan_source source)
{
	return source == PLAN_IN_PLACE || is_reused(source);
}

int fill_check(struct fill *fill, struct err *err)
{
	CLEANUP(hasher_free) struct hasher *hasher = NULL;
	CLEANUP(reader_finish) struct reader reader = {0};
	uint64_t offset = 0;

	if (hasher_new(&hasher, err) < 0 || reader_init(&reader, READ_CAP, err) < 0)
		return -1;
	for (uint32_t i = 0; i < index_count(fill->index); i++) {
		uint32_t len = index_length(fill->index, i);
		bool good = false;

		/* Each turn has one source less, so that it ends. */
		while (!good && is_local(plan_source(fill->plan, i))) {
			if (check_interrupted(fill, err) < 0 ||
				check_source(fill, &reader, hasher, i, offset, &good, err) < 0)
				return -1;
			if (!good)
				plan_refetch(fill->plan, i);
			report(fill, true, offset + len);
		}
		offset += len;
	}
	return 0;
}

/* ---- writing ---- */

struct pour {
	struct fill *fill;
	struct writer *writer;
	struct hasher *hasher;
	struct reader seeds;
	struct reader repeats; /* of the slot, of what is written */
	uint64_t *offsets; /* of each chunk: to find what a repeat repeats */
};

static int verify_chunk(struct pour *pour, uint32_t i, const uint8_t *data, struct err *err)
{
	const struct fill *fill = pour->fill;
	struct digest digest;

	if (digest_of(pour->hasher, data, index_length(fill->index, i), &digest, err) < 0)
		return -1;
	if (!index_matches(fill->index, i, &digest))
		return err_set(err, FAIL_UNTRUSTED,
			"chunk %" PRIu32 " of '%s' is not what the signed index says (digest "
			"differs)",
			i, fill->class);
	return 0;
}

/* It was right a moment ago: whatever changes a running system's slot will do so again. */
static int copy_seed(struct pour *pour, uint32_t i, uint8_t *buf, struct err *err)
{
	const struct fill *fill = pour->fill;
	uint32_t len = index_length(fill->index, i);
	uint64_t offset = 0;
	struct blockdev *slot = seed_of(fill, i, &offset);
	const uint8_t *data;
	struct digest digest;

	if (reader_get(&pour->seeds, slot, offset, len, &data, err) < 0)
		return -1;
	memcpy(buf, data, len);
	if (digest_of(pour->hasher, buf, len, &digest, err) < 0)
		return -1;
	if (!index_matches(fill->index, i, &digest))
		return err_set(err, FAIL_DRIFT,
			"'%s' changed at %" PRIu64
			" while it was reused (is it mounted for writing?); install again to fetch "
			"what changed",
			slot->name, offset);
	return 0;
}

/* Most are of files that are there twice: runs of them, read in large pieces. What is not on the
 * medium yet is the writer's. */
static int copy_repeat(struct pour *pour, uint32_t i, uint8_t *buf, struct err *err)
{
	const struct fill *fill = pour->fill;
	uint64_t off = pour->offsets[plan_repeat_of(fill->plan, i)];
	uint32_t len = index_length(fill->index, i);
	const uint8_t *data;

	pour->repeats.limit = writer_on_medium(pour->writer);
	if (off < MEM_BLOCK || off + len > pour->repeats.limit) {
		if (writer_read(pour->writer, off, buf, len, err) < 0)
			return -1;
	} else {
		if (reader_get(&pour->repeats, fill->slot, off, len, &data, err) < 0)
			return -1;
		memcpy(buf, data, len);
	}
	return verify_chunk(pour, i, buf, err);
}

static int get_chunk(struct pour *pour, uint32_t i, uint8_t *buf, struct err *err)
{
	const struct fill *fill = pour->fill;
	uint32_t len = index_length(fill->index, i);

	switch (plan_source(fill->plan, i)) {
	case PLAN_REPEAT:
		return copy_repeat(pour, i, buf, err);
	case PLAN_SEED:
	case PLAN_MOVED:
		return copy_seed(pour, i, buf, err);
	case PLAN_FETCH:
		if (carrier_chunk(fill->carrier, i, buf, len, err) == 0 &&
			verify_chunk(pour, i, buf, err) == 0)
			return 0;
		pour->fill->source_failed = true;
		return -1;
	case PLAN_IN_PLACE:
	case PLAN_ZERO:
		break;
	}
	return err_set(err, FAIL_IO, "chunk %" PRIu32 " has no source", i);
}

/* Chunks of zeros from i on, together. Their digest is how they were recognised. */
static int pour_zeros(struct pour *pour, uint32_t i, uint32_t *ret_count, struct err *err)
{
	const struct fill *fill = pour->fill;
	uint64_t start = writer_position(pour->writer), len = 0;
	uint32_t k = i;

	for (; k < index_count(fill->index) && plan_source(fill->plan, k) == PLAN_ZERO &&
		len < ZERO_RUN;
		k++) {
		pour->offsets[k] = start + len;
		len += index_length(fill->index, k);
	}
	*ret_count = k - i;
	return writer_zero(pour->writer, len, err);
}

/* Chunk i, and more of its kind if that is cheaper. */
static int pour_chunks(struct pour *pour, uint32_t i, uint32_t *ret_count, struct err *err)
{
	uint32_t len = index_length(pour->fill->index, i);
	uint8_t *room;

	*ret_count = 1;
	pour->offsets[i] = writer_position(pour->writer);
	if (plan_source(pour->fill->plan, i) == PLAN_ZERO)
		return pour_zeros(pour, i, ret_count, err);
	if (plan_source(pour->fill->plan, i) == PLAN_IN_PLACE)
		return writer_skip(pour->writer, len, err);
	if (writer_reserve(pour->writer, len, &room, err) < 0 || get_chunk(pour, i, room, err) < 0)
		return -1;
	return writer_commit(pour->writer, len, err);
}

/* Flush, then say in the seal how far: a cut between the two only makes the next install look at
 * bytes that it knows less of. */
static int advance_mark(struct pour *pour, struct err *err)
{
	struct fill *fill = pour->fill;
	uint64_t mark;

	if (writer_flush(pour->writer, &mark, err) < 0)
		return -1;
	fill->seal->mark = mark;
	if (seal_write(fill->slot, fill->seal, err) < 0)
		return -1;
	return fill->flushed ? fill->flushed(fill->arg, writer_first(pour->writer), mark, err) : 0;
}

static int pour_all(struct pour *pour, struct err *err)
{
	struct fill *fill = pour->fill;
	uint64_t interval = fill->mark_interval ? fill->mark_interval : MARK_INTERVAL;
	uint64_t marked = 0;
	uint32_t count;

	for (uint32_t i = 0; i < index_count(fill->index); i += count) {
		if (check_interrupted(fill, err) < 0 || pour_chunks(pour, i, &count, err) < 0)
			return -1;
		report(fill, false, writer_position(pour->writer));
		if (writer_position(pour->writer) - marked < interval)
			continue;
		marked = writer_position(pour->writer);
		if (advance_mark(pour, err) < 0)
			return -1;
	}
	return writer_finish(pour->writer, err);
}

static void pour_finish(struct pour *pour)
{
	writer_free(&pour->writer); /* first: it may be writing still */
	hasher_free(&pour->hasher);
	free(pour->offsets);
	reader_finish(&pour->seeds);
	reader_finish(&pour->repeats);
}

static int pour_init(struct pour *pour, struct err *err)
{
	struct fill *fill = pour->fill;
	struct plan_totals totals = plan_totals(fill->plan, fill->index);
	void *p = NULL;

	if (mem_alloc(index_count(fill->index) * sizeof(*pour->offsets), &p, err) < 0)
		return -1;
	pour->offsets = p;
	if ((totals.seed + totals.moved > 0 && reader_init(&pour->seeds, RUN_CAP, err) < 0) ||
		(totals.repeat > 0 && reader_init(&pour->repeats, RUN_CAP, err) < 0) ||
		hasher_new(&pour->hasher, err) < 0 ||
		writer_new(fill->slot, index_image_size(fill->index), &pour->writer, err) < 0)
		return -1;
	if (totals.fetch > 0 && carrier_want(fill->carrier, fill->class, fill->index,
					plan_wanted(fill->plan), fill->base, err) < 0) {
		fill->source_failed = true;
		return -1;
	}
	return 0;
}

int fill_write(struct fill *fill, struct err *err)
{
	CLEANUP(pour_finish) struct pour pour = {.fill = fill};
	int failed;

	if (pour_init(&pour, err) < 0)
		return -1;
	failed = writer_begin(pour.writer, err) < 0 || pour_all(&pour, err) < 0;
	fill->written = writer_written(pour.writer);
	return failed ? -1 : 0;
}
