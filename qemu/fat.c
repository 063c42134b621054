/* FAT as Microsoft's "FAT: General Overview of On-Disk Format" 1.03 describes it, read only. */
#include <string.h>
#include <strings.h>

#include "qemu/rawdisk.h"
#include "updater/mem.h"

enum boot_offset {
	BOOT_SECTOR_LEN = 11,
	BOOT_CLUSTER_SECTORS = 13,
	BOOT_RESERVED = 14,
	BOOT_FATS = 16,
	BOOT_ROOT_ENTRIES = 17,
	BOOT_SECTORS_16 = 19,
	BOOT_FAT_SECTORS_16 = 22,
	BOOT_SECTORS_32 = 32,
	BOOT_FAT_SECTORS_32 = 36,
	BOOT_ROOT_CLUSTER = 44,
	BOOT_SIGNATURE = 510,
};
enum entry_offset {
	ENTRY_ATTRIBUTES = 11,
	ENTRY_CASE = 12, /* bits 3, 4: the short name's base, extension are lower case */
	ENTRY_CLUSTER_HIGH = 20,
	ENTRY_CLUSTER_LOW = 26,
	ENTRY_SIZE = 28,
	ENTRY_LEN = 32,
};
enum entry_attribute {
	ATTRIBUTE_VOLUME = 0x08,
	ATTRIBUTE_DIRECTORY = 0x10,
	ATTRIBUTE_LONG = 0x0f,
};
#define ENTRY_FREE    0xe5u
#define LONG_LAST     0x40u
#define LONG_UNITS    13u /* UTF-16 units of a long name in one entry */
#define LONG_MAX      20u
#define NAME_CAP      256u
#define FAT12_MAX     4085u /* clusters: fewer is FAT12, and fewer than the next FAT16 */
#define FAT16_MAX     65525u
#define FIRST_CLUSTER 2u

struct fat {
	const uint8_t *bytes;
	uint64_t size;
	uint64_t table; /* bytes, where it begins */
	uint64_t root; /* of FAT12 and FAT16 */
	uint64_t root_len;
	uint64_t data; /* where cluster 2 begins */
	uint32_t cluster_len;
	uint32_t clusters;
	uint32_t root_cluster; /* of FAT32; else 0 */
};

/* A file or directory: a chain of clusters, or the root directory of FAT12 and FAT16. */
struct node {
	uint32_t cluster; /* 0: that root, or an empty file */
	uint32_t size;
	bool is_directory;
};

static int open_fat(const struct rawspan *span, struct fat *ret, struct err *err)
{
	const uint8_t *boot = span->bytes;
	uint32_t sector = le16_get(boot + BOOT_SECTOR_LEN);
	uint64_t fat_sectors = le16_get(boot + BOOT_FAT_SECTORS_16);
	uint64_t sectors = le16_get(boot + BOOT_SECTORS_16);

	if (span->size < RAWDISK_SECTOR || le16_get(boot + BOOT_SIGNATURE) != 0xaa55 ||
		sector != RAWDISK_SECTOR || boot[BOOT_CLUSTER_SECTORS] == 0)
		return err_set(err, FAIL_DRIFT, "no FAT file system");
	if (fat_sectors == 0)
		fat_sectors = le32_get(boot + BOOT_FAT_SECTORS_32);
	if (sectors == 0)
		sectors = le32_get(boot + BOOT_SECTORS_32);
	*ret = (struct fat){.bytes = span->bytes, .size = span->size};
	ret->table = (uint64_t)le16_get(boot + BOOT_RESERVED) * sector;
	ret->root = ret->table + boot[BOOT_FATS] * fat_sectors * sector;
	ret->root_len = (uint64_t)le16_get(boot + BOOT_ROOT_ENTRIES) * ENTRY_LEN;
	ret->data = ret->root + ret->root_len;
	ret->cluster_len = boot[BOOT_CLUSTER_SECTORS] * sector;
	if (sectors * sector > span->size || ret->data >= sectors * sector)
		return err_set(err, FAIL_DRIFT, "a FAT file system larger than its partition");
	ret->clusters = (uint32_t)((sectors * sector - ret->data) / ret->cluster_len);
	if (ret->clusters >= FAT16_MAX)
		ret->root_cluster = le32_get(boot + BOOT_ROOT_CLUSTER);
	return 0;
}

