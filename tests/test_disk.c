/* disk: a factory disk is what layout and bundle say, twice the same, and nothing is clobbered. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/converge.h"
#include "image/disk.h"
#include "image/span.h"
#include "image/tool.h"
#include "tests/bundles.h"
#include "tests/recorder.h"
#include "tests/scratch.h"
#include "updater/carrier.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"
#include "updater/seal.h"

#define MIB       (UINT64_C(1) << 20)
#define DISK_SIZE (48 * MIB)
#define LAYOUT(rootfs)                                                                             \
	"[disk]\nsize = 48M\nuuid = 8f4f6a52-6d0b-4f6e-9a57-1b1f0c2d7e31\n"                        \
	"[grub]\nconfig = grub.cfg\nsite = site.cfg\n"                                             \
	"[partition esp]\ntype = esp\nsize = 16M\n"                                                \
	"[partition rootfs-a]\ntype = slot\nclass = rootfs\ngroup = a\nsize = " rootfs "\n"        \
	"[partition rootfs-b]\ntype = slot\nclass = rootfs\ngroup = b\nsize = " rootfs "\n"        \
	"[partition data]\ntype = data\nsize = rest\n"

static struct bundles b;

static void put(const char *name, const char *text)
{
	struct err err = {0};

	assert_int_equal(
		fs_replace_file(bundles_path(&b, name), text, strlen(text), 0600, &err), 0);
}

static int setup(void **state)
{
	(void)state;
	bundles_init(&b, PKI_RSA);
	bundles_image(&b, "rootfs.img", 3 << 20, 1);
	bundles_make(&b, "os.abide", "1.0", 1, "rootfs.img");
	put("layout.ini", LAYOUT("8M"));
	put("small.ini", LAYOUT("3M"));
	put("grub.cfg", "echo hello\n");
	put("site.cfg", "set x=y\n");
	/* Where disk_make() puts its scratch disk: removed with the rest if it leaves anything. */
	return setenv("TMPDIR", b.dir, 1);
}

static int teardown(void **state)
{
	(void)state;
	bundles_finish(&b);
	return 0;
}

static int try_disk(const char *target, const char *layout, const char *bundle,
	struct disk_result *ret, struct err *err)
{
	const struct disk_options options = {
		.target = target,
		.layout = bundles_path(&b, layout),
		.bundle = bundles_path(&b, bundle),
		.trust = b.root,
	};

	return disk_make(&options, ret, err);
}

static struct disk_result make_disk(const char *target)
{
	struct disk_result result = {0};
	struct err err = {0};

	if (try_disk(target, "layout.ini", "os.abide", &result, &err) < 0)
		fail_msg("%s", err.msg);
	return result;
}

static struct bytes read_all(const char *path)
{
	struct bytes bytes = {0};
	struct err err = {0};

	if (fs_read_file(path, 64 * MIB, &bytes, &err) < 0)
		fail_msg("%s", err.msg);
	return bytes;
}

/* A device has no length that fs_read_file() could bound: through blockdev. */
static struct bytes read_device(const char *path)
{
	struct blockdev *dev = NULL;
	struct bytes bytes = {0};
	struct err err = {0};
	void *p = NULL;

	assert_int_equal(blockdev_open(path, 0, &dev, &err), 0);
	assert_int_equal(mem_alloc((size_t)dev->size, &p, &err), 0);
	bytes = (struct bytes){.data = p, .len = (size_t)dev->size};
	assert_int_equal(blockdev_pread(dev, bytes.data, bytes.len, 0, &err), 0);
	blockdev_close(&dev);
	return bytes;
}

static void assert_same(const char *one, const char *other)
{
	CLEANUP(bytes_finish) struct bytes x = read_device(one);
	CLEANUP(bytes_finish) struct bytes y = read_device(other);

	assert_true(x.len == y.len);
	assert_int_equal(memcmp(x.data, y.data, x.len), 0);
}

static void read_seal(const char *disk, uint64_t start, struct seal *ret)
{
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	CLEANUP(blockdev_close) struct blockdev *slot = NULL;
	struct err err = {0};

	assert_int_equal(blockdev_open(disk, 0, &dev, &err), 0);
	assert_int_equal(span_open(dev, "slot", start, 8 * MIB, &slot, &err), 0);
	assert_int_equal(seal_read(slot, ret, &err), 0);
}

