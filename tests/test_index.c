/* index: every wrong form has its own refusal; what the builder writes is what the parser reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "updater/index.h"

#define IMAGE_SIZE (1000u + INDEX_CHUNK_MAX + 1u)

struct fixture {
	struct bytes bytes; /* three chunks: 1000, INDEX_CHUNK_MAX, 1 */
	struct index *index;
	struct err err;
};

static struct digest digest_filled(uint8_t v)
{
	struct digest d;

	memset(d.b, v, sizeof(d.b));
	return d;
}

static int setup(void **state)
{
	static const uint32_t LENGTHS[] = {1000, INDEX_CHUNK_MAX, 1};
	struct fixture *f = calloc(1, sizeof(*f));
	struct index_builder *builder = NULL;

	assert_non_null(f);
	assert_int_equal(index_builder_new(&builder, &f->err), 0);
	for (uint8_t i = 0; i < 3; i++) {
		struct digest d = digest_filled(i);

		assert_int_equal(index_builder_add(builder, LENGTHS[i], &d, &f->err), 0);
	}
	assert_int_equal(index_builder_finish(builder, &f->bytes, &f->err), 0);
	index_builder_free(&builder);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	bytes_finish(&f->bytes);
	index_free(&f->index);
	free(f);
	return 0;
}

static void assert_refused(struct fixture *f, uint64_t image_size, const char *why)
{
	uint8_t *before = f->bytes.data;

	assert_int_equal(index_parse(&f->bytes, image_size, &f->index, &f->err), -1);
	assert_int_equal(f->err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(f->err.msg, why));
	assert_null(f->index);
	assert_ptr_equal(f->bytes.data, before); /* still the caller's */
}

static void test_index__builder_and_parser_agree(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = f->bytes.data;
	struct digest one = digest_filled(1);

	assert_int_equal(f->bytes.len, INDEX_HEADER_LEN + 3 * INDEX_RECORD_LEN);
	assert_int_equal(index_parse(&f->bytes, IMAGE_SIZE, &f->index, &f->err), 0);
	assert_null(f->bytes.data);
	assert_ptr_equal(index_bytes(f->index)->data, data); /* no copy */
	assert_int_equal(index_count(f->index), 3);
	assert_int_equal(index_image_size(f->index), IMAGE_SIZE);
	assert_int_equal(index_length(f->index, 0), 1000);
	assert_int_equal(index_length(f->index, 1), INDEX_CHUNK_MAX);
	assert_int_equal(index_length(f->index, 2), 1);
	assert_true(index_matches(f->index, 1, &one));
	assert_false(index_matches(f->index, 2, &one));
	one.b[INDEX_DIGEST_LEN] ^= 1; /* beyond what the index holds */
	assert_true(index_matches(f->index, 1, &one));
	one.b[INDEX_DIGEST_LEN - 1] ^= 1;
	assert_false(index_matches(f->index, 1, &one));
}

static void test_index__refuses_every_truncation(void **state)
{
	struct fixture *f = *state;
	size_t whole = f->bytes.len;

	for (size_t len = 0; len < whole; len++) {
		/* A block of exactly that size: a read past it is seen by the sanitizers. */
		struct fixture cut = {0};

		assert_int_equal(bytes_copy(f->bytes.data, len, &cut.bytes, &cut.err), 0);
		assert_refused(&cut, IMAGE_SIZE,
			len < INDEX_HEADER_LEN ? "its header alone needs" : "cut short");
		bytes_finish(&cut.bytes);
	}
}

static void test_index__refuses_trailing_bytes(void **state)
{
	struct fixture *f = *state;

	f->bytes.data = realloc(f->bytes.data, f->bytes.len + 1);
	f->bytes.data[f->bytes.len++] = 0;
	assert_refused(f, IMAGE_SIZE, "1 bytes follow the last of 3 chunks");
}

static void test_index__refuses_other_magic(void **state)
{
	struct fixture *f = *state;

	f->bytes.data[7] = 'x';
	assert_refused(f, IMAGE_SIZE, "not an index");
}

static void test_index__refuses_other_format(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + 8, 2);
	assert_refused(f, IMAGE_SIZE, "format 2, this abide reads 1");
}

static void test_index__refuses_other_image_size(void **state)
{
	assert_refused(*state, IMAGE_SIZE - 1, "the manifest says 263144");
}

