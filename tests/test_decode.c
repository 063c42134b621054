/* decode: one frame, exactly the bytes that the index promises, never a byte past the buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "image/compress.h"
#include "updater/carrier/decode.h"
#include "updater/mem.h"

#define PLAIN 50000u
#define GUARD 64u

struct fixture {
	struct decoder *decoder;
	uint8_t plain[PLAIN];
	uint8_t frame[2 * PLAIN];
	size_t frame_len;
	uint8_t out[PLAIN + GUARD];
};

static struct fixture f;

static int setup(void **state)
{
	CLEANUP(compressor_free) struct compressor *compressor = NULL;
	struct err err;

	(void)state;
	for (size_t i = 0; i < PLAIN; i++)
		f.plain[i] = (uint8_t)(i / 7 % 50);
	assert_int_equal(compressor_new(3, &compressor, &err), 0);
	assert_int_equal(
		compressor_run(compressor, f.plain, PLAIN, f.frame, &f.frame_len, &err), 0);
	assert_true(f.frame_len > 0);
	memset(f.out, 0xee, sizeof(f.out));
	return decoder_new(&f.decoder, &err);
}

static int teardown(void **state)
{
	(void)state;
	decoder_free(&f.decoder);
	return 0;
}

/* Decodes to `len` bytes: refused, and nothing was written beyond them. */
static void expect_refused(size_t frame_len, size_t len)
{
	struct err err = {0};

	assert_int_equal(decoder_zstd(f.decoder, f.frame, frame_len, f.out, len, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	for (size_t i = len; i < sizeof(f.out); i++)
		assert_int_equal(f.out[i], 0xee);
}

static void test_decode__gives_the_bytes_back(void **state)
{
	struct err err = {0};

	(void)state;
	assert_int_equal(decoder_zstd(f.decoder, f.frame, f.frame_len, f.out, PLAIN, &err), 0);
	assert_memory_equal(f.out, f.plain, PLAIN);
	assert_int_equal(f.out[PLAIN], 0xee);
}

static void test_decode__works_again_after_a_failure(void **state)
{
	expect_refused(f.frame_len / 2, PLAIN);
	test_decode__gives_the_bytes_back(state);
}

static void test_decode__more_than_promised(void **state)
{
	(void)state;
	expect_refused(f.frame_len, PLAIN - 1);
	memset(f.out, 0xee, sizeof(f.out));
	expect_refused(f.frame_len, 1);
}

static void test_decode__less_than_promised(void **state)
{
	(void)state;
	expect_refused(f.frame_len, PLAIN + 1);
}

static void test_decode__cut_anywhere(void **state)
{
	(void)state;
	for (size_t len = 0; len < f.frame_len; len++)
		expect_refused(len, PLAIN);
}

static void test_decode__two_frames_are_not_one(void **state)
{
	(void)state;
	memcpy(f.frame + f.frame_len, f.frame, f.frame_len);
	expect_refused(2 * f.frame_len, PLAIN);
	memset(f.out, 0xee, sizeof(f.out));
	expect_refused(f.frame_len + 1, PLAIN);
}

static void test_decode__two_frames_that_add_up_are_not_one(void **state)
{
	CLEANUP(compressor_free) struct compressor *compressor = NULL;
	size_t first = 0;
	size_t second = 0;
	struct err err;

	(void)state;
	assert_int_equal(compressor_new(3, &compressor, &err), 0);
	assert_int_equal(compressor_run(compressor, f.plain, PLAIN / 2, f.frame, &first, &err), 0);
	assert_int_equal(compressor_run(compressor, f.plain + PLAIN / 2, PLAIN / 2, f.frame + first,
				 &second, &err),
		0);
	assert_true(first > 0 && second > 0);
	expect_refused(first + second, PLAIN);
}

static void test_decode__skippable_frame_is_none(void **state)
{
	static const uint8_t SKIPPABLE[] = {0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4};

	(void)state;
	memcpy(f.frame, SKIPPABLE, sizeof(SKIPPABLE));
	expect_refused(sizeof(SKIPPABLE), 1);
}

static void test_decode__other_bytes(void **state)
{
	(void)state;
	memset(f.frame, 0, 100);
	expect_refused(100, PLAIN);
}

static void test_decode__flipped_bytes_stay_within_the_buffer(void **state)
{
	struct err err;

	(void)state;
	for (size_t i = 0; i < f.frame_len; i++) {
		f.frame[i] ^= 0xff;
		(void)decoder_zstd(f.decoder, f.frame, f.frame_len, f.out, PLAIN, &err);
		assert_int_equal(f.out[PLAIN], 0xee);
		f.frame[i] ^= 0xff;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_decode__gives_the_bytes_back),
		TEST(test_decode__works_again_after_a_failure),
		TEST(test_decode__more_than_promised),
		TEST(test_decode__less_than_promised),
		TEST(test_decode__cut_anywhere),
		TEST(test_decode__two_frames_are_not_one),
		TEST(test_decode__two_frames_that_add_up_are_not_one),
		TEST(test_decode__skippable_frame_is_none),
		TEST(test_decode__other_bytes),
		TEST(test_decode__flipped_bytes_stay_within_the_buffer),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
