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

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	err->code = code;
	va_start(args, fmt);
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, args); /* a long message is cut */
	va_end(args);
	return -1;
}

int err_errno(struct err *err, const char *fmt, ...)
{
	int saved = errno;
	size_t used;
	va_list args;

	err->code = saved == ENOSPC ? FAIL_SPACE : FAIL_IO;
	va_start(args, fmt);
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, args); /* a long message is cut */
	va_end(args);
	used = strlen(err->msg);
	(void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", strerror(saved));
	return -1;
}

static void wrap(struct err *err, const char *fmt, va_list args)
{
	char cause[sizeof(err->msg)];
	size_t used;

	memcpy(cause, err->msg, sizeof(cause));
	(void)vsnprintf(err->msg, sizeof(err->msg), fmt, args); /* a long message is cut */
	used = strlen(err->msg);
	(void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s", cause);
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
