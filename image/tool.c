#include "image/tool.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "updater/mem.h"
#include "updater/process.h"

#define ARGUMENTS_MAX 48u
#define SECONDS_MAX   300u
#define NOT_FOUND     127 /* env(1): the program is not there */

static const char *const PACKAGES[][2] = {
	{"mformat", "mtools"},
	{"mmd", "mtools"},
	{"mcopy", "mtools"},
	{"mke2fs", "e2fsprogs"},
	{"grub-mkimage", "grub-common"},
	{"mkimage", "u-boot-tools"},
};

static const char *package_of(const char *program)
{
	for (size_t i = 0; i < ARRAY_LEN(PACKAGES); i++)
		if (strcmp(program, PACKAGES[i][0]) == 0)
			return PACKAGES[i][1];
	return "";
}

static int judge(const char *program, const struct process_result *result, struct err *err)
{
	char output[256];
	size_t skip = result->output_len > 200 ? result->output_len - 200 : 0;

	if (!result->timed_out && result->exit_status == 0)
		return 0;
	if (result->exit_status == NOT_FOUND)
		return err_set(err, FAIL_IO, "'%s' is not installed; Debian's package is '%s'",
			program, package_of(program));
	if (result->timed_out)
		return err_set(err, FAIL_IO, "'%s' did not end within %u s", program, SECONDS_MAX);
	mem_printable(result->output + skip, result->output_len - skip, output, sizeof(output));
	return err_set(
		err, FAIL_IO, "'%s' failed (status %d): %s", program, result->exit_status, output);
}

int tool_run(const char *const argv[], time_t time, struct err *err)
{
	char epoch[48], fake[48];
	/* env(1) looks the program up and adds to what process_run() passes on. */
	const char *const before[] = {"/usr/bin/env", "LC_ALL=C", "TZ=UTC", "MTOOLSRC=/dev/null",
		"MTOOLS_SKIP_CHECK=1", epoch, fake};
	char *all[ARGUMENTS_MAX] = {NULL}; /* execve's own type has no const */
	struct process_result result = {0};
	size_t n = ARRAY_LEN(before);

	assert(argv[0]);
	(void)snprintf(epoch, sizeof(epoch), "SOURCE_DATE_EPOCH=%" PRIdMAX, (intmax_t)time);
	(void)snprintf(fake, sizeof(fake), "E2FSPROGS_FAKE_TIME=%" PRIdMAX, (intmax_t)time);
	memcpy(all, before, sizeof(before));
	for (size_t i = 0; argv[i]; i++, n++) {
		if (n + 1 >= ARGUMENTS_MAX)
			return err_set(err, FAIL_USAGE, "'%s': too many arguments", argv[0]);
		memcpy(&all[n], &argv[i], sizeof(all[n]));
	}
	if (process_run(all, SECONDS_MAX, &result, err) < 0)
		return err_wrap(err, "run '%s'", argv[0]);
	return judge(argv[0], &result, err);
}
