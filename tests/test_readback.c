/* readback: a proof only for an image of which each byte was read from the medium. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

/* A slot that knows what was read of it. */
struct slot {
	struct blockdev dev;
	uint8_t *data;
	atomic_uint reads;
	unsigned int fail_read; /* number of the read that fails; 0: none */
	atomic_uchar seen[BLOCKS]; /* how often each block was read */
};

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
	memcpy(buf, slot->data + off, len);
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
		cmocka_unit_test(test_readback__every_block_is_read_once),
		cmocka_unit_test(test_readback__any_wrong_byte_is_drift),
		cmocka_unit_test(test_readback__what_follows_the_image_does_not_count),
		cmocka_unit_test(test_readback__a_read_that_fails_gives_no_proof),
		cmocka_unit_test(test_readback__an_interruption_ends_it),
	};

	return cmocka_run_group_tests_name("readback", tests, setup, teardown);
}
