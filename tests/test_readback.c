/* readback: a proof only for an image of which each byte was read from the medium. */
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

enum lie {
	NO_LIE,
	WRAPS, /* blocks from `size` on are taken for the first ones */
	STUCK, /* an address line of `size` (a power of two) is always 0 */
	FORGETS, /* only the last `size` blocks that were written are kept */
};

/* A slot that knows what was read of it, and may have less room than it says. */
struct slot {
	struct blockdev dev;
	uint8_t *data;
	atomic_uint reads;
	unsigned int fail_read; /* number of the read that fails; 0: none */
	atomic_uchar seen[BLOCKS]; /* how often each block was read */
	enum lie lie;
	size_t size; /* blocks */
	size_t written; /* blocks */
	size_t when[BLOCKS]; /* each was written */
};

static size_t place(const struct slot *slot, size_t block)
{
	if (slot->lie == WRAPS)
		return block % slot->size;
	return slot->lie == STUCK ? block & ~slot->size : block;
}

static void load(const struct slot *slot, size_t block, uint8_t *ret)
{
	memcpy(ret, slot->data + place(slot, block) * MEM_BLOCK, MEM_BLOCK);
	if (slot->lie == FORGETS && slot->when[block] + slot->size <= slot->written)
		memset(ret, 0xff, MEM_BLOCK);
}

static void store(struct slot *slot, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		size_t left = IMAGE_SIZE - i * MEM_BLOCK;

		memcpy(slot->data + place(slot, i) * MEM_BLOCK, image.data + i * MEM_BLOCK,
			left < MEM_BLOCK ? left : MEM_BLOCK);
		slot->when[i] = slot->written++;
	}
}

static int slot_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	struct slot *slot = (struct slot *)dev;

	assert_int_equal((uintptr_t)buf % MEM_BLOCK, 0);
	assert_int_equal(len % MEM_BLOCK, 0);
	assert_int_equal(off % MEM_BLOCK, 0);
	if (atomic_fetch_add(&slot->reads, 1) + 1 == slot->fail_read) {
		errno = EIO;
		return err_errno(err, "read '%s'", dev->name);
	}
	for (size_t i = 0; i < len / MEM_BLOCK; i++)
		load(slot, off / MEM_BLOCK + i, (uint8_t *)buf + i * MEM_BLOCK);
	for (size_t i = 0; i < len / MEM_BLOCK; i++)
		atomic_fetch_add(&slot->seen[off / MEM_BLOCK + i], 1);
	return 0;
}

static const struct blockdev_ops OPS = {.pread = slot_pread};

static void slot_make(struct slot *slot)
{
	memset(slot, 0, sizeof(*slot));
	slot->dev =
		(struct blockdev){.ops = &OPS, .name = "slot", .size = BLOCKS * (size_t)MEM_BLOCK};
	slot->data = calloc(BLOCKS, MEM_BLOCK);
	assert_non_null(slot->data);
	memcpy(slot->data, image.data, IMAGE_SIZE);
}

static int run(struct slot *slot, const struct readback_watch *watch, struct err *err)
{
	struct readback_proof *proof = NULL;

	if (readback_run(&slot->dev, artifact.trusted, artifact.manifest->images, watch, &proof,
		    err) < 0) {
		assert_null(proof);
		return -1;
	}
	assert_string_equal(readback_class(proof), "rootfs");
	assert_true(digest_equal(readback_artifact(proof), trusted_id(artifact.trusted)));
	readback_proof_free(&proof);
	return 0;
}

static void test_readback__every_block_is_read_once(void **state)
{
	struct slot slot;
	struct err err = {0};

	(void)state;
	slot_make(&slot);
	if (run(&slot, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < BLOCKS; i++)
		assert_int_equal(slot.seen[i], 1);
	free(slot.data);
}

static void test_readback__any_wrong_byte_is_drift(void **state)
{
	static const size_t WRONG[] = {0, MEM_BLOCK - 1, MEM_BLOCK, (1u << 20) - 1, 1u << 20,
		(3u << 20) + 5, IMAGE_SIZE - 1};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(WRONG); k++) {
		struct slot slot;
		struct err err = {0};

		slot_make(&slot);
		slot.data[WRONG[k]] ^= 1;
		assert_int_equal(run(&slot, NULL, &err), -1);
		assert_int_equal(err.code, FAIL_DRIFT);
		free(slot.data);
	}
}

