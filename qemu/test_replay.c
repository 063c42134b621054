/* replay: what reads a write log, a partition table, a FAT file system and crash states, against
 * ones that libfdisk and mtools made or whose every byte is known. No virtual device is started. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/gpt.h"
#include "qemu/crash.h"
#include "qemu/sparse.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"

#define SECTOR    RAWDISK_SECTOR
#define MIB       (UINT64_C(1) << 20)
#define LOG_MAGIC UINT64_C(0x6a736677736872)

static char dir[] = "/tmp/abide-replay-XXXXXX";

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char program[] = "/bin/rm", options[] = "-rf";
	char *const argv[] = {program, options, dir, NULL};
	struct process_result result = {0};
	struct err err;

	(void)state;
	return process_run(argv, 60, &result, &err);
}

static const char *path_of(const char *name)
{
	static char paths[4][256]; /* so many at a time */
	static unsigned int next;
	char *path = paths[next++ % ARRAY_LEN(paths)];

	(void)snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void must(int result, const struct err *err)
{
	if (result < 0)
		fail_msg("%s", err->msg);
}

static void write_file(const char *name, const uint8_t *data, size_t len)
{
	struct err err = {0};

	must(sparse_write(path_of(name), data, len, &err), &err);
}

/* ---- the write log ---- */

struct log_file {
	uint8_t *data;
	size_t len;
};

static void log_begin(struct log_file *log)
{
	log->data = calloc(1, 4 * MIB);
	assert_non_null(log->data);
	log->len = SECTOR;
	le64_put(log->data, LOG_MAGIC);
	le64_put(log->data + 8, 1);
	le32_put(log->data + 24, SECTOR);
}

static void log_add(
	struct log_file *log, uint64_t sector, uint64_t sectors, uint64_t flags, int byte)
{
	le64_put(log->data + log->len, sector);
	le64_put(log->data + log->len + 8, sectors);
	le64_put(log->data + log->len + 16, flags);
	log->len += SECTOR;
	le64_put(log->data + 16, le64_get(log->data + 16) + 1);
	if (flags & WRITE_LOG_DISCARD)
		return;
	memset(log->data + log->len, byte, sectors * SECTOR);
	log->len += sectors * SECTOR;
}

static void log_end(struct log_file *log, const char *name)
{
	write_file(name, log->data, log->len);
	free(log->data);
}

static void test_replay__log_is_read_entry_by_entry(void **state)
{
	struct write_log log = {0};
	struct log_file file;
	struct err err = {0};

	(void)state;
	log_begin(&file);
	log_add(&file, 3, 2, 0, 'x');
	log_add(&file, 0, 0, WRITE_LOG_FLUSH, 0);
	log_add(&file, 9, 4, WRITE_LOG_DISCARD, 0);
	log_end(&file, "log");
	must(write_log_open(path_of("log"), &log, &err), &err);
	assert_int_equal(log.count, 3);
	assert_int_equal(log.entries[0].off, 3 * SECTOR);
	assert_int_equal(log.entries[0].len, 2 * SECTOR);
	assert_int_equal(log.entries[0].data[2 * SECTOR - 1], 'x');
	assert_null(log.entries[1].data);
	assert_int_equal(log.entries[1].flags, WRITE_LOG_FLUSH);
	assert_null(log.entries[2].data);
	assert_int_equal(log.entries[2].len, 4 * SECTOR);
	write_log_close(&log);
}

static void test_replay__log_ends_where_it_was_cut_off(void **state)
{
	struct write_log log = {0};
	struct log_file file;
	struct err err = {0};

	(void)state;
	log_begin(&file);
	log_add(&file, 1, 1, 0, 'x');
	log_add(&file, 2, 8, 0, 'y');
	file.len -= SECTOR;
	log_end(&file, "log");
	must(write_log_open(path_of("log"), &log, &err), &err);
	assert_int_equal(log.count, 1);
	write_log_close(&log);
}

static void test_replay__what_is_no_log_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint64_t value;
	} BAD[] = {{0, 1}, {8, 2}, {16, 1000000}, {24, 100}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
		struct write_log log = {0};
		struct log_file file;
		struct err err = {0};

		log_begin(&file);
		log_add(&file, 1, 1, 0, 'x');
		le64_put(file.data + BAD[i].at, BAD[i].value);
		log_end(&file, "log");
		assert_int_equal(write_log_open(path_of("log"), &log, &err), -1);
		assert_int_equal(err.code, FAIL_UNTRUSTED);
	}
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
	assert_int_equal(truncate(path_of("gpt"), (off_t)layout.size), 0);
	must(gpt_write(path_of("gpt"), &layout, &err), &err);
	must(fs_read_file(path_of("gpt"), layout.size, &disk, &err), &err);
	return disk;
}

