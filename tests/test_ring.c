/* ring: what goes in comes out, nothing is read outside it, and neither end can get ahead. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/carrier/ring.h"
#include "updater/err.h"

static uint8_t out[RING_BATCH];

static void test_ring__what_is_given_is_taken_around_and_around(void **state)
{
	struct ring_room room;
	struct ring ring;
	struct err err;
	uint32_t offset, seed = 1;
	bool next;

	(void)state;
	assert_int_equal(ring_new(&ring, &err), 0);
	assert_int_equal(ring_map(ring.fd, &room, &err), 0);
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t len;

		seed = seed * 1664525u + 1013904223u;
		len = 1 + (seed >> 8) % RING_BATCH;
		assert_true(ring_give(&room, len, &offset));
		memset(room.bytes + offset, (int)i, len);
		ring_given(&room, len);
		assert_true(ring_take(&ring, offset, len, out, &next));
		assert_true(out[0] == (uint8_t)i && out[len - 1] == (uint8_t)i);
		assert_true(!next || ring_taken(&room));
	}
	assert_int_equal(munmap(room.bytes, RING_SIZE), 0);
	ring_finish(&ring);
}

/* Nothing that waits to be taken is written over. */
static void test_ring__is_full_until_something_is_taken(void **state)
{
	static uint8_t bytes[RING_SIZE];
	struct ring_room room = ring_room(bytes);
	uint32_t offset;

	(void)state;
	for (uint32_t i = 0; i < RING_BATCHES; i++) {
		assert_true(ring_give(&room, RING_BATCH - 10, &offset));
		assert_int_equal(offset, i * RING_BATCH);
		ring_given(&room, RING_BATCH - 10);
	}
	assert_true(ring_give(&room, 10, &offset)); /* what is left of the last */
	assert_false(ring_give(&room, 11, &offset));
	assert_true(ring_taken(&room));
	assert_true(ring_give(&room, 11, &offset));
	assert_int_equal(offset, 0);
	ring_given(&room, 11);
	assert_false(ring_give(&room, RING_BATCH, &offset));
	for (uint32_t i = 0; i < RING_BATCHES - 1; i++)
		assert_true(ring_taken(&room));
	assert_false(ring_taken(&room)); /* more than was given */
}

static void test_ring__takes_only_from_where_the_next_can_be(void **state)
{
	static const struct {
		uint32_t offset, len;
	} WRONG[] = {{RING_SIZE, 1}, {RING_SIZE - 1, 2}, {UINT32_MAX, 1}, {UINT32_MAX, UINT32_MAX},
		{0, RING_BATCH + 1}, {0, UINT32_MAX}, {1, RING_BATCH}, {RING_BATCH - 1, 2},
		{2 * RING_BATCH, 1}, {3 * RING_BATCH, 1}};
	struct ring ring;
	struct err err;
	bool next;

	(void)state;
	assert_int_equal(ring_new(&ring, &err), 0);
	for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++)
		assert_false(ring_take(&ring, WRONG[i].offset, WRONG[i].len, out, &next));
	assert_true(ring_take(&ring, RING_BATCH - 1, 1, out, &next) && !next);
	assert_true(ring_take(&ring, 2 * RING_BATCH - 1, 1, out, &next) && next);
	assert_false(ring_take(&ring, 0, 1, out, &next)); /* not back */
	assert_true(ring_take(&ring, 2 * RING_BATCH, RING_BATCH, out, &next) && next);
	ring_finish(&ring);
	ring_finish(&ring);
}

static void test_ring__cannot_be_made_smaller_or_larger(void **state)
{
	struct ring ring;
	struct err err;

	(void)state;
	assert_int_equal(ring_new(&ring, &err), 0);
	assert_int_equal(ftruncate(ring.fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(ring.fd, 2 * (off_t)RING_SIZE), -1);
	assert_int_equal(fcntl(ring.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	/* It ends on exec, but where it is handed over. */
	assert_true(fcntl(ring.fd, F_GETFD) & FD_CLOEXEC);
	ring_finish(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ring__what_is_given_is_taken_around_and_around),
		cmocka_unit_test(test_ring__is_full_until_something_is_taken),
		cmocka_unit_test(test_ring__takes_only_from_where_the_next_can_be),
		cmocka_unit_test(test_ring__cannot_be_made_smaller_or_larger),
	};

	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
