/* chunker: the cut points are those of the plain algorithm, whatever the speed-ups; and they
 * survive insertions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/chunker.h"
#include "updater/digest.h"
#include "updater/mem.h"

#define SIZE ((size_t)4 << 20)

struct fixture {
	struct chunker chunker;
	uint8_t *data; /* SIZE pseudo-random bytes */
};

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint64_t x = 88172645463325252u;

	assert_non_null(f);
	f->data = malloc(SIZE);
	assert_non_null(f->data);
	for (size_t i = 0; i < SIZE; i += 8)
		le64_put(f->data + i, next_random(&x));
	chunker_init(&f->chunker);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	free(f->data);
	free(f);
	return 0;
}

/* The gear rule as the paper has it, a byte at a time. */
static size_t plain_cut(const struct chunker *chunker, const uint8_t *data, size_t len)
{
	uint64_t hash = 0;

	for (size_t i = CHUNKER_MIN; i < len && i < CHUNKER_MAX; i++) {
		unsigned int bits = i < CHUNKER_NORMAL ? 16 : 12;

		hash = (hash << 1) + chunker->gear[data[i]];
		if ((hash << 1) >> (64 - bits) == 0)
			return i + 1;
	}
	return len < CHUNKER_MAX ? len : CHUNKER_MAX;
}

static void test_chunker__agrees_with_the_plain_algorithm(void **state)
{
	struct fixture *f = *state;
	size_t chunks = 0;

	for (size_t at = 0; at < SIZE; chunks++) {
		uint32_t cut = chunker_cut(&f->chunker, f->data + at, SIZE - at, at);

		assert_int_equal(cut, plain_cut(&f->chunker, f->data + at, SIZE - at));
		assert_true(cut <= CHUNKER_MAX);
		assert_true(cut >= CHUNKER_MIN || at + cut == SIZE);
		at += cut;
	}
	/* The average is near the normal size: 4 MiB make about 220 chunks. */
	assert_in_range(chunks, SIZE / CHUNKER_NORMAL * 2 / 3, SIZE / CHUNKER_NORMAL * 3 / 2);
}

static void test_chunker__table_never_changes(void **state)
{
	struct fixture *f = *state;
	struct digest digest;
	char hex[DIGEST_HEX_LEN + 1];
	uint8_t table[2048];
	struct err err;

	for (size_t i = 0; i < 256; i++)
		le64_put(table + 8 * i, f->chunker.gear[i]);
	assert_int_equal(digest_once(table, sizeof(table), &digest, &err), 0);
	digest_to_hex(&digest, hex);
	assert_string_equal(
		hex, "6e36a53dcfbc0a381947c8762261afc8364b34031f449dcac7e0dd1e9eaca406");
}

static void test_chunker__does_not_depend_on_how_much_is_read_ahead(void **state)
{
	struct fixture *f = *state;

	memset(f->data + 100000, 0, 300000);
	memset(f->data + 600000, 0, CHUNKER_ZERO_MIN);
	for (size_t at = 0; at < SIZE - CHUNKER_WINDOW;) {
		uint32_t all = chunker_cut(&f->chunker, f->data + at, SIZE - at, at);

		assert_int_equal(chunker_cut(&f->chunker, f->data + at, CHUNKER_WINDOW, at), all);
		at += all;
	}
}

static void test_chunker__resumes_after_an_insertion(void **state)
{
	struct fixture *f = *state;
	uint8_t *changed = malloc(SIZE + 777);
	size_t a = 0;
	size_t b = 0;
	size_t where = SIZE / 2;

	assert_non_null(changed);
	memcpy(changed, f->data, where);
	memset(changed + where, 0x5a, 777);
	memcpy(changed + where + 777, f->data + where, SIZE - where);
	while (a < where + 4 * CHUNKER_MAX)
		a += chunker_cut(&f->chunker, f->data + a, SIZE - a, a);
	while (b < a + 777)
		b += chunker_cut(&f->chunker, changed + b, SIZE + 777 - b, b);
	assert_int_equal(b, a + 777); /* the same cut points again, within four chunks */
	free(changed);
}

static void test_chunker__long_zero_runs_are_chunks_of_their_own(void **state)
{
	struct fixture *f = *state;
	size_t begin = 123457;
	size_t end = begin + INDEX_CHUNK_MAX + 100001;
	size_t at = 0;

	memset(f->data + begin, 0, end - begin);
	f->data[begin - 1] = 1;
	f->data[end] = 1;
	while (at < begin)
		at += chunker_cut(&f->chunker, f->data + at, SIZE - at, at);
	assert_int_equal(at, begin);
	assert_int_equal(chunker_cut(&f->chunker, f->data + at, SIZE - at, at), INDEX_CHUNK_MAX);
	at += INDEX_CHUNK_MAX;
	assert_int_equal(chunker_cut(&f->chunker, f->data + at, SIZE - at, at), 100001);
}

