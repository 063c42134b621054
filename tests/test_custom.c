/* custom: the contract's JSON, and programs that break the contract in every way. */
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

#include "bootloader-hooks/custom/custom.h"
#include "tests/scratch.h"
#include "tests/states.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define GROUP_GOOD "{\"good\":true,\"bad\":false,\"tries\":0}"
#define GROUP_BAD  "{\"good\":false,\"bad\":true,\"tries\":0}"
#define STATE      "{\"primary\":\"a\",\"a\":" GROUP_GOOD ",\"b\":" GROUP_BAD "}"

static const struct boot_state GOOD_AND_BAD = {
	.group = {{.good = true}, {.bad = true}}, .primary = GROUP_A};
static const struct boot_state FLIPPED = {
	.group = {{.good = true}, {.tries = 3}}, .primary = GROUP_B};

/* ---- the JSON ---- */

static void test_json__round_trip_of_every_state(void **state)
{
	static struct boot_state states[STATES_MAX];
	size_t count = states_boot_reachable(states, ARRAY_LEN(states));

	(void)state;
	assert_true(count > 20);
	for (size_t i = 0; i < count; i++) {
		char text[CUSTOM_TEXT_MAX];
		struct boot_state found;
		struct err err;

		custom_state_format(&states[i], text);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
		assert_int_equal(custom_state_parse(text, strlen(text), &found, &err), 0);
		assert_true(boot_state_equal(&found, &states[i]));
	}
}

static void test_json__is_what_the_contract_says(void **state)
{
	char text[CUSTOM_TEXT_MAX];

	(void)state;
	custom_state_format(&GOOD_AND_BAD, text);
	assert_string_equal(text, STATE "\n");
}

static void test_json__any_spelling_will_do(void **state)
{
	static const char TEXT[] = " {\n\t\"b\": {\"tries\": 3, \"good\": false, \"bad\": false},\n"
				   " \"a\": " GROUP_GOOD ",\n\"primary\": \"\\u0062\" } \n\n";
	struct boot_state found;
	struct err err;

	(void)state;
	assert_int_equal(custom_state_parse(TEXT, strlen(TEXT), &found, &err), 0);
	assert_true(boot_state_equal(&found, &FLIPPED));
}

