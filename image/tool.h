/*
 * tool - run a host program so that its result depends on its arguments alone: a fixed PATH,
 * locale and time zone, and `time` wherever it would take the clock's.
 */
#ifndef ABIDE_IMAGE_TOOL_H
#define ABIDE_IMAGE_TOOL_H

#include <time.h>

#include "updater/err.h"

/* argv: the program's name and its arguments, then NULL. Fails with the end of its output in the
 * message, and with the package that has it if it is not there. */
int tool_run(const char *const argv[], time_t time, struct err *err);

#endif
