/*
 * output - a file that appears under its name complete and on the disk, or not at all.
 *
 *	output_open -> write to fd -> output_commit -> output_finish
 *
 * Until output_commit() the file has no name (O_TMPFILE; where the file system cannot, a temporary
 * one beside the target), so that nothing is left behind whatever ends the program. An existing
 *file is replaced in one step. A path that is there and is not a plain file is refused.
 */
#ifndef ABIDE_IMAGE_OUTPUT_H
#define ABIDE_IMAGE_OUTPUT_H

#include <sys/types.h>

#include "updater/err.h"

struct output {
	int fd; /* read and write; -1 when finished */
	char *path; /* where it will be; symbolic links followed */
	char *temporary; /* NULL while the file has no name */
};

#define OUTPUT_NONE ((struct output){.fd = -1})

int output_open(const char *path, mode_t mode, struct output *ret, struct err *err);
int output_commit(struct output *output, struct err *err);
/* Without commit: the file is gone. */
void output_finish(struct output *output);

/* An anonymous file on the file system of `beside`: room for what is too much for memory. */
int output_spool(const char *beside, int *ret_fd, struct err *err);

#endif
