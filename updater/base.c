#include "updater/base.h"

#include <inttypes.h>
#include <stdlib.h>

#include "updater/digest.h"
#include "updater/mem.h"

/* The offset of every so many chunks is kept; the lengths between are added up. */
#define STRIDE 64u

struct base {
	struct blockdev *slot;
	struct index *index;
	uint64_t *offsets; /* of chunks 0, STRIDE, 2 * STRIDE... */
	struct hasher *hasher;
	uint8_t *buf; /* aligned: a chunk and what is read around it */
	bool drifted;
	struct carrier_base carrier;
};

static uint64_t offset_of(const struct base *base, uint32_t i)
{
	uint64_t offset = base->offsets[i / STRIDE];

	for (uint32_t k = i - i % STRIDE; k < i; k++)
		offset += index_length(base->index, k);
	return offset;
}

static uint32_t chunk_length(void *arg, uint32_t i)
{
	const struct base *base = arg;

	return index_length(base->index, i);
}

static int read_chunk(struct base *base, uint32_t i, const uint8_t **ret, struct err *err)
{
	uint64_t offset = offset_of(base, i);
	uint64_t start = offset & ~(uint64_t)(MEM_BLOCK - 1);
	uint64_t end = round_up(offset + index_length(base->index, i), MEM_BLOCK);

	if (blockdev_pread(base->slot, base->buf, (size_t)(end - start), start, err) < 0)
		return -1;
	*ret = base->buf + (offset - start);
	return 0;
}

static int get_chunk(void *arg, uint32_t i, const uint8_t **ret, struct err *err)
{
	struct base *base = arg;
	const uint8_t *data;
	struct digest digest;

	if (read_chunk(base, i, &data, err) < 0) {
		base->drifted = true;
		return err_wrap_as(err, FAIL_DRIFT, "the delta's base");
	}
	if (digest_of(base->hasher, data, index_length(base->index, i), &digest, err) < 0)
		return -1;
	if (!index_matches(base->index, i, &digest)) {
		base->drifted = true;
		return err_set(err, FAIL_DRIFT,
			"the delta's base in '%s' is not what its seal says, at %" PRIu64
			" (chunk %" PRIu32 "): a full bundle is needed, as --fallback for example",
			base->slot->name, offset_of(base, i), i);
	}
	*ret = data;
	return 0;
}

/* Also makes room for the longest chunk and what is read around it. */
static int find_offsets(struct base *base, struct err *err)
{
	uint32_t count = index_count(base->index);
	uint32_t longest = 0;
	uint64_t offset = 0;
	void *p = NULL;

	if (mem_alloc((count / STRIDE + 1) * sizeof(*base->offsets), &p, err) < 0)
		return -1;
	base->offsets = p;
	for (uint32_t i = 0; i < count; i++) {
		if (i % STRIDE == 0)
			base->offsets[i / STRIDE] = offset;
		offset += index_length(base->index, i);
		if (index_length(base->index, i) > longest)
			longest = index_length(base->index, i);
	}
	if (mem_alloc_aligned(round_up(longest, MEM_BLOCK) + 2 * (size_t)MEM_BLOCK, &p, err) < 0)
		return -1;
	base->buf = p;
	return 0;
}

int base_open(struct blockdev *slot, struct index **index, struct base **ret, struct err *err)
{
	CLEANUP(base_close) struct base *base = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*base), &p, err) < 0)
		return -1;
	base = p;
	base->slot = slot;
	base->index = steal_ptr(index);
	if (find_offsets(base, err) < 0 || hasher_new(&base->hasher, err) < 0)
		return -1;
	base->carrier = (struct carrier_base){
		.count = index_count(base->index),
		.length = chunk_length,
		.chunk = get_chunk,
		.arg = base,
	};
	*ret = steal_ptr(&base);
	return 0;
}

void base_close(struct base **base)
{
	struct base *taken = steal_ptr(base);

	if (!taken)
		return;
	index_free(&taken->index);
	hasher_free(&taken->hasher);
	free(taken->offsets);
	free(taken->buf);
	free(taken);
}

const struct carrier_base *base_carrier(const struct base *base)
{
	return base ? &base->carrier : NULL;
}

bool base_drifted(const struct base *base)
{
	return base && base->drifted;
}
