#include "image/delta.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/dedup.h"
#include "image/output.h"
#include "image/patches.h"
#include "image/plain.h"
#include "image/reader.h"
#include "image/similar.h"
#include "image/tarball.h"
#include "updater/carrier/decode.h"
#include "updater/fs.h"

#define COPY_BYTES (1u << 20)

/* A chunk's place in the base: which image, which chunk. */
#define PLACE(image, chunk) ((uint64_t)(image) << 32 | (chunk))
#define PLACE_NONE          UINT64_MAX
#define PLACE_IMAGE(place)  ((size_t)((place) >> 32))
#define PLACE_CHUNK(place)  ((uint32_t)(place))

struct maker {
	const struct delta_options *options;
	struct plain *base;
	struct dedup *places; /* of the base's chunks */
	struct reader *reader; /* of the full bundle */
	struct manifest *manifest;
	struct index *index[MANIFEST_IMAGES_MAX];
	struct store *full[MANIFEST_IMAGES_MAX];
	struct bytes store[MANIFEST_IMAGES_MAX]; /* of the delta */
	struct output output;
	int spool; /* of stored chunks */
	struct tarball *tarball;
	struct decoder *decoder;
	struct hasher *hasher;
	uint8_t *plain; /* INDEX_CHUNK_MAX */
	/* Of the image under way: */
	uint64_t *at; /* by chunk: its place in the base */
	enum store_encoding *encodings;
	uint32_t *lengths;
	struct delta_result result;
};

static void maker_finish(struct maker *m)
{
	plain_close(&m->base);
	dedup_free(&m->places);
	reader_free(&m->reader);
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++) {
		index_free(&m->index[i]);
		store_free(&m->full[i]);
		bytes_finish(&m->store[i]);
	}
	manifest_free(&m->manifest);
	output_finish(&m->output);
	cleanup_fd(&m->spool);
	tarball_free(&m->tarball);
	decoder_free(&m->decoder);
	hasher_free(&m->hasher);
	free(m->plain);
	free(m->at);
	free(m->encodings);
	free(m->lengths);
}

/* ---- the two bundles ---- */

static int read_tables(struct maker *m, struct err *err)
{
	const struct manifest *manifest = m->manifest;
	struct digest base;

	for (size_t i = 0; i < manifest->image_count; i++)
		if (reader_index(m->reader, &manifest->images[i], &m->index[i], err) < 0)
			return -1;
	for (size_t i = 0; i < manifest->image_count; i++) {
		if (reader_store(m->reader, &manifest->images[i], m->index[i], &m->full[i], NULL,
			    err) < 0)
			return -1;
		if (store_base(m->full[i], &base))
			return err_set(err, FAIL_REFUSED,
				"bundle '%s' is a delta itself, a full bundle is expected",
				m->options->bundle);
	}
	return 0;
}

static int open_full(struct maker *m, struct err *err)
{
	const struct bytes *manifest;

	if (reader_open(m->options->bundle, &m->reader, err) < 0)
		return -1;
	manifest = reader_manifest(m->reader);
	if (digest_once(manifest->data, manifest->len, &m->result.id, err) < 0)
		return -1;
	if (manifest_parse_untrusted(manifest, &m->manifest, err) < 0)
		return err_wrap(err, "bundle '%s'", m->options->bundle);
	return read_tables(m, err);
}

/* Which of the base's images has that class; image_count: none. */
static size_t base_image(const struct maker *m, const char *class)
{
	const struct manifest *manifest = m->base->manifest;
	size_t i = 0;

	while (i < manifest->image_count && strcmp(manifest->images[i].class, class) != 0)
		i++;
	return i;
}

/* Chunks of classes that the new release does not have are left out: a device that takes it has no
 * slot of that class. */
static int find_places(struct maker *m, struct err *err)
{
	uint64_t place;

	if (dedup_new(&m->places, err) < 0)
		return -1;
	for (size_t i = 0; i < m->base->manifest->image_count; i++) {
		const struct index *index = m->base->index[i];

		if (!manifest_image(m->manifest, m->base->manifest->images[i].class))
			continue;
		for (uint32_t k = 0; k < index_count(index); k++)
			if (!dedup_find(m->places, index_length(index, k), index_digest(index, k),
				    &place) &&
				dedup_add(m->places, index_length(index, k), index_digest(index, k),
					PLACE(i, k), err) < 0)
				return -1;
	}
	return 0;
}

