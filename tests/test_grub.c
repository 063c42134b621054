/* grub: the block's text, the two copies, and what a cut between them leaves. */
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

#include "bootloader-hooks/grub/grub.h"
#include "tests/recorder.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/state.h"

#define HEAD "# GRUB Environment Block\n"

static const struct recorder_limits LIMITS = {.seed = 3, .shuffles = 32, .tears = 4};
static const struct boot_state FRESH = {.group = {{.good = true}, {.good = false}}};
static const struct boot_state FLIPPED = {
	.group = {{.good = true}, {.tries = 3}}, .primary = GROUP_B};

static void block_of(const char *text, uint8_t ret[static GRUB_ENV_LEN])
{
	memset(ret, '#', GRUB_ENV_LEN);
	memcpy(ret, text, strlen(text));
}

static int parse(const char *text, struct boot_state *ret, struct err *err)
{
	uint8_t block[GRUB_ENV_LEN];

	block_of(text, block);
	return grub_env_parse(block, ret, err);
}

/* ---- text ---- */

static void test_parse__takes_every_kind_of_group(void **state)
{
	struct boot_state found;
	struct err err;

	(void)state;
	assert_int_equal(
		parse(HEAD "ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=3\n", &found, &err), 0);
	assert_true(boot_state_equal(&found, &FLIPPED));
	assert_int_equal(parse(HEAD "ORDER=A\nA_OK=1\nB_OK=1\nB_TRY=9\n", &found, &err), 0);
	assert_true(boot_state_equal(&found, &FRESH)); /* not listed: disarmed */
	assert_int_equal(parse(HEAD "ORDER=B\nB_OK=1\nB_TRY=2\n", &found, &err), 0);
	assert_true(found.primary == GROUP_B && found.group[GROUP_B].good);
	assert_int_equal(found.group[GROUP_B].tries, 0);
	assert_int_equal(parse(HEAD "ORDER=A B\nA_OK=1\n", &found, &err), 0);
	assert_true(found.group[GROUP_B].bad); /* listed, neither good nor tries */
}

static void test_parse__passes_over_others_and_comments(void **state)
{
	struct boot_state found;
	struct err err;

	(void)state;
	assert_int_equal(parse(HEAD "# WARNING: Do not edit\nsaved_entry=x\nno_equals\n\n"
				    "note=two\\\nORDER=C\nORDER=A\nA_OK=1\nXA_OK=7\nA_OKX=7\n",
				 &found, &err),
		0);
	assert_true(boot_state_equal(&found, &FRESH));
}

static void test_parse__refuses_what_makes_no_sense(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} CASES[] = {
		{"", "GRUB environment"},
		{"# GRUB Environment Blocc\nORDER=A\nA_OK=1\n", "GRUB environment"},
		{HEAD, "ORDER is ''"},
		{HEAD "ORDER=\n", "ORDER is ''"},
		{HEAD "A_OK=1\n", "ORDER is ''"},
		{HEAD "ORDER=C\n", "ORDER is 'C'"},
		{HEAD "ORDER=A C\n", "ORDER is 'A C'"},
		{HEAD "ORDER=a\n", "ORDER is 'a'"},
		{HEAD "ORDER=A A\n", "ORDER is 'A A'"},
		{HEAD "ORDER=A  B\n", "ORDER is 'A  B'"},
		{HEAD "ORDER=A B \n", "ORDER is 'A B '"},
		{HEAD "ORDER=A B A B A B\n", "ORDER is 'A B A B'"},
		{HEAD "ORDER=A\nORDER=A\nA_OK=1\n", "ORDER is set twice"},
		{HEAD "ORDER=A\nA_OK=1\nA_OK=1\n", "A_OK is set twice"},
		{HEAD "ORDER=A\nA_OK=2\n", "A_OK is '2'"},
		{HEAD "ORDER=A\nA_OK=-1\n", "A_OK is '-1'"},
		{HEAD "ORDER=A\nA_OK=yes\n", "A_OK is 'yes'"},
		{HEAD "ORDER=A\nA_OK=1 \n", "A_OK is '1 '"},
		{HEAD "ORDER=A\nA_TRY=10\n", "A_TRY is '10'"},
		{HEAD "ORDER=A\nA_TRY=-1\n", "A_TRY is '-1'"},
		{HEAD "ORDER=A\nA_TRY=0x1\n", "A_TRY is '0x1'"},
		{HEAD "ORDER=A\nB_TRY=99999999999999999999\n", "B_TRY is '9999999'"},
		{HEAD "ORDER=A\nA_OK=1\nB_OK=x\n", "B_OK is 'x'"}, /* also if B is not listed */
		{HEAD "ORDER=A\x1b[2J\n", "ORDER is 'A?[2J'"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct boot_state found = FLIPPED;
		struct err err = {0};

		if (parse(CASES[i].text, &found, &err) == 0)
			fail_msg("accepted: %s", CASES[i].text);
		assert_int_equal(err.code, FAIL_BOOT);
		if (!strstr(err.msg, CASES[i].says))
			fail_msg("'%s' does not say '%s'", err.msg, CASES[i].says);
		assert_true(boot_state_equal(&found, &FLIPPED));
	}
}

