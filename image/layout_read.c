/* Reading a layout: sections, keys and their values. What the whole has to be is layout.c's. */
#include <ctype.h>
#include <ini.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/layout.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define LAYOUT_FILE_MAX  (64u << 10)
#define PARTITION_PREFIX "partition "
#define FILE_PREFIX      "file "

/* inih goes on after an error and then returns the first line for which the handler said no. */
struct reader {
	struct layout *layout;
	struct err *err;
	bool failed;
};

/* ---- values ---- */

static bool parse_size(const char *value, uint64_t *ret)
{
	static const char UNITS[] = "KMGT";
	unsigned long long n;
	const char *unit;
	char *end;
	uint64_t size;

	if (!isdigit((unsigned char)value[0]))
		return false;
	n = strtoull(value, &end, 10);
	size = n;
	unit = *end ? strchr(UNITS, *end) : NULL;
	if (n > MANIFEST_NUMBER_MAX || (*end && (!unit || end[1])))
		return false;
	for (; unit && unit >= UNITS; unit--)
		if (__builtin_mul_overflow(size, UINT64_C(1024), &size))
			return false;
	*ret = size;
	return size > 0 && size % LAYOUT_ALIGN == 0 && size <= INT64_MAX;
}

static bool uuid_valid(const char *s)
{
	for (size_t i = 0; i < LAYOUT_UUID_LEN; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
			return false;
	}
	return s[LAYOUT_UUID_LEN] == '\0';
}

static int set_once(char *field, size_t cap, const char *value, struct err *err)
{
	if (field[0])
		return err_set(err, FAIL_USAGE, "is set twice");
	if (!value[0] || strlen(value) >= cap)
		return err_set(
			err, FAIL_USAGE, "'%.80s' is not 1 to %zu bytes long", value, cap - 1);
	memcpy(field, value, strlen(value) + 1);
	return 0;
}

static int set_uuid(char *field, const char *value, struct err *err)
{
	if (!uuid_valid(value))
		return err_set(err, FAIL_USAGE,
			"'%.80s' is not a UUID such as 6f1e5d3c-2b4a-4978-8a6b-5c4d3e2f1a0b",
			value);
	return set_once(field, LAYOUT_UUID_LEN + 1, value, err);
}

static int set_size(uint64_t *field, const char *value, struct err *err)
{
	if (*field)
		return err_set(err, FAIL_USAGE, "is set twice");
	if (!parse_size(value, field)) {
		*field = 0;
		return err_set(err, FAIL_USAGE,
			"'%.80s' is not a size: a number with K, M, G or T, a multiple of 1 MiB",
			value);
	}
	return 0;
}

/* As in the layout file, or relative to the folder that holds it. */
static int set_path(const struct layout *layout, char *field, const char *value, struct err *err)
{
	const char *slash = strrchr(layout->path, '/');
	int prefix = slash ? (int)(slash - layout->path) + 1 : 0;
	char path[PATH_MAX];
	int n;

	if (value[0] == '/')
		prefix = 0;
	n = snprintf(path, sizeof(path), "%.*s%s", prefix, layout->path, value);
	if (n < 0 || (size_t)n >= sizeof(path))
		return err_set(err, FAIL_USAGE, "'%.80s...' is too long for a path", value);
	return set_once(field, sizeof(path), path, err);
}

static int set_type(struct layout_partition *part, const char *value, struct err *err)
{
	static const struct {
		const char *name;
		enum layout_type type;
	} TYPES[] = {{"esp", LAYOUT_ESP}, {"slot", LAYOUT_SLOT}, {"data", LAYOUT_DATA},
		{"boot", LAYOUT_BOOT}, {"raw", LAYOUT_RAW}};

	if (part->type)
		return err_set(err, FAIL_USAGE, "is set twice");
	for (size_t i = 0; i < ARRAY_LEN(TYPES); i++)
		if (strcmp(value, TYPES[i].name) == 0) {
			part->type = TYPES[i].type;
			return 0;
		}
	return err_set(err, FAIL_USAGE, "'%.80s' is none of esp, slot, data, boot, raw", value);
}

/* ---- keys ---- */

static int unknown_key(struct err *err)
{
	return err_set(err, FAIL_USAGE, "there is no such key");
}

static int disk_key(struct layout *layout, const char *name, const char *value, struct err *err)
{
	if (strcmp(name, "size") == 0)
		return set_size(&layout->size, value, err);
	if (strcmp(name, "uuid") == 0)
		return set_uuid(layout->uuid, value, err);
	return unknown_key(err);
}

/* Bytes, as boards' manuals have them: 0x8400, 33K. Where they may be is for uboot_disk.c to say. */
static int set_offset(uint64_t *field, const char *value, struct err *err)
{
	unsigned long long n;
	char *end;

	if (*field)
		return err_set(err, FAIL_USAGE, "is set twice");
	n = strtoull(value, &end, 0);
	if (!isdigit((unsigned char)value[0]) || n == 0 || n > MANIFEST_NUMBER_MAX ||
		(*end && strcmp(end, "K") != 0))
		return err_set(
			err, FAIL_USAGE, "'%.80s' is not an offset such as 0x8400 or 33K", value);
	*field = *end ? n * 1024 : n;
	return 0;
}

