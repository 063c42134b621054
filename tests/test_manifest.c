/*
 * manifest: one canonical text that comes back unchanged, and a refusal that names the key for
 * everything else. The bad manifests are a good one with one piece replaced.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "updater/manifest.h"

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define HEX_B "b0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* The canonical text; as in design's example. */
static const char GOOD[] = "{\n"
			   "  \"format\": 1,\n"
			   "  \"compatible\": \"acme-gateway\",\n"
			   "  \"hardware\": [\"rev-b\", \"rev-c\"],\n"
			   "  \"version\": \"2.1.0\",\n"
			   "  \"security_version\": 7,\n"
			   "  \"created\": \"2026-11-20T09:00:00Z\",\n"
			   "  \"description\": \"free \\\"text\\\"\\n\\tcaf\xc3\xa9 \\\\\",\n"
			   "  \"provenance\": {\n"
			   "    \"source\": \"git:4f1c0d2\",\n"
			   "    \"builder\": \"ci\",\n"
			   "    \"sbom\": \"sha256:1\"\n"
			   "  },\n"
			   "  \"images\": [\n"
			   "    {\n"
			   "      \"class\": \"rootfs\",\n"
			   "      \"size\": 409096192,\n"
			   "      \"sha256\": \"" HEX64 "\",\n"
			   "      \"index\": {\n"
			   "        \"size\": 410124,\n"
			   "        \"sha256\": \"" HEX_B "\"\n"
			   "      },\n"
			   "      \"verity\": {\n"
			   "        \"root\": \"" HEX64 "\",\n"
			   "        \"salt\": \"0aff\",\n"
			   "        \"data_blocks\": 99000,\n"
			   "        \"hash_offset\": 405504000\n"
			   "      }\n"
			   "    },\n"
			   "    {\n"
			   "      \"class\": \"boot-2\",\n"
			   "      \"size\": 9007199254740992,\n"
			   "      \"sha256\": \"" HEX_B "\",\n"
			   "      \"index\": {\n"
			   "        \"size\": 44,\n"
			   "        \"sha256\": \"" HEX64 "\"\n"
			   "      }\n"
			   "    }\n"
			   "  ]\n"
			   "}\n";

static int parse(const void *text, size_t len, struct manifest **ret, struct err *err)
{
	struct bytes bytes = {0};
	int result;

	/* A block of exactly that size: a read past it is seen by the sanitizers. */
	assert_int_equal(bytes_copy(text, len, &bytes, err), 0);
	result = manifest_parse_untrusted(&bytes, ret, err);
	bytes_finish(&bytes);
	return result;
}

static struct manifest *parsed(const char *text)
{
	struct manifest *manifest = NULL;
	struct err err = {0};

	if (parse(text, strlen(text), &manifest, &err) < 0)
		fail_msg("%s", err.msg);
	return manifest;
}

static void assert_refused_text(const void *text, size_t len, const char *why)
{
	struct manifest *manifest = NULL;
	struct err err = {0};

	assert_int_equal(parse(text, len, &manifest, &err), -1);
	assert_null(manifest);
	if (!strstr(err.msg, why))
		fail_msg("expected '%s' in: %s", why, err.msg);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
}

/* GOOD with the first `old` in it replaced. */
static char *replaced(const char *old, const char *new)
{
	const char *at = strstr(GOOD, old);
	char *text = NULL;

	assert_non_null(at);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - GOOD), GOOD, new, at + strlen(old)) > 0);
	return text;
}

static void assert_refused(const char *old, const char *new, const char *why)
{
	char *text = replaced(old, new);

	assert_refused_text(text, strlen(text), why);
	free(text);
}

static void assert_accepted(const char *old, const char *new)
{
	char *text = replaced(old, new);
	struct manifest *manifest = parsed(text);

	manifest_free(&manifest);
	free(text);
}

