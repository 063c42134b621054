#include "updater/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fs_open(const char *path, int flags, mode_t mode, int *ret_fd, struct err *err)
{
	int fd = open(path, flags | O_CLOEXEC, mode);

	if (fd < 0)
		return err_errno(err, "open '%s'", path);
	*ret_fd = fd;
	return 0;
}

int fs_read_full(int fd, const char *what, void *buf, size_t len, size_t *ret_len, struct err *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = read(fd, (char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read '%s'", what);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*ret_len = done;
	return 0;
}

int fs_write_full(int fd, const char *what, const void *buf, size_t len, struct err *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "write '%s'", what);
		done += (size_t)n;
	}
	return 0;
}

int fs_read_file(const char *path, size_t limit, struct bytes *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	CLEANUP(bytes_finish) struct bytes file = {0};
	size_t cap = 4096;
	void *p = NULL;

	if (fs_open(path, O_RDONLY, 0, &fd, err) < 0 || mem_alloc(cap + 1, &p, err) < 0)
		return -1;
	file.data = p;
	for (;;) {
		size_t got;

		if (fs_read_full(fd, path, file.data + file.len, cap - file.len, &got, err) < 0)
			return -1;
		file.len += got;
		if (file.len > limit)
			return err_set(
				err, FAIL_SPACE, "'%s' is longer than %zu bytes", path, limit);
		if (file.len < cap)
			break;
		cap *= 2;
		p = realloc(file.data, cap + 1);
		if (!p)
			return err_memory(err);
		file.data = p;
	}
	file.data[file.len] = '\0';
	*ret = steal_bytes(&file);
	return 0;
}

int fs_sync_parent(const char *path, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char dir[PATH_MAX];
	char *slash;

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return err_set(err, FAIL_USAGE, "path '%s' is too long", path);
	slash = strrchr(dir, '/');
	if (!slash)
		(void)snprintf(dir, sizeof(dir), ".");
	else
		slash[slash == dir] = '\0';
	if (fs_open(dir, O_RDONLY | O_DIRECTORY, 0, &fd, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", dir);
	return 0;
}

static int write_and_sync(
	const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;

	if (fs_open(path, O_WRONLY | O_CREAT | O_TRUNC, mode, &fd, err) < 0 ||
		fs_write_full(fd, path, data, len, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", path);
	return 0;
}

int fs_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	char temporary[PATH_MAX];

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return err_set(err, FAIL_USAGE, "path '%s' is too long", path);
	/* A cut before the rename leaves the old file (and a .new that the next call overwrites).
	 */
	if (write_and_sync(temporary, data, len, mode, err) < 0) {
		(void)unlink(temporary); /* the write's error is the one to tell */
		return -1;
	}
	if (rename(temporary, path) < 0) {
		(void)err_errno(err, "rename '%s' to '%s'", temporary, path);
		(void)unlink(temporary);
		return -1;
	}
	/* A cut before this flush may still show the old file, whole. */
	return fs_sync_parent(path, err);
}

int fs_make_dirs(const char *path, mode_t mode, struct err *err)
{
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return err_set(err, FAIL_USAGE, "path '%s' is too long", path);
	for (char *p = dir + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(dir, mode) < 0 && errno != EEXIST)
			return err_errno(err, "mkdir '%s'", dir);
		*p = '/';
	}
	if (mkdir(dir, mode) < 0 && errno != EEXIST)
		return err_errno(err, "mkdir '%s'", dir);
	return 0;
}

int fs_join(const char *dir, const char *name, char *ret, size_t cap, struct err *err)
{
	if (snprintf(ret, cap, "%s/%s", dir, name) >= (int)cap)
		return err_set(err, FAIL_USAGE, "path '%s/%s' is too long", dir, name);
	return 0;
}