static void test_parse__block_without_an_end(void **state)
{
	uint8_t block[GRUB_ENV_LEN];
	struct boot_state found;
	struct err err;

	(void)state;
	block_of(HEAD "ORDER=A\nA_OK=1\n", block);
	memset(block + 512, 'x', 512);
	block[1023] = '\\'; /* the byte it escapes is not there */
	block[600] = '=';
	assert_int_equal(grub_env_parse(block, &found, &err), 0);
	memset(block, 0, sizeof(block));
	assert_int_equal(grub_env_parse(block, &found, &err), -1);
}

/* Every boot state there is. */
static struct boot_state any_state(unsigned int i)
{
	static const struct boot_group ALL[] = {{.good = true}, {.bad = true}, {.tries = 1},
		{.tries = BOOT_TRIES_MAX}, {.tries = 0}};

	return (struct boot_state){
		.group = {ALL[i % 5], ALL[i / 5 % 5]}, .primary = (enum group)(i / 25 % 2)};
}

static bool is_disarmed(const struct boot_group *group)
{
	return !group->good && !group->bad && group->tries == 0;
}

static void test_format__round_trip_of_every_state(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		struct boot_state boot = any_state(i);
		uint8_t block[GRUB_ENV_LEN], again[GRUB_ENV_LEN];
		struct boot_state found;
		struct err err;

		if (is_disarmed(&boot.group[GROUP_A]) && is_disarmed(&boot.group[GROUP_B])) {
			assert_int_equal(grub_env_format(&boot, NULL, block, &err), -1);
			assert_int_equal(err.code, FAIL_BOOT);
			continue;
		}
		assert_int_equal(grub_env_format(&boot, NULL, block, &err), 0);
		assert_int_equal(grub_env_parse(block, &found, &err), 0);
		/* A primary that is not listed is none. */
		if (is_disarmed(&boot.group[boot.primary]))
			boot.primary = group_other(boot.primary);
		assert_true(boot_state_equal(&found, &boot));
		assert_int_equal(grub_env_format(&found, block, again, &err), 0);
		assert_memory_equal(block, again, GRUB_ENV_LEN);
	}
}

static void test_format__keeps_others_behind_ours(void **state)
{
	uint8_t previous[GRUB_ENV_LEN], block[GRUB_ENV_LEN];
	struct err err;
	char *text = (char *)block;

	(void)state;
	block_of(HEAD "saved_entry=0\nORDER=A\nA_OK=1\nnote=a\\\nb\n", previous);
	assert_int_equal(grub_env_format(&FLIPPED, previous, block, &err), 0);
	assert_memory_equal(text,
		HEAD "ORDER=B A\nA_OK=1\nA_TRY=0\nB_OK=0\nB_TRY=3\nsaved_entry=0\nnote=a\\\nb\n##",
		strlen(HEAD) + 40 + 14 + 10 + 2);
	/* What is no block at all is not kept. */
	previous[0] = 'x';
	assert_int_equal(grub_env_format(&FLIPPED, previous, block, &err), 0);
	assert_null(memmem(block, sizeof(block), "saved", 5));
}

