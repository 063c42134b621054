#include "image/layout.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "updater/digest.h"
#include "updater/mem.h"

/* A stable UUID of our own making (version 8 of RFC 9562) for what the file does not name. */
static int derive_uuid(const struct layout *layout, const char *name, const char *what,
	char ret[static LAYOUT_UUID_LEN + 1], struct err *err)
{
	char text[LAYOUT_UUID_LEN + LAYOUT_NAME_MAX + 32];
	char hex[33];
	struct digest digest;
	int n = snprintf(text, sizeof(text), "%s/%s/%s", layout->uuid, name, what);

	if (digest_once(text, (size_t)n, &digest, err) < 0)
		return -1;
	digest.b[6] = (uint8_t)((digest.b[6] & 0x0f) | 0x80);
	digest.b[8] = (uint8_t)((digest.b[8] & 0x3f) | 0x80);
	hex_encode(digest.b, 16, hex);
	(void)snprintf(ret, LAYOUT_UUID_LEN + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8,
		hex + 12, hex + 16, hex + 20);
	return 0;
}

static int check_slot(
	const struct layout *layout, const struct layout_partition *part, struct err *err)
{
	if (!part->class[0] || part->group == GROUP_COUNT)
		return err_set(
			err, FAIL_USAGE, "'class' and 'group' are for slots, which need both");
	if (layout_slot(layout, part->class, part->group) != part)
		return err_set(err, FAIL_USAGE, "a second slot '%s.%s'", part->class,
			group_name(part->group));
	if (!layout_slot(layout, part->class, group_other(part->group)))
		return err_set(err, FAIL_USAGE, "class '%s' has no slot in group %s", part->class,
			group_name(group_other(part->group)));
	return 0;
}

static int check_file(const struct layout *layout, size_t i, struct err *err)
{
	const struct layout_partition *file = &layout->files[i];

	if (!file->size || !file->path[0])
		return err_set(err, FAIL_USAGE, "'path' and 'size' are needed");
	for (size_t k = 0; k < i; k++)
		if (strcasecmp(layout->files[k].path, file->path) == 0)
			return err_set(err, FAIL_USAGE, "'%s' is the path of '%s', too", file->path,
				layout->files[k].name);
	return check_slot(layout, file, err);
}

static int check_partition(struct layout *layout, size_t i, struct err *err)
{
	struct layout_partition *part = &layout->partitions[i];
	bool slot = part->type == LAYOUT_SLOT;

	if (!part->type)
		return err_set(err, FAIL_USAGE, "'type' is missing");
	if (!part->size && !part->rest)
		return err_set(err, FAIL_USAGE, "'size' is missing");
	if (part->rest && i + 1 != layout->count)
		return err_set(err, FAIL_USAGE, "'size = rest' is for the last partition only");
	if (!slot && (part->class[0] || part->group != GROUP_COUNT))
		return err_set(
			err, FAIL_USAGE, "'class' and 'group' are for slots, which need both");
	if (slot && check_slot(layout, part, err) < 0)
		return -1;
	if (part->type == LAYOUT_ESP && layout_esp(layout) != part)
		return err_set(err, FAIL_USAGE, "a second partition of type esp");
	if (part->type == LAYOUT_BOOT && layout_boot(layout) != part)
		return err_set(err, FAIL_USAGE, "a second partition of type boot");
	if (!part->uuid[0] && derive_uuid(layout, part->name, "partition", part->uuid, err) < 0)
		return -1;
	return derive_uuid(layout, part->name, "file system", part->fs_uuid, err);
}

int layout_check(struct layout *layout, struct err *err)
{
	for (size_t i = 0; i < layout->count; i++)
		if (check_partition(layout, i, err) < 0)
			return err_wrap(err, "[partition %s]", layout->partitions[i].name);
	if (layout->loader == LAYOUT_UBOOT ? !layout_boot(layout) : !layout_esp(layout))
		return err_set(err, FAIL_USAGE, "no partition of type %s",
			layout->loader == LAYOUT_UBOOT ? "boot" : "esp");
	if (layout->file_count && !layout_esp(layout))
		return err_set(err, FAIL_USAGE, "[file %s] needs a partition of type esp",
			layout->files[0].name);
	for (size_t i = 0; i < layout->file_count; i++)
		if (check_file(layout, i, err) < 0)
			return err_wrap(err, "[file %s]", layout->files[i].name);
	return layout_place(layout, layout->size, err);
}

void layout_free(struct layout **layout)
{
	if (!layout)
		return;
	free(*layout);
	*layout = NULL;
}

int layout_place(struct layout *layout, uint64_t size, struct err *err)
{
	uint64_t usable = size & ~(LAYOUT_ALIGN - 1);
	uint64_t at = LAYOUT_ALIGN;

	for (size_t i = 0; i < layout->count; i++) {
		struct layout_partition *part = &layout->partitions[i];

		part->start = at;
		/* At least one unit for the rest. */
		if (__builtin_add_overflow(at, part->rest ? LAYOUT_ALIGN : part->size, &at))
			return err_set(err, FAIL_USAGE, "the partitions' sizes add up to too much");
	}
	if (__builtin_add_overflow(at, LAYOUT_ALIGN, &at))
		return err_set(err, FAIL_USAGE, "the partitions' sizes add up to too much");
	if (at > usable)
		return err_set(err, FAIL_SPACE,
			"the partitions need %" PRIu64 " bytes, there are %" PRIu64
			": too small by %" PRIu64,
			at, usable, at - usable);
	if (layout->count && layout->partitions[layout->count - 1].rest)
		layout->partitions[layout->count - 1].size = LAYOUT_ALIGN + (usable - at);
	layout->size = size;
	return 0;
}

/* The first of a type. */
static const struct layout_partition *find_type(const struct layout *layout, enum layout_type type)
{
	for (size_t i = 0; i < layout->count; i++)
		if (layout->partitions[i].type == type)
			return &layout->partitions[i];
	return NULL;
}

const struct layout_partition *layout_esp(const struct layout *layout)
{
	return find_type(layout, LAYOUT_ESP);
}

const struct layout_partition *layout_boot(const struct layout *layout)
{
	return find_type(layout, LAYOUT_BOOT);
}

const struct layout_partition *layout_raw(const struct layout *layout, const char *name)
{
	for (size_t i = 0; i < layout->count; i++)
		if (layout->partitions[i].type == LAYOUT_RAW &&
			strcmp(layout->partitions[i].name, name) == 0)
			return &layout->partitions[i];
	return NULL;
}

const struct layout_partition *layout_slot(
	const struct layout *layout, const char *class, enum group group)
{
	for (size_t i = 0; i < layout->count + layout->file_count; i++) {
		const struct layout_partition *part = i < layout->count
							      ? &layout->partitions[i]
							      : &layout->files[i - layout->count];

		if ((part->type == LAYOUT_SLOT || i >= layout->count) && part->group == group &&
			strcmp(part->class, class) == 0)
			return part;
	}
	return NULL;
}