static int begin(struct maker *m, struct err *err)
{
	const struct delta_options *options = m->options;
	void *p = NULL;

	if (mem_alloc(INDEX_CHUNK_MAX, &p, err) < 0)
		return -1;
	m->plain = p;
	if (decoder_new(&m->decoder, err) < 0 || hasher_new(&m->hasher, err) < 0)
		return -1;
	/* The cheap half first: unpacking the base takes its time. */
	if (open_full(m, err) < 0 || output_open(options->output, 0644, &m->output, err) < 0 ||
		output_spool(options->output, &m->spool, err) < 0 ||
		plain_open(options->base, options->output, options->interrupted, &m->base, err) < 0)
		return -1;
	m->result.base = m->base->id;
	if (strcmp(m->base->manifest->compatible, m->manifest->compatible) != 0)
		return err_set(err, FAIL_REFUSED,
			"'%s' is for '%s' and '%s' for '%s': no device has the one and takes the "
			"other",
			options->base, m->base->manifest->compatible, options->bundle,
			m->manifest->compatible);
	return find_places(m, err);
}

/* ---- one image ---- */

static int alloc_records(struct maker *m, uint32_t count, struct err *err)
{
	void *p = NULL;

	free(steal_ptr(&m->at));
	free(steal_ptr(&m->encodings));
	free(steal_ptr(&m->lengths));
	if (mem_alloc(count * sizeof(*m->at), &p, err) < 0)
		return -1;
	m->at = p;
	if (mem_alloc(count * sizeof(*m->encodings), &p, err) < 0)
		return -1;
	m->encodings = p;
	if (mem_alloc(count * sizeof(*m->lengths), &p, err) < 0)
		return -1;
	m->lengths = p;
	return 0;
}

static int index_base(const struct maker *m, size_t image, struct similar **ret, struct err *err)
{
	const struct index *index = m->base->index[image];
	const uint8_t *bytes = m->base->image[image];
	uint64_t left = index_image_size(index);

	if (similar_new(index, ret, err) < 0)
		return -1;
	for (uint32_t i = 0; i < index_count(index); i++) {
		similar_add(*ret, i, bytes, (size_t)left);
		bytes += index_length(index, i);
		left -= index_length(index, i);
	}
	return 0;
}

/* What the new release has beside its neighbours is often what the base had beside them. */
static void find_hints(const struct maker *m, const struct index *index, size_t base, uint32_t i,
	uint32_t ret[static PATCHES_HINTS_MAX])
{
	uint64_t before = i > 0 ? m->at[i - 1] : PLACE_NONE;
	uint64_t after = i + 1 < index_count(index) ? m->at[i + 1] : PLACE_NONE;

	for (uint32_t k = 0; k < PATCHES_HINTS_MAX / 2; k++) {
		ret[2 * k] = ret[2 * k + 1] = PATCHES_NO_HINT;
		if (before != PLACE_NONE && PLACE_IMAGE(before) == base)
			ret[2 * k] = PLACE_CHUNK(before) + 1 + k;
		if (after != PLACE_NONE && PLACE_IMAGE(after) == base && PLACE_CHUNK(after) > k)
			ret[2 * k + 1] = PLACE_CHUNK(after) - 1 - k;
	}
}

static int plain_bytes(struct maker *m, size_t image, uint32_t i, const uint8_t *stored,
	const uint8_t **ret, struct err *err)
{
	const struct index *index = m->index[image];
	uint32_t len = index_length(index, i);
	struct digest digest;

	*ret = stored;
	if (store_encoding(m->full[image], i) == STORE_ZSTD) {
		if (decoder_zstd(m->decoder, stored, store_length(m->full[image], i), m->plain, len,
			    err) < 0)
			return -1;
		*ret = m->plain;
	}
	if (digest_of(m->hasher, *ret, len, &digest, err) < 0)
		return -1;
	if (!index_matches(index, i, &digest))
		return err_set(err, FAIL_UNTRUSTED, "its bytes are not those of the index");
	return 0;
}

