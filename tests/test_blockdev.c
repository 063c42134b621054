/* blockdev: plain files and loop devices, through the page cache and past it, claimed and mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "updater/blockdev.h"
#include "updater/mem.h"

#define SIZE (16u * MEM_BLOCK)

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at + at / 512); /* as scratch_file() */
}

/* Reads, writes, reads back, and finds the write through the page cache of another descriptor. */
static void check_round_trip(const char *path, const char *seen_through, unsigned int flags)
{
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	CLEANUP(cleanup_free) void *p = NULL;
	CLEANUP(cleanup_fd) int fd = -1;
	uint8_t found[MEM_BLOCK];
	struct err err;
	uint8_t *buf;

	assert_int_equal(mem_alloc_aligned(2 * MEM_BLOCK, &p, &err), 0);
	buf = p;
	assert_int_equal(blockdev_open(path, BLOCKDEV_WRITE | flags, &dev, &err), 0);
	assert_true(dev->size == SIZE);
	assert_string_equal(dev->name, path);
	assert_int_equal(blockdev_pread(dev, buf, 2 * MEM_BLOCK, MEM_BLOCK, &err), 0);
	for (size_t i = 0; i < sizeof(found); i++)
		assert_int_equal(buf[i], pattern(MEM_BLOCK + i));

	memset(buf, 0xa5, MEM_BLOCK);
	assert_int_equal(blockdev_pwrite(dev, buf, MEM_BLOCK, SIZE - MEM_BLOCK, &err), 0);
	assert_int_equal(blockdev_flush(dev, &err), 0);
	memset(buf, 0, MEM_BLOCK);
	assert_int_equal(blockdev_pread(dev, buf, MEM_BLOCK, SIZE - MEM_BLOCK, &err), 0);
	assert_int_equal(buf[0], 0xa5);
	fd = open(seen_through, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, found, sizeof(found), SIZE - MEM_BLOCK), MEM_BLOCK);
	assert_memory_equal(found, buf, sizeof(found));
}

static void test_blockdev__plain_file(void **state)
{
	const char *path = scratch_file(*state, "disk", SIZE);

	check_round_trip(path, path, 0);
	check_round_trip(path, path, BLOCKDEV_DIRECT | BLOCKDEV_EXCLUSIVE);
}

static void test_blockdev__a_file_system_without_o_direct(void **state)
{
	char path[] = "/dev/shm/abide-test-XXXXXX"; /* tmpfs had none before Linux 6.6 */
	int fd = mkstemp(path);
	struct err err;
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	CLEANUP(cleanup_free) void *p = NULL;

	(void)state;
	if (fd < 0)
		skip();
	assert_int_equal(ftruncate(fd, SIZE + 100), 0);
	(void)close(fd);
	assert_int_equal(mem_alloc_aligned(MEM_BLOCK, &p, &err), 0);
	assert_int_equal(blockdev_open(path, BLOCKDEV_WRITE | BLOCKDEV_DIRECT, &dev, &err), 0);
	(void)unlink(path);
	assert_true(dev->size == SIZE);
	assert_int_equal(blockdev_pwrite(dev, p, MEM_BLOCK, 0, &err), 0);
	assert_int_equal(blockdev_flush(dev, &err), 0);
	assert_int_equal(blockdev_pread(dev, p, MEM_BLOCK, 0, &err), 0);
}

static void test_blockdev__loop_device_with_and_without_o_direct(void **state)
{
	const char *file = scratch_file(*state, "disk", SIZE);
	const char *loop = scratch_loop(*state, file);

	check_round_trip(loop, loop, 0);
	check_round_trip(loop, loop, BLOCKDEV_DIRECT);
	check_round_trip(loop, loop, BLOCKDEV_DIRECT | BLOCKDEV_EXCLUSIVE);
}

/* The point of BLOCKDEV_DIRECT: what the medium holds is read, not what the cache remembers. The
 * medium of a loop device changes beneath its cache when its file is written. */
