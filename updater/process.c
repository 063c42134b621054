#include "updater/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
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

/* What the child's descriptors 0, 1 and 2 become. */
struct ends {
	int input;
	int output;
	int errors; /* the same as output, or a pipe of its own */
	int failure; /* write end: errno of an execve that failed */
};

struct child {
	pid_t pid;
	int output; /* read end: what the program says; -1 after its end */
	int errors; /* likewise, if kept apart; else -1 */
	int failure; /* read end */
};

static void child_close(const struct child *child)
{
	cleanup_fd(&child->output);
	cleanup_fd(&child->errors);
	cleanup_fd(&child->failure);
}

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* In the child, between fork and execve: system calls only. */
static void exec_child(char *const argv[], const struct ends *ends)
{
	sigset_t none;
	int why;

	(void)setpgid(0, 0); /* the parent does the same; one of the two comes first */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	if (dup2(ends->input, 0) >= 0 && dup2(ends->output, 1) >= 0 && dup2(ends->errors, 2) >= 0) {
		/* Ours are all O_CLOEXEC; this is for what we were started with. */
		(void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
		(void)execve(argv[0], argv, ENVIRONMENT);
	}
	why = errno;
	/* If even this is lost, the exit status tells. */
	(void)!write(ends->failure, &why, sizeof(why));
	_exit(EXEC_FAILS);
}

/* Both ends are closed on exec; the child's copies at 0..2 are not. */
static int open_pipe(int *ret_read, int *ret_write, struct err *err)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, "pipe");
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

/* A file in memory, not a pipe: a child that does not read it neither blocks us nor sends SIGPIPE. */
static int open_input(const void *input, size_t len, int *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;

	if (len == 0)
		return fs_open("/dev/null", O_RDONLY, 0, ret, err);
	fd = memfd_create("input", MFD_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "make a file in memory");
	if (fs_write_full(fd, "input", input, len, err) < 0)
		return -1;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(err, "seek in a file in memory");
	*ret = fd;
	fd = -1;
	return 0;
}

