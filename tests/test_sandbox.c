/* sandbox: what a carrier that was taken over tries, and how it ends. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "updater/carrier/sandbox.h"
#include "updater/mem.h"

#define DONE   0 /* the attempt succeeded */
#define BROKEN 200 /* the sandbox could not be set up */

static const char *victim; /* a file others may read */
static const char *newcomer; /* a path where anybody may make a file */
static char device[256];

/* Each returns DONE or an errno. */
typedef int attempt(void);

static int outcome(long result)
{
	return result < 0 ? errno : DONE;
}

static int try_read_file(void)
{
	return outcome(open(victim, O_RDONLY | O_CLOEXEC));
}

static int try_write_file(void)
{
	return outcome(open(victim, O_WRONLY | O_CLOEXEC));
}

static int try_create_file(void)
{
	return outcome(open(newcomer, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

static int try_device(void)
{
	return outcome(open(device, O_RDONLY | O_CLOEXEC));
}

static int try_socket(void)
{
	return outcome(socket(AF_INET, SOCK_STREAM, 0));
}

static int try_unix_socket(void)
{
	return outcome(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_packet_socket(void)
{
	return outcome(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_listen(void)
{
	return outcome(listen(0, 1));
}

static int try_exec(void)
{
	char name[] = "true";
	char *argv[] = {name, NULL};

	return outcome(execv("/bin/true", argv));
}

static int try_fork(void)
{
	return outcome(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int try_ptrace(void)
{
	return outcome(ptrace(PTRACE_ATTACH, getppid(), 0, 0));
}

static int try_kill(void)
{
	return outcome(syscall(SYS_kill, 1, 0));
}

static int try_mount(void)
{
	return outcome(mount("none", "/mnt", "tmpfs", 0, NULL));
}

static int try_mknod(void)
{
	return outcome(syscall(SYS_mknodat, AT_FDCWD, newcomer, S_IFBLK | 0600, makedev(7, 0)));
}

static int try_unlink(void)
{
	return outcome(unlink(victim));
}

static int try_chmod(void)
{
	return outcome(chmod(victim, 0777));
}

static int try_become_root(void)
{
	return outcome(setuid(0));
}

static int try_bpf(void)
{
	return outcome(syscall(SYS_bpf, 0, NULL, 0));
}

static int try_unshare(void)
{
	return outcome(syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */));
}

static int try_executable_memory(void)
{
	void *p = mmap(
		NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? errno : DONE;
}

static int try_make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? BROKEN : outcome(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int try_raise_limit(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	return outcome(syscall(SYS_prlimit64, 0, RLIMIT_FSIZE, &limit, NULL));
}

static int try_terminal(void)
{
	return outcome(ioctl(0, TIOCSTI, "x"));
}

static int try_dumpable(void)
{
	return outcome(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int try_io_uring(void)
{
	return outcome(syscall(425 /* io_uring_setup */, 1, NULL));
}

/* ---- */

/* How much of the sandbox there is. */
enum depth {
	WHOLE,
	SAME_USER, /* as when the installer runs without root: who may open his own files */
	FILTER, /* nothing but the list of system calls, as root */
};

static int enter(const struct sandbox *sandbox, enum depth depth, struct err *err)
{
	if (depth == FILTER)
		return sandbox_filter(sandbox->network, err);
	if (sandbox_drop(sandbox, err) < 0)
		return -1;
	return sandbox_close(sandbox, err);
}

/* Runs the attempt in a sandbox: DONE, an errno, or 1000 + the signal that ended it. */
static int in_sandbox(bool network, enum depth depth, attempt *try)
{
	struct sandbox sandbox = {.network = network, .parent = getpid()};
	struct err err;
	int status;
	pid_t pid;

	assert_int_equal(sandbox_find_user(NULL, &sandbox, &err), 0);
	sandbox.change_user = sandbox.change_user && depth == WHOLE;
	pid = fork();
	if (pid == 0) {
		if (enter(&sandbox, depth, &err) < 0) {
			(void)fprintf(stderr, "%s\n", err.msg);
			_exit(BROKEN);
		}
		_exit(try());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return 1000 + WTERMSIG(status);
	assert_int_not_equal(WEXITSTATUS(status), BROKEN);
	return WEXITSTATUS(status);
}

#define KILLED (1000 + SIGSYS)

/* How each attempt ends for a file, and for a URL. */
static const struct {
	const char *what;
	attempt *try;
	int file;
	int url;
} ATTEMPTS[] = {
	{"read a file", try_read_file, EACCES, EACCES},
	{"write a file", try_write_file, EACCES, KILLED},
	{"create a file", try_create_file, EACCES, KILLED},
	{"open a block device", try_device, EACCES, EACCES},
	{"make a socket", try_socket, KILLED, DONE},
	{"talk to a local daemon", try_unix_socket, KILLED, EAFNOSUPPORT},
	{"listen to the wire", try_packet_socket, KILLED, KILLED},
	{"serve", try_listen, KILLED, KILLED},
	{"execute a program", try_exec, KILLED, KILLED},
	{"fork", try_fork, KILLED, KILLED},
	{"trace the installer", try_ptrace, KILLED, KILLED},
	{"send a signal", try_kill, KILLED, KILLED},
	{"mount", try_mount, KILLED, KILLED},
	{"make a device", try_mknod, KILLED, KILLED},
	{"remove a file", try_unlink, KILLED, KILLED},
	{"change a mode", try_chmod, KILLED, KILLED},
	{"become root", try_become_root, KILLED, KILLED},
	{"load a program into the kernel", try_bpf, KILLED, KILLED},
	{"make a namespace", try_unshare, KILLED, KILLED},
	{"map writable and executable memory", try_executable_memory, KILLED, KILLED},
	{"make memory executable", try_make_executable, KILLED, KILLED},
	{"raise a limit", try_raise_limit, KILLED, KILLED},
	{"type into a terminal", try_terminal, KILLED, KILLED},
	{"become dumpable", try_dumpable, KILLED, KILLED},
	{"pass the filter by io_uring", try_io_uring, KILLED, KILLED},
};

static int setup(void **state)
{
	struct scratch *scratch;
	glob_t found = {0};

	if (scratch_setup(state) < 0)
		return -1;
	scratch = *state;
	/* Readable for all: only the sandbox stands before it. */
	victim = scratch_file(scratch, "victim", 100);
	newcomer = scratch_path(scratch, "newcomer");
	(void)chmod(scratch->dir, 0777);
	(void)chmod(victim, 0644);
	(void)snprintf(device, sizeof(device), "/dev/loop0");
	if (glob("/dev/[vs]d?", 0, NULL, &found) == 0)
		(void)snprintf(device, sizeof(device), "%s", found.gl_pathv[0]);
	globfree(&found);
	return 0;
}

static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
}

static void run_all(bool network, enum depth depth)
{
	int failed = 0;

	for (size_t i = 0; i < ARRAY_LEN(ATTEMPTS); i++) {
		int expected = network ? ATTEMPTS[i].url : ATTEMPTS[i].file;
		int got = in_sandbox(network, depth, ATTEMPTS[i].try);

		if (network && ATTEMPTS[i].try == try_read_file && !has_landlock())
			continue;
		if (ATTEMPTS[i].try == try_device && got == ENOENT)
			continue; /* a machine without one */
		if (got == expected)
			continue;
		print_error("%s: %d, expected %d\n", ATTEMPTS[i].what, got, expected);
		failed++;
	}
	assert_int_equal(failed, 0);
	assert_int_equal(access(victim, F_OK), 0);
	assert_int_equal(access(newcomer, F_OK), -1);
}

static void test_sandbox__file_source(void **state)
{
	(void)state;
	run_all(false, WHOLE);
}

static void test_sandbox__url_source(void **state)
{
	(void)state;
	run_all(true, WHOLE);
}

static void test_sandbox__same_user(void **state)
{
	(void)state;
	run_all(false, SAME_USER);
	if (!has_landlock())
		skip();
	run_all(true, SAME_USER);
}

static void test_sandbox__filter_alone_keeps_files_closed(void **state)
{
	(void)state;
	run_all(false, FILTER);
}

static int is_nobody(void)
{
	return getuid() != 0 && geteuid() != 0 && getgid() != 0 && getegid() != 0 ? DONE : 1;
}

static void test_sandbox__root_becomes_somebody_else(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_sandbox(true, WHOLE, is_nobody), DONE);
}

static int has_no_groups(void)
{
	return outcome(syscall(SYS_getgroups, 0, NULL));
}

static void test_sandbox__drop_leaves_no_rights(void **state)
{
	struct sandbox sandbox = {.parent = getpid()};
	struct err err;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(sandbox_find_user(NULL, &sandbox, &err), 0);
	pid = fork();
	if (pid == 0) {
		struct rlimit limit;
		bool good = sandbox_drop(&sandbox, &err) == 0;

		good = good && getgroups(0, NULL) == 0 && getsid(0) == getpid();
		good = good && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
		good = good && (SANDBOX_SANITIZED || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
		good = good && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_max == 0;
		good = good && setuid(0) < 0 && open(device, O_RDONLY | O_CLOEXEC) < 0;
		_exit(!good);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* And the call to ask for them is not there any more. */
	assert_int_equal(in_sandbox(false, WHOLE, has_no_groups), KILLED);
}

static void test_sandbox__installer_that_is_gone_is_noticed(void **state)
{
	struct sandbox sandbox = {.parent = 1};
	struct err err;
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(sandbox_drop(&sandbox, &err) == 0 || !strstr(err.msg, "gone"));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sandbox__file_source),
		TEST(test_sandbox__url_source),
		TEST(test_sandbox__same_user),
		TEST(test_sandbox__filter_alone_keeps_files_closed),
		TEST(test_sandbox__root_becomes_somebody_else),
		TEST(test_sandbox__drop_leaves_no_rights),
		TEST(test_sandbox__installer_that_is_gone_is_noticed),
	};

	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
