/* writer: any mix of written and skipped pieces gives the image, the superblock comes last, and
 * what is right already is not written. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/index.h"
#include "updater/mem.h"
#include "updater/writer.h"

#define SLOT_SIZE (8u << 20)

/* A slot in memory that checks alignment and keeps the order of writes to the first block. */
struct memory_slot {
	struct blockdev dev;
	uint8_t *data;
	unsigned int writes, flushes;
	unsigned int last_first_write; /* number of the write that last touched block 0 */
	unsigned int unflushed;
	unsigned int unflushed_at_first; /* unflushed writes when block 0 was last written */
	unsigned int fail_write; /* number of the write that fails; 0: none */
	bool slow; /* a write takes its time */
	bool zeroes; /* the device can */
	uint64_t zeroed; /* bytes */
	unsigned int zeroings;
	unsigned int fail_zero; /* number of the zeroing that fails; 0: none */
	atomic_bool writing;
};

static int slot_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	(void)err;
	assert_int_equal(len % MEM_BLOCK, 0);
	assert_int_equal(off % MEM_BLOCK, 0);
	assert_int_equal((uintptr_t)buf % MEM_BLOCK, 0);
	memcpy(buf, ((struct memory_slot *)dev)->data + off, len);
	return 0;
}

static int slot_pwrite(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	const struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
	struct memory_slot *slot = (struct memory_slot *)dev;

	assert_int_equal(len % MEM_BLOCK, 0);
	assert_int_equal(off % MEM_BLOCK, 0);
	assert_int_equal((uintptr_t)buf % MEM_BLOCK, 0);
	assert_false(atomic_exchange(&slot->writing, true));
	if (slot->slow)
		(void)nanosleep(&nap, NULL);
	slot->writes++;
	if (slot->writes == slot->fail_write) {
		atomic_store(&slot->writing, false);
		errno = EIO;
		return err_errno(err, "write '%s'", dev->name);
	}
	memcpy(slot->data + off, buf, len);
	atomic_store(&slot->writing, false);
	if (off == 0) {
		slot->last_first_write = slot->writes;
		slot->unflushed_at_first = slot->unflushed;
	}
	slot->unflushed++;
	return 0;
}

static int slot_flush(struct blockdev *dev, struct err *err)
{
	struct memory_slot *slot = (struct memory_slot *)dev;

	(void)err;
	assert_false(atomic_load(&slot->writing)); /* a flush says nothing of a write under way */
	slot->flushes++;
	slot->unflushed = 0;
	return 0;
}

static int slot_zero(
	struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err)
{
	struct memory_slot *slot = (struct memory_slot *)dev;

	assert_int_equal(len % MEM_BLOCK, 0);
	assert_int_equal(off % MEM_BLOCK, 0);
	slot->zeroings++;
	*ret_done = slot->zeroes;
	if (!slot->zeroes)
		return 0;
	assert_false(atomic_exchange(&slot->writing, true));
	if (slot->zeroings != slot->fail_zero)
		memset(slot->data + off, 0, len);
	slot->zeroed += len;
	slot->unflushed++;
	atomic_store(&slot->writing, false);
	if (slot->zeroings != slot->fail_zero)
		return 0;
	errno = EIO;
	return err_errno(err, "zero '%s'", dev->name);
}

static const struct blockdev_ops OPS = {
	.pread = slot_pread, .pwrite = slot_pwrite, .flush = slot_flush, .zero = slot_zero};