static void test_index__refuses_no_chunks(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + 12, 0);
	assert_refused(f, IMAGE_SIZE, "lists no chunks");
}

static void test_index__refuses_counts_that_would_overflow(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + 12, UINT32_MAX);
	assert_refused(f, IMAGE_SIZE, "4294967295 chunks, at most");
	le32_put(f->bytes.data + 12, INDEX_CHUNKS_MAX + 1);
	assert_refused(f, IMAGE_SIZE, "at most");
	le32_put(f->bytes.data + 12, INDEX_CHUNKS_MAX);
	assert_refused(f, IMAGE_SIZE, "cut short");
}

static void test_index__refuses_an_empty_chunk(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + INDEX_HEADER_LEN + INDEX_RECORD_LEN, 0);
	assert_refused(f, IMAGE_SIZE, "chunk 1 is empty");
}

static void test_index__refuses_a_chunk_too_long(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + INDEX_HEADER_LEN, INDEX_CHUNK_MAX + 1);
	assert_refused(f, IMAGE_SIZE, "chunk 0 has 262145 bytes");
	le32_put(f->bytes.data + INDEX_HEADER_LEN, UINT32_MAX);
	assert_refused(f, IMAGE_SIZE, "chunk 0 has 4294967295 bytes");
}

static void test_index__refuses_lengths_that_do_not_add_up(void **state)
{
	struct fixture *f = *state;

	le32_put(f->bytes.data + INDEX_HEADER_LEN, 999);
	assert_refused(f, IMAGE_SIZE, "add up to 263144 bytes, the image has 263145");
	le32_put(f->bytes.data + INDEX_HEADER_LEN, 1001);
	assert_refused(f, IMAGE_SIZE, "chunk 2 ends past the image's 263145 bytes");
}

static void test_index_builder__refuses_bad_chunks_and_empty_images(void **state)
{
	struct index_builder *builder = NULL;
	struct bytes bytes = {0};
	struct digest d = digest_filled(0);
	struct err err;

	(void)state;
	assert_int_equal(index_builder_new(&builder, &err), 0);
	assert_int_equal(index_builder_add(builder, 0, &d, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_int_equal(index_builder_add(builder, INDEX_CHUNK_MAX + 1, &d, &err), -1);
	assert_int_equal(index_builder_finish(builder, &bytes, &err), -1);
	assert_non_null(strstr(err.msg, "the image is empty"));
	assert_null(bytes.data);
	index_builder_free(&builder);
	index_builder_free(&builder);
	index_builder_free(NULL);
}

static void test_index_builder__grows(void **state)
{
	struct index_builder *builder = NULL;
	struct index *index = NULL;
	struct bytes bytes = {0};
	struct err err;

	(void)state;
	assert_int_equal(index_builder_new(&builder, &err), 0);
	for (uint32_t i = 1; i <= 2000; i++) {
		struct digest d = digest_filled((uint8_t)i);

		assert_int_equal(index_builder_add(builder, i, &d, &err), 0);
	}
	assert_int_equal(index_builder_finish(builder, &bytes, &err), 0);
	index_builder_free(&builder);
	assert_int_equal(index_parse(&bytes, 2000 * 2001 / 2, &index, &err), 0);
	for (uint32_t i = 1; i <= 2000; i++) {
		struct digest d = digest_filled((uint8_t)i);

		assert_int_equal(index_length(index, i - 1), i);
		assert_true(index_matches(index, i - 1, &d));
	}
	index_free(&index);
	index_free(&index);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_index__##name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(builder_and_parser_agree),
		TEST(refuses_every_truncation),
		TEST(refuses_trailing_bytes),
		TEST(refuses_other_magic),
		TEST(refuses_other_format),
		TEST(refuses_other_image_size),
		TEST(refuses_no_chunks),
		TEST(refuses_counts_that_would_overflow),
		TEST(refuses_an_empty_chunk),
		TEST(refuses_a_chunk_too_long),
		TEST(refuses_lengths_that_do_not_add_up),
		cmocka_unit_test(test_index_builder__refuses_bad_chunks_and_empty_images),
		cmocka_unit_test(test_index_builder__grows),
	};

	return cmocka_run_group_tests_name("index", tests, NULL, NULL);
}
