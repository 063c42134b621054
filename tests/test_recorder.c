/* recorder: the crash states it makes are those blockdev.h allows, and no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/recorder.h"
#include "updater/mem.h"

#define SIZE 8192u

static const struct recorder_limits LIMITS = {.seed = 1, .shuffles = 64, .tears = 16};

static void put(struct blockdev *dev, char byte, size_t len, uint64_t off)
{
	char buf[SIZE];
	struct err err;

	memset(buf, byte, sizeof(buf));
	assert_int_equal(blockdev_pwrite(dev, buf, len, off, &err), 0);
}

static void flush(struct blockdev *dev)
{
	struct err err;

	assert_int_equal(blockdev_flush(dev, &err), 0);
}

/* Which of the two devices' first bytes were seen together. */
struct seen {
	bool pair[3][3];
	bool torn;
	bool hole;
};

static int rank(uint8_t byte)
{
	return byte == 0 ? 0 : byte - 'a' + 1;
}

static void look(struct recorder *after, const char *what, void *arg)
{
	struct seen *seen = arg;
	const uint8_t *a = recorder_content(after, 0);
	const uint8_t *b = recorder_content(after, 1);

	(void)what;
	seen->pair[rank(a[0])][rank(b[0])] = true;
	seen->torn |= a[0] == 'a' && a[512] == 0;
	seen->hole |= a[0] == 0 && a[512] == 'a';
	assert_true(a[1] == a[0] && a[511] == a[0]); /* never within a sector */
}

static void test_crashes__keep_what_was_flushed_and_only_that(void **state)
{
	struct recorder *rec = recorder_new();
	struct seen seen = {0};
	struct blockdev *a, *b;

	(void)state;
	a = recorder_open(rec, recorder_add(rec, "a", SIZE, NULL, false));
	b = recorder_open(rec, recorder_add(rec, "b", SIZE, NULL, false));
	put(a, 'a', 1024, 0);
	flush(b); /* says nothing of a */
	put(b, 'a', 512, 0);
	flush(a);
	put(b, 'b', 512, 0);
	assert_true(recorder_crashes(rec, &LIMITS, look, &seen) > 10);
	assert_true(seen.pair[0][0] && seen.pair[1][0]);
	assert_true(seen.pair[0][1]); /* b's write overtook a's */
	assert_true(seen.pair[1][1] && seen.pair[1][2]);
	assert_false(seen.pair[0][2]); /* a was flushed before */
	assert_true(seen.torn && seen.hole);
	blockdev_close(&a);
	blockdev_close(&b);
	recorder_free(&rec);
}

static void same_as_start(struct recorder *after, const char *what, void *arg)
{
	(void)what;
	assert_memory_equal(recorder_content(after, 0), arg, SIZE);
}

static void test_forget__starts_from_the_content_as_it_is(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *dev = recorder_open(rec, recorder_add(rec, "a", SIZE, NULL, false));
	uint8_t expected[SIZE];

	(void)state;
	put(dev, 'a', 512, 512);
	recorder_forget(rec);
	assert_int_equal(recorder_count(rec, RECORDER_WRITE, RECORDER_ANY), 0);
	memcpy(expected, recorder_content(rec, 0), SIZE);
	assert_int_equal(recorder_crashes(rec, &LIMITS, same_as_start, expected), 1);
	blockdev_close(&dev);
	recorder_free(&rec);
}

static void zero_seen(struct recorder *after, const char *what, void *arg)
{
	const uint8_t *a = recorder_content(after, 0);
	bool *seen = arg;

	(void)what;
	for (size_t i = 0; i < SIZE; i += RECORDER_SECTOR)
		assert_true(a[i] == 'a' ? a[i + 511] == 'a' : a[i + 511] == 0);
	seen[0] |= a[0] == 'a' && a[SIZE - 1] == 'a';
	seen[1] |= a[0] == 0 && a[SIZE - 1] == 'a';
	seen[2] |= a[0] == 0 && a[SIZE - 1] == 0;
}

