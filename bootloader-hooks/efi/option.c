/* Load options and the partition that they name. Sources: UEFI 2.10, 3.1.3 (load option), 10.3.5
 * (hard drive and file path nodes), 5.3 (GPT). */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bootloader-hooks/efi/efi.h"
#include "updater/blockdev.h"
#include "updater/fs.h"

#define OPTION_MAX    4096u
#define OPTION_ACTIVE 1u
#define HEAD_LEN      6u /* attributes, length of the device path */
#define SECTOR_MAX    4096u
#define ENTRY_MIN     128u
#define NUMBER_MAX    128u

/* ---- load options ---- */

struct text {
	uint8_t data[OPTION_MAX];
	size_t len;
	bool full;
};

static void put(struct text *text, const void *data, size_t len)
{
	if (sizeof(text->data) - text->len < len) {
		text->full = true;
		return;
	}
	memcpy(text->data + text->len, data, len);
	text->len += len;
}

static void put_number(struct text *text, uint64_t v, size_t len)
{
	uint8_t raw[8];

	le64_put(raw, v);
	put(text, raw, len);
}

/* ASCII as UCS-2, with its NUL. */
static void put_wide(struct text *text, const char *s, char slash)
{
	do
		put_number(text, *s == '/' ? (uint8_t)slash : (uint8_t)*s, 2);
	while (*s++);
}

static void put_path(struct text *text, const struct efi_partition *partition, const char *path)
{
	put_number(text, 4 | 1 << 8, 2); /* media: hard drive */
	put_number(text, 42, 2);
	put_number(text, partition->number, 4);
	put_number(text, partition->start, 8);
	put_number(text, partition->count, 8);
	put(text, partition->guid, sizeof(partition->guid));
	put_number(text, 2 | 2 << 8, 2); /* GPT, named by its GUID */
	put_number(text, 4 | 4 << 8, 2); /* media: file */
	put_number(text, 4 + 2 * (strlen(path) + 1), 2);
	put_wide(text, path, '\\');
	put_number(text, 0x7f | 0xff << 8, 2); /* the end */
	put_number(text, 4, 2);
}

int efi_option_make(const char *description, const struct efi_partition *partition,
	const char *path, const char *cmdline, struct bytes *ret, struct err *err)
{
	struct text text = {.len = 0};
	size_t path_at;

	put_number(&text, OPTION_ACTIVE, 4);
	put_number(&text, 0, 2);
	put_wide(&text, description, '/');
	path_at = text.len;
	put_path(&text, partition, path);
	le16_put(text.data + 4, (uint16_t)(text.len - path_at));
	put_wide(&text, cmdline, '/');
	if (text.full)
		return err_set(
			err, FAIL_BOOT, "the command line is longer than a boot entry takes");
	return bytes_copy(text.data, text.len, ret, err);
}

bool efi_option_description(const struct bytes *option, char ret[static EFI_DESCRIPTION_MAX])
{
	size_t n = 0;

	for (size_t at = HEAD_LEN; at + 2 <= option->len; at += 2) {
		uint16_t c = le16_get(option->data + at);

		if (n < EFI_DESCRIPTION_MAX)
			ret[n++] = (char)(c < 0x80 ? c : '?');
		if (c)
			continue;
		ret[EFI_DESCRIPTION_MAX - 1] = '\0';
		return true;
	}
	return false;
}

/* ---- the partition ---- */

static uint32_t sector_size(const char *disk)
{
	CLEANUP(cleanup_fd) int fd = open(disk, O_RDONLY | O_CLOEXEC);
	int size = 0;

	if (fd < 0 || ioctl(fd, BLKSSZGET, &size) < 0 || size < 512 || size > (int)SECTOR_MAX)
		return 512; /* a file */
	return (uint32_t)size;
}

int efi_partition_read(
	const char *disk, uint32_t number, struct efi_partition *ret, struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	const uint32_t sector = sector_size(disk);
	uint8_t header[92], entry[ENTRY_MIN];
	uint32_t entry_len;

	if (blockdev_open(disk, 0, &dev, err) < 0 ||
		blockdev_pread(dev, header, sizeof(header), sector, err) < 0)
		return -1;
	entry_len = le32_get(header + 84);
	if (memcmp(header, "EFI PART", 8) != 0 || entry_len < ENTRY_MIN || entry_len > SECTOR_MAX)
		return err_set(err, FAIL_BOOT, "'%s' has no GPT", disk);
	if (number == 0 || number > le32_get(header + 80) || number > NUMBER_MAX)
		return err_set(
			err, FAIL_BOOT, "the GPT of '%s' has no partition %" PRIu32, disk, number);
	if (blockdev_pread(dev, entry, sizeof(entry),
		    le64_get(header + 72) * sector + (uint64_t)(number - 1) * entry_len, err) < 0)
		return -1;
	if (mem_is_zero(entry, 16))
		return err_set(
			err, FAIL_BOOT, "the GPT of '%s' has no partition %" PRIu32, disk, number);
	*ret = (struct efi_partition){.number = number,
		.start = le64_get(entry + 32),
		.count = le64_get(entry + 40) - le64_get(entry + 32) + 1};
	memcpy(ret->guid, entry + 16, sizeof(ret->guid));
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
