/* readback: a proof only for an image of which each byte was read from the medium after its flush,
 * whether in one pass or ahead, while the rest is written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/bundles.h"
#include "updater/artifact.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/readback.h"

#define IMAGE_SIZE ((6u << 20) + 4321)
#define BLOCKS     ((IMAGE_SIZE + MEM_BLOCK - 1) / MEM_BLOCK)

static struct bundles b;
static struct bytes image;
static struct artifact artifact;

/* A slot that is written as far as `allowed`, and knows what was read of it. */
struct slot {
	struct blockdev dev;
	uint8_t *data;
	atomic_uint_fast64_t allowed; /* nobody may read further */
	atomic_uint reads;
	unsigned int fail_read; /* number of the read that fails; 0: none */
	bool slow;
	atomic_uchar seen[BLOCKS]; /* how often each block was read */
};

static int slot_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	const struct timespec nap = {.tv_nsec = 20 * 1000 * 1000};
	struct slot *slot = (struct slot *)dev;

	assert_int_equal((uintptr_t)buf % MEM_BLOCK, 0);
	assert_int_equal(len % MEM_BLOCK, 0);
	assert_int_equal(off % MEM_BLOCK, 0);
	assert_true(off + len <= atomic_load(&slot->allowed));
	if (slot->slow)
		(void)nanosleep(&nap, NULL);
	if (atomic_fetch_add(&slot->reads, 1) + 1 == slot->fail_read) {
		errno = EIO;
		return err_errno(err, "read '%s'", dev->name);
	}
	memcpy(buf, slot->data + off, len);
	for (size_t i = 0; i < len / MEM_BLOCK; i++)
		atomic_fetch_add(&slot->seen[off / MEM_BLOCK + i], 1);
	return 0;
}

static const struct blockdev_ops OPS = {.pread = slot_pread};

/* The image, but for its first block, which is wiped. */
static void slot_make(struct slot *slot)
{
	memset(slot, 0, sizeof(*slot));
	slot->dev =
		(struct blockdev){.ops = &OPS, .name = "slot", .size = BLOCKS * (size_t)MEM_BLOCK};
	slot->data = calloc(BLOCKS, MEM_BLOCK);
	assert_non_null(slot->data);
	memcpy(slot->data + MEM_BLOCK, image.data + MEM_BLOCK, IMAGE_SIZE - MEM_BLOCK);
}

static struct readback *begin(struct slot *slot, const struct readback_watch *watch)
{
	struct readback *readback = NULL;
	struct err err = {0};

	assert_int_equal(
		readback_new(&slot->dev, artifact.manifest->images, watch, &readback, &err), 0);
	return readback;
}

/* As fill does: marks, then the first block, then the rest. -1 if any of it fails. */
static int follow(struct slot *slot, struct readback *readback, const uint8_t *first, uint64_t step,
	struct err *err)
{
	struct readback_proof *proof = NULL;

	for (uint64_t mark = step; mark < IMAGE_SIZE; mark += step) {
		atomic_store(&slot->allowed, mark);
		if (readback_ahead(readback, mark, first, err) < 0)
			return -1;
	}
	memcpy(slot->data, first, MEM_BLOCK);
	atomic_store(&slot->allowed, slot->dev.size);
	if (readback_finish(readback, artifact.trusted, &proof, err) < 0) {
		assert_null(proof);
		return -1;
	}
	assert_string_equal(readback_class(proof), "rootfs");
	readback_proof_free(&proof);
	return 0;
}

static void test_readback__ahead_of_the_end_every_block_is_read(void **state)
{
	static const uint64_t STEPS[] = {
		MEM_BLOCK, 65536 + MEM_BLOCK, 1u << 20, (3u << 20) + 3 * MEM_BLOCK, 64u << 20};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(STEPS); k++) {
		struct slot slot;
		struct readback *readback;
		struct err err = {0};

		slot_make(&slot);
		slot.slow = k == 2; /* marks come faster than they are read */
		readback = begin(&slot, NULL);
		if (follow(&slot, readback, image.data, STEPS[k], &err) < 0)
			fail_msg("%s", err.msg);
		for (size_t i = 1; i < BLOCKS; i++)
			assert_int_equal(slot.seen[i], 1);
		/* When it was promised, and when it was there. */
		assert_int_equal(slot.seen[0], STEPS[k] < IMAGE_SIZE ? 2 : 1);
		readback_free(&readback);
		free(slot.data);
	}
}

