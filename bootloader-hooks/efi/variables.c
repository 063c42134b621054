#include "bootloader-hooks/efi/variables.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "updater/fs.h"

#define ATTRIBUTES_LEN 4u
#define ATTRIBUTES     7u /* kept without power; for boot and run time */
#define VALUE_MAX      8192u

static int path_of(const char *directory, const char *name, const char *guid,
	char ret[static PATH_MAX], struct err *err)
{
	if (snprintf(ret, PATH_MAX, "%s/%s-%s", directory, name, guid) >= PATH_MAX)
		return err_set(err, FAIL_USAGE, "path '%.64s...' is too long", directory);
	return 0;
}

int variables_check(const char *directory, struct err *err)
{
	char path[PATH_MAX];

	if (path_of(directory, "BootCurrent", EFI_GLOBAL, path, err) < 0)
		return -1;
	if (access(path, F_OK) == 0)
		return 0;
	if (access(directory, F_OK) < 0)
		return err_errno(err,
			"'%s' (was this system started by UEFI, and is efivarfs mounted there?)",
			directory);
	return err_set(err, FAIL_BOOT,
		"'%s' has no BootCurrent: efivarfs is not mounted there, or the firmware does not "
		"say what it booted, and then nothing can be told",
		directory);
}

int variable_read(const char *directory, const char *name, const char *guid, bool *ret_there,
	struct bytes *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes file = {0};
	char path[PATH_MAX];

	if (path_of(directory, name, guid, path, err) < 0)
		return -1;
	*ret_there = access(path, F_OK) == 0 || errno != ENOENT;
	if (!*ret_there)
		return 0;
	if (fs_read_file(path, VALUE_MAX, &file, err) < 0)
		return -1;
	if (file.len < ATTRIBUTES_LEN)
		return err_set(err, FAIL_BOOT, "'%s' has %zu bytes, expected at least %u", path,
			file.len, ATTRIBUTES_LEN);
	return bytes_copy(file.data + ATTRIBUTES_LEN, file.len - ATTRIBUTES_LEN, ret, err);
}

/* A variable that cannot be told to be mutable is tried all the same: a file system without the flag
 * needs none. */
static int make_mutable(const char *path, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	long flags = 0;

	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || !(flags & FS_IMMUTABLE_FL))
		return 0;
	flags &= ~(long)FS_IMMUTABLE_FL;
	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0)
		return err_errno(err, "'%s' is immutable, and stays so", path);
	return 0;
}

static int open_mutable(const char *path, int *ret_fd, struct err *err)
{
	if (make_mutable(path, err) < 0)
		return -1;
	if (fs_open(path, O_WRONLY | O_CREAT, 0644, ret_fd, err) == 0)
		return 0;
	if (errno == EROFS)
		return err_wrap(err, "efivarfs is mounted read-only (mount -o remount,rw)");
	return -1;
}

int variable_check_writable(
	const char *directory, const char *name, const char *guid, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char path[PATH_MAX];

	if (path_of(directory, name, guid, path, err) < 0)
		return -1;
	return access(path, F_OK) < 0 ? 0 : open_mutable(path, &fd, err);
}

static int check_written(const char *path, int fd, size_t len, struct err *err)
{
	struct stat st;

	/* A plain file may have been longer. A firmware has taken it as a whole. */
	if (fstat(fd, &st) == 0 && st.st_size > (off_t)len && ftruncate(fd, (off_t)len) < 0)
		return err_errno(err, "'%s'", path);
	if (fsync(fd) < 0 && errno != EINVAL) /* efivarfs has none and needs none */
		return err_errno(err, "fsync '%s'", path);
	return 0;
}

int variable_write(const char *directory, const char *name, const char *guid, const void *data,
	size_t len, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes old = {0};
	CLEANUP(cleanup_fd) int fd = -1;
	uint8_t raw[VALUE_MAX];
	char path[PATH_MAX];
	bool there;
	ssize_t n;

	if (len > sizeof(raw) - ATTRIBUTES_LEN)
		return err_set(err, FAIL_BOOT, "%s: %zu bytes are too many", name, len);
	if (path_of(directory, name, guid, path, err) < 0 ||
		variable_read(directory, name, guid, &there, &old, err) < 0)
		return -1;
	if (there && old.len == len && (len == 0 || memcmp(old.data, data, len) == 0))
		return 0;
	le32_put(raw, ATTRIBUTES);
	memcpy(raw + ATTRIBUTES_LEN, data, len);
	if (open_mutable(path, &fd, err) < 0)
		return -1;
	/* One call: each is a SetVariable of the firmware's, which is whole or not at all. */
	n = write(fd, raw, len + ATTRIBUTES_LEN);
	if (n < 0)
		return err_errno(err, "write '%s'", path);
	if ((size_t)n != len + ATTRIBUTES_LEN)
		return err_set(err, FAIL_IO, "write '%s': %zd of %zu bytes", path, n,
			len + ATTRIBUTES_LEN);
	return check_written(path, fd, len + ATTRIBUTES_LEN, err);
}

int variable_remove(const char *directory, const char *name, const char *guid, struct err *err)
{
	char path[PATH_MAX];

	if (path_of(directory, name, guid, path, err) < 0)
		return -1;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (make_mutable(path, err) < 0)
		return -1;
	if (unlink(path) < 0)
		return err_errno(err, "remove '%s'", path);
	return 0;
}