static void test_readback__what_follows_the_image_does_not_count(void **state)
{
	struct slot slot;
	struct err err = {0};

	(void)state;
	slot_make(&slot);
	slot.data[IMAGE_SIZE] ^= 1;
	assert_int_equal(run(&slot, NULL, &err), 0);
	free(slot.data);
}

static void test_readback__a_read_that_fails_gives_no_proof(void **state)
{
	bool whole = false;

	(void)state;
	for (unsigned int n = 1; !whole; n++) {
		struct slot slot;
		struct err err = {0};

		assert_true(n < 100);
		slot_make(&slot);
		slot.fail_read = n;
		if (run(&slot, NULL, &err) < 0)
			assert_int_equal(err.code, FAIL_IO);
		else
			whole = true;
		assert_int_equal(whole, atomic_load(&slot.reads) < n);
		free(slot.data);
	}
}

static volatile sig_atomic_t interrupted;

static void interrupt(void *arg, uint64_t done, uint64_t total)
{
	(void)arg;
	interrupted = done >= total / 2;
}

static void test_readback__an_interruption_ends_it(void **state)
{
	const struct readback_watch watch = {.progress = interrupt, .interrupted = &interrupted};
	struct slot slot;
	struct err err = {0};

	(void)state;
	slot_make(&slot);
	assert_int_equal(run(&slot, &watch, &err), -1);
	assert_int_equal(err.code, FAIL_INTERRUPTED);
	free(slot.data);
}

/* ---- reading ahead ---- */

#define STRIDE 64u /* blocks, 256 KiB */

/* As fill does it: the first block last, all else in order, each stride read back before the next
 * is written. What one thread writes the other does not read: that is what `seen` waits for. */
static int run_ahead(struct slot *slot, struct err *err)
{
	const struct timespec nap = {.tv_nsec = 50 * 1000};
	CLEANUP(readback_free) struct readback *readback = NULL;
	struct readback_proof *proof = NULL;
	int status;

	assert_int_equal(readback_new(&slot->dev, artifact.trusted, artifact.manifest->images,
				 artifact.indexes[0], NULL, &readback, err),
		0);
	for (size_t at = 0; at < BLOCKS; at += STRIDE) {
		size_t end = at + STRIDE < BLOCKS ? at + STRIDE : BLOCKS;

		store(slot, at ? at : 1, end);
		if (end == BLOCKS)
			break;
		if (readback_ahead(readback, image.data, end * UINT64_C(4096), err) < 0)
			return -1;
		while (!atomic_load(&slot->seen[end - 1]))
			(void)nanosleep(&nap, NULL);
	}
	store(slot, 0, 1);
	status = readback_finish(readback, &proof, err);
	assert_int_equal(status < 0, proof == NULL);
	readback_proof_free(&proof);
	return status;
}

static void slot_make_empty(struct slot *slot, enum lie lie, size_t size)
{
	slot_make(slot);
	memset(slot->data, 0, BLOCKS * (size_t)MEM_BLOCK);
	slot->lie = lie;
	slot->size = size;
}

static bool holds_the_image(const struct slot *slot)
{
	uint8_t block[MEM_BLOCK];

	for (size_t i = 0; i < BLOCKS; i++) {
		size_t left = IMAGE_SIZE - i * MEM_BLOCK;

		load(slot, i, block);
		if (memcmp(block, image.data + i * MEM_BLOCK,
			    left < MEM_BLOCK ? left : MEM_BLOCK) != 0)
			return false;
	}
	return true;
}