static void test_json__refuses_what_makes_no_sense(void **state)
{
#define WITH_B(b) "{\"primary\":\"a\",\"a\":" GROUP_GOOD ",\"b\":" b "}"
	static const struct {
		const char *text, *why;
	} CASES[] = {
		{"", "not JSON"},
		{"ok\n", "not JSON"},
		{"[]", "not an object"},
		{"{\"primary\":\"a\"", "not JSON: line 1"},
		{"{}", "'primary' is missing"},
		{STATE "x", "not JSON"},
		{STATE STATE, "not JSON"},
		{"{\"primary\":\"a\",\"a\":" GROUP_GOOD "}", "'b' is missing"},
		{"{\"primary\":\"a\",\"a\":" GROUP_GOOD ",\"b\":" GROUP_BAD ",\"c\":1}",
			"'c' is not known"},
		{"{\"primary\":\"a\",\"primary\":\"b\",\"a\":" GROUP_GOOD ",\"b\":" GROUP_BAD "}",
			"duplicate"},
		{"{\"primary\":\"A\",\"a\":" GROUP_GOOD ",\"b\":" GROUP_BAD "}", "'primary'"},
		{"{\"primary\":1,\"a\":" GROUP_GOOD ",\"b\":" GROUP_BAD "}", "'primary'"},
		{"{\"primary\":\"a\\u0000\",\"a\":" GROUP_GOOD ",\"b\":" GROUP_BAD "}", "not JSON"},
		{WITH_B("3"), "'b' is not an object"},
		{WITH_B("{\"good\":true,\"bad\":false}"), "'b.tries' is missing"},
		{WITH_B("{\"good\":true,\"bad\":false,\"tries\":0,\"x\\n\":0}"),
			"'b.x?' is not known"},
		{WITH_B("{\"good\":1,\"bad\":false,\"tries\":0}"), "'b.good' is neither"},
		{WITH_B("{\"good\":true,\"bad\":null,\"tries\":0}"), "'b.bad' is neither"},
		{WITH_B("{\"good\":false,\"bad\":false,\"tries\":10}"), "from 0 to 9"},
		{WITH_B("{\"good\":false,\"bad\":false,\"tries\":-1}"), "from 0 to 9"},
		{WITH_B("{\"good\":false,\"bad\":false,\"tries\":1.0}"), "'b.tries'"},
		{WITH_B("{\"good\":false,\"bad\":false,\"tries\":\"1\"}"), "'b.tries'"},
		{WITH_B("{\"good\":false,\"bad\":false,\"tries\":99999999999999999999}"),
			"not JSON"},
		{WITH_B("{\"good\":true,\"bad\":true,\"tries\":0}"), "more than one of"},
		{WITH_B("{\"good\":true,\"bad\":false,\"tries\":1}"), "more than one of"},
		{WITH_B("{\"good\":false,\"bad\":true,\"tries\":1}"), "more than one of"},
		{WITH_B("{\"good\":true,\"good\":true,\"bad\":false,\"tries\":0}"), "duplicate"},
		{"{\"primary\":\"\xff\"}", "not JSON"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct boot_state found = FLIPPED;
		struct err err = {0};

		assert_int_equal(
			custom_state_parse(CASES[i].text, strlen(CASES[i].text), &found, &err), -1);
		assert_int_equal(err.code, FAIL_BOOT);
		if (!strstr(err.msg, CASES[i].why))
			fail_msg("%s: '%s', expected '%s'", CASES[i].text, err.msg, CASES[i].why);
		assert_true(boot_state_equal(&found, &FLIPPED)); /* untouched */
	}
}

/* ---- programs ---- */

/* A program of `script`, in the scratch directory; $dir is that. */
static struct bootloader *program(struct scratch *scratch, const char *script)
{
	struct bootloader *bl = NULL;
	char text[2048];
	struct err err = {0};

	(void)snprintf(text, sizeof(text), "#!/bin/sh\ndir='%s'\n%s\n", scratch->dir, script);
	assert_int_equal(
		fs_replace_file(scratch_path(scratch, "hook"), text, strlen(text), 0755, &err), 0);
	assert_int_equal(custom_open(scratch_path(scratch, "hook"), 2, &bl, &err), 0);
	return bl;
}

static void assert_read_fails(struct bootloader *bl, const char *why)
{
	struct boot_state found = FLIPPED;
	struct err err = {0};

	assert_int_equal(bootloader_read(bl, &found, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, why))
		fail_msg("'%s', expected '%s'", err.msg, why);
	assert_non_null(strstr(err.msg, "/hook")); /* it is named */
	assert_true(boot_state_equal(&found, &FLIPPED));
}

/* Keeps the state as it comes, so that other tests can spoil one thing. */
#define KEEPER                                                                                     \
	"case $1 in get-state) cat $dir/state;; commit) cat >$dir/new && mv $dir/new "             \
	"$dir/state;; "                                                                            \
	"esac"

static void put_state(struct scratch *scratch, const char *text)
{
	struct err err = {0};

	assert_int_equal(
		fs_replace_file(scratch_path(scratch, "state"), text, strlen(text), 0644, &err), 0);
}

static void test_program__reads_and_commits(void **state)
{
	struct bootloader *bl = program(*state, KEEPER);
	struct boot_state found;
	struct err err = {0};

	put_state(*state, STATE "\n");
	assert_int_equal(bootloader_read(bl, &found, &err), 0);
	assert_true(boot_state_equal(&found, &GOOD_AND_BAD));
	assert_int_equal(bootloader_commit(bl, &FLIPPED, &err), 0);
	assert_int_equal(bootloader_read(bl, &found, &err), 0);
	assert_true(boot_state_equal(&found, &FLIPPED));
	bootloader_close(&bl);
}

static void test_program__every_failure_to_read_is_told(void **state)
{
	static const struct {
		const char *script, *why;
	} CASES[] = {
		{"echo rubbish", "not JSON"},
		{"exit 0", "wrote nothing"},
		{"echo '" STATE "' | sed 's/\"a\"/\"c\"/'", "'primary'"},
		{"i=0; while [ $i -lt 200 ]; do echo '" STATE "'; i=$((i+1)); done",
			"more than 4096 bytes"},
		{"echo '" STATE "'; echo 'cannot open /dev/mtd3' >&2; exit 3",
			"exit status 3: cannot open /dev/mtd3"},
		{"exit 1", "exit status 1: it said nothing"},
		{"echo one >&2; echo two >&2; exit 1", "one two"},
		{"kill -TERM $$; sleep 9", "killed by signal 15"},
		{"echo waiting for the chip >&2; sleep 60",
			"no end after 2 s, killed: waiting for the chip"},
	};

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct bootloader *bl = program(*state, CASES[i].script);

		assert_read_fails(bl, CASES[i].why);
		bootloader_close(&bl);
	}
}

static void test_program__that_cannot_be_run_is_told(void **state)
{
	const char *path = scratch_path(*state, "hook");
	struct bootloader *bl = NULL;
	struct err err;

	assert_int_equal(custom_open(path, 2, &bl, &err), 0);
	assert_read_fails(bl, "No such file");
	bootloader_close(&bl);
	bl = program(*state, KEEPER);
	assert_int_equal(chmod(path, 0644), 0);
	assert_read_fails(bl, "is not executable");
	bootloader_close(&bl);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(custom_open(path, 2, &bl, &err), 0);
	assert_read_fails(bl, "is not a file");
	bootloader_close(&bl);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(fs_replace_file(path, "#!/nonexistent/shell\n", 21, 0755, &err), 0);
	assert_int_equal(custom_open(path, 2, &bl, &err), 0);
	assert_read_fails(bl, "No such file");
	bootloader_close(&bl);
}

