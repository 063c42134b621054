#include "updater/carrier/store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t MAGIC[8] = {'A', 'B', 'I', 'D', 'E', 'S', 'T', 'O'};

#define LENGTH_MASK    0xffffffu
#define ENCODING_SHIFT 24u

static_assert(INDEX_CHUNK_MAX <= LENGTH_MASK, "a raw chunk's length must fit in 24 bits");

struct store {
	struct bytes bytes;
	uint32_t count;
	uint64_t data_size;
};

static uint32_t record(const struct bytes *bytes, uint32_t i)
{
	return le32_get(bytes->data + STORE_HEADER_LEN + (size_t)STORE_RECORD_LEN * i);
}

static int check_header(const struct bytes *bytes, uint32_t count, struct err *err)
{
	uint64_t expected = STORE_HEADER_LEN + (uint64_t)STORE_RECORD_LEN * count;

	if (bytes->len < STORE_HEADER_LEN || memcmp(bytes->data, MAGIC, sizeof(MAGIC)) != 0)
		return err_set(err, FAIL_UNTRUSTED, "the store does not begin with 'ABIDESTO'");
	if (le32_get(bytes->data + 8) != STORE_FORMAT)
		return err_set(err, FAIL_UNTRUSTED,
			"the store has format %" PRIu32 ", this program knows %u",
			le32_get(bytes->data + 8), STORE_FORMAT);
	if (le32_get(bytes->data + 12) != count)
		return err_set(err, FAIL_UNTRUSTED,
			"the store has %" PRIu32 " chunks, the index %" PRIu32,
			le32_get(bytes->data + 12), count);
	if (bytes->len != expected)
		return err_set(err, FAIL_UNTRUSTED,
			"the store is %zu bytes long, %" PRIu64 " expected", bytes->len, expected);
	return 0;
}

/* Whether chunk `i` of `plain` bytes may be kept in `stored` bytes under this encoding. */
static int check_record(
	uint32_t i, uint32_t encoding, uint32_t stored, uint32_t plain, struct err *err)
{
	bool fits = false;

	switch (encoding) {
	case STORE_ZERO:
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
	default: /* a number from outside, not the enum */
		return err_set(err, FAIL_UNTRUSTED,
			"store: chunk %" PRIu32 " has unknown encoding %" PRIu32, i, encoding);
	}
	if (!fits)
		return err_set(err, FAIL_UNTRUSTED,
			"store: chunk %" PRIu32 " of %" PRIu32 " bytes cannot be %" PRIu32
			" bytes in encoding %" PRIu32,
			i, plain, stored, encoding);
	return 0;
}

int store_parse(struct bytes *bytes, const struct index *index, struct store **ret, struct err *err)
{
	uint32_t count = index_count(index);
	uint64_t data_size = 0; /* at most INDEX_CHUNKS_MAX * INDEX_CHUNK_MAX = 2^42: no overflow */
	struct store *store;
	void *p = NULL;

	if (check_header(bytes, count, err) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t r = record(bytes, i);

		if (check_record(i, r >> ENCODING_SHIFT, r & LENGTH_MASK, index_length(index, i),
			    err) < 0)
			return -1;
		data_size += r & LENGTH_MASK;
	}
	if (mem_alloc(sizeof(*store), &p, err) < 0)
		return -1;
	store = p;
	*store =
		(struct store){.bytes = steal_bytes(bytes), .count = count, .data_size = data_size};
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
	return (enum store_encoding)(record(&store->bytes, i) >> ENCODING_SHIFT);
}

uint32_t store_length(const struct store *store, uint32_t i)
{
	assert(i < store->count);
	return record(&store->bytes, i) & LENGTH_MASK;
}

uint64_t store_data_size(const struct store *store)
{
	return store->data_size;
}

int store_encode(const enum store_encoding *encodings, const uint32_t *lengths, uint32_t count,
	struct bytes *ret, struct err *err)
{
	size_t len = STORE_HEADER_LEN + (size_t)STORE_RECORD_LEN * count;
	uint8_t *data;
	void *p = NULL;

	if (mem_alloc(len, &p, err) < 0)
		return -1;
	data = p;
	memcpy(data, MAGIC, sizeof(MAGIC));
	le32_put(data + 8, STORE_FORMAT);
	le32_put(data + 12, count);
	for (uint32_t i = 0; i < count; i++) {
		assert(lengths[i] <= LENGTH_MASK);
		le32_put(data + STORE_HEADER_LEN + (size_t)STORE_RECORD_LEN * i,
			(uint32_t)encodings[i] << ENCODING_SHIFT | lengths[i]);
	}
	*ret = (struct bytes){.data = data, .len = len};
	return 0;
}
