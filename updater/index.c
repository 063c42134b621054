#include "updater/index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t MAGIC[8] = {'A', 'B', 'I', 'D', 'E', 'I', 'D', 'X'};

enum {
	AT_FORMAT = 8,
	AT_COUNT = 12,
	AT_IMAGE_SIZE = 16,
};

struct index {
	struct bytes bytes;
	uint32_t count;
};

static const uint8_t *record(const struct index *index, uint32_t i)
{
	return index->bytes.data + INDEX_HEADER_LEN + (size_t)INDEX_RECORD_LEN * i;
}

static int check_header(const struct bytes *bytes, uint64_t image_size, struct err *err)
{
	const uint8_t *p = bytes->data;

	if (bytes->len < INDEX_HEADER_LEN)
		return err_set(err, FAIL_UNTRUSTED, "index: %zu bytes, its header alone needs %u",
			bytes->len, INDEX_HEADER_LEN);
	if (memcmp(p, MAGIC, sizeof(MAGIC)) != 0)
		return err_set(
			err, FAIL_UNTRUSTED, "index: does not begin with 'ABIDEIDX': not an index");
	if (le32_get(p + AT_FORMAT) != INDEX_FORMAT)
		return err_set(err, FAIL_UNTRUSTED,
			"index: format %" PRIu32 ", this abide reads %u", le32_get(p + AT_FORMAT),
			INDEX_FORMAT);
	if (le64_get(p + AT_IMAGE_SIZE) != image_size)
		return err_set(err, FAIL_UNTRUSTED,
			"index: is for an image of %" PRIu64 " bytes, the manifest says %" PRIu64,
			le64_get(p + AT_IMAGE_SIZE), image_size);
	return 0;
}

static int check_count(const struct bytes *bytes, struct err *err)
{
	uint32_t count = le32_get(bytes->data + AT_COUNT);
	uint64_t need = INDEX_HEADER_LEN + (uint64_t)INDEX_RECORD_LEN * count; /* below 2^37 */

	if (count == 0)
		return err_set(err, FAIL_UNTRUSTED, "index: lists no chunks");
	if (count > INDEX_CHUNKS_MAX)
		return err_set(err, FAIL_UNTRUSTED,
			"index: %" PRIu32 " chunks, at most %u are allowed", count,
			INDEX_CHUNKS_MAX);
	if (bytes->len < need)
		return err_set(err, FAIL_UNTRUSTED,
			"index: cut short: %" PRIu32 " chunks need %" PRIu64
			" bytes, there are %zu",
			count, need, bytes->len);
	if (bytes->len > need)
		return err_set(err, FAIL_UNTRUSTED,
			"index: %zu bytes follow the last of %" PRIu32 " chunks",
			bytes->len - (size_t)need, count);
	return 0;
}

static int check_lengths(const struct index *index, uint64_t image_size, struct err *err)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < index->count; i++) {
		uint32_t length = index_length(index, i);

		if (length == 0)
			return err_set(err, FAIL_UNTRUSTED, "index: chunk %" PRIu32 " is empty", i);
		if (length > INDEX_CHUNK_MAX)
			return err_set(err, FAIL_UNTRUSTED,
				"index: chunk %" PRIu32 " has %" PRIu32
				" bytes, at most %u are allowed",
				i, length, INDEX_CHUNK_MAX);
		if (__builtin_add_overflow(sum, length, &sum) || sum > image_size)
			return err_set(err, FAIL_UNTRUSTED,
				"index: chunk %" PRIu32 " ends past the image's %" PRIu64 " bytes",
				i, image_size);
	}
	if (sum != image_size)
		return err_set(err, FAIL_UNTRUSTED,
			"index: chunks add up to %" PRIu64 " bytes, the image has %" PRIu64, sum,
			image_size);
	return 0;
}

