/*
 * process - run a program with a time limit and keep the end of its output.
 *
 * execve with an argument vector, never a shell. The child gets its own process group, no
 * descriptors but 0 (null), 1 and 2 (the kept output), an environment of PATH alone, and is killed
 * with its group at the limit. What it leaves running behind it, having ended itself, is left
 * alone.
 */
#ifndef ABIDE_UPDATER_PROCESS_H
#define ABIDE_UPDATER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "updater/err.h"

#define PROCESS_OUTPUT_MAX 4096u

struct process_result {
	bool timed_out;
	int exit_status; /* -1 if killed by a signal */
	int signal; /* 0 if it exited */
	size_t output_len;
	char output[PROCESS_OUTPUT_MAX + 1]; /* the last bytes of stdout and stderr, NUL-ended */
};

/* Fails only if the program cannot be started or waited for. timeout in seconds, at least 1. */
int process_run(
	char *const argv[], unsigned int timeout, struct process_result *ret, struct err *err);

#endif