static void test_readback__ahead_of_the_end_every_block_is_read(void **state)
{
	struct slot slot;
	struct err err = {0};
	size_t again = 0;

	(void)state;
	slot_make_empty(&slot, NO_LIE, 0);
	if (run_ahead(&slot, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < BLOCKS; i++) {
		assert_true(slot.seen[i] > 0);
		again += slot.seen[i] > 1;
	}
	assert_true(again > 2 * 256 && again < 4 * 256); /* two steps, and a few chunks */
	free(slot.data);
}

static void test_readback__ahead_a_medium_that_lies_gives_no_proof(void **state)
{
	static const struct {
		enum lie lie;
		size_t size;
	} LIES[] = {
		{WRAPS, BLOCKS - 1},
		{WRAPS, BLOCKS - 2},
		{WRAPS, BLOCKS - 3},
		{WRAPS, BLOCKS - 17},
		{WRAPS, BLOCKS - STRIDE},
		{WRAPS, BLOCKS - 255},
		{WRAPS, BLOCKS - 300},
		{WRAPS, 1024},
		{WRAPS, 1000},
		{WRAPS, BLOCKS / 2},
		{WRAPS, 512},
		{WRAPS, 256},
		{WRAPS, 255},
		{WRAPS, 128},
		{WRAPS, STRIDE},
		{WRAPS, 16},
		{WRAPS, 2},
		{WRAPS, 1},
		{STUCK, 1},
		{STUCK, 2},
		{STUCK, 4},
		{STUCK, 8},
		{STUCK, 16},
		{STUCK, 32},
		{STUCK, 64},
		{STUCK, 128},
		{STUCK, 256},
		{STUCK, 512},
		{STUCK, 1024},
		{FORGETS, BLOCKS - 10},
		{FORGETS, 1300},
		{FORGETS, 1024},
		{FORGETS, 700},
		{FORGETS, 256},
		{FORGETS, 100},
		{FORGETS, 10},
	};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(LIES); k++) {
		struct slot slot;
		struct err err = {0};

		slot_make_empty(&slot, LIES[k].lie, LIES[k].size);
		if (run_ahead(&slot, &err) == 0)
			fail_msg("lie %d with %zu blocks was believed", LIES[k].lie, LIES[k].size);
		assert_int_equal(err.code, FAIL_DRIFT);
		assert_false(holds_the_image(&slot));
		free(slot.data);
	}
}

/* The middle of the image: none of the places that are always looked at again. */
static void test_readback__ahead_what_is_lost_later_shows_in_each_mebibyte(void **state)
{
	(void)state;
	for (size_t from = 256; from + 256 <= 1024; from += 256) {
		CLEANUP(readback_free) struct readback *readback = NULL;
		struct readback_proof *proof = NULL;
		struct slot slot;
		struct err err = {0};

		slot_make(&slot);
		assert_int_equal(
			readback_new(&slot.dev, artifact.trusted, artifact.manifest->images,
				artifact.indexes[0], NULL, &readback, &err),
			0);
		assert_int_equal(
			readback_ahead(readback, image.data, 1280 * UINT64_C(4096), &err), 0);
		assert_int_equal(
			readback_ahead(readback, image.data, 1280 * UINT64_C(4096), &err), 0);
		memset(slot.data + from * MEM_BLOCK, 0xee, 256 * (size_t)MEM_BLOCK);
		assert_int_equal(readback_finish(readback, &proof, &err), -1);
		assert_int_equal(err.code, FAIL_DRIFT);
		assert_non_null(strstr(err.msg, "smaller than it says"));
		free(slot.data);
	}
}

static void test_readback__ahead_a_read_that_fails_gives_no_proof(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 60; n++) {
		CLEANUP(readback_free) struct readback *readback = NULL;
		struct readback_proof *proof = NULL;
		struct slot slot;
		struct err err = {0};
		int status = 0;

		slot_make(&slot);
		slot.fail_read = n;
		assert_int_equal(
			readback_new(&slot.dev, artifact.trusted, artifact.manifest->images,
				artifact.indexes[0], NULL, &readback, &err),
			0);
		for (uint64_t end = 1u << 20; status == 0 && end < IMAGE_SIZE; end += 1u << 20)
			status = readback_ahead(readback, image.data, end, &err);
		if (status == 0)
			status = readback_finish(readback, &proof, &err);
		assert_int_equal(status < 0, atomic_load(&slot.reads) >= n);
		assert_true(status == 0 || (err.code == FAIL_IO && !proof));
		readback_proof_free(&proof);
		readback_free(&readback);
		free(slot.data);
	}
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
			&artifact, &err) < 0 ||
		artifact_read_indexes(&artifact, &err) < 0) {
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
		cmocka_unit_test(test_readback__every_block_is_read_once),
		cmocka_unit_test(test_readback__any_wrong_byte_is_drift),
		cmocka_unit_test(test_readback__what_follows_the_image_does_not_count),
		cmocka_unit_test(test_readback__a_read_that_fails_gives_no_proof),
		cmocka_unit_test(test_readback__an_interruption_ends_it),
		cmocka_unit_test(test_readback__ahead_of_the_end_every_block_is_read),
		cmocka_unit_test(test_readback__ahead_a_medium_that_lies_gives_no_proof),
		cmocka_unit_test(test_readback__ahead_what_is_lost_later_shows_in_each_mebibyte),
		cmocka_unit_test(test_readback__ahead_a_read_that_fails_gives_no_proof),
	};

	return cmocka_run_group_tests_name("readback", tests, setup, teardown);
}
