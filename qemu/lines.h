/*
 * lines - the three lines of communication with a virtual device: console, command channel, QMP.
 *
 * Whatever one of them is waited for, all are drained, so that the guest never waits for us. What
 * arrived is kept as text, the last TEXT_MAX bytes of each; a match is looked for after the last.
 */
#ifndef ABIDE_QEMU_LINES_H
#define ABIDE_QEMU_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "updater/err.h"

enum line {
	LINE_CONSOLE,
	LINE_CHANNEL,
	LINE_MONITOR,
};
#define LINE_COUNT 3

/* In the channel: nothing from here on, up to lines_relay(), goes to on_output. */
#define LINES_MARKER '\001'

struct text {
	char *data; /* NUL-ended */
	size_t len;
	size_t seen; /* matched up to here */
};

struct lines {
	int fd[LINE_COUNT]; /* our ends */
	int log_fd; /* console and QEMU's own messages */
	struct text text[LINE_COUNT];
	bool relaying;
	void (*on_output)(void *arg, const char *data, size_t len);
	void *on_output_arg;
};

/* Appends the console to `log`, a path. lines_finish() takes a half-made object. */
int lines_init(struct lines *lines, const char *log, struct err *err);
void lines_finish(struct lines *lines);
/* Makes the socket pairs; the far ends are the caller's to hand on and close. */
int lines_connect(struct lines *lines, int ret_theirs[static LINE_COUNT], struct err *err);

int lines_send(struct lines *lines, enum line line, const char *text, struct err *err);
/* *ret_at is where in text[line].data the match begins. */
int lines_wait(struct lines *lines, enum line line, const char *wanted, unsigned int seconds,
	size_t *ret_at, struct err *err);
/* Forgets what the channel said and passes on what it says from here, up to a marker. */
void lines_relay(struct lines *lines);
void lines_forget(struct lines *lines, enum line line);

#endif
