#include "updater/blockdev.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

struct file_dev {
	struct blockdev dev;
	char *path;
	int fd;
	bool drop_cache; /* BLOCKDEV_DIRECT where the file system has no O_DIRECT */
};

static struct file_dev *file_dev(struct blockdev *dev)
{
	return (struct file_dev *)dev;
}

static int file_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	struct file_dev *file = file_dev(dev);
	size_t done = 0;

	if (file->drop_cache)
		(void)posix_fadvise(file->fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
	while (done < len) {
		ssize_t n = pread(file->fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read '%s' at %" PRIu64, dev->name, off + done);
		if (n == 0)
			return err_set(err, FAIL_IO, "read '%s' at %" PRIu64 ": unexpected end",
				dev->name, off + done);
		done += (size_t)n;
	}
	return 0;
}

static int file_pwrite(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	struct file_dev *file = file_dev(dev);
	size_t done = 0;

	while (done < len) {
		ssize_t n =
			pwrite(file->fd, (const char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "write '%s' at %" PRIu64, dev->name, off + done);
		done += (size_t)n;
	}
	return 0;
}

static int file_flush(struct blockdev *dev, struct err *err)
{
	if (fdatasync(file_dev(dev)->fd) < 0)
		return err_errno(err, "flush '%s'", dev->name);
	return 0;
}

static void file_free(struct blockdev *dev)
{
	struct file_dev *file = file_dev(dev);

	if (file->fd >= 0)
		(void)close(file->fd); /* writers have flushed; close adds no durability */
	free(file->path);
	free(file);
}

static const struct blockdev_ops FILE_OPS = {
	.pread = file_pread,
	.pwrite = file_pwrite,
	.flush = file_flush,
	.free = file_free,
};

static int measure(struct file_dev *file, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return err_errno(err, "stat '%s'", file->path);
	if (S_ISREG(st.st_mode)) {
		file->dev.size = (uint64_t)st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return err_set(err, FAIL_USAGE, "'%s' is neither a block device nor a plain file",
			file->path);
	if (ioctl(file->fd, BLKGETSIZE64, &file->dev.size) < 0)
		return err_errno(err, "size of '%s'", file->path);
	return 0;
}

static int open_fd(struct file_dev *file, unsigned int flags, struct err *err)
{
	int mode = flags & BLOCKDEV_WRITE ? O_RDWR : O_RDONLY;
	int extra = O_CLOEXEC;
	struct stat st;

	if (stat(file->path, &st) < 0)
		return err_errno(err, "open '%s'", file->path);
	/* O_EXCL on a block device is a claim: it fails while the device is mounted, and a mount
	 * fails while we hold it. On a plain file without O_CREAT it means nothing. */
	if (flags & BLOCKDEV_EXCLUSIVE && S_ISBLK(st.st_mode))
		extra |= O_EXCL;
	if (flags & BLOCKDEV_DIRECT) {
		file->fd = open(file->path, mode | extra | O_DIRECT);
		file->drop_cache = file->fd < 0 && errno == EINVAL;
	}
	if (!(flags & BLOCKDEV_DIRECT) || file->drop_cache)
		file->fd = open(file->path, mode | extra);
	if (file->fd < 0 && errno == EBUSY) {
		(void)err_errno(err, "open '%s'", file->path);
		return err_wrap_as(err, FAIL_STATE, "the device is mounted or in use");
	}
	if (file->fd < 0)
		return err_errno(err, "open '%s'", file->path);
	return 0;
}

int blockdev_open(const char *path, unsigned int flags, struct blockdev **ret, struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	struct file_dev *file;
	void *p = NULL;

	if (mem_alloc(sizeof(*file), &p, err) < 0)
		return -1;
	file = p;
	file->fd = -1;
	file->dev.ops = &FILE_OPS;
	dev = &file->dev;
	if (mem_strdup(path, &file->path, err) < 0)
		return -1;
	dev->name = file->path;
	if (open_fd(file, flags, err) < 0 || measure(file, err) < 0)
		return -1;
	if (flags & BLOCKDEV_DIRECT)
		dev->size &= ~(uint64_t)(MEM_BLOCK - 1);
	*ret = steal_ptr(&dev);
	return 0;
}

void blockdev_close(struct blockdev **dev)
{
	if (!dev || !*dev)
		return;
	(*dev)->ops->free(*dev);
	*dev = NULL;
}

static int check_span(
	const struct blockdev *dev, const char *verb, size_t len, uint64_t off, struct err *err)
{
	uint64_t end;

	if (__builtin_add_overflow(off, len, &end) || end > dev->size)
		return err_set(err, FAIL_SPACE,
			"%s '%s' at %" PRIu64 ": %zu bytes go past its end at %" PRIu64, verb,
			dev->name, off, len, dev->size);
	return 0;
}

int blockdev_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	if (check_span(dev, "read", len, off, err) < 0)
		return -1;
	return dev->ops->pread(dev, buf, len, off, err);
}

int blockdev_pwrite(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	if (check_span(dev, "write", len, off, err) < 0)
		return -1;
	return dev->ops->pwrite(dev, buf, len, off, err);
}

int blockdev_flush(struct blockdev *dev, struct err *err)
{
	return dev->ops->flush(dev, err);
}
