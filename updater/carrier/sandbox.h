/*
 * sandbox - what the carrier gives up before it reads the first byte that nobody vouches for.
 *
 *	sandbox_find_user (installer) | sandbox_drop -> (libraries load what they need) ->
 *sandbox_close
 *
 * After sandbox_close():
 *   - another user without groups and capabilities (when started as root), no way to new
 *privileges, not dumpable, killed when the installer dies, in a session of its own without a
 *terminal;
 *   - limits: no file can grow, no core, few descriptors, bounded address space;
 *   - seccomp: an allow-list. For a file or standard input: no socket, no open (it is answered
 *     EACCES, because libraries look for optional files and go on without), no executable memory,
 *     no thread. For a URL: open read only, sockets of the internet families, threads (the resolver
 *     has one). Everything else, such as exec, ptrace, mknod, mount, bpf, kill: the process dies;
 *   - Landlock, where the kernel has it: reading what TLS and name resolution need, nothing else.
 *     It is what keeps an installer that runs without root from opening its own files.
 *
 * Fails (FAIL_IO) rather than going on with less, Landlock excepted.
 */
#ifndef ABIDE_UPDATER_CARRIER_SANDBOX_H
#define ABIDE_UPDATER_CARRIER_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "updater/err.h"

/* AddressSanitizer wants terabytes of address space, and to tell what it found. */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDBOX_SANITIZED true
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED false
#endif

struct sandbox {
	bool network; /* the source is a URL */
	bool change_user;
	uid_t uid;
	gid_t gid;
	pid_t parent; /* the installer */
};

/* Fills change_user, uid and gid; for the installer's end, because it may read the user database.
 * NULL: "abide" if there is such a user, else "nobody" (65534 where no database has it). A named
 * user that is missing or root is FAIL_USAGE. Does nothing when not root. */
int sandbox_find_user(const char *user, struct sandbox *ret, struct err *err);
int sandbox_drop(const struct sandbox *sandbox, struct err *err);
int sandbox_close(const struct sandbox *sandbox, struct err *err);
/* The last step of it. */
int sandbox_filter(bool network, struct err *err);

#endif
