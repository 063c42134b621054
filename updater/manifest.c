#include "updater/manifest.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "updater/index.h"
#include "updater/signature.h"

#define PATH_CAP 96 /* "images[7].verity.hash_offset" fits; a longer unknown key is cut */

/* One key of an object: its reader gets the member's address in the struct being filled. */
struct key {
	const char *name;
	bool required;
	int (*read)(const char *path, const json_t *value, void *ret, struct err *err);
	size_t offset;
};

static int refuse(struct err *err, const char *path, const char *why)
{
	return err_set(err, FAIL_UNTRUSTED, "manifest: %s: %s", path, why);
}

static const char *type_name(const json_t *value)
{
	static const char *const NAMES[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "a list",
		[JSON_STRING] = "a text",
		[JSON_INTEGER] = "a number",
		[JSON_REAL] = "a fraction",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null",
	};

	return NAMES[json_typeof(value)];
}

static int expect(
	const char *path, const json_t *value, json_type type, const char *wanted, struct err *err)
{
	if (json_typeof(value) == type)
		return 0;
	return err_set(err, FAIL_UNTRUSTED, "manifest: %s: expected %s, found %s", path, wanted,
		type_name(value));
}

static int refuse_unknown(const char *path, const char *name, struct err *err)
{
	char printable[PATH_CAP];

	mem_printable(name, strlen(name), printable, sizeof(printable));
	return err_set(err, FAIL_UNTRUSTED, "manifest: %s%s%s: unknown key", path, *path ? "." : "",
		printable);
}

static const struct key *find_key(const struct key *keys, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* Reads an object by its table: exactly these keys, all the required ones. */
static int read_object(const char *path, const json_t *value, const struct key *keys, size_t count,
	void *ret, struct err *err)
{
	const char *name;
	json_t *member;

	if (expect(path, value, JSON_OBJECT, "an object", err) < 0)
		return -1;
	json_object_foreach((json_t *)(uintptr_t)value, name, member)
	{
		if (!find_key(keys, count, name))
			return refuse_unknown(path, name, err);
	}
	for (size_t i = 0; i < count; i++) {
		char inner[PATH_CAP];

		member = json_object_get(value, keys[i].name);
		(void)snprintf(inner, sizeof(inner), "%s%s%s", path, *path ? "." : "",
			keys[i].name); /* always fits, see PATH_CAP */
		if (!member && keys[i].required)
			return refuse(err, inner, "missing");
		if (member && keys[i].read(inner, member, (char *)ret + keys[i].offset, err) < 0)
			return -1;
	}
	return 0;
}

static int read_number(const char *path, const json_t *value, void *ret, struct err *err)
{
	json_int_t v;

	if (json_is_real(value))
		return refuse(err, path, "expected a whole number, found a fraction or exponent");
	if (expect(path, value, JSON_INTEGER, "a whole number", err) < 0)
		return -1;
	v = json_integer_value(value);
	if (v < 0)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s: %" JSON_INTEGER_FORMAT " is negative", path, v);
	if ((uint64_t)v > MANIFEST_NUMBER_MAX)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s: %" JSON_INTEGER_FORMAT " is more than 2^53", path, v);
	*(uint64_t *)ret = (uint64_t)v;
	return 0;
}

/* jansson refuses NUL characters and what is not UTF-8 while it reads. */
static int read_string(
	const char *path, const json_t *value, size_t max, const char **ret, struct err *err)
{
	if (expect(path, value, JSON_STRING, "a text", err) < 0)
		return -1;
	if (json_string_length(value) > max)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s: %zu bytes, at most %zu are allowed", path,
			json_string_length(value), max);
	*ret = json_string_value(value);
	return 0;
}

