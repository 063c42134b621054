#include "qemu/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

#define TEXT_MAX (1u << 20)

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int lines_init(struct lines *lines, const char *log, struct err *err)
{
	lines->log_fd = -1;
	for (size_t i = 0; i < LINE_COUNT; i++)
		lines->fd[i] = -1;
	for (size_t i = 0; i < LINE_COUNT; i++) {
		void *p = NULL;

		if (mem_alloc(TEXT_MAX + 1, &p, err) < 0)
			return -1;
		lines->text[i].data = p;
	}
	return fs_open(log, O_WRONLY | O_CREAT | O_APPEND, 0644, &lines->log_fd, err);
}

void lines_finish(struct lines *lines)
{
	for (size_t i = 0; i < LINE_COUNT; i++) {
		cleanup_fd(&lines->fd[i]);
		free(lines->text[i].data);
	}
	cleanup_fd(&lines->log_fd);
}

int lines_connect(struct lines *lines, int ret_theirs[static LINE_COUNT], struct err *err)
{
	for (size_t i = 0; i < LINE_COUNT; i++) {
		int pair[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
			return err_errno(err, "socketpair");
		lines->fd[i] = pair[0];
		ret_theirs[i] = pair[1];
	}
	return 0;
}

/* Zero bytes become '?': the text is searched as a string. */
static void text_add(struct text *text, const char *data, size_t len)
{
	if (text->len + len > TEXT_MAX) {
		size_t drop = text->len + len - TEXT_MAX;

		memmove(text->data, text->data + drop, text->len - drop);
		text->len -= drop;
		text->seen = text->seen > drop ? text->seen - drop : 0;
	}
	for (size_t i = 0; i < len; i++)
		text->data[text->len + i] = data[i] ? data[i] : '?';
	text->len += len;
	text->data[text->len] = '\0';
}

static void relay(struct lines *lines, const char *data, size_t len)
{
	const char *marker = memchr(data, LINES_MARKER, len);

	if (!lines->relaying || !lines->on_output)
		return;
	lines->on_output(lines->on_output_arg, data, marker ? (size_t)(marker - data) : len);
	if (marker)
		lines->relaying = false;
}

static int receive(struct lines *lines, enum line line, struct err *err)
{
	char buf[4096];
	ssize_t n = read(lines->fd[line], buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0)
		return err_set(err, FAIL_STATE, "the virtual device ended");
	if (line == LINE_CONSOLE &&
		fs_write_full(lines->log_fd, "console.log", buf, (size_t)n, err) < 0)
		return -1;
	if (line == LINE_CHANNEL)
		relay(lines, buf, (size_t)n);
	text_add(&lines->text[line], buf, (size_t)n);
	return 0;
}

static int pump(struct lines *lines, uint64_t deadline, struct err *err)
{
	uint64_t now = now_ms();
	struct pollfd fds[LINE_COUNT];

	if (now >= deadline)
		return err_set(err, FAIL_IO, "not in time");
	for (size_t i = 0; i < LINE_COUNT; i++)
		fds[i] = (struct pollfd){.fd = lines->fd[i], .events = POLLIN};
	if (poll(fds, LINE_COUNT, (int)(deadline - now)) < 0) {
		if (errno == EINTR)
			return 0;
		return err_errno(err, "poll");
	}
	for (size_t i = 0; i < LINE_COUNT; i++)
		if (fds[i].revents && receive(lines, (enum line)i, err) < 0)
			return -1;
	return 0;
}

int lines_send(struct lines *lines, enum line line, const char *text, struct err *err)
{
	return fs_write_full(lines->fd[line], "virtual device", text, strlen(text), err);
}

int lines_wait(struct lines *lines, enum line line, const char *wanted, unsigned int seconds,
	size_t *ret_at, struct err *err)
{
	uint64_t deadline = now_ms() + (uint64_t)seconds * 1000;
	struct text *text = &lines->text[line];
	const char *found;

	while (!(found = strstr(text->data + text->seen, wanted)))
		if (pump(lines, deadline, err) < 0)
			return -1;
	*ret_at = (size_t)(found - text->data);
	text->seen = *ret_at + strlen(wanted);
	return 0;
}

void lines_relay(struct lines *lines)
{
	lines_forget(lines, LINE_CHANNEL);
	lines->relaying = true;
}

void lines_forget(struct lines *lines, enum line line)
{
	struct text *text = &lines->text[line];

	text->len = 0;
	text->seen = 0;
	text->data[0] = '\0';
}
