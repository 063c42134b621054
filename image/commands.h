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

/* getopt_long() that takes no shortened long options: a script that says --comp would break when
 * there is a second option that begins so. */
int command_option(int argc, char **argv, const char *letters, const struct option *options);

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
