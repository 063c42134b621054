#include "image/contents.h"

#include <stdlib.h>

#include "image/reader.h"
#include "updater/mem.h"

struct parts {
	struct index *index[MANIFEST_IMAGES_MAX];
	struct store *store[MANIFEST_IMAGES_MAX];
};

static void parts_finish(struct parts *parts)
{
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++) {
		index_free(&parts->index[i]);
		store_free(&parts->store[i]);
	}
}

static void count_chunks(
	const struct index *index, const struct store *store, struct pack_stats *stats)
{
	for (uint32_t i = 0; i < index_count(index); i++) {
		enum store_encoding encoding = store_encoding(store, i);

		stats->chunks[encoding]++;
		stats->plain[encoding] += index_length(index, i);
		stats->kept[encoding] += store_length(store, i);
	}
	stats->stored = store_data_size(store);
}

static int read_images(struct reader *reader, struct contents *contents, struct err *err)
{
	CLEANUP(parts_finish) struct parts parts = {0};
	const struct manifest *manifest = contents->manifest;

	for (size_t i = 0; i < manifest->image_count; i++)
		if (reader_index(reader, &manifest->images[i], &parts.index[i], err) < 0)
			return -1;
	for (size_t i = 0; i < manifest->image_count; i++) {
		if (reader_store(reader, &manifest->images[i], parts.index[i], &parts.store[i],
			    NULL, err) < 0)
			return -1;
		contents->images[i].chunks = index_count(parts.index[i]);
		contents->images[i].store_size = store_size(parts.store[i]);
		contents->delta = store_base(parts.store[i], &contents->base);
		count_chunks(parts.index[i], parts.store[i], &contents->images[i].stats);
	}
	for (size_t i = 0; i < manifest->image_count; i++)
		if (reader_data(
			    reader, &manifest->images[i], store_data_size(parts.store[i]), err) < 0)
			return -1;
	return reader_end(reader, err);
}

int contents_read(const char *path, struct contents **ret, struct err *err)
{
	CLEANUP(contents_free) struct contents *contents = NULL;
	CLEANUP(reader_free) struct reader *reader = NULL;
	const struct bytes *manifest;
	void *p = NULL;

	if (mem_alloc(sizeof(*contents), &p, err) < 0)
		return -1;
	contents = p;
	if (reader_open(path, &reader, err) < 0)
		return -1;
	manifest = reader_manifest(reader);
	contents->manifest_size = manifest->len;
	contents->signature_size = reader_signature(reader)->len;
	if (digest_once(manifest->data, manifest->len, &contents->id, err) < 0)
		return -1;
	if (manifest_parse_untrusted(manifest, &contents->manifest, err) < 0 ||
		signer_names(reader_signature(reader), &contents->signers, err) < 0)
		return err_wrap(err, "bundle '%s'", path);
	if (read_images(reader, contents, err) < 0)
		return -1;
	*ret = steal_ptr(&contents);
	return 0;
}

void contents_free(struct contents **contents)
{
	if (!contents || !*contents)
		return;
	manifest_free(&(*contents)->manifest);
	free(*contents);
	*contents = NULL;
}
