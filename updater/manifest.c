#include "updater/manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/field.h"
#include "updater/index.h"
#include "updater/signature.h"

static int read_number(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	return field_number(path, value, MANIFEST_NUMBER_MAX, ret, err);
}

static int read_name(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	const char *s;

	if (field_text(path, value, MANIFEST_NAME_MAX, &s, err) < 0)
		return -1;
	if (!*s)
		return field_refuse(path, err, "is empty");
	if (!manifest_name_valid(s))
		return field_refuse(path, err, "has a character that is not printable ASCII");
	memcpy(ret, s, strlen(s) + 1);
	return 0;
}

static int read_class(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	const char *s;

	if (field_text(path, value, MANIFEST_CLASS_MAX, &s, err) < 0)
		return -1;
	if (!manifest_class_valid(s))
		return field_refuse(
			path, err, "a class is made of a-z, 0-9 and '-', and begins with a letter");
	memcpy(ret, s, strlen(s) + 1);
	return 0;
}

/* C0 (but `allowed`), DEL, and C1, which some terminals obey too. */
static bool has_control(const char *s, const char *allowed)
{
	const unsigned char *p = (const unsigned char *)s;

	for (; *p; p++) {
		if ((*p < 0x20 && !strchr(allowed, *p)) || *p == 0x7f)
			return true;
		if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			return true;
	}
	return false;
}

static int read_text(const char *path, const struct json_t *value, const char *allowed, void *ret,
	struct err *err)
{
	const char *s;

	if (field_text(path, value, MANIFEST_TEXT_MAX, &s, err) < 0)
		return -1;
	if (has_control(s, allowed))
		return field_refuse(path, err, "has a control character");
	memcpy(ret, s, strlen(s) + 1);
	return 0;
}

static int read_line(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	return read_text(path, value, "", ret, err);
}

static int read_lines(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	return read_text(path, value, "\n\t", ret, err);
}

static int read_digest(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	const char *s;

	if (field_text(path, value, DIGEST_HEX_LEN, &s, err) < 0)
		return -1;
	if (!digest_from_hex(s, ret))
		return field_refuse(path, err, "expected 64 lower-case hexadecimal digits");
	return 0;
}

static int read_created(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	struct manifest *manifest = ret;
	const char *s;

	if (field_text(path, value, sizeof(manifest->created) - 1, &s, err) < 0)
		return -1;
	if (!manifest_time_parse(s, &manifest->created_time))
		return field_refuse(
			path, err, "expected a date and time in UTC such as 2026-11-20T09:00:00Z");
	memcpy(manifest->created, s, sizeof(manifest->created));
	return 0;
}

/* Left out where any hardware will do: an empty list could be taken for either. */
static int read_hardware(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	struct manifest *manifest = ret;
	char(*names)[MANIFEST_NAME_MAX + 1] = manifest->hardware;

	if (field_list(path, value, MANIFEST_HARDWARE_MAX, read_name, manifest->hardware,
		    sizeof(manifest->hardware[0]), &manifest->hardware_count, err) < 0)
		return -1;
	for (size_t i = 0; i < manifest->hardware_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(names[i], names[j]) == 0)
				return field_refuse(path, err, "'%s' is there twice", names[i]);
	return 0;
}

static int read_provenance(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	static const struct field FIELDS[] = {
		{"source", false, read_line, offsetof(struct manifest, source)},
		{"builder", false, read_line, offsetof(struct manifest, builder)},
		{"sbom", false, read_line, offsetof(struct manifest, sbom)},
	};

	return field_object(path, value, FIELDS, ARRAY_LEN(FIELDS), ret, err);
}

static int read_index(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	static const struct field FIELDS[] = {
		{"size", true, read_number, offsetof(struct manifest_image, index_size)},
		{"sha256", true, read_digest, offsetof(struct manifest_image, index_sha256)},
	};
	struct manifest_image *image = ret;

	if (field_object(path, value, FIELDS, ARRAY_LEN(FIELDS), ret, err) < 0)
		return -1;
	/* Memory for an index is taken on the word of this number. */
	if (image->index_size < INDEX_HEADER_LEN + INDEX_RECORD_LEN ||
		image->index_size > INDEX_SIZE_MAX)
		return field_refuse(path, err,
			"a size of %" PRIu64 ", an index has %u..%" PRIu64 " bytes",
			image->index_size, INDEX_HEADER_LEN + INDEX_RECORD_LEN, INDEX_SIZE_MAX);
	return 0;
}

static int read_salt(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	struct manifest_verity *verity = ret;
	const char *s;

	if (field_text(path, value, 2 * sizeof(verity->salt), &s, err) < 0)
		return -1;
	verity->salt_len = strlen(s) / 2;
	if (!hex_decode(s, verity->salt, verity->salt_len))
		return field_refuse(path, err, "expected pairs of lower-case hexadecimal digits");
	return 0;
}

static int read_verity(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	static const struct field FIELDS[] = {
		{"root", true, read_digest, offsetof(struct manifest_verity, root)},
		{"salt", true, read_salt, 0},
		{"data_blocks", true, read_number, offsetof(struct manifest_verity, data_blocks)},
		{"hash_offset", true, read_number, offsetof(struct manifest_verity, hash_offset)},
	};
	struct manifest_image *image = ret;

	if (field_object(path, value, FIELDS, ARRAY_LEN(FIELDS), &image->verity, err) < 0)
		return -1;
	image->has_verity = true;
	return 0;
}