static void slot_make(struct memory_slot *slot)
{
	*slot = (struct memory_slot){.dev = {.ops = &OPS, .name = "slot", .size = SLOT_SIZE}};
	slot->data = malloc(SLOT_SIZE);
	assert_non_null(slot->data);
	memset(slot->data, 0xee, SLOT_SIZE);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static uint8_t *make_image(size_t size, uint32_t seed)
{
	uint8_t *image = malloc(size);

	assert_non_null(image);
	for (size_t i = 0; i < size; i++)
		image[i] = (uint8_t)(next_random(&seed) | 1); /* no zero: a wiped block shows */
	return image;
}

static void put(struct writer *writer, const uint8_t *data, size_t len)
{
	struct err err = {0};
	uint8_t *room = NULL;

	assert_int_equal(writer_reserve(writer, len, &room, &err), 0);
	memcpy(room, data, len);
	assert_int_equal(writer_commit(writer, len, &err), 0);
}

static void assert_on_medium(const struct writer *writer, const struct memory_slot *slot,
	const uint8_t *image, size_t at)
{
	size_t end = (size_t)writer_on_medium(writer);

	assert_true(end <= at);
	if (end > MEM_BLOCK)
		assert_memory_equal(slot->data + MEM_BLOCK, image + MEM_BLOCK, end - MEM_BLOCK);
}

/* Pieces of random lengths; some are in the slot already and skipped. */
static void random_run(uint32_t seed)
{
	size_t size = 5000 + next_random(&seed) % (4u << 20);
	uint8_t *image = make_image(size, seed);
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};
	uint8_t back[300];

	slot_make(&slot);
	slot.zeroes = seed % 3 != 0;
	assert_int_equal(writer_new(&slot.dev, size, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	assert_true(mem_is_zero(slot.data, MEM_BLOCK));
	for (size_t at = 0; at < size;) {
		size_t len = 1 + next_random(&seed) % (next_random(&seed) % 4 ? 9000 : 262144);

		if (len > INDEX_CHUNK_MAX)
			len = INDEX_CHUNK_MAX;
		if (len > size - at)
			len = size - at;
		if (at >= MEM_BLOCK && next_random(&seed) % 3 == 0) {
			memcpy(slot.data + at, image + at, len);
			assert_int_equal(writer_skip(writer, len, &err), 0);
		} else if (next_random(&seed) % 4 == 0) {
			memset(image + at, 0, len);
			assert_int_equal(writer_zero(writer, len, &err), 0);
		} else {
			put(writer, image + at, len);
		}
		at += len;
		assert_true(mem_is_zero(slot.data, MEM_BLOCK)); /* until the end */
		assert_on_medium(writer, &slot, image, at);
		if (at > sizeof(back)) {
			size_t from = next_random(&seed) % (at - sizeof(back));

			assert_int_equal(writer_read(writer, from, back, sizeof(back), &err), 0);
			assert_memory_equal(back, image + from, sizeof(back));
		}
	}
	assert_int_equal(writer_finish(writer, &err), 0);
	assert_memory_equal(slot.data, image, size);
	assert_int_equal(slot.last_first_write, slot.writes);
	assert_int_equal(slot.unflushed_at_first, 0);
	assert_int_equal(slot.unflushed, 0);
	for (size_t i = (size_t)round_up(size, MEM_BLOCK); i < SLOT_SIZE; i++)
		assert_int_equal(slot.data[i], 0xee); /* nothing past the image */
	writer_free(&writer);
	free(slot.data);
	free(image);
}

static void test_writer__any_mix_gives_the_image_superblock_last(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 60; seed++)
		random_run(seed * 7919);
}

static void test_writer__what_is_in_place_is_not_written(void **state)
{
	size_t size = 2u << 20;
	uint8_t *image = make_image(size, 5);
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};

	(void)state;
	slot_make(&slot);
	memcpy(slot.data, image, size);
	assert_int_equal(writer_new(&slot.dev, size, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	put(writer, image, 5000);
	for (size_t at = 5000; at < size; at += 100000)
		assert_int_equal(
			writer_skip(writer, size - at < 100000 ? size - at : 100000, &err), 0);
	assert_int_equal(writer_finish(writer, &err), 0);
	assert_memory_equal(slot.data, image, size);
	/* the wipe, the second block that the first piece shares, the first block */
	assert_int_equal(writer_written(writer), 3 * MEM_BLOCK);
	writer_free(&writer);
	free(slot.data);
	free(image);
}

static void test_writer__a_wiped_block_is_not_wiped_again(void **state)
{
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};

	(void)state;
	slot_make(&slot);
	memset(slot.data, 0, MEM_BLOCK);
	assert_int_equal(writer_new(&slot.dev, 10000, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	assert_int_equal(slot.writes, 0);
	writer_free(&writer);
	free(slot.data);
}

static void test_writer__refuses_more_and_fewer_bytes_than_the_image(void **state)
{
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};
	uint8_t *room, data[200] = {1};

	(void)state;
	slot_make(&slot);
	assert_int_equal(writer_new(&slot.dev, SLOT_SIZE + 1, &writer, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	assert_int_equal(writer_new(&slot.dev, 300, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	put(writer, data, 200);
	assert_int_equal(writer_reserve(writer, 101, &room, &err), -1);
	assert_int_equal(writer_finish(writer, &err), -1);
	assert_true(mem_is_zero(slot.data, MEM_BLOCK));
	put(writer, data, 100);
	assert_int_equal(writer_finish(writer, &err), 0);
	assert_int_equal(slot.data[0], 1);
	assert_int_equal(slot.data[200], 1);
	writer_free(&writer);
	free(slot.data);
}

/* Pieces until the first call that fails; 0 if none does. */
static int fill_up(struct writer *writer, const uint8_t *image, size_t size, struct err *err)
{
	size_t len = 100000;
	uint8_t *room = NULL;

	for (size_t at = 0; at < size; at += len) {
		len = size - at < len ? size - at : len;
		if (writer_reserve(writer, len, &room, err) < 0)
			return -1;
		memcpy(room, image + at, len);
		if (writer_commit(writer, len, err) < 0)
			return -1;
	}
	return writer_finish(writer, err);
}

/* The wipe, three full windows, the rest, the first block: each fails once. */
static void test_writer__a_failed_write_is_told_and_is_the_last(void **state)
{
	size_t size = (4u << 20) + 20000;
	uint8_t *image = make_image(size, 9);

	(void)state;
	for (unsigned int n = 1; n <= 11; n++) {
		struct memory_slot slot;
		struct writer *writer = NULL;
		struct err err = {0};

		slot_make(&slot);
		slot.fail_write = n;
		assert_int_equal(writer_new(&slot.dev, size, &writer, &err), 0);
		if (writer_begin(writer, &err) < 0 || fill_up(writer, image, size, &err) < 0) {
			assert_int_equal(err.code, FAIL_IO);
			assert_int_equal(slot.writes, n);
			assert_true(n == 1 || mem_is_zero(slot.data, MEM_BLOCK));
		} else {
			assert_int_equal(n, 11); /* there are ten */
			assert_int_equal(slot.writes, 10);
			assert_memory_equal(slot.data, image, size);
		}
		writer_free(&writer);
		free(slot.data);
	}
	free(image);
}

static void test_writer__a_flush_tells_of_the_write_in_flight(void **state)
{
	size_t size = 2u << 20;
	uint8_t *image = make_image(size, 11);
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};
	uint64_t mark = 7;

	(void)state;
	slot_make(&slot);
	slot.slow = true;
	slot.fail_write = 2;
	assert_int_equal(writer_new(&slot.dev, size, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	for (size_t at = 0; at < 3 * 200000; at += 200000)
		put(writer, image + at, 200000);
	/* All of it is on its way, nothing is pending. */
	assert_int_equal(writer_flush(writer, &mark, &err), -1);
	assert_int_equal(mark, 7);
	assert_int_equal(slot.flushes, 1); /* that of the wipe */
	writer_free(&writer);
	free(slot.data);
	free(image);
}

/* Reads what is on its way, before and behind it, while the write is slow. */
static void test_writer__reads_what_is_in_flight(void **state)
{
	size_t size = 3u << 20;
	uint8_t *image = make_image(size, 12);
	uint8_t *back = malloc(size);
	struct memory_slot slot;
	struct writer *writer = NULL;
	uint64_t mark;
	struct err err = {0};

	(void)state;
	assert_non_null(back);
	slot_make(&slot);
	slot.slow = true;
	assert_int_equal(writer_new(&slot.dev, size, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	for (size_t at = 0; at < size; at += 1u << 18) {
		put(writer, image + at, 1u << 18);
		assert_on_medium(writer, &slot, image, at);
		for (size_t from = 1000; from + 90000 < at; from += 90000) {
			assert_int_equal(writer_read(writer, from, back, 90000, &err), 0);
			assert_memory_equal(back, image + from, 90000);
		}
	}
	assert_int_equal(writer_flush(writer, &mark, &err), 0);
	assert_int_equal(mark, size);
	assert_int_equal(writer_on_medium(writer), size);
	assert_int_equal(writer_finish(writer, &err), 0);
	assert_memory_equal(slot.data, image, size);
	writer_free(&writer);
	free(slot.data);
	free(image);
	free(back);
}

/* Interrupted: nobody asks how the write ended, but it has when the windows are gone. */
static void test_writer__free_waits_for_the_write_in_flight(void **state)
{
	size_t size = 3u << 20;
	uint8_t *image = make_image(size, 13);
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};

	(void)state;
	slot_make(&slot);
	slot.slow = true;
	assert_int_equal(writer_new(&slot.dev, size, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	for (size_t at = 0; at < 3 * 200000; at += 200000)
		put(writer, image + at, 200000);
	writer_free(&writer);
	assert_false(atomic_load(&slot.writing));
	assert_int_equal(slot.writes, 2);
	assert_memory_equal(slot.data + MEM_BLOCK, image + MEM_BLOCK, (512u << 10) - MEM_BLOCK);
	assert_true(mem_is_zero(slot.data, MEM_BLOCK));
	free(slot.data);
	free(image);
}

static void test_writer__long_zeros_are_left_to_the_device(void **state)
{
	size_t size = 3u << 20;
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};
	uint8_t back[5000], data[1000];

	(void)state;
	for (int zeroes = 0; zeroes <= 1; zeroes++) {
		slot_make(&slot);
		slot.zeroes = zeroes;
		memset(data, 1, sizeof(data));
		assert_int_equal(writer_new(&slot.dev, size, &writer, &err), 0);
		assert_int_equal(writer_begin(writer, &err), 0);
		put(writer, data, sizeof(data));
		assert_int_equal(writer_zero(writer, 1u << 20, &err), 0);
		assert_int_equal(writer_read(writer, 900, back, sizeof(back), &err), 0);
		assert_int_equal(back[99], 1);
		assert_true(mem_is_zero(back + 100, sizeof(back) - 100));
		put(writer, data, sizeof(data));
		assert_int_equal(writer_zero(writer, 20000, &err), 0); /* too short */
		assert_int_equal(writer_zero(writer, size - (1u << 20) - 22000, &err), 0);
		assert_int_equal(writer_zero(writer, 1, &err), -1);
		assert_int_equal(writer_finish(writer, &err), 0);
		assert_int_equal(slot.data[0], 1);
		assert_true(mem_is_zero(slot.data + 1000, 1u << 20));
		assert_int_equal(slot.data[1000 + (1u << 20)], 1);
		assert_true(mem_is_zero(slot.data + 2000 + (1u << 20), size - 2000 - (1u << 20)));
		/* One that cannot is asked once, and all is written. */
		assert_int_equal(slot.zeroings, zeroes ? 2 : 1);
		assert_true(!zeroes || slot.zeroed > size - (64u << 10));
		assert_int_equal(
			writer_written(writer), size + MEM_BLOCK - (zeroes ? slot.zeroed : 0));
		assert_int_equal(slot.unflushed, 0);
		writer_free(&writer);
		free(slot.data);
	}
}

static void test_writer__zeroing_that_fails_is_told(void **state)
{
	struct memory_slot slot;
	struct writer *writer = NULL;
	struct err err = {0};
	uint64_t mark;

	(void)state;
	slot_make(&slot);
	slot.zeroes = true;
	slot.fail_zero = 1;
	assert_int_equal(writer_new(&slot.dev, 1u << 20, &writer, &err), 0);
	assert_int_equal(writer_begin(writer, &err), 0);
	assert_int_equal(writer_zero(writer, 1u << 20, &err), 0); /* on its way */
	assert_int_equal(writer_flush(writer, &mark, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "zero 'slot'"));
	writer_free(&writer);
	free(slot.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer__any_mix_gives_the_image_superblock_last),
		cmocka_unit_test(test_writer__what_is_in_place_is_not_written),
		cmocka_unit_test(test_writer__a_wiped_block_is_not_wiped_again),
		cmocka_unit_test(test_writer__refuses_more_and_fewer_bytes_than_the_image),
		cmocka_unit_test(test_writer__a_failed_write_is_told_and_is_the_last),
		cmocka_unit_test(test_writer__a_flush_tells_of_the_write_in_flight),
		cmocka_unit_test(test_writer__reads_what_is_in_flight),
		cmocka_unit_test(test_writer__free_waits_for_the_write_in_flight),
		cmocka_unit_test(test_writer__long_zeros_are_left_to_the_device),
		cmocka_unit_test(test_writer__zeroing_that_fails_is_told),
	};

	return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