static void assert_finds_slot(const struct bytes *disk)
{
	const struct rawdisk raw = {disk->data, disk->len};
	struct rawspan span;
	struct err err = {0};

	must(rawdisk_partition(&raw, "rootfs-a", &span, &err), &err);
	assert_int_equal(span.start, 3 * MIB);
	assert_int_equal(span.size, 4 * MIB);
	assert_ptr_equal(span.bytes, disk->data + 3 * MIB);
	assert_int_equal(rawdisk_partition(&raw, "rootfs", &span, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
}

static void test_replay__partitions_are_found_also_by_the_second_table(void **state)
{
	struct bytes disk = new_gpt();
	const struct rawdisk raw = {disk.data, disk.len};
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
	char shell[] = "/bin/sh", option[] = "-c", command[1024];
	char *const argv[] = {shell, option, command, NULL};
	struct process_result result = {0};
	struct err err = {0};

	(void)snprintf(command, sizeof(command), "cd %s && %s", dir, line);
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
	must(fs_read_file(path_of("fat"), FATS[number].mib * MIB, &fat, &err), &err);
	return fat;
}

static bool collect(const struct fat_entry *entry, void *arg)
{
	(void)snprintf((char *)arg + strlen(arg), 256 - strlen(arg), "%s%s:%u ", entry->name,
		entry->is_directory ? "/" : "", entry->size);
	return true;
}

static void test_replay__files_on_fat_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(FATS); i++) {
		struct bytes fat = new_fat(i), big = {0};
		const struct rawspan span = {fat.data, fat.len, 0};
		static uint8_t found[BIG_LEN + 1];
		char names[256] = "";
		struct err err = {0};
		size_t len = 0;

		must(fs_read_file(path_of("big"), BIG_LEN, &big, &err), &err);
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

static void test_replay__place_of_a_file_on_fat_is_found(void **state)
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

static void test_replay__what_is_not_on_fat_is_told(void **state)
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

static void test_replay__changed_file_on_fat_is_told(void **state)
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

/* ---- crash states ---- */

#define DISK_SECTORS 16u

/* Two writes, a flush, a write and a discard. */
static void new_crash_log(struct write_log *ret)
{
	uint8_t base[DISK_SECTORS * SECTOR];
	struct log_file file;
	struct err err = {0};

	memset(base, '.', sizeof(base));
	write_file("base", base, sizeof(base));
	log_begin(&file);
	log_add(&file, 0, 3, 0, 'x');
	log_add(&file, 2, 2, 0, 'y');
	log_add(&file, 0, 0, WRITE_LOG_FLUSH, 0);
	log_add(&file, 8, 1, 0, 'z');
	log_add(&file, 0, 1, WRITE_LOG_DISCARD, 0);
	log_end(&file, "log");
	must(write_log_open(path_of("log"), ret, &err), &err);
}

/* The first byte of each sector says what is in it; each sector is of one kind. */
static void picture(const struct rawdisk *raw, char ret[static DISK_SECTORS + 1])
{
	for (size_t s = 0; s < DISK_SECTORS; s++) {
		const uint8_t *sector = raw->bytes + s * SECTOR;

		assert_memory_equal(sector, sector + 1, SECTOR - 1);
		ret[s] = sector[0] ? (char)sector[0] : '0';
	}
	ret[DISK_SECTORS] = '\0';
}

struct seen {
	char text[1u << 16]; /* "entry:how:picture " for each state */
	size_t states;
	uint8_t expected[DISK_SECTORS * SECTOR];
};

static int look(
	struct crash_disk *disk, const struct crash_state *state, void *arg, struct err *err)
{
	const struct rawdisk *raw = crash_raw(disk);
	char sectors[DISK_SECTORS + 1];
	struct seen *seen = arg;
	bool holds;

	picture(raw, sectors);
	(void)snprintf(seen->text + strlen(seen->text), sizeof(seen->text) - strlen(seen->text),
		"%zu:%s:%s\n", state->entry, state->how, sectors);
	seen->states++;
	/* What is kept count of is what is there, at any place and length. */
	for (uint64_t len = 100; len < 3 * SECTOR; len += 700) {
		if (crash_holds(disk, SECTOR, seen->expected, len, &holds, err) < 0)
			return -1;
		assert_int_equal(holds, memcmp(raw->bytes + SECTOR, seen->expected, len) == 0);
	}
	return 0;
}

static void test_replay__crash_states_are_what_a_cut_can_leave(void **state)
{
	static const char *const EXPECTED[] = {
		"0:torn after 1 of 3 sectors:x...............\n",
		"0:torn after 2 of 3 sectors:xx..............\n",
		"0:whole:xxx.............\n",
		"0:dropped:................\n",
		"1:torn after 1 of 2 sectors:xxy.............\n",
		"1:whole:xxyy............\n",
		"1:alone:..yy............\n",
		"1:dropped:................\n",
		"3:whole:xxyy....z.......\n",
		"3:dropped:xxyy............\n",
		"4:whole:0xyy....z.......\n",
		"4:alone:0xyy............\n",
	};
	static const struct crash_limits LIMITS = {.seed = 1, .tears = 100, .shuffles = 50};
	static struct seen seen;
	struct write_log log = {0};
	struct err err = {0};
	size_t states = 0;

	(void)state;
	new_crash_log(&log);
	memset(seen.expected, 'x', 2 * SECTOR);
	memset(seen.expected, 'y', SECTOR);
	must(crash_walk(path_of("base"), &log, &LIMITS, look, &seen, &states, &err), &err);
	assert_int_equal(states, seen.states);
	for (size_t i = 0; i < ARRAY_LEN(EXPECTED); i++)
		if (!strstr(seen.text, EXPECTED[i]))
			fail_msg("no state %s in:\n%s", EXPECTED[i], seen.text);
	/* What was flushed is never lost again; what came later is not there before. */
	for (const char *at = seen.text; (at = strstr(at, "\n3:")); at++)
		assert_memory_equal(
			strrchr(strndupa(at + 1, strcspn(at + 1, "\n")), ':') + 1, "xxyy", 4);
	/* The later write may reach the disk before the earlier one. */
	assert_non_null(strstr(seen.text, ":xxxy............\n"));
	write_log_close(&log);
}

static void test_replay__disk_without_a_cache_loses_the_last_write_only(void **state)
{
	static const char EXPECTED[] = "0:torn after 1 of 3 sectors:x...............\n"
				       "0:torn after 2 of 3 sectors:xx..............\n"
				       "0:whole:xxx.............\n"
				       "0:dropped:................\n"
				       "1:torn after 1 of 2 sectors:xxy.............\n"
				       "1:whole:xxyy............\n"
				       "1:dropped:xxx.............\n"
				       "3:whole:xxyy....z.......\n"
				       "3:dropped:xxyy............\n"
				       "4:whole:0xyy....z.......\n"
				       "4:dropped:xxyy....z.......\n";
	static const struct crash_limits LIMITS = {.seed = 1, .tears = 100, .shuffles = 50};
	static struct seen seen;
	struct write_log log = {0};
	struct err err = {0};
	size_t states = 0;

	(void)state;
	new_crash_log(&log);
	write_log_no_cache(&log);
	must(crash_walk(path_of("base"), &log, &LIMITS, look, &seen, &states, &err), &err);
	assert_string_equal(seen.text, EXPECTED);
	write_log_close(&log);
}

static int refuse_third(
	struct crash_disk *disk, const struct crash_state *state, void *arg, struct err *err)
{
	size_t *count = arg;

	(void)disk;
	(void)state;
	return ++*count == 3 ? err_set(err, FAIL_DRIFT, "no known group") : 0;
}

static void test_replay__a_bad_state_ends_the_walk_and_is_named(void **state)
{
	static const struct crash_limits LIMITS = {.seed = 1};
	struct write_log log = {0};
	struct err err = {0};
	size_t count = 0, states = 77;

	(void)state;
	new_crash_log(&log);
	assert_int_equal(
		crash_walk(path_of("base"), &log, &LIMITS, refuse_third, &count, &states, &err),
		-1);
	assert_int_equal(count, 3);
	assert_int_equal(states, 77);
	assert_non_null(strstr(err.msg, "entry 0 of the write log, whole: no known group"));
	write_log_close(&log);
}

static void test_replay__image_of_a_cut_is_that_state(void **state)
{
	struct bytes disk = {0};
	struct write_log log = {0};
	struct err err = {0};
	char sectors[DISK_SECTORS + 1];

	(void)state;
	new_crash_log(&log);
	must(crash_write_image(path_of("base"), &log, 2, 1, path_of("cut"), &err), &err);
	must(fs_read_file(path_of("cut"), DISK_SECTORS * SECTOR, &disk, &err), &err);
	picture(&(struct rawdisk){disk.data, disk.len}, sectors);
	assert_string_equal(sectors, "xxy.............");
	bytes_finish(&disk);
	write_log_close(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replay__log_is_read_entry_by_entry),
		cmocka_unit_test(test_replay__log_ends_where_it_was_cut_off),
		cmocka_unit_test(test_replay__what_is_no_log_is_refused),
		cmocka_unit_test(test_replay__partitions_are_found_also_by_the_second_table),
		cmocka_unit_test(test_replay__files_on_fat_are_read),
		cmocka_unit_test(test_replay__place_of_a_file_on_fat_is_found),
		cmocka_unit_test(test_replay__what_is_not_on_fat_is_told),
		cmocka_unit_test(test_replay__changed_file_on_fat_is_told),
		cmocka_unit_test(test_replay__crash_states_are_what_a_cut_can_leave),
		cmocka_unit_test(test_replay__disk_without_a_cache_loses_the_last_write_only),
		cmocka_unit_test(test_replay__a_bad_state_ends_the_walk_and_is_named),
		cmocka_unit_test(test_replay__image_of_a_cut_is_that_state),
	};

	return cmocka_run_group_tests_name("replay", tests, make_directory, remove_directory);
}