/* ---- what is made ---- */

static void test_disk__group_a_is_sealed_and_b_is_nothing(void **state)
{
	const char *path = scratch_path(*state, "disk.img");
	struct disk_result result = make_disk(path);
	CLEANUP(bytes_finish) struct bytes disk = read_all(path);
	CLEANUP(bytes_finish) struct bytes image = read_all(bundles_path(&b, "rootfs.img"));
	struct seal seal;

	assert_true(result.size == DISK_SIZE);
	assert_true(disk.len == DISK_SIZE);
	assert_string_equal(result.version, "1.0");
	assert_memory_equal(disk.data + 17 * MIB, image.data, image.len);
	read_seal(path, 17 * MIB, &seal);
	assert_int_equal(seal.state, SEAL_SEALED);
	assert_string_equal(seal.class, "rootfs");
	assert_true(digest_equal(&seal.artifact, &result.artifact));
	read_seal(path, 25 * MIB, &seal);
	assert_int_equal(seal.state, SEAL_NONE);
	assert_true(mem_is_zero(disk.data + 25 * MIB, 8 * MIB));
}

static void test_disk__has_both_partition_tables(void **state)
{
	static const uint8_t DISK_GUID[] = {0x52, 0x6a, 0x4f, 0x8f, 0x0b, 0x6d, 0x6e, 0x4f, 0x9a,
		0x57, 0x1b, 0x1f, 0x0c, 0x2d, 0x7e, 0x31};
	const char *path = scratch_path(*state, "disk.img");
	CLEANUP(bytes_finish) struct bytes disk = {0};

	(void)make_disk(path);
	disk = read_all(path);
	assert_memory_equal(disk.data + 512, "EFI PART", 8);
	assert_memory_equal(disk.data + disk.len - 512, "EFI PART", 8);
	assert_memory_equal(disk.data + 512 + 56, DISK_GUID, sizeof(DISK_GUID));
	/* The second entry: begins at 17 MiB, is called rootfs-a (UTF-16). */
	assert_true(le64_get(disk.data + 1024 + 128 + 32) == 17 * MIB / 512);
	assert_memory_equal(disk.data + 1024 + 128 + 56, "r\0o\0o\0t\0f\0s\0-\0a\0\0", 17);
}

static void assert_on_esp(const char *disk, const char *file, const char *text)
{
	char image[PATH_MAX], mtype[] = "/usr/bin/mtype", option[] = "-i", path[64];
	char *const argv[] = {mtype, option, image, path, NULL};
	struct process_result result = {0};
	struct err err = {0};

	(void)snprintf(image, sizeof(image), "%s@@%" PRIu64, disk, MIB);
	(void)snprintf(path, sizeof(path), "%s", file);
	assert_int_equal(process_run(argv, 20, &result, &err), 0);
	if (result.exit_status != 0 || !strstr(result.output, text))
		fail_msg("%s: %s", file, result.output);
}

static void test_disk__esp_boots_a_only(void **state)
{
	const char *path = scratch_path(*state, "disk.img");

	(void)make_disk(path);
	assert_on_esp(path, "::/grub/grub.cfg", "echo hello");
	assert_on_esp(path, "::/grub/site.cfg", "set x=y");
	assert_on_esp(path, "::/grub/grubenv", "ORDER=A\nA_OK=1\n");
	assert_on_esp(path, "::/grub/grubenv.spare", "ORDER=A\nA_OK=1\n");
	assert_on_esp(path, "::/EFI/BOOT/BOOTX64.EFI", "");
}

/* ---- again ---- */

static void test_disk__same_inputs_same_bytes(void **state)
{
	const char *one = scratch_path(*state, "one.img"), *two = scratch_path(*state, "two.img");

	(void)make_disk(one);
	sleep(1); /* a clock that got into the bytes would show */
	(void)make_disk(two);
	assert_same(one, two);
}

static void test_disk__second_run_writes_nothing(void **state)
{
	const char *path = scratch_path(*state, "disk.img");

	assert_true(make_disk(path).written > 3 * MIB);
	assert_true(make_disk(path).written == 0);
}

