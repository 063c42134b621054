#include "image/bundle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/output.h"
#include "image/signer.h"
#include "image/tarball.h"
#include "updater/carrier/members.h"
#include "updater/fs.h"
#include "updater/index.h"
#include "updater/mem.h"

#define COPY_BYTES ((size_t)1 << 20)

struct builder {
	const struct bundle_options *options;
	struct signer *signer;
	struct manifest *manifest;
	struct output output;
	int spool; /* the data members, end to end */
	struct packed packed[MANIFEST_IMAGES_MAX];
	struct bytes manifest_bytes;
	struct bytes signature;
	struct tarball *tarball;
};

static void builder_finish(struct builder *builder)
{
	signer_free(&builder->signer);
	tarball_free(&builder->tarball);
	output_finish(&builder->output);
	cleanup_fd(&builder->spool);
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		packed_finish(&builder->packed[i]);
	bytes_finish(&builder->manifest_bytes);
	bytes_finish(&builder->signature);
	free(builder->manifest);
}

static int put_name(char ret[static MANIFEST_NAME_MAX + 1], const char *option, const char *value,
	struct err *err)
{
	if (!value)
		return err_set(err, FAIL_USAGE, "%s is missing", option);
	if (!manifest_name_valid(value))
		return err_set(err, FAIL_USAGE,
			"%s '%s' is not 1 to %u characters of printable ASCII", option, value,
			MANIFEST_NAME_MAX);
	(void)snprintf(ret, MANIFEST_NAME_MAX + 1, "%s", value); /* fits: it is valid */
	return 0;
}

static int put_text(char ret[static MANIFEST_TEXT_MAX + 1], const char *option, const char *value,
	struct err *err)
{
	if (value && strlen(value) > MANIFEST_TEXT_MAX)
		return err_set(err, FAIL_USAGE, "%s has %zu bytes, more than %u", option,
			strlen(value), MANIFEST_TEXT_MAX);
	(void)snprintf(ret, MANIFEST_TEXT_MAX + 1, "%s", value ? value : ""); /* fits */
	return 0;
}

static int put_hardware(
	const struct bundle_options *options, struct manifest *manifest, struct err *err)
{
	if (options->hardware_count > MANIFEST_HARDWARE_MAX)
		return err_set(err, FAIL_USAGE, "--hardware is given %zu times, more than %u",
			options->hardware_count, MANIFEST_HARDWARE_MAX);
	for (size_t i = 0; i < options->hardware_count; i++) {
		if (put_name(manifest->hardware[i], "--hardware", options->hardware[i], err) < 0)
			return -1;
		for (size_t k = 0; k < i; k++)
			if (strcmp(manifest->hardware[i], manifest->hardware[k]) == 0)
				return err_set(err, FAIL_USAGE, "--hardware '%s' is given twice",
					manifest->hardware[i]);
	}
	manifest->hardware_count = options->hardware_count;
	return 0;
}

static int put_classes(
	const struct bundle_options *options, struct manifest *manifest, struct err *err)
{
	if (options->image_count < 1 || options->image_count > MANIFEST_IMAGES_MAX)
		return err_set(err, FAIL_USAGE, "%zu images are given, 1 to %u expected",
			options->image_count, MANIFEST_IMAGES_MAX);
	for (size_t i = 0; i < options->image_count; i++) {
		const char *class = options->images[i].class;

		if (!manifest_class_valid(class))
			return err_set(err, FAIL_USAGE,
				"image class '%s' is not 1 to %u of a-z, 0-9 and '-', beginning "
				"with a letter",
				class, MANIFEST_CLASS_MAX);
		if (manifest_image(manifest, class))
			return err_set(err, FAIL_USAGE, "image class '%s' is given twice", class);
		(void)snprintf(manifest->images[i].class, sizeof(manifest->images[i].class), "%s",
			class); /* fits: it is valid */
		manifest->image_count = i + 1;
	}
	return 0;
}

/* What a device would not parse is not worth packing: tried with a stand-in for what the images
 * will say. */
static int try_manifest(const struct manifest *manifest, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	struct manifest trial = *manifest;

	for (size_t i = 0; i < trial.image_count; i++) {
		trial.images[i].size = 1;
		trial.images[i].index_size = INDEX_HEADER_LEN + INDEX_RECORD_LEN;
	}
	if (manifest_encode(&trial, &text, err) < 0)
		return err_wrap_as(err, FAIL_USAGE, "an option's text cannot be in a manifest");
	return 0;
}

/* All that is known before an image is read, so that a wrong option costs no time. */
static int begin_manifest(struct builder *builder, struct err *err)
{
	const struct bundle_options *options = builder->options;
	struct manifest *manifest;
	void *p = NULL;

	if (mem_alloc(sizeof(*manifest), &p, err) < 0)
		return -1;
	manifest = builder->manifest = p;
	if (options->security_version > MANIFEST_NUMBER_MAX)
		return err_set(err, FAIL_USAGE, "--security-version %" PRIu64 " is more than 2^53",
			options->security_version);
	manifest->security_version = options->security_version;
	manifest->created_time = options->created;
	manifest_time_format(options->created, manifest->created);
	if (put_name(manifest->compatible, "--compatible", options->compatible, err) < 0 ||
		put_name(manifest->version, "--version", options->version, err) < 0 ||
		put_text(manifest->description, "--description", options->description, err) < 0 ||
		put_text(manifest->source, "--source", options->source, err) < 0 ||
		put_text(manifest->builder, "--builder", options->builder, err) < 0 ||
		put_text(manifest->sbom, "--sbom", options->sbom, err) < 0 ||
		put_hardware(options, manifest, err) < 0 || put_classes(options, manifest, err) < 0)
		return -1;
	return try_manifest(manifest, err);
}