/* The cluster after this one; 0: it is the last, or the chain is damaged. */
static uint32_t next_cluster(const struct fat *fat, uint32_t cluster)
{
	const uint8_t *table = fat->bytes + fat->table;
	uint32_t next;

	if (fat->clusters < FAT12_MAX) {
		next = le16_get(table + cluster + cluster / 2);
		next = cluster & 1 ? next >> 4 : next & 0xfff;
	} else if (fat->clusters < FAT16_MAX) {
		next = le16_get(table + 2 * (size_t)cluster);
	} else {
		next = le32_get(table + 4 * (size_t)cluster) & 0x0fffffff;
	}
	return next >= FIRST_CLUSTER && next - FIRST_CLUSTER < fat->clusters ? next : 0;
}

/* The piece of a node that begins at `off`, as far as it lies in one place: NULL at its end. Walks
 * the chain from the start each time: what is read here is short. */
static const uint8_t *piece(
	const struct fat *fat, const struct node *node, uint64_t off, uint64_t *ret_len)
{
	uint32_t cluster = node->cluster;
	uint64_t skip = off / fat->cluster_len;

	if (cluster == 0) {
		if (!node->is_directory || off >= fat->root_len)
			return NULL;
		*ret_len = fat->root_len - off;
		return fat->bytes + fat->root + off;
	}
	if (cluster < FIRST_CLUSTER || cluster - FIRST_CLUSTER >= fat->clusters ||
		skip > fat->clusters)
		return NULL;
	while (skip-- > 0 && cluster)
		cluster = next_cluster(fat, cluster);
	if (!cluster)
		return NULL;
	*ret_len = fat->cluster_len - off % fat->cluster_len;
	return fat->bytes + fat->data + (uint64_t)(cluster - FIRST_CLUSTER) * fat->cluster_len +
	       off % fat->cluster_len;
}

/* ---- directories ---- */

/* A long name comes in entries before the short one, its end first. */
struct long_name {
	char text[LONG_MAX * LONG_UNITS + 1];
	uint8_t expected; /* number of the entry that has to come next; 0: complete, or none */
	bool valid;
};

static void add_long(struct long_name *name, const uint8_t *entry)
{
	static const uint8_t UNITS[LONG_UNITS] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};
	uint8_t number = entry[0] & (uint8_t)~LONG_LAST;

	if (entry[0] & LONG_LAST) {
		memset(name, 0, sizeof(*name));
		name->valid = number > 0 && number <= LONG_MAX;
		name->expected = number;
	}
	if (!name->valid || number != name->expected) {
		name->valid = false;
		return;
	}
	name->expected--;
	for (size_t i = 0; i < LONG_UNITS; i++) {
		uint16_t unit = le16_get(entry + UNITS[i]);

		if (unit == 0xffff)
			unit = 0;
		/* Nothing that we look for has others. */
		name->text[name->expected * LONG_UNITS + i] = unit < 128 ? (char)unit : '?';
	}
}

