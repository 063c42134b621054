#include "qemu/rawdisk.h"

#include <string.h>

#include "updater/crc32.h"
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

/* A disk is asked a hundred thousand times, and its table hardly ever changes: the checksum is taken
 * anew when the bytes are others than the last time. */
static uint32_t entries_crc32(const uint8_t *p, size_t len)
{
	static uint8_t last[USUAL_LEN];
	static size_t last_len;
	static uint32_t last_crc;

	if (len > sizeof(last))
		return crc32_add(0, p, len);
	if (len != last_len || memcmp(p, last, len) != 0) {
		last_crc = crc32_add(0, p, len);
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
	crc = crc32_add(0, head, HEADER_CRC);
	crc = crc32_add(crc, zero, sizeof(zero));
	crc = crc32_add(crc, head + HEADER_CRC + 4, le32_get(head + HEADER_LEN) - HEADER_CRC - 4);
	if (crc != le32_get(head + HEADER_CRC))
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