static void test_format__says_when_others_leave_no_room(void **state)
{
	uint8_t previous[GRUB_ENV_LEN], block[GRUB_ENV_LEN];
	struct err err;

	(void)state;
	block_of(HEAD "x=", previous);
	memset(previous + strlen(HEAD) + 2, 'y', GRUB_ENV_LEN - strlen(HEAD) - 2);
	assert_int_equal(grub_env_format(&FLIPPED, previous, block, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_non_null(strstr(err.msg, "grub-editenv"));
}

/* ---- two copies on recorded devices ---- */

struct env {
	struct recorder *rec;
	struct bootloader *bl;
};

static struct env env_open(struct recorder *rec)
{
	struct env env = {.rec = rec};
	struct blockdev *first = recorder_open(rec, 0);
	struct blockdev *spare = recorder_open(rec, 1);
	struct err err;

	assert_int_equal(grub_open_on(&first, &spare, &env.bl, &err), 0);
	return env;
}

static struct recorder *env_recorder(const struct boot_state *boot)
{
	struct recorder *rec = recorder_new();
	uint8_t block[GRUB_ENV_LEN];
	struct err err;

	assert_int_equal(grub_env_format(boot, NULL, block, &err), 0);
	(void)recorder_add(rec, "grubenv", GRUB_ENV_LEN, block, false);
	(void)recorder_add(rec, "grubenv.spare", GRUB_ENV_LEN, block, false);
	return rec;
}

static struct boot_state must_read(struct env *env)
{
	struct boot_state boot;
	struct err err = {0};

	if (bootloader_read(env->bl, &boot, &err) < 0)
		fail_msg("%s", err.msg);
	return boot;
}

static void test_commit__one_write_and_flush_each_first_copy_first(void **state)
{
	struct env env = env_open(env_recorder(&FRESH));
	struct boot_state found;
	struct err err;

	(void)state;
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), 0);
	assert_int_equal(recorder_count(env.rec, RECORDER_WRITE, 0), 1);
	assert_int_equal(recorder_count(env.rec, RECORDER_WRITE, 1), 1);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FLIPPED));
	assert_memory_equal(
		recorder_content(env.rec, 0), recorder_content(env.rec, 1), GRUB_ENV_LEN);
	recorder_forget(env.rec);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), 0);
	assert_int_equal(recorder_count(env.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	bootloader_close(&env.bl);
	recorder_free(&env.rec);
}

struct cut {
	unsigned int old, new;
};

static void old_or_new(struct recorder *after, const char *what, void *arg)
{
	struct env env = env_open(after);
	struct cut *cut = arg;
	struct boot_state found = must_read(&env);
	struct err err;

	if (boot_state_equal(&found, &FRESH))
		cut->old++;
	else if (boot_state_equal(&found, &FLIPPED))
		cut->new ++;
	else
		fail_msg("%s: a mix", what);
	assert_string_equal(env.bl->note, ""); /* one sector: never torn */
	/* The same again converges. */
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), 0);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FLIPPED));
	assert_memory_equal(recorder_content(after, 0), recorder_content(after, 1), GRUB_ENV_LEN);
	bootloader_close(&env.bl);
}

static void test_commit__cut_leaves_old_state_or_new(void **state)
{
	struct env env = env_open(env_recorder(&FRESH));
	struct cut cut = {0};
	struct err err;

	(void)state;
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), 0);
	assert_true(recorder_crashes(env.rec, &LIMITS, old_or_new, &cut) > 30);
	assert_true(cut.old > 0 && cut.new > 0);
	bootloader_close(&env.bl);
	recorder_free(&env.rec);
}