static void test_blockdev__direct_reads_the_medium_not_the_cache(void **state)
{
	const char *file = scratch_file(*state, "disk", SIZE);
	const char *loop = scratch_loop(*state, file);
	CLEANUP(blockdev_close) struct blockdev *cached = NULL;
	CLEANUP(blockdev_close) struct blockdev *direct = NULL;
	CLEANUP(blockdev_close) struct blockdev *medium = NULL;
	CLEANUP(cleanup_free) void *p = NULL;
	struct err err;
	uint8_t *buf;

	assert_int_equal(mem_alloc_aligned(MEM_BLOCK, &p, &err), 0);
	buf = p;
	assert_int_equal(blockdev_open(loop, 0, &cached, &err), 0);
	assert_int_equal(blockdev_pread(cached, buf, MEM_BLOCK, 0, &err), 0);
	assert_int_equal(blockdev_open(file, BLOCKDEV_WRITE, &medium, &err), 0);
	memset(buf, 0x3c, MEM_BLOCK);
	assert_int_equal(blockdev_pwrite(medium, buf, MEM_BLOCK, 0, &err), 0);

	assert_int_equal(blockdev_pread(cached, buf, MEM_BLOCK, 0, &err), 0);
	assert_int_equal(buf[1], pattern(1)); /* so it would have been missed */
	assert_int_equal(blockdev_open(loop, BLOCKDEV_DIRECT, &direct, &err), 0);
	assert_int_equal(blockdev_pread(direct, buf, MEM_BLOCK, 0, &err), 0);
	assert_int_equal(buf[1], 0x3c);
}

static void test_blockdev__exclusive_is_exclusive(void **state)
{
	const char *loop = scratch_loop(*state, scratch_file(*state, "disk", SIZE));
	CLEANUP(blockdev_close) struct blockdev *first = NULL;
	CLEANUP(blockdev_close) struct blockdev *second = NULL;
	struct err err;

	assert_int_equal(blockdev_open(loop, BLOCKDEV_WRITE | BLOCKDEV_EXCLUSIVE, &first, &err), 0);
	assert_int_equal(
		blockdev_open(loop, BLOCKDEV_WRITE | BLOCKDEV_EXCLUSIVE, &second, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	assert_null(second);
	/* Reading beside it is fine. */
	assert_int_equal(blockdev_open(loop, 0, &second, &err), 0);
	blockdev_close(&first);
	assert_int_equal(blockdev_open(loop, BLOCKDEV_WRITE | BLOCKDEV_EXCLUSIVE, &first, &err), 0);
}

/* In a child with its own mounts, which go with it whatever happens. 0: as it should be. */
static int open_while_mounted(const char *loop, const char *dir)
{
	struct blockdev *dev = NULL;
	struct err err = {0};
	int result;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
		mount(loop, dir, "ext4", MS_RDONLY, NULL) < 0)
		return 77;
	result = blockdev_open(
		loop, BLOCKDEV_WRITE | BLOCKDEV_DIRECT | BLOCKDEV_EXCLUSIVE, &dev, &err);
	blockdev_close(&dev);
	(void)umount(dir);
	return result == -1 && err.code == FAIL_STATE && strstr(err.msg, "mounted") ? 0 : 1;
}

/* The child, when it must be replaced by another program. */
static int make_file_system(const char *path)
{
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		(void)execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", path, (char *)NULL);
		_exit(127);
	}
	return waitpid(child, &status, 0) == child ? status : -1;
}

