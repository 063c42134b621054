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

static int too_long(const char *path, struct err *err)
{
	return err_set(err, FAIL_USAGE, "path '%s' is too long", path);
}

int fs_sync_parent(const char *path, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char dir[PATH_MAX];
	char *slash;

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return too_long(path, err);
	slash = strrchr(dir, '/');
	if (!slash)
		(void)snprintf(dir, sizeof(dir), ".");
	else if (slash == dir)
		slash[1] = '\0';
	else
		*slash = '\0';
	if (fs_open(dir, O_RDONLY | O_DIRECTORY, 0, &fd, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", dir);
	return 0;
}

static int write_and_sync(
	const char *path, const void *data, size_t len, mode_t mode, int *ret_fd, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;

	/* What a cut left, or somebody else put there (a link, other rights), is not written
	 * through.
	 */
	if (unlink(path) < 0 && errno != ENOENT)
		return err_errno(err, "remove '%s'", path);
	if (fs_open(path, O_WRONLY | O_CREAT | O_EXCL, mode, &fd, err) < 0 ||
		fs_write_full(fd, path, data, len, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", path);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int fs_replace_file(const char *path, const void *data, size_t len, mode_t mode, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char temporary[PATH_MAX];

	if (snprintf(temporary, sizeof(temporary), "%s.new", path) >= (int)sizeof(temporary))
		return too_long(path, err);
	/* A cut before the rename leaves the old file (and a .new that the next call removes).
	 */
	if (write_and_sync(temporary, data, len, mode, &fd, err) < 0) {
		(void)unlink(temporary); /* the write's error is the one to tell */
		return -1;
	}
	if (rename(temporary, path) < 0) {
		(void)err_errno(err, "rename '%s' to '%s'", temporary, path);
		(void)unlink(temporary);
		return -1;
	}
	/* On FAT a name and where its file lies are one record, which belongs to the file. Without
	 * this flush the next one could take the old name away while the new one has no content. */
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", path);
	/* A cut before this flush may still show the old file, whole. */
	return fs_sync_parent(path, err);
}

static int make_dir(const char *path, mode_t mode, struct err *err)
{
	struct stat st;
	int saved;

	if (mkdir(path, mode) == 0)
		/* A cut before this flush may lose the directory and all that is put into it. */
		return fs_sync_parent(path, err);
	saved = errno;
	/* Not only after EEXIST: mkdir may say that the file system is read-only first. */
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	errno = saved;
	return err_errno(err, "mkdir '%s'", path);
}

int fs_make_dirs(const char *path, mode_t mode, struct err *err)
{
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return too_long(path, err);
	for (char *slash = strchr(dir, '/'); slash; slash = strchr(slash + 1, '/')) {
		if (slash == dir || slash[-1] == '/')
			continue;
		*slash = '\0';
		if (make_dir(dir, mode, err) < 0)
			return -1;
		*slash = '/';
	}
	return make_dir(dir, mode, err);
}

int fs_join(const char *dir, const char *name, char *ret, size_t cap, struct err *err)
{
	if (snprintf(ret, cap, "%s/%s", dir, name) >= (int)cap)
		return err_set(err, FAIL_USAGE, "path '%s/%s' is too long", dir, name);
	return 0;
}
