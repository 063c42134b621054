/*
 * err - why something failed, without allocating.
 *
 * Every function that can fail takes a `struct err *` last and returns -1 after setting it. On
 * success the err is untouched; on failure the ret_* outputs are. A message names its object in
 * single quotes, says what was expected and what was found, and what a person can do. Callers put
 * context in front with err_wrap(), so that the whole reads from the command down to the cause:
 *
 *	install 'os.abide': slot 'rootfs.b': read '/dev/vda3' at 4096: Input/output error
 *
 * What does not fit into `msg` is cut and shown as "..."; the context is cut before the cause.
 *
 * The code says what an operator can do; err_exit_code() is the one table that maps codes to the
 * exit codes documented in abide(1).
 */
#ifndef ABIDE_UPDATER_ERR_H
#define ABIDE_UPDATER_ERR_H

/* FAIL_ and not ERR_: OpenSSL has an ERR_STATE. */
enum err_code {
	FAIL_NONE = 0,
	FAIL_IO, /* reading or writing failed; also: out of memory */
	FAIL_USAGE, /* the command line or the configuration is wrong */
	FAIL_UNTRUSTED, /* signature, digest or format: not what somebody trusted signed */
	FAIL_REFUSED, /* genuine, but policy says no: compatible, hardware, floor, rejected */
	FAIL_SPACE, /* does not fit */
	FAIL_STATE, /* not now: wrong state, or busy */
	FAIL_BOOT, /* the bootloader's state cannot be read or changed */
	FAIL_NETWORK, /* server, connection, TLS */
	FAIL_DRIFT, /* what is on the device is not what was signed */
	FAIL_HEALTH, /* a health check failed */
	FAIL_INTERRUPTED, /* stopped by SIGINT or SIGTERM */
};

struct err {
	enum err_code code;
	char msg[512];
};

/* Sets code and message. Always returns -1, so that callers can `return err_set(...)`. */
int err_set(struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Sets FAIL_IO (FAIL_SPACE for ENOSPC, EDQUOT, EFBIG) with ": strerror(errno)" appended.
 * Returns -1. */
int err_errno(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts context and ": " in front of the message; the code stays. Returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As err_wrap, and changes the code: for a caller that knows what an I/O error means here. */
int err_wrap_as(struct err *err, enum err_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* FAIL_IO, "out of memory". Returns -1. */
int err_memory(struct err *err);

/* Lets compilers and analyzers, which see one file at a time, know what these return. */
#define err_set(...)     (err_set(__VA_ARGS__), -1)
#define err_errno(...)   (err_errno(__VA_ARGS__), -1)
#define err_wrap(...)    (err_wrap(__VA_ARGS__), -1)
#define err_wrap_as(...) (err_wrap_as(__VA_ARGS__), -1)
#define err_memory(err)  (err_memory(err), -1)

/* The process exit code for a code (see EXIT STATUS in abide(1)). */
int err_exit_code(enum err_code code);

/* A short stable word for JSON output, such as "untrusted". */
const char *err_code_name(enum err_code code);

#endif