int index_parse(struct bytes *bytes, uint64_t image_size, struct index **ret, struct err *err)
{
	struct index *index;
	struct index checked = {.bytes = *bytes};
	void *p = NULL;

	if (check_header(bytes, image_size, err) < 0 || check_count(bytes, err) < 0)
		return -1;
	checked.count = le32_get(bytes->data + AT_COUNT);
	if (check_lengths(&checked, image_size, err) < 0 || mem_alloc(sizeof(*index), &p, err) < 0)
		return -1;
	index = p;
	index->bytes = steal_bytes(bytes);
	index->count = checked.count;
	*ret = index;
	return 0;
}

void index_free(struct index **index)
{
	if (!index || !*index)
		return;
	bytes_finish(&(*index)->bytes);
	free(*index);
	*index = NULL;
}

uint32_t index_count(const struct index *index)
{
	return index->count;
}

uint64_t index_image_size(const struct index *index)
{
	return le64_get(index->bytes.data + AT_IMAGE_SIZE);
}

const struct bytes *index_bytes(const struct index *index)
{
	return &index->bytes;
}

uint32_t index_length(const struct index *index, uint32_t i)
{
	return le32_get(record(index, i));
}

const uint8_t *index_digest(const struct index *index, uint32_t i)
{
	return record(index, i) + 4;
}

bool index_matches(const struct index *index, uint32_t i, const struct digest *digest)
{
	return memcmp(index_digest(index, i), digest->b, INDEX_DIGEST_LEN) == 0;
}

struct index_builder {
	struct bytes bytes; /* header, filled in by finish, and the records so far */
	size_t cap;
	uint32_t count;
	uint64_t image_size;
};

static int grow(struct index_builder *builder, struct err *err)
{
	size_t cap = builder->cap ? 2 * builder->cap : MEM_BLOCK;
	uint8_t *data = realloc(builder->bytes.data, cap);

	if (!data)
		return err_memory(err);
	builder->bytes.data = data;
	builder->cap = cap;
	return 0;
}

int index_builder_new(struct index_builder **ret, struct err *err)
{
	CLEANUP(index_builder_free) struct index_builder *builder = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*builder), &p, err) < 0)
		return -1;
	builder = p;
	if (grow(builder, err) < 0)
		return -1;
	builder->bytes.len = INDEX_HEADER_LEN;
	*ret = steal_ptr(&builder);
	return 0;
}

void index_builder_free(struct index_builder **builder)
{
	if (!builder || !*builder)
		return;
	bytes_finish(&(*builder)->bytes);
	free(*builder);
	*builder = NULL;
}

int index_builder_add(struct index_builder *builder, uint32_t length, const struct digest *digest,
	struct err *err)
{
	uint8_t *at;

	if (length == 0 || length > INDEX_CHUNK_MAX)
		return err_set(err, FAIL_USAGE,
			"index: a chunk of %" PRIu32 " bytes, allowed: 1..%u", length,
			INDEX_CHUNK_MAX);
	if (builder->count == INDEX_CHUNKS_MAX)
		return err_set(err, FAIL_USAGE, "index: the image has more than %u chunks",
			INDEX_CHUNKS_MAX);
	if (builder->cap - builder->bytes.len < INDEX_RECORD_LEN && grow(builder, err) < 0)
		return -1;
	at = builder->bytes.data + builder->bytes.len;
	le32_put(at, length);
	memcpy(at + 4, digest->b, INDEX_DIGEST_LEN);
	builder->bytes.len += INDEX_RECORD_LEN;
	builder->count++;
	builder->image_size += length; /* at most 2^24 chunks of 2^18 bytes: no overflow */
	return 0;
}

int index_builder_finish(struct index_builder *builder, struct bytes *ret, struct err *err)
{
	uint8_t *p = builder->bytes.data;

	if (builder->count == 0)
		return err_set(err, FAIL_USAGE, "index: the image is empty");
	memcpy(p, MAGIC, sizeof(MAGIC));
	le32_put(p + AT_FORMAT, INDEX_FORMAT);
	le32_put(p + AT_COUNT, builder->count);
	le64_put(p + AT_IMAGE_SIZE, builder->image_size);
	*ret = steal_bytes(&builder->bytes);
	*builder = (struct index_builder){0};
	return 0;
}
