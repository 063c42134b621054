/* Input: how many chunks (1 byte), the length of each (3), the length of the store (2), the store,
 * then the stored bytes. As in serve.c: the store is parsed against the index, and each compressed
 * chunk and each patch decoded into a buffer of exactly its length. */
#include <stdlib.h>
#include <string.h>

#include "updater/carrier/decode.h"
#include "updater/carrier/patch.h"
#include "updater/carrier/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int make_index(const uint8_t *lengths, uint32_t count, struct index **ret, struct err *err)
{
	CLEANUP(index_builder_free) struct index_builder *builder = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	const struct digest digest = {0};
	uint64_t total = 0;

	if (index_builder_new(&builder, err) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t len = (uint32_t)lengths[3 * i] | (uint32_t)lengths[3 * i + 1] << 8 |
			       (uint32_t)lengths[3 * i + 2] << 16;

		len = len % INDEX_CHUNK_MAX + 1;
		total += len;
		if (index_builder_add(builder, len, &digest, err) < 0)
			return -1;
	}
	if (index_builder_finish(builder, &bytes, err) < 0)
		return -1;
	return index_parse(&bytes, total, ret, err);
}

/* Plain bytes of the patch that begins at chunk i. */
static size_t patch_length(const struct index *index, const struct store *store, uint32_t i)
{
	size_t len = index_length(index, i);

	for (i++; i < index_count(index); i++) {
		if (store_encoding(store, i) != STORE_PATCH)
			continue;
		if (store_length(store, i) > 0)
			break;
		len += index_length(index, i);
	}
	if (len > STORE_PATCH_MAX)
		abort(); /* store_parse() should not have let it through */
	return len;
}

/* The base's bytes are what the patch says of them, over and over. */
static void unpack(struct decoder *decoder, size_t len, const uint8_t *stored, size_t stored_len)
{
	static uint8_t prefix[4096];
	CLEANUP(cleanup_free) uint8_t *plain = malloc(len);
	struct patch_room room = {.prefix = prefix, .plain = plain};
	struct patch patch;
	struct patch_run run;
	struct err err;

	if (!plain || patch_open(stored, stored_len, &patch, &err) < 0)
		return;
	for (size_t at = 0; at < patch.runs_len; at += PATCH_RUN_LEN)
		if (patch_parse_run(patch.runs + at, &run, &err) < 0)
			abort(); /* nor patch_open() */
	for (size_t at = 0; at < sizeof(prefix) && patch.runs_len > 0; at++)
		prefix[at] = patch.runs[at % patch.runs_len];
	(void)patch_decode(decoder, &room, &patch, patch.runs_len ? sizeof(prefix) : 0, len, &err);
}

static void decode_all(
	const struct index *index, const struct store *store, const uint8_t *data, size_t size)
{
	CLEANUP(decoder_free) struct decoder *decoder = NULL;
	struct err err;

	if (decoder_new(&decoder, &err) < 0)
		return;
	for (uint32_t i = 0; i < index_count(index); i++) {
		uint32_t len = index_length(index, i);
		uint32_t stored = store_length(store, i);
		CLEANUP(cleanup_free) uint8_t *out = malloc(len);

		if (!out || stored > size)
			return;
		if (store_encoding(store, i) == STORE_RAW && stored != len)
			abort(); /* store_parse() should not have let it through */
		if (store_encoding(store, i) == STORE_ZSTD)
			(void)decoder_zstd(decoder, data, stored, out, len, &err);
		if (store_encoding(store, i) == STORE_PATCH && stored > 0)
			unpack(decoder, patch_length(index, store, i), data, stored);
		data += stored;
		size -= stored;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(index_free) struct index *index = NULL;
	CLEANUP(store_free) struct store *store = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	uint32_t count = size ? data[0] : 0;
	size_t head = 1 + 3 * (size_t)count;
	size_t store_len;
	struct err err;

	if (count == 0 || size < head + 2 || make_index(data + 1, count, &index, &err) < 0)
		return 0;
	store_len = le16_get(data + head);
	head += 2;
	if (store_len > size - head || bytes_copy(data + head, store_len, &bytes, &err) < 0)
		return 0;
	if (store_parse(&bytes, index, &store, &err) < 0)
		return 0;
	head += store_len;
	decode_all(index, store, data + head, size - head);
	return 0;
}
