#include "updater/log.h"

#include <stdarg.h>
#include <stdio.h>

static bool debug_on; /* the one global: see style, "no global state but the log level" */

void log_set_debug(bool on)
{
	debug_on = on;
}

void log_debug(const char *fmt, ...)
{
	va_list args;

	if (!debug_on)
		return;
	va_start(args, fmt);
	(void)fputs("abide: debug: ", stderr);
	(void)vfprintf(stderr, fmt, args);
	(void)fputc('\n', stderr);
	va_end(args);
}