static int read_name(const char *path, const json_t *value, void *ret, struct err *err)
{
	const char *s;

	if (read_string(path, value, MANIFEST_NAME_MAX, &s, err) < 0)
		return -1;
	if (!*s)
		return refuse(err, path, "is empty");
	if (!manifest_name_valid(s))
		return refuse(err, path, "has a character that is not printable ASCII");
	memcpy(ret, s, strlen(s) + 1);
	return 0;
}

static int read_class(const char *path, const json_t *value, void *ret, struct err *err)
{
	const char *s;

	if (read_string(path, value, MANIFEST_CLASS_MAX, &s, err) < 0)
		return -1;
	if (!manifest_class_valid(s))
		return refuse(
			err, path, "a class is made of a-z, 0-9 and '-', and begins with a letter");
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

static int read_text(
	const char *path, const json_t *value, const char *allowed, void *ret, struct err *err)
{
	const char *s;

	if (read_string(path, value, MANIFEST_TEXT_MAX, &s, err) < 0)
		return -1;
	if (has_control(s, allowed))
		return refuse(err, path, "has a control character");
	memcpy(ret, s, strlen(s) + 1);
	return 0;
}

static int read_line(const char *path, const json_t *value, void *ret, struct err *err)
{
	return read_text(path, value, "", ret, err);
}

static int read_lines(const char *path, const json_t *value, void *ret, struct err *err)
{
	return read_text(path, value, "\n\t", ret, err);
}

static int read_digest(const char *path, const json_t *value, void *ret, struct err *err)
{
	const char *s;

	if (read_string(path, value, DIGEST_HEX_LEN, &s, err) < 0)
		return -1;
	if (!digest_from_hex(s, ret))
		return refuse(err, path, "expected 64 lower-case hexadecimal digits");
	return 0;
}

static int read_created(const char *path, const json_t *value, void *ret, struct err *err)
{
	struct manifest *manifest = ret;
	const char *s;

	if (read_string(path, value, sizeof(manifest->created) - 1, &s, err) < 0)
		return -1;
	if (!manifest_time_parse(s, &manifest->created_time))
		return refuse(
			err, path, "expected a date and time in UTC such as 2026-11-20T09:00:00Z");
	memcpy(manifest->created, s, sizeof(manifest->created));
	return 0;
}

static int read_hardware(const char *path, const json_t *value, void *ret, struct err *err)
{
	struct manifest *manifest = ret;
	size_t count = json_array_size(value); /* 0 if it is no array */

	if (expect(path, value, JSON_ARRAY, "a list", err) < 0)
		return -1;
	if (count == 0)
		return refuse(err, path, "is empty; leave it out if any hardware will do");
	if (count > MANIFEST_HARDWARE_MAX)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s: %zu names, at most %u are allowed", path, count,
			MANIFEST_HARDWARE_MAX);
	for (size_t i = 0; i < count; i++) {
		char inner[PATH_CAP];

		(void)snprintf(inner, sizeof(inner), "%s[%zu]", path, i); /* fits */
		if (read_name(inner, json_array_get(value, i), manifest->hardware[i], err) < 0)
			return -1;
		for (size_t j = 0; j < i; j++)
			if (strcmp(manifest->hardware[j], manifest->hardware[i]) == 0)
				return err_set(err, FAIL_UNTRUSTED,
					"manifest: %s: '%s' is there twice", inner,
					manifest->hardware[i]);
	}
	manifest->hardware_count = count;
	return 0;
}

static int read_provenance(const char *path, const json_t *value, void *ret, struct err *err)
{
	static const struct key KEYS[] = {
		{"source", false, read_line, offsetof(struct manifest, source)},
		{"builder", false, read_line, offsetof(struct manifest, builder)},
		{"sbom", false, read_line, offsetof(struct manifest, sbom)},
	};

	return read_object(path, value, KEYS, ARRAY_LEN(KEYS), ret, err);
}

