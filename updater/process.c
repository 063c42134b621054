#include "updater/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

#define TICK_MS    20 /* how late the end of a child that leaves its pipe open may be seen */
#define REAP_MS    5000 /* a killed child that does not end by then hangs in the kernel */
#define EXEC_FAILS 127

/* A check must say the same from init and from somebody's shell. */
static char *const ENVIRONMENT[] = {
	(char[]){"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	NULL,
};

struct child {
	pid_t pid;
	int output; /* read end: what the program says; -1 after its end */
	int failure; /* read end: errno of an execve that failed */
};

static void child_close(const struct child *child)
{
	cleanup_fd(&child->output);
	cleanup_fd(&child->failure);
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* In the child, between fork and execve: system calls only. */
static void exec_child(char *const argv[], int null, int output, int failure)
{
	sigset_t none;
	int why;

	(void)setpgid(0, 0); /* the parent does the same; one of the two comes first */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	if (dup2(null, 0) >= 0 && dup2(output, 1) >= 0 && dup2(output, 2) >= 0) {
		/* Ours are all O_CLOEXEC; this is for what we were started with. */
		(void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
		(void)execve(argv[0], argv, ENVIRONMENT);
	}
	why = errno;
	/* If even this is lost, the exit status tells. */
	(void)!write(failure, &why, sizeof(why));
	_exit(EXEC_FAILS);
}

static int child_start(char *const argv[], struct child *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int null = -1, output_end = -1, failure_end = -1;
	CLEANUP(child_close) struct child child = {.output = -1, .failure = -1};
	int output[2], failure[2];

	if (fs_open("/dev/null", O_RDONLY, 0, &null, err) < 0)
		return -1;
	if (pipe2(output, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	child.output = output[0];
	output_end = output[1];
	if (pipe2(failure, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	child.failure = failure[0];
	failure_end = failure[1];
	child.pid = fork();
	if (child.pid < 0)
		return err_errno(err, "fork");
	if (child.pid == 0)
		exec_child(argv, null, output_end, failure_end);
	(void)setpgid(child.pid, child.pid); /* fails if the child did it and runs already */
	(void)fcntl(child.output, F_SETFL, O_NONBLOCK);
	*ret = child;
	child = (struct child){.output = -1, .failure = -1};
	return 0;
}

/* After execve the pipe closes without a byte; else it brings errno. */
static int child_started(const struct child *child, struct err *err)
{
	size_t got;
	int why;

	if (fs_read_full(child->failure, "pipe", &why, sizeof(why), &got, err) < 0)
		return -1;
	if (got != sizeof(why))
		return 0;
	errno = why;
	return err_errno(err, "start");
}

/* Appends, dropping from the front what no longer fits. */
static void keep(struct process_result *result, const char *data, size_t len)
{
	size_t drop;

	if (len > PROCESS_OUTPUT_MAX) {
		data += len - PROCESS_OUTPUT_MAX;
		len = PROCESS_OUTPUT_MAX;
	}
	drop = result->output_len + len > PROCESS_OUTPUT_MAX
		       ? result->output_len + len - PROCESS_OUTPUT_MAX
		       : 0;
	memmove(result->output, result->output + drop, result->output_len - drop);
	memcpy(result->output + result->output_len - drop, data, len);
	result->output_len += len - drop;
}

/* Waits up to a tick for output and takes one piece. False: nothing came. */
static bool take_output(struct child *child, int wait_ms, struct process_result *result)
{
	struct pollfd poll_for = {.fd = child->output, .events = POLLIN}; /* -1: only waits */
	char piece[4096];
	ssize_t n;

	if (poll(&poll_for, 1, wait_ms) <= 0 || child->output < 0)
		return false;
	n = read(child->output, piece, sizeof(piece));
	if (n > 0) {
		keep(result, piece, (size_t)n);
		return true;
	}
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	/* Closed: from now on only the child's end is of interest. */
	(void)close(child->output);
	child->output = -1;
	return false;
}

/* True when the child has ended and was reaped. */
static bool child_ended(const struct child *child, int *ret_status, struct err *err, int *ret_error)
{
	pid_t pid = waitpid(child->pid, ret_status, WNOHANG);

	if (pid < 0 && errno != EINTR)
		*ret_error = err_errno(err, "wait for process %d", (int)child->pid);
	return pid == child->pid;
}

/* Until the child has ended or `deadline` is there. 1: it ended. */
static int wait_until(struct child *child, int64_t deadline, struct process_result *result,
	int *ret_status, struct err *err)
{
	int error = 0;

	while (!child_ended(child, ret_status, err, &error)) {
		int64_t left = deadline - now_ms();

		if (error)
			return -1;
		if (left <= 0)
			return 0;
		(void)take_output(child, left < TICK_MS ? (int)left : TICK_MS, result);
	}
	return 1;
}

static int child_finish(
	struct child *child, unsigned int timeout, struct process_result *result, struct err *err)
{
	int status = SIGKILL; /* what is said of a child that even SIGKILL does not end */
	int ended = wait_until(child, now_ms() + (int64_t)timeout * 1000, result, &status, err);

	if (ended < 0)
		return -1;
	if (!ended) {
		result->timed_out = true;
		/* Not reaped yet, so the number is still this group's. */
		(void)kill(-child->pid, SIGKILL);
		(void)kill(child->pid, SIGKILL);
		if (wait_until(child, now_ms() + REAP_MS, result, &status, err) < 0)
			return -1;
	}
	/* What is in the pipe now was said before the end. A grandchild may keep it open and go on
	 * writing: one pipe's worth is enough. */
	for (int i = 0; i < 16 && take_output(child, 0, result); i++)
		continue;
	result->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return 0;
}

int process_run(
	char *const argv[], unsigned int timeout, struct process_result *ret, struct err *err)
{
	CLEANUP(child_close) struct child child = {.output = -1, .failure = -1};
	struct process_result result = {0};

	if (child_start(argv, &child, err) < 0)
		return err_wrap(err, "program '%s'", argv[0]);
	if (child_started(&child, err) < 0) {
		(void)waitpid(child.pid, NULL, 0); /* it has _exited or is about to */
		return err_wrap(err, "program '%s'", argv[0]);
	}
	if (child_finish(&child, timeout, &result, err) < 0)
		return err_wrap(err, "program '%s'", argv[0]);
	*ret = result;
	return 0;
}