static void test_commit__is_flushed_even_if_nothing_is_to_be_written(void **state)
{
	struct env env = env_open(env_recorder(&FRESH));
	struct err err;

	(void)state;
	recorder_fail(env.rec, RECORDER_FLUSH, RECORDER_ANY, 1);
	assert_int_equal(bootloader_commit(env.bl, &FRESH, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	bootloader_close(&env.bl);
	recorder_free(&env.rec);
}

static void test_commit__failures_name_the_copy(void **state)
{
	struct env env = env_open(env_recorder(&FRESH));
	struct boot_state found;
	struct err err;

	(void)state;
	recorder_fail(env.rec, RECORDER_FLUSH, 0, 1);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_int_equal(recorder_count(env.rec, RECORDER_WRITE, 1), 0);
	recorder_fail(env.rec, RECORDER_WRITE, 1, 1);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_non_null(strstr(err.msg, "'grubenv.spare'"));
	assert_non_null(strstr(err.msg, "the change is made"));
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FLIPPED));
	bootloader_close(&env.bl);
	recorder_free(&env.rec);
}

static void test_read__spare_with_a_note_and_the_next_commit_repairs(void **state)
{
	struct env env = env_open(env_recorder(&FRESH));
	struct boot_state found;
	struct err err;

	(void)state;
	memset(recorder_content(env.rec, 0), 0xff, GRUB_ENV_LEN);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FRESH));
	assert_non_null(strstr(env.bl->note, "'grubenv.spare'"));
	assert_non_null(strstr(env.bl->note, "'grubenv'"));
	assert_int_equal(bootloader_commit(env.bl, &FRESH, &err), 0);
	found = must_read(&env);
	assert_string_equal(env.bl->note, "");
	memset(recorder_content(env.rec, 1), 0xff, GRUB_ENV_LEN);
	assert_int_equal(bootloader_commit(env.bl, &FRESH, &err), 0);
	assert_memory_equal(
		recorder_content(env.rec, 0), recorder_content(env.rec, 1), GRUB_ENV_LEN);
	/* A copy that cannot be read is as good as none. */
	recorder_fail(env.rec, RECORDER_READ, 0, 1);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FRESH));
	bootloader_close(&env.bl);
	recorder_free(&env.rec);
}

static void test_read__neither_copy_says_what_to_do(void **state)
{
	struct env env = env_open(env_recorder(&FRESH));
	struct boot_state found;
	struct err err;

	(void)state;
	memset(recorder_content(env.rec, 0), 0xff, GRUB_ENV_LEN);
	block_of(HEAD "ORDER=Q\n", recorder_content(env.rec, 1));
	assert_int_equal(bootloader_read(env.bl, &found, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_non_null(strstr(err.msg, "'grubenv'"));
	assert_non_null(strstr(err.msg, "ORDER is 'Q'"));
	assert_non_null(strstr(err.msg, "grub-editenv: create, then set ORDER=A A_OK=1"));
	/* What else is in a block is not to be lost. */
	block_of(HEAD "ORDER=Q\nmenu=1\n", recorder_content(env.rec, 0));
	assert_int_equal(bootloader_read(env.bl, &found, &err), -1);
	assert_non_null(strstr(err.msg, "grub-editenv: set ORDER=A A_OK=1"));
	bootloader_close(&env.bl);
	recorder_free(&env.rec);
}

static void test_open_on__one_copy_is_enough(void **state)
{
	struct recorder *rec = env_recorder(&FRESH);
	struct blockdev *first = recorder_open(rec, 0);
	struct env env = {.rec = rec};
	struct boot_state found;
	struct err err;

	(void)state;
	assert_int_equal(grub_open_on(&first, NULL, &env.bl, &err), 0);
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), 0);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FLIPPED));
	assert_int_equal(recorder_count(rec, RECORDER_WRITE, 1), 0);
	memset(recorder_content(rec, 0), 0xff, GRUB_ENV_LEN);
	assert_int_equal(bootloader_read(env.bl, &found, &err), -1);
	bootloader_close(&env.bl);
	recorder_free(&rec);
}

/* ---- files ---- */

static void write_env(struct scratch *scratch, const char *name, const char *text, size_t len)
{
	uint8_t block[GRUB_ENV_LEN];
	struct err err;

	block_of(text, block);
	assert_int_equal(fs_replace_file(scratch_path(scratch, name), block, len, 0600, &err), 0);
}