static void test_manifest__reads_every_value(void **state)
{
	struct manifest *m = parsed(GOOD);
	char hex[DIGEST_HEX_LEN + 1];

	(void)state;
	assert_string_equal(m->compatible, "acme-gateway");
	assert_int_equal(m->hardware_count, 2);
	assert_string_equal(m->hardware[1], "rev-c");
	assert_string_equal(m->version, "2.1.0");
	assert_int_equal(m->security_version, 7);
	assert_string_equal(m->created, "2026-11-20T09:00:00Z");
	assert_int_equal(m->created_time, 1795165200);
	assert_string_equal(m->description, "free \"text\"\n\tcaf\xc3\xa9 \\");
	assert_string_equal(m->source, "git:4f1c0d2");
	assert_string_equal(m->builder, "ci");
	assert_string_equal(m->sbom, "sha256:1");
	assert_int_equal(m->image_count, 2);
	assert_string_equal(m->images[0].class, "rootfs");
	assert_int_equal(m->images[0].size, 409096192);
	digest_to_hex(&m->images[0].sha256, hex);
	assert_string_equal(hex, HEX64);
	assert_int_equal(m->images[0].index_size, 410124);
	digest_to_hex(&m->images[0].index_sha256, hex);
	assert_string_equal(hex, HEX_B);
	assert_true(m->images[0].has_verity);
	assert_int_equal(m->images[0].verity.salt_len, 2);
	assert_memory_equal(m->images[0].verity.salt, "\x0a\xff", 2);
	assert_int_equal(m->images[0].verity.data_blocks, 99000);
	assert_int_equal(m->images[0].verity.hash_offset, 405504000);
	assert_false(m->images[1].has_verity);
	assert_true(m->images[1].size == MANIFEST_NUMBER_MAX);
	assert_ptr_equal(manifest_image(m, "boot-2"), &m->images[1]);
	assert_null(manifest_image(m, "app"));
	manifest_free(&m);
	assert_null(m);
	manifest_free(&m);
	manifest_free(NULL);
}

