#include "updater/header.h"

#include <inttypes.h>
#include <string.h>

#include "updater/index.h"
#include "updater/signature.h"

#define FORMAT    1u
#define FIXED_LEN 24u /* up to the lengths of the indexes */

static const uint8_t MAGIC[8] = {'A', 'B', 'I', 'D', 'E', 'H', 'D', 'R'};

enum {
	AT_FORMAT = 8,
	AT_INDEX_COUNT = 12,
	AT_MANIFEST_LEN = 16,
	AT_SIGNATURE_LEN = 20,
	AT_INDEX_LENS = 24,
};

void header_finish(struct header *header)
{
	if (!header)
		return;
	bytes_finish(&header->manifest);
	bytes_finish(&header->signature);
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		bytes_finish(&header->index[i]);
	header->index_count = 0;
}

uint64_t header_size(uint64_t manifest_len, uint64_t signature_len, const uint64_t *index_len,
	size_t index_count)
{
	uint64_t size = FIXED_LEN + 8 * (uint64_t)index_count;

	/* Saturates: a sum past 2^64 is longer than any slot. */
	if (__builtin_add_overflow(size, manifest_len, &size) ||
		__builtin_add_overflow(size, signature_len, &size))
		return UINT64_MAX;
	for (size_t i = 0; i < index_count; i++)
		if (__builtin_add_overflow(size, index_len[i], &size))
			return UINT64_MAX;
	return size;
}

/* One part's length, read or about to be written, against its limit. */
static int check_part(const char *part, uint64_t len, uint64_t max, struct err *err)
{
	if (len == 0)
		return err_set(err, FAIL_UNTRUSTED, "header: its %s is empty", part);
	if (len > max)
		return err_set(err, FAIL_UNTRUSTED,
			"header: its %s has %" PRIu64 " bytes, at most %" PRIu64 " are allowed",
			part, len, max);
	return 0;
}

static int check_index_count(uint64_t count, struct err *err)
{
	if (count < 1 || count > MANIFEST_IMAGES_MAX)
		return err_set(err, FAIL_UNTRUSTED, "header: %" PRIu64 " indexes, allowed: 1..%u",
			count, MANIFEST_IMAGES_MAX);
	return 0;
}

static int check_parts(uint64_t manifest_len, uint64_t signature_len, const uint64_t *index_len,
	size_t index_count, struct err *err)
{
	if (check_part("manifest", manifest_len, MANIFEST_SIZE_MAX, err) < 0 ||
		check_part("signature", signature_len, SIGNATURE_SIZE_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < index_count; i++)
		if (check_part("index", index_len[i], INDEX_SIZE_MAX, err) < 0)
			return -1;
	return 0;
}

static uint8_t *append(uint8_t *at, const struct bytes *part)
{
	memcpy(at, part->data, part->len);
	return at + part->len;
}

int header_encode(const struct bytes *manifest, const struct bytes *signature,
	const struct bytes *const index[], size_t index_count, struct bytes *ret, struct err *err)
{
	uint64_t index_len[MANIFEST_IMAGES_MAX] = {0};
	uint64_t size;
	uint8_t *at;
	void *p = NULL;

	if (check_index_count(index_count, err) < 0)
		return -1;
	for (size_t i = 0; i < index_count; i++)
		index_len[i] = index[i]->len;
	if (check_parts(manifest->len, signature->len, index_len, index_count, err) < 0)
		return -1;
	size = header_size(manifest->len, signature->len, index_len, index_count);
	if (size > SIZE_MAX)
		return err_memory(err);
	if (mem_alloc((size_t)size, &p, err) < 0)
		return -1;
	at = p;
	memcpy(at, MAGIC, sizeof(MAGIC));
	le32_put(at + AT_FORMAT, FORMAT);
	le32_put(at + AT_INDEX_COUNT, (uint32_t)index_count);
	le32_put(at + AT_MANIFEST_LEN, (uint32_t)manifest->len);
	le32_put(at + AT_SIGNATURE_LEN, (uint32_t)signature->len);
	for (size_t i = 0; i < index_count; i++)
		le64_put(at + AT_INDEX_LENS + 8 * i, index_len[i]);
	at = append(append(at + FIXED_LEN + 8 * index_count, manifest), signature);
	for (size_t i = 0; i < index_count; i++)
		at = append(at, index[i]);
	*ret = (struct bytes){.data = p, .len = (size_t)size};
	return 0;
}

/* The fixed part and the lengths: what is there adds up to exactly len. */
static int check_frame(const uint8_t *data, size_t len, uint64_t index_len[], struct err *err)
{
	uint32_t count;
	uint64_t size;

	if (len < FIXED_LEN)
		return err_set(err, FAIL_UNTRUSTED,
			"header: %zu bytes, its first part alone needs %u", len, FIXED_LEN);
	if (memcmp(data, MAGIC, sizeof(MAGIC)) != 0)
		return err_set(err, FAIL_UNTRUSTED,
			"header: does not begin with 'ABIDEHDR': not a header");
	if (le32_get(data + AT_FORMAT) != FORMAT)
		return err_set(err, FAIL_UNTRUSTED,
			"header: format %" PRIu32 ", this abide reads %u",
			le32_get(data + AT_FORMAT), FORMAT);
	count = le32_get(data + AT_INDEX_COUNT);
	if (check_index_count(count, err) < 0)
		return -1;
	if (len < FIXED_LEN + 8 * (size_t)count)
		return err_set(err, FAIL_UNTRUSTED, "header: cut short within its lengths");
	for (size_t i = 0; i < count; i++)
		index_len[i] = le64_get(data + AT_INDEX_LENS + 8 * i);
	if (check_parts(le32_get(data + AT_MANIFEST_LEN), le32_get(data + AT_SIGNATURE_LEN),
		    index_len, count, err) < 0)
		return -1;
	size = header_size(le32_get(data + AT_MANIFEST_LEN), le32_get(data + AT_SIGNATURE_LEN),
		index_len, count);
	if (len != size)
		return err_set(err, FAIL_UNTRUSTED,
			"header: %zu bytes, its lengths add up to %" PRIu64, len, size);
	return 0;
}

/* check_frame() has proven that `len` bytes are there. */
static int take(const uint8_t **at, uint64_t len, struct bytes *ret, struct err *err)
{
	if (bytes_copy(*at, (size_t)len, ret, err) < 0)
		return -1;
	*at += len;
	return 0;
}

int header_parse(const void *data, size_t len, struct header *ret, struct err *err)
{
	CLEANUP(header_finish) struct header header = {0};
	uint64_t index_len[MANIFEST_IMAGES_MAX] = {0};
	const uint8_t *p = data;
	const uint8_t *at;

	if (check_frame(p, len, index_len, err) < 0)
		return -1;
	header.index_count = le32_get(p + AT_INDEX_COUNT);
	at = p + FIXED_LEN + 8 * header.index_count;
	if (take(&at, le32_get(p + AT_MANIFEST_LEN), &header.manifest, err) < 0 ||
		take(&at, le32_get(p + AT_SIGNATURE_LEN), &header.signature, err) < 0)
		return -1;
	for (size_t i = 0; i < header.index_count; i++)
		if (take(&at, index_len[i], &header.index[i], err) < 0)
			return -1;
	*ret = header;
	header = (struct header){0};
	return 0;
}
