#include "updater/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "updater/fs.h"
#include "updater/journal_file.h"

#define WRITE_LOCK_MS 10000u
#define FIELD_MAX     256u /* bytes kept of event, from, to, version, group */
#define WHY_MAX       1024u
#define OUTPUT_MAX    4096u
/* Escaped, a printable byte takes two at most: every line fits. */
_Static_assert(2 * (5 * FIELD_MAX + WHY_MAX + OUTPUT_MAX) + 512 < JOURNAL_LINE_MAX,
	"the longest line is below JOURNAL_LINE_MAX");

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

/* Printable ASCII, tab and newline stay; the rest would be escape sequences on somebody's screen,
 * or no UTF-8. */
static void add_text(json_t *line, const char *key, const char *text, size_t len)
{
	char clean[OUTPUT_MAX + 1];

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		clean[i] = (c >= 0x20 && c < 0x7f) || c == '\n' || c == '\t' ? c : '?';
	}
	/* Out of memory leaves the field out; the chain does not need it. */
	(void)json_object_set_new(line, key, json_stringn(clean, len));
}

/* The beginning of `text`. */
static void add_field(json_t *line, const char *key, const char *text, size_t max)
{
	if (text && *text)
		add_text(line, key, text, strnlen(text, max));
}

/* The end of `text`: the last words of a failing check say most. */
static void add_output(json_t *line, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len > OUTPUT_MAX) {
		text += len - OUTPUT_MAX;
		len = OUTPUT_MAX;
	}
	if (len)
		add_text(line, "output", text, len);
}

static void add_digest(json_t *line, const char *key, const struct digest *digest)
{
	char hex[DIGEST_HEX_LEN + 1];

	digest_to_hex(digest, hex);
	(void)json_object_set_new(line, key, json_string(hex)); /* as in add_text */
}

