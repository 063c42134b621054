#include "updater/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

#define HOLDER_MAX 200u

/* Who holds it, as the sentence that goes into the next caller's message. */
static void write_holder(int fd, const char *what)
{
	time_t now = time(NULL);
	struct tm tm = {0};
	char since[32] = "";
	char text[HOLDER_MAX];
	int len;

	if (gmtime_r(&now, &tm))
		(void)strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	len = snprintf(
		text, sizeof(text), "'%s' runs as process %d since %s", what, (int)getpid(), since);
	/* The lock is the flock; without the text a message is poorer, nothing else. */
	if (ftruncate(fd, 0) == 0 && len > 0 && len < (int)sizeof(text))
		(void)!pwrite(fd, text, (size_t)len, 0);
}

static int err_busy(int fd, const char *path, struct err *err)
{
	char text[HOLDER_MAX], holder[HOLDER_MAX + 1];
	ssize_t len = pread(fd, text, sizeof(text), 0);

	if (len <= 0)
		return err_set(err, FAIL_STATE, "busy: another process holds '%s'", path);
	mem_printable(text, (size_t)len, holder, sizeof(holder));
	return err_set(err, FAIL_STATE, "busy: %s", holder);
}

int lock_take(const char *run_dir, const char *what, struct lock *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char path[PATH_MAX];

	/* 0600: who may open the file may hold it. */
	if (fs_join(run_dir, "lock", path, sizeof(path), err) < 0 ||
		fs_make_dirs(run_dir, 0755, err) < 0 ||
		fs_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, &fd, err) < 0)
		return err_wrap(err, "lock");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return err_busy(fd, path, err);
		return err_errno(err, "lock '%s'", path);
	}
	write_holder(fd, what);
	ret->fd = fd;
	fd = -1;
	return 0;
}

void lock_release(struct lock *lock)
{
	if (!lock || lock->fd < 0)
		return;
	(void)!ftruncate(lock->fd, 0); /* else the text of the past is read as the present's */
	(void)close(lock->fd);
	lock->fd = -1;
}
