#include "updater/carrier/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "updater/carrier/child.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define FDS_OLD_MAX 4096 /* closed one by one where the kernel has no close_range() */
#define EXEC_FAILED 126
#define DEATH_MS    1000 /* a closed pipe, and the process not yet gone */

struct pipes {
	int requests[2]; /* installer's end, child's end */
	int answers[2]; /* likewise */
	int exe;
	struct ring ring;
};

static void cleanup_pipes(struct pipes *pipes)
{
	for (int i = 0; i < 2; i++) {
		cleanup_fd(&pipes->requests[i]);
		cleanup_fd(&pipes->answers[i]);
	}
	cleanup_fd(&pipes->exe);
	ring_finish(&pipes->ring);
}

static int open_pipes(struct pipes *pipes, struct err *err)
{
	int fds[2];

	if (ring_new(&pipes->ring, err) < 0)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipes->requests) < 0)
		return err_errno(err, "carrier: socketpair");
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_errno(err, "carrier: pipe");
	pipes->answers[0] = fds[0];
	pipes->answers[1] = fds[1];
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ||
		fcntl(pipes->requests[0], F_SETFL, O_NONBLOCK) < 0)
		return err_errno(err, "carrier: non-blocking pipe");
	return 0;
}

/* What the child may see of the environment: where its proxies and libraries are. */
static void child_environment(char *ret[], size_t cap)
{
	static const char *const KEPT[] = {"http_proxy=", "https_proxy=", "HTTPS_PROXY=",
		"all_proxy=", "ALL_PROXY=", "no_proxy=", "NO_PROXY=", "LD_LIBRARY_PATH=",
		"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "LSAN_OPTIONS="};
	size_t n = 0;

	for (char **e = environ; *e; e++)
		for (size_t i = 0; i < ARRAY_LEN(KEPT) && n + 1 < cap; i++)
			if (strncmp(*e, KEPT[i], strlen(KEPT[i])) == 0)
				ret[n++] = *e;
	ret[n] = NULL;
}

static void close_range_from(int first)
{
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
	for (int fd = first; fd < FDS_OLD_MAX; fd++)
		(void)close(fd); /* most are not open */
}

/* Puts the child's descriptors where child.h says, and closes all others. Returns where the
 * program is then. */
static int arrange_fds(const struct pipes *pipes, int source)
{
	const int from[] = {pipes->requests[1], pipes->answers[1], pipes->requests[1],
		source < 0 ? pipes->requests[1] : source, pipes->ring.fd, pipes->exe};
	int high[ARRAY_LEN(from)];

	/* First out of the way of 0 to 5, then to their places. What a hostile child writes to
	 * stderr must not reach a terminal: it gets a descriptor nobody reads. */
	for (size_t i = 0; i < ARRAY_LEN(from); i++) {
		high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 10);
		if (high[i] < 0)
			return -1;
	}
	for (int i = 0; i < (int)ARRAY_LEN(from); i++)
		if (!(SANDBOX_SANITIZED && i == STDERR_FILENO) && dup2(high[i], i) < 0)
			return -1;
	if (source < 0)
		(void)close(CHILD_SOURCE_FD); /* was only a place holder */
	close_range_from((int)ARRAY_LEN(from));
	return (int)ARRAY_LEN(from) - 1;
}

static void become_carrier(const struct spawn *spawn, const struct pipes *pipes, char *argv[])
{
	char *environment[16];
	int exe = arrange_fds(pipes, spawn->source);

	child_environment(environment, ARRAY_LEN(environment));
	if (exe >= 0 && fcntl(exe, F_SETFD, FD_CLOEXEC) == 0)
		(void)fexecve(exe, argv, environment); /* returns only if it failed */
	_exit(EXEC_FAILED);
}

/* Keeps no more of the installer's descriptors than a carrier does, its lock above all. */
static void become_impostor(const struct spawn *spawn, const struct pipes *pipes)
{
	int in = fcntl(pipes->requests[1], F_DUPFD, 10);
	int out = fcntl(pipes->answers[1], F_DUPFD, 10);

	struct ring_room room;
	struct err err;

	if (in < 0 || out < 0 || ring_map(pipes->ring.fd, &room, &err) < 0 || dup2(in, 3) < 0 ||
		dup2(out, 4) < 0)
		_exit(EXEC_FAILED);
	close_range_from(5);
	_exit(spawn->impostor(3, 4, &room, spawn->impostor_arg));
}

static const char *program_name(const struct spawn *spawn)
{
	return spawn->source < 0 ? CHILD_HTTP_NAME : CHILD_FILE_NAME;
}