static void add_time(json_t *line)
{
	time_t now = time(NULL);
	struct tm tm;
	char text[FIELD_MAX] = "";

	if (gmtime_r(&now, &tm))
		(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	add_field(line, "time", text, FIELD_MAX);
}

/* Clocks of devices jump; the boot a line was written in tells lines apart all the same. */
static void add_boot_id(json_t *line)
{
	struct bytes id = {0};
	struct err ignored;

	if (fs_read_file("/proc/sys/kernel/random/boot_id", 64, &id, &ignored) < 0)
		return;
	add_field(line, "boot_id", (const char *)id.data, 8);
	bytes_finish(&id);
}

/* One line with its newline, from malloc. Fixed key order. */
static int format_line(uint64_t seq, const struct digest *prev, const struct journal_entry *entry,
	char **ret, size_t *ret_len, struct err *err)
{
	CLEANUP(cleanup_json) json_t *line = json_object();
	size_t len;
	char *text;

	if (!line || json_object_set_new(line, "seq", json_integer((json_int_t)seq)) < 0)
		return err_memory(err);
	add_time(line);
	add_boot_id(line);
	add_field(line, "event", entry->event, FIELD_MAX);
	add_field(line, "from", entry->from, FIELD_MAX);
	add_field(line, "to", entry->to, FIELD_MAX);
	if (entry->artifact)
		add_digest(line, "artifact", entry->artifact);
	add_field(line, "version", entry->version, FIELD_MAX);
	add_field(line, "group", entry->group, FIELD_MAX);
	add_field(line, "why", entry->why, WHY_MAX);
	add_output(line, entry->output);
	add_digest(line, "prev", prev);
	len = json_dumpb(line, NULL, 0, JSON_COMPACT);
	text = malloc(len + 2);
	if (!text || json_dumpb(line, text, len, JSON_COMPACT) != len) {
		free(text);
		return err_memory(err);
	}
	text[len] = '\n';
	text[len + 1] = '\0';
	*ret = text;
	*ret_len = len + 1;
	return 0;
}

/* The number of a line, or 0 if it is none of ours. */
static uint64_t line_seq(const char *text, size_t len)
{
	CLEANUP(cleanup_json) json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	json_int_t seq = json_integer_value(json_object_get(line, "seq"));

	return seq > 0 ? (uint64_t)seq : 0;
}

/* Open journal between lock and close: where the next line goes and what it hangs on. */
struct appender {
	int fd;
	char name[PATH_MAX];
	uint64_t end; /* offset behind the last whole line */
	uint64_t seq; /* of the last line */
	struct digest prev; /* of the last line, newline included; zeros if there is none */
};

static void appender_close(const struct appender *appender)
{
	cleanup_fd(&appender->fd);
}

/* Writes one line and flushes it. */
static int append_line(
	struct appender *appender, const struct journal_entry *entry, struct err *err)
{
	CLEANUP(cleanup_free) char *text = NULL;
	struct digest digest;
	size_t len = 0;

	if (format_line(appender->seq + 1, &appender->prev, entry, &text, &len, err) < 0 ||
		digest_once(text, len, &digest, err) < 0)
		return -1;
	/* A cut in here leaves a torn line; the next append cuts it off. */
	if (fs_write_full(appender->fd, appender->name, text, len, err) < 0) {
		/* Full disk: take the part that went in out again. If that fails too, the next
		 * append does it. */
		(void)!ftruncate(appender->fd, (off_t)appender->end);
		return -1;
	}
	/* A cut before this flush may lose the line, never one before it. */
	if (fsync(appender->fd) < 0)
		return err_errno(err, "fsync '%s'", appender->name);
	appender->end += len;
	appender->seq++;
	appender->prev = digest;
	return 0;
}

/* Cuts a torn last line off and says so in a line of its own. */
static int repair(struct appender *appender, uint64_t torn, struct err *err)
{
	char why[80];
	struct journal_entry entry = {.event = "journal-repaired", .why = why};

	(void)snprintf(why, sizeof(why), "a torn last line of %llu bytes was cut off",
		(unsigned long long)torn);
	/* A cut before the truncation reaches the disk: the torn line is still there, or is gone
	 * without a word; no whole line is touched. Flushed together with the line that says so. */
	if (ftruncate(appender->fd, (off_t)appender->end) < 0)
		return err_errno(err, "truncate '%s'", appender->name);
	return append_line(appender, &entry, err);
}

/* A last line that is none of ours (edited by hand) has no number: count. */
static int count_lines(const char *state_dir, uint64_t *ret, struct err *err)
{
	CLEANUP(journal_lines_close) struct journal_lines *lines = NULL;
	struct journal_line line = {0};
	int more;

	if (journal_lines_open(state_dir, &lines, err) < 0)
		return -1;
	while ((more = journal_lines_next(lines, &line, err)) > 0)
		*ret = line.number;
	return more;
}

static int appender_open(
	const char *state_dir, struct appender *ret, struct journal_tail *tail, struct err *err)
{
	if (fs_join(state_dir, JOURNAL_FILE_NAME, ret->name, sizeof(ret->name), err) < 0 ||
		fs_make_dirs(state_dir, 0755, err) < 0 ||
		fs_open(ret->name, O_RDWR | O_CREAT | O_APPEND, 0640, &ret->fd, err) < 0 ||
		journal_file_lock(ret->fd, ret->name, LOCK_EX, WRITE_LOCK_MS, err) < 0 ||
		journal_file_tail(ret->fd, ret->name, tail, err) < 0)
		return -1;
	ret->end = tail->end;
	if (tail->len == 0)
		/* A new file: a cut before this flush may lose its name and the first line with it,
		 * as if the append had not begun. */
		return fs_sync_parent(ret->name, err);
	ret->seq = line_seq(tail->line, tail->len);
	if (ret->seq == 0 && count_lines(state_dir, &ret->seq, err) < 0)
		return -1;
	return digest_once(tail->line, tail->len, &ret->prev, err);
}

int journal_append(const char *state_dir, const struct journal_entry *entry, struct err *err)
{
	CLEANUP(appender_close) struct appender appender = {.fd = -1};
	struct journal_tail tail;

	if (appender_open(state_dir, &appender, &tail, err) < 0 ||
		(tail.torn && repair(&appender, tail.torn, err) < 0) ||
		append_line(&appender, entry, err) < 0)
		return err_wrap(err, "journal");
	return 0;
}

int journal_read(const char *state_dir, int (*each)(void *arg, uint64_t number, const char *line),
	void *arg, struct err *err)
{
	CLEANUP(journal_lines_close) struct journal_lines *lines = NULL;
	struct journal_line line;
	int more;

	if (journal_lines_open(state_dir, &lines, err) < 0)
		return -1;
	journal_lines_settle(lines);
	while ((more = journal_lines_next(lines, &line, err)) > 0) {
		line.text[line.len] = '\0';
		if (each(arg, line.number, line.text))
			return 0;
	}
	return more;
}

/* Why this line is not the one that belongs after `check`'s head; NULL if it is. */
static const char *line_fault(const struct journal_line *line, const struct journal_check *check)
{
	CLEANUP(cleanup_json) json_t *json = NULL;
	char prev[DIGEST_HEX_LEN + 1];
	const char *found;

	if (line->too_long)
		return "it is longer than any line of abide";
	json = json_loadb(line->text, line->len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(json) || !json_is_string(json_object_get(json, "time")) ||
		!json_is_string(json_object_get(json, "event")))
		return "it is not a line of abide";
	if (json_integer_value(json_object_get(json, "seq")) != (json_int_t)line->number)
		return "its number is not the next one: lines are missing, added or moved";
	digest_to_hex(&check->head, prev);
	found = json_string_value(json_object_get(json, "prev"));
	if (!found || strcmp(found, prev) != 0)
		return "its 'prev' is not the digest of the line before: one of the two was "
		       "changed";
	return NULL;
}

int journal_verify(const char *state_dir, struct journal_check *ret, struct err *err)
{
	CLEANUP(journal_lines_close) struct journal_lines *lines = NULL;
	struct journal_check check = {0};
	struct journal_line line;
	int more;

	if (journal_lines_open(state_dir, &lines, err) < 0)
		return -1;
	journal_lines_settle(lines);
	while ((more = journal_lines_next(lines, &line, err)) > 0) {
		const char *fault;

		if (!line.ended) {
			check.torn = true;
			break;
		}
		check.lines = line.number;
		/* What follows the first fault hangs on it: only count. */
		fault = check.broken_at ? NULL : line_fault(&line, &check);
		if (fault) {
			check.broken_at = line.number;
			(void)snprintf(check.why, sizeof(check.why), "%s", fault);
		}
		if (digest_once(line.text, line.len + 1, &check.head, err) < 0)
			return -1;
	}
	if (more < 0)
		return -1;
	*ret = check;
	return 0;
}

struct why_search {
	const char *event; /* NULL: any, and its name is what is looked for */
	char artifact[DIGEST_HEX_LEN + 1];
	bool found;
	char *ret;
	size_t cap;
};

static int search_why(void *arg, uint64_t number, const char *text)
{
	struct why_search *search = arg;
	CLEANUP(cleanup_json) json_t *line = NULL;
	const char *event, *artifact, *answer;

	(void)number;
	if (!strstr(text, search->artifact))
		return 0; /* most lines: not worth parsing */
	line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	event = json_string_value(json_object_get(line, "event"));
	artifact = json_string_value(json_object_get(line, "artifact"));
	answer = search->event ? json_string_value(json_object_get(line, "why")) : event;
	if (event && artifact && answer && (!search->event || strcmp(event, search->event) == 0) &&
		strcmp(artifact, search->artifact) == 0) {
		mem_printable(answer, strlen(answer), search->ret, search->cap);
		search->found = true;
	}
	return 0;
}

static bool find_last(
	const char *state_dir, struct why_search *search, const struct digest *artifact)
{
	struct err ignored; /* for display only: no journal, no reason to show */

	digest_to_hex(artifact, search->artifact);
	if (journal_read(state_dir, search_why, search, &ignored) < 0)
		return false;
	return search->found;
}

bool journal_last_why(const char *state_dir, const char *event, const struct digest *artifact,
	char *ret, size_t cap)
{
	struct why_search search = {.event = event, .ret = ret, .cap = cap};

	return find_last(state_dir, &search, artifact);
}

bool journal_last_event(const char *state_dir, const struct digest *artifact, char *ret, size_t cap)
{
	struct why_search search = {.ret = ret, .cap = cap};

	return find_last(state_dir, &search, artifact);
}