static void test_open__files_and_their_spare(void **state)
{
	struct scratch *scratch = *state;
	struct env env = {0};
	struct boot_state found;
	struct err err;

	write_env(scratch, "grubenv", HEAD "ORDER=A\nA_OK=1\n", GRUB_ENV_LEN);
	write_env(scratch, "grubenv.spare", HEAD "ORDER=B\nB_OK=1\n", GRUB_ENV_LEN);
	assert_int_equal(grub_open(scratch_path(scratch, "grubenv"), &env.bl, &err), 0);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FRESH));
	assert_int_equal(bootloader_commit(env.bl, &FLIPPED, &err), 0);
	bootloader_close(&env.bl);
	assert_int_equal(unlink(scratch_path(scratch, "grubenv")), 0);
	assert_int_equal(grub_open(scratch_path(scratch, "grubenv"), &env.bl, &err), 0);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FLIPPED));
	assert_non_null(strstr(env.bl->note, "grubenv.spare"));
	bootloader_close(&env.bl);
}

static void test_open__missing_both_is_told_when_read(void **state)
{
	struct scratch *scratch = *state;
	struct env env = {0};
	struct boot_state found;
	struct err err;

	assert_int_equal(grub_open(scratch_path(scratch, "grubenv"), &env.bl, &err), 0);
	assert_int_equal(bootloader_read(env.bl, &found, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_non_null(strstr(err.msg, "grubenv'"));
	assert_non_null(strstr(err.msg, "No such file"));
	bootloader_close(&env.bl);
}

static void test_commit__replaces_a_file_of_the_wrong_length(void **state)
{
	struct scratch *scratch = *state;
	struct env env = {0};
	struct boot_state found;
	struct stat st;
	struct err err;

	write_env(scratch, "grubenv", HEAD "ORDER=A\nA_OK=1\n", 100);
	write_env(scratch, "grubenv.spare", HEAD "ORDER=A\nA_OK=1\n", GRUB_ENV_LEN);
	assert_int_equal(grub_open(scratch_path(scratch, "grubenv"), &env.bl, &err), 0);
	found = must_read(&env);
	assert_non_null(strstr(env.bl->note, "grubenv.spare"));
	assert_int_equal(bootloader_commit(env.bl, &found, &err), 0);
	bootloader_close(&env.bl);
	assert_int_equal(stat(scratch_path(scratch, "grubenv"), &st), 0);
	assert_int_equal(st.st_size, GRUB_ENV_LEN);
	assert_int_equal(grub_open(scratch_path(scratch, "grubenv"), &env.bl, &err), 0);
	found = must_read(&env);
	assert_true(boot_state_equal(&found, &FRESH));
	assert_string_equal(env.bl->note, "");
	bootloader_close(&env.bl);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse__takes_every_kind_of_group),
		cmocka_unit_test(test_parse__passes_over_others_and_comments),
		cmocka_unit_test(test_parse__refuses_what_makes_no_sense),
		cmocka_unit_test(test_parse__block_without_an_end),
		cmocka_unit_test(test_format__round_trip_of_every_state),
		cmocka_unit_test(test_format__keeps_others_behind_ours),
		cmocka_unit_test(test_format__says_when_others_leave_no_room),
		cmocka_unit_test(test_commit__one_write_and_flush_each_first_copy_first),
		cmocka_unit_test(test_commit__cut_leaves_old_state_or_new),
		cmocka_unit_test(test_commit__is_flushed_even_if_nothing_is_to_be_written),
		cmocka_unit_test(test_commit__failures_name_the_copy),
		cmocka_unit_test(test_read__spare_with_a_note_and_the_next_commit_repairs),
		cmocka_unit_test(test_read__neither_copy_says_what_to_do),
		cmocka_unit_test(test_open_on__one_copy_is_enough),
		FILE_TEST(test_open__files_and_their_spare),
		FILE_TEST(test_open__missing_both_is_told_when_read),
		FILE_TEST(test_commit__replaces_a_file_of_the_wrong_length),
	};

	return cmocka_run_group_tests_name("grub", tests, NULL, NULL);
}
