/* slot: real loop devices in every state a careless person can leave a partition in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"
#include "updater/seal.h"
#include "updater/slot.h"

#define SIZE (4u << 20)

static void run(const char *program, const char *option, const char *value, const char *path)
{
	char *argv[5] = {0};
	struct process_result result;
	struct err err = {0};
	size_t n = 0;

	const char *words[] = {program, option, value, path};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (words[i])
			assert_int_equal(mem_strdup(words[i], &argv[n++], &err), 0);
	}
	if (process_run(argv, 30, &result, &err) < 0)
		fail_msg("%s", err.msg);
	if (result.exit_status != 0)
		fail_msg("%s: %s", program, result.output);
	for (size_t i = 0; i < n; i++)
		free(argv[i]);
}

/* A test that failed may have left its mount and its swap. */
static int teardown(void **state)
{
	struct scratch *scratch = *state;

	for (unsigned int i = 0; i < SCRATCH_LOOPS; i++) {
		if (scratch->loop[i][0])
			(void)swapoff(scratch->loop[i]);
	}
	(void)umount2(scratch_path(scratch, "a mount"), MNT_DETACH);
	return scratch_teardown(state);
}

/* A file of zeros: no signature of anything. */
static const char *blank(struct scratch *scratch, const char *name)
{
	const char *path = scratch_path(scratch, name);
	CLEANUP(bytes_finish) struct bytes zeros = {0};
	void *p = NULL;
	struct err err;

	assert_int_equal(mem_alloc(SIZE, &p, &err), 0);
	zeros = (struct bytes){.data = p, .len = SIZE};
	assert_int_equal(fs_replace_file(path, zeros.data, zeros.len, 0600, &err), 0);
	return path;
}

static void assert_refused(const char *path, enum err_code code, const char *says)
{
	struct blockdev *dev = NULL;
	struct err err = {0};

	if (slot_open_target(path, &dev, &err) == 0)
		fail_msg("opened '%s'", path);
	assert_null(dev);
	if (!strstr(err.msg, says) || !strstr(err.msg, path))
		fail_msg("'%s' does not say '%s' of '%s'", err.msg, says, path);
	assert_int_equal(err.code, code);
}

static struct blockdev *assert_opens(const char *path)
{
	struct blockdev *dev = NULL;
	struct err err = {0};

	if (slot_open_target(path, &dev, &err) < 0)
		fail_msg("%s", err.msg);
	return dev;
}

/* ---- opening ---- */

static void test_target__blank_device_and_file(void **state)
{
	struct scratch *scratch = *state;
	const char *file = blank(scratch, "slot");
	struct blockdev *dev = assert_opens(file);
	const char *loop;

	blockdev_close(&dev);
	loop = scratch_loop(scratch, file);
	dev = assert_opens(loop);
	assert_true(dev->size == SIZE);
	/* Held: nobody else gets it. */
	assert_refused(loop, FAIL_STATE, "in use");
	blockdev_close(&dev);
}

static void test_target__missing_device_is_named(void **state)
{
	(void)state;
	assert_refused("/nonexistent/slot", FAIL_IO, "No such file");
	assert_refused("/dev/null", FAIL_USAGE, "neither a block device");
}

static void test_target__file_system_is_what_slots_hold(void **state)
{
	struct scratch *scratch = *state;
	const char *file = blank(scratch, "slot");
	struct blockdev *dev;

	run("/sbin/mke2fs", "-q", NULL, file);
	dev = assert_opens(file);
	blockdev_close(&dev);
}

static void test_target__mounted_names_the_mount_point(void **state)
{
	struct scratch *scratch = *state;
	const char *file = blank(scratch, "slot");
	const char *point = scratch_path(scratch, "a mount");
	const char *loop;

	run("/sbin/mke2fs", "-q", NULL, file);
	loop = scratch_loop(scratch, file);
	assert_int_equal(mkdir(point, 0700), 0);
	if (mount(loop, point, "ext2", MS_RDONLY, NULL) < 0 &&
		mount(loop, point, "ext4", MS_RDONLY, NULL) < 0)
		skip();
	assert_refused(loop, FAIL_STATE, point);
	assert_refused(file, FAIL_STATE, "in use by '/dev/loop");
	assert_int_equal(umount(point), 0);
	struct blockdev *dev = assert_opens(loop);
	blockdev_close(&dev);
}

static void test_target__swap_in_use(void **state)
{
	struct scratch *scratch = *state;
	const char *file = blank(scratch, "slot");
	const char *loop;

	run("/sbin/mkswap", "-q", NULL, file);
	loop = scratch_loop(scratch, file);
	if (swapon(loop, 0) < 0)
		skip();
	assert_refused(loop, FAIL_STATE, "in use as swap");
	assert_int_equal(swapoff(loop), 0);
	assert_refused(loop, FAIL_REFUSED, "swap");
}

static void test_target__loop_on_top_of_it(void **state)
{
	struct scratch *scratch = *state;
	const char *loop = scratch_loop(scratch, blank(scratch, "slot"));
	const char *upper = scratch_loop(scratch, loop);

	assert_refused(loop, FAIL_STATE, upper);
}

/* ---- content that is not ours ---- */

static void put(const char *path, const void *data, size_t len, uint64_t off)
{
	struct blockdev *dev = NULL;
	struct err err;

	assert_int_equal(blockdev_open(path, BLOCKDEV_WRITE, &dev, &err), 0);
	assert_int_equal(blockdev_pwrite(dev, data, len, off, &err), 0);
	blockdev_close(&dev);
}

