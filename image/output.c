#include "image/output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

static int parent_of(const char *path, char ret[static PATH_MAX], struct err *err)
{
	char *slash;

	if (snprintf(ret, PATH_MAX, "%s", path) >= PATH_MAX)
		return err_set(err, FAIL_USAGE, "path '%s' is too long", path);
	slash = strrchr(ret, '/');
	if (!slash)
		(void)snprintf(ret, PATH_MAX, "."); /* fits */
	else
		slash[slash == ret] = '\0';
	return 0;
}

/* Renaming over /dev/null or a directory is never what was meant. */
static int resolve(const char *path, char ret[static PATH_MAX], struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0 && errno == ENOENT) {
		if (snprintf(ret, PATH_MAX, "%s", path) >= PATH_MAX)
			return err_set(err, FAIL_USAGE, "path '%s' is too long", path);
		return 0;
	}
	if (!realpath(path, ret))
		return err_errno(err, "open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, FAIL_USAGE, "'%s' is there and is not a plain file", path);
	return 0;
}

/* Giving a nameless file a name goes through /proc. */
static bool can_name_later(void)
{
	return access("/proc/self/fd", X_OK) == 0;
}

static int open_named(const char *dir, mode_t mode, struct output *output, struct err *err)
{
	mode_t mask;

	if (asprintf(&output->temporary, "%s.XXXXXX", output->path) < 0) {
		output->temporary = NULL;
		return err_memory(err);
	}
	output->fd = mkostemp(output->temporary, O_CLOEXEC);
	if (output->fd < 0) {
		(void)err_errno(err, "create a file in '%s'", dir);
		free(steal_ptr(&output->temporary)); /* not ours to unlink */
		return -1;
	}
	mask = umask(0); /* reading it means setting it */
	(void)umask(mask);
	if (fchmod(output->fd, mode & ~mask) < 0)
		return err_errno(err, "chmod '%s'", output->temporary);
	return 0;
}

int output_open(const char *path, mode_t mode, struct output *ret, struct err *err)
{
	CLEANUP(output_finish) struct output output = OUTPUT_NONE;
	char resolved[PATH_MAX];
	char dir[PATH_MAX];

	if (resolve(path, resolved, err) < 0 || parent_of(resolved, dir, err) < 0 ||
		mem_strdup(resolved, &output.path, err) < 0)
		return -1;
	if (can_name_later())
		output.fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (output.fd < 0 && open_named(dir, mode, &output, err) < 0)
		return -1;
	*ret = output;
	output = OUTPUT_NONE;
	return 0;
}

static int give_name(struct output *output, struct err *err)
{
	char from[64];

	if (asprintf(&output->temporary, "%s.%ld.new", output->path, (long)getpid()) < 0) {
		output->temporary = NULL;
		return err_memory(err);
	}
	(void)snprintf(from, sizeof(from), "/proc/self/fd/%d", output->fd); /* fits */
	if (linkat(AT_FDCWD, from, AT_FDCWD, output->temporary, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	(void)err_errno(err, "create '%s'", output->temporary);
	free(steal_ptr(&output->temporary));
	return -1;
}

int output_commit(struct output *output, struct err *err)
{
	/* The bytes are on the disk before any name leads to them: a cut here leaves the old file.
	 */
	if (fsync(output->fd) < 0)
		return err_errno(err, "fsync '%s'", output->path);
	if (!output->temporary && give_name(output, err) < 0)
		return -1;
	/* From here to the rename a cut can leave a whole, unused file under the temporary name. */
	if (rename(output->temporary, output->path) < 0)
		return err_errno(err, "rename '%s' to '%s'", output->temporary, output->path);
	free(steal_ptr(&output->temporary));
	return fs_sync_parent(output->path, err);
}

void output_finish(struct output *output)
{
	if (!output)
		return;
	if (output->temporary)
		(void)unlink(output->temporary); /* not committed; nobody else knows it */
	free(output->temporary);
	free(output->path);
	cleanup_fd(&output->fd);
	*output = OUTPUT_NONE;
}

int output_spool(const char *beside, int *ret_fd, struct err *err)
{
	CLEANUP(output_finish) struct output spool = OUTPUT_NONE;

	if (output_open(beside, 0600, &spool, err) < 0)
		return -1;
	*ret_fd = spool.fd;
	spool.fd = -1; /* finish takes away the name, if it has one; the file lives on in the fd */
	return 0;
}
