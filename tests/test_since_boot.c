/* since_boot: the note of a flip is of this boot, or void. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/since_boot.h"

static void test_note__is_seen_until_the_next_boot(void **state)
{
	const char *run = scratch_path(*state, "run");
	const char *note = scratch_path(*state, "run/flipped");
	static const char OTHER[] = "6ba7b810-9dad-11d1-80b4-00c04fd430c8\n";
	struct err err = {0};

	assert_false(since_boot_flipped(run)); /* no directory */
	assert_int_equal(since_boot_note(run, &err), 0);
	assert_true(since_boot_flipped(run));
	assert_int_equal(since_boot_note(run, &err), 0); /* again */
	assert_true(since_boot_flipped(run));
	/* A run directory that outlives the boot has the note of another one. */
	assert_int_equal(fs_replace_file(note, OTHER, strlen(OTHER), 0644, &err), 0);
	assert_false(since_boot_flipped(run));
	assert_int_equal(fs_replace_file(note, "", 0, 0644, &err), 0);
	assert_false(since_boot_flipped(run));
	assert_int_equal(unlink(note), 0); /* as /run is after a boot */
	assert_false(since_boot_flipped(run));
}

static void test_note__that_cannot_be_made_is_an_error(void **state)
{
	struct err err = {0};

	(void)scratch_file(*state, "run", 4096); /* a file is in the way */
	assert_int_equal(since_boot_note(scratch_path(*state, "run"), &err), -1);
	assert_non_null(strstr(err.msg, "note of a flip: "));
	assert_false(since_boot_flipped(scratch_path(*state, "run")));
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FILE_TEST(test_note__is_seen_until_the_next_boot),
		FILE_TEST(test_note__that_cannot_be_made_is_an_error),
	};

	return cmocka_run_group_tests_name("since_boot", tests, NULL, NULL);
}