static void short_name(const uint8_t *entry, char ret[static NAME_CAP])
{
	size_t len = 0;

	for (size_t i = 0; i < 11; i++) {
		bool lower = entry[ENTRY_CASE] & (i < 8 ? 8 : 16);
		char c = (char)entry[i];

		if (c == ' ')
			continue;
		if (i >= 8 && !memchr(ret, '.', len))
			ret[len++] = '.';
		ret[len++] = lower && c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	ret[len] = '\0';
}

/* Calls `each` with the node, too. */
typedef bool each_node(const struct fat_entry *entry, const struct node *node, void *arg);

static bool give(const uint8_t *raw, const struct long_name *name, each_node *each, void *arg)
{
	struct fat_entry entry = {.size = le32_get(raw + ENTRY_SIZE),
		.is_directory = raw[ENTRY_ATTRIBUTES] & ATTRIBUTE_DIRECTORY};
	const struct node node = {
		.cluster = (uint32_t)le16_get(raw + ENTRY_CLUSTER_HIGH) << 16 |
			   le16_get(raw + ENTRY_CLUSTER_LOW),
		.size = entry.size,
		.is_directory = entry.is_directory,
	};

	if (name->valid && name->expected == 0)
		memcpy(entry.name, name->text, NAME_CAP - 1);
	else
		short_name(raw, entry.name);
	return each(&entry, &node, arg);
}

static void walk(const struct fat *fat, const struct node *directory, each_node *each, void *arg)
{
	struct long_name name = {.valid = false};
	uint64_t len;

	for (uint64_t off = 0;; off += ENTRY_LEN) {
		const uint8_t *raw = piece(fat, directory, off, &len);

		if (!raw || raw[0] == 0)
			return;
		if (raw[0] == ENTRY_FREE) {
			name.valid = false;
		} else if ((raw[ENTRY_ATTRIBUTES] & ATTRIBUTE_LONG) == ATTRIBUTE_LONG) {
			add_long(&name, raw);
		} else {
			if (!(raw[ENTRY_ATTRIBUTES] & ATTRIBUTE_VOLUME) &&
				!give(raw, &name, each, arg))
				return;
			name.valid = false;
		}
	}
}

struct lookup {
	const char *name;
	size_t len;
	struct node found;
	bool is_found;
};

static bool compare(const struct fat_entry *entry, const struct node *node, void *arg)
{
	struct lookup *lookup = arg;

	if (strlen(entry->name) != lookup->len ||
		strncasecmp(entry->name, lookup->name, lookup->len) != 0)
		return true;
	lookup->found = *node;
	lookup->is_found = true;
	return false;
}

static int find(const struct fat *fat, const char *path, struct node *ret, struct err *err)
{
	struct node node = {.cluster = fat->root_cluster, .is_directory = true};

	for (const char *at = path + strspn(path, "/"); *at;) {
		struct lookup lookup = {.name = at, .len = strcspn(at, "/")};

		if (node.is_directory)
			walk(fat, &node, compare, &lookup);
		if (!lookup.is_found)
			return err_set(err, FAIL_DRIFT, "'%s' is not there", path);
		node = lookup.found;
		at += lookup.len;
		at += strspn(at, "/");
	}
	*ret = node;
	return 0;
}

struct listing {
	fat_each *each;
	void *arg;
};

static bool pass_on(const struct fat_entry *entry, const struct node *node, void *arg)
{
	const struct listing *listing = arg;

	(void)node;
	return listing->each(entry, listing->arg);
}

int fat_list(
	const struct rawspan *fat, const char *path, fat_each *each, void *arg, struct err *err)
{
	struct listing listing = {each, arg};
	struct node node;
	struct fat fs;

	if (open_fat(fat, &fs, err) < 0 || find(&fs, path, &node, err) < 0)
		return -1;
	if (!node.is_directory)
		return err_set(err, FAIL_DRIFT, "'%s' is not a directory", path);
	walk(&fs, &node, pass_on, &listing);
	return 0;
}

/* Reads a file from its begin to its end. */
struct cursor {
	struct fat fat;
	struct node node;
	uint64_t done; /* bytes */
	uint32_t cluster; /* that byte `done` is in */
};

static int open_file(
	const struct rawspan *span, const char *path, struct cursor *ret, struct err *err)
{
	*ret = (struct cursor){.done = 0};
	if (open_fat(span, &ret->fat, err) < 0 || find(&ret->fat, path, &ret->node, err) < 0)
		return -1;
	ret->cluster = ret->node.cluster;
	return ret->node.is_directory ? err_set(err, FAIL_DRIFT, "'%s' is a directory", path) : 0;
}

/* The next piece, at most a cluster; *ret_len is 0 at the end. */
static int read_piece(struct cursor *cursor, const char *path, const uint8_t **ret, size_t *ret_len,
	struct err *err)
{
	const struct fat *fat = &cursor->fat;
	uint64_t left = cursor->node.size - cursor->done;

	*ret_len = 0;
	if (left == 0)
		return 0;
	if (cursor->cluster < FIRST_CLUSTER || cursor->cluster - FIRST_CLUSTER >= fat->clusters)
		return err_set(err, FAIL_DRIFT, "'%s' ends after %llu of %u bytes", path,
			(unsigned long long)cursor->done, cursor->node.size);
	*ret = fat->bytes + fat->data +
	       (uint64_t)(cursor->cluster - FIRST_CLUSTER) * fat->cluster_len;
	*ret_len = left < fat->cluster_len ? left : fat->cluster_len;
	cursor->done += *ret_len;
	cursor->cluster = next_cluster(fat, cursor->cluster);
	return 0;
}

int fat_read_file(const struct rawspan *fat, const char *path, void *ret, size_t cap,
	size_t *ret_len, struct err *err)
{
	struct cursor cursor;
	const uint8_t *from;
	size_t len, done = 0;

	if (open_file(fat, path, &cursor, err) < 0)
		return -1;
	if (cursor.node.size > cap)
		return err_set(err, FAIL_DRIFT, "'%s': %u bytes, expected at most %zu", path,
			cursor.node.size, cap);
	do {
		if (read_piece(&cursor, path, &from, &len, err) < 0)
			return -1;
		if (len > 0)
			memcpy((uint8_t *)ret + done, from, len);
		done += len;
	} while (len > 0);
	*ret_len = done;
	return 0;
}

int fat_compare_file(
	const struct rawspan *fat, const struct rawspan *other, const char *path, struct err *err)
{
	struct cursor cursor, expected;

	if (open_file(other, path, &expected, err) < 0 || open_file(fat, path, &cursor, err) < 0)
		return -1;
	/* As they have one cluster length, pieces match. */
	if (cursor.node.size != expected.node.size ||
		cursor.fat.cluster_len != expected.fat.cluster_len)
		return err_set(err, FAIL_DRIFT, "'%s' has another length", path);
	while (cursor.done < cursor.node.size) {
		const uint8_t *a = NULL, *b = NULL;
		size_t len, expected_len;

		if (read_piece(&cursor, path, &a, &len, err) < 0 ||
			read_piece(&expected, path, &b, &expected_len, err) < 0)
			return -1;
		if (len != expected_len || (len > 0 && memcmp(a, b, len) != 0))
			return err_set(err, FAIL_DRIFT, "'%s' has changed", path);
	}
	return 0;
}

int fat_place(const struct rawspan *fat, const char *path, struct rawspan *ret, struct err *err)
{
	struct cursor cursor;
	const uint8_t *piece_at = NULL;
	uint64_t done = 0;
	size_t len = 0;

	if (open_file(fat, path, &cursor, err) < 0)
		return -1;
	for (;;) {
		if (read_piece(&cursor, path, &piece_at, &len, err) < 0)
			return -1;
		if (len == 0)
			break;
		if (done == 0)
			*ret = (struct rawspan){piece_at, cursor.node.size,
				fat->start + (uint64_t)(piece_at - fat->bytes)};
		if (piece_at != ret->bytes + done)
			return err_set(err, FAIL_DRIFT, "'%s' lies in several pieces", path);
		done += len;
	}
	return done > 0 ? 0 : err_set(err, FAIL_DRIFT, "'%s' is empty", path);
}
