/* replay: what reads a write log, and makes crash states of it, against logs whose every byte is known.
 * No virtual device is started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "qemu/crash.h"
#include "qemu/sparse.h"
#include "tests/must.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define SECTOR     RAWDISK_SECTOR
#define MIB        (UINT64_C(1) << 20)
#define LOG_MAGIC  UINT64_C(0x6a736677736872)
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

static void write_file(const char *name, const uint8_t *data, size_t len)
{
	struct err err = {0};

	must(sparse_write(scratch_here(name), data, len, &err), &err);
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
	must(write_log_open(scratch_here("log"), &log, &err), &err);
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
	must(write_log_open(scratch_here("log"), &log, &err), &err);
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
		assert_int_equal(write_log_open(scratch_here("log"), &log, &err), -1);
		assert_int_equal(err.code, FAIL_UNTRUSTED);
	}
}

/* ---- crash states ---- */

#define DISK_SECTORS 16u

/* Two writes, a flush, a write, a discard and a write. */
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
	log_add(&file, 9, 1, 0, 'w');
	log_end(&file, "log");
	must(write_log_open(scratch_here("log"), ret, &err), &err);
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

static void walk(const struct write_log *log, struct seen *seen)
{
	static const struct crash_limits LIMITS = {.seed = 1, .tears = 100, .shuffles = 50};
	struct err err = {0};
	size_t states = 0;

	must(crash_walk(scratch_here("base"), log, &LIMITS, look, seen, &states, &err), &err);
	assert_int_equal(states, seen->states);
}

static void assert_seen(const struct seen *seen, const char *const expected[], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strstr(seen->text, expected[i]))
			fail_msg("no state %s in:\n%s", expected[i], seen->text);
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
		"5:whole:0xyy....zw......\n",
		"5:alone:xxyy.....w......\n",
		"5:without entry 3:0xyy.....w......\n",
		"5:without entry 4:xxyy....zw......\n",
	};
	static struct seen seen;
	struct write_log log = {0};

	(void)state;
	new_crash_log(&log);
	memset(seen.expected, 'x', 2 * SECTOR);
	memset(seen.expected, 'y', SECTOR);
	walk(&log, &seen);
	assert_seen(&seen, EXPECTED, ARRAY_LEN(EXPECTED));
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
				       "4:dropped:xxyy....z.......\n"
				       "5:whole:0xyy....zw......\n"
				       "5:dropped:0xyy....z.......\n";
	static struct seen seen;
	struct write_log log = {0};

	(void)state;
	new_crash_log(&log);
	write_log_no_cache(&log);
	walk(&log, &seen);
	assert_string_equal(seen.text, EXPECTED);
	write_log_close(&log);
}

/* What was programmed into the flash is there, while the disk may still lose what came before it. */
static void test_replay__flash_loses_nothing_that_was_programmed(void **state)
{
	static const char *const EXPECTED[] = {
		"0:whole:x...............\n",
		"1:whole:x........f......\n",
		"1:alone:.........f......\n",
		"2:whole:x.y......f......\n",
		"2:alone:..y......f......\n",
		"2:dropped:.........f......\n",
		"3:dropped:.........f......\n",
		"4:whole:x.y......ff.....\n",
	};
	static struct seen seen;
	struct write_log log = {0};
	struct log_file file;
	struct err err = {0};

	(void)state;
	new_crash_log(&log); /* for its disk */
	write_log_close(&log);
	log_begin(&file);
	log_add(&file, 0, 1, 0, 'x');
	log_add(&file, 9, 1, 0, 'f');
	log_add(&file, 2, 1, 0, 'y');
	log_add(&file, 10, 1, 0, 'g');
	log_add(&file, 10, 1, 0, 'f');
	log_end(&file, "log");
	must(write_log_open(scratch_here("log"), &log, &err), &err);
	write_log_flash(&log, 9 * SECTOR);
	walk(&log, &seen);
	assert_seen(&seen, EXPECTED, ARRAY_LEN(EXPECTED));
	for (const char *at = seen.text; (at = strstr(at, "\n2:")); at++)
		assert_int_equal(strrchr(strndupa(at + 1, strcspn(at + 1, "\n")), ':')[1 + 9], 'f');
	/* Nor does it go back to what was there before. */
	for (const char *at = seen.text; (at = strstr(at, "\n4:")); at++)
		assert_int_not_equal(
			strrchr(strndupa(at + 1, strcspn(at + 1, "\n")), ':')[1 + 10], '.');
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
	assert_int_equal(crash_walk(scratch_here("base"), &log, &LIMITS, refuse_third, &count,
				 &states, &err),
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
	must(crash_write_image(scratch_here("base"), &log, 2, 1, scratch_here("cut"), &err), &err);
	must(fs_read_file(scratch_here("cut"), DISK_SECTORS * SECTOR, &disk, &err), &err);
	picture(&(struct rawdisk){.bytes = disk.data, .size = disk.len}, sectors);
	assert_string_equal(sectors, "xxy.............");
	bytes_finish(&disk);
	write_log_close(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_replay__log_is_read_entry_by_entry),
		TEST(test_replay__log_ends_where_it_was_cut_off),
		TEST(test_replay__what_is_no_log_is_refused),
		TEST(test_replay__crash_states_are_what_a_cut_can_leave),
		TEST(test_replay__disk_without_a_cache_loses_the_last_write_only),
		TEST(test_replay__flash_loses_nothing_that_was_programmed),
		TEST(test_replay__a_bad_state_ends_the_walk_and_is_named),
		TEST(test_replay__image_of_a_cut_is_that_state),
	};

	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
