#include "updater/blockdev.h"

#include <assert.h>
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
	bool block; /* a block device, not a plain file */
	bool direct; /* BLOCKDEV_DIRECT */
	bool drop_cache; /* the same where the file system has no O_DIRECT */
};

static struct file_dev *file_dev(struct blockdev *dev)
{
	return (struct file_dev *)dev;
}

/* O_DIRECT fails for what is not aligned; on a file system without it only this would notice. */
static void check_alignment(const struct file_dev *file, const void *buf, size_t len, uint64_t off)
{
	assert(!file->direct ||
		((uintptr_t)buf % MEM_BLOCK == 0 && len % MEM_BLOCK == 0 && off % MEM_BLOCK == 0));
	(void)file, (void)buf, (void)len, (void)off; /* with NDEBUG */
}

static int file_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	struct file_dev *file = file_dev(dev);
	size_t done = 0;

	check_alignment(file, buf, len, off);
	if (file->drop_cache) /* advice: what it cannot drop is read from memory */
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

	check_alignment(file, buf, len, off);
	while (done < len) {
		ssize_t n =
			pwrite(file->fd, (const char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "write '%s' at %" PRIu64, dev->name, off + done);
		if (n == 0)
			return err_set(err, FAIL_IO, "write '%s' at %" PRIu64 ": nothing written",
				dev->name, off + done);
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

/* How a span becomes zeros without being written. A plain file keeps its blocks where it can, so that
 * a later write does not run out of space. A block device knows one way that is never the kernel
 * writing zeros in our stead, which BLKZEROOUT would be: we do that beside other work. */
static int zero_mode(const struct file_dev *file, unsigned int attempt)
{
	static const int MODES[] = {FALLOC_FL_ZERO_RANGE, FALLOC_FL_PUNCH_HOLE};
	unsigned int i = attempt + (file->block ? 1 : 0);

	return i < ARRAY_LEN(MODES) ? MODES[i] | FALLOC_FL_KEEP_SIZE : 0;
}

static bool is_unsupported(int code)
{
	return code == EOPNOTSUPP || code == ENOSYS || code == EINVAL || code == ENODEV;
}

static int file_zero(
	struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err)
{
	struct file_dev *file = file_dev(dev);
	int mode;

	assert(len % MEM_BLOCK == 0 && off % MEM_BLOCK == 0);
	*ret_done = false;
	for (unsigned int i = 0; (mode = zero_mode(file, i)) != 0; i++) {
		int failed;

		do
			failed = fallocate(file->fd, mode, (off_t)off, (off_t)len);
		while (failed < 0 && errno == EINTR);
		*ret_done = failed == 0;
		if (*ret_done)
			break;
		if (!is_unsupported(errno))
			return err_errno(err, "zero '%s' at %" PRIu64, dev->name, off);
	}
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
	.zero = file_zero,
	.free = file_free,
};

static int check_kind(const struct file_dev *file, mode_t mode, struct err *err)
{
	if (S_ISREG(mode) || S_ISBLK(mode))
		return 0;
	return err_set(
		err, FAIL_USAGE, "'%s' is neither a block device nor a plain file", file->path);
}

/* A partition or a whole disk may be write-protected without open() telling. */
static int check_writable(const struct file_dev *file, struct err *err)
{
	int read_only = 0;

	if (ioctl(file->fd, BLKROGET, &read_only) < 0)
		return err_errno(err, "whether '%s' can be written", file->path);
	if (read_only)
		return err_set(err, FAIL_STATE,
			"open '%s' for writing: the device is set read-only (blockdev --setrw)",
			file->path);
	return 0;
}

static int measure(struct file_dev *file, unsigned int flags, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return err_errno(err, "stat '%s'", file->path);
	if (check_kind(file, st.st_mode, err) < 0)
		return -1;
	file->block = S_ISBLK(st.st_mode);
	if (!file->block)
		file->dev.size = (uint64_t)st.st_size;
	else if (ioctl(file->fd, BLKGETSIZE64, &file->dev.size) < 0)
		return err_errno(err, "size of '%s'", file->path);
	if (file->block && flags & BLOCKDEV_WRITE && check_writable(file, err) < 0)
		return -1;
	if (file->direct)
		file->dev.size &= ~(uint64_t)(MEM_BLOCK - 1);
	return 0;
}

static int open_fd(struct file_dev *file, unsigned int flags, struct err *err)
{
	int mode = (flags & BLOCKDEV_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC;
	struct stat st;

	/* Looked at before it is opened: opening a pipe would wait for its other end. */
	if (stat(file->path, &st) < 0)
		return err_errno(err, "open '%s'", file->path);
	if (check_kind(file, st.st_mode, err) < 0)
		return -1;
	/* O_EXCL on a block device is a claim: it fails while the device is mounted, and a mount
	 * fails while we hold it. On a plain file without O_CREAT it means nothing. */
	if (flags & BLOCKDEV_EXCLUSIVE && S_ISBLK(st.st_mode))
		mode |= O_EXCL;
	file->direct = flags & BLOCKDEV_DIRECT;
	file->fd = open(file->path, file->direct ? mode | O_DIRECT : mode);
	if (file->fd < 0 && file->direct && errno == EINVAL) {
		file->drop_cache = true;
		file->fd = open(file->path, mode);
	}
	if (file->fd < 0 && errno == EBUSY)
		return err_set(err, FAIL_STATE,
			"open '%s': it is mounted or in use; unmount it first", file->path);
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
	if (open_fd(file, flags, err) < 0 || measure(file, flags, err) < 0)
		return -1;
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
	const struct blockdev *dev, const char *verb, uint64_t len, uint64_t off, struct err *err)
{
	uint64_t end;

	if (__builtin_add_overflow(off, len, &end) || end > dev->size)
		return err_set(err, FAIL_SPACE,
			"%s '%s' at %" PRIu64 ": %" PRIu64 " bytes go past its end at %" PRIu64,
			verb, dev->name, off, len, dev->size);
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

int blockdev_zero(struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err)
{
	if (check_span(dev, "zero", len, off, err) < 0)
		return -1;
	*ret_done = false;
	return dev->ops->zero ? dev->ops->zero(dev, len, off, ret_done, err) : 0;
}