/* Takes `input`, the descriptor that becomes the child's 0. */
static int child_start(
	char *const argv[], int input, bool apart, struct child *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int input_end = input, output_end = -1, errors_end = -1;
	CLEANUP(cleanup_fd) int failure_end = -1;
	CLEANUP(child_close) struct child child = {.output = -1, .errors = -1, .failure = -1};

	if (open_pipe(&child.output, &output_end, err) < 0 ||
		(apart && open_pipe(&child.errors, &errors_end, err) < 0) ||
		open_pipe(&child.failure, &failure_end, err) < 0)
		return -1;
	child.pid = fork();
	if (child.pid < 0)
		return err_errno(err, "fork");
	if (child.pid == 0) {
		const struct ends ends = {
			input_end, output_end, apart ? errors_end : output_end, failure_end};

		exec_child(argv, &ends);
	}
	(void)setpgid(child.pid, child.pid); /* fails if the child did it and runs already */
	(void)fcntl(child.output, F_SETFL, O_NONBLOCK);
	if (apart)
		(void)fcntl(child.errors, F_SETFL, O_NONBLOCK);
	*ret = child;
	child = (struct child){.output = -1, .errors = -1, .failure = -1};
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

/* Appends to `text` of at most `cap` bytes, dropping from the front what no longer fits. */
static void keep_last(char *text, size_t cap, size_t *text_len, const char *data, size_t len)
{
	size_t drop;

	if (len > cap) {
		data += len - cap;
		len = cap;
	}
	drop = *text_len + len > cap ? *text_len + len - cap : 0;
	memmove(text, text + drop, *text_len - drop);
	memcpy(text + *text_len - drop, data, len);
	*text_len += len - drop;
}

static void keep_output(struct process_result *result, bool apart, const char *data, size_t len)
{
	size_t room = PROCESS_OUTPUT_MAX - result->output_len;

	result->output_cut = result->output_cut || len > room;
	if (!apart) {
		keep_last(result->output, PROCESS_OUTPUT_MAX, &result->output_len, data, len);
		return;
	}
	if (len > room)
		len = room;
	memcpy(result->output + result->output_len, data, len);
	result->output_len += len;
}

/* One piece of what is in the pipe. 0 if there is nothing; at its end it is closed, and *fd is -1:
 * from then on only the child's end is of interest. */
static size_t take_piece(int *fd, char *piece, size_t cap)
{
	ssize_t n;

	if (*fd < 0)
		return 0;
	n = read(*fd, piece, cap);
	if (n > 0)
		return (size_t)n;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	(void)close(*fd);
	*fd = -1;
	return 0;
}

/* Waits up to a tick for output and takes a piece of each stream. False: nothing came. */
static bool take_output(struct child *child, bool apart, int wait_ms, struct process_result *result)
{
	struct pollfd poll_for[] = {/* -1: not looked at */
		{.fd = child->output, .events = POLLIN}, {.fd = child->errors, .events = POLLIN}};
	char piece[4096];
	size_t output, errors;

	if (poll(poll_for, ARRAY_LEN(poll_for), wait_ms) <= 0)
		return false;
	output = take_piece(&child->output, piece, sizeof(piece));
	keep_output(result, apart, piece, output);
	errors = take_piece(&child->errors, piece, sizeof(piece));
	keep_last(result->errors, PROCESS_ERRORS_MAX, &result->errors_len, piece, errors);
	return output + errors > 0;
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
static int wait_until(struct child *child, bool apart, int64_t deadline,
	struct process_result *result, int *ret_status, struct err *err)
{
	int error = 0;

	while (!child_ended(child, ret_status, err, &error)) {
		int64_t left = deadline - now_ms();

		if (error)
			return -1;
		if (left <= 0)
			return 0;
		(void)take_output(child, apart, left < TICK_MS ? (int)left : TICK_MS, result);
	}
	return 1;
}

static int child_finish(struct child *child, bool apart, unsigned int timeout,
	struct process_result *result, struct err *err)
{
	int status = SIGKILL; /* what is said of a child that even SIGKILL does not end */
	int ended =
		wait_until(child, apart, now_ms() + (int64_t)timeout * 1000, result, &status, err);

	if (ended < 0)
		return -1;
	if (!ended) {
		result->timed_out = true;
		/* Not reaped yet, so the number is still this group's. */
		(void)kill(-child->pid, SIGKILL);
		(void)kill(child->pid, SIGKILL);
		if (wait_until(child, apart, now_ms() + REAP_MS, result, &status, err) < 0)
			return -1;
	}
	/* What is in the pipe now was said before the end. A grandchild may keep it open and go on
	 * writing: one pipe's worth is enough. */
	for (int i = 0; i < 16 && take_output(child, apart, 0, result); i++)
		continue;
	result->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return 0;
}

static int run(char *const argv[], int input, bool apart, unsigned int timeout,
	struct process_result *ret, struct err *err)
{
	CLEANUP(child_close) struct child child = {.output = -1, .errors = -1, .failure = -1};
	struct process_result result = {0};

	if (child_start(argv, input, apart, &child, err) < 0)
		return err_wrap(err, "program '%s'", argv[0]);
	if (child_started(&child, err) < 0) {
		(void)waitpid(child.pid, NULL, 0); /* it has _exited or is about to */
		return err_wrap(err, "program '%s'", argv[0]);
	}
	if (child_finish(&child, apart, timeout, &result, err) < 0)
		return err_wrap(err, "program '%s'", argv[0]);
	*ret = result;
	return 0;
}

int process_run(
	char *const argv[], unsigned int timeout, struct process_result *ret, struct err *err)
{
	int input;

	if (open_input(NULL, 0, &input, err) < 0)
		return err_wrap(err, "program '%s'", argv[0]);
	return run(argv, input, false, timeout, ret, err);
}

int process_exchange(char *const argv[], const void *input, size_t input_len, unsigned int timeout,
	struct process_result *ret, struct err *err)
{
	int fd;

	if (open_input(input, input_len, &fd, err) < 0)
		return err_wrap(err, "program '%s'", argv[0]);
	return run(argv, fd, true, timeout, ret, err);
}