static void test_readback__any_wrong_byte_is_drift(void **state)
{
	static const size_t WRONG[] = {0, 100, MEM_BLOCK - 1, MEM_BLOCK, (1u << 20) - 1, 1u << 20,
		(3u << 20) + 5, IMAGE_SIZE - 1};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(WRONG) * 2; k++) {
		struct slot slot;
		struct readback *readback;
		struct err err = {0};
		uint8_t first[MEM_BLOCK];

		slot_make(&slot);
		memcpy(first, image.data, sizeof(first));
		if (WRONG[k / 2] < MEM_BLOCK)
			first[WRONG[k / 2]] ^= 1;
		else
			slot.data[WRONG[k / 2]] ^= 1;
		readback = begin(&slot, NULL);
		assert_int_equal(
			follow(&slot, readback, first, k % 2 ? 1u << 20 : 64u << 20, &err), -1);
		assert_int_equal(err.code, FAIL_DRIFT);
		readback_free(&readback);
		free(slot.data);
	}
}

/* Promised rightly, written wrongly: only the medium knows. */
static void test_readback__a_promise_is_not_a_first_block(void **state)
{
	(void)state;
	for (size_t k = 0; k < 3; k++) {
		struct slot slot;
		struct readback *readback;
		struct readback_proof *proof = NULL;
		struct err err = {0};

		slot_make(&slot);
		readback = begin(&slot, NULL);
		atomic_store(&slot.allowed, slot.dev.size);
		assert_int_equal(readback_ahead(readback, 1u << 20, image.data, &err), 0);
		if (k > 0) /* else it was lost, and is zero still */
			memcpy(slot.data, image.data, MEM_BLOCK);
		slot.data[MEM_BLOCK - 1] ^= k == 1;
		if (k == 2) {
			assert_int_equal(
				readback_finish(readback, artifact.trusted, &proof, &err), 0);
			readback_proof_free(&proof);
		} else {
			assert_int_equal(
				readback_finish(readback, artifact.trusted, &proof, &err), -1);
			assert_int_equal(err.code, FAIL_DRIFT);
			assert_non_null(strstr(err.msg, "first block"));
		}
		readback_free(&readback);
		free(slot.data);
	}
}

static void test_readback__a_read_that_fails_gives_no_proof(void **state)
{
	bool whole = false;

	(void)state;
	for (unsigned int n = 1; !whole; n++) {
		struct slot slot;
		struct readback *readback;
		struct err err = {0};

		assert_true(n < 30);
		slot_make(&slot);
		slot.fail_read = n;
		readback = begin(&slot, NULL);
		if (follow(&slot, readback, image.data, 2u << 20, &err) < 0)
			assert_int_equal(err.code, FAIL_IO);
		else
			whole = true;
		assert_int_equal(whole, atomic_load(&slot.reads) < n);
		readback_free(&readback);
		free(slot.data);
	}
}

static void test_readback__free_stops_the_thread(void **state)
{
	struct slot slot;
	struct readback *readback;
	struct err err = {0};
	unsigned int reads;

	(void)state;
	slot_make(&slot);
	slot.slow = true;
	readback = begin(&slot, NULL);
	atomic_store(&slot.allowed, slot.dev.size);
	assert_int_equal(readback_ahead(readback, 6u << 20, image.data, &err), 0);
	readback_free(&readback);
	reads = atomic_load(&slot.reads);
	assert_true(reads <= 2);
	free(slot.data);
}

static void test_readback__an_interruption_ends_it(void **state)
{
	static volatile sig_atomic_t interrupted;
	const struct readback_watch watch = {.interrupted = &interrupted};
	struct slot slot;
	struct readback *readback;
	struct err err = {0};

	(void)state;
	slot_make(&slot);
	readback = begin(&slot, &watch);
	atomic_store(&slot.allowed, 2u << 20);
	assert_int_equal(readback_ahead(readback, 2u << 20, image.data, &err), 0);
	interrupted = 1;
	assert_int_equal(follow(&slot, readback, image.data, 64u << 20, &err), -1);
	assert_int_equal(err.code, FAIL_INTERRUPTED);
	readback_free(&readback);
	free(slot.data);
}

static int setup(void **state)
{
	struct trust trust = {.threshold = 1};
	struct err err = {0};

	(void)state;
	bundles_init(&b, PKI_ECDSA);
	bundles_image(&b, "1.img", IMAGE_SIZE, 1);
	(void)bundles_make(&b, "1.abide", "1", 1, "1.img");
	trust.roots = b.root;
	if (fs_read_file(bundles_path(&b, "1.img"), IMAGE_SIZE, &image, &err) < 0 ||
		artifact_open(bundles_path(&b, "1.abide"), &(struct carrier_options){0}, &trust,
			&artifact, &err) < 0) {
		print_error("%s\n", err.msg);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	artifact_close(&artifact);
	bytes_finish(&image);
	bundles_finish(&b);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readback__ahead_of_the_end_every_block_is_read),
		cmocka_unit_test(test_readback__any_wrong_byte_is_drift),
		cmocka_unit_test(test_readback__a_promise_is_not_a_first_block),
		cmocka_unit_test(test_readback__a_read_that_fails_gives_no_proof),
		cmocka_unit_test(test_readback__free_stops_the_thread),
		cmocka_unit_test(test_readback__an_interruption_ends_it),
	};

	return cmocka_run_group_tests_name("readback", tests, setup, teardown);
}
