/* The partition that a load option names, as libblkid finds it in the GPT. */
#include <blkid/blkid.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bootloader-hooks/efi/efi.h"
#include "updater/fs.h"

#define BLKID_SECTOR 512u /* its unit, whatever the disk's is */
#define GUID_LEN     sizeof((struct efi_partition){0}.guid)

static void probe_free(blkid_probe *probe)
{
	if (*probe)
		blkid_free_probe(*probe);
}

/* As on the disk: the first three fields are little-endian numbers there. */
static bool parse_guid(const char *text, uint8_t ret[static GUID_LEN])
{
	static const uint8_t PLACES[GUID_LEN] = {
		3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	char hex[2 * GUID_LEN + 1];
	uint8_t raw[GUID_LEN];
	size_t n = 0;

	for (; *text && n < sizeof(hex) - 1; text++)
		if (*text != '-')
			hex[n++] = *text;
	hex[n] = '\0';
	if (*text || !hex_decode(hex, raw, GUID_LEN))
		return false;
	for (size_t i = 0; i < GUID_LEN; i++)
		ret[PLACES[i]] = raw[i];
	return true;
}

int efi_partition_read(
	const char *disk, uint32_t number, struct efi_partition *ret, struct err *err)
{
	CLEANUP(probe_free) blkid_probe probe = blkid_new_probe_from_filename(disk);
	blkid_partlist list;
	blkid_partition partition;
	blkid_parttable table;
	const char *type, *guid;
	uint64_t sectors; /* of BLKID_SECTOR in one of the disk's */

	if (!probe)
		return err_errno(err, "'%s'", disk);
	/* What is given out lives as long as the probe. */
	list = blkid_probe_get_partitions(probe);
	table = list ? blkid_partlist_get_table(list) : NULL;
	type = table ? blkid_parttable_get_type(table) : NULL;
	if (!type || strcmp(type, "gpt") != 0)
		return err_set(err, FAIL_BOOT, "'%s' has no GPT", disk);
	partition = number > 0 && number <= INT_MAX
			    ? blkid_partlist_get_partition_by_partno(list, (int)number)
			    : NULL;
	guid = partition ? blkid_partition_get_uuid(partition) : NULL;
	if (!guid || !parse_guid(guid, ret->guid))
		return err_set(
			err, FAIL_BOOT, "the GPT of '%s' has no partition %" PRIu32, disk, number);
	sectors = blkid_probe_get_sectorsize(probe) / BLKID_SECTOR;
	ret->number = number;
	ret->start = (uint64_t)blkid_partition_get_start(partition) / sectors;
	ret->count = (uint64_t)blkid_partition_get_size(partition) / sectors;
	return 0;
}

int efi_partition_of(const char *directory, struct efi_partition *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char path[64], target[PATH_MAX], disk[PATH_MAX];
	unsigned int number = 0;
	struct err ignored;
	struct stat st;
	ssize_t len;
	char *name;

	if (stat(directory, &st) < 0)
		return err_errno(err, "'%s'", directory);
	(void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(st.st_dev),
		minor(st.st_dev)); /* fits */
	if (fs_read_file(path, 32, &text, &ignored) < 0 ||
		sscanf((const char *)text.data, "%u", &number) != 1)
		return err_set(err, FAIL_BOOT, "'%s': no partition is mounted there", directory);
	*strrchr(path, '/') = '\0';
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return err_errno(err, "'%s'", path);
	target[len] = '\0';
	/* ../../devices/.../DISK/PARTITION */
	name = strrchr(target, '/');
	if (name)
		*name = '\0';
	name = strrchr(target, '/');
	if (!name || fs_join("/dev", name + 1, disk, sizeof(disk), err) < 0)
		return err_set(err, FAIL_BOOT, "'%s' is no partition of a disk", target);
	return efi_partition_read(disk, number, ret, err);
}
