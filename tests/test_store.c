/* store: round trip, and every record a hostile bundle could hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "updater/carrier/store.h"

static const uint32_t PLAIN[] = {4096, 65536, 65536, 9000};
#define COUNT ((uint32_t)ARRAY_LEN(PLAIN))

struct fixture {
	struct index *index;
	struct bytes good; /* a store that fits the index */
	struct err err;
};

static int setup(void **state)
{
	static const enum store_encoding ENCODINGS[] = {
		STORE_RAW, STORE_ZSTD, STORE_SAME, STORE_ZERO};
	static const uint32_t LENGTHS[] = {4096, 65535, 0, 0};
	CLEANUP(index_builder_free) struct index_builder *builder = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct fixture *f = calloc(1, sizeof(*f));
	struct digest digest = {0};
	uint64_t total = 0;

	assert_non_null(f);
	*state = f;
	assert_int_equal(index_builder_new(&builder, &f->err), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		assert_int_equal(index_builder_add(builder, PLAIN[i], &digest, &f->err), 0);
		total += PLAIN[i];
	}
	assert_int_equal(index_builder_finish(builder, &bytes, &f->err), 0);
	assert_int_equal(index_parse(&bytes, total, &f->index, &f->err), 0);
	assert_int_equal(store_encode(ENCODINGS, LENGTHS, COUNT, &f->good, &f->err), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	index_free(&f->index);
	bytes_finish(&f->good);
	free(f);
	return 0;
}

static void put_record(struct bytes *bytes, uint32_t i, uint32_t encoding, uint32_t length)
{
	le32_put(bytes->data + STORE_HEADER_LEN + (size_t)STORE_RECORD_LEN * i,
		encoding << 24 | length);
}

/* Expects a refusal whose message holds `text`, and the bytes left with the caller. */
static void refuse(struct fixture *f, const char *text)
{
	struct store *store = NULL;

	assert_int_equal(store_parse(&f->good, f->index, &store, &f->err), -1);
	assert_null(store);
	assert_non_null(f->good.data);
	assert_int_equal(f->err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(f->err.msg, text));
}

static void refuse_record(void **state, uint32_t i, uint32_t encoding, uint32_t length)
{
	struct fixture *f = *state;
	uint8_t saved[STORE_RECORD_LEN];
	uint8_t *at = f->good.data + STORE_HEADER_LEN + (size_t)STORE_RECORD_LEN * i;

	memcpy(saved, at, sizeof(saved));
	put_record(&f->good, i, encoding, length);
	refuse(f, "chunk");
	memcpy(at, saved, sizeof(saved));
}

static void test_store__round_trip(void **state)
{
	CLEANUP(store_free) struct store *store = NULL;
	struct fixture *f = *state;

	assert_int_equal(store_parse(&f->good, f->index, &store, &f->err), 0);
	assert_null(f->good.data); /* taken */
	assert_int_equal(store_encoding(store, 0), STORE_RAW);
	assert_int_equal(store_length(store, 0), 4096);
	assert_int_equal(store_encoding(store, 1), STORE_ZSTD);
	assert_int_equal(store_length(store, 1), 65535);
	assert_int_equal(store_encoding(store, 2), STORE_SAME);
	assert_int_equal(store_encoding(store, 3), STORE_ZERO);
	assert_int_equal(store_length(store, 3), 0);
	assert_true(store_data_size(store) == 4096 + 65535);
}

static void test_store__bytes_are_as_documented(void **state)
{
	struct fixture *f = *state;
	const uint8_t *p = f->good.data;

	assert_int_equal(f->good.len, STORE_HEADER_LEN + 4 * COUNT);
	assert_memory_equal(p, "ABIDESTO\1\0\0\0\4\0\0\0", 16);
	assert_memory_equal(p + 16, "\x00\x10\x00\x02", 4); /* raw, 4096 */
	assert_memory_equal(p + 20, "\xff\xff\x00\x03", 4); /* zstd, 65535 */
	assert_memory_equal(p + 24, "\x00\x00\x00\x01", 4); /* same */
	assert_memory_equal(p + 28, "\x00\x00\x00\x00", 4); /* zero */
}

static void test_store__refuses_wrong_magic_and_format(void **state)
{
	struct fixture *f = *state;

	f->good.data[7] ^= 1;
	refuse(f, "ABIDESTO");
	f->good.data[7] ^= 1;
	f->good.data[8] = 3;
	refuse(f, "format 3, this program knows 1 and 2");
	f->good.data[8] = 2; /* without a base it is too short */
	refuse(f, "32 bytes long, 64 expected");
}

static void test_store__refuses_another_count_or_length(void **state)
{
	struct fixture *f = *state;
	size_t len = f->good.len;

	le32_put(f->good.data + 12, COUNT + 1);
	refuse(f, "5 chunks, the index 4");
	le32_put(f->good.data + 12, UINT32_MAX);
	refuse(f, "chunks");
	le32_put(f->good.data + 12, COUNT);
	for (f->good.len = 0; f->good.len < len; f->good.len++)
		refuse(f, "store");
}

static void test_store__refuses_a_byte_too_many(void **state)
{
	struct fixture *f = *state;
	uint8_t *p = realloc(f->good.data, f->good.len + 1);

	assert_non_null(p);
	p[f->good.len] = 0;
	f->good.data = p;
	f->good.len++;
	refuse(f, "33 bytes long, 32 expected");
}

static void test_store__refuses_lengths_the_encoding_cannot_have(void **state)
{
	refuse_record(state, 0, STORE_RAW, 4095);
	refuse_record(state, 0, STORE_RAW, 4097);
	refuse_record(state, 0, STORE_RAW, 0);
	refuse_record(state, 0, STORE_ZSTD, 0);
	refuse_record(state, 0, STORE_ZSTD, 4096);
	refuse_record(state, 0, STORE_ZSTD, 0xffffff);
	refuse_record(state, 0, STORE_ZERO, 1);
	refuse_record(state, 2, STORE_SAME, 1);
}

static void test_store__refuses_unknown_encodings(void **state)
{
	refuse_record(state, 1, 4, 0); /* those of a delta, too */
	refuse_record(state, 1, 4, 100);
	refuse_record(state, 1, 255, 0);
}

static void test_store__refuses_a_repeat_of_nothing(void **state)
{
	refuse_record(state, 0, STORE_SAME, 0);
}

/* ---- of a delta ---- */

static const struct digest BASE = {{1, 2, 3}};

/* Puts a delta's store into the fixture, whatever it says. */
static void make_delta(struct fixture *f, const enum store_encoding encodings[static 4],
	const uint32_t lengths[static 4])
{
	bytes_finish(&f->good);
	assert_int_equal(
		store_encode_delta(&BASE, encodings, lengths, COUNT, &f->good, &f->err), 0);
}

static void test_store__delta_round_trip(void **state)
{
	static const enum store_encoding ENCODINGS[] = {
		STORE_PATCH, STORE_BASE, STORE_PATCH, STORE_PATCH};
	static const uint32_t LENGTHS[] = {100, 0, 0, 8999};
	CLEANUP(store_free) struct store *store = NULL;
	struct fixture *f = *state;
	struct digest base = {0};

	make_delta(f, ENCODINGS, LENGTHS);
	assert_int_equal(f->good.len, 48 + 4 * COUNT);
	assert_memory_equal(f->good.data, "ABIDESTO\2\0\0\0\4\0\0\0\1\2\3\0", 20);
	assert_memory_equal(f->good.data + 48, "\x64\x00\x00\x05\x00\x00\x00\x04", 8);
	assert_int_equal(store_parse(&f->good, f->index, &store, &f->err), 0);
	assert_true(store_base(store, &base));
	assert_true(digest_equal(&base, &BASE));
	assert_int_equal(store_encoding(store, 1), STORE_BASE);
	assert_int_equal(store_length(store, 0), 100);
	assert_int_equal(store_length(store, 2), 0);
	assert_true(store_data_size(store) == 100 + 8999);
	assert_int_equal(store_size(store), 48 + 4 * COUNT);
}

static void test_store__no_base_without_a_delta(void **state)
{
	CLEANUP(store_free) struct store *store = NULL;
	struct fixture *f = *state;
	struct digest base;

	assert_int_equal(store_parse(&f->good, f->index, &store, &f->err), 0);
	assert_false(store_base(store, &base));
}

static void test_store__delta_names_its_base(void **state)
{
	static const enum store_encoding ENCODINGS[] = {
		STORE_BASE, STORE_BASE, STORE_BASE, STORE_BASE};
	static const uint32_t LENGTHS[COUNT] = {0};
	struct fixture *f = *state;

	make_delta(f, ENCODINGS, LENGTHS);
	memset(f->good.data + 16, 0, 32);
	refuse(f, "names no base");
}

static void test_store__refuses_patches_that_cannot_be(void **state)
{
	static const struct {
		enum store_encoding encodings[4];
		uint32_t lengths[4];
		const char *text;
	} CASES[] = {
		/* One that nothing begins; that is as long as its chunks, or longer. */
		{{STORE_BASE, STORE_PATCH, STORE_BASE, STORE_BASE}, {0}, "chunk 1"},
		{{STORE_PATCH, STORE_BASE, STORE_BASE, STORE_BASE}, {4096}, "last patch"},
		{{STORE_PATCH, STORE_PATCH, STORE_BASE, STORE_BASE}, {4096, 9}, "chunk 1"},
		{{STORE_PATCH, STORE_PATCH, STORE_BASE, STORE_BASE}, {0xffffff, 0}, "last patch"},
		/* A chunk of the base that has bytes. */
		{{STORE_BASE, STORE_BASE, STORE_BASE, STORE_BASE}, {0, 0, 1, 0}, "chunk 2"},
		{{(enum store_encoding)6, STORE_BASE, STORE_BASE, STORE_BASE}, {0}, "encoding 6"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		make_delta(f, CASES[i].encodings, CASES[i].lengths);
		refuse(f, CASES[i].text);
	}
}

static void test_store__refuses_a_patch_of_too_much(void **state)
{
	CLEANUP(index_builder_free) struct index_builder *builder = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	static const enum store_encoding ENCODINGS[] = {
		STORE_PATCH, STORE_PATCH, STORE_PATCH, STORE_PATCH};
	static const uint32_t LENGTHS[] = {100, 0, 0, 0};
	struct fixture *f = *state;
	struct digest digest = {0};
	uint32_t last = 1;

	/* Exactly STORE_PATCH_MAX, then one byte more. */
	for (; last <= 2; last++) {
		CLEANUP(store_free) struct store *store = NULL;

		index_builder_free(&builder);
		index_free(&f->index);
		assert_int_equal(index_builder_new(&builder, &f->err), 0);
		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(index_builder_add(builder,
						 i == 0   ? STORE_PATCH_MAX / 2
						 : i == 1 ? STORE_PATCH_MAX / 2 - 2
						 : i == 2 ? 1
							  : last,
						 &digest, &f->err),
				0);
		assert_int_equal(index_builder_finish(builder, &bytes, &f->err), 0);
		assert_int_equal(
			index_parse(&bytes, STORE_PATCH_MAX - 1 + last, &f->index, &f->err), 0);
		make_delta(f, ENCODINGS, LENGTHS);
		if (last == 1)
			assert_int_equal(store_parse(&f->good, f->index, &store, &f->err), 0);
		else
			refuse(f, "chunk 3");
	}
}

static void test_store__free_takes_null(void **state)
{
	struct store *none = NULL;

	(void)state;
	store_free(NULL);
	store_free(&none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_store__round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__bytes_are_as_documented, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_wrong_magic_and_format, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_another_count_or_length, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_a_byte_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_lengths_the_encoding_cannot_have, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_unknown_encodings, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_a_repeat_of_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store__delta_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__no_base_without_a_delta, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store__delta_names_its_base, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_patches_that_cannot_be, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_store__refuses_a_patch_of_too_much, setup, teardown),
		cmocka_unit_test(test_store__free_takes_null),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
