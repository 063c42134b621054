/* sandbox_filter - the system calls a carrier may make (wraps libseccomp). */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "updater/carrier/sandbox.h"
#include "updater/mem.h"

#define PRCTL_VMA     0x53564d41u /* PR_SET_VMA: newer allocators name their mappings */
#define AT_EMPTY      0x1000u /* AT_EMPTY_PATH */
#define OPEN_FOR_MORE (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* Numbers of calls that this architecture does not have are negative, and skipped. */
static const int ALWAYS_ALLOWED[] = {
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	SCMP_SYS(close),
	SCMP_SYS(lseek),
	SCMP_SYS(_llseek),
	SCMP_SYS(fstat),
	SCMP_SYS(fstat64),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(ppoll_time64),
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(futex),
	SCMP_SYS(futex_time64),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(sigreturn),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(clock_nanosleep_time64),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(getrandom),
	SCMP_SYS(sched_yield),
	SCMP_SYS(fcntl),
	SCMP_SYS(fcntl64),
	SCMP_SYS(sigaltstack),
};

/* For a URL as well: sockets as libcurl uses them, and what getaddrinfo() and TLS look at. */
static const int ONLINE_ALLOWED[] = {
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(send),
	SCMP_SYS(recv),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(recvmmsg),
	SCMP_SYS(recvmmsg_time64),
	SCMP_SYS(shutdown),
	SCMP_SYS(socketpair),
	SCMP_SYS(pipe),
	SCMP_SYS(pipe2),
	SCMP_SYS(eventfd2),
	SCMP_SYS(select),
	SCMP_SYS(pselect6),
	SCMP_SYS(_newselect),
	SCMP_SYS(stat),
	SCMP_SYS(stat64),
	SCMP_SYS(lstat),
	SCMP_SYS(lstat64),
	SCMP_SYS(newfstatat),
	SCMP_SYS(fstatat64),
	SCMP_SYS(statx),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getdents64),
	SCMP_SYS(pread64),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(getuid32),
	SCMP_SYS(geteuid32),
	SCMP_SYS(getgid32),
	SCMP_SYS(getegid32),
	SCMP_SYS(uname),
	SCMP_SYS(sysinfo),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(getcpu),
	SCMP_SYS(membarrier),
};

enum when {
	ALWAYS,
	ONLINE,
	OFFLINE,
};

struct rule {
	int number;
	enum when when;
	uint32_t action;
	unsigned int argument_count;
	struct scmp_arg_cmp arguments[2];
};

/* Those where it depends on an argument. What an argument excludes falls to the default, unless a
 * library would die of it without need: those get an error. */
