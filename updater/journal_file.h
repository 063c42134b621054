/*
 * journal_file - the journal's file as lines, whatever they say: find where the whole lines end,
 * read one after the other, take turns. What a line means is journal.c's business.
 *
 *	journal_file_tail                                     where to append
 *	journal_lines_open -> journal_lines_next* -> _close   oldest first
 */
#ifndef ABIDE_UPDATER_JOURNAL_FILE_H
#define ABIDE_UPDATER_JOURNAL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/journal.h"

#define JOURNAL_FILE_NAME "journal.jsonl"

/* The last whole line, its newline included, and what lies behind it. */
struct journal_tail {
	uint64_t end; /* offset behind the last newline: whole lines end here */
	uint64_t torn; /* bytes behind it */
	size_t len; /* of `line`, newline included; 0: the file has no whole line */
	char line[JOURNAL_LINE_MAX + 1];
};

/* A last line longer than JOURNAL_LINE_MAX (not ours) is given by its end. */
int journal_file_tail(int fd, const char *name, struct journal_tail *ret, struct err *err);
/* flock(2), `operation` LOCK_SH or LOCK_EX, for at most `milliseconds`. */
int journal_file_lock(
	int fd, const char *name, int operation, unsigned int milliseconds, struct err *err);

struct journal_lines;

struct journal_line {
	uint64_t number; /* from 1 */
	size_t len; /* without the newline */
	bool ended; /* it has a newline */
	bool too_long; /* than JOURNAL_LINE_MAX: `text` is its beginning */
	char text[JOURNAL_LINE_MAX + 2]; /* with the newline, if it ended; then a NUL */
};

/* A file that is not there has no lines. */
int journal_lines_open(const char *state_dir, struct journal_lines **ret, struct err *err);
/* Waits a moment for an append that is under way, and keeps others out until close. */
void journal_lines_settle(struct journal_lines *lines);
void journal_lines_close(struct journal_lines **lines);
/* 1: *ret is the next line; 0: there is none; -1: error. */
int journal_lines_next(struct journal_lines *lines, struct journal_line *ret, struct err *err);

#endif
