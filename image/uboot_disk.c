#include "image/uboot_disk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bootloader-hooks/uboot/uboot.h"
#include "image/tool.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define SECTOR       512u
#define GPT_END      (34u * SECTOR) /* of the table at the disk's begin */
#define BY_PARTLABEL "/dev/disk/by-partlabel/"

/* ---- the boot script ---- */

static int format(
	const char *image, const struct layout_partition *part, time_t time, struct err *err)
{
	char sectors[32], hidden[32], serial[16];
	const char *const argv[] = {"mformat", "-i", image, "-T", sectors, "-H", hidden, "-N",
		serial, "-v", "BOOT", "::", NULL};

	(void)snprintf(sectors, sizeof(sectors), "%" PRIu64, part->size / SECTOR);
	(void)snprintf(hidden, sizeof(hidden), "%" PRIu64, part->start / SECTOR);
	(void)snprintf(serial, sizeof(serial), "%.8s", part->fs_uuid);
	return tool_run(argv, time, err);
}

/* The architecture of a script is in its header, and U-Boot does not look at it. */
static int put_script(const char *image, const char *from, const char *work, const char *name,
	time_t time, struct err *err)
{
	char compiled[PATH_MAX], to[64];
	const char *const compile[] = {"mkimage", "-q", "-A", "arm", "-T", "script", "-C", "none",
		"-n", name, "-d", from, compiled, NULL};
	const char *const copy[] = {"mcopy", "-n", "-o", "-i", image, compiled, to, NULL};

	(void)snprintf(to, sizeof(to), "::/%s", name);
	if (fs_join(work, name, compiled, sizeof(compiled), err) < 0 ||
		tool_run(compile, time, err) < 0)
		return err_wrap(err, "'%s'", from);
	return tool_run(copy, time, err);
}

static int write_boot(const char *path, const struct layout *layout, const char *work, time_t time,
	struct err *err)
{
	const struct layout_partition *part = layout_boot(layout);
	char image[PATH_MAX + 32]; /* FILE@@OFFSET, as mtools has it */

	(void)snprintf(image, sizeof(image), "%s@@%" PRIu64, path, part->start);
	if (format(image, part, time, err) < 0 ||
		put_script(image, layout->uboot_script, work, "boot.scr", time, err) < 0 ||
		(layout->uboot_site[0] && put_script(image, layout->uboot_site, work,
						  "abide-site.scr", time, err) < 0))
		return err_wrap(err, "partition '%s'", part->name);
	return 0;
}

/* ---- the environment, and U-Boot ---- */

/* Where on the disk a copy is. */
static int place(const struct layout *layout, const struct fw_env_copy *copy, size_t size,
	uint64_t *ret, struct err *err)
{
	const char *name = strncmp(copy->device, BY_PARTLABEL, strlen(BY_PARTLABEL)) == 0
				   ? copy->device + strlen(BY_PARTLABEL)
				   : NULL;
	const struct layout_partition *part = name ? layout_raw(layout, name) : NULL;
	uint64_t begin = name ? 0 : GPT_END;
	uint64_t end = LAYOUT_ALIGN;

	if (name && !part)
		return err_set(err, FAIL_USAGE, "'%.120s': no partition '%.60s' of type raw",
			copy->device, name);
	if (part)
		end = part->size;
	if (copy->offset < begin || size > end || copy->offset > end - size)
		return err_set(err, FAIL_USAGE,
			"0x%zx bytes at 0x%" PRIx64 " of '%.120s' are not between 0x%" PRIx64
			" and 0x%" PRIx64,
			size, copy->offset, copy->device, begin, end);
	*ret = copy->offset + (part ? part->start : 0);
	return 0;
}

static int write_copies(
	int fd, const struct layout *layout, const struct fw_env *env, struct err *err)
{
	const struct boot_state state = {.group[GROUP_A] = {.good = true}, .primary = GROUP_A};
	CLEANUP(bytes_finish) struct bytes defaults = {0};
	CLEANUP(cleanup_free) void *bytes = NULL;
	struct uboot_values values;
	uint64_t at;

	if (layout->uboot_defaults[0] &&
		fs_read_file(layout->uboot_defaults, UBOOT_ENV_MAX, &defaults, err) < 0)
		return -1;
	if (mem_alloc(env->size, &bytes, err) < 0 ||
		uboot_values_format(&state, &values, err) < 0 ||
		uboot_copy_format(&values, &defaults, 1, env->size, bytes, err) < 0)
		return -1;
	for (size_t i = 0; i < UBOOT_COPIES; i++) {
		if (place(layout, &env->copies[i], env->size, &at, err) < 0)
			return -1;
		if (pwrite(fd, bytes, env->size, (off_t)at) != (ssize_t)env->size)
			return err_errno(err, "write at %" PRIu64, at);
	}
	return 0;
}

/* U-Boot itself, where the board's ROM looks for it: in front of the first partition. */
static int write_program(
	int fd, const struct layout *layout, const struct fw_env *env, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes program = {0};
	const uint64_t begin = layout->uboot_offset;
	uint64_t at, end;

	if (!layout->uboot_program[0])
		return 0;
	if (fs_read_file(layout->uboot_program, LAYOUT_ALIGN, &program, err) < 0)
		return -1;
	end = begin + program.len;
	if (begin < GPT_END || end > LAYOUT_ALIGN)
		return err_set(err, FAIL_USAGE,
			"'%s': %zu bytes at 0x%" PRIx64 " are not between 0x%x and 0x%" PRIx64,
			layout->uboot_program, program.len, begin, GPT_END, LAYOUT_ALIGN);
	for (size_t i = 0; i < UBOOT_COPIES; i++) {
		if (place(layout, &env->copies[i], env->size, &at, err) < 0)
			return -1;
		if (begin < at + env->size && at < end)
			return err_set(err, FAIL_USAGE,
				"'%s' would lie on copy %zu of the environment at 0x%" PRIx64,
				layout->uboot_program, i + 1, at);
	}
	if (pwrite(fd, program.data, program.len, (off_t)begin) != (ssize_t)program.len)
		return err_errno(err, "write at %" PRIu64, begin);
	return 0;
}

static int write_raw(const char *path, const struct layout *layout, struct err *err)
{
	CLEANUP(fw_env_finish) struct fw_env env = {0};
	CLEANUP(cleanup_fd) int fd = -1;

	if (fw_env_read(layout->uboot_environment, &env, err) < 0)
		return err_wrap_as(err, FAIL_USAGE, "[uboot] environment");
	if (fs_open(path, O_RDWR, 0, &fd, err) < 0)
		return -1;
	if (write_copies(fd, layout, &env, err) < 0)
		return err_wrap(err, "'%s'", layout->uboot_environment);
	return write_program(fd, layout, &env, err);
}

int uboot_disk_write(const char *path, const struct layout *layout, const char *work, time_t time,
	struct err *err)
{
	if (write_boot(path, layout, work, time, err) < 0)
		return -1;
	return write_raw(path, layout, err);
}
