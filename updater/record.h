/*
 * record - a journal line that must not stop anything: trouble with it becomes a note.
 */
#ifndef ABIDE_UPDATER_RECORD_H
#define ABIDE_UPDATER_RECORD_H

#include "updater/journal.h"

/* Appends the entry; if that fails, tells `note` (may be NULL) why. */
void record_entry(const char *state_dir, const struct journal_entry *entry,
	void (*note)(void *arg, const char *text), void *arg);

#endif
