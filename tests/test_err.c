/* err: codes, wrapping, and messages that do not fit. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "updater/err.h"
#include "updater/mem.h"

static void test_err__exit_codes_are_the_documented_ones(void **state)
{
	static const struct {
		enum err_code code;
		int exit_code;
		const char *name;
	} WANTED[] = {
		{FAIL_NONE, 0, "none"},
		{FAIL_IO, 1, "io"},
		{FAIL_USAGE, 2, "usage"},
		{FAIL_UNTRUSTED, 3, "untrusted"},
		{FAIL_REFUSED, 4, "refused"},
		{FAIL_SPACE, 5, "space"},
		{FAIL_STATE, 6, "state"},
		{FAIL_BOOT, 7, "boot"},
		{FAIL_NETWORK, 8, "network"},
		{FAIL_DRIFT, 9, "drift"},
		{FAIL_HEALTH, 10, "health"},
		{FAIL_INTERRUPTED, 130, "interrupted"},
	};

	(void)state;
	assert_int_equal(ARRAY_LEN(WANTED), FAIL_INTERRUPTED + 1);
	for (size_t i = 0; i < ARRAY_LEN(WANTED); i++) {
		assert_int_equal(err_exit_code(WANTED[i].code), WANTED[i].exit_code);
		assert_string_equal(err_code_name(WANTED[i].code), WANTED[i].name);
	}
}

static void test_err__wrap_reads_from_the_command_to_the_cause(void **state)
{
	struct err err = {0};

	(void)state;
	errno = EIO;
	assert_int_equal(err_errno(&err, "read '%s' at %d", "/dev/vda3", 4096), -1);
	assert_int_equal(err_wrap(&err, "slot '%s'", "rootfs.b"), -1);
	assert_int_equal(err_wrap_as(&err, FAIL_DRIFT, "verify"), -1);
	assert_string_equal(
		err.msg, "verify: slot 'rootfs.b': read '/dev/vda3' at 4096: Input/output error");
	assert_int_equal(err.code, FAIL_DRIFT);
}

static void test_err__errno_decides_between_space_and_io(void **state)
{
	static const int FULL[] = {ENOSPC, EDQUOT, EFBIG};
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(FULL); i++) {
		errno = FULL[i];
		(void)err_errno(&err, "write '%s'", "x");
		assert_int_equal(err.code, FAIL_SPACE);
	}
	errno = EIO;
	(void)err_errno(&err, "write '%s'", "x");
	assert_int_equal(err.code, FAIL_IO);
	assert_int_equal(err_memory(&err), -1);
	assert_int_equal(err.code, FAIL_IO);
}

static void test_err__a_long_context_is_cut_not_the_cause(void **state)
{
	char path[2000];
	struct err err;

	(void)state;
	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	memset(&err, 0xff, sizeof(err));
	errno = ENOENT;
	(void)err_errno(&err, "open '%s'", path);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_memory_equal(err.msg, "open 'ppp", 9);
	assert_non_null(strstr(err.msg, "pp...: No such file or directory"));

	(void)err_wrap(&err, "install '%s'", path);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_memory_equal(err.msg, "install 'ppp", 12);
	assert_non_null(strstr(err.msg, "...: open 'ppp"));

	(void)err_set(&err, FAIL_USAGE, "%s", path);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_string_equal(err.msg + sizeof(err.msg) - 5, "p...");
}

/* ": " and so many letters. */
static const char *cause_of(size_t len)
{
	static char cause[600];

	memset(cause, 'c', sizeof(cause));
	memcpy(cause, ": ", 2);
	cause[len + 2 < sizeof(cause) ? len + 2 : sizeof(cause) - 1] = '\0';
	return cause;
}

/* Every length around the edges: no byte beyond the buffer (the sanitizers look), always an end. */
static void test_err__every_length_ends_inside_the_buffer(void **state)
{
	char text[600];
	struct {
		struct err err;
		char after;
	} guarded;

	(void)state;
	for (size_t context = 0; context < sizeof(text); context++)
		for (size_t cause = 0; cause < sizeof(text); cause += 13) {
			size_t len;

			memset(&guarded, 0x5a, sizeof(guarded));
			memset(text, 'c', sizeof(text));
			(void)err_set(&guarded.err, FAIL_IO, "%.*s", (int)cause, text);
			memset(text, 'x', sizeof(text));
			(void)err_wrap(&guarded.err, "%.*s", (int)context, text);
			len = strnlen(guarded.err.msg, sizeof(guarded.err.msg));
			assert_true(len < sizeof(guarded.err.msg));
			if (cause <= 400) /* there is room for a context: the cause is whole */
				assert_string_equal(
					guarded.err.msg + len - cause - 2, cause_of(cause));
			assert_non_null(strstr(guarded.err.msg, ": "));
			assert_int_equal(guarded.after, 0x5a);
		}
}

static void test_err__an_argument_may_be_the_old_message(void **state)
{
	struct err err = {0};

	(void)state;
	(void)err_set(&err, FAIL_IO, "first");
	(void)err_set(&err, FAIL_BOOT, "second, after '%s'", err.msg);
	assert_string_equal(err.msg, "second, after 'first'");
	(void)err_wrap(&err, "[%s]", err.msg);
	assert_string_equal(err.msg, "[second, after 'first']: second, after 'first'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err__exit_codes_are_the_documented_ones),
		cmocka_unit_test(test_err__wrap_reads_from_the_command_to_the_cause),
		cmocka_unit_test(test_err__errno_decides_between_space_and_io),
		cmocka_unit_test(test_err__a_long_context_is_cut_not_the_cause),
		cmocka_unit_test(test_err__every_length_ends_inside_the_buffer),
		cmocka_unit_test(test_err__an_argument_may_be_the_old_message),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