/* The bootloaders: their sections, and the files that each takes. */
static const struct {
	const char *section, *name;
	enum layout_loader loader;
	bool needed;
	size_t offset; /* of the path in struct layout */
} LOADER_KEYS[] = {
	{"grub", "config", LAYOUT_GRUB, true, offsetof(struct layout, grub_config)},
	{"grub", "site", LAYOUT_GRUB, false, offsetof(struct layout, grub_site)},
	{"uboot", "script", LAYOUT_UBOOT, true, offsetof(struct layout, uboot_script)},
	{"uboot", "site", LAYOUT_UBOOT, false, offsetof(struct layout, uboot_site)},
	{"uboot", "environment", LAYOUT_UBOOT, true, offsetof(struct layout, uboot_environment)},
	{"uboot", "defaults", LAYOUT_UBOOT, false, offsetof(struct layout, uboot_defaults)},
	{"uboot", "program", LAYOUT_UBOOT, false, offsetof(struct layout, uboot_program)},
	{"systemd-boot", "config", LAYOUT_SYSTEMD_BOOT, true, offsetof(struct layout, loader_conf)},
	{"systemd-boot", "a", LAYOUT_SYSTEMD_BOOT, true, offsetof(struct layout, group_file[0])},
	{"systemd-boot", "b", LAYOUT_SYSTEMD_BOOT, true, offsetof(struct layout, group_file[1])},
	{"systemd-boot", "start", LAYOUT_SYSTEMD_BOOT, true, offsetof(struct layout, start)},
	{"efi", "a", LAYOUT_EFI, true, offsetof(struct layout, group_file[0])},
	{"efi", "b", LAYOUT_EFI, true, offsetof(struct layout, group_file[1])},
	{"efi", "start", LAYOUT_EFI, true, offsetof(struct layout, start)},
};

static bool is_loader(const char *section)
{
	for (size_t i = 0; i < ARRAY_LEN(LOADER_KEYS); i++)
		if (strcmp(section, LOADER_KEYS[i].section) == 0)
			return true;
	return false;
}

static int loader_key(struct layout *layout, const char *section, const char *name,
	const char *value, struct err *err)
{
	if (strcmp(section, "uboot") == 0 && strcmp(name, "program-offset") == 0)
		return set_offset(&layout->uboot_offset, value, err);
	for (size_t i = 0; i < ARRAY_LEN(LOADER_KEYS); i++) {
		if (strcmp(section, LOADER_KEYS[i].section) != 0 ||
			strcmp(name, LOADER_KEYS[i].name) != 0)
			continue;
		if (layout->loader && layout->loader != LOADER_KEYS[i].loader)
			return err_set(err, FAIL_USAGE, "a second bootloader");
		layout->loader = LOADER_KEYS[i].loader;
		return set_path(layout, (char *)layout + LOADER_KEYS[i].offset, value, err);
	}
	return unknown_key(err);
}

static int check_loader(const struct layout *layout, struct err *err)
{
	if (!layout->loader)
		return err_set(err, FAIL_USAGE,
			"no bootloader: one section of [grub], [uboot], [systemd-boot], [efi] is "
			"needed");
	for (size_t i = 0; i < ARRAY_LEN(LOADER_KEYS); i++)
		if (LOADER_KEYS[i].loader == layout->loader && LOADER_KEYS[i].needed &&
			!((const char *)layout + LOADER_KEYS[i].offset)[0])
			return err_set(err, FAIL_USAGE, "[%s] needs '%s'", LOADER_KEYS[i].section,
				LOADER_KEYS[i].name);
	if ((layout->uboot_program[0] != '\0') != (layout->uboot_offset != 0))
		return err_set(
			err, FAIL_USAGE, "[uboot] 'program' and 'program-offset' need each other");
	return 0;
}

/* "/abide/boot-a.efi": the names that firmwares and we spell alike. */
static bool path_valid(const char *path)
{
	size_t len = strlen(path);

	return path[0] == '/' && len > 1 && len <= LAYOUT_PATH_MAX && path[len - 1] != '/' &&
	       !strstr(path, "//") && !strstr(path, "..") &&
	       strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") ==
		       len;
}

/* What a slot has, as a partition or as a file. */
static int slot_key(
	struct layout_partition *part, const char *name, const char *value, struct err *err)
{
	if (strcmp(name, "class") == 0) {
		if (!manifest_class_valid(value))
			return err_set(err, FAIL_USAGE, "'%.80s' is not a class", value);
		return set_once(part->class, sizeof(part->class), value, err);
	}
	if (strcmp(name, "group") == 0) {
		if (part->group != GROUP_COUNT)
			return err_set(err, FAIL_USAGE, "is set twice");
		return group_parse(value, &part->group)
			       ? 0
			       : err_set(err, FAIL_USAGE, "'%.80s' is neither a nor b", value);
	}
	if (strcmp(name, "size") == 0)
		return set_size(&part->size, value, err);
	return unknown_key(err);
}