/* Whatever the run's place in a chunk: the probes must not miss it. */
static void test_chunker__finds_the_shortest_zero_run_anywhere(void **state)
{
	struct fixture *f = *state;

	for (size_t begin = 1; begin < CHUNKER_MAX; begin += 511) {
		uint8_t *data = malloc(CHUNKER_WINDOW);
		size_t at = 0;

		assert_non_null(data);
		for (size_t i = 0; i < CHUNKER_WINDOW; i++)
			data[i] = f->data[i] | 1;
		memset(data + begin, 0, CHUNKER_ZERO_MIN);
		while (at < begin)
			at += chunker_cut(&f->chunker, data + at, CHUNKER_WINDOW - at, at);
		assert_int_equal(at, begin);
		assert_int_equal(chunker_cut(&f->chunker, data + at, CHUNKER_WINDOW - at, at),
			CHUNKER_ZERO_MIN);
		free(data);
	}
}

static void test_chunker__shorter_zero_runs_stay_in_their_chunk(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < CHUNKER_MAX; i++)
		f->data[i] |= 1;
	memset(f->data, 0, CHUNKER_ZERO_MIN - 1);
	assert_int_equal(
		chunker_cut(&f->chunker, f->data, SIZE, 0), plain_cut(&f->chunker, f->data, SIZE));
}

/* Files of 5000 to 60000 bytes, in blocks: no chunk has bytes of two of them, but where that would
 * make it too short. */
static void test_chunker__no_chunk_has_two_files(void **state)
{
	struct fixture *f = *state;
	size_t starts[SIZE / 8192];
	size_t files = 0;

	for (size_t i = 0; i < SIZE; i++)
		f->data[i] |= 1;
	for (size_t at = 0; at + 65536 <= SIZE; files++) {
		size_t size = 5000 + files * 997 % 55000;
		size_t room = (size_t)round_up(size, MEM_BLOCK);

		if (room - size < CHUNKER_END_ZEROS)
			size = room - CHUNKER_END_ZEROS;
		starts[files] = at;
		memset(f->data + at + size, 0, room - size);
		at += room;
	}
	for (size_t at = 0, next = 1; next < files;) {
		uint32_t cut = chunker_cut(&f->chunker, f->data + at, SIZE - at, at);

		assert_true(at + cut <= starts[next] || starts[next] - at < CHUNKER_MIN);
		at += cut;
		while (next < files && starts[next] <= at)
			next++;
	}
}

/* Bytes that lie anywhere, as in a compressed file system, have no blocks. */
static void test_chunker__zeros_within_a_block_are_no_end(void **state)
{
	struct fixture *f = *state;
	uint8_t *data = f->data;

	while (plain_cut(&f->chunker, data, SIZE / 2) < 3 * MEM_BLOCK)
		data += MEM_BLOCK;
	memset(data + 2 * MEM_BLOCK - CHUNKER_END_ZEROS + 1, 0, CHUNKER_END_ZEROS);
	data[2 * MEM_BLOCK - CHUNKER_END_ZEROS] = 1;
	data[2 * MEM_BLOCK + 1] = 1;
	assert_int_equal(chunker_cut(&f->chunker, data, SIZE / 2, 0),
		plain_cut(&f->chunker, data, SIZE / 2));
	/* The same zeros, were they at a block's end. */
	assert_int_equal(
		chunker_cut(&f->chunker, data, SIZE / 2, MEM_BLOCK - 1), 2 * MEM_BLOCK + 1);
}

static void test_chunker__small_and_empty_tails(void **state)
{
	struct fixture *f = *state;
	uint8_t zeros[5000] = {0};

	assert_int_equal(chunker_cut(&f->chunker, f->data, 1, 0), 1);
	assert_int_equal(chunker_cut(&f->chunker, f->data, CHUNKER_MIN, 0), CHUNKER_MIN);
	assert_int_equal(chunker_cut(&f->chunker, zeros, 1, 0), 1);
	assert_int_equal(chunker_cut(&f->chunker, zeros, sizeof(zeros), 0), sizeof(zeros));
}

#define WITH_DATA(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DATA(test_chunker__agrees_with_the_plain_algorithm),
		WITH_DATA(test_chunker__table_never_changes),
		WITH_DATA(test_chunker__does_not_depend_on_how_much_is_read_ahead),
		WITH_DATA(test_chunker__resumes_after_an_insertion),
		WITH_DATA(test_chunker__long_zero_runs_are_chunks_of_their_own),
		WITH_DATA(test_chunker__finds_the_shortest_zero_run_anywhere),
		WITH_DATA(test_chunker__shorter_zero_runs_stay_in_their_chunk),
		WITH_DATA(test_chunker__no_chunk_has_two_files),
		WITH_DATA(test_chunker__zeros_within_a_block_are_no_end),
		WITH_DATA(test_chunker__small_and_empty_tails),
	};

	return cmocka_run_group_tests_name("chunker", tests, NULL, NULL);
}
