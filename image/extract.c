#include "image/extract.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/dedup.h"
#include "image/output.h"
#include "image/reader.h"
#include "updater/carrier/decode.h"
#include "updater/fs.h"

struct extraction {
	const struct extract_options *options;
	struct reader *reader;
	struct trusted *trusted;
	struct manifest *manifest;
	struct index *index[MANIFEST_IMAGES_MAX];
	struct store *store[MANIFEST_IMAGES_MAX];
	struct output output[MANIFEST_IMAGES_MAX];
	struct decoder *decoder;
	struct hasher *chunk_hasher;
	struct hasher *image_hasher;
	uint8_t *plain; /* INDEX_CHUNK_MAX */
	/* Of the image under way: where each of its different chunks lies in the output. */
	struct dedup *places;
};

static void extraction_finish(struct extraction *x)
{
	reader_free(&x->reader);
	trusted_free(&x->trusted);
	manifest_free(&x->manifest);
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++) {
		index_free(&x->index[i]);
		store_free(&x->store[i]);
		output_finish(&x->output[i]);
	}
	decoder_free(&x->decoder);
	hasher_free(&x->chunk_hasher);
	hasher_free(&x->image_hasher);
	dedup_free(&x->places);
	free(x->plain);
}

static int begin(struct extraction *x, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes manifest = {0};
	const struct bytes *read;
	void *p = NULL;

	if (reader_open(x->options->bundle, &x->reader, err) < 0)
		return -1;
	read = reader_manifest(x->reader);
	if (bytes_copy(read->data, read->len, &manifest, err) < 0)
		return -1;
	if (signature_verify(&x->options->trust, &manifest, reader_signature(x->reader),
		    &x->trusted, err) < 0 ||
		manifest_parse(x->trusted, &x->manifest, err) < 0)
		return err_wrap(err, "bundle '%s'", x->options->bundle);
	if (decoder_new(&x->decoder, err) < 0 || hasher_new(&x->chunk_hasher, err) < 0 ||
		hasher_new(&x->image_hasher, err) < 0 || mem_alloc(INDEX_CHUNK_MAX, &p, err) < 0)
		return -1;
	x->plain = p;
	return 0;
}

static int refuse_delta(const struct extraction *x, const struct store *store, struct err *err)
{
	char id[DIGEST_HEX_LEN + 1];
	struct digest base;

	if (!store_base(store, &base))
		return 0;
	digest_to_hex(&base, id);
	return err_set(err, FAIL_REFUSED,
		"bundle '%s' is a delta for artifact %s and does not have the whole images: take "
		"the full bundle",
		x->options->bundle, id);
}

static int read_tables(struct extraction *x, struct err *err)
{
	const struct manifest *manifest = x->manifest;

	for (size_t i = 0; i < manifest->image_count; i++)
		if (reader_index(x->reader, &manifest->images[i], &x->index[i], err) < 0)
			return -1;
	for (size_t i = 0; i < manifest->image_count; i++) {
		if (reader_store(x->reader, &manifest->images[i], x->index[i], &x->store[i], NULL,
			    err) < 0 ||
			refuse_delta(x, x->store[i], err) < 0)
			return -1;
	}
	return 0;
}

static int open_outputs(struct extraction *x, struct err *err)
{
	char name[MANIFEST_CLASS_MAX + 8];
	char path[PATH_MAX];

	for (size_t i = 0; i < x->manifest->image_count; i++) {
		(void)snprintf(
			name, sizeof(name), "%s.img", x->manifest->images[i].class); /* fits */
		if (fs_join(x->options->dir, name, path, sizeof(path), err) < 0 ||
			output_open(path, 0644, &x->output[i], err) < 0)
			return -1;
	}
	return 0;
}

/* The bytes of an earlier chunk, from what was written already. */
static int read_again(struct extraction *x, const struct output *output, const struct index *index,
	uint32_t i, struct err *err)
{
	size_t len = index_length(index, i);
	uint64_t place;
	ssize_t n;

	if (!dedup_find(x->places, (uint32_t)len, index_digest(index, i), &place))
		return err_set(err, FAIL_UNTRUSTED, "it repeats a chunk that is not there");
	n = pread(output->fd, x->plain, len, (off_t)place);
	if (n < 0)
		return err_errno(err, "read '%s'", output->path);
	if ((size_t)n != len)
		return err_set(err, FAIL_IO, "read '%s': unexpected end", output->path);
	return 0;
}

