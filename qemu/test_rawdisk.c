/* rawdisk: what reads a partition table and a FAT file system, and what has it mended, against ones that
 * libfdisk and mtools made. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/gpt.h"
#include "qemu/mend.h"
#include "qemu/rawdisk.h"
#include "qemu/sparse.h"
#include "tests/must.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"

#define SECTOR     RAWDISK_SECTOR
#define MIB        (UINT64_C(1) << 20)
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

static void write_file(const char *name, const uint8_t *data, size_t len)
{
	struct err err = {0};

	must(sparse_write(scratch_here(name), data, len, &err), &err);
}

/* ---- the partition table ---- */

static struct bytes new_gpt(void)
{
	static struct layout layout = {
		.size = 8 * MIB,
		.uuid = "0d9a4f0e-3b5e-4c1d-9a7b-5e2f8c6d1a40",
		.count = 2,
		.partitions = {{.name = "esp",
				       .uuid = "0d9a4f0e-3b5e-4c1d-9a7b-5e2f8c6d1a41",
				       .type = LAYOUT_ESP,
				       .start = MIB,
				       .size = 2 * MIB},
			{.name = "rootfs-a",
				.uuid = "0d9a4f0e-3b5e-4c1d-9a7b-5e2f8c6d1a42",
				.type = LAYOUT_SLOT,
				.start = 3 * MIB,
				.size = 4 * MIB}},
	};
	struct bytes disk = {0};
	struct err err = {0};

	write_file("gpt", (const uint8_t *)"", 0);
	assert_int_equal(truncate(scratch_here("gpt"), (off_t)layout.size), 0);
	must(gpt_write(scratch_here("gpt"), &layout, &err), &err);
	must(fs_read_file(scratch_here("gpt"), layout.size, &disk, &err), &err);
	return disk;
}

