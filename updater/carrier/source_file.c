/* source_file - bundle bytes from a descriptor: a regular file, a block device, a pipe. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "updater/carrier/source.h"

struct source_file {
	struct source base;
	int fd;
	int64_t end; /* where a seekable one ends; -1: a pipe */
	int64_t at;
	struct source_options options;
	char name[512];
};

/* A pipe may stay silent for ever; a file cannot, and poll says so at once. */
static int wait_for_bytes(struct source_file *file, struct err *err)
{
	struct pollfd fd = {.fd = file->fd, .events = POLLIN};
	unsigned int seconds = file->options.stall_timeout;

	for (;;) {
		int n = poll(&fd, 1, (int)(seconds > 86400 ? 86400 : seconds) * 1000);

		if (n > 0)
			return 0;
		if (n == 0)
			return err_set(err, FAIL_IO, "read '%s': not a byte for %u seconds",
				file->base.name, seconds);
		if (errno != EINTR)
			return err_errno(err, "read '%s'", file->base.name);
	}
}

static int source_file_read(
	struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	struct source_file *file = (struct source_file *)source;
	ssize_t n;

	if (file->end < 0 && wait_for_bytes(file, err) < 0)
		return -1;
	do {
		n = read(file->fd, buf, cap);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_errno(err, "read '%s'", source->name);
	file->at += n;
	source->fetched += (uint64_t)n;
	if (file->options.listener.alive)
		file->options.listener.alive(file->options.listener.arg);
	*ret_len = (size_t)n;
	return 0;
}

/* Never past the end: a member that claims more than the file has must still end there. */
static int source_file_skip(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err)
{
	struct source_file *file = (struct source_file *)source;
	uint64_t left = file->end > file->at ? (uint64_t)(file->end - file->at) : 0;
	uint64_t n = len < left ? len : left;

	if (file->end < 0)
		return 0;
	if (lseek(file->fd, file->at + (int64_t)n, SEEK_SET) < 0)
		return err_errno(err, "seek in '%s'", source->name);
	file->at += (int64_t)n;
	*ret_len = n;
	return 0;
}

static void source_file_free(struct source *source)
{
	free(source);
}

static const struct source_ops OPS = {
	.read = source_file_read,
	.skip = source_file_skip,
	.free = source_file_free,
};

int source_file_new(int fd, const char *name, const struct source_options *options,
	struct source **ret, struct err *err)
{
	void *p = NULL;
	struct source_file *file;

	if (mem_alloc(sizeof(*file), &p, err) < 0)
		return -1;
	file = p;
	file->base.ops = &OPS;
	file->base.name = file->name;
	file->fd = fd;
	file->options = *options;
	(void)snprintf(file->name, sizeof(file->name), "%s", name); /* shown, never opened */
	file->at = lseek(fd, 0, SEEK_CUR);
	file->end = file->at < 0 ? -1 : lseek(fd, 0, SEEK_END);
	if (file->end >= 0 && lseek(fd, file->at, SEEK_SET) < 0)
		file->end = -1;
	if (file->end < 0)
		file->at = 0;
	*ret = &file->base;
	return 0;
}
