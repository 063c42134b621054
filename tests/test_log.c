/* log: silent unless asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/log.h"
#include "updater/mem.h"

/* What log_debug writes to standard error while debug is as given. */
static struct bytes logged(struct scratch *scratch, bool debug)
{
	const char *path = scratch_file(scratch, "stderr", 0);
	struct bytes text = {0};
	struct err err;
	int saved = dup(STDERR_FILENO);

	assert_true(saved >= 0);
	assert_non_null(freopen(path, "w", stderr));
	log_set_debug(debug);
	log_debug("chunk %d of '%s'", 7, "rootfs");
	log_set_debug(false);
	(void)fflush(stderr);
	assert_true(dup2(saved, STDERR_FILENO) >= 0);
	(void)close(saved);
	assert_int_equal(fs_read_file(path, 4096, &text, &err), 0);
	return text;
}

static void test_log__says_nothing_unless_asked(void **state)
{
	struct bytes text = logged(*state, false);

	assert_int_equal(text.len, 0);
	bytes_finish(&text);
}

static void test_log__says_whole_lines_when_asked(void **state)
{
	struct bytes text = logged(*state, true);

	assert_string_equal((char *)text.data, "abide: debug: chunk 7 of 'rootfs'\n");
	bytes_finish(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_log__says_nothing_unless_asked, scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(
			test_log__says_whole_lines_when_asked, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
