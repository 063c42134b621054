/*
 * fw_env.config, the file that U-Boot's and libubootenv's tools read: a line for each copy,
 *
 *	DEVICE OFFSET SIZE [SECTOR-SIZE [SECTORS]]
 *
 * OFFSET as C has it, the others hexadecimal with or without 0x; '#' begins a comment line.
 * libubootenv reads the file itself when it stores (store.c). It passes over lines that it does not
 * understand; here they are refused, so that both read the same.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/uboot/uboot.h"
#include "updater/fs.h"

#define FILE_MAX   (64u << 10)
#define LINE_MAX   512u
#define DEVICE_MAX 255u /* libubootenv's DEVNAME_MAX_LENGTH, with its NUL */
#define BLANKS     " \t\r"

static bool parse_number(const char *text, int base, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!text || text[0] == '-' || text[0] == '+')
		return false;
	errno = 0;
	v = strtoull(text, &end, base);
	if (errno || end == text || *end || v > INT64_MAX)
		return false;
	*ret = v;
	return true;
}

/* The words of one line. */
static int parse_copy(char *line, struct fw_env_copy *ret, size_t *ret_size, struct err *err)
{
	char *save = NULL;
	const char *device = strtok_r(line, BLANKS, &save);
	const char *offset = strtok_r(NULL, BLANKS, &save);
	const char *size_text = strtok_r(NULL, BLANKS, &save);
	uint64_t size = 0;

	if (!size_text)
		return err_set(err, FAIL_BOOT, "expected DEVICE OFFSET SIZE");
	if (device[0] != '/' || strlen(device) > DEVICE_MAX)
		return err_set(err, FAIL_BOOT,
			"device '%.80s' is not an absolute path of at most %u bytes", device,
			DEVICE_MAX);
	if (!parse_number(offset, 0, &ret->offset))
		return err_set(err, FAIL_BOOT,
			"offset '%.80s' is not a number, 0 or more (0x in front if hexadecimal)",
			offset);
	if (!parse_number(size_text, 16, &size) || size < UBOOT_ENV_MIN || size > UBOOT_ENV_MAX)
		return err_set(err, FAIL_BOOT,
			"size '%.80s' is not a hexadecimal number from 0x%x to 0x%x", size_text,
			UBOOT_ENV_MIN, UBOOT_ENV_MAX);
	*ret_size = (size_t)size;
	return mem_strdup(device, &ret->device, err);
}

static int add_line(char *line, struct fw_env *env, unsigned int *count, struct err *err)
{
	size_t size = 0;

	if (line[strspn(line, BLANKS)] == '\0' || line[0] == '#')
		return 0;
	if (*count == UBOOT_COPIES)
		return err_set(err, FAIL_BOOT, "a third copy; U-Boot has two");
	if (parse_copy(line, &env->copies[*count], &size, err) < 0)
		return -1;
	if (*count && size != env->size)
		return err_set(err, FAIL_BOOT, "size 0x%zx, but the first copy has 0x%zx", size,
			env->size);
	env->size = size;
	++*count;
	return 0;
}

static int parse_lines(const struct bytes *text, struct fw_env *env, unsigned int *ret_count,
	unsigned int *ret_line, struct err *err)
{
	const char *at = (const char *)text->data;
	size_t left = text->len;

	*ret_line = 0;
	while (left) {
		const char *end = memchr(at, '\n', left);
		size_t len = end ? (size_t)(end - at) : left;
		char line[LINE_MAX];

		++*ret_line;
		if (len >= sizeof(line))
			return err_set(
				err, FAIL_BOOT, "the line is longer than %u bytes", LINE_MAX - 1);
		memcpy(line, at, len);
		line[len] = '\0';
		if (add_line(line, env, ret_count, err) < 0)
			return -1;
		at += len + (end != NULL);
		left -= len + (end != NULL);
	}
	return 0;
}

static bool overlap(const struct fw_env *env)
{
	const struct fw_env_copy *a = &env->copies[0];
	const struct fw_env_copy *b = &env->copies[1];
	uint64_t distance = a->offset > b->offset ? a->offset - b->offset : b->offset - a->offset;

	return strcmp(a->device, b->device) == 0 && distance < env->size;
}

int fw_env_parse(const char *path, const struct bytes *text, struct fw_env *ret, struct err *err)
{
	CLEANUP(fw_env_finish) struct fw_env env = {0};
	unsigned int count = 0;
	unsigned int line = 0;

	if (parse_lines(text, &env, &count, &line, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "'%s:%u'", path, line);
	if (count == 0)
		return err_set(err, FAIL_BOOT,
			"'%s' names no copy of the U-Boot environment; expected two lines DEVICE "
			"OFFSET SIZE",
			path);
	if (count < UBOOT_COPIES)
		return err_set(err, FAIL_BOOT,
			"'%s' names one copy of the U-Boot environment: a power cut while it is "
			"written would leave none; build U-Boot with a redundant environment and "
			"name both copies",
			path);
	if (overlap(&env))
		return err_set(err, FAIL_BOOT, "'%s': both copies have the same place", path);
	*ret = env;
	env = (struct fw_env){0};
	return 0;
}

int fw_env_read(const char *path, struct fw_env *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};

	if (fs_read_file(path, FILE_MAX, &text, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "where U-Boot's environment is");
	return fw_env_parse(path, &text, ret, err);
}

void fw_env_finish(struct fw_env *env)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++)
		free(env->copies[i].device);
	*env = (struct fw_env){0};
}
