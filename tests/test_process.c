/* process: limits, output, and children that do not want to end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/process.h"

static struct process_result shell(const char *script, unsigned int timeout)
{
	char text[512];
	char *const argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, text, NULL};
	struct process_result result;
	struct err err = {0};

	(void)snprintf(text, sizeof(text), "%s", script);
	if (process_run(argv, timeout, &result, &err) < 0)
		fail_msg("%s", err.msg);
	/* Whatever happened, no zombie is left. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return result;
}

static struct process_result exchange(const char *script, const char *input, unsigned int timeout)
{
	char text[512];
	char *const argv[] = {(char[]){"/bin/sh"}, (char[]){"-c"}, text, NULL};
	struct process_result result;
	struct err err = {0};

	(void)snprintf(text, sizeof(text), "%s", script);
	if (process_exchange(argv, input, input ? strlen(input) : 0, timeout, &result, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	return result;
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_run__status_and_both_outputs(void **state)
{
	struct process_result r = shell("echo out; echo err >&2; exit 3", 10);

	(void)state;
	assert_int_equal(r.exit_status, 3);
	assert_int_equal(r.signal, 0);
	assert_false(r.timed_out);
	assert_string_equal(r.output, "out\nerr\n");
	assert_int_equal(r.output_len, 8);
}

static void test_run__signal_is_reported(void **state)
{
	struct process_result r = shell("kill -9 $$", 10);

	(void)state;
	assert_int_equal(r.exit_status, -1);
	assert_int_equal(r.signal, SIGKILL);
	assert_false(r.timed_out);
}

static void test_run__last_bytes_of_a_chatty_child_are_kept(void **state)
{
	struct process_result r =
		shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", 60);

	(void)state;
	assert_int_equal(r.exit_status, 0);
	assert_int_equal(r.output_len, PROCESS_OUTPUT_MAX);
	assert_string_equal(r.output + PROCESS_OUTPUT_MAX - 11, "line 19999\n");
}

static void test_run__limit_kills_the_whole_group(void **state)
{
	double start = seconds();
	struct process_result r =
		shell("echo before; (trap '' TERM; sleep 77) & trap '' TERM; echo $!; sleep 77", 1);
	const char *line = strchr(r.output, '\n');
	long pid;

	(void)state;
	assert_true(r.timed_out);
	assert_int_equal(r.signal, SIGKILL);
	assert_true(seconds() - start < 4);
	assert_non_null(line);
	pid = strtol(line + 1, NULL, 10);
	assert_true(pid > 1);
	/* Gone, or a zombie that init has not collected yet. */
	for (int i = 0; i < 100 && kill((pid_t)pid, 0) == 0; i++) {
		char path[64], state_line[256] = "";
		FILE *file;

		(void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
		file = fopen(path, "re");
		if (file) {
			(void)!fgets(state_line, sizeof(state_line), file);
			(void)fclose(file);
		}
		if (strstr(state_line, ") Z "))
			break;
		assert_true(i < 99);
		(void)usleep(10000);
	}
}

static void test_run__endless_talker_is_killed_at_the_limit(void **state)
{
	double start = seconds();
	struct process_result r = shell("while :; do echo y; done", 1);

	(void)state;
	assert_true(r.timed_out);
	assert_int_equal(r.output_len, PROCESS_OUTPUT_MAX);
	assert_true(seconds() - start < 4);
}

static void test_run__closed_output_is_not_the_end(void **state)
{
	double start = seconds();
	struct process_result r = shell("echo last; exec >&- 2>&-; sleep 0.4; exit 5", 10);

	(void)state;
	assert_int_equal(r.exit_status, 5);
	assert_string_equal(r.output, "last\n");
	assert_true(seconds() - start >= 0.35);
	r = shell("exec >&- 2>&-; exec sleep 77", 1);
	assert_true(r.timed_out);
}

static void test_run__grandchild_with_the_pipe_does_not_hold_us(void **state)
{
	double start = seconds();
	struct process_result r = shell("sleep 3 & echo done; exit 0", 10);

	(void)state;
	assert_int_equal(r.exit_status, 0);
	assert_string_equal(r.output, "done\n");
	assert_true(seconds() - start < 2);
	start = seconds();
	r = shell("(i=0; while [ $i -lt 100000 ]; do echo noise; i=$((i+1)); done) & exit 4", 10);
	assert_int_equal(r.exit_status, 4);
	assert_true(seconds() - start < 2);
}

