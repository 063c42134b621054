#include "image/resign.h"

#include <stdio.h>
#include <string.h>

#include "image/output.h"
#include "image/reader.h"
#include "image/signer.h"
#include "image/tarball.h"
#include "updater/fs.h"

struct resigning {
	const struct resign_options *options;
	struct signer *signer;
	struct reader *reader;
	struct manifest *manifest;
	struct bytes signature; /* the new one */
	struct output output;
	struct tarball *tarball;
	struct index *index[MANIFEST_IMAGES_MAX];
	uint64_t data_size[MANIFEST_IMAGES_MAX];
};

static void resigning_finish(struct resigning *r)
{
	signer_free(&r->signer);
	reader_free(&r->reader);
	manifest_free(&r->manifest);
	bytes_finish(&r->signature);
	tarball_free(&r->tarball);
	output_finish(&r->output);
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		index_free(&r->index[i]);
}

static int sign(struct resigning *r, struct err *err)
{
	const struct resign_options *options = r->options;
	const struct bytes *existing = options->replace ? NULL : reader_signature(r->reader);

	/* Whoever signs says that this is an artifact: it must at least be one. */
	if (manifest_parse_untrusted(reader_manifest(r->reader), &r->manifest, err) < 0 ||
		signer_sign(r->signer, reader_manifest(r->reader), existing, &r->signature, err) <
			0)
		return err_wrap(err, "bundle '%s'", options->bundle);
	return 0;
}

static int begin(struct resigning *r, struct err *err)
{
	const struct resign_options *options = r->options;
	const char *output = options->output ? options->output : options->bundle;

	if (signer_open(options->key, options->cert, options->chain, &r->signer, err) < 0 ||
		reader_open(options->bundle, &r->reader, err) < 0 || sign(r, err) < 0)
		return -1;
	if (output_open(output, 0644, &r->output, err) < 0)
		return -1;
	return tarball_new(r->output.fd, output, r->manifest->created_time, &r->tarball, err);
}

static void name_member(const struct resigning *r, size_t i, const char *suffix,
	char ret[static MEMBER_NAME_MAX + 1])
{
	(void)snprintf(ret, MEMBER_NAME_MAX + 1, "%s%s", r->manifest->images[i].class,
		suffix); /* fits: the longest suffix is in the limit */
}

static int copy_index(struct resigning *r, size_t i, struct err *err)
{
	char name[MEMBER_NAME_MAX + 1];

	name_member(r, i, MEMBER_INDEX_SUFFIX, name);
	if (reader_index(r->reader, &r->manifest->images[i], &r->index[i], err) < 0)
		return -1;
	return tarball_add(r->tarball, name, index_bytes(r->index[i]), err);
}

static int copy_store(struct resigning *r, size_t i, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	CLEANUP(store_free) struct store *store = NULL;
	char name[MEMBER_NAME_MAX + 1];

	name_member(r, i, MEMBER_STORE_SUFFIX, name);
	if (reader_store(r->reader, &r->manifest->images[i], r->index[i], &store, &bytes, err) < 0)
		return -1;
	r->data_size[i] = store_data_size(store);
	return tarball_add(r->tarball, name, &bytes, err);
}

static int copy_data(struct resigning *r, size_t i, struct err *err)
{
	uint64_t left = r->data_size[i];
	char name[MEMBER_NAME_MAX + 1];

	name_member(r, i, MEMBER_DATA_SUFFIX, name);
	if (reader_data(r->reader, &r->manifest->images[i], left, err) < 0 ||
		tarball_begin(r->tarball, name, left, err) < 0)
		return -1;
	while (left > 0) {
		size_t len = left < CONTAINER_BORROW_MAX ? (size_t)left : CONTAINER_BORROW_MAX;
		const uint8_t *data;

		if (r->options->interrupted && *r->options->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "stopped by a signal");
		if (container_borrow(reader_container(r->reader), len, &data, err) < 0 ||
			tarball_append(r->tarball, data, len, err) < 0)
			return -1;
		left -= len;
	}
	return 0;
}

static int copy(struct resigning *r, struct err *err)
{
	size_t count = r->manifest->image_count;

	if (tarball_add(r->tarball, MEMBER_MANIFEST, reader_manifest(r->reader), err) < 0 ||
		tarball_add(r->tarball, MEMBER_SIGNATURE, &r->signature, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (copy_index(r, i, err) < 0)
			return -1;
	for (size_t i = 0; i < count; i++)
		if (copy_store(r, i, err) < 0)
			return -1;
	for (size_t i = 0; i < count; i++)
		if (copy_data(r, i, err) < 0)
			return -1;
	return reader_end(r->reader, err);
}

int resign_run(const struct resign_options *options, struct digest *ret_id, struct err *err)
{
	CLEANUP(resigning_finish)
	struct resigning r = {.options = options, .output = OUTPUT_NONE};
	const struct bytes *manifest;
	struct digest id;

	if (begin(&r, err) < 0 || copy(&r, err) < 0 || tarball_end(r.tarball, err) < 0)
		return -1;
	manifest = reader_manifest(r.reader);
	if (digest_once(manifest->data, manifest->len, &id, err) < 0 ||
		output_commit(&r.output, err) < 0)
		return -1;
	*ret_id = id;
	return 0;
}