static int begin(struct builder *builder, struct err *err)
{
	const struct bundle_options *options = builder->options;

	if (begin_manifest(builder, err) < 0)
		return -1;
	if (signer_open(options->key, options->cert, options->chain, &builder->signer, err) < 0)
		return -1;
	for (size_t i = 0; i < options->image_count; i++)
		if (access(options->images[i].path, R_OK) < 0)
			return err_errno(err, "image '%s'", options->images[i].path);
	if (output_open(options->output, 0644, &builder->output, err) < 0)
		return -1;
	return output_spool(options->output, &builder->spool, err);
}

static int pack_images(struct builder *builder, struct err *err)
{
	const struct bundle_options *options = builder->options;
	const struct pack_options pack = {
		.threads = options->threads,
		.level = options->level ? options->level : COMPRESS_LEVEL_DEFAULT,
		.interrupted = options->interrupted,
	};

	for (size_t i = 0; i < options->image_count; i++) {
		struct packed *packed = &builder->packed[i];
		struct manifest_image *image = &builder->manifest->images[i];

		if (pack_image(options->images[i].path, &pack, builder->spool, packed, err) < 0)
			return err_wrap(err, "image '%s'", image->class);
		image->size = packed->size;
		image->sha256 = packed->sha256;
		image->index_size = packed->index.len;
		if (digest_once(packed->index.data, packed->index.len, &image->index_sha256, err) <
			0)
			return -1;
	}
	return 0;
}

static int sign(struct builder *builder, struct bundle_result *result, struct err *err)
{
	if (manifest_encode(builder->manifest, &builder->manifest_bytes, err) < 0)
		return -1;
	if (builder->manifest_bytes.len > MANIFEST_SIZE_MAX)
		return err_set(err, FAIL_SPACE, "the manifest has %zu bytes, more than %u",
			builder->manifest_bytes.len, MANIFEST_SIZE_MAX);
	if (digest_once(builder->manifest_bytes.data, builder->manifest_bytes.len, &result->id,
		    err) < 0)
		return -1;
	return signer_sign(
		builder->signer, &builder->manifest_bytes, NULL, &builder->signature, err);
}

static int add_member(struct builder *builder, size_t i, const char *suffix,
	const struct bytes *bytes, struct err *err)
{
	char name[MANIFEST_CLASS_MAX + 16];

	(void)snprintf(
		name, sizeof(name), "%s%s", builder->manifest->images[i].class, suffix); /* fits */
	if (bytes)
		return tarball_add(builder->tarball, name, bytes, err);
	return tarball_begin(builder->tarball, name, builder->packed[i].stats.stored, err);
}

/* The spool is read front to back, one image's data after the other. */
static int copy_data(struct builder *builder, uint64_t len, uint8_t *buf, struct err *err)
{
	while (len > 0) {
		size_t want = len < COPY_BYTES ? (size_t)len : COPY_BYTES;
		size_t got;

		if (builder->options->interrupted && *builder->options->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "stopped by a signal");
		if (fs_read_full(builder->spool, "spool file", buf, want, &got, err) < 0)
			return -1;
		if (got < want)
			return err_set(err, FAIL_IO, "spool file: unexpected end");
		if (tarball_append(builder->tarball, buf, want, err) < 0)
			return -1;
		len -= want;
	}
	return 0;
}

static int write_members(struct builder *builder, struct err *err)
{
	CLEANUP(cleanup_free) void *buf = NULL;
	size_t count = builder->manifest->image_count;

	if (mem_alloc(COPY_BYTES, &buf, err) < 0)
		return -1;
	if (tarball_add(builder->tarball, MEMBER_MANIFEST, &builder->manifest_bytes, err) < 0 ||
		tarball_add(builder->tarball, MEMBER_SIGNATURE, &builder->signature, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (add_member(builder, i, MEMBER_INDEX_SUFFIX, &builder->packed[i].index, err) < 0)
			return -1;
	for (size_t i = 0; i < count; i++)
		if (add_member(builder, i, MEMBER_STORE_SUFFIX, &builder->packed[i].store, err) < 0)
			return -1;
	for (size_t i = 0; i < count; i++)
		if (add_member(builder, i, MEMBER_DATA_SUFFIX, NULL, err) < 0 ||
			copy_data(builder, builder->packed[i].stats.stored, buf, err) < 0)
			return -1;
	return tarball_end(builder->tarball, err);
}

static int write_bundle(struct builder *builder, struct bundle_result *result, struct err *err)
{
	off_t end;

	if (lseek(builder->spool, 0, SEEK_SET) < 0)
		return err_errno(err, "spool file");
	if (tarball_new(builder->output.fd, builder->options->output, builder->options->created,
		    &builder->tarball, err) < 0 ||
		write_members(builder, err) < 0)
		return -1;
	end = lseek(builder->output.fd, 0, SEEK_CUR);
	if (end < 0)
		return err_errno(err, "write '%s'", builder->options->output);
	result->size = (uint64_t)end;
	for (size_t i = 0; i < builder->manifest->image_count; i++)
		result->stats[i] = builder->packed[i].stats;
	return output_commit(&builder->output, err);
}

int bundle_create(const struct bundle_options *options, struct bundle_result *ret, struct err *err)
{
	CLEANUP(builder_finish)
	struct builder builder = {.options = options, .output = OUTPUT_NONE, .spool = -1};
	struct bundle_result result = {0};

	if (begin(&builder, err) < 0 || pack_images(&builder, err) < 0 ||
		sign(&builder, &result, err) < 0 || write_bundle(&builder, &result, err) < 0)
		return -1;
	*ret = result;
	return 0;
}