/* What becomes of chunk i, whose stored bytes come next. */
static int make_chunk(struct maker *m, size_t image, size_t base, struct patches *patches,
	uint32_t i, struct err *err)
{
	const struct index *index = m->index[image];
	uint32_t stored_len = store_length(m->full[image], i);
	uint32_t hints[PATCHES_HINTS_MAX];
	const uint8_t *stored, *plain;

	m->encodings[i] = store_encoding(m->full[image], i);
	m->lengths[i] = stored_len;
	if (stored_len == 0)
		return 0;
	if (container_borrow(reader_container(m->reader), stored_len, &stored, err) < 0)
		return -1;
	if (m->at[i] != PLACE_NONE) {
		m->encodings[i] = STORE_BASE;
		m->lengths[i] = 0;
		return 0;
	}
	if (plain_bytes(m, image, i, stored, &plain, err) < 0)
		return err_wrap(err, "bundle '%s': image '%s': chunk %" PRIu32, m->options->bundle,
			m->manifest->images[image].class, i);
	find_hints(m, index, base, i, hints);
	return patches_add(
		patches, i, plain, index_length(index, i), stored, stored_len, hints, err);
}

static int on_patch(void *arg, const struct patches_result *result, struct err *err)
{
	struct maker *m = arg;

	if (result->patch_len == 0)
		return fs_write_full(
			m->spool, "spool file", result->stored, result->stored_len, err);
	for (uint32_t i = 0; i < result->count; i++) {
		m->encodings[result->chunks[i]] = STORE_PATCH;
		m->lengths[result->chunks[i]] = i == 0 ? (uint32_t)result->patch_len : 0;
	}
	return fs_write_full(m->spool, "spool file", result->patch, result->patch_len, err);
}

static void count(struct maker *m, size_t image)
{
	struct pack_stats *stats = &m->result.stats[image];

	for (uint32_t i = 0; i < index_count(m->index[image]); i++) {
		stats->chunks[m->encodings[i]]++;
		stats->plain[m->encodings[i]] += index_length(m->index[image], i);
		stats->kept[m->encodings[i]] += m->lengths[i];
		stats->stored += m->lengths[i];
	}
}

static int make_image(struct maker *m, size_t image, struct err *err)
{
	CLEANUP(similar_free) struct similar *similar = NULL;
	CLEANUP(patches_free) struct patches *patches = NULL;
	const struct manifest_image *what = &m->manifest->images[image];
	const struct index *index = m->index[image];
	size_t base = base_image(m, what->class);
	struct patches_options options = {
		.threads = pack_threads(m->options->threads),
		.level = m->options->level ? m->options->level : COMPRESS_LEVEL_PATCH,
		.done = on_patch,
		.arg = m,
	};

	if (base < m->base->manifest->image_count) {
		if (index_base(m, base, &similar, err) < 0)
			return -1;
		options.base = m->base->index[base];
		options.base_image = m->base->image[base];
		options.similar = similar;
	}
	if (alloc_records(m, index_count(index), err) < 0 ||
		patches_new(&options, &patches, err) < 0 ||
		reader_data(m->reader, what, store_data_size(m->full[image]), err) < 0)
		return -1;
	for (uint32_t i = 0; i < index_count(index); i++)
		if (!dedup_find(
			    m->places, index_length(index, i), index_digest(index, i), &m->at[i]))
			m->at[i] = PLACE_NONE;
	for (uint32_t i = 0; i < index_count(index); i++) {
		if (m->options->interrupted && *m->options->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "stopped by a signal");
		if (make_chunk(m, image, base, patches, i, err) < 0)
			return -1;
	}
	if (patches_end(patches, err) < 0)
		return -1;
	count(m, image);
	return store_encode_delta(&m->result.base, m->encodings, m->lengths, index_count(index),
		&m->store[image], err);
}

/* ---- the delta ---- */

