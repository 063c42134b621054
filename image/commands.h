/*
 * commands - abide-image's commands and what they share. A command is a file cmd_NAME.c with
 * `int cmd_NAME(int argc, char **argv)` (argv[0] is "abide-image NAME") that returns the exit code,
 * and a row in the table of abide-image.c. Only these files and abide-image.c print.
 */
#ifndef ABIDE_IMAGE_COMMANDS_H
#define ABIDE_IMAGE_COMMANDS_H

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "updater/err.h"

int cmd_bundle(int argc, char **argv);
int cmd_delta(int argc, char **argv);
int cmd_disk(int argc, char **argv);
int cmd_extract(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_sign(int argc, char **argv);

#define COMMAND_OPTIONS_MAX 20u

/* --NAME, and where its value goes: exactly one of flag, text, number and set. */
struct command_option {
	const char *name; /* of "output" there is -o, too */
	bool needed;
	bool *flag; /* takes no value */
	const char **text;
	uint64_t *number; /* from min to max */
	uint64_t min, max;
	int (*set)(void *arg, char *value, struct err *err); /* FAIL_USAGE */
	void *arg;
};

/* Options, --help among them, then operands from argv[optind] on. -1: go on; else the exit code. Long
 * options are not shortened: a script that says --comp would break when there is a second one that
 * begins so. */
int command_parse(int argc, char **argv, const char *help, const struct command_option *options,
	size_t count);

/* Prints "abide-image NAME: REASON" and where to read more; returns 2. fmt NULL: getopt has printed
 * the reason. */
int command_usage(char **argv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints "abide-image NAME: MESSAGE"; returns the error's exit code. */
int command_fail(char **argv, const struct err *err);
/* Flushes standard output: 0, or 1 with a message if what was printed did not get out. */
int command_done(char **argv);

/* From here on SIGINT, SIGTERM and SIGHUP only set the flag that is returned. */
const volatile sig_atomic_t *command_interruptible(void);

/* Decimal digits only, up to max. */
bool command_number(const char *text, uint64_t max, uint64_t *ret);
/* SOURCE_DATE_EPOCH if it is set, else now. FAIL_USAGE if it is set to what is not a time. */
int command_now(time_t *ret, struct err *err);

#endif