static void assert_finds_slot(const struct bytes *disk)
{
	const struct rawdisk raw = {.bytes = disk->data, .size = disk->len};
	struct rawspan span;
	struct err err = {0};

	must(rawdisk_partition(&raw, "rootfs-a", &span, &err), &err);
	assert_int_equal(span.start, 3 * MIB);
	assert_int_equal(span.size, 4 * MIB);
	assert_ptr_equal(span.bytes, disk->data + 3 * MIB);
	assert_int_equal(rawdisk_partition(&raw, "rootfs", &span, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
}

static void test_rawdisk__partitions_are_found_also_by_the_second_table(void **state)
{
	struct bytes disk = new_gpt();
	const struct rawdisk raw = {.bytes = disk.data, .size = disk.len};
	struct rawspan span;
	struct err err = {0};

	(void)state;
	assert_finds_slot(&disk);
	disk.data[2 * SECTOR + 60] ^= 1; /* a name: its array's checksum is wrong now */
	assert_finds_slot(&disk);
	disk.data[2 * SECTOR + 60] ^= 1;
	disk.data[SECTOR + 72] ^= 1; /* its header's */
	assert_finds_slot(&disk);
	disk.data[disk.len - SECTOR + 16] ^= 1;
	assert_int_equal(rawdisk_partition(&raw, "rootfs-a", &span, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	bytes_finish(&disk);
}

/* ---- FAT ---- */

static void mtool(const char *line)
{
	char shell[] = "/bin/sh", option[] = "-c", command[PATH_MAX];
	char *const argv[] = {shell, option, command, NULL};
	struct process_result result = {0};
	struct err err = {0};

	(void)snprintf(command, sizeof(command), "cd %s && %s", scratch_here("."), line);
	must(process_run(argv, 60, &result, &err), &err);
	if (result.exit_status != 0)
		fail_msg("%s: %s", line, result.output);
}

#define BIG_LEN 70001u

/* Sizes that give FAT12, FAT16 and FAT32. */
static const struct {
	unsigned int mib;
	const char *options;
} FATS[] = {{2, ""}, {16, ""}, {64, "-F"}};

static struct bytes new_fat(size_t number)
{
	static uint8_t big[BIG_LEN];
	struct bytes fat = {0};
	struct err err = {0};
	char line[512];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 31 >> 3);
	write_file("big", big, sizeof(big));
	write_file("small", (const uint8_t *)"hello", 5);
	(void)snprintf(line, sizeof(line),
		"rm -f fat && truncate -s %uM fat && mformat -i fat %s :: && mmd -i fat ::/EFI "
		"::/EFI/BOOT ::/loader && mcopy -i fat small ::/first && mcopy -i fat big "
		"::/EFI/BOOT/BOOTX64.EFI && mdel -i fat ::/first && mcopy -i fat small "
		"'::/loader/abide-group-a+3-0.conf' && mcopy -i fat small ::/loader/grubenv",
		FATS[number].mib, FATS[number].options);
	mtool(line);
	must(fs_read_file(scratch_here("fat"), FATS[number].mib * MIB, &fat, &err), &err);
	return fat;
}

static bool collect(const struct fat_entry *entry, void *arg)
{
	(void)snprintf((char *)arg + strlen(arg), 256 - strlen(arg), "%s%s:%u ", entry->name,
		entry->is_directory ? "/" : "", entry->size);
	return true;
}

static void test_rawdisk__files_on_fat_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(FATS); i++) {
		struct bytes fat = new_fat(i), big = {0};
		const struct rawspan span = {fat.data, fat.len, 0};
		static uint8_t found[BIG_LEN + 1];
		char names[256] = "";
		struct err err = {0};
		size_t len = 0;

		must(fs_read_file(scratch_here("big"), BIG_LEN, &big, &err), &err);
		must(fat_read_file(
			     &span, "/efi/boot/bootx64.efi", found, sizeof(found), &len, &err),
			&err);
		assert_int_equal(len, BIG_LEN);
		assert_memory_equal(found, big.data, BIG_LEN);
		must(fat_read_file(&span, "loader/abide-group-a+3-0.conf", found, 5, &len, &err),
			&err);
		assert_int_equal(len, 5);
		assert_memory_equal(found, "hello", 5);
		must(fat_list(&span, "/loader", collect, names, &err), &err);
		assert_string_equal(names, "./:0 ../:0 abide-group-a+3-0.conf:5 grubenv:5 ");
		bytes_finish(&big);
		bytes_finish(&fat);
	}
}

static void test_rawdisk__place_of_a_file_on_fat_is_found(void **state)
{
	struct bytes fat = new_fat(2);
	const struct rawspan span = {fat.data, fat.len, 512};
	struct rawspan found;
	struct err err = {0};
	size_t len;
	static uint8_t big[BIG_LEN];

	(void)state;
	must(fat_place(&span, "/loader/grubenv", &found, &err), &err);
	assert_int_equal(found.size, 5);
	assert_memory_equal(found.bytes, "hello", 5);
	assert_int_equal(found.start, 512 + (found.bytes - fat.data));
	/* It took the cluster of the file that was removed, and those behind its directory. */
	must(fat_read_file(&span, "/EFI/BOOT/BOOTX64.EFI", big, sizeof(big), &len, &err), &err);
	if (fat_place(&span, "/EFI/BOOT/BOOTX64.EFI", &found, &err) == 0)
		assert_memory_equal(found.bytes, big, sizeof(big));
	else
		assert_non_null(strstr(err.msg, "several pieces"));
	bytes_finish(&fat);
}

static void test_rawdisk__what_is_not_on_fat_is_told(void **state)
{
	struct bytes fat = new_fat(2);
	const struct rawspan span = {fat.data, fat.len, 0},
			     none = {fat.data + MIB, fat.len - MIB, 0};
	struct err err = {0};
	uint8_t found[8];
	size_t len;

	(void)state;
	assert_int_equal(fat_read_file(&span, "/first", found, 8, &len, &err), -1);
	assert_int_equal(fat_read_file(&span, "/loader", found, 8, &len, &err), -1);
	assert_int_equal(fat_read_file(&span, "/EFI/BOOT/BOOTX64.EFI", found, 8, &len, &err), -1);
	assert_int_equal(fat_read_file(&span, "/loader/grubenv/x", found, 8, &len, &err), -1);
	assert_int_equal(fat_read_file(&none, "/loader/grubenv", found, 8, &len, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	bytes_finish(&fat);
}

static void test_rawdisk__changed_file_on_fat_is_told(void **state)
{
	struct bytes before = new_fat(2), fat = new_fat(2);
	const struct rawspan span = {fat.data, fat.len, 0}, old = {before.data, before.len, 0};
	struct err err = {0};

	(void)state;
	must(fat_compare_file(&span, &old, "/EFI/BOOT/BOOTX64.EFI", &err), &err);
	for (uint8_t *at = fat.data;
		(at = memmem(at, fat.len - (size_t)(at - fat.data), "hello", 5));)
		*at = 'j';
	must(fat_compare_file(&span, &old, "/EFI/BOOT/BOOTX64.EFI", &err), &err);
	assert_int_equal(fat_compare_file(&span, &old, "/loader/grubenv", &err), -1);
	assert_non_null(strstr(err.msg, "has changed"));
	bytes_finish(&before);
	bytes_finish(&fat);
}

/* ---- fsck.fat ---- */

#define FAT_MIB   2u
#define FAT_TABLE 512u /* where mformat puts it on a small one */

/* A disk with FATS[0] on its partition "esp". */
static struct bytes new_disk(void)
{
	struct bytes disk = new_gpt(), fat = new_fat(0);

	memcpy(disk.data + MIB, fat.data, FAT_MIB * MIB);
	bytes_finish(&fat);
	return disk;
}

/* FAT12's entry, in both copies; of an even cluster. */
static void set_next(struct bytes *disk, uint32_t cluster, uint16_t next)
{
	uint8_t *boot = disk->data + MIB;
	uint64_t len = le16_get(boot + 22) * (uint64_t)SECTOR;

	assert_int_equal(cluster % 2, 0);
	for (uint64_t copy = 0; copy < 2; copy++) {
		uint8_t *at = boot + FAT_TABLE + copy * len + cluster + cluster / 2;

		at[0] = (uint8_t)next;
		at[1] = (uint8_t)((at[1] & 0xf0) | next >> 8);
	}
}

static const struct mend_place ESP = {.partition = "esp"};

static void test_rawdisk__mended_is_what_linux_would_stumble_over(void **state)
{
	CLEANUP(bytes_finish) struct bytes disk = new_disk();
	CLEANUP(mend_close) struct mend *mend = NULL;
	const struct rawdisk raw = {.bytes = disk.data, .size = disk.len};
	struct rawdisk after;
	struct rawspan esp;
	struct err err = {0};
	char names[256] = "";
	uint8_t found[8];
	bool is_new;
	size_t len;

	(void)state;
	must(mend_open(&raw, &ESP, NULL, &mend, &err), &err);
	must(mend_state(mend, &raw, 0, &after, &is_new, &err), &err);
	assert_true(is_new);
	assert_memory_equal(after.bytes + MIB, disk.data + MIB, FAT_MIB * MIB);
	must(mend_state(mend, &raw, 0, &after, &is_new, &err), &err);
	assert_false(is_new);
	/* A cluster that nobody owns: it becomes a file. */
	set_next(&disk, 500, 0xfff);
	must(mend_state(mend, &raw, 0, &after, &is_new, &err), &err);
	assert_true(is_new);
	must(rawdisk_partition(&after, "esp", &esp, &err), &err);
	must(fat_read_file(&esp, "/loader/grubenv", found, sizeof(found), &len, &err), &err);
	assert_int_equal(len, 5);
	must(fat_list(&esp, "/", collect, names, &err), &err);
	assert_non_null(strstr(names, "FSCK0000.REC"));
}

static void test_rawdisk__state_is_mended_once(void **state)
{
	CLEANUP(bytes_finish) struct bytes disk = new_disk();
	CLEANUP(mend_close) struct mend *mend = NULL;
	const struct rawdisk raw = {.bytes = disk.data, .size = disk.len};
	/* The partition's last sector but one, and what lies before the partition. */
	struct write_log_entry entries[] = {
		{.off = 3 * MIB - 2 * SECTOR, .len = SECTOR}, {.off = 0, .len = SECTOR}};
	const struct write_log log = {.entries = entries, .count = ARRAY_LEN(entries)};
	static const struct {
		uint64_t at; /* in the partition, from its end */
		bool is_new;
	} STATES[] = {{SECTOR, true}, {SECTOR, false}, {2 * SECTOR, true}, {2 * SECTOR, false},
		{SECTOR, false}};
	struct rawdisk after;
	struct err err = {0};
	bool is_new;

	(void)state;
	must(mend_open(&raw, &ESP, &log, &mend, &err), &err);
	for (size_t i = 0; i < ARRAY_LEN(STATES); i++) {
		disk.data[3 * MIB - STATES[i].at] ^= 1;
		must(mend_state(mend, &raw, 0, &after, &is_new, &err), &err);
		assert_int_equal(is_new, STATES[i].is_new);
	}
}

/* What lies before it is the factory's. */
static void test_rawdisk__flash_behind_the_disk_is_that_of_the_state(void **state)
{
	CLEANUP(bytes_finish) struct bytes disk = new_disk();
	CLEANUP(mend_close) struct mend *mend = NULL;
	const struct mend_place place = {.partition = "esp", .flash = SECTOR};
	const struct rawdisk raw = {.bytes = disk.data, .size = disk.len};
	struct rawdisk after;
	struct err err = {0};
	bool is_new;

	(void)state;
	must(mend_open(&raw, &place, NULL, &mend, &err), &err);
	memset(disk.data + disk.len - 2 * SECTOR, 0x5a, 2 * SECTOR);
	must(mend_state(mend, &raw, 0, &after, &is_new, &err), &err);
	assert_memory_equal(after.bytes + disk.len - SECTOR, disk.data + disk.len - SECTOR, SECTOR);
	assert_int_not_equal(after.bytes[disk.len - SECTOR - 1], 0x5a);
}

static void test_rawdisk__what_fsck_does_to_a_slot_is_told(void **state)
{
	CLEANUP(bytes_finish) struct bytes disk = new_disk();
	CLEANUP(mend_close) struct mend *mend = NULL;
	const struct rawdisk raw = {.bytes = disk.data, .size = disk.len};
	/* Said to be a slot's content, and is the table that fsck.fat writes. */
	const struct rawspan wrong = {NULL, SECTOR, MIB}, outside = {NULL, SECTOR, 5 * MIB};
	const struct mend_place of_wrong = {.partition = "esp", .slots = &wrong, .slot_count = 1};
	const struct mend_place of_outside = {
		.partition = "esp", .slots = &outside, .slot_count = 1};
	const struct mend_place none = {.partition = "rootfs"};
	struct rawdisk after;
	struct err err = {0};
	bool is_new;

	(void)state;
	assert_int_equal(mend_open(&raw, &of_outside, NULL, &mend, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_int_equal(mend_open(&raw, &none, NULL, &mend, &err), -1);
	must(mend_open(&raw, &of_wrong, NULL, &mend, &err), &err);
	assert_int_equal(mend_state(mend, &raw, 0, &after, &is_new, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	assert_non_null(strstr(err.msg, "fsck.fat"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rawdisk__partitions_are_found_also_by_the_second_table),
		TEST(test_rawdisk__files_on_fat_are_read),
		TEST(test_rawdisk__place_of_a_file_on_fat_is_found),
		TEST(test_rawdisk__what_is_not_on_fat_is_told),
		TEST(test_rawdisk__changed_file_on_fat_is_told),
		TEST(test_rawdisk__mended_is_what_linux_would_stumble_over),
		TEST(test_rawdisk__state_is_mended_once),
		TEST(test_rawdisk__flash_behind_the_disk_is_that_of_the_state),
		TEST(test_rawdisk__what_fsck_does_to_a_slot_is_told),
	};

	return cmocka_run_group_tests_name("rawdisk", tests, NULL, NULL);
}