static int add_members(struct maker *m, const char *suffix,
	const struct bytes *(*of)(const struct maker *m, size_t i), struct err *err)
{
	char name[MEMBER_NAME_MAX + 1];

	for (size_t i = 0; i < m->manifest->image_count; i++) {
		(void)snprintf(name, sizeof(name), "%s%s", m->manifest->images[i].class,
			suffix); /* fits: the longest suffix is in the limit */
		if (tarball_add(m->tarball, name, of(m, i), err) < 0)
			return -1;
	}
	return 0;
}

static const struct bytes *index_of(const struct maker *m, size_t i)
{
	return index_bytes(m->index[i]);
}

static const struct bytes *store_of(const struct maker *m, size_t i)
{
	return &m->store[i];
}

static int add_data(struct maker *m, size_t i, uint8_t *buf, struct err *err)
{
	uint64_t left = m->result.stats[i].stored;
	char name[MEMBER_NAME_MAX + 1];
	size_t got;

	(void)snprintf(name, sizeof(name), "%s%s", m->manifest->images[i].class,
		MEMBER_DATA_SUFFIX); /* as above */
	if (tarball_begin(m->tarball, name, left, err) < 0)
		return -1;
	for (; left > 0; left -= got) {
		size_t want = left < COPY_BYTES ? (size_t)left : COPY_BYTES;

		if (fs_read_full(m->spool, "spool file", buf, want, &got, err) < 0)
			return -1;
		if (got < want)
			return err_set(err, FAIL_IO, "spool file: unexpected end");
		if (tarball_append(m->tarball, buf, got, err) < 0)
			return -1;
	}
	return 0;
}

static int write_delta(struct maker *m, struct err *err)
{
	CLEANUP(cleanup_free) void *buf = NULL;

	if (lseek(m->spool, 0, SEEK_SET) < 0)
		return err_errno(err, "spool file");
	if (mem_alloc(COPY_BYTES, &buf, err) < 0 ||
		tarball_new(m->output.fd, m->options->output, m->manifest->created_time,
			&m->tarball, err) < 0)
		return -1;
	if (tarball_add(m->tarball, MEMBER_MANIFEST, reader_manifest(m->reader), err) < 0 ||
		tarball_add(m->tarball, MEMBER_SIGNATURE, reader_signature(m->reader), err) < 0 ||
		add_members(m, MEMBER_INDEX_SUFFIX, index_of, err) < 0 ||
		add_members(m, MEMBER_STORE_SUFFIX, store_of, err) < 0)
		return -1;
	for (size_t i = 0; i < m->manifest->image_count; i++)
		if (add_data(m, i, buf, err) < 0)
			return -1;
	return tarball_end(m->tarball, err);
}

static int file_size(const char *path, int fd, uint64_t *ret, struct err *err)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		return err_errno(err, "size of '%s'", path);
	*ret = (uint64_t)end;
	return 0;
}

static int finish(struct maker *m, struct err *err)
{
	CLEANUP(cleanup_fd) int full = -1;

	m->result.image_count = m->manifest->image_count;
	for (size_t i = 0; i < m->manifest->image_count; i++)
		memcpy(m->result.class[i], m -> manifest -> images[i].class,
			sizeof(m->result.class[i]));
	if (fs_open(m->options->bundle, O_RDONLY, 0, &full, err) < 0 ||
		file_size(m->options->bundle, full, &m->result.full, err) < 0 ||
		file_size(m->options->output, m->output.fd, &m->result.size, err) < 0)
		return -1;
	return output_commit(&m->output, err);
}

int delta_create(const struct delta_options *options, struct delta_result *ret, struct err *err)
{
	CLEANUP(maker_finish)
	struct maker m = {.options = options, .output = OUTPUT_NONE, .spool = -1};

	if (begin(&m, err) < 0)
		return -1;
	for (size_t i = 0; i < m.manifest->image_count; i++)
		if (make_image(&m, i, err) < 0)
			return -1;
	if (reader_end(m.reader, err) < 0 || write_delta(&m, err) < 0 || finish(&m, err) < 0)
		return -1;
	*ret = m.result;
	return 0;
}