static int start(const struct spawn *spawn, const struct sandbox *sandbox,
	const struct pipes *pipes, pid_t *ret, struct err *err)
{
	char name[32];
	char uid[16] = "-";
	char gid[16] = "-";
	char parent[16];
	char *argv[] = {name, uid, gid, parent, NULL};
	pid_t pid;

	(void)snprintf(name, sizeof(name), "%s", program_name(spawn));
	(void)snprintf(parent, sizeof(parent), "%ld", (long)getpid());
	if (sandbox->change_user) {
		(void)snprintf(uid, sizeof(uid), "%u", (unsigned int)sandbox->uid);
		(void)snprintf(gid, sizeof(gid), "%u", (unsigned int)sandbox->gid);
	}
	pid = fork();
	if (pid < 0)
		return err_errno(err, "carrier: fork");
	if (pid == 0 && spawn->impostor)
		become_impostor(spawn, pipes);
	if (pid == 0)
		become_carrier(spawn, pipes, argv);
	*ret = pid;
	return 0;
}

/* The carrier's program lies beside this one, or where `make install` puts it relative to it: no
 * search path, no environment, nothing that somebody else could set. Opened with the installer's
 * rights: the program may be one that others cannot read. */
static int open_program(const char *name, int *ret, struct err *err)
{
	static const char *const PLACES[] = {"", "../libexec/abide/"};
	char self[PATH_MAX], path[PATH_MAX], relative[64];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len < 0)
		return err_errno(err, "carrier: read '/proc/self/exe' (is /proc mounted?)");
	self[len] = '\0';
	*strrchr(self, '/') = '\0'; /* it is an absolute path */
	for (size_t i = 0; i < ARRAY_LEN(PLACES); i++) {
		(void)snprintf(relative, sizeof(relative), "%s%s", PLACES[i], name);
		if (fs_join(self, relative, path, sizeof(path), err) < 0)
			return -1;
		if (fs_open(path, O_RDONLY, 0, ret, err) == 0)
			return 0;
	}
	return err_set(err, FAIL_IO,
		"carrier: there is no '%s' beside '%s' or in '../libexec/abide': install it", name,
		self);
}

int spawn_carrier(const struct spawn *spawn, struct spawned *ret, struct err *err)
{
	CLEANUP(cleanup_pipes)
	struct pipes pipes = {{-1, -1}, {-1, -1}, -1, {.fd = -1}};
	struct sandbox sandbox = {0};
	pid_t pid = -1;

	if (sandbox_find_user(spawn->user, &sandbox, err) < 0 || open_pipes(&pipes, err) < 0)
		return -1;
	if (open_program(program_name(spawn), &pipes.exe, err) < 0 ||
		start(spawn, &sandbox, &pipes, &pid, err) < 0)
		return -1;
	*ret = (struct spawned){.pid = pid,
		.requests = pipes.requests[0],
		.answers = pipes.answers[0],
		.ring = pipes.ring};
	pipes.ring = (struct ring){.fd = -1};
	pipes.requests[0] = -1;
	pipes.answers[0] = -1;
	return 0;
}

/* Reaps the child, killing it if it is not gone in time. */
static int reap(struct spawned *spawned, int patience_ms)
{
	const struct timespec slice = {.tv_nsec = 10 * 1000 * 1000};
	int status = 0;
	pid_t got = 0;

	for (int waited = 0; got == 0 && waited < patience_ms; waited += 10) {
		got = waitpid(spawned->pid, &status, WNOHANG);
		if (got == 0)
			(void)nanosleep(&slice, NULL); /* a shorter one is fine */
	}
	if (got == 0) {
		(void)kill(spawned->pid, SIGKILL); /* our own child, not reaped: it exists */
		while (waitpid(spawned->pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	spawned->pid = -1;
	return status;
}

int spawned_explain(struct spawned *spawned, struct err *err)
{
	int status;

	if (spawned->pid < 0)
		return err_set(err, FAIL_IO, "the carrier process is gone");
	status = reap(spawned, DEATH_MS);
	if (WIFSIGNALED(status))
		return err_set(err, FAIL_IO, "the carrier process was killed by signal %d (%s)",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	if (WEXITSTATUS(status) == EXEC_FAILED)
		return err_set(err, FAIL_IO, "the carrier process could not be started");
	return err_set(err, FAIL_IO, "the carrier process ended too early, with status %d",
		WEXITSTATUS(status));
}

void spawned_finish(struct spawned *spawned)
{
	cleanup_fd(&spawned->requests);
	cleanup_fd(&spawned->answers);
	ring_finish(&spawned->ring);
	spawned->requests = -1;
	spawned->answers = -1;
	if (spawned->pid > 0)
		(void)reap(spawned, 0);
}
