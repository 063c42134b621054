#include "tests/tars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/compress.h"
#include "updater/carrier/members.h"
#include "updater/carrier/store.h"

void tars_bytes(struct tars *tar, const void *data, size_t len)
{
	uint8_t *grown = realloc(tar->data, tar->len + len + 1);

	assert_non_null(grown);
	tar->data = grown;
	if (len)
		memcpy(tar->data + tar->len, data, len);
	tar->len += len;
}

static void pad(struct tars *tar, size_t len)
{
	static const uint8_t ZEROS[TARS_BLOCK];

	tars_bytes(tar, ZEROS, (size_t)round_up(len, TARS_BLOCK) - len);
}

/* Octal as tar has it; sizes that do not fit in the base-256 of GNU and POSIX. */
static void put_size(char *field, uint64_t size)
{
	if (size < (UINT64_C(1) << 33)) {
		(void)snprintf(field, 12, "%011llo", (unsigned long long)size);
		return;
	}
	field[0] = (char)0x80;
	for (int i = 11; i > 3; i--, size >>= 8)
		field[i] = (char)(size & 0xff);
}

void tars_header(struct tars *tar, const char *name, char type, uint64_t size, const char *link)
{
	char block[TARS_BLOCK] = {0};
	unsigned int sum = 0;

	(void)snprintf(block, 100, "%s", name);
	memcpy(block + 100, "0000644\0000000000\0000000000", 24);
	put_size(block + 124, size);
	memcpy(block + 136, "00000000000", 12);
	memset(block + 148, ' ', 8);
	block[156] = type;
	(void)snprintf(block + 157, 100, "%s", link ? link : "");
	memcpy(block + 257, "ustar\00000", 8);
	for (size_t i = 0; i < TARS_BLOCK; i++)
		sum += (unsigned char)block[i];
	(void)snprintf(block + 148, 8, "%06o", sum);
	tars_bytes(tar, block, TARS_BLOCK);
}

void tars_add(struct tars *tar, const char *name, const void *data, size_t len)
{
	tars_header(tar, name, '0', len, NULL);
	tars_bytes(tar, data, len);
	pad(tar, len);
}

void tars_pax(struct tars *tar, const char *key, const char *value)
{
	size_t len = strlen(key) + strlen(value) + 3; /* space, '=', newline */
	size_t total = len + 1;
	char *record;
	char digits[24];

	while (len + (size_t)snprintf(digits, sizeof(digits), "%zu", total) != total)
		total++;
	record = malloc(total + 1);
	assert_non_null(record);
	(void)snprintf(record, total + 1, "%zu %s=%s\n", total, key, value);
	tars_header(tar, "PaxHeader", 'x', total, NULL);
	tars_bytes(tar, record, total);
	pad(tar, total);
	free(record);
}

void tars_end(struct tars *tar)
{
	static const uint8_t MARK[2 * TARS_BLOCK];

	tars_bytes(tar, MARK, sizeof(MARK));
}

void tars_finish(struct tars *tar)
{
	free(tar->data);
	*tar = (struct tars){0};
}

/* ---- the sample ---- */

static const struct {
	enum store_encoding encoding;
	uint32_t len;
} SAMPLE[SAMPLE_CHUNKS] = {
	{STORE_RAW, 5000},
	{STORE_ZERO, 4096},
	{STORE_ZSTD, 60000},
	{STORE_RAW, 1},
	{STORE_ZSTD, INDEX_CHUNK_MAX},
	{STORE_SAME, 5000}, /* the first one again */
	{STORE_RAW, INDEX_CHUNK_MAX},
	{STORE_ZSTD, 777},
};

static void fill_chunk(uint8_t *to, size_t image, uint32_t i)
{
	uint32_t x = (uint32_t)(image * 100 + i + 1) * 2654435761u;

	for (uint32_t k = 0; k < SAMPLE[i].len; k++) {
		x = x * 1664525u + 1013904223u;
		to[k] = (uint8_t)(x >> 24);
		if (SAMPLE[i].encoding == STORE_ZSTD)
			to[k] = (uint8_t)(k % 6 + (k / 600 + i + image) % 3);
	}
	if (SAMPLE[i].encoding == STORE_ZERO)
		memset(to, 0, SAMPLE[i].len);
}

static void add_chunk(struct sample *sample, size_t image, uint32_t i,
	struct index_builder *builder, struct tars *data, uint32_t *ret_stored)
{
	CLEANUP(compressor_free) struct compressor *compressor = NULL;
	static uint8_t frame[INDEX_CHUNK_MAX];
	uint8_t *plain = sample->plain[image] + sample->plain_len[image];
	struct digest digest;
	struct err err;
	size_t stored = 0;

