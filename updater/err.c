#include "updater/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Here are the functions, not the macros around them. */
#undef err_set
#undef err_errno
#undef err_wrap
#undef err_wrap_as
#undef err_memory

static const struct {
	int exit_code;
	const char *name;
} CODES[] = {
	[FAIL_NONE] = {0, "none"},
	[FAIL_IO] = {1, "io"},
	[FAIL_USAGE] = {2, "usage"},
	[FAIL_UNTRUSTED] = {3, "untrusted"},
	[FAIL_REFUSED] = {4, "refused"},
	[FAIL_SPACE] = {5, "space"},
	[FAIL_STATE] = {6, "state"},
	[FAIL_BOOT] = {7, "boot"},
	[FAIL_NETWORK] = {8, "network"},
	[FAIL_DRIFT] = {9, "drift"},
	[FAIL_HEALTH] = {10, "health"},
	[FAIL_INTERRUPTED] = {130, "interrupted"},
};

int err_exit_code(enum err_code code)
{
	return CODES[code].exit_code;
}

const char *err_code_name(enum err_code code)
{
	return CODES[code].name;
}

/* What is left of a context in front of a long cause. */
#define CONTEXT_MIN 64u

static void __attribute__((format(printf, 2, 0)))
set_msg(struct err *err, const char *fmt, va_list args)
{
	char msg[sizeof(err->msg)]; /* an argument may be the old message */

	if (vsnprintf(msg, sizeof(msg), fmt, args) >= (int)sizeof(msg))
		memcpy(msg + sizeof(msg) - sizeof("..."), "...", sizeof("..."));
	memcpy(err->msg, msg, sizeof(msg));
}

/* Appends ": cause". Where both do not fit, the cause is what a person needs: the context is cut.
 */
static void append_cause(struct err *err, const char *cause)
{
	size_t used = strlen(err->msg);
	size_t wanted = strlen(cause) + sizeof(": "); /* with the NUL */
	size_t room =
		wanted < sizeof(err->msg) - CONTEXT_MIN ? sizeof(err->msg) - wanted : CONTEXT_MIN;

	if (used > room) {
		used = room;
		memcpy(err->msg + used - strlen("..."), "...", strlen("..."));
	}
	(void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", cause); /* may be cut */
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	err->code = code;
	va_start(args, fmt);
	set_msg(err, fmt, args);
	va_end(args);
	return -1;
}

static enum err_code code_of_errno(int number)
{
	/* No room on the file system, in the quota, under the limit of a file's size. */
	if (number == ENOSPC || number == EDQUOT || number == EFBIG)
		return FAIL_SPACE;
	return FAIL_IO;
}

int err_errno(struct err *err, const char *fmt, ...)
{
	int saved = errno;
	va_list args;

	err->code = code_of_errno(saved);
	va_start(args, fmt);
	set_msg(err, fmt, args);
	va_end(args);
	append_cause(err, strerror(saved));
	return -1;
}

static void __attribute__((format(printf, 2, 0)))
wrap(struct err *err, const char *fmt, va_list args)
{
	char cause[sizeof(err->msg)];

	memcpy(cause, err->msg, sizeof(cause));
	set_msg(err, fmt, args);
	append_cause(err, cause);
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	wrap(err, fmt, args);
	va_end(args);
	return -1;
}

int err_wrap_as(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	err->code = code;
	va_start(args, fmt);
	wrap(err, fmt, args);
	va_end(args);
	return -1;
}

int err_memory(struct err *err)
{
	return err_set(err, FAIL_IO, "out of memory");
}
