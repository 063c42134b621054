/* fs: limits, durable replacement, directories; a full disk leaves the old file. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "updater/fs.h"

static void assert_content(const char *path, const char *wanted)
{
	CLEANUP(bytes_finish) struct bytes found = {0};
	struct err err;

	assert_int_equal(fs_read_file(path, 1 << 20, &found, &err), 0);
	assert_int_equal(found.len, strlen(wanted));
	assert_memory_equal(found.data, wanted, found.len);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void test_read_file__whole_at_every_awkward_size(void **state)
{
	static const size_t SIZES[] = {0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 100000};

	for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
		const char *path = scratch_file(*state, "f", SIZES[i]);
		CLEANUP(bytes_finish) struct bytes file = {0};
		struct err err;

		assert_int_equal(fs_read_file(path, SIZES[i], &file, &err), 0);
		assert_int_equal(file.len, SIZES[i]);
		assert_int_equal(file.data[file.len], 0);
		for (size_t at = 0; at < file.len; at++)
			assert_int_equal(file.data[at], (at + at / 512) & 0xff);
	}
}

static void test_read_file__one_byte_over_the_limit_is_refused(void **state)
{
	const char *path = scratch_file(*state, "f", 5000);
	struct bytes file = {0};
	struct err err;

	assert_int_equal(fs_read_file(path, 4999, &file, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	assert_non_null(strstr(err.msg, "is longer than 4999 bytes"));
	assert_null(file.data);
	/* without end: the limit stops it, not the memory */
	assert_int_equal(fs_read_file("/dev/zero", 1 << 16, &file, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
}

static void test_read_file__names_what_is_missing(void **state)
{
	const char *path = scratch_path(*state, "no such");
	struct bytes file = {0};
	struct err err;

	assert_int_equal(fs_read_file(path, 10, &file, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "no such': No such file or directory"));
	assert_int_equal(fs_read_file(((struct scratch *)*state)->dir, 10, &file, &err), -1);
	assert_non_null(strstr(err.msg, "Is a directory"));
}

static void test_replace__new_content_and_rights(void **state)
{
	const char *path = scratch_path(*state, "conf");
	struct stat st;
	struct err err;

	assert_int_equal(fs_replace_file(path, "one", 3, 0600, &err), 0);
	assert_int_equal(fs_replace_file(path, "three", 5, 0600, &err), 0);
	assert_content(path, "three");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_false(exists(scratch_path(*state, "conf.new")));
}

static void test_replace__a_planted_new_file_is_not_written_through(void **state)
{
	const char *path = scratch_path(*state, "conf");
	const char *victim = scratch_path(*state, "victim");
	struct err err;

	assert_int_equal(fs_replace_file(victim, "precious", 8, 0600, &err), 0);
	assert_int_equal(symlink(victim, scratch_path(*state, "conf.new")), 0);
	assert_int_equal(fs_replace_file(path, "new", 3, 0600, &err), 0);
	assert_content(path, "new");
	assert_content(victim, "precious");
}

static void test_replace__fails_cleanly_where_it_cannot(void **state)
{
	const char *path = scratch_path(*state, "no/such/conf");
	const char *dir = scratch_path(*state, "dir");
	char longest[PATH_MAX];
	struct err err;

	assert_int_equal(fs_replace_file(path, "new", 3, 0600, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	/* the rename fails: nothing is left behind */
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(fs_replace_file(dir, "new", 3, 0600, &err), -1);
	assert_non_null(strstr(err.msg, "rename '"));
	assert_false(exists(scratch_path(*state, "dir.new")));
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(fs_replace_file(longest, "new", 3, 0600, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
}

/* Runs in a child, because a file size limit cannot be told from a full disk and stays. */
static int replace_under_limit(const char *path)
{
	const struct rlimit limit = {.rlim_cur = 8192, .rlim_max = 8192};
	char *big = calloc(1, 20000);
	struct err err = {0};
	int result;

	if (!big || setrlimit(RLIMIT_FSIZE, &limit) < 0 || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return 2;
	result = fs_replace_file(path, big, 20000, 0600, &err);
	free(big);
	return result == -1 && err.code == FAIL_SPACE && strstr(err.msg, "write '") ? 0 : 1;
}

static void test_replace__a_full_disk_leaves_the_old_file(void **state)
{
	const char *path = scratch_path(*state, "conf");
	struct err err;
	int status;
	pid_t child;

	assert_int_equal(fs_replace_file(path, "old", 3, 0600, &err), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		_exit(replace_under_limit(path));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_content(path, "old");
	assert_false(exists(scratch_path(*state, "conf.new")));
}

static void test_make_dirs__makes_parents_and_takes_existing(void **state)
{
	const char *path = scratch_path(*state, "a//b/c/");
	struct stat st;
	struct err err;

	assert_int_equal(fs_make_dirs(path, 0700, &err), 0);
	assert_int_equal(stat(scratch_path(*state, "a/b/c"), &st), 0);
	assert_true(S_ISDIR(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(fs_make_dirs(path, 0700, &err), 0);
	assert_int_equal(fs_make_dirs("/", 0700, &err), 0);
}

static void test_make_dirs__a_file_in_the_way_is_an_error(void **state)
{
	const char *file = scratch_file(*state, "file", 1);
	char longest[PATH_MAX + 1];
	struct err err;

	assert_int_equal(fs_make_dirs(file, 0700, &err), -1);
	assert_non_null(strstr(err.msg, "File exists"));
	assert_int_equal(fs_make_dirs(scratch_path(*state, "file/below"), 0700, &err), -1);
	assert_int_equal(fs_make_dirs("", 0700, &err), -1);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(fs_make_dirs(longest, 0700, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
}

static void test_sync_parent__of_every_form_of_path(void **state)
{
	const char *path = scratch_file(*state, "f", 1);
	struct err err;

	assert_int_equal(fs_sync_parent(path, &err), 0);
	assert_int_equal(fs_sync_parent("/f", &err), 0);
	assert_int_equal(fs_sync_parent("f", &err), 0);
	assert_int_equal(fs_sync_parent(scratch_path(*state, "no/f"), &err), -1);
	assert_non_null(strstr(err.msg, "no': No such file"));
}

static void test_join__refuses_what_does_not_fit(void **state)
{
	char path[8];
	struct err err;

	(void)state;
	assert_int_equal(fs_join("abc", "def", path, sizeof(path), &err), 0);
	assert_string_equal(path, "abc/def");
	assert_int_equal(fs_join("abc", "defg", path, sizeof(path), &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
}

static void test_read_full__gathers_what_a_pipe_drips(void **state)
{
	int ends[2];
	char text[8] = {0};
	size_t got = 99;
	struct err err;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		for (const char *c = "drips"; *c; c++)
			if (write(ends[1], c, 1) != 1 || usleep(1000) < 0)
				_exit(1);
		_exit(0);
	}
	(void)close(ends[1]);
	assert_int_equal(fs_read_full(ends[0], "pipe", text, sizeof(text), &got, &err), 0);
	assert_int_equal(got, 5);
	assert_string_equal(text, "drips");
	(void)close(ends[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_write_full__says_why_it_stopped(void **state)
{
	CLEANUP(cleanup_fd) int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct err err;

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(fs_write_full(full, "/dev/full", "x", 1, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	assert_string_equal(err.msg, "write '/dev/full': No space left on device");
}

static void test_open__closes_on_exec(void **state)
{
	CLEANUP(cleanup_fd) int fd = -1;
	struct err err;

	(void)state;
	assert_int_equal(fs_open("/dev/null", O_RDONLY, 0, &fd, &err), 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_SCRATCH(test_read_file__whole_at_every_awkward_size),
		IN_SCRATCH(test_read_file__one_byte_over_the_limit_is_refused),
		IN_SCRATCH(test_read_file__names_what_is_missing),
		IN_SCRATCH(test_replace__new_content_and_rights),
		IN_SCRATCH(test_replace__a_planted_new_file_is_not_written_through),
		IN_SCRATCH(test_replace__fails_cleanly_where_it_cannot),
		IN_SCRATCH(test_replace__a_full_disk_leaves_the_old_file),
		IN_SCRATCH(test_make_dirs__makes_parents_and_takes_existing),
		IN_SCRATCH(test_make_dirs__a_file_in_the_way_is_an_error),
		IN_SCRATCH(test_sync_parent__of_every_form_of_path),
		cmocka_unit_test(test_join__refuses_what_does_not_fit),
		cmocka_unit_test(test_read_full__gathers_what_a_pipe_drips),
		cmocka_unit_test(test_write_full__says_why_it_stopped),
		cmocka_unit_test(test_open__closes_on_exec),
	};

	return cmocka_run_group_tests_name("fs", tests, NULL, NULL);
}