static int read_index(const char *path, const json_t *value, void *ret, struct err *err)
{
	static const struct key KEYS[] = {
		{"size", true, read_number, offsetof(struct manifest_image, index_size)},
		{"sha256", true, read_digest, offsetof(struct manifest_image, index_sha256)},
	};
	struct manifest_image *image = ret;

	if (read_object(path, value, KEYS, ARRAY_LEN(KEYS), ret, err) < 0)
		return -1;
	/* Memory for an index is taken on the word of this number. */
	if (image->index_size < INDEX_HEADER_LEN + INDEX_RECORD_LEN ||
		image->index_size > INDEX_SIZE_MAX)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s.size: %" PRIu64 ", an index has %u..%" PRIu64 " bytes", path,
			image->index_size, INDEX_HEADER_LEN + INDEX_RECORD_LEN, INDEX_SIZE_MAX);
	return 0;
}

static int read_salt(const char *path, const json_t *value, void *ret, struct err *err)
{
	struct manifest_verity *verity = ret;
	const char *s;

	if (read_string(path, value, 2 * sizeof(verity->salt), &s, err) < 0)
		return -1;
	verity->salt_len = strlen(s) / 2;
	if (!hex_decode(s, verity->salt, verity->salt_len))
		return refuse(err, path, "expected pairs of lower-case hexadecimal digits");
	return 0;
}

static int read_verity(const char *path, const json_t *value, void *ret, struct err *err)
{
	static const struct key KEYS[] = {
		{"root", true, read_digest, offsetof(struct manifest_verity, root)},
		{"salt", true, read_salt, 0},
		{"data_blocks", true, read_number, offsetof(struct manifest_verity, data_blocks)},
		{"hash_offset", true, read_number, offsetof(struct manifest_verity, hash_offset)},
	};
	struct manifest_image *image = ret;

	if (read_object(path, value, KEYS, ARRAY_LEN(KEYS), &image->verity, err) < 0)
		return -1;
	image->has_verity = true;
	return 0;
}

static int check_verity(const char *path, const struct manifest_image *image, struct err *err)
{
	const struct manifest_verity *verity = &image->verity;

	if (verity->data_blocks == 0)
		return err_set(err, FAIL_UNTRUSTED, "manifest: %s.verity.data_blocks: is 0", path);
	if (verity->hash_offset % MEM_BLOCK)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s.verity.hash_offset: %" PRIu64 " is not a multiple of %u",
			path, verity->hash_offset, MEM_BLOCK);
	if (verity->hash_offset >= image->size)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s.verity.hash_offset: %" PRIu64
			" is not within the image's %" PRIu64 " bytes",
			path, verity->hash_offset, image->size);
	if (verity->data_blocks > verity->hash_offset / MEM_BLOCK)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s.verity.data_blocks: %" PRIu64 " blocks of %u bytes reach past"
			" hash_offset %" PRIu64,
			path, verity->data_blocks, MEM_BLOCK, verity->hash_offset);
	return 0;
}

static int read_image(
	const char *path, const json_t *value, struct manifest_image *ret, struct err *err)
{
	static const struct key KEYS[] = {
		{"class", true, read_class, offsetof(struct manifest_image, class)},
		{"size", true, read_number, offsetof(struct manifest_image, size)},
		{"sha256", true, read_digest, offsetof(struct manifest_image, sha256)},
		{"index", true, read_index, 0},
		{"verity", false, read_verity, 0},
	};

	if (read_object(path, value, KEYS, ARRAY_LEN(KEYS), ret, err) < 0)
		return -1;
	if (ret->size == 0)
		return err_set(err, FAIL_UNTRUSTED, "manifest: %s.size: is 0", path);
	return ret->has_verity ? check_verity(path, ret, err) : 0;
}

