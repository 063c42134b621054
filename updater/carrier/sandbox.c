#include "updater/carrier/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "updater/mem.h"

#define FILES_MAX    64u
#define ADDRESS_MAX  ((rlim_t)1 << 30)
#define LANDLOCK_ABI 3 /* rights known here: 15 bits */

/* ---- user ---- */

static int change_user(const struct sandbox *sandbox, struct err *err)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {0};

	if (sandbox->change_user &&
		(setgroups(0, NULL) < 0 ||
			setresgid(sandbox->gid, sandbox->gid, sandbox->gid) < 0 ||
			setresuid(sandbox->uid, sandbox->uid, sandbox->uid) < 0))
		return err_errno(err, "carrier: become user %u", (unsigned int)sandbox->uid);
	/* Changing the user took them; a caller that was not root may still have some. */
	if (syscall(SYS_capset, &head, none) < 0)
		return err_errno(err, "carrier: drop capabilities");
	if (sandbox->change_user && (setuid(0) == 0 || geteuid() == 0))
		return err_set(err, FAIL_IO, "carrier: still root after becoming user %u",
			(unsigned int)sandbox->uid);
	return 0;
}

/* ---- limits ---- */

static int set_limits(struct err *err)
{
	static const struct {
		int resource;
		rlim_t value;
		bool with_sanitizer;
	} LIMITS[] = {
		{RLIMIT_FSIZE, 0, true}, {RLIMIT_CORE, 0, true}, {RLIMIT_NOFILE, FILES_MAX, true},
		{RLIMIT_AS, ADDRESS_MAX, false}, /* its shadow memory takes terabytes */
	};

	for (size_t i = 0; i < ARRAY_LEN(LIMITS); i++) {
		struct rlimit limit = {LIMITS[i].value, LIMITS[i].value};

		if (SANDBOX_SANITIZED && !LIMITS[i].with_sanitizer)
			continue;
		if (setrlimit((__rlimit_resource_t)LIMITS[i].resource, &limit) < 0)
			return err_errno(err, "carrier: limit %d", LIMITS[i].resource);
	}
	return 0;
}

int sandbox_drop(const struct sandbox *sandbox, struct err *err)
{
	(void)umask(0077);
	(void)setsid(); /* fails only for a leader of a group, which a child of fork is not */
	if (chdir("/") < 0)
		return err_errno(err, "carrier: chdir '/'");
	if (change_user(sandbox, err) < 0 || set_limits(err) < 0)
		return -1;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(err, "carrier: no new privileges");
	if (!SANDBOX_SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(err, "carrier: not dumpable");
	/* After the change of user, which clears it. The installer may have died before. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_errno(err, "carrier: death signal");
	if (getppid() != sandbox->parent)
		return err_set(err, FAIL_IO, "carrier: the installer is gone");
	return 0;
}

/* ---- Landlock ---- */

static void landlock_allow_reading(int ruleset, const char *path)
{
	CLEANUP(cleanup_fd) int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
		.parent_fd = fd,
	};

	if (fd < 0)
		return; /* not on this system: then nothing there can be wanted */
	/* If the rule is not taken, less is allowed: the safe side. */
	(void)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

/* Best effort: older kernels and those without it have the user and seccomp. */
static void close_files(bool network)
{
	/* Configuration of resolver and TLS, certificates, the libraries NSS loads. */
	static const char *const READABLE[] = {"/etc", "/usr", "/lib", "/lib64", "/run"};
	struct landlock_ruleset_attr attr = {0};
	CLEANUP(cleanup_fd) int ruleset = -1;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 1)
		return;
	/* 13 rights at first, one more with each of the next two. */
	attr.handled_access_fs = (UINT64_C(1) << (12 + (abi < LANDLOCK_ABI ? abi : 3))) - 1;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return;
	for (size_t i = 0; network && i < ARRAY_LEN(READABLE); i++)
		landlock_allow_reading(ruleset, READABLE[i]);
	(void)syscall(SYS_landlock_restrict_self, ruleset, 0);
}

int sandbox_close(const struct sandbox *sandbox, struct err *err)
{
	close_files(sandbox->network);
	return sandbox_filter(sandbox->network, err);
}