static void test_disk__used_disk_becomes_as_new_and_only_differences_are_written(void **state)
{
	const char *path = scratch_path(*state, "disk.img"), *new = scratch_path(*state, "new.img");
	struct blockdev *dev = NULL;
	struct err err = {0};

	(void)make_disk(new);
	(void)make_disk(path);
	assert_int_equal(blockdev_open(path, BLOCKDEV_WRITE, &dev, &err), 0);
	assert_int_equal(blockdev_pwrite(dev, "used", 4, 18 * MIB, &err), 0);
	assert_int_equal(blockdev_pwrite(dev, "used", 4, 40 * MIB, &err), 0);
	blockdev_close(&dev);
	/* Two blocks, and both tables' ends: taken away, and put back. */
	assert_true(make_disk(path).written == 6 * 4096);
	assert_same(path, new);
}

static void test_disk__block_device_with_old_content_gets_the_same_bytes(void **state)
{
	const char *file = scratch_path(*state, "disk.img");
	const char *old = scratch_file(*state, "old.img", DISK_SIZE);
	const char *loop = scratch_loop(*state, old);

	(void)make_disk(file);
	(void)make_disk(loop);
	assert_same(file, loop);
	assert_true(make_disk(loop).written == 0);
}

static void test_disk__larger_device_is_used_to_its_end(void **state)
{
	const char *loop = scratch_loop(*state, scratch_file(*state, "old.img", 56 * MIB));
	CLEANUP(bytes_finish) struct bytes disk = {0};

	assert_true(make_disk(loop).size == 56 * MIB);
	disk = read_device(loop);
	assert_memory_equal(disk.data + disk.len - 512, "EFI PART", 8);
	/* data, the fourth entry, ends where the last MiB begins. */
	assert_true(le64_get(disk.data + 1024 + 3 * 128 + 40) == 55 * MIB / 512 - 1);
}

/* ---- power cuts while a disk is made ---- */

#define CUT_SIZE  (12u * 4096u)
#define CUT_INNER (10u * 4096u) /* all but the first and the last block: what tables point to */

struct cut {
	uint8_t old[CUT_SIZE];
	uint8_t new[CUT_SIZE];
	size_t with_table;
};

/* The table's headers are in the second sector and in the last one. */
static void check_cut(struct recorder *after, const char *what, void *arg)
{
	struct cut *cut = arg;
	const uint8_t *disk = recorder_content(after, 1);
	struct blockdev *image = NULL, *target = NULL;
	struct err err = {0};
	uint64_t written;

	if (!mem_is_zero(disk + 512, 512) || !mem_is_zero(disk + CUT_SIZE - 512, 512)) {
		cut->with_table++;
		if (memcmp(disk + 4096, cut->old + 4096, CUT_INNER) != 0 &&
			memcmp(disk + 4096, cut->new + 4096, CUT_INNER) != 0)
			fail_msg("%s: a table points to half of each", what);
	}
	image = recorder_open(after, 0);
	target = recorder_open(after, 1);
	assert_int_equal(converge_devices(image, target, NULL, &written, &err), 0);
	blockdev_close(&image);
	blockdev_close(&target);
	assert_memory_equal(recorder_content(after, 1), cut->new, CUT_SIZE);
}

static void test_converge__cut_anywhere_a_table_points_to_a_whole_disk(void **state)
{
	static struct cut cut;
	const struct recorder_limits limits = {.seed = 1, .shuffles = 50, .tears = 8};
	struct recorder *rec = recorder_new();
	struct blockdev *image, *target;
	struct err err = {0};
	uint64_t written;
	size_t states;

	(void)state;
	memset(cut.old, 'o', sizeof(cut.old));
	memset(cut.new, 'n', sizeof(cut.new));
	memset(cut.new + 5 * 4096, 'o', 4096); /* one block is right already */
	(void)recorder_add(rec, "image", CUT_SIZE, cut.new, false);
	(void)recorder_add(rec, "target", CUT_SIZE, cut.old, false);
	image = recorder_open(rec, 0);
	target = recorder_open(rec, 1);
	assert_int_equal(converge_devices(image, target, NULL, &written, &err), 0);
	assert_true(written == (9 + 2 + 2) * 4096);
	blockdev_close(&image);
	blockdev_close(&target);
	states = recorder_crashes(rec, &limits, check_cut, &cut);
	recorder_free(&rec);
	assert_true(states > 100 && cut.with_table > 10 && cut.with_table < states);
}