static void test_blockdev__a_mounted_device_is_refused(void **state)
{
	const char *file = scratch_file(*state, "disk", 0);
	const char *dir = scratch_path(*state, "mnt");
	const char *loop;
	int status;
	pid_t child;

	assert_int_equal(truncate(file, 4 << 20), 0);
	if (make_file_system(file) != 0)
		skip();
	assert_int_equal(mkdir(dir, 0700), 0);
	loop = scratch_loop(*state, file);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(open_while_mounted(loop, dir));
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void test_blockdev__past_the_end_is_no_space(void **state)
{
	static const struct {
		uint64_t off;
		size_t len;
	} SPANS[] = {
		{SIZE, MEM_BLOCK},
		{SIZE - MEM_BLOCK, 2 * MEM_BLOCK},
		{UINT64_MAX - MEM_BLOCK + 1, MEM_BLOCK}, /* wraps to 0 */
		{UINT64_MAX, MEM_BLOCK},
		{0, SIZE_MAX},
	};
	const char *path = scratch_file(*state, "disk", SIZE);
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	uint8_t buf[MEM_BLOCK] = {0};
	struct stat st;
	struct err err;

	assert_int_equal(blockdev_open(path, BLOCKDEV_WRITE, &dev, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(SPANS); i++) {
		assert_int_equal(blockdev_pread(dev, buf, SPANS[i].len, SPANS[i].off, &err), -1);
		assert_int_equal(err.code, FAIL_SPACE);
		assert_int_equal(blockdev_pwrite(dev, buf, SPANS[i].len, SPANS[i].off, &err), -1);
		assert_int_equal(err.code, FAIL_SPACE);
		assert_non_null(strstr(err.msg, "go past its end at 65536"));
	}
	assert_int_equal(blockdev_pwrite(dev, buf, 0, SIZE, &err), 0); /* nothing, at the end */
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
}

static void test_blockdev__direct_size_is_whole_blocks(void **state)
{
	const char *path = scratch_file(*state, "disk", SIZE + 4095);
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	struct err err;

	assert_int_equal(blockdev_open(path, BLOCKDEV_DIRECT, &dev, &err), 0);
	assert_true(dev->size == SIZE);
	blockdev_close(&dev);
	assert_null(dev);
	assert_int_equal(blockdev_open(path, 0, &dev, &err), 0);
	assert_true(dev->size == SIZE + 4095);
}

/* A file that shrank after it was opened, as a device that went away would. */
static void test_blockdev__a_short_read_is_an_error(void **state)
{
	const char *path = scratch_file(*state, "disk", SIZE);
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	uint8_t buf[MEM_BLOCK];
	struct err err;

	assert_int_equal(blockdev_open(path, 0, &dev, &err), 0);
	assert_int_equal(truncate(path, 100), 0);
	assert_int_equal(blockdev_pread(dev, buf, sizeof(buf), 0, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "at 100: unexpected end"));
}

static void test_blockdev__read_only_is_read_only(void **state)
{
	const char *path = scratch_file(*state, "disk", SIZE);
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	struct err err;

	assert_int_equal(blockdev_open(path, 0, &dev, &err), 0);
	assert_int_equal(blockdev_pwrite(dev, "x", 1, 0, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
}

static void set_read_only(const char *loop, int on)
{
	CLEANUP(cleanup_fd) int fd = open(loop, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, BLKROSET, &on), 0);
}

static void test_blockdev__a_write_protected_device_is_refused_at_once(void **state)
{
	const char *loop = scratch_loop(*state, scratch_file(*state, "disk", SIZE));
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	struct err err;

	set_read_only(loop, 1);
	assert_int_equal(blockdev_open(loop, BLOCKDEV_WRITE, &dev, &err), -1);
	/* Newer kernels refuse in open(). */
	assert_true(err.code == FAIL_STATE || err.code == FAIL_IO);
	assert_int_equal(blockdev_open(loop, 0, &dev, &err), 0);
	set_read_only(loop, 0); /* the device would keep it for the next test */
}

/* Blocks 2 to 9, and only these, whether the device did it or said that it cannot. */
static bool check_zeroing(const char *path, unsigned int flags)
{
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	CLEANUP(cleanup_free) void *p = NULL;
	struct err err;
	uint8_t *buf;
	bool done = false;

	assert_int_equal(mem_alloc_aligned(SIZE, &p, &err), 0);
	buf = p;
	assert_int_equal(blockdev_open(path, BLOCKDEV_WRITE | flags, &dev, &err), 0);
	assert_int_equal(blockdev_zero(dev, 8 * MEM_BLOCK, 2 * MEM_BLOCK, &done, &err), 0);
	assert_int_equal(blockdev_flush(dev, &err), 0);
	assert_int_equal(blockdev_pread(dev, buf, SIZE, 0, &err), 0);
	for (size_t i = 0; i < SIZE; i++) {
		bool inside = i / MEM_BLOCK >= 2 && i / MEM_BLOCK < 10;

		assert_int_equal(buf[i], done && inside ? 0 : pattern(i));
	}
	assert_true(dev->size == SIZE);
	assert_int_equal(blockdev_zero(dev, 2 * MEM_BLOCK, SIZE - MEM_BLOCK, &done, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	return done;
}

static void test_blockdev__zeroes_what_it_is_told_to_and_no_more(void **state)
{
	static const unsigned int FLAGS[] = {0, BLOCKDEV_DIRECT};

	for (size_t i = 0; i < ARRAY_LEN(FLAGS); i++) {
		const char *file = scratch_file(*state, "disk", SIZE);

		assert_true(check_zeroing(file, FLAGS[i]));
		file = scratch_file(*state, "disk", SIZE);
		assert_true(check_zeroing(scratch_loop(*state, file), FLAGS[i]));
	}
}

static void test_blockdev__zeroing_what_is_not_open_for_writing_fails(void **state)
{
	const char *file = scratch_file(*state, "disk", SIZE);
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	struct err err;
	bool done = true;

	assert_int_equal(blockdev_open(file, 0, &dev, &err), 0);
	assert_int_equal(blockdev_zero(dev, MEM_BLOCK, 0, &done, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "zero '"));
	assert_false(done);
}

static void test_blockdev__refuses_what_is_no_device(void **state)
{
	const char *fifo = scratch_path(*state, "fifo");
	struct blockdev *dev = NULL;
	struct err err;

	assert_int_equal(blockdev_open(scratch_path(*state, "none"), 0, &dev, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "none': No such file"));
	assert_int_equal(blockdev_open(((struct scratch *)*state)->dir, 0, &dev, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_int_equal(blockdev_open("/dev/zero", 0, &dev, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	/* nobody writes to it: opening it would wait for ever */
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(blockdev_open(fifo, 0, &dev, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_null(dev);
	blockdev_close(&dev);
	blockdev_close(NULL);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(test_blockdev__plain_file),
		cmocka_unit_test(test_blockdev__a_file_system_without_o_direct),
		IN_SCRATCH(test_blockdev__loop_device_with_and_without_o_direct),
		IN_SCRATCH(test_blockdev__direct_reads_the_medium_not_the_cache),
		IN_SCRATCH(test_blockdev__exclusive_is_exclusive),
		IN_SCRATCH(test_blockdev__a_mounted_device_is_refused),
		IN_SCRATCH(test_blockdev__past_the_end_is_no_space),
		IN_SCRATCH(test_blockdev__direct_size_is_whole_blocks),
		IN_SCRATCH(test_blockdev__a_short_read_is_an_error),
		IN_SCRATCH(test_blockdev__read_only_is_read_only),
		IN_SCRATCH(test_blockdev__a_write_protected_device_is_refused_at_once),
		IN_SCRATCH(test_blockdev__zeroes_what_it_is_told_to_and_no_more),
		IN_SCRATCH(test_blockdev__zeroing_what_is_not_open_for_writing_fails),
		IN_SCRATCH(test_blockdev__refuses_what_is_no_device),
	};

	return cmocka_run_group_tests_name("blockdev", tests, NULL, NULL);
}
