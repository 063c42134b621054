#include "tests/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

static struct scratch *current;

unsigned int scratch_every(void)
{
	const char *text = getenv("ABIDE_TEST_EVERY");
	unsigned long every = text ? strtoul(text, NULL, 10) : 1;

	return every > 1 && every < 1000 ? (unsigned int)every : 1;
}

int scratch_setup(void **state)
{
	struct scratch *scratch = calloc(1, sizeof(*scratch));
	const char *top = getenv("TMPDIR");

	if (!scratch)
		return -1;
	(void)snprintf(
		scratch->dir, sizeof(scratch->dir), "%s/abide-test-XXXXXX", top ? top : "/tmp");
	if (!mkdtemp(scratch->dir)) {
		free(scratch);
		return -1;
	}
	*state = current = scratch;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return remove(path);
}

static int loop_detach(const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -1;
	(void)ioctl(fd, BLKROSET, &(int){0}); /* else the next one gets it write-protected */
	result = ioctl(fd, LOOP_CLR_FD, 0);
	(void)close(fd);
	return result;
}

int scratch_teardown(void **state)
{
	struct scratch *scratch = *state;
	int result = 0;

	for (int i = 0; i < SCRATCH_LOOPS; i++)
		if (scratch->loop[i][0] && loop_detach(scratch->loop[i]) < 0)
			result = -1;
	if (nftw(scratch->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		result = -1;
	free(scratch);
	return result;
}

const char *scratch_path(struct scratch *scratch, const char *name)
{
	static char paths[16][PATH_MAX];
	static unsigned int next;
	char *path = paths[next++ % 16];

	assert_true(snprintf(path, PATH_MAX, "%s/%s", scratch->dir, name) < PATH_MAX);
	return path;
}

const char *scratch_here(const char *name)
{
	return scratch_path(current, name);
}

const char *scratch_file(struct scratch *scratch, const char *name, size_t size)
{
	const char *path = scratch_path(scratch, name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	for (size_t i = 0; i < size; i++)
		assert_int_not_equal(fputc((int)((i + i / 512) & 0xff), file), EOF);
	assert_int_equal(fclose(file), 0);
	return path;
}

/* Others take free loop devices at the same moment: EBUSY, then the next one. */
static int loop_attach(int control, int file, char ret[static 32])
{
	for (int attempt = 0; attempt < 50; attempt++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);
		struct loop_config config = {.fd = (uint32_t)file};
		int fd;
		int result;

		if (number < 0)
			return -1;
		(void)snprintf(ret, 32, "/dev/loop%d", number);
		fd = open(ret, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -1;
		result = ioctl(fd, LOOP_CONFIGURE, &config);
		/* A device keeps this from whoever had it before. */
		if (result == 0)
			result = ioctl(fd, BLKROSET, &(int){0});
		(void)close(fd);
		if (result == 0)
			return 0;
		if (errno != EBUSY)
			return -1;
	}
	return -1;
}

const char *scratch_loop(struct scratch *scratch, const char *path)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int file = open(path, O_RDWR | O_CLOEXEC);
	int slot = 0;
	int result;

	assert_true(file >= 0);
	while (slot < SCRATCH_LOOPS && scratch->loop[slot][0])
		slot++;
	assert_true(slot < SCRATCH_LOOPS);
	result = control < 0 ? -1 : loop_attach(control, file, scratch->loop[slot]);
	(void)close(file);
	if (control >= 0)
		(void)close(control);
	if (result < 0) {
		scratch->loop[slot][0] = '\0';
		print_message("no loop devices here: %s\n", strerror(errno));
		skip();
	}
	return scratch->loop[slot];
}