static void assert_encodes_as(const struct manifest *manifest, const char *text)
{
	struct bytes bytes = {0};
	struct err err = {0};

	if (manifest_encode(manifest, &bytes, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(bytes.len, strlen(text));
	assert_memory_equal(bytes.data, text, bytes.len);
	bytes_finish(&bytes);
}

static void test_manifest__canonical_text_is_stable(void **state)
{
	struct manifest *m = parsed(GOOD);

	(void)state;
	assert_encodes_as(m, GOOD);
	manifest_free(&m);
}

static void test_manifest__other_orders_and_spaces_come_out_canonical(void **state)
{
	static const char SMALL[] = "{\n"
				    "  \"format\": 1,\n"
				    "  \"compatible\": \"c\",\n"
				    "  \"version\": \"v\",\n"
				    "  \"security_version\": 0,\n"
				    "  \"created\": \"1970-01-01T00:00:00Z\",\n"
				    "  \"images\": [\n"
				    "    {\n"
				    "      \"class\": \"a\",\n"
				    "      \"size\": 1,\n"
				    "      \"sha256\": \"" HEX64 "\",\n"
				    "      \"index\": {\n"
				    "        \"size\": 44,\n"
				    "        \"sha256\": \"" HEX_B "\"\n"
				    "      }\n"
				    "    }\n"
				    "  ]\n"
				    "}\n";
	struct manifest *m = parsed(
		"{\"images\":[{\"index\":{\"sha256\":\"" HEX_B "\",\"size\":44},\"sha256\":\"" HEX64
		"\",\"size\":1,\"class\":\"\\u0061\"}],\"provenance\":{},\"description\":\"\","
		"\"created\":\"1970-01-01T00:00:00Z\",\"security_version\":0,\"version\":\"v\","
		"\"compatible\":\"c\",\"format\":1}");

	(void)state;
	assert_encodes_as(m, SMALL);
	manifest_free(&m);
}

static void test_manifest__encode_refuses_what_parse_would(void **state)
{
	struct manifest *m = parsed(GOOD);
	struct bytes bytes = {0};
	struct err err;

	(void)state;
	m->images[0].size = MANIFEST_NUMBER_MAX + 1;
	assert_int_equal(manifest_encode(m, &bytes, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_non_null(strstr(err.msg, "images[0].size: "));
	m->images[0].size = 409096192;
	m->description[0] = '\x1b';
	assert_int_equal(manifest_encode(m, &bytes, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_null(bytes.data);
	manifest_free(&m);
}

static void test_manifest__refuses_other_formats(void **state)
{
	(void)state;
	assert_refused("\"format\": 1", "\"format\": 2",
		"format: 2 needs a newer abide, this one reads 1");
	/* Before any key that only the newer one knows. */
	assert_refused("\"format\": 1", "\"new-key\": [], \"format\": 2", "needs a newer abide");
	assert_refused("\"format\": 1", "\"format\": 0", "format: 0, expected 1");
	assert_refused("\"format\": 1", "\"format\": \"1\"",
		"format: expected a whole number, found a text");
	assert_refused("\"format\": 1,", "", "format: missing");
}

static void test_manifest__refuses_unknown_keys_by_path(void **state)
{
	(void)state;
	assert_refused("{\n", "{\"foo\": 1,", "manifest: foo: unknown key");
	assert_refused("\"salt\"", "\"foo\": 1, \"salt\"", "images[0].verity.foo: unknown key");
	assert_refused("\"size\": 44,", "\"size\": 44, \"bar\": null,",
		"images[1].index.bar: unknown key");
	assert_refused("\"builder\"", "\"Builder\"", "provenance.Builder: unknown key");
	assert_refused("{\n", "{\"\\u001b[2J\": 1,", "manifest: ?[2J: unknown key");
	assert_refused("{\n", "{\"\": 1,", "unknown key");
}

static void test_manifest__refuses_duplicate_keys(void **state)
{
	(void)state;
	assert_refused("\"version\": \"2.1.0\"", "\"version\": \"2.1.0\", \"version\": \"2.1.0\"",
		"line 5 column");
	assert_refused("\"salt\"", "\"root\": \"x\", \"salt\"", "a key is there twice");
	assert_refused("\"version\"", "\"version\": 1, \"\\u0076ersion\"", "a key is there twice");
}

static void test_manifest__refuses_missing_keys(void **state)
{
	static const char *const CASES[][2] = {
		{"\"compatible\": \"acme-gateway\",", "compatible: missing"},
		{"\"version\": \"2.1.0\",", "version: missing"},
		{"\"security_version\": 7,", "security_version: missing"},
		{"\"created\": \"2026-11-20T09:00:00Z\",", "created: missing"},
		{"\"class\": \"rootfs\",", "images[0].class: missing"},
		{"\"size\": 409096192,", "images[0].size: missing"},
		{"\"sha256\": \"" HEX64 "\",", "images[0].sha256: missing"},
		{"\"size\": 410124,", "images[0].index.size: missing"},
		{"\"salt\": \"0aff\",", "images[0].verity.salt: missing"},
		{"\"data_blocks\": 99000,", "images[0].verity.data_blocks: missing"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
		assert_refused(CASES[i][0], "", CASES[i][1]);
	assert_refused_text("{\"format\": 1}", 13, "compatible: missing");
}

static void test_manifest__refuses_numbers_out_of_range(void **state)
{
	(void)state;
	assert_refused("version\": 7", "version\": -1", "security_version: -1 is negative");
	assert_refused(
		"version\": 7", "version\": 7.0", "security_version: expected a whole number");
	assert_refused("version\": 7", "version\": 9007199254740993",
		"security_version: 9007199254740993 is more than 9007199254740992");
	assert_accepted("version\": 7", "version\": 9007199254740992");
	assert_accepted("version\": 7", "version\": 0");
}

static void test_manifest__refuses_bad_names(void **state)
{
	char name[MANIFEST_NAME_MAX + 2];
	char text[128];

	(void)state;
	assert_refused("\"acme-gateway\"", "\"\"", "compatible: is empty");
	assert_refused("\"acme-gateway\"", "\"a\\u001b[2J\"",
		"compatible: has a character that is not printable ASCII");
	assert_refused("\"acme-gateway\"", "\"a\\nb\"", "not printable ASCII");
	assert_refused("\"2.1.0\"", "\"caf\xc3\xa9\"", "version: has a character that is not");
	assert_refused("\"rev-c\"", "\"\\u007f\"", "hardware[1]: has a character");
	assert_refused("\"acme-gateway\"", "7", "compatible: expected a text, found a number");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	(void)snprintf(text, sizeof(text), "\"%s\"", name);
	assert_refused("\"2.1.0\"", text, "version: 65 bytes, at most 64 are allowed");
	(void)snprintf(text, sizeof(text), "\"%s\"", name + 1);
	assert_accepted("\"2.1.0\"", text);
}

static void test_manifest__refuses_bad_hardware(void **state)
{
	(void)state;
	assert_refused("[\"rev-b\", \"rev-c\"]", "[]", "hardware: is empty");
	assert_refused(
		"[\"rev-b\", \"rev-c\"]", "\"rev-b\"", "hardware: expected a list, found a text");
	assert_refused("\"rev-c\"", "\"rev-b\"", "hardware: 'rev-b' is there twice");
	assert_refused("\"rev-c\"", "1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6",
		"hardware: 17 entries, at most 16 are allowed");
	assert_refused("\"rev-c\"", "null", "hardware[1]: expected a text, found null");
}

static void test_manifest__refuses_bad_texts(void **state)
{
	char *text = NULL;
	char digits[MANIFEST_TEXT_MAX + 2];

	(void)state;
	assert_refused("\"ci\"", "\"a\\nb\"", "provenance.builder: has a control character");
	assert_refused("free ", "\\u001b[31m", "description: has a control character");
	assert_refused("free ", "\\r", "description: has a control character");
	assert_refused("free ", "\\u009b31m", "description: has a control character");
	assert_accepted("free ", "\xe2\x82\xac \\u00a0");
	memset(digits, '0', sizeof(digits) - 1);
	digits[sizeof(digits) - 1] = '\0';
	assert_true(asprintf(&text, "\"%s\"", digits) > 0);
	assert_refused("\"ci\"", text, "provenance.builder: 1025 bytes, at most 1024 are allowed");
	free(text);
	assert_true(asprintf(&text, "\"%s\"", digits + 1) > 0);
	assert_accepted("\"ci\"", text);
	free(text);
}

static void test_manifest__refuses_dates_that_are_none(void **state)
{
	static const char *const CASES[] = {
		"2026-11-20 09:00:00Z",
		"2026-11-20T09:00:00",
		"2026-11-20T09:00:00z",
		"2026-11-20T09:00:0Z",
		"2026-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:60Z",
		"1969-12-31T23:59:59Z",
		"0000-01-01T00:00:00Z",
		"-026-01-01T00:00:00Z",
		"2026-01-01T00:00:+1Z",
		" 2026-1-01T00:00:00Z",
		"",
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		(void)snprintf(text, sizeof(text), "\"%s\"", CASES[i]);
		assert_refused("\"2026-11-20T09:00:00Z\"", text,
			"created: expected a date and time in UTC such as");
	}
	assert_refused("\"2026-11-20T09:00:00Z\"", "\"2026-11-20T09:00:00+00:00\"",
		"created: 25 bytes, at most 20 are allowed");
	assert_accepted("2026-11-20T09:00:00Z", "2024-02-29T23:59:59Z");
	assert_accepted("2026-11-20T09:00:00Z", "9999-12-31T23:59:59Z");
}

static void test_manifest__refuses_bad_digests(void **state)
{
	(void)state;
	assert_refused("\"" HEX64 "\"", "\"\"",
		"images[0].sha256: expected 64 lower-case hexadecimal digits");
	assert_refused("aabbccddeeff\"", "AABBCCDDEEFF\"", "images[0].sha256: expected 64");
	assert_refused("aabbccddeeff\"", "aabbccddeef\"", "images[0].sha256: expected 64");
	assert_refused("aabbccddeeff\"", "aabbccddeeff0\"", "images[0].sha256: 65 bytes, at most");
	assert_refused(HEX_B, "b", "images[0].index.sha256: expected 64");
}

static void test_manifest__refuses_bad_images(void **state)
{
	(void)state;
	assert_refused("\"boot-2\"", "\"rootfs\"", "images: class 'rootfs' is there twice");
	assert_refused("\"rootfs\"", "\"Rootfs\"", "images[0].class: a class is made of");
	assert_refused("\"rootfs\"", "\"2nd\"", "images[0].class: a class is made of");
	assert_refused("\"rootfs\"", "\"../../etc\"", "images[0].class: a class is made of");
	assert_refused("\"rootfs\"", "\"\"", "images[0].class: a class is made of");
	assert_refused("\"rootfs\"", "\"aaaaaaaaaaaaaaaaaaaaaaaaa\"",
		"images[0].class: 25 bytes, at most 24 are allowed");
	assert_refused("409096192", "0", "images[0]: size is 0");
	assert_refused("410124", "43", "images[0].index: a size of 43, an index has 44..");
	assert_refused("410124", "335544345", "images[0].index: a size of 335544345, an index has");
	assert_refused(
		"\"images\": [", "\"images\": [1,", "images[0]: expected an object, found a");
	assert_refused("\"images\": [", "\"images\": [1,2,3,4,5,6,7,",
		"images: 9 entries, at most 8 are allowed");
}

static void test_manifest__refuses_no_images(void **state)
{
	static const char START[] = "{\"format\": 1, \"compatible\": \"c\", \"version\": \"v\","
				    " \"security_version\": 0, \"created\":"
				    " \"2026-11-20T09:00:00Z\"";
	char text[256];

	(void)state;
	(void)snprintf(text, sizeof(text), "%s}", START);
	assert_refused_text(text, strlen(text), "images: missing");
	(void)snprintf(text, sizeof(text), "%s, \"images\": []}", START);
	assert_refused_text(text, strlen(text), "images: is empty");
	(void)snprintf(text, sizeof(text), "%s, \"images\": {}}", START);
	assert_refused_text(text, strlen(text), "images: expected a list, found an object");
}

static void test_manifest__refuses_verity_outside_of_the_image(void **state)
{
	(void)state;
	assert_refused("405504000", "409096192",
		"images[0]: verity.hash_offset 409096192 is not within the image's 409096192");
	assert_refused("405504000", "405504001", "hash_offset 405504001 is not a multiple of 4096");
	assert_refused("99000", "99001",
		"images[0]: verity.data_blocks: 99001 blocks of 4096 bytes reach past");
	/* Times 4096 this wraps around to 0. */
	assert_refused("99000", "4503599627370496", "reach past hash_offset 405504000");
	assert_refused("99000", "0", "images[0]: verity.data_blocks is 0");
	assert_refused("\"0aff\"", "\"0af\"", "images[0].verity.salt: expected pairs of");
	assert_refused("\"0aff\"", "\"0aFF\"", "images[0].verity.salt: expected pairs of");
	assert_refused("\"0aff\"", "\"" HEX64 HEX64 "00\"",
		"images[0].verity.salt: 130 bytes, at most 128 are allowed");
	assert_accepted("\"0aff\"", "\"" HEX64 HEX64 "\"");
	assert_accepted("\"0aff\"", "\"\"");
}

static void test_manifest__refuses_trailing_bytes_and_too_long(void **state)
{
	struct manifest *m = NULL;
	char *padded = malloc(MANIFEST_SIZE_MAX + 1);
	char *text = NULL;
	struct err err;

	(void)state;
	assert_non_null(padded);
	assert_true(asprintf(&text, "%s{}", GOOD) > 0);
	assert_refused_text(text, strlen(text), "something follows the end");
	free(text);
	assert_true(asprintf(&text, "%sx", GOOD) > 0);
	assert_refused_text(text, strlen(text), "something follows the end");
	free(text);
	assert_refused_text(GOOD, sizeof(GOOD), "something follows the end"); /* a NUL */

	memset(padded, ' ', MANIFEST_SIZE_MAX + 1);
	memcpy(padded, GOOD, sizeof(GOOD) - 1);
	assert_int_equal(parse(padded, MANIFEST_SIZE_MAX, &m, &err), 0);
	manifest_free(&m);
	assert_refused_text(
		padded, MANIFEST_SIZE_MAX + 1, "65537 bytes, at most 65536 are allowed");
	free(padded);
}

static void test_manifest__refuses_every_truncation(void **state)
{
	(void)state;
	for (size_t len = 1; len < sizeof(GOOD) - 2; len++) /* the last newline is not needed */
		assert_refused_text(GOOD, len, "manifest: line ");
}

static void test_manifest_time__round_trip_and_bounds(void **state)
{
	char text[21];
	time_t t = -1;

	(void)state;
	assert_true(manifest_time_parse("2000-02-29T12:34:56Z", &t));
	assert_int_equal(t, 951827696);
	manifest_time_format(t, text);
	assert_string_equal(text, "2000-02-29T12:34:56Z");
	manifest_time_format(-1, text);
	assert_string_equal(text, "1970-01-01T00:00:00Z");
	manifest_time_format((time_t)INT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59Z");
	assert_false(manifest_time_parse("2026-11-20", &t));
	assert_int_equal(t, 951827696); /* untouched */
}

static void test_manifest_names__rules_alone(void **state)
{
	(void)state;
	assert_true(manifest_name_valid("a b~"));
	assert_false(manifest_name_valid(""));
	assert_false(manifest_name_valid("a\x80"));
	assert_true(manifest_class_valid("a"));
	assert_true(manifest_class_valid("abcdefghijklmnopqrstuvw9"));
	assert_false(manifest_class_valid("abcdefghijklmnopqrstuvwx9"));
	assert_false(manifest_class_valid("-a"));
	assert_false(manifest_class_valid("a.b"));
	assert_false(manifest_class_valid("a/b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_manifest__reads_every_value),
		cmocka_unit_test(test_manifest__canonical_text_is_stable),
		cmocka_unit_test(test_manifest__other_orders_and_spaces_come_out_canonical),
		cmocka_unit_test(test_manifest__encode_refuses_what_parse_would),
		cmocka_unit_test(test_manifest__refuses_other_formats),
		cmocka_unit_test(test_manifest__refuses_unknown_keys_by_path),
		cmocka_unit_test(test_manifest__refuses_duplicate_keys),
		cmocka_unit_test(test_manifest__refuses_missing_keys),
		cmocka_unit_test(test_manifest__refuses_numbers_out_of_range),
		cmocka_unit_test(test_manifest__refuses_bad_names),
		cmocka_unit_test(test_manifest__refuses_bad_hardware),
		cmocka_unit_test(test_manifest__refuses_bad_texts),
		cmocka_unit_test(test_manifest__refuses_dates_that_are_none),
		cmocka_unit_test(test_manifest__refuses_bad_digests),
		cmocka_unit_test(test_manifest__refuses_bad_images),
		cmocka_unit_test(test_manifest__refuses_no_images),
		cmocka_unit_test(test_manifest__refuses_verity_outside_of_the_image),
		cmocka_unit_test(test_manifest__refuses_trailing_bytes_and_too_long),
		cmocka_unit_test(test_manifest__refuses_every_truncation),
		cmocka_unit_test(test_manifest_time__round_trip_and_bounds),
		cmocka_unit_test(test_manifest_names__rules_alone),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
