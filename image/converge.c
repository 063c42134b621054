#include "image/converge.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "updater/blockdev.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define BUFFER 1048576u
#define BLOCK  4096u /* what is compared and written as one */

struct converge {
	struct blockdev *image; /* borrowed */
	struct blockdev *target; /* borrowed */
	const volatile sig_atomic_t *interrupted; /* or NULL */
	uint8_t *wanted; /* BUFFER bytes */
	uint8_t *found; /* BUFFER bytes */
	bool begun; /* the partition table is away */
	uint64_t written;
};

static void converge_finish(struct converge *c)
{
	free(c->wanted);
	free(c->found);
}

/* ---- the target ---- */

static int measure_device(const char *path, uint64_t *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	int sector = 0;

	if (fs_open(path, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	if (ioctl(fd, BLKGETSIZE64, ret) < 0 || ioctl(fd, BLKSSZGET, &sector) < 0)
		return err_errno(err, "size of '%s'", path);
	/* The partition table counts in sectors; libfdisk makes ours in a file, in 512s. */
	if (sector != 512)
		return err_set(err, FAIL_REFUSED,
			"'%s' has sectors of %d bytes, only 512 is supported", path, sector);
	return 0;
}

int converge_measure(const char *path, uint64_t size, uint64_t *ret_size, struct err *err)
{
	uint64_t there = 0;
	struct stat st;

	if (stat(path, &st) < 0) {
		if (errno != ENOENT)
			return err_errno(err, "stat '%s'", path);
		*ret_size = size;
		return 0;
	}
	if (S_ISREG(st.st_mode)) {
		if ((uint64_t)st.st_size > size)
			return err_set(err, FAIL_REFUSED,
				"'%s' is a file of %" PRIu64 " bytes, the layout makes %" PRIu64
				": remove it, if it is an old image",
				path, (uint64_t)st.st_size, size);
		*ret_size = size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return err_set(
			err, FAIL_USAGE, "'%s' is neither a block device nor a plain file", path);
	if (measure_device(path, &there, err) < 0)
		return -1;
	if (there < size)
		return err_set(err, FAIL_SPACE,
			"'%s' has %" PRIu64 " bytes, the layout needs %" PRIu64
			": too small by %" PRIu64,
			path, there, size, size - there);
	*ret_size = there;
	return 0;
}

static int make_file(const char *path, uint64_t size, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	struct stat st;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return 0;
	if (fs_open(path, O_RDWR | O_CREAT, 0644, &fd, err) < 0)
		return -1;
	if (ftruncate(fd, (off_t)size) < 0)
		return err_errno(err, "make '%s' %" PRIu64 " bytes long", path, size);
	return 0;
}

/* The kernel's own view of a device's partitions; best effort: they show after a replug, too. */
static void reread_partitions(const char *path)
{
	CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)ioctl(fd, BLKRRPART);
}

/* ---- comparing and writing ---- */

static int put(struct converge *c, const void *data, size_t len, uint64_t off, struct err *err)
{
	c->written += len;
	return blockdev_pwrite(c->target, data, len, off, err);
}

/* The last block holds the second table's header. */
static uint64_t last_block(const struct converge *c)
{
	return (c->target->size - 1) & ~(uint64_t)(BLOCK - 1);
}

/* Durable before anything else changes. A cut after this: a disk without a table. */
static int begin(struct converge *c, struct err *err)
{
	static const uint8_t NOTHING[BLOCK];

	if (c->begun)
		return 0;
	c->begun = true;
	if (put(c, NOTHING, BLOCK, 0, err) < 0 ||
		put(c, NOTHING, (size_t)(c->target->size - last_block(c)), last_block(c), err) < 0)
		return -1;
	return blockdev_flush(c->target, err);
}

/* Writes the blocks of a buffer that differ, neighbours in one go. */
static int write_differences(struct converge *c, size_t len, uint64_t off, struct err *err)
{
	size_t from = 0;

	while (from < len) {
		size_t to = from;

		while (to < len) {
			size_t n = len - to < BLOCK ? len - to : BLOCK;

			if (memcmp(c->wanted + to, c->found + to, n) == 0)
				break;
			to += n;
		}
		if (to == from) {
			from += BLOCK;
			continue;
		}
		if (begin(c, err) < 0 || put(c, c->wanted + from, to - from, off + from, err) < 0)
			return -1;
		from = to;
	}
	return 0;
}

static int compare(struct converge *c, uint64_t from, uint64_t to, bool *ret_same, struct err *err)
{
	while (from < to) {
		size_t len = to - from < BUFFER ? (size_t)(to - from) : BUFFER;

		if (c->interrupted && *c->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "interrupted: '%s' is not complete",
				c->target->name);
		if (blockdev_pread(c->image, c->wanted, len, from, err) < 0 ||
			blockdev_pread(c->target, c->found, len, from, err) < 0)
			return -1;
		if (ret_same)
			*ret_same = *ret_same && memcmp(c->wanted, c->found, len) == 0;
		else if (write_differences(c, len, from, err) < 0)
			return -1;
		from += len;
	}
	return 0;
}

/* First and last block, if they are not right: after everything they point to is durable. The
 * second table first, so that the first one, which counts, is the last write of all. */
static int put_tables(struct converge *c, struct err *err)
{
	uint64_t last = last_block(c);
	size_t tail = (size_t)(c->target->size - last);
	bool same = true;

	if (compare(c, 0, BLOCK, &same, err) < 0 ||
		compare(c, last, c->target->size, &same, err) < 0)
		return -1;
	if (same)
		return 0;
	if (blockdev_pread(c->image, c->wanted, tail, last, err) < 0 ||
		put(c, c->wanted, tail, last, err) < 0 || blockdev_flush(c->target, err) < 0)
		return -1;
	if (blockdev_pread(c->image, c->wanted, BLOCK, 0, err) < 0 ||
		put(c, c->wanted, BLOCK, 0, err) < 0)
		return -1;
	return blockdev_flush(c->target, err);
}

int converge_devices(struct blockdev *image, struct blockdev *target,
	const volatile sig_atomic_t *interrupted, uint64_t *ret_written, struct err *err)
{
	CLEANUP(converge_finish)
	struct converge c = {.image = image, .target = target, .interrupted = interrupted};
	void *wanted = NULL, *found = NULL;

	if (target->size != image->size || image->size < (uint64_t)2 * BLOCK)
		return err_set(err, FAIL_STATE,
			"'%s' has %" PRIu64 " bytes now, the image %" PRIu64, target->name,
			target->size, image->size);
	if (mem_alloc_aligned(BUFFER, &wanted, err) < 0)
		return -1;
	c.wanted = wanted;
	if (mem_alloc_aligned(BUFFER, &found, err) < 0)
		return -1;
	c.found = found;
	/* The tables come back only after this flush: what they point to is durable. */
	if (compare(&c, BLOCK, last_block(&c), NULL, err) < 0 || blockdev_flush(target, err) < 0 ||
		put_tables(&c, err) < 0)
		return -1;
	*ret_written = c.written;
	return 0;
}

int converge_run(const char *path, const char *image, const volatile sig_atomic_t *interrupted,
	uint64_t *ret_written, struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *from = NULL;
	CLEANUP(blockdev_close) struct blockdev *to = NULL;

	if (blockdev_open(image, 0, &from, err) < 0 || make_file(path, from->size, err) < 0 ||
		blockdev_open(path, BLOCKDEV_WRITE | BLOCKDEV_EXCLUSIVE, &to, err) < 0 ||
		converge_devices(from, to, interrupted, ret_written, err) < 0)
		return -1;
	blockdev_close(&to);
	reread_partitions(path);
	return 0;
}