static void seal_blank(const char *path)
{
	struct seal seal = {.state = SEAL_WRITING, .class = "rootfs", .image_size = 100};
	struct blockdev *dev = NULL;
	struct err err;

	assert_int_equal(blockdev_open(path, BLOCKDEV_WRITE, &dev, &err), 0);
	assert_int_equal(seal_write(dev, &seal, &err), 0);
	blockdev_close(&dev);
}

static void assert_foreign_until_sealed(const char *path, const char *says)
{
	struct blockdev *dev;

	assert_refused(path, FAIL_REFUSED, says);
	assert_refused(path, FAIL_REFUSED, "wipefs");
	seal_blank(path);
	dev = assert_opens(path);
	blockdev_close(&dev);
}

static void test_target__swap_area_is_foreign(void **state)
{
	const char *file = blank(*state, "slot");

	run("/sbin/mkswap", "-q", NULL, file);
	assert_foreign_until_sealed(file, "swap");
}

static void test_target__partition_table_is_foreign(void **state)
{
	static const uint8_t ENTRY[] = {0x80, 0, 2, 0, 0x83, 0, 2, 1, 8, 0, 0, 0, 0, 16, 0, 0};
	const char *file = blank(*state, "slot");

	put(file, ENTRY, sizeof(ENTRY), 446);
	put(file, "\x55\xaa", 2, 510);
	assert_foreign_until_sealed(file, "a partition table");
}

static void test_target__luks_is_foreign(void **state)
{
	const char *file = blank(*state, "slot");

	put(file, "LUKS\xba\xbe\0\1", 8, 0);
	assert_foreign_until_sealed(file, "crypto_LUKS");
}

/* LVM2's own CRC-32: reflected, this start, no inversion at the end. */
static uint32_t lvm_crc(const uint8_t *data, size_t len)
{
	uint32_t crc = 0xf597a6cf;

	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (unsigned int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return crc;
}

static void test_target__lvm_is_foreign(void **state)
{
	const char *file = blank(*state, "slot");
	uint8_t label[512] = "LABELONE\1\0\0\0\0\0\0\0****\x20\0\0\0LVM2 001"
			     "0123456789abcdefghijklmnopqrstuv";

	le32_put(label + 16, lvm_crc(label + 20, sizeof(label) - 20));
	put(file, label, sizeof(label), 512);
	assert_foreign_until_sealed(file, "LVM2_member");
}

static void test_target__raid_member_is_foreign(void **state)
{
	const char *file = blank(*state, "slot");
	uint8_t super[256] = {0};

	le32_put(super, 0xa92b4efc);
	le32_put(super + 4, 1); /* major version */
	le64_put(super + 144, 8); /* its own place, in sectors: version 1.2 */
	put(file, super, sizeof(super), 4096);
	assert_foreign_until_sealed(file, "linux_raid_member");
}

/* ---- names ---- */

static void test_resolve__a_path_stays_as_it_is(void **state)
{
	char path[PATH_MAX];
	struct err err;

	(void)state;
	assert_int_equal(slot_resolve("/dev/disk/by-partlabel/x=y", path, &err), 0);
	assert_string_equal(path, "/dev/disk/by-partlabel/x=y");
	assert_int_equal(slot_resolve("FOO=bar", path, &err), 0);
	assert_string_equal(path, "FOO=bar");
}

static void test_resolve__label_of_a_loop_device(void **state)
{
	struct scratch *scratch = *state;
	char label[32], device[64], path[PATH_MAX];
	const char *file = blank(scratch, "slot");
	const char *loop;
	struct err err = {0};

	(void)snprintf(label, sizeof(label), "abide%d", (int)getpid());
	(void)snprintf(device, sizeof(device), "LABEL=%s", label);
	run("/sbin/mke2fs", "-qL", label, file);
	assert_int_equal(slot_resolve(device, path, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, device));
	loop = scratch_loop(scratch, file);
	if (slot_resolve(device, path, &err) < 0)
		fail_msg("%s", err.msg);
	assert_string_equal(path, loop);
	/* A second one: neither is taken. */
	(void)scratch_loop(scratch, file);
	assert_int_equal(slot_resolve(device, path, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	assert_non_null(strstr(err.msg, "ambiguous"));
}

static void test_resolve__too_long_a_path(void **state)
{
	char device[PATH_MAX + 2], path[PATH_MAX];
	struct err err;

	(void)state;
	memset(device, 'x', sizeof(device));
	device[sizeof(device) - 1] = '\0';
	assert_int_equal(slot_resolve(device, path, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
}

static void test_running__a_loop_device_is_not_the_root(void **state)
{
	struct scratch *scratch = *state;
	const char *file = blank(scratch, "slot");

	assert_false(slot_is_running(file));
	assert_false(slot_is_running(scratch_loop(scratch, file)));
	assert_false(slot_is_running("/nonexistent"));
}

#define SLOT_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SLOT_TEST(test_target__blank_device_and_file),
		SLOT_TEST(test_target__missing_device_is_named),
		SLOT_TEST(test_target__file_system_is_what_slots_hold),
		SLOT_TEST(test_target__mounted_names_the_mount_point),
		SLOT_TEST(test_target__swap_in_use),
		SLOT_TEST(test_target__loop_on_top_of_it),
		SLOT_TEST(test_target__swap_area_is_foreign),
		SLOT_TEST(test_target__partition_table_is_foreign),
		SLOT_TEST(test_target__luks_is_foreign),
		SLOT_TEST(test_target__lvm_is_foreign),
		SLOT_TEST(test_target__raid_member_is_foreign),
		SLOT_TEST(test_resolve__a_path_stays_as_it_is),
		SLOT_TEST(test_resolve__label_of_a_loop_device),
		SLOT_TEST(test_resolve__too_long_a_path),
		SLOT_TEST(test_running__a_loop_device_is_not_the_root),
	};

	return cmocka_run_group_tests_name("slot", tests, NULL, NULL);
}