static void test_run__program_that_cannot_start_is_an_error(void **state)
{
	char *const argv[] = {(char[]){"/nonexistent/check"}, NULL};
	struct process_result result;
	struct err err = {0};

	(void)state;
	assert_int_equal(process_run(argv, 5, &result, &err), -1);
	assert_string_equal(
		err.msg, "program '/nonexistent/check': start: No such file or directory");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void test_run__child_gets_three_descriptors_and_a_path(void **state)
{
	int extra = dup(2); /* not O_CLOEXEC: as if we were started with it */
	struct process_result r = shell("ls /proc/$$/fd | grep -c .; env | sort | grep -v ^_ | "
					"grep -v ^PWD | grep -v ^SHLVL | grep -v ^OLDPWD; "
					"readlink /proc/$$/fd/0",
		10);

	(void)state;
	(void)close(extra);
	assert_string_equal(r.output, "3\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
				      "/sbin:/bin\n/dev/null\n");
}

static void test_run__blocked_and_ignored_signals_are_not_inherited(void **state)
{
	struct process_result r;
	sigset_t all, before;

	(void)state;
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	(void)signal(SIGPIPE, SIG_IGN);
	r = shell("grep -E 'Sig(Blk|Ign)' /proc/self/status", 10);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	assert_non_null(strstr(r.output, "SigBlk:\t0000000000000000"));
	assert_null(strstr(r.output, "SigIgn:\t0000000000001000"));
}

/* ---- exchange ---- */

static void test_exchange__input_goes_in_and_the_streams_come_out_apart(void **state)
{
	struct process_result r = exchange("cat; echo trouble >&2; exit 4", "some input\n", 10);

	(void)state;
	assert_int_equal(r.exit_status, 4);
	assert_string_equal(r.output, "some input\n");
	assert_int_equal(r.output_len, 11);
	assert_false(r.output_cut);
	assert_string_equal(r.errors, "trouble\n");
	assert_int_equal(r.errors_len, 8);
}

static void test_exchange__without_input_there_is_its_end(void **state)
{
	struct process_result r = exchange("cat; echo end", NULL, 10);

	(void)state;
	assert_string_equal(r.output, "end\n");
	assert_int_equal(r.errors_len, 0);
}

/* More than any pipe holds, and nobody reads it. */
static void test_exchange__input_that_is_not_read_keeps_nobody_waiting(void **state)
{
	static char input[1u << 20];
	struct process_result r;

	(void)state;
	memset(input, 'x', sizeof(input) - 1);
	r = exchange("exec 0<&-; echo fine", input, 30);
	assert_int_equal(r.exit_status, 0);
	assert_string_equal(r.output, "fine\n");
	r = exchange("wc -c", input, 30);
	assert_int_equal(strtol(r.output, NULL, 10), sizeof(input) - 1);
}

static void test_exchange__too_much_is_cut_and_said(void **state)
{
	struct process_result r = exchange(
		"i=0; while [ $i -lt 5000 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done",
		NULL, 60);

	(void)state;
	assert_int_equal(r.exit_status, 0);
	assert_true(r.output_cut);
	assert_int_equal(r.output_len, PROCESS_OUTPUT_MAX);
	assert_memory_equal(r.output, "line 0\nline 1\n", 14); /* the beginning: it is parsed */
	assert_int_equal(r.errors_len, PROCESS_ERRORS_MAX);
	assert_string_equal(r.errors + PROCESS_ERRORS_MAX - 11, "error 4999\n"); /* the end */
}

static void test_exchange__exactly_the_limit_is_not_too_much(void **state)
{
	struct process_result r = exchange("head -c 4096 /dev/zero", NULL, 30);

	(void)state;
	assert_int_equal(r.output_len, PROCESS_OUTPUT_MAX);
	assert_false(r.output_cut);
	r = exchange("head -c 4097 /dev/zero", NULL, 30);
	assert_true(r.output_cut);
}

static void test_exchange__limit_kills(void **state)
{
	struct process_result r = exchange("echo begun; cat; sleep 60", "in", 1);

	(void)state;
	assert_true(r.timed_out);
	assert_string_equal(r.output, "begun\nin");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run__status_and_both_outputs),
		cmocka_unit_test(test_run__signal_is_reported),
		cmocka_unit_test(test_run__last_bytes_of_a_chatty_child_are_kept),
		cmocka_unit_test(test_run__limit_kills_the_whole_group),
		cmocka_unit_test(test_run__endless_talker_is_killed_at_the_limit),
		cmocka_unit_test(test_run__closed_output_is_not_the_end),
		cmocka_unit_test(test_run__grandchild_with_the_pipe_does_not_hold_us),
		cmocka_unit_test(test_run__program_that_cannot_start_is_an_error),
		cmocka_unit_test(test_run__child_gets_three_descriptors_and_a_path),
		cmocka_unit_test(test_run__blocked_and_ignored_signals_are_not_inherited),
		cmocka_unit_test(test_exchange__input_goes_in_and_the_streams_come_out_apart),
		cmocka_unit_test(test_exchange__without_input_there_is_its_end),
		cmocka_unit_test(test_exchange__input_that_is_not_read_keeps_nobody_waiting),
		cmocka_unit_test(test_exchange__too_much_is_cut_and_said),
		cmocka_unit_test(test_exchange__exactly_the_limit_is_not_too_much),
		cmocka_unit_test(test_exchange__limit_kills),
	};

	return cmocka_run_group_tests_name("process", tests, NULL, NULL);
}
