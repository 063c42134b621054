/* The device side of the U-Boot hook: variables, copies, fw_env.config, and what a cut leaves. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#include <cmocka.h>

#include "bootloader-hooks/uboot/uboot.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define SIZE   4096u
#define SECTOR 512u

/* An environment in a file: both copies, one after the other. */
struct env {
	struct scratch *scratch;
	char config[PATH_MAX];
	char file[PATH_MAX];
	struct bootloader *bl;
};

/* ---- values ---- */

static struct uboot_values values_of(const char *order, const char *a, const char *b)
{
	struct uboot_values values = {0};

	(void)snprintf(values.text[UBOOT_BOOT_ORDER], sizeof(values.text[0]), "%s", order);
	(void)snprintf(values.text[UBOOT_BOOT_A_LEFT], sizeof(values.text[0]), "%s", a);
	(void)snprintf(values.text[UBOOT_BOOT_B_LEFT], sizeof(values.text[0]), "%s", b);
	return values;
}

static const struct boot_group GROUPS[] = {
	{.good = true}, {.bad = true}, {.tries = 1}, {.tries = BOOT_TRIES_MAX},
	{.good = false}, /* disarmed */
};

static bool same(const struct boot_group *a, const struct boot_group *b)
{
	return a->good == b->good && a->bad == b->bad && a->tries == b->tries;
}

static void test_values__every_state_comes_back(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(GROUPS) * ARRAY_LEN(GROUPS); i++) {
		const struct boot_state before = {
			.group = {GROUPS[i / 2 % ARRAY_LEN(GROUPS)],
				GROUPS[i / 2 / ARRAY_LEN(GROUPS)]},
			.primary = i % 2 ? GROUP_B : GROUP_A,
		};
		struct boot_state after = {0};
		struct uboot_values values = {0};
		struct err err = {0};

		if (i / 2 == ARRAY_LEN(GROUPS) * ARRAY_LEN(GROUPS) - 1) {
			assert_int_equal(uboot_values_format(&before, &values, &err), -1);
			assert_non_null(strstr(err.msg, "no group to boot"));
			continue;
		}
		assert_int_equal(uboot_values_format(&before, &values, &err), 0);
		assert_int_equal(uboot_values_parse(&values, &after, &err), 0);
		/* A primary that is disarmed is not named, so it cannot be the first. */
		assert_true(same(&before.group[GROUP_A], &after.group[GROUP_A]));
		assert_true(same(&before.group[GROUP_B], &after.group[GROUP_B]));
		assert_true(uboot_values_say(&values, &after));
	}
}