static const struct rule RULES[] = {
	/* No executable memory; NSS modules are the exception. */
	{SCMP_SYS(mmap), ALWAYS, SCMP_ACT_ALLOW, 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
	{SCMP_SYS(mmap2), ALWAYS, SCMP_ACT_ALLOW, 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
	{SCMP_SYS(mprotect), ALWAYS, SCMP_ACT_ALLOW, 1, {{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}}},
	{SCMP_SYS(mmap), ONLINE, SCMP_ACT_ALLOW, 1,
		{{2, SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC}}},
	{SCMP_SYS(mmap2), ONLINE, SCMP_ACT_ALLOW, 1,
		{{2, SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC}}},
	/* fstat() is this one in newer C libraries. */
	{SCMP_SYS(newfstatat), ALWAYS, SCMP_ACT_ALLOW, 1,
		{{3, SCMP_CMP_MASKED_EQ, AT_EMPTY, AT_EMPTY}}},
	{SCMP_SYS(prctl), ALWAYS, SCMP_ACT_ALLOW, 1, {{0, SCMP_CMP_EQ, PRCTL_VMA, 0}}},
	/* Libraries look for optional files, and go on when they may not. */
	{SCMP_SYS(openat), OFFLINE, SCMP_ACT_ERRNO(EACCES), 0, {{0}}},
	{SCMP_SYS(open), OFFLINE, SCMP_ACT_ERRNO(EACCES), 0, {{0}}},
	{SCMP_SYS(openat), ONLINE, SCMP_ACT_ALLOW, 1, {{2, SCMP_CMP_MASKED_EQ, OPEN_FOR_MORE, 0}}},
	{SCMP_SYS(open), ONLINE, SCMP_ACT_ALLOW, 1, {{1, SCMP_CMP_MASKED_EQ, OPEN_FOR_MORE, 0}}},
	{SCMP_SYS(socket), ONLINE, SCMP_ACT_ALLOW, 1, {{0, SCMP_CMP_EQ, AF_INET, 0}}},
	{SCMP_SYS(socket), ONLINE, SCMP_ACT_ALLOW, 1, {{0, SCMP_CMP_EQ, AF_INET6, 0}}},
	{SCMP_SYS(socket), ONLINE, SCMP_ACT_ALLOW, 2,
		{{0, SCMP_CMP_EQ, AF_NETLINK, 0}, {2, SCMP_CMP_EQ, NETLINK_ROUTE, 0}}},
	/* The resolver asks local daemons over AF_UNIX first, and does without. */
	{SCMP_SYS(socket), ONLINE, SCMP_ACT_ERRNO(EAFNOSUPPORT), 1, {{0, SCMP_CMP_EQ, AF_UNIX, 0}}},
	{SCMP_SYS(ioctl), ONLINE, SCMP_ACT_ALLOW, 1, {{1, SCMP_CMP_EQ, FIONREAD, 0}}},
	{SCMP_SYS(ioctl), ONLINE, SCMP_ACT_ALLOW, 1, {{1, SCMP_CMP_EQ, FIONBIO, 0}}},
	/* Threads, not processes. clone3() hides its flags in memory: libraries fall back. */
	{SCMP_SYS(clone), ONLINE, SCMP_ACT_ALLOW, 1,
		{{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD}}},
	{SCMP_SYS(clone3), ONLINE, SCMP_ACT_ERRNO(ENOSYS), 0, {{0}}},
	/* Reading a limit, not setting one. */
	{SCMP_SYS(prlimit64), ONLINE, SCMP_ACT_ALLOW, 1, {{2, SCMP_CMP_EQ, 0, 0}}},
};

static int refuse(int status, struct err *err)
{
	errno = -status;
	return err_errno(err, "carrier: seccomp filter");
}

static int allow_all(scmp_filter_ctx context, const int *numbers, size_t count)
{
	int status = 0;

	for (size_t i = 0; i < count && status == 0; i++)
		if (numbers[i] >= 0)
			status = seccomp_rule_add(context, SCMP_ACT_ALLOW, numbers[i], 0);
	return status;
}

static int add_rules(scmp_filter_ctx context, bool network)
{
	int status = allow_all(context, ALWAYS_ALLOWED, ARRAY_LEN(ALWAYS_ALLOWED));

	if (status == 0 && network)
		status = allow_all(context, ONLINE_ALLOWED, ARRAY_LEN(ONLINE_ALLOWED));
	for (size_t i = 0; i < ARRAY_LEN(RULES) && status == 0; i++) {
		const struct rule *rule = &RULES[i];

		if (rule->number < 0 || rule->when == (network ? OFFLINE : ONLINE))
			continue;
		status = seccomp_rule_add_array(
			context, rule->action, rule->number, rule->argument_count, rule->arguments);
	}
	/* A signal to itself only: abort() sends one. */
	if (status == 0)
		status = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return status;
}

int sandbox_filter(bool network, struct err *err)
{
	scmp_filter_ctx context = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int status;

	if (!context)
		return err_set(err, FAIL_IO,
			"carrier: this kernel cannot filter system calls (SECCOMP_FILTER)");
	status = add_rules(context, network);
	if (status == 0)
		status = seccomp_load(context);
	seccomp_release(context);
	return status < 0 ? refuse(status, err) : 0;
}