static int read_images(const char *path, const json_t *value, void *ret, struct err *err)
{
	struct manifest *manifest = ret;
	size_t count = json_array_size(value); /* 0 if it is no array */

	if (expect(path, value, JSON_ARRAY, "a list", err) < 0)
		return -1;
	if (count == 0)
		return refuse(err, path, "is empty");
	if (count > MANIFEST_IMAGES_MAX)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: %s: %zu images, at most %u are allowed", path, count,
			MANIFEST_IMAGES_MAX);
	for (size_t i = 0; i < count; i++) {
		struct manifest_image *image = &manifest->images[i];
		char inner[PATH_CAP];

		(void)snprintf(inner, sizeof(inner), "%s[%zu]", path, i); /* fits */
		if (read_image(inner, json_array_get(value, i), image, err) < 0)
			return -1;
		if (manifest_image(manifest, image->class))
			return err_set(err, FAIL_UNTRUSTED,
				"manifest: %s.class: '%s' is there twice", inner, image->class);
		manifest->image_count = i + 1;
	}
	return 0;
}

static int read_format(const char *path, const json_t *value, void *ret, struct err *err)
{
	(void)ret;
	uint64_t format;

	if (read_number(path, value, &format, err) < 0)
		return -1;
	if (format > MANIFEST_FORMAT)
		return err_set(err, FAIL_UNTRUSTED,
			"manifest: format: %" PRIu64 " needs a newer abide, this one reads %u",
			format, MANIFEST_FORMAT);
	if (format != MANIFEST_FORMAT)
		return err_set(err, FAIL_UNTRUSTED, "manifest: format: %" PRIu64 ", expected %u",
			format, MANIFEST_FORMAT);
	return 0;
}

static int read_manifest(const json_t *root, struct manifest *ret, struct err *err)
{
	static const struct key KEYS[] = {
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
	const json_t *format;

	if (!json_is_object(root))
		return err_set(err, FAIL_UNTRUSTED, "manifest: expected an object, found %s",
			type_name(root));
	/* First of all: in a newer format unknown keys are no surprise. */
	format = json_object_get(root, "format");
	if (format && read_format("format", format, NULL, err) < 0)
		return -1;
	return read_object("", root, KEYS, ARRAY_LEN(KEYS), ret, err);
}

/* In our words what is wrong with the JSON; jansson's words and the place follow. */
static const char *json_error_words(const json_error_t *error)
{
	static const struct {
		enum json_error_code code;
		const char *words;
	} WORDS[] = {
		{json_error_invalid_utf8, "not UTF-8"},
		{json_error_duplicate_key, "a key is there twice"},
		{json_error_numeric_overflow, "a number is too large"},
		{json_error_end_of_input_expected, "something follows the end"},
		{json_error_premature_end_of_input, "cut short"},
		{json_error_null_character, "a text has a NUL character"},
		{json_error_null_byte_in_key, "a key has a NUL character"},
		{json_error_stack_overflow, "nested too deep"},
	};

	for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
		if (json_error_code(error) == WORDS[i].code)
			return WORDS[i].words;
	return "not JSON";
}

static void cleanup_json(json_t **root)
{
	json_decref(*root);
}

int manifest_parse_untrusted(const struct bytes *bytes, struct manifest **ret, struct err *err)
{
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	CLEANUP(cleanup_json) json_t *root = NULL;
	json_error_t error;
	void *p = NULL;

	if (bytes->len == 0)
		return err_set(err, FAIL_UNTRUSTED, "manifest: is empty");
	if (bytes->len > MANIFEST_SIZE_MAX)
		return err_set(err, FAIL_UNTRUSTED, "manifest: %zu bytes, at most %u are allowed",
			bytes->len, MANIFEST_SIZE_MAX);
	root = json_loadb((const char *)bytes->data, bytes->len,
		JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!root) {
		char text[JSON_ERROR_TEXT_LENGTH];

		mem_printable(error.text, strlen(error.text), text, sizeof(text));
		return err_set(err, FAIL_UNTRUSTED, "manifest: line %d column %d: %s: %s",
			error.line, error.column, json_error_words(&error), text);
	}
	if (mem_alloc(sizeof(*manifest), &p, err) < 0)
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