static void test_values__what_a_group_is(void **state)
{
	static const struct {
		const char *left;
		struct boot_group group;
	} CASES[] = {
		{"0", {.bad = true}},
		{"1", {.tries = 1}},
		{"9", {.tries = 9}},
		{"a", {.good = true}},
		{"f", {.good = true}},
		{"10", {.good = true}},
		{"63", {.good = true}},
		{"ffff", {.good = true}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		const struct uboot_values values = values_of("B A", "63", CASES[i].left);
		struct boot_state found;
		struct err err;

		assert_int_equal(uboot_values_parse(&values, &found, &err), 0);
		assert_int_equal(found.primary, GROUP_B);
		assert_true(found.group[GROUP_A].good);
		assert_true(same(&found.group[GROUP_B], &CASES[i].group));
	}
}

static void test_values__refuses_what_makes_no_sense(void **state)
{
	static const struct {
		const char *order, *a, *b, *why;
	} CASES[] = {
		{"", "", "", "BOOT_ORDER is not set: not an environment of abide's"},
		{"", "63", "63", "BOOT_ORDER is not set"},
		{"C", "63", "63", "BOOT_ORDER is 'C', expected 'A B', 'B A', 'A' or 'B'"},
		{"A C", "63", "63", "BOOT_ORDER is 'A C'"},
		{"A A", "63", "63", "BOOT_ORDER is 'A A'"},
		{"a", "63", "63", "BOOT_ORDER is 'a'"},
		{"A  B", "63", "63", "BOOT_ORDER is 'A  B'"},
		{"A B A B A B A B A B", "63", "63", "BOOT_ORDER is 'A B A B A B A B'"},
		{"A B", "63", "", "BOOT_ORDER is 'A B', but BOOT_B_LEFT is not set"},
		{"A", "", "63", "BOOT_ORDER is 'A', but BOOT_A_LEFT is not set"},
		{"A", "-1", "63", "BOOT_A_LEFT is '-1', expected a hexadecimal number"},
		{"A", "x", "63", "BOOT_A_LEFT is 'x', expected"},
		{"A", "0x3", "63", "without leading zeros"},
		{"A", "03", "63", "BOOT_A_LEFT is '03'"},
		{"A", "A", "63", "BOOT_A_LEFT is 'A'"},
		{"A", " 3", "63", "BOOT_A_LEFT is ' 3'"},
		{"A", "3 ", "63", "BOOT_A_LEFT is '3 '"},
		{"A", "10000", "63", "BOOT_A_LEFT is '10000'"},
		{"A", "fffffffffffffffffffff", "63", "BOOT_A_LEFT is 'fffffffffffffff'"},
		{"A B", "63", "three", "BOOT_B_LEFT is 'three'"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		const struct uboot_values values =
			values_of(CASES[i].order, CASES[i].a, CASES[i].b);
		struct boot_state found;
		struct err err = {0};

		assert_int_equal(uboot_values_parse(&values, &found, &err), -1);
		assert_int_equal(err.code, FAIL_BOOT);
		if (!strstr(err.msg, CASES[i].why))
			fail_msg("'%s', expected '%s'", err.msg, CASES[i].why);
	}
}

static void test_values__number_of_a_group_that_is_not_named_says_nothing(void **state)
{
	const struct uboot_values values = values_of("A", "63", "rubbish");
	struct boot_state found;
	struct err err;

	(void)state;
	assert_int_equal(uboot_values_parse(&values, &found, &err), 0);
	assert_true(same(&found.group[GROUP_B], &(struct boot_group){0}));
}

/* A boot script of another's counts good groups, too. */
static void test_values__good_group_that_was_counted_is_put_up_again(void **state)
{
	const struct boot_state good = {.group = {{.good = true}}, .primary = GROUP_A};

	(void)state;
	assert_true(uboot_values_say(&(struct uboot_values){{"A", "63", "0"}}, &good));
	assert_true(uboot_values_say(&(struct uboot_values){{"A", "40", "0"}}, &good));
	assert_false(uboot_values_say(&(struct uboot_values){{"A", "3f", "0"}}, &good));
	assert_false(uboot_values_say(&(struct uboot_values){{"A", "a", "0"}}, &good));
	assert_false(uboot_values_say(&(struct uboot_values){{"A", "9", "0"}}, &good));
}

/* ---- fw_env.config ---- */

static int parse_config(const char *text, struct fw_env *ret, struct err *err)
{
	struct bytes bytes = {.data = NULL};
	int result;

	assert_int_equal(bytes_copy(text, strlen(text), &bytes, err), 0);
	result = fw_env_parse("/etc/fw_env.config", &bytes, ret, err);
	bytes_finish(&bytes);
	return result;
}

static void test_config__reads_what_the_tools_read(void **state)
{
	struct fw_env env = {0};
	struct err err = {0};

	(void)state;
	if (parse_config("# device offset size sector count\n\n"
			 "\t/dev/mmcblk0 0x80000\t4000\r\n"
			 "   \n"
			 "/dev/mmcblk0 589824 0x4000 0x200 32",
		    &env, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(env.size, 0x4000);
	assert_string_equal(env.copies[0].device, "/dev/mmcblk0");
	assert_int_equal(env.copies[0].offset, 0x80000);
	assert_int_equal(env.copies[1].offset, 0x90000);
	fw_env_finish(&env);
}

static void test_config__refuses(void **state)
{
	static const struct {
		const char *text, *why;
	} CASES[] = {
		{"", "'/etc/fw_env.config' names no copy"},
		{"# nothing\n\n", "names no copy of the U-Boot environment; expected two lines"},
		{"/dev/a 0 4000\n", "names one copy of the U-Boot environment: a power cut"},
		{"/dev/a 0 4000\n/dev/a 4000\n",
			"'/etc/fw_env.config:2': expected DEVICE OFFSET SIZE"},
		{"/dev/a\n", "'/etc/fw_env.config:1': expected DEVICE OFFSET SIZE"},
		{"mtd0 0 4000\n", "device 'mtd0' is not an absolute path"},
		{"/dev/a -0x4000 4000\n", "offset '-0x4000' is not a number, 0 or more"},
		{"/dev/a zero 4000\n", "offset 'zero' is not a number"},
		{"/dev/a 0x 4000\n", "offset '0x' is not a number"},
		{"/dev/a 0 16k\n", "size '16k' is not a hexadecimal number from 0x100"},
		{"/dev/a 0 0\n", "size '0' is not"},
		{"/dev/a 0 ff\n", "size 'ff' is not"},
		{"/dev/a 0 100001\n", "size '100001' is not"},
		{"/dev/a 0 -4000\n", "size '-4000' is not"},
		{"/dev/a 99999999999999999999 4000\n", "offset '99999999999999999999' is not"},
		{"/dev/a 0 4000\n/dev/a 4000 8000\n",
			"'/etc/fw_env.config:2': size 0x8000, but the first copy has 0x4000"},
		{"/dev/a 0 4000\n/dev/b 0 4000\n/dev/c 0 4000\n", "':3': a third copy"},
		{"/dev/a 0 4000\n/dev/a 0 4000\n", "both copies have the same place"},
		{"/dev/a 0x1000 4000\n/dev/a 0x4fff 4000\n", "both copies have the same place"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct fw_env env = {0};
		struct err err = {0};
		const char *why = CASES[i].why;

		assert_int_equal(parse_config(CASES[i].text, &env, &err), -1);
		assert_int_equal(err.code, FAIL_BOOT);
		if (why[0] == '\'' && why[1] == ':')
			why++; /* any file's name in front */
		if (!strstr(err.msg, why))
			fail_msg("%s'%s', expected '%s'", CASES[i].text, err.msg, why);
		assert_null(env.copies[0].device);
	}
}

static void test_config__line_that_is_too_long(void **state)
{
	char text[1024];
	struct fw_env env = {0};
	struct err err = {0};

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(parse_config(text, &env, &err), -1);
	assert_non_null(strstr(err.msg, "the line is longer than 511 bytes"));
}

/* ---- an environment in a file ---- */

static const char OTHERS[] = "bootcmd=run distro_bootcmd\nethaddr=02:00:00:00:00:01\n";

static void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	(void)close(fd);
}

static void make_copy(const char *order, const char *a, const char *b, uint8_t flag, uint8_t *ret)
{
	const struct uboot_values values = values_of(order, a, b);
	struct bytes others = {.data = NULL};
	struct err err;

	assert_int_equal(bytes_copy(OTHERS, sizeof(OTHERS) - 1, &others, &err), 0);
	assert_int_equal(uboot_copy_format(&values, &others, flag, SIZE, ret, &err), 0);
	bytes_finish(&others);
}

static void env_put(const struct env *env, const uint8_t *first, const uint8_t *second)
{
	uint8_t both[2 * SIZE];

	memcpy(both, first, SIZE);
	memcpy(both + SIZE, second, SIZE);
	write_file(env->file, both, sizeof(both));
}

static void env_get(const struct env *env, uint8_t ret[2 * SIZE])
{
	struct bytes bytes = {.data = NULL};
	struct err err = {0};

	if (fs_read_file(env->file, 2 * SIZE, &bytes, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(bytes.len, 2 * SIZE);
	memcpy(ret, bytes.data, 2 * SIZE);
	bytes_finish(&bytes);
}

static void env_reopen(struct env *env)
{
	struct err err = {0};

	bootloader_close(&env->bl);
	if (uboot_open(env->config, &env->bl, &err) < 0)
		fail_msg("%s", err.msg);
}

static void env_configure(struct env *env, const char *device, const char *second)
{
	char text[2 * PATH_MAX];
	int len = snprintf(text, sizeof(text), "%s 0x0 0x1000\n%s %s\n", device, device, second);

	write_file(env->config, text, (size_t)len);
}

/* Group a confirmed, the first copy counts. */
static void env_make(struct scratch *scratch, struct env *ret)
{
	uint8_t first[SIZE], second[SIZE];

	*ret = (struct env){.scratch = scratch};
	(void)snprintf(
		ret->config, sizeof(ret->config), "%s", scratch_path(scratch, "fw_env.config"));
	(void)snprintf(ret->file, sizeof(ret->file), "%s", scratch_path(scratch, "env"));
	env_configure(ret, ret->file, "0x1000 0x1000");
	make_copy("A", "63", "0", 2, first);
	make_copy("A", "63", "0", 1, second);
	env_put(ret, first, second);
	env_reopen(ret);
}

static void env_finish(struct env *env)
{
	bootloader_close(&env->bl);
}

static struct boot_state read_state(struct env *env)
{
	struct boot_state found = {0};
	struct err err = {0};

	if (bootloader_read(env->bl, &found, &err) < 0)
		fail_msg("%s", err.msg);
	return found;
}

static void assert_unreadable(struct env *env, const char *why)
{
	struct boot_state found;
	struct err err = {0};

	env_reopen(env);
	assert_int_equal(bootloader_read(env->bl, &found, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, why))
		fail_msg("'%s', expected '%s'", err.msg, why);
}

static void commit(struct env *env, const struct boot_state *state)
{
	struct err err = {0};

	if (bootloader_commit(env->bl, state, &err) < 0)
		fail_msg("%s", err.msg);
}

static const struct boot_state CONFIRMED = {.group = {{.good = true}, {.good = false}}};
static const struct boot_state FLIPPED = {
	.group = {{.good = true}, {.tries = 3}}, .primary = GROUP_B};

static void test_read__newer_valid_copy_counts(void **state)
{
	static const struct {
		uint8_t first, second;
		enum group primary;
	} CASES[] = {
		{2, 1, GROUP_A},
		{1, 2, GROUP_B},
		{0xff, 0, GROUP_B},
		{0, 0xff, GROUP_A},
		{0xfe, 0xff, GROUP_B},
		{1, 1, GROUP_A},
		{0x80, 0x7f, GROUP_A},
	};
	struct env env;

	env_make(*state, &env);
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		uint8_t first[SIZE], second[SIZE];
		struct uboot_values found;
		struct err err;

		make_copy("A B", "63", "2", CASES[i].first, first);
		make_copy("B A", "63", "2", CASES[i].second, second);
		env_put(&env, first, second);
		env_reopen(&env);
		assert_int_equal(read_state(&env).primary, CASES[i].primary);
		assert_string_equal(env.bl->note, "");
		/* libubootenv takes the same one. */
		assert_int_equal(uboot_store_read(env.config, &found, &err), 0);
		assert_string_equal(
			found.text[UBOOT_BOOT_ORDER], CASES[i].primary == GROUP_A ? "A B" : "B A");
	}
	env_finish(&env);
}

static void test_read__one_broken_copy_is_noted_and_healed(void **state)
{
	struct env env;

	env_make(*state, &env);
	for (unsigned int broken = 0; broken < 2; broken++) {
		static const uint8_t FILLS[] = {0, 0xff, 'x'};

		for (size_t i = 0; i < ARRAY_LEN(FILLS); i++) {
			uint8_t good[SIZE], bad[SIZE], both[2 * SIZE];
			char expected[64];

			make_copy("B A", "63", "2", 9, good);
			memset(bad, FILLS[i], sizeof(bad));
			bad[SIZE / 2] = FILLS[i] == 'x' ? 'y' : FILLS[i];
			env_put(&env, broken ? good : bad, broken ? bad : good);
			env_reopen(&env);
			assert_int_equal(read_state(&env).group[GROUP_B].tries, 2);
			(void)snprintf(
				expected, sizeof(expected), "environment, copy %u: '", broken + 1);
			assert_non_null(strstr(env.bl->note, expected));
			commit(&env, &(struct boot_state){.group = {{.good = true}, {.tries = 2}},
					     .primary = GROUP_B});
			env_reopen(&env);
			assert_int_equal(read_state(&env).group[GROUP_B].tries, 2);
			assert_string_equal(env.bl->note, "");
			/* The one that was right is as it was. */
			env_get(&env, both);
			assert_memory_equal(both + (broken ? 0 : SIZE), good, SIZE);
		}
	}
	env_finish(&env);
}

static void test_read__tells_what_is_wrong(void **state)
{
	uint8_t good[SIZE], bad[SIZE], big[2 * SIZE], zeros[SIZE] = {0};
	struct env env;
	struct err err;

	env_make(*state, &env);
	make_copy("A", "63", "0", 1, good);

	env_put(&env, zeros, zeros);
	assert_unreadable(&env, "at 0x0: it is blank: never saved, or erased; '");
	assert_unreadable(&env, "at 0x1000: it is blank: never saved, or erased; README");

	memcpy(bad, good, SIZE);
	bad[100] ^= 1;
	env_put(&env, bad, bad);
	assert_unreadable(
		&env, "at 0x1000: its checksum is wrong: half written, or no environment");

	/* Right for twice the size. */
	assert_int_equal(uboot_copy_format(&(struct uboot_values){{"A", "63", "0"}}, NULL, 1,
				 sizeof(big), big, &err),
		0);
	env_put(&env, big, big + SIZE);
	assert_unreadable(&env, "its checksum is wrong for the size 0x1000 of '");
	assert_unreadable(&env, "and right for 0x2000");

	/* Without redundancy: no flag, everything one byte earlier, and its checksum over that. */
	assert_int_equal(uboot_copy_format(&(struct uboot_values){{"A", "63", "0"}}, NULL, 1,
				 SIZE + 1, big, &err),
		0);
	memcpy(bad, big, 4);
	memcpy(bad + 4, big + 5, SIZE - 4);
	env_put(&env, bad, bad);
	assert_unreadable(&env, "it is an environment without redundancy");

	make_copy("", "63", "0", 1, good);
	env_put(&env, good, good);
	assert_unreadable(&env, "BOOT_ORDER is not set: not an environment of abide's");
	assert_unreadable(&env, "U-Boot environment of '");

	make_copy("A", "63", "0", 1, good);
	write_file(env.file, good, SIZE);
	env_reopen(&env);
	(void)read_state(&env);
	assert_non_null(strstr(env.bl->note, "copy 2"));
	write_file(env.file, good, SIZE / 2);
	assert_unreadable(&env, "at 0x0: 0x1000 bytes from there go past the end");

	(void)unlink(env.file);
	assert_unreadable(&env, "No such file or directory");
	env_configure(&env, "/", "0x1000 0x1000");
	assert_unreadable(&env, "'/' is neither a block device nor a plain file");
	(void)unlink(env.config);
	assert_unreadable(&env, "where U-Boot's environment is: open '");
	env_finish(&env);
}

/* What cannot be read is not changed either. */
static void test_commit__changes_nothing_without_a_valid_copy(void **state)
{
	uint8_t bad[SIZE] = "no environment", both[2 * SIZE];
	struct env env;
	struct err err = {0};

	env_make(*state, &env);
	env_put(&env, bad, bad);
	env_reopen(&env);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_non_null(strstr(err.msg, "no valid U-Boot environment"));
	env_get(&env, both);
	assert_memory_equal(both, bad, SIZE);
	assert_memory_equal(both + SIZE, bad, SIZE);

	(void)unlink(env.config);
	env_reopen(&env);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	env_finish(&env);
}

static void test_commit__refuses_to_leave_no_group(void **state)
{
	uint8_t before[2 * SIZE], after[2 * SIZE];
	struct env env;
	struct err err = {0};

	env_make(*state, &env);
	env_get(&env, before);
	assert_int_equal(bootloader_commit(env.bl, &(struct boot_state){0}, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	env_get(&env, after);
	assert_memory_equal(before, after, sizeof(after));
	env_finish(&env);
}

static void test_commit__what_is_there_already_writes_nothing(void **state)
{
	uint8_t before[2 * SIZE], after[2 * SIZE];
	struct env env;

	env_make(*state, &env);
	env_get(&env, before);
	commit(&env, &CONFIRMED);
	env_get(&env, after);
	assert_memory_equal(before, after, sizeof(after));
	commit(&env, &FLIPPED);
	env_get(&env, before);
	commit(&env, &FLIPPED);
	env_get(&env, after);
	assert_memory_equal(before, after, sizeof(after));
	env_finish(&env);
}

static void test_commit__both_copies_say_it_and_keep_what_others_set(void **state)
{
	uint8_t both[2 * SIZE];
	struct env env;

	env_make(*state, &env);
	commit(&env, &FLIPPED);
	env_get(&env, both);
	for (unsigned int i = 0; i < 2; i++) {
		struct uboot_values found;

		assert_int_equal(uboot_copy_check(both + i * SIZE, SIZE), UBOOT_COPY_OK);
		uboot_copy_values(both + i * SIZE, SIZE, &found);
		assert_true(uboot_values_say(&found, &FLIPPED));
		assert_string_equal(found.text[UBOOT_BOOT_ORDER], "B A");
		assert_string_equal(found.text[UBOOT_BOOT_A_LEFT], "63");
		assert_string_equal(found.text[UBOOT_BOOT_B_LEFT], "3");
		assert_non_null(memmem(both + i * SIZE, SIZE, "\0ethaddr=02:00:00:00:00:01", 27));
		assert_non_null(memmem(both + i * SIZE, SIZE, "bootcmd=run distro_bootcmd", 27));
	}
	env_finish(&env);
}

/* A stale spare is brought up to date by the same commit again. */
static void test_commit__takes_the_old_state_out_of_the_spare(void **state)
{
	uint8_t first[SIZE], second[SIZE], both[2 * SIZE];
	struct uboot_values found;
	struct env env;

	env_make(*state, &env);
	make_copy("B A", "63", "3", 8, first);
	make_copy("A", "63", "0", 7, second);
	env_put(&env, first, second);
	env_reopen(&env);
	commit(&env, &FLIPPED);
	env_get(&env, both);
	assert_memory_equal(both, first, SIZE);
	uboot_copy_values(both + SIZE, SIZE, &found);
	assert_true(uboot_values_say(&found, &FLIPPED));
	env_finish(&env);
}

static void test_commit__full_environment(void **state)
{
	uint8_t before[2 * SIZE], after[2 * SIZE], copy[SIZE];
	const struct uboot_values values = values_of("A", "63", "0");
	char filler[SIZE];
	struct bytes others = {.data = NULL};
	struct env env;
	struct err err = {0};

	env_make(*state, &env);
	memset(filler, 'x', sizeof(filler));
	filler[1] = '=';
	assert_int_equal(bytes_copy(filler, SIZE - 5 - 2 - 43, &others, &err), 0);
	if (uboot_copy_format(&values, &others, 3, SIZE, copy, &err) < 0)
		fail_msg("%s", err.msg);
	env_put(&env, copy, copy);
	env_reopen(&env);
	env_get(&env, before);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, "the variables need 4092 bytes, the environment has room for 4091"))
		fail_msg("%s", err.msg);
	env_get(&env, after);
	assert_memory_equal(before, after, sizeof(after));
	bytes_finish(&others);
	env_finish(&env);
}

static void test_commit__write_protected_device(void **state)
{
	struct scratch *scratch = *state;
	const char *loop;
	struct env env;
	struct err err = {0};
	int one = 1;
	int fd;

	env_make(scratch, &env);
	loop = scratch_loop(scratch, env.file);
	fd = open(loop, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, BLKROSET, &one), 0);
	(void)close(fd);
	env_configure(&env, loop, "0x1000 0x1000");
	env_reopen(&env);
	assert_true(read_state(&env).group[GROUP_A].good);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, loop))
		fail_msg("%s", err.msg);
	env_finish(&env);
}

static void test_commit__on_a_block_device(void **state)
{
	struct scratch *scratch = *state;
	struct env env;
	const char *loop;

	env_make(scratch, &env);
	loop = scratch_loop(scratch, env.file);
	env_configure(&env, loop, "0x1000 0x1000");
	env_reopen(&env);
	commit(&env, &FLIPPED);
	env_reopen(&env);
	assert_int_equal(read_state(&env).group[GROUP_B].tries, 3);
	env_finish(&env);
}

/* ---- power cuts ---- */

/* Variables far from each other, so that a change touches several sectors. */
static void make_wide(uint8_t flag, uint8_t *ret)
{
	struct bytes others = {.data = NULL};
	char text[SIZE];
	struct err err = {0};
	int len = snprintf(text, sizeof(text), "a=%01200d\nBOOT_B=%0900d\nz=1\n", 1, 2);

	assert_int_equal(bytes_copy(text, (size_t)len, &others, &err), 0);
	if (uboot_copy_format(
		    &(struct uboot_values){{"", "", ""}}, &others, flag, SIZE, ret, &err) < 0)
		fail_msg("%s", err.msg);
	bytes_finish(&others);
}

/* The states an update goes through, each reached from the one before. */
static const struct boot_state STORY[] = {
	{.group = {{.good = true}, {.good = false}}, .primary = GROUP_A},
	{.group = {{.good = true}, {.tries = 3}}, .primary = GROUP_B},
	{.group = {{.good = true}, {.good = true}}, .primary = GROUP_B},
	{.group = {{.good = false}, {.good = true}}, .primary = GROUP_B},
	{.group = {{.tries = 9}, {.good = true}}, .primary = GROUP_A},
	{.group = {{.bad = true}, {.good = true}}, .primary = GROUP_B},
};

struct cut {
	struct env env;
	uint8_t before[2 * SIZE];
	uint8_t after[2 * SIZE];
	unsigned int checked;
};

static bool reads_as(struct cut *cut, const struct boot_state *state)
{
	struct boot_state found = read_state(&cut->env);
	struct uboot_values values;
	struct boot_state by_library;
	struct err err = {0};

	/* libubootenv, and so its tools, take the same copy as we do. */
	if (uboot_store_read(cut->env.config, &values, &err) < 0 ||
		uboot_values_parse(&values, &by_library, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(boot_state_equal(&found, &by_library));
	return boot_state_equal(&found, state);
}

/* Any of the sectors that the store changed may have reached the medium, in any order. */
static void check_cuts(struct cut *cut, const struct boot_state *old, const struct boot_state *new)
{
	unsigned int changed[2 * SIZE / SECTOR];
	unsigned int count = 0;

	for (unsigned int s = 0; s < 2 * SIZE / SECTOR; s++)
		if (memcmp(cut->before + s * SECTOR, cut->after + s * SECTOR, SECTOR) != 0)
			changed[count++] = s;
	/* libubootenv leaves what it finds in memory behind the variables, so there may be more. */
	assert_true(count >= 1 && count < 12);
	for (unsigned int set = 0; set < 1u << count; set++) {
		uint8_t both[2 * SIZE];
		bool all = set == (1u << count) - 1;

		memcpy(both, cut->before, sizeof(both));
		for (unsigned int i = 0; i < count; i++)
			if (set & 1u << i)
				memcpy(both + changed[i] * SECTOR, cut->after + changed[i] * SECTOR,
					SECTOR);
		env_put(&cut->env, both, both + SIZE);
		env_reopen(&cut->env);
		if (!reads_as(cut, all ? new : old))
			fail_msg("sectors %x of %u: neither the old state nor the new", set, count);
		/* The same commit again completes it. */
		commit(&cut->env, new);
		assert_true(reads_as(cut, new));
		assert_string_equal(cut->env.bl->note, "");
		cut->checked++;
	}
}

static void store(struct cut *cut, const struct boot_state *state)
{
	struct uboot_values values;
	struct err err = {0};

	env_get(&cut->env, cut->before);
	assert_int_equal(uboot_values_format(state, &values, &err), 0);
	if (uboot_store_write(cut->env.config, SIZE, &values, &err) < 0)
		fail_msg("%s", err.msg);
	env_get(&cut->env, cut->after);
}

static void test_cut__leaves_the_old_state_or_the_new(void **state)
{
	struct cut cut = {0};
	uint8_t copy[SIZE];

	env_make(*state, &cut.env);
	make_wide(0xfd, copy);
	env_put(&cut.env, copy, copy);
	store(&cut, &STORY[0]);
	store(&cut, &STORY[0]);
	for (size_t i = 1; i < ARRAY_LEN(STORY); i++) {
		uint8_t done[2 * SIZE];

		/* The first store is the change: into one copy, the other is not touched. */
		env_put(&cut.env, cut.after, cut.after + SIZE);
		store(&cut, &STORY[i]);
		assert_true((memcmp(cut.before, cut.after, SIZE) == 0) !=
			    (memcmp(cut.before + SIZE, cut.after + SIZE, SIZE) == 0));
		check_cuts(&cut, &STORY[i - 1], &STORY[i]);
		/* The second brings the spare up to date. */
		memcpy(done, cut.after, sizeof(done));
		env_put(&cut.env, done, done + SIZE);
		store(&cut, &STORY[i]);
		check_cuts(&cut, &STORY[i], &STORY[i]);
	}
	assert_true(cut.checked > 2 * ARRAY_LEN(STORY) * 3);
	print_message("U-Boot environment: %u states after a cut\n", cut.checked);
	env_finish(&cut.env);
}

#define ENV_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values__every_state_comes_back),
		cmocka_unit_test(test_values__what_a_group_is),
		cmocka_unit_test(test_values__refuses_what_makes_no_sense),
		cmocka_unit_test(test_values__number_of_a_group_that_is_not_named_says_nothing),
		cmocka_unit_test(test_values__good_group_that_was_counted_is_put_up_again),
		cmocka_unit_test(test_config__reads_what_the_tools_read),
		cmocka_unit_test(test_config__refuses),
		cmocka_unit_test(test_config__line_that_is_too_long),
		ENV_TEST(test_read__newer_valid_copy_counts),
		ENV_TEST(test_read__one_broken_copy_is_noted_and_healed),
		ENV_TEST(test_read__tells_what_is_wrong),
		ENV_TEST(test_commit__changes_nothing_without_a_valid_copy),
		ENV_TEST(test_commit__refuses_to_leave_no_group),
		ENV_TEST(test_commit__what_is_there_already_writes_nothing),
		ENV_TEST(test_commit__both_copies_say_it_and_keep_what_others_set),
		ENV_TEST(test_commit__takes_the_old_state_out_of_the_spare),
		ENV_TEST(test_commit__full_environment),
		ENV_TEST(test_commit__write_protected_device),
		ENV_TEST(test_commit__on_a_block_device),
		ENV_TEST(test_cut__leaves_the_old_state_or_the_new),
	};

	return cmocka_run_group_tests_name("uboot", tests, NULL, NULL);
}