	if (SAMPLE[i].encoding == STORE_SAME)
		memcpy(plain, sample->plain[image], SAMPLE[i].len);
	else
		fill_chunk(plain, image, i);
	if (SAMPLE[i].encoding == STORE_RAW) {
		stored = SAMPLE[i].len;
		tars_bytes(data, plain, stored);
	} else if (SAMPLE[i].encoding == STORE_ZSTD) {
		assert_int_equal(compressor_new(3, &compressor, &err), 0);
		assert_int_equal(
			compressor_run(compressor, plain, SAMPLE[i].len, frame, &stored, &err), 0);
		assert_true(stored > 0);
		tars_bytes(data, frame, stored);
	}
	assert_int_equal(digest_once(plain, SAMPLE[i].len, &digest, &err), 0);
	assert_int_equal(index_builder_add(builder, SAMPLE[i].len, &digest, &err), 0);
	sample->plain_len[image] += SAMPLE[i].len;
	*ret_stored = (uint32_t)stored;
}

static void add_image(struct sample *sample, size_t image)
{
	CLEANUP(index_builder_free) struct index_builder *builder = NULL;
	enum store_encoding encodings[SAMPLE_CHUNKS];
	uint32_t stored[SAMPLE_CHUNKS];
	struct tars data = {0};
	struct bytes raw = {0};
	struct err err;

	sample->plain[image] = calloc(SAMPLE_CHUNKS, INDEX_CHUNK_MAX);
	assert_non_null(sample->plain[image]);
	assert_int_equal(index_builder_new(&builder, &err), 0);
	for (uint32_t i = 0; i < SAMPLE_CHUNKS; i++) {
		add_chunk(sample, image, i, builder, &data, &stored[i]);
		encodings[i] = SAMPLE[i].encoding;
		if (SAMPLE[i].encoding != STORE_SAME)
			sample->wanted[image] |= (uint8_t)(1u << i);
	}
	assert_int_equal(index_builder_finish(builder, &sample->index_raw[image], &err), 0);
	assert_int_equal(
		store_encode(encodings, stored, SAMPLE_CHUNKS, &sample->store[image], &err), 0);
	assert_int_equal(bytes_copy(data.data, data.len, &sample->data[image], &err), 0);
	assert_int_equal(
		bytes_copy(sample->index_raw[image].data, sample->index_raw[image].len, &raw, &err),
		0);
	assert_int_equal(
		index_parse(&raw, sample->plain_len[image], &sample->index[image], &err), 0);
	tars_finish(&data);
}

void sample_init(struct sample *sample)
{
	*sample = (struct sample){.class = {"rootfs", "app"}};
	for (size_t i = 0; i < SAMPLE_IMAGES; i++)
		add_image(sample, i);
}

void sample_finish(struct sample *sample)
{
	for (size_t i = 0; i < SAMPLE_IMAGES; i++) {
		free(sample->plain[i]);
		bytes_finish(&sample->index_raw[i]);
		bytes_finish(&sample->store[i]);
		bytes_finish(&sample->data[i]);
		index_free(&sample->index[i]);
	}
}

static void add_members(const struct sample *sample, const char *suffix,
	const struct bytes members[static SAMPLE_IMAGES], struct tars *tar)
{
	char name[64];

	for (size_t i = 0; i < SAMPLE_IMAGES; i++) {
		(void)snprintf(name, sizeof(name), "%s%s", sample->class[i], suffix);
		tars_add(tar, name, members[i].data, members[i].len);
	}
}

void sample_tar(const struct sample *sample, struct tars *tar)
{
	tars_add(tar, MEMBER_MANIFEST, SAMPLE_MANIFEST, strlen(SAMPLE_MANIFEST));
	tars_add(tar, MEMBER_SIGNATURE, SAMPLE_SIGNATURE, strlen(SAMPLE_SIGNATURE));
	add_members(sample, MEMBER_INDEX_SUFFIX, sample->index_raw, tar);
	add_members(sample, MEMBER_STORE_SUFFIX, sample->store, tar);
	add_members(sample, MEMBER_DATA_SUFFIX, sample->data, tar);
	tars_end(tar);
}

size_t sample_offset(const struct sample *sample, size_t image, uint32_t i)
{
	size_t offset = 0;

	for (uint32_t k = 0; k < i; k++)
		offset += index_length(sample->index[image], k);
	return offset;
}
