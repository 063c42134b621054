/*
 * ui_progress - one line on a terminal that says how far a long piece of work is, how fast it goes
 * and when it will be done; or, for scripts, when it is time for the next JSON line.
 */
#ifndef ABIDE_UPDATER_UI_PROGRESS_H
#define ABIDE_UPDATER_UI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UI_PROGRESS_SAMPLES 32u /* at 10 a second: the rate is that of the last three seconds */

struct ui_progress {
	bool on_terminal; /* standard error is one, and text is wanted */
	bool drawn; /* there is a bar to clear */
	char what[32]; /* piece of work the samples are of */
	int64_t next_ms; /* not to be drawn again before; monotonic */
	size_t count; /* samples taken of this piece of work */
	struct {
		int64_t ms;
		uint64_t done;
	} samples[UI_PROGRESS_SAMPLES];
};

/* Whether this piece of news is to be shown: the first and last of a piece of work, and one every
 * `every_ms` between. */
bool ui_progress_due(struct ui_progress *bar, const char *what, uint64_t done, uint64_t total,
	unsigned int every_ms);
/* Draws over the last one. */
void ui_progress_draw(struct ui_progress *bar, const char *what, uint64_t done, uint64_t total);
void ui_progress_clear(struct ui_progress *bar);
/* The text of the line, at most `width` columns. bytes_per_second 0: not known yet. */
void ui_progress_format(const char *what, uint64_t done, uint64_t total, uint64_t bytes_per_second,
	size_t width, char *ret, size_t cap);

#endif
