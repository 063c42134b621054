#include "image/gpt.h"

#include <errno.h>
#include <libfdisk/libfdisk.h>
#include <string.h>

#include "updater/mem.h"

#define SECTOR 512u

static const char *type_uuid(enum layout_type type)
{
	switch (type) {
	case LAYOUT_ESP:
		return "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
	case LAYOUT_SLOT:
	case LAYOUT_DATA:
	case LAYOUT_BOOT:
	case LAYOUT_RAW:
		break;
	}
	return "0FC63DAF-8483-4772-8E79-3D69D8477DE4"; /* Linux file system data */
}

static void cleanup_context(struct fdisk_context **context)
{
	fdisk_unref_context(*context);
}

static void cleanup_partition(struct fdisk_partition **partition)
{
	fdisk_unref_partition(*partition);
}

static void cleanup_type(struct fdisk_parttype **type)
{
	fdisk_unref_parttype(*type);
}

/* libfdisk returns a negative errno. */
static int failed(int rc, const char *what, const char *object, struct err *err)
{
	errno = -rc;
	return err_errno(err, "partition table: %s '%s'", what, object);
}

static int add_partition(struct fdisk_context *context, const struct layout_partition *part,
	size_t number, struct err *err)
{
	CLEANUP(cleanup_partition) struct fdisk_partition *new = fdisk_new_partition();
	CLEANUP(cleanup_type)
	struct fdisk_parttype *type = fdisk_label_get_parttype_from_string(
		fdisk_get_label(context, NULL), type_uuid(part->type));
	int rc;

	if (!new || !type)
		return err_memory(err);
	if ((rc = fdisk_partition_set_partno(new, number)) < 0 ||
		(rc = fdisk_partition_set_start(new, part->start / SECTOR)) < 0 ||
		(rc = fdisk_partition_set_size(new, part->size / SECTOR)) < 0 ||
		(rc = fdisk_partition_set_name(new, part->name)) < 0 ||
		(rc = fdisk_partition_set_uuid(new, part->uuid)) < 0 ||
		(rc = fdisk_partition_set_type(new, type)) < 0 ||
		(rc = fdisk_add_partition(context, new, NULL)) < 0)
		return failed(rc, "add", part->name, err);
	return 0;
}

int gpt_write(const char *path, const struct layout *layout, struct err *err)
{
	CLEANUP(cleanup_context) struct fdisk_context *context = fdisk_new_context();
	int rc;

	if (!context)
		return err_memory(err);
	/* Without dialogs: it must not ask. A plain file has 512-byte sectors. */
	if ((rc = fdisk_disable_dialogs(context, 1)) < 0 ||
		(rc = fdisk_assign_device(context, path, 0)) < 0 ||
		(rc = fdisk_create_disklabel(context, "gpt")) < 0 ||
		(rc = fdisk_set_disklabel_id_from_string(context, layout->uuid)) < 0)
		return failed(rc, "begin", path, err);
	for (size_t i = 0; i < layout->count; i++)
		if (add_partition(context, &layout->partitions[i], i, err) < 0)
			return -1;
	if ((rc = fdisk_write_disklabel(context)) < 0 ||
		(rc = fdisk_deassign_device(context, 1)) < 0)
		return failed(rc, "write", path, err);
	return 0;
}