/* It is run as root: whoever may change it would be root. */
static void test_program__that_others_may_change_is_not_run_by_root(void **state)
{
	const char *path = scratch_path(*state, "hook");
	struct scratch *scratch = *state;
	struct bootloader *bl;
	struct boot_state found;
	struct err err;

	if (geteuid() != 0)
		skip();
	bl = program(scratch, KEEPER);
	put_state(scratch, STATE "\n");
	assert_int_equal(chmod(path, 0757), 0);
	assert_read_fails(bl, "written by others");
	assert_int_equal(chmod(path, 0775), 0);
	assert_read_fails(bl, "written by others");
	assert_int_equal(chmod(path, 0755), 0);
	assert_int_equal(chown(path, 1, 0), 0);
	assert_read_fails(bl, "belongs to user 1");
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(chmod(scratch->dir, 0757), 0);
	assert_read_fails(bl, scratch->dir);
	assert_int_equal(chmod(scratch->dir, 01777), 0);
	assert_int_equal(bootloader_read(bl, &found, &err), 0); /* sticky: root's stays root's */
	assert_int_equal(chmod(scratch->dir, 0755), 0);
	assert_int_equal(chown(scratch->dir, 1, 0), 0);
	assert_read_fails(bl, scratch->dir);
	assert_int_equal(chown(scratch->dir, 0, 0), 0);
	/* Through a link: what counts is what is run. */
	assert_int_equal(rename(path, scratch_path(scratch, "real-hook")), 0);
	assert_int_equal(symlink(scratch_path(scratch, "real-hook"), path), 0);
	assert_int_equal(bootloader_read(bl, &found, &err), 0);
	assert_int_equal(chmod(scratch_path(scratch, "real-hook"), 0777), 0);
	assert_read_fails(bl, "written by others");
	bootloader_close(&bl);
}

static void assert_commit_fails(struct bootloader *bl, const char *why)
{
	struct err err = {0};

	assert_int_equal(bootloader_commit(bl, &FLIPPED, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, why))
		fail_msg("'%s', expected '%s'", err.msg, why);
}

static void test_program__that_lies_is_told(void **state)
{
	struct bootloader *bl = program(*state, "[ $1 = commit ] || echo '" STATE "'");

	assert_commit_fails(bl, "ended with 0, but get-state says otherwise: expected "
				"{\"primary\":\"b\"");
	bootloader_close(&bl);
	bl = program(*state, "[ $1 = commit ]");
	assert_commit_fails(bl, "after a commit: ");
	bootloader_close(&bl);
	bl = program(*state, "[ $1 != commit ] || { echo 'disk full' >&2; exit 1; }");
	assert_commit_fails(bl, "hook commit': exit status 1: disk full");
	bootloader_close(&bl);
	bl = program(*state, "[ $1 != commit ] || sleep 60");
	assert_commit_fails(bl, "no end after 2 s");
	bootloader_close(&bl);
}

/* The last line of defence against a bug above: nothing is even started. */
static void test_commit__never_leaves_no_group(void **state)
{
	struct bootloader *bl = program(*state, "touch $dir/ran; " KEEPER);
	const struct boot_state none = {.primary = GROUP_A};
	struct err err;

	assert_int_equal(bootloader_commit(bl, &none, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_int_equal(access(scratch_path(*state, "ran"), F_OK), -1);
	bootloader_close(&bl);
}

/* Only the program can flush, so it is asked to even if the state is there. */
static void test_commit__is_asked_for_even_if_nothing_changes(void **state)
{
	struct bootloader *bl = program(*state, "[ $1 != commit ] || touch $dir/asked; " KEEPER);
	struct err err = {0};

	put_state(*state, STATE "\n");
	assert_int_equal(bootloader_commit(bl, &GOOD_AND_BAD, &err), 0);
	assert_int_equal(access(scratch_path(*state, "asked"), F_OK), 0);
	bootloader_close(&bl);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json__round_trip_of_every_state),
		cmocka_unit_test(test_json__is_what_the_contract_says),
		cmocka_unit_test(test_json__any_spelling_will_do),
		cmocka_unit_test(test_json__refuses_what_makes_no_sense),
		FILE_TEST(test_program__reads_and_commits),
		FILE_TEST(test_program__every_failure_to_read_is_told),
		FILE_TEST(test_program__that_cannot_be_run_is_told),
		FILE_TEST(test_program__that_others_may_change_is_not_run_by_root),
		FILE_TEST(test_program__that_lies_is_told),
		FILE_TEST(test_commit__never_leaves_no_group),
		FILE_TEST(test_commit__is_asked_for_even_if_nothing_changes),
	};

	return cmocka_run_group_tests_name("custom", tests, NULL, NULL);
}
