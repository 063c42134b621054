/*
 * ui - what a person or a script gets to see of a command.
 *
 * Results go to standard output: text, or with --json one JSON object a line (ui_json.h). Notes,
 * errors and the progress bar go to standard error; with --json notes, progress and errors are
 * objects, too, and errors are on both. The bar is drawn on a terminal only and is cleared before
 * anything else is written.
 *
 *	ui_init -> { ui_say | ui_note | ui_progress }* -> ui_fail or nothing -> ui_finish
 */
#ifndef ABIDE_UPDATER_UI_H
#define ABIDE_UPDATER_UI_H

#include <stdbool.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/ui_progress.h"

#define UI_SIZE_MAX 24u
#define UI_ID_MAX   9u /* eight digits of an artifact's id and a NUL */

struct digest; /* digest.h */

struct ui {
	const char *command; /* "install" */
	bool json;
	struct ui_progress bar;
};

void ui_init(struct ui *ui, const char *command, bool json);
/* A line, or a part of one, on standard output. */
void ui_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Survivable trouble. */
void ui_note(struct ui *ui, const char *text);
/* `what` is at work ("writing", "reading back"), on the image of `class` (NULL: not told). */
void ui_progress(struct ui *ui, const char *what, const char *class, uint64_t done, uint64_t total);
/* Clears the bar before a result is printed. */
void ui_progress_end(struct ui *ui);
void ui_fail(struct ui *ui, const struct err *err, int exit_code);
/* Standard output reached whoever reads it. */
int ui_finish(struct err *err);
/* Several lines of a program's output, made printable, each behind `indent`. */
void ui_block(const char *indent, const char *text, bool to_stderr);

/* "17 bytes", "12.3 MiB" */
const char *ui_size(uint64_t bytes, char ret[static UI_SIZE_MAX]);
/* The first digits of an artifact's id. */
const char *ui_id(const struct digest *digest, char ret[static UI_ID_MAX]);

#endif
