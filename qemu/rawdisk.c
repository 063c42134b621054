#include "qemu/rawdisk.h"

#include <string.h>

#include "updater/mem.h"

/* UEFI specification 2.10, chapter 5.3: a header in a sector of its own, and an array of entries. */
enum header_offset {
	HEADER_LEN = 12,
	HEADER_CRC = 16,
	HEADER_SELF = 24,
	HEADER_ENTRIES = 72,
	HEADER_COUNT = 80,
	HEADER_ENTRY_LEN = 84,
	HEADER_ENTRIES_CRC = 88,
	HEADER_END = 92,
};
enum entry_offset {
	ENTRY_FIRST = 32,
	ENTRY_LAST = 40,
	ENTRY_NAME = 56, /* UTF-16, 36 units */
	ENTRY_MIN = 128,
};
#define NAME_MAX_UNITS 36u
#define ENTRIES_MAX    1024u
#define USUAL_LEN      16384u /* 128 entries of 128 bytes */

static const uint8_t SIGNATURE[8] = {'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T'};

/* CRC-32 as in IEEE 802.3, a nibble at a time. */
static uint32_t crc32(const uint8_t *p, size_t len, uint32_t crc)
{
	static const uint32_t TABLE[16] = {0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8,
		0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ TABLE[crc & 15];
		crc = crc >> 4 ^ TABLE[crc & 15];
	}
	return crc;
}

/* A disk is asked a hundred thousand times, and its table hardly ever changes: the checksum is taken
 * anew when the bytes are others than the last time. */
static uint32_t entries_crc32(const uint8_t *p, size_t len)
{
	static uint8_t last[USUAL_LEN];
	static size_t last_len;
	static uint32_t last_crc;

	if (len > sizeof(last))
		return ~crc32(p, len, UINT32_MAX);
	if (len != last_len || memcmp(p, last, len) != 0) {
		last_crc = ~crc32(p, len, UINT32_MAX);
		last_len = len;
		memcpy(last, p, len);
	}
	return last_crc;
}

struct table {
	const uint8_t *entries;
	uint32_t count;
	uint32_t entry_len;
};

/* The table whose header is in sector `lba`; false: it is not valid. */
static bool read_table(const struct rawdisk *disk, uint64_t lba, struct table *ret)
{
	static const uint8_t zero[4] = {0};
	const uint8_t *head = disk->bytes + lba * RAWDISK_SECTOR;
	uint64_t entries_lba, len;
	uint32_t crc;

	if (memcmp(head, SIGNATURE, sizeof(SIGNATURE)) != 0 ||
		le32_get(head + HEADER_LEN) < HEADER_END ||
		le32_get(head + HEADER_LEN) > RAWDISK_SECTOR || le64_get(head + HEADER_SELF) != lba)
		return false;
	/* The header's own checksum counts as zero in it. */
	crc = crc32(head, HEADER_CRC, UINT32_MAX);
	crc = crc32(zero, sizeof(zero), crc);
	crc = crc32(head + HEADER_CRC + 4, le32_get(head + HEADER_LEN) - HEADER_CRC - 4, crc);
	if (~crc != le32_get(head + HEADER_CRC))
		return false;
	entries_lba = le64_get(head + HEADER_ENTRIES);
	ret->count = le32_get(head + HEADER_COUNT);
	ret->entry_len = le32_get(head + HEADER_ENTRY_LEN);
	len = (uint64_t)ret->count * ret->entry_len;
	if (ret->count > ENTRIES_MAX || ret->entry_len < ENTRY_MIN ||
		ret->entry_len > RAWDISK_SECTOR || entries_lba > disk->size / RAWDISK_SECTOR ||
		len > disk->size - entries_lba * RAWDISK_SECTOR)
		return false;
	ret->entries = disk->bytes + entries_lba * RAWDISK_SECTOR;
	return entries_crc32(ret->entries, len) == le32_get(head + HEADER_ENTRIES_CRC);
}

/* Names are compared as far as they are ASCII, which ours are. */
static bool has_name(const uint8_t *entry, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < NAME_MAX_UNITS; i++) {
		uint16_t unit = le16_get(entry + ENTRY_NAME + 2 * i);

		if (unit != (i < len ? (uint8_t)name[i] : 0))
			return false;
		if (unit == 0)
			return true;
	}
	return len == NAME_MAX_UNITS;
}

int rawdisk_partition(
	const struct rawdisk *disk, const char *name, struct rawspan *ret, struct err *err)
{
	uint64_t sectors = disk->size / RAWDISK_SECTOR;
	struct table table;

	if (sectors < 4 || (!read_table(disk, 1, &table) && !read_table(disk, sectors - 1, &table)))
		return err_set(err, FAIL_DRIFT, "no valid partition table");
	for (uint32_t i = 0; i < table.count; i++) {
		const uint8_t *entry = table.entries + (size_t)i * table.entry_len;
		uint64_t first = le64_get(entry + ENTRY_FIRST);
		uint64_t last = le64_get(entry + ENTRY_LAST);

		if (!has_name(entry, name) || first > last || last >= sectors)
			continue;
		*ret = (struct rawspan){disk->bytes + first * RAWDISK_SECTOR,
			(last - first + 1) * RAWDISK_SECTOR, first * RAWDISK_SECTOR};
		return 0;
	}
	return err_set(err, FAIL_DRIFT, "no partition '%s'", name);
}