static void test_crashes__zeroing_tears_like_a_write(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *dev = recorder_open(rec, recorder_add(rec, "a", SIZE, NULL, true));
	struct err err;
	bool done, seen[3] = {false};

	(void)state;
	memset(recorder_content(rec, 0), 'a', SIZE);
	assert_int_equal(blockdev_zero(dev, SIZE, 0, &done, &err), 0);
	assert_true(done && mem_is_zero(recorder_content(rec, 0), SIZE));
	assert_int_equal(recorder_count(rec, RECORDER_ZERO, 0), 1);
	assert_true(recorder_crashes(rec, &LIMITS, zero_seen, seen) > 10);
	assert_true(seen[0] && seen[1] && seen[2]);
	flush(dev);
	recorder_cannot_zero(rec, 0);
	assert_int_equal(blockdev_zero(dev, SIZE, 0, &done, &err), 0);
	assert_false(done);
	blockdev_close(&dev);
	recorder_free(&rec);
}

static void test_crashes__same_seed_same_number(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *dev = recorder_open(rec, recorder_add(rec, "a", SIZE, NULL, false));
	struct seen seen = {0};

	(void)state;
	(void)recorder_add(rec, "b", SIZE, NULL, false);
	for (unsigned int i = 0; i < 8; i++)
		put(dev, 'a', 512, i * UINT64_C(512));
	assert_int_equal(recorder_crashes(rec, &LIMITS, look, &seen),
		recorder_crashes(rec, &LIMITS, look, &seen));
	blockdev_close(&dev);
	recorder_free(&rec);
}

static void test_fail__once_and_where_it_was_told(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *a = recorder_open(rec, recorder_add(rec, "a", SIZE, NULL, false));
	struct blockdev *b = recorder_open(rec, recorder_add(rec, "b", SIZE, NULL, false));
	char buf[1024] = "x";
	struct err err;
	bool done = false;

	(void)state;
	recorder_fail(rec, RECORDER_WRITE, 1, 2);
	put(a, 'a', 512, 0);
	put(a, 'a', 512, 0);
	put(b, 'b', 512, 0);
	assert_int_equal(blockdev_pwrite(b, buf, sizeof(buf), 1024, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "'b'"));
	put(b, 'b', 512, 0);
	recorder_fail(rec, RECORDER_FLUSH, RECORDER_ANY, 1);
	assert_int_equal(blockdev_flush(a, &err), -1);
	recorder_fail(rec, RECORDER_ZERO, RECORDER_ANY, 1);
	assert_int_equal(blockdev_zero(a, SIZE, 0, &done, &err), -1);
	assert_true(mem_is_zero(recorder_content(rec, 0), SIZE / 2)); /* the first half */
	recorder_fail(rec, RECORDER_READ, RECORDER_ANY, 1);
	assert_int_equal(blockdev_pread(a, buf, 512, 0, &err), -1);
	assert_int_equal(blockdev_pread(a, buf, 512, 0, &err), 0);
	blockdev_close(&a);
	blockdev_close(&b);
	recorder_free(&rec);
}

static void test_direct__refuses_unaligned_access(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *dev = recorder_open(rec, recorder_add(rec, "a", SIZE, NULL, true));
	CLEANUP(cleanup_free) void *block = NULL;
	struct err err;

	(void)state;
	assert_int_equal(mem_alloc_aligned(MEM_BLOCK, &block, &err), 0);
	assert_int_equal(blockdev_pwrite(dev, block, MEM_BLOCK, MEM_BLOCK, &err), 0);
	assert_int_equal(blockdev_pwrite(dev, block, 512, 0, &err), -1);
	assert_int_equal(blockdev_pwrite(dev, block, MEM_BLOCK, 512, &err), -1);
	assert_int_equal(blockdev_pread(dev, (char *)block + 8, 0, 0, &err), -1);
	blockdev_close(&dev);
	recorder_free(&rec);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crashes__keep_what_was_flushed_and_only_that),
		cmocka_unit_test(test_forget__starts_from_the_content_as_it_is),
		cmocka_unit_test(test_crashes__zeroing_tears_like_a_write),
		cmocka_unit_test(test_crashes__same_seed_same_number),
		cmocka_unit_test(test_fail__once_and_where_it_was_told),
		cmocka_unit_test(test_direct__refuses_unaligned_access),
	};

	return cmocka_run_group_tests_name("recorder", tests, NULL, NULL);
}