/* `path` is the image's: its size decides. */
static int check_verity(const char *path, const struct manifest_image *image, struct err *err)
{
	const struct manifest_verity *verity = &image->verity;

	if (verity->data_blocks == 0)
		return field_refuse(path, err, "verity.data_blocks is 0");
	if (verity->hash_offset % MEM_BLOCK)
		return field_refuse(path, err,
			"verity.hash_offset %" PRIu64 " is not a multiple of %u",
			verity->hash_offset, MEM_BLOCK);
	if (verity->hash_offset >= image->size)
		return field_refuse(path, err,
			"verity.hash_offset %" PRIu64 " is not within the image's %" PRIu64
			" bytes",
			verity->hash_offset, image->size);
	if (verity->data_blocks > verity->hash_offset / MEM_BLOCK)
		return field_refuse(path, err,
			"verity.data_blocks: %" PRIu64 " blocks of %u bytes reach past hash_offset"
			" %" PRIu64,
			verity->data_blocks, MEM_BLOCK, verity->hash_offset);
	return 0;
}

static int read_image(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	static const struct field FIELDS[] = {
		{"class", true, read_class, offsetof(struct manifest_image, class)},
		{"size", true, read_number, offsetof(struct manifest_image, size)},
		{"sha256", true, read_digest, offsetof(struct manifest_image, sha256)},
		{"index", true, read_index, 0},
		{"verity", false, read_verity, 0},
	};
	const struct manifest_image *image = ret;

	if (field_object(path, value, FIELDS, ARRAY_LEN(FIELDS), ret, err) < 0)
		return -1;
	if (image->size == 0)
		return field_refuse(path, err, "size is 0");
	return image->has_verity ? check_verity(path, image, err) : 0;
}

static int read_images(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	struct manifest *manifest = ret;
	const struct manifest_image *images = manifest->images;

	if (field_list(path, value, MANIFEST_IMAGES_MAX, read_image, manifest->images,
		    sizeof(manifest->images[0]), &manifest->image_count, err) < 0)
		return -1;
	for (size_t i = 0; i < manifest->image_count; i++)
		if (manifest_image(manifest, images[i].class) != &images[i])
			return field_refuse(
				path, err, "class '%s' is there twice", images[i].class);
	return 0;
}

static int read_format(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	uint64_t format;

	(void)ret;
	if (read_number(path, value, &format, err) < 0)
		return -1;
	if (format > MANIFEST_FORMAT)
		return field_refuse(path, err, "%" PRIu64 " needs a newer abide, this one reads %u",
			format, MANIFEST_FORMAT);
	if (format != MANIFEST_FORMAT)
		return field_refuse(path, err, "%" PRIu64 ", expected %u", format, MANIFEST_FORMAT);
	return 0;
}

static int read_manifest(const struct json_t *root, struct manifest *ret, struct err *err)
{
	static const struct field FIELDS[] = {
		{"format", true, read_format, 0},
		{"compatible", true, read_name, offsetof(struct manifest, compatible)},
		{"hardware", false, read_hardware, 0},
		{"version", true, read_name, offsetof(struct manifest, version)},
		{"security_version", true, read_number,
			offsetof(struct manifest, security_version)},
		{"created", true, read_created, 0},
		{"description", false, read_lines, offsetof(struct manifest, description)},
		{"provenance", false, read_provenance, 0},
		{"images", true, read_images, 0},
	};
	const struct json_t *format = field_member(root, "format");

	/* First of all: in a newer format unknown keys are no surprise. */
	if (format && read_format("format", format, NULL, err) < 0)
		return -1;
	return field_object("", root, FIELDS, ARRAY_LEN(FIELDS), ret, err);
}

int manifest_parse_untrusted(const struct bytes *bytes, struct manifest **ret, struct err *err)
{
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	CLEANUP(field_close) struct json_t *root = NULL;
	void *p = NULL;

	if (bytes->len > MANIFEST_SIZE_MAX)
		return err_set(err, FAIL_UNTRUSTED, "manifest: %zu bytes, at most %u are allowed",
			bytes->len, MANIFEST_SIZE_MAX);
	if (field_open(bytes, &root, err) < 0 || mem_alloc(sizeof(*manifest), &p, err) < 0)
		return -1;
	manifest = p;
	if (read_manifest(root, manifest, err) < 0)
		return -1;
	*ret = steal_ptr(&manifest);
	return 0;
}

int manifest_parse(const struct trusted *trusted, struct manifest **ret, struct err *err)
{
	return manifest_parse_untrusted(trusted_manifest(trusted), ret, err);
}

void manifest_free(struct manifest **manifest)
{
	if (!manifest)
		return;
	free(*manifest);
	*manifest = NULL;
}

const struct manifest_image *manifest_image(const struct manifest *manifest, const char *class)
{
	for (size_t i = 0; i < manifest->image_count; i++)
		if (strcmp(manifest->images[i].class, class) == 0)
			return &manifest->images[i];
	return NULL;
}
