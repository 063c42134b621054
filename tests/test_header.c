/* header: the framing round-trips; a length that lies is refused before anything is copied. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "updater/header.h"
#include "updater/signature.h"

static uint8_t manifest_text[] = "{}";
static uint8_t signature_text[] = "signature";
static uint8_t index_a[] = "index of a";
static uint8_t index_b[] = "b's";

static const struct bytes MANIFEST = {manifest_text, sizeof(manifest_text)};
static const struct bytes SIGNATURE = {signature_text, sizeof(signature_text)};
static const struct bytes INDEX_A = {index_a, sizeof(index_a)};
static const struct bytes INDEX_B = {index_b, sizeof(index_b)};
static const struct bytes *const INDEXES[] = {&INDEX_A, &INDEX_B};

struct fixture {
	struct bytes bytes;
	struct header header;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(header_encode(&MANIFEST, &SIGNATURE, INDEXES, 2, &f->bytes, &f->err), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bytes_finish(&f->bytes);
	header_finish(&f->header);
	free(f);
	return 0;
}

static void assert_refused(struct fixture *f, const char *why)
{
	assert_int_equal(header_parse(f->bytes.data, f->bytes.len, &f->header, &f->err), -1);
	assert_int_equal(f->err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(f->err.msg, why));
	assert_null(f->header.manifest.data);
}

static void assert_bytes(const struct bytes *a, const struct bytes *b)
{
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->data, b->data, a->len);
}

static void test_header__round_trip(void **state)
{
	struct fixture *f = *state;
	uint64_t lens[] = {sizeof(index_a), sizeof(index_b)};

	assert_int_equal(f->bytes.len, header_size(MANIFEST.len, SIGNATURE.len, lens, 2));
	assert_int_equal(header_parse(f->bytes.data, f->bytes.len, &f->header, &f->err), 0);
	assert_bytes(&f->header.manifest, &MANIFEST);
	assert_bytes(&f->header.signature, &SIGNATURE);
	assert_int_equal(f->header.index_count, 2);
	assert_bytes(&f->header.index[0], &INDEX_A);
	assert_bytes(&f->header.index[1], &INDEX_B);
	header_finish(&f->header);
	header_finish(&f->header);
	header_finish(NULL);
}

static void test_header__refuses_every_truncation(void **state)
{
	struct fixture *f = *state;

	for (size_t len = 0; len < f->bytes.len; len++) {
		struct fixture cut = {0};

		assert_int_equal(bytes_copy(f->bytes.data, len, &cut.bytes, &cut.err), 0);
		assert_refused(&cut, len < 24 ? "first part" : len < 40 ? "cut short" : "add up");
		bytes_finish(&cut.bytes);
	}
}

static void test_header__refuses_trailing_bytes(void **state)
{
	struct fixture *f = *state;

	f->bytes.data = realloc(f->bytes.data, f->bytes.len + 1);
	f->bytes.data[f->bytes.len++] = 0;
	assert_refused(f, "add up");
}

static void test_header__refuses_other_magic_and_format(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + 8, 2);
	assert_refused(f, "format 2, this abide reads 1");
	f->bytes.data[0] = 'a';
	assert_refused(f, "not a header");
}

static void test_header__refuses_wrong_index_counts(void **state)
{
	static const uint32_t COUNTS[] = {0, MANIFEST_IMAGES_MAX + 1, UINT32_MAX};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(COUNTS); i++) {
		le32_put(f->bytes.data + 12, COUNTS[i]);
		assert_refused(f, "indexes, allowed: 1..8");
	}
}

static void test_header__refuses_lengths_that_lie(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + 16, 0);
	assert_refused(f, "its manifest is empty");
	le32_put(f->bytes.data + 16, UINT32_MAX);
	assert_refused(f, "its manifest has 4294967295 bytes");
	le32_put(f->bytes.data + 16, MANIFEST_SIZE_MAX);
	assert_refused(f, "add up");
	le32_put(f->bytes.data + 16, sizeof(manifest_text));
	le32_put(f->bytes.data + 20, SIGNATURE_SIZE_MAX + 1);
	assert_refused(f, "its signature has 65537 bytes");
	le32_put(f->bytes.data + 20, sizeof(signature_text));
	le64_put(f->bytes.data + 24, UINT64_MAX);
	assert_refused(f, "its index has 18446744073709551615 bytes");
	le64_put(f->bytes.data + 24, 0);
	assert_refused(f, "its index is empty");
	le64_put(f->bytes.data + 24, sizeof(index_a) + 1);
	assert_refused(f, "add up");
}

static void test_header__size_saturates(void **state)
{
	uint64_t lens[] = {UINT64_MAX, 1};

	(void)state;
	assert_true(header_size(1, 1, lens, 2) == UINT64_MAX);
	assert_true(header_size(UINT64_MAX, 1, lens, 0) == UINT64_MAX);
	assert_true(header_size(1, 2, lens + 1, 1) == 24 + 8 + 4);
}

static void test_header__encode_refuses_what_parse_would(void **state)
{
	static const struct bytes NOTHING = {0};
	struct fixture *f = *state;
	struct bytes out = {0};

	assert_int_equal(header_encode(&MANIFEST, &SIGNATURE, INDEXES, 0, &out, &f->err), -1);
	assert_int_equal(header_encode(&MANIFEST, &SIGNATURE, INDEXES, 9, &out, &f->err), -1);
	assert_int_equal(header_encode(&NOTHING, &SIGNATURE, INDEXES, 2, &out, &f->err), -1);
	assert_int_equal(header_encode(&MANIFEST, &NOTHING, INDEXES, 2, &out, &f->err), -1);
	assert_null(out.data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_header__##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(round_trip),
		TEST(refuses_every_truncation),
		TEST(refuses_trailing_bytes),
		TEST(refuses_other_magic_and_format),
		TEST(refuses_wrong_index_counts),
		TEST(refuses_lengths_that_lie),
		TEST(size_saturates),
		TEST(encode_refuses_what_parse_would),
	};

	return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
