#include "updater/record.h"

void record_entry(const char *state_dir, const struct journal_entry *entry,
	void (*note)(void *arg, const char *text), void *arg)
{
	struct err err;

	if (journal_append(state_dir, entry, &err) == 0)
		return;
	(void)err_wrap(&err, "the journal has no line for '%s'", entry->event);
	if (note)
		note(arg, err.msg);
}
