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
	f->good.data[8] = 2;
	refuse(f, "format 2");
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
	refuse_record(state, 1, 4, 0);
	refuse_record(state, 1, 4, 100);
	refuse_record(state, 1, 255, 0);
}

static void test_store__refuses_a_repeat_of_nothing(void **state)
{
	refuse_record(state, 0, STORE_SAME, 0);
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
		cmocka_unit_test(test_store__free_takes_null),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