/* ---- refused ---- */

static void assert_refused(const char *target, const char *layout, const char *bundle,
	enum err_code code, const char *said)
{
	struct disk_result result = {0};
	struct err err = {0};

	assert_int_equal(try_disk(target, layout, bundle, &result, &err), -1);
	if (err.code != code || !strstr(err.msg, said))
		fail_msg("expected '%s', code %d said: %s", said, err.code, err.msg);
}

static void test_disk__tampered_bundle_makes_no_file(void **state)
{
	const char *path = scratch_path(*state, "disk.img");
	CLEANUP(bytes_finish) struct bytes bundle = read_all(bundles_path(&b, "os.abide"));
	struct err err = {0};

	bundle.data[bundle.len - 1024 * 100] ^= 1; /* in the image's data */
	assert_int_equal(fs_replace_file(bundles_path(&b, "tampered.abide"), bundle.data,
				 bundle.len, 0600, &err),
		0);
	assert_refused(path, "layout.ini", "tampered.abide", FAIL_UNTRUSTED, "tampered.abide");
	assert_int_equal(access(path, F_OK), -1);
}

static void test_disk__stranger_is_not_trusted(void **state)
{
	struct bundles stranger;
	const char *path = scratch_path(*state, "disk.img");
	struct disk_result result = {0};
	struct err err = {0};
	struct disk_options options = {
		.target = path,
		.layout = bundles_path(&b, "layout.ini"),
		.bundle = bundles_path(&b, "os.abide"),
	};

	bundles_init(&stranger, PKI_ECDSA);
	options.trust = stranger.root;
	assert_int_equal(disk_make(&options, &result, &err), -1);
	bundles_finish(&stranger);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_int_equal(access(path, F_OK), -1);
}

static void test_disk__slot_too_small_says_by_how_much(void **state)
{
	/* 3 MiB of image, its header and two seal blocks in 3 MiB. */
	assert_refused(scratch_path(*state, "disk.img"), "small.ini", "os.abide", FAIL_SPACE,
		"partition 'rootfs-a' has 3145728 bytes");
}

static void test_disk__class_without_slot_or_image_is_named(void **state)
{
	const char *path = scratch_path(*state, "disk.img");

	put("app.ini", LAYOUT("8M") "[partition x]\ntype = data\nsize = 1M\n");
	assert_refused(path, "app.ini", "os.abide", FAIL_USAGE, "for the last partition");
	put("app.ini", "[disk]\nsize = 48M\nuuid = 8f4f6a52-6d0b-4f6e-9a57-1b1f0c2d7e31\n"
		       "[grub]\nconfig = grub.cfg\n[partition esp]\ntype = esp\nsize = 16M\n"
		       "[partition app-a]\ntype = slot\nclass = app\ngroup = a\nsize = 8M\n"
		       "[partition app-b]\ntype = slot\nclass = app\ngroup = b\nsize = 8M\n");
	assert_refused(path, "app.ini", "os.abide", FAIL_USAGE, "no slot for the image 'rootfs'");
}

static void test_disk__device_too_small_says_by_how_much(void **state)
{
	const char *loop = scratch_loop(*state, scratch_file(*state, "old.img", 47 * MIB));
	CLEANUP(bytes_finish) struct bytes before = read_device(loop);
	CLEANUP(bytes_finish) struct bytes after = {0};

	assert_refused(loop, "layout.ini", "os.abide", FAIL_SPACE, "too small by 1048576");
	after = read_device(loop);
	assert_memory_equal(before.data, after.data, before.len);
}

