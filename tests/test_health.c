/* health: which files are checks, in which order, and what is said of the one that fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/fs.h"
#include "updater/health.h"

static int setup(void **state)
{
	char *dir = strdup("/tmp/abide-health-XXXXXX");

	if (!dir || !mkdtemp(dir))
		return -1;
	*state = dir;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(*state);
	return 0;
}

static void add(const char *dir, const char *name, mode_t mode, const char *text)
{
	char path[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static struct health_report run(const char *dir, unsigned int timeout)
{
	struct health_report report;
	struct err err = {0};

	if (health_run(dir, timeout, &report, &err) < 0)
		fail_msg("%s", err.msg);
	return report;
}

static void test_run__missing_or_empty_directory_is_healthy(void **state)
{
	struct health_report report = run("/nonexistent/health.d", 5);

	assert_true(report.passed && report.run == 0);
	report = run(*state, 5);
	assert_true(report.passed && report.run == 0);
}

static void test_run__all_in_name_order(void **state)
{
	char text[512], path[256];
	struct health_report report;
	struct bytes order = {0};
	struct err err;

	(void)snprintf(
		text, sizeof(text), "#!/bin/sh\necho ${0##*/} >>%s/.order\n", (char *)*state);
	add(*state, "20-b", 0755, text);
	add(*state, "Z-first", 0755, text);
	add(*state, "10-c", 0700, text);
	add(*state, "a-last", 0755, text);
	report = run(*state, 5);
	assert_true(report.passed && report.run == 4);
	(void)snprintf(path, sizeof(path), "%s/.order", (char *)*state);
	assert_int_equal(fs_read_file(path, 1000, &order, &err), 0);
	assert_string_equal((char *)order.data, "10-c\n20-b\nZ-first\na-last\n");
	bytes_finish(&order);
}

static void test_run__stops_at_the_first_that_fails_and_tells(void **state)
{
	struct health_report report;

	add(*state, "10-good", 0755, "#!/bin/sh\necho fine\n");
	add(*state, "20-bad", 0755, "#!/bin/sh\necho no link\nexit 3\n");
	add(*state, "30-never", 0755, "#!/bin/sh\necho not reached\nexit 4\n");
	report = run(*state, 5);
	assert_false(report.passed);
	assert_int_equal(report.run, 2);
	assert_string_equal(report.failed, "20-bad");
	assert_string_equal(report.why, "exit status 3");
	assert_string_equal(report.output, "no link\n");
}

static void test_run__hidden_plain_and_other_files_are_skipped(void **state)
{
	char path[256];

	add(*state, ".hidden", 0755, "#!/bin/sh\nexit 1\n");
	add(*state, "README", 0644, "not a check\n");
	(void)snprintf(path, sizeof(path), "%s/dir", (char *)*state);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/dangling", (char *)*state);
	assert_int_equal(symlink("/nonexistent", path), 0);
	assert_true(run(*state, 5).passed);
	assert_int_equal(run(*state, 5).run, 0);
	(void)snprintf(path, sizeof(path), "%s/linked", (char *)*state);
	assert_int_equal(symlink("/bin/false", path), 0);
	assert_false(run(*state, 5).passed);
}

static void test_run__limit_signal_and_unstartable_are_failures(void **state)
{
	struct health_report report;

	add(*state, "10-hangs", 0755, "#!/bin/sh\necho waiting\nexec sleep 77\n");
	report = run(*state, 1);
	assert_false(report.passed);
	assert_string_equal(report.why, "no end after 1 s");
	assert_string_equal(report.output, "waiting\n");
	add(*state, "05-dies", 0755, "#!/bin/sh\nkill -11 $$\n");
	report = run(*state, 5);
	assert_string_equal(report.failed, "05-dies");
	assert_string_equal(report.why, "killed by signal 11");
	add(*state, "01-no-interpreter", 0755, "#!/nonexistent/sh\n");
	report = run(*state, 5);
	assert_false(report.passed);
	assert_string_equal(report.failed, "01-no-interpreter");
	assert_non_null(strstr(report.why, "No such file"));
}

static void test_run__directory_that_cannot_be_read_is_an_error(void **state)
{
	struct health_report report;
	struct err err = {0};

	add(*state, "file", 0644, "");
	assert_int_equal(health_run("/dev/null", 5, &report, &err), -1);
	assert_string_equal(err.msg, "health checks in '/dev/null': Not a directory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_run__missing_or_empty_directory_is_healthy),
		TEST(test_run__all_in_name_order),
		TEST(test_run__stops_at_the_first_that_fails_and_tells),
		TEST(test_run__hidden_plain_and_other_files_are_skipped),
		TEST(test_run__limit_signal_and_unstartable_are_failures),
		TEST(test_run__directory_that_cannot_be_read_is_an_error),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
