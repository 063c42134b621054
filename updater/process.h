/*
 * process - run a program with a time limit and keep its output.
 *
 * execve with an argument vector, never a shell. The child gets its own process group, no
 * descriptors but 0 (the input, or null), 1 and 2 (kept), an environment of PATH alone, and is
 * killed with its group at the limit. What it leaves running behind it, having ended itself, is
 * left alone.
 *
 *	process_run         for people: the end of what it said, both streams as one
 *	process_exchange    for programs: input in, the beginning of its output, errors apart
 */
#ifndef ABIDE_UPDATER_PROCESS_H
#define ABIDE_UPDATER_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "updater/err.h"

#define PROCESS_OUTPUT_MAX 4096u
#define PROCESS_ERRORS_MAX 1024u

struct process_result {
	bool timed_out;
	int exit_status; /* -1 if killed by a signal */
	int signal; /* 0 if it exited */
	/* NUL-ended. process_run: the last bytes of stdout and stderr. process_exchange: the first
	 * bytes of stdout. */
	size_t output_len;
	char output[PROCESS_OUTPUT_MAX + 1];
	bool output_cut; /* it said more than that */
	/* process_exchange: the last bytes of stderr, NUL-ended. */
	size_t errors_len;
	char errors[PROCESS_ERRORS_MAX + 1];
};

/* Fails only if the program cannot be started or waited for. timeout in seconds, at least 1. */
int process_run(
	char *const argv[], unsigned int timeout, struct process_result *ret, struct err *err);

/* The same with `input` (copied; may be NULL if input_len is 0) on its standard input. A program
 * that does not read it keeps nobody waiting. */
int process_exchange(char *const argv[], const void *input, size_t input_len, unsigned int timeout,
	struct process_result *ret, struct err *err);

#endif
