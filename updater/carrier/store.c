#include "updater/carrier/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t MAGIC[8] = {'A', 'B', 'I', 'D', 'E', 'S', 'T', 'O'};

#define LENGTH_MASK    0xffffffu
#define ENCODING_SHIFT 24u

static_assert(INDEX_CHUNK_MAX <= LENGTH_MASK, "a raw chunk's length must fit in 24 bits");

static_assert(STORE_PATCH_MAX >= INDEX_CHUNK_MAX, "any chunk fits into a patch");
static_assert(STORE_PATCH_MAX <= LENGTH_MASK, "a patch's length must fit in 24 bits");

struct store {
	struct bytes bytes;
	uint32_t count;
	bool delta;
	uint64_t data_size;
};

static size_t records_at(bool delta)
{
	return STORE_HEADER_LEN + (delta ? STORE_BASE_LEN : 0);
}

static uint32_t record(const struct bytes *bytes, bool delta, uint32_t i)
{
	return le32_get(bytes->data + records_at(delta) + (size_t)STORE_RECORD_LEN * i);
}

static int check_header(const struct bytes *bytes, uint32_t count, bool *ret_delta, struct err *err)
{
	uint32_t format;
	uint64_t expected;
	bool delta;

	if (bytes->len < STORE_HEADER_LEN || memcmp(bytes->data, MAGIC, sizeof(MAGIC)) != 0)
		return err_set(err, FAIL_UNTRUSTED, "the store does not begin with 'ABIDESTO'");
	format = le32_get(bytes->data + 8);
	delta = format == STORE_FORMAT_DELTA;
	if (format != STORE_FORMAT && !delta)
		return err_set(err, FAIL_UNTRUSTED,
			"the store has format %" PRIu32 ", this program knows %u and %u", format,
			STORE_FORMAT, STORE_FORMAT_DELTA);
	if (le32_get(bytes->data + 12) != count)
		return err_set(err, FAIL_UNTRUSTED,
			"the store has %" PRIu32 " chunks, the index %" PRIu32,
			le32_get(bytes->data + 12), count);
	expected = records_at(delta) + (uint64_t)STORE_RECORD_LEN * count;
	if (bytes->len != expected)
		return err_set(err, FAIL_UNTRUSTED,
			"the store is %zu bytes long, %" PRIu64 " expected", bytes->len, expected);
	if (delta && mem_is_zero(bytes->data + STORE_HEADER_LEN, STORE_BASE_LEN))
		return err_set(err, FAIL_UNTRUSTED, "the store is a delta's and names no base");
	*ret_delta = delta;
	return 0;
}

/* The patch that the records are in. */
struct patch_sum {
	uint32_t stored; /* 0: there was none yet */
	uint64_t plain; /* of its chunks so far; of 32 bits each, at most INDEX_CHUNKS_MAX */
};

/* Whether a PATCH chunk may stand here; the whole of a patch is known when the next one begins. */
static bool patch_fits(struct patch_sum *patch, uint32_t stored, uint32_t plain)
{
	if (stored > 0) {
		if (patch->stored >= patch->plain && patch->stored > 0)
			return false;
		*patch = (struct patch_sum){.stored = stored};
	}
	patch->plain += plain;
	return patch->stored > 0 && patch->plain <= STORE_PATCH_MAX;
}

/* Whether chunk `i` of `plain` bytes may be kept in `stored` bytes under this encoding. */
static int check_record(uint32_t i, uint32_t r, uint32_t plain, bool delta, struct patch_sum *patch,
	struct err *err)
{
	uint32_t encoding = r >> ENCODING_SHIFT;
	uint32_t stored = r & LENGTH_MASK;
	bool fits = false;

	if (encoding >= STORE_ENCODINGS || (encoding >= STORE_BASE && !delta))
		return err_set(err, FAIL_UNTRUSTED,
			"store: chunk %" PRIu32 " has unknown encoding %" PRIu32, i, encoding);
	switch ((enum store_encoding)encoding) {
	case STORE_ZERO:
	case STORE_BASE:
		fits = stored == 0;
		break;
	case STORE_SAME:
		fits = stored == 0 && i > 0; /* the first chunk has no earlier one */
		break;
	case STORE_RAW:
		fits = stored == plain;
		break;
	case STORE_ZSTD:
		fits = stored > 0 && stored < plain;
		break;
	case STORE_PATCH:
		fits = patch_fits(patch, stored, plain);
		break;
	}
	if (!fits)
		return err_set(err, FAIL_UNTRUSTED,
			"store: chunk %" PRIu32 " of %" PRIu32 " bytes cannot be %" PRIu32
			" bytes in encoding %" PRIu32,
			i, plain, stored, encoding);
	return 0;
}

