/*
 * journal - what changed on this device, and why: for people and audit, never for decisions.
 *
 * STATE_DIR/journal.jsonl, append only, one JSON object a line, each with the SHA-256 of the line
 * before it, newline included ("prev"; 64 zeros on the first), fsynced. A torn last line (power cut
 * while appending) is cut off by the next append, which says so in an entry of its own
 * ("journal-repaired").
 *
 *	journal_append   opens, repairs, writes, flushes, closes; concurrent appends are serialised
 *
 * A journal that cannot be written is an error for the caller to report, never a reason to stop a
 * confirm or a revert.
 */
#ifndef ABIDE_UPDATER_JOURNAL_H
#define ABIDE_UPDATER_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/mem.h"

#define JOURNAL_LINE_MAX (16u << 10)

/* One transition. NULL or empty members are left out of the line. */
struct journal_entry {
	const char *event; /* "install", "activated", "confirmed", "reverted", ... */
	const char *from; /* state or group before */
	const char *to; /* state or group after */
	const struct digest *artifact; /* id */
	const char *version;
	const char *group; /* the group it is about */
	const char *why; /* reason, one line */
	const char *output; /* a health check's output, cut to fit */
};

int journal_append(const char *state_dir, const struct journal_entry *entry, struct err *err);

/* Calls `each` per line, oldest first, with the text (no newline); stop with non-zero. */
int journal_read(const char *state_dir, int (*each)(void *arg, uint64_t number, const char *line),
	void *arg, struct err *err);

struct journal_check {
	uint64_t lines;
	bool torn; /* the last line has no end (survivable, see above) */
	uint64_t broken_at; /* first line whose chain or form is wrong; 0: none */
	/* SHA-256 of the last whole line (`tail -n 1 | sha256sum`): compare it with a copy kept
	 * elsewhere. */
	struct digest head;
	char why[128];
};
int journal_verify(const char *state_dir, struct journal_check *ret, struct err *err);

/* The newest line of `event` about `artifact`: its "why" into ret. False: none. For display. */
bool journal_last_why(const char *state_dir, const char *event, const struct digest *artifact,
	char *ret, size_t cap);
/* What the newest line about `artifact` tells of. For display, and to say a thing once. */
bool journal_last_event(
	const char *state_dir, const struct digest *artifact, char *ret, size_t cap);

#endif