static int partition_key(
	struct layout_partition *part, const char *name, const char *value, struct err *err)
{
	if (strcmp(name, "type") == 0)
		return set_type(part, value, err);
	if (strcmp(name, "uuid") == 0)
		return set_uuid(part->uuid, value, err);
	if (strcmp(name, "size") == 0 &&
		(part->rest || (!part->size && strcmp(value, "rest") == 0))) {
		if (part->rest)
			return err_set(err, FAIL_USAGE, "is set twice");
		part->rest = true;
		return 0;
	}
	return slot_key(part, name, value, err);
}

static int file_key(
	struct layout_partition *file, const char *name, const char *value, struct err *err)
{
	if (strcmp(name, "path") != 0)
		return slot_key(file, name, value, err);
	if (!path_valid(value))
		return err_set(err, FAIL_USAGE,
			"'%.80s' is not a path on the ESP such as /abide/boot-a.efi", value);
	return set_once(file->path, sizeof(file->path), value, err);
}

/* The section's partition or file: found, or begun. */
static int find_named(struct layout_partition *parts, size_t *count, size_t max, const char *name,
	struct layout_partition **ret, struct err *err)
{
	struct layout_partition *part;

	for (size_t i = 0; i < *count; i++)
		if (strcmp(parts[i].name, name) == 0) {
			*ret = &parts[i];
			return 0;
		}
	if (*count == max)
		return err_set(err, FAIL_USAGE, "more than %zu of them", max);
	if (!manifest_name_valid(name) || strlen(name) > LAYOUT_NAME_MAX)
		return err_set(err, FAIL_USAGE, "'%.80s' is not a name of 1 to %u printable bytes",
			name, LAYOUT_NAME_MAX);
	part = &parts[(*count)++];
	*part = (struct layout_partition){.group = (enum group)GROUP_COUNT};
	memcpy(part->name, name, strlen(name) + 1);
	*ret = part;
	return 0;
}

static int set_key(struct layout *layout, const char *section, const char *name, const char *value,
	struct err *err)
{
	struct layout_partition *part = NULL;

	if (strcmp(section, "disk") == 0)
		return disk_key(layout, name, value, err);
	if (is_loader(section))
		return loader_key(layout, section, name, value, err);
	if (strncmp(section, FILE_PREFIX, strlen(FILE_PREFIX)) == 0) {
		if (find_named(layout->files, &layout->file_count, LAYOUT_FILES_MAX,
			    section + strlen(FILE_PREFIX), &part, err) < 0)
			return -1;
		return file_key(part, name, value, err);
	}
	if (strncmp(section, PARTITION_PREFIX, strlen(PARTITION_PREFIX)) != 0)
		return err_set(err, FAIL_USAGE, "there is no such section");
	if (find_named(layout->partitions, &layout->count, LAYOUT_PARTITIONS_MAX,
		    section + strlen(PARTITION_PREFIX), &part, err) < 0)
		return -1;
	return partition_key(part, name, value, err);
}

static int on_key(void *arg, const char *section, const char *name, const char *value)
{
	struct reader *reader = arg;

	if (reader->failed)
		return 0;
	if (set_key(reader->layout, section, name, value, reader->err) == 0)
		return 1;
	(void)err_wrap(reader->err, "[%s] %s", section, name);
	reader->failed = true;
	return 0;
}

/* ---- the file ---- */

static int check_sections(const struct layout *layout, struct err *err)
{
	if (!layout->size || !layout->uuid[0])
		return err_set(err, FAIL_USAGE, "[disk] needs 'size' and 'uuid'");
	return check_loader(layout, err);
}

int layout_read(const char *path, struct layout **ret, struct err *err)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	CLEANUP(bytes_finish) struct bytes text = {0};
	struct reader reader = {.err = err};
	void *p = NULL;
	int line;

	if (mem_alloc(sizeof(*layout), &p, err) < 0)
		return -1;
	reader.layout = layout = p;
	if (strlen(path) >= sizeof(layout->path))
		return err_set(err, FAIL_USAGE, "'%.80s...' is too long for a path", path);
	memcpy(layout->path, path, strlen(path) + 1);
	if (fs_read_file(path, LAYOUT_FILE_MAX, &text, err) < 0)
		return err_wrap_as(err, FAIL_USAGE, "layout");
	line = ini_parse_string((const char *)text.data, on_key, &reader);
	if (line < 0)
		return err_memory(err);
	if (line > 0 && !reader.failed)
		return err_set(err, FAIL_USAGE, "%s:%d: neither a [section] nor 'key = value'",
			path, line);
	if (line > 0)
		return err_wrap(err, "%s:%d", path, line);
	if (check_sections(layout, err) < 0 || layout_check(layout, err) < 0)
		return err_wrap_as(err, FAIL_USAGE, "%s", path);
	*ret = steal_ptr(&layout);
	return 0;
}