/* At most INDEX_CHUNKS_MAX * 2^24 bytes in all: no overflow. */
static int check_records(const struct bytes *bytes, const struct index *index, bool delta,
	uint64_t *ret_data_size, struct err *err)
{
	struct patch_sum patch = {0};
	uint64_t data_size = 0;

	for (uint32_t i = 0; i < index_count(index); i++) {
		uint32_t r = record(bytes, delta, i);

		if (check_record(i, r, index_length(index, i), delta, &patch, err) < 0)
			return -1;
		data_size += r & LENGTH_MASK;
	}
	if (patch.stored > 0 && patch.stored >= patch.plain)
		return err_set(err, FAIL_UNTRUSTED,
			"store: the last patch has %" PRIu32 " bytes for %" PRIu64, patch.stored,
			patch.plain);
	*ret_data_size = data_size;
	return 0;
}

int store_parse(struct bytes *bytes, const struct index *index, struct store **ret, struct err *err)
{
	uint32_t count = index_count(index);
	uint64_t data_size = 0;
	struct store *store;
	bool delta = false;
	void *p = NULL;

	if (check_header(bytes, count, &delta, err) < 0 ||
		check_records(bytes, index, delta, &data_size, err) < 0)
		return -1;
	if (mem_alloc(sizeof(*store), &p, err) < 0)
		return -1;
	store = p;
	*store = (struct store){.bytes = steal_bytes(bytes),
		.count = count,
		.delta = delta,
		.data_size = data_size};
	*ret = store;
	return 0;
}

void store_free(struct store **store)
{
	if (!store || !*store)
		return;
	bytes_finish(&(*store)->bytes);
	free(*store);
	*store = NULL;
}

enum store_encoding store_encoding(const struct store *store, uint32_t i)
{
	assert(i < store->count);
	return (enum store_encoding)(record(&store->bytes, store->delta, i) >> ENCODING_SHIFT);
}

uint32_t store_length(const struct store *store, uint32_t i)
{
	assert(i < store->count);
	return record(&store->bytes, store->delta, i) & LENGTH_MASK;
}

uint64_t store_data_size(const struct store *store)
{
	return store->data_size;
}

uint64_t store_size(const struct store *store)
{
	return store->bytes.len;
}

bool store_base(const struct store *store, struct digest *ret)
{
	if (store->delta)
		memcpy(ret->b, store->bytes.data + STORE_HEADER_LEN, STORE_BASE_LEN);
	return store->delta;
}

int store_encode(const enum store_encoding *encodings, const uint32_t *lengths, uint32_t count,
	struct bytes *ret, struct err *err)
{
	return store_encode_delta(NULL, encodings, lengths, count, ret, err);
}

int store_encode_delta(const struct digest *base, const enum store_encoding *encodings,
	const uint32_t *lengths, uint32_t count, struct bytes *ret, struct err *err)
{
	size_t at = records_at(base != NULL);
	size_t len = at + (size_t)STORE_RECORD_LEN * count;
	uint8_t *data;
	void *p = NULL;

	if (mem_alloc(len, &p, err) < 0)
		return -1;
	data = p;
	memcpy(data, MAGIC, sizeof(MAGIC));
	le32_put(data + 8, base ? STORE_FORMAT_DELTA : STORE_FORMAT);
	le32_put(data + 12, count);
	if (base)
		memcpy(data + STORE_HEADER_LEN, base->b, STORE_BASE_LEN);
	for (uint32_t i = 0; i < count; i++) {
		assert(lengths[i] <= LENGTH_MASK);
		le32_put(data + at + (size_t)STORE_RECORD_LEN * i,
			(uint32_t)encodings[i] << ENCODING_SHIFT | lengths[i]);
	}
	*ret = (struct bytes){.data = data, .len = len};
	return 0;
}