/* Into x->plain, unverified. */
static int fetch(struct extraction *x, size_t image, uint32_t i, struct err *err)
{
	const struct index *index = x->index[image];
	const struct store *store = x->store[image];
	struct container *container = reader_container(x->reader);
	size_t len = index_length(index, i);
	size_t stored = store_length(store, i);
	const uint8_t *data;

	switch (store_encoding(store, i)) {
	case STORE_ZERO:
		memset(x->plain, 0, len);
		return 0;
	case STORE_SAME:
		return read_again(x, &x->output[image], index, i, err);
	case STORE_RAW:
		return container_read(container, x->plain, len, err);
	case STORE_ZSTD:
		if (container_borrow(container, stored, &data, err) < 0)
			return -1;
		return decoder_zstd(x->decoder, data, stored, x->plain, len, err);
	case STORE_BASE:
	case STORE_PATCH:
		break; /* a delta's: refuse_delta() did */
	}
	return err_set(err, FAIL_UNTRUSTED, "unknown encoding"); /* store_parse() refused it */
}

static int write_chunk(struct extraction *x, size_t image, uint64_t at, size_t len, struct err *err)
{
	const struct output *output = &x->output[image];

	if (mem_is_zero(x->plain, len)) /* a hole: the file was given its size at the start */
		return 0;
	if (lseek(output->fd, (off_t)at, SEEK_SET) < 0)
		return err_errno(err, "seek in '%s'", output->path);
	return fs_write_full(output->fd, output->path, x->plain, len, err);
}

static int extract_chunk(
	struct extraction *x, size_t image, uint32_t i, uint64_t at, struct err *err)
{
	const struct index *index = x->index[image];
	uint32_t len = index_length(index, i);
	struct digest digest;
	uint64_t place;

	if (fetch(x, image, i, err) < 0 ||
		digest_of(x->chunk_hasher, x->plain, len, &digest, err) < 0)
		return -1;
	if (!index_matches(index, i, &digest))
		return err_set(err, FAIL_UNTRUSTED, "its bytes are not those of the signed index");
	if (!dedup_find(x->places, len, digest.b, &place) &&
		dedup_add(x->places, len, digest.b, at, err) < 0)
		return -1;
	if (hasher_update(x->image_hasher, x->plain, len, err) < 0)
		return -1;
	return write_chunk(x, image, at, len, err);
}

static int check_image(struct extraction *x, size_t image, struct err *err)
{
	struct digest digest;

	if (hasher_final(x->image_hasher, &digest, err) < 0)
		return -1;
	if (!digest_equal(&digest, &x->manifest->images[image].sha256))
		return err_set(err, FAIL_UNTRUSTED,
			"bundle '%s': image '%s' does not have the SHA-256 that the manifest says",
			x->options->bundle, x->manifest->images[image].class);
	return 0;
}

static int extract_image(struct extraction *x, size_t image, struct err *err)
{
	const struct manifest_image *what = &x->manifest->images[image];
	const struct index *index = x->index[image];
	uint64_t at = 0;

	dedup_free(&x->places);
	if (dedup_new(&x->places, err) < 0 || hasher_reset(x->image_hasher, err) < 0 ||
		reader_data(x->reader, what, store_data_size(x->store[image]), err) < 0)
		return -1;
	if (ftruncate(x->output[image].fd, (off_t)what->size) < 0)
		return err_errno(err, "resize '%s'", x->output[image].path);
	for (uint32_t i = 0; i < index_count(index); i++) {
		if (x->options->interrupted && *x->options->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "stopped by a signal");
		if (extract_chunk(x, image, i, at, err) < 0)
			return err_wrap(err, "bundle '%s': image '%s': chunk %" PRIu32,
				x->options->bundle, what->class, i);
		at += index_length(index, i);
	}
	return check_image(x, image, err);
}

int extract_run(
	const struct extract_options *options, struct manifest **ret_manifest, struct err *err)
{
	CLEANUP(extraction_finish) struct extraction x = {.options = options};

	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		x.output[i] = OUTPUT_NONE;
	if (begin(&x, err) < 0 || read_tables(&x, err) < 0 || open_outputs(&x, err) < 0)
		return -1;
	for (size_t i = 0; i < x.manifest->image_count; i++)
		if (extract_image(&x, i, err) < 0)
			return -1;
	if (reader_end(x.reader, err) < 0)
		return -1;
	for (size_t i = 0; i < x.manifest->image_count; i++)
		if (output_commit(&x.output[i], err) < 0)
			return -1;
	*ret_manifest = steal_ptr(&x.manifest);
	return 0;
}
