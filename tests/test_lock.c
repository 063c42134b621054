/* lock: one holder at a time, named; nothing stale. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/lock.h"

static int setup(void **state)
{
	char *dir = strdup("/tmp/abide-lock-XXXXXX");

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

static void test_take__second_is_told_who_holds_it(void **state)
{
	struct lock first, second;
	struct err err = {0};
	char said[128], run_dir[128];

	(void)snprintf(run_dir, sizeof(run_dir), "%s/run/abide", (char *)*state);
	assert_int_equal(lock_take(run_dir, "install", &first, &err), 0);
	assert_int_equal(lock_take(run_dir, "confirm", &second, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	(void)snprintf(
		said, sizeof(said), "busy: 'install' runs as process %d since 20", (int)getpid());
	assert_memory_equal(err.msg, said, strlen(said));
	lock_release(&first);
	assert_int_equal(first.fd, -1);
	assert_int_equal(lock_take(run_dir, "confirm", &second, &err), 0);
	lock_release(&second);
	lock_release(&second);
	lock_release(NULL);
}

static void test_take__killed_holder_leaves_nothing(void **state)
{
	struct lock lock;
	struct err err;
	int pipefd[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (lock_take(*state, "install", &lock, &err) < 0)
			_exit(1);
		(void)!write(pipefd[1], "x", 1);
		(void)pause();
		_exit(0);
	}
	assert_int_equal(read(pipefd[0], &c, 1), 1);
	assert_int_equal(lock_take(*state, "revert", &lock, &err), -1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_true(waitpid(pid, NULL, 0) == pid);
	assert_int_equal(lock_take(*state, "revert", &lock, &err), 0);
	lock_release(&lock);
	(void)close(pipefd[0]);
	(void)close(pipefd[1]);
}

static void test_take__directory_that_cannot_be_made_is_an_error(void **state)
{
	struct lock lock;
	struct err err = {0};

	(void)state;
	assert_int_equal(lock_take("/dev/null/abide", "install", &lock, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "'/dev/null"));
}

static void test_take__link_in_the_place_of_the_lock_is_refused(void **state)
{
	char path[128], victim[128];
	struct lock lock;
	struct err err = {0};

	(void)snprintf(path, sizeof(path), "%s/lock", (char *)*state);
	(void)snprintf(victim, sizeof(victim), "%s/victim", (char *)*state);
	assert_int_equal(symlink(victim, path), 0);
	assert_int_equal(lock_take(*state, "install", &lock, &err), -1);
	assert_int_equal(access(victim, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_take__second_is_told_who_holds_it),
		TEST(test_take__killed_holder_leaves_nothing),
		TEST(test_take__directory_that_cannot_be_made_is_an_error),
		TEST(test_take__link_in_the_place_of_the_lock_is_refused),
	};

	return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
