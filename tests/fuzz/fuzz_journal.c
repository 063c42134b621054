/* The journal: any bytes in its file are read for display and checked, and the next line can be
 * appended, behind which no torn one is left. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/folder.h"
#include "updater/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int count_line(void *arg, uint64_t number, const char *line)
{
	uint64_t *count = arg;

	if (number != ++*count || strlen(line) > JOURNAL_LINE_MAX)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct journal_entry entry = {.event = "install", .why = "a test"};
	const struct digest artifact = {{0}};
	struct journal_check before, after;
	char state_dir[PATH_MAX], text[64];
	uint64_t count = 0;
	struct err err;

	folder_clear("state");
	if (!folder_put("state/journal.jsonl", data, len))
		abort();
	folder_join("state", state_dir);
	if (journal_verify(state_dir, &before, &err) < 0)
		abort();
	(void)journal_last_why(state_dir, "install", &artifact, text, sizeof(text));
	(void)journal_last_event(state_dir, &artifact, text, sizeof(text));
	if (journal_append(state_dir, &entry, &err) < 0 ||
		journal_verify(state_dir, &after, &err) < 0 || after.torn ||
		after.lines <= before.lines || (!before.broken_at && after.broken_at) ||
		journal_read(state_dir, count_line, &count, &err) < 0)
		abort();
	return 0;
}
