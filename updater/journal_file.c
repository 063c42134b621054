#include "updater/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "updater/fs.h"

#define SCAN_LEN        4096u
#define LOCK_STEP_MS    20u
#define READ_LOCK_MS    1000u
#define READ_BUFFER_LEN 16384u

static int pread_full(
	int fd, const char *name, void *buf, size_t len, uint64_t off, struct err *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "read '%s'", name);
		if (n == 0)
			return err_set(err, FAIL_IO, "'%s' became shorter while being read", name);
		done += (size_t)n;
	}
	return 0;
}

/* The offset behind the last newline before `from`; 0 if there is none. */
static int find_line_start(int fd, const char *name, uint64_t from, uint64_t *ret, struct err *err)
{
	char block[SCAN_LEN];

	while (from > 0) {
		size_t len = from < sizeof(block) ? (size_t)from : sizeof(block);
		const char *newline;

		from -= len;
		if (pread_full(fd, name, block, len, from, err) < 0)
			return -1;
		newline = memrchr(block, '\n', len);
		if (newline) {
			*ret = from + (uint64_t)(newline - block) + 1;
			return 0;
		}
	}
	*ret = 0;
	return 0;
}

int journal_file_tail(int fd, const char *name, struct journal_tail *ret, struct err *err)
{
	struct stat st;
	uint64_t size, end, start = 0;
	size_t len;

	if (fstat(fd, &st) < 0)
		return err_errno(err, "stat '%s'", name);
	size = (uint64_t)st.st_size;
	if (find_line_start(fd, name, size, &end, err) < 0)
		return -1;
	if (end > 0 && find_line_start(fd, name, end - 1, &start, err) < 0)
		return -1;
	if (end - start > sizeof(ret->line))
		start = end - sizeof(ret->line);
	len = (size_t)(end - start);
	if (pread_full(fd, name, ret->line, len, start, err) < 0)
		return -1;
	ret->end = end;
	ret->torn = size - end;
	ret->len = len;
	return 0;
}

int journal_file_lock(
	int fd, const char *name, int operation, unsigned int milliseconds, struct err *err)
{
	const struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000L};
	unsigned int waited = 0;

	/* Never without a limit: a stopped reader must not stop a confirm. */
	while (flock(fd, operation | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(err, "lock '%s'", name);
		if (waited >= milliseconds)
			return err_set(err, FAIL_STATE, "'%s' was locked for more than %u ms", name,
				milliseconds);
		(void)nanosleep(&step, NULL); /* cut short: one more try */
		waited += LOCK_STEP_MS;
	}
	return 0;
}

struct journal_lines {
	int fd; /* -1: there is no file */
	char name[PATH_MAX];
	uint64_t number;
	size_t used; /* bytes of buf taken already */
	size_t filled; /* bytes of buf that are the file's */
	char buf[READ_BUFFER_LEN];
};

int journal_lines_open(const char *state_dir, struct journal_lines **ret, struct err *err)
{
	struct journal_lines *lines;
	void *p = NULL;

	if (mem_alloc(sizeof(*lines), &p, err) < 0)
		return -1;
	lines = p;
	lines->fd = -1;
	if (fs_join(state_dir, JOURNAL_FILE_NAME, lines->name, sizeof(lines->name), err) < 0) {
		journal_lines_close(&lines);
		return -1;
	}
	lines->fd = open(lines->name, O_RDONLY | O_CLOEXEC);
	if (lines->fd < 0 && errno != ENOENT && errno != ENOTDIR) {
		(void)err_errno(err, "open '%s'", lines->name);
		journal_lines_close(&lines);
		return -1;
	}
	*ret = lines;
	return 0;
}

void journal_lines_settle(struct journal_lines *lines)
{
	struct err ignored; /* without the lock a half-written line may be seen, and says so */

	if (lines->fd >= 0)
		(void)journal_file_lock(lines->fd, lines->name, LOCK_SH, READ_LOCK_MS, &ignored);
}

void journal_lines_close(struct journal_lines **lines)
{
	if (!*lines)
		return;
	cleanup_fd(&(*lines)->fd);
	free(*lines);
	*lines = NULL;
}

/* 1: there are bytes in the buffer; 0: the file ended. */
static int fill(struct journal_lines *lines, struct err *err)
{
	ssize_t n;

	if (lines->used < lines->filled)
		return 1;
	if (lines->fd < 0)
		return 0;
	do
		n = read(lines->fd, lines->buf, sizeof(lines->buf));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(err, "read '%s'", lines->name);
	lines->used = 0;
	lines->filled = (size_t)n;
	return n > 0;
}

/* Puts a piece of a line behind what `line` has, as far as it fits. */
static void add(struct journal_line *line, const char *piece, size_t len)
{
	size_t room = JOURNAL_LINE_MAX - line->len;

	if (len > room) {
		line->too_long = true;
		len = room;
	}
	memcpy(line->text + line->len, piece, len);
	line->len += len;
}

int journal_lines_next(struct journal_lines *lines, struct journal_line *ret, struct err *err)
{
	int more = fill(lines, err);

	if (more <= 0)
		return more;
	ret->number = ++lines->number;
	ret->len = 0;
	ret->ended = ret->too_long = false;
	while (more > 0 && !ret->ended) {
		const char *piece = lines->buf + lines->used;
		size_t len = lines->filled - lines->used;
		const char *newline = memchr(piece, '\n', len);

		ret->ended = newline != NULL;
		if (newline)
			len = (size_t)(newline - piece);
		add(ret, piece, len);
		lines->used += len + ret->ended;
		if (!ret->ended)
			more = fill(lines, err);
	}
	if (more < 0)
		return -1;
	ret->text[ret->len] = ret->ended ? '\n' : '\0';
	ret->text[ret->len + 1] = '\0';
	return 1;
}