static void test_disk__mounted_partition_is_refused(void **state)
{
	const char *old = scratch_path(*state, "old.img");
	const char *at = scratch_path(*state, "mnt");
	const char *loop;
	CLEANUP(bytes_finish) struct bytes before = {0};
	CLEANUP(bytes_finish) struct bytes after = {0};
	const char *const mkfs[] = {"mke2fs", "-q", "-F", old, NULL};
	struct err err = {0};

	scratch_file(*state, "old.img", DISK_SIZE);
	assert_int_equal(tool_run(mkfs, 1, &err), 0);
	loop = scratch_loop(*state, old);
	assert_int_equal(mkdir(at, 0700), 0);
	if (mount(loop, at, "ext2", MS_RDONLY, NULL) < 0)
		skip();
	before = read_device(loop);
	assert_refused(loop, "layout.ini", "os.abide", FAIL_STATE, "mounted or in use");
	after = read_device(loop);
	assert_int_equal(umount(at), 0);
	assert_memory_equal(before.data, after.data, before.len);
}

static void test_disk__larger_file_may_be_something_else(void **state)
{
	const char *path = scratch_file(*state, "precious", 49 * MIB);

	assert_refused(path, "layout.ini", "os.abide", FAIL_REFUSED, "remove it");
	assert_refused("/dev/null", "layout.ini", "os.abide", FAIL_USAGE, "neither");
}

static void test_disk__missing_grub_cfg_is_named(void **state)
{
	put("nogrub.ini",
		"[disk]\nsize = 48M\nuuid = 8f4f6a52-6d0b-4f6e-9a57-1b1f0c2d7e31\n"
		"[grub]\nconfig = missing.cfg\n[partition esp]\ntype = esp\nsize = 16M\n"
		"[partition rootfs-a]\ntype = slot\nclass = rootfs\ngroup = a\nsize = 8M\n"
		"[partition rootfs-b]\ntype = slot\nclass = rootfs\ngroup = b\nsize = 8M\n");
	assert_refused(
		scratch_path(*state, "disk.img"), "nogrub.ini", "os.abide", FAIL_IO, "missing.cfg");
}

static void test_tool__missing_program_and_failure_are_named(void **state)
{
	const char *const missing[] = {"no-such-program", NULL};
	const char *const fails[] = {"mmd", "-i", "/nonexistent", "::/x", NULL};
	struct err err = {0};

	(void)state;
	assert_int_equal(tool_run(missing, 1, &err), -1);
	assert_non_null(strstr(err.msg, "'no-such-program' is not installed"));
	assert_int_equal(tool_run(fails, 1, &err), -1);
	assert_non_null(strstr(err.msg, "'mmd' failed"));
}

/* Nothing of the scratch disk is left, whatever happened. Last. */
static void test_disk__leaves_no_scratch_files(void **state)
{
	char ls[] = "/bin/ls", path[PATH_MAX];
	char *const argv[] = {ls, path, NULL};
	struct process_result result = {0};
	struct err err = {0};

	(void)state;
	(void)snprintf(path, sizeof(path), "%s", b.dir);
	assert_int_equal(process_run(argv, 20, &result, &err), 0);
	assert_null(strstr(result.output, "abide-disk"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_disk__group_a_is_sealed_and_b_is_nothing),
		TEST(test_disk__has_both_partition_tables),
		TEST(test_disk__esp_boots_a_only),
		TEST(test_disk__same_inputs_same_bytes),
		TEST(test_disk__second_run_writes_nothing),
		TEST(test_disk__used_disk_becomes_as_new_and_only_differences_are_written),
		TEST(test_disk__block_device_with_old_content_gets_the_same_bytes),
		TEST(test_disk__larger_device_is_used_to_its_end),
		TEST(test_converge__cut_anywhere_a_table_points_to_a_whole_disk),
		TEST(test_disk__tampered_bundle_makes_no_file),
		TEST(test_disk__stranger_is_not_trusted),
		TEST(test_disk__slot_too_small_says_by_how_much),
		TEST(test_disk__class_without_slot_or_image_is_named),
		TEST(test_disk__device_too_small_says_by_how_much),
		TEST(test_disk__mounted_partition_is_refused),
		TEST(test_disk__larger_file_may_be_something_else),
		TEST(test_disk__missing_grub_cfg_is_named),
		TEST(test_tool__missing_program_and_failure_are_named),
		TEST(test_disk__leaves_no_scratch_files),
	};

	return cmocka_run_group_tests_name("disk", tests, setup, teardown);
}
