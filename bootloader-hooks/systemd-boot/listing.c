#include "bootloader-hooks/systemd-boot/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

#define LOADER_CONF  "loader/loader.conf"
#define GROUP_PARAM  "abide.group="
#define UKIS         "EFI/Linux"
#define LOADER_COUNT 2 /* of LOADER_KEYS: those that make an entry one */

/* What an entry may start, and what it needs for that. */
static const char *const LOADER_KEYS[] = {"efi", "linux", "initrd"};

/* While it is made. */
struct scan {
	const char *directory;
	struct listing *listing; /* the caller's */
	bool foreign; /* somebody else's entries are there */
	bool pinned; /* `default` keeps to ours */
};

int listing_path(const char *directory, const char *a, const char *b, char ret[static PATH_MAX],
	struct err *err)
{
	if (snprintf(ret, PATH_MAX, "%s/%s%s%s", directory, a, b ? "/" : "", b ? b : "") >=
		PATH_MAX)
		return err_set(err, FAIL_USAGE, "path '%.64s...' is too long", directory);
	return 0;
}

__attribute__((format(printf, 2, 3))) static void note(
	struct listing *listing, const char *fmt, ...)
{
	va_list args;

	if (listing->note[0])
		return; /* the first one is enough to have somebody look */
	va_start(args, fmt);
	(void)vsnprintf(listing->note, sizeof(listing->note), fmt, args);
	va_end(args);
}

/* ---- texts: lines of a key, blanks, a value ---- */

/* The next line that is neither empty nor a comment, cut into its two words. */
bool listing_next_line(char **at, char **ret_key, char **ret_value)
{
	while (*at && **at) {
		char *line = *at + strspn(*at, " \t\r\n");
		char *end = line + strcspn(line, "\n");
		char *value;

		*at = *end ? end + 1 : end;
		*end = '\0';
		while (end > line && strchr(" \t\r", end[-1]))
			*--end = '\0';
		if (!*line || *line == '#')
			continue;
		value = line + strcspn(line, " \t");
		if (*value)
			*value++ = '\0';
		*ret_key = line;
		*ret_value = value + strspn(value, " \t");
		return true;
	}
	return false;
}

/* A copy that listing_next_line() may write into, with the zero at its end that `text` need not have. */
static int copy_lines(const struct bytes *text, struct bytes *ret, struct err *err)
{
	void *lines = NULL;

	if (mem_alloc(text->len + 1, &lines, err) < 0)
		return -1;
	if (text->len)
		memcpy(lines, text->data, text->len);
	*ret = (struct bytes){.data = lines, .len = text->len};
	return 0;
}

static int check_template_line(
	enum group group, const char *key, const char *value, struct err *err)
{
	static const char *const OURS[] = {"version", "sort-key", "machine-id"};
	const char *said = strstr(value, GROUP_PARAM);

	for (size_t i = 0; i < ARRAY_LEN(OURS); i++)
		if (strcmp(key, OURS[i]) == 0)
			return err_set(err, FAIL_BOOT,
				"has '%s', which is abide's to write; remove it", key);
	if (said && said[strlen(GROUP_PARAM)] != group_name(group)[0])
		return err_set(err, FAIL_BOOT, "is for group %s and says '%.13s'",
			group_name(group), said);
	return 0;
}

int systemd_boot_text(const struct systemd_boot_entry *entry, const struct bytes *template,
	struct bytes *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes lines = {0};
	char text[LISTING_TEXT_MAX + 64], *at, *key, *value;
	int len;

	if (template->len > LISTING_TEXT_MAX)
		return err_set(
			err, FAIL_BOOT, "is longer than %u bytes", (unsigned int)LISTING_TEXT_MAX);
	if (copy_lines(template, &lines, err) < 0)
		return -1;
	at = (char *)lines.data;
	while (listing_next_line(&at, &key, &value))
		if (check_template_line(entry->group, key, value, err) < 0)
			return -1;
	len = snprintf(text, sizeof(text),
		"sort-key " LISTING_SORT_KEY "\nversion %" PRIu32 "\n%.*s", entry->generation,
		(int)template->len, (const char *)template->data); /* fits */
	return bytes_copy(text, (size_t)len, ret, err);
}

/* An entry's or a template's loader files have to be there: without the first systemd-boot passes
 * over the entry. */
int listing_check_loader(
	const char *directory, const char *key, const char *value, bool *ret, struct err *err)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(LOADER_KEYS); i++) {
		if (strcmp(key, LOADER_KEYS[i]) != 0)
			continue;
		if (listing_path(directory, value + strspn(value, "/"), NULL, path, err) < 0)
			return -1;
		if (access(path, F_OK) < 0)
			return err_errno(err, "'%s %s': '%s'", key, value, path);
		*ret = *ret || i < LOADER_COUNT;
	}
	return 0;
}

int listing_find_loader(const struct bytes *text, size_t *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes lines = {0};
	char *at, *key, *value;
	unsigned int count = 0;

	if (copy_lines(text, &lines, err) < 0)
		return -1;
	at = (char *)lines.data;
	while (listing_next_line(&at, &key, &value))
		for (size_t i = 0; i < LOADER_COUNT; i++)
			if (strcmp(key, LOADER_KEYS[i]) == 0) {
				*ret = (size_t)(key - (char *)lines.data);
				count++;
			}
	if (count != 1)
		return err_set(
			err, FAIL_BOOT, "has %u lines 'efi' or 'linux': expected one", count);
	return 0;
}

/* Whether systemd-boot lists it; `why` says why not. */
static bool entry_alive(const char *directory, char *text, struct err *why)
{
	char *key, *value;
	bool loads = false;

	while (listing_next_line(&text, &key, &value))
		if (listing_check_loader(directory, key, value, &loads, why) < 0)
			return false;
	if (!loads)
		(void)err_set(why, FAIL_BOOT, "it has neither 'efi' nor 'linux'");
	return loads;
}

/* systemd-boot orders by what stands in the file. */
static int check_sorting(const struct found *found, char *text, struct err *err)
{
	char wanted[16], *key, *value;
	bool has_version = false, has_key = false;

	(void)snprintf(wanted, sizeof(wanted), "%" PRIu32, found->entry.generation); /* fits */
	while (listing_next_line(&text, &key, &value)) {
		has_version =
			has_version || (strcmp(key, "version") == 0 && strcmp(value, wanted) == 0);
		has_key = has_key ||
			  (strcmp(key, "sort-key") == 0 && strcmp(value, LISTING_SORT_KEY) == 0);
		if (strcmp(key, "machine-id") == 0)
			return err_set(
				err, FAIL_BOOT, "has a 'machine-id', which changes its place");
	}
	if (!has_version || !has_key)
		return err_set(err, FAIL_BOOT,
			"does not say 'version %s' and 'sort-key " LISTING_SORT_KEY
			"', which decide its place",
			wanted);
	return 0;
}

/* ---- the listing ---- */

static int look_at_entry(const struct scan *scan, struct found *found, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0}, again = {0};
	char path[PATH_MAX];
	struct err why = {0};

	if (listing_path(scan->directory, LISTING_ENTRIES, found->name, path, err) < 0 ||
		fs_read_file(path, LISTING_TEXT_MAX, &text, err) < 0 ||
		copy_lines(&text, &again, err) < 0)
		return -1;
	if (!entry_alive(scan->directory, (char *)text.data, &why)) {
		found->dead = true;
		note(scan->listing, "systemd-boot passes over '%.40s': %.80s", found->name,
			why.msg);
		return 0;
	}
	if (check_sorting(found, (char *)again.data, err) < 0)
		return err_wrap(err, "'%s'", path);
	return 0;
}

static int add_entry(const struct scan *scan, const char *name,
	const struct systemd_boot_entry *entry, struct err *err)
{
	struct listing *listing = scan->listing;
	struct found *found = &listing->found[listing->count];

	if (listing->count == LISTING_MAX)
		return err_set(err, FAIL_BOOT,
			"'%s/" LISTING_ENTRIES "' has more than %u entries of abide",
			scan->directory, LISTING_MAX);
	*found = (struct found){.entry = *entry};
	(void)snprintf(found->name, sizeof(found->name), "%s", name); /* parsed: it fits */
	if (look_at_entry(scan, found, err) < 0)
		return -1;
	listing->count++;
	return 0;
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t len = strlen(name), suffix_len = strlen(suffix);

	return len > suffix_len && strcasecmp(name + len - suffix_len, suffix) == 0;
}

static int add_name(struct scan *scan, const char *name, struct err *err)
{
	struct systemd_boot_entry entry;

	switch (systemd_boot_parse(name, &entry)) {
	case SYSTEMD_BOOT_ENTRY:
		return add_entry(scan, name, &entry, err);
	case SYSTEMD_BOOT_UNFINISHED:
		scan->listing->unfinished = true;
		return 0;
	case SYSTEMD_BOOT_FOREIGN:
		scan->foreign = scan->foreign || has_suffix(name, ".conf");
		return 0;
	case SYSTEMD_BOOT_WRONG:
		break;
	}
	return err_set(err, FAIL_BOOT,
		"'%s/" LISTING_ENTRIES "/%.64s' has a name that abide does not write: expected "
		"abide-GROUP-N.conf, abide-GROUP-N+LEFT-DONE.conf (LEFT at most %u) or "
		"abide-GROUP-N-reverted+0.conf; rename or remove it",
		scan->directory, name, BOOT_TRIES_MAX);
}

/* A kernel image in there is an entry of its own. */
static int add_uki(struct scan *scan, const char *name, struct err *err)
{
	(void)err;
	scan->foreign = scan->foreign || has_suffix(name, ".efi");
	return 0;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

/* False: there is no such directory. */
static int each_name(struct scan *scan, const char *where,
	int (*each)(struct scan *scan, const char *name, struct err *err), bool *ret_there,
	struct err *err)
{
	CLEANUP(close_dir) DIR *dir = NULL;
	const struct dirent *dirent;
	char path[PATH_MAX];

	if (listing_path(scan->directory, where, NULL, path, err) < 0)
		return -1;
	dir = opendir(path);
	*ret_there = dir || errno != ENOENT;
	if (!dir)
		return *ret_there ? err_errno(err, "open '%s'", path) : 0;
	while (errno = 0, (dirent = readdir(dir)))
		if (each(scan, dirent->d_name, err) < 0)
			return -1;
	return errno ? err_errno(err, "read '%s'", path) : 0;
}

static int scan_entries(struct scan *scan, struct err *err)
{
	bool there;

	if (each_name(scan, LISTING_ENTRIES, add_name, &there, err) < 0)
		return -1;
	if (!there)
		return err_set(err, FAIL_BOOT,
			"'%s' has no " LISTING_ENTRIES ": is the partition that systemd-boot reads "
			"mounted there?",
			scan->directory);
	return each_name(scan, UKIS, add_uki, &there, err);
}

/* A pattern that takes all of our names leaves their order to decide. One that takes some would
 * start the first of these, with or without tries left. */
static bool pattern_keeps_order(const char *pattern)
{
	static const char *const NAMES[] = {"abide-a-1.conf", "abide-b-1.conf", "abide-a-20+3.conf",
		"abide-b-20+2-1.conf", "abide-a-999999999-reverted+0-9.conf",
		"abide-b-999999999-reverted+0-9.conf"};

	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++)
		if (fnmatch(pattern, NAMES[i], 0) != 0)
			return false;
	return true;
}

static int check_default(struct scan *scan, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char path[PATH_MAX], *at, *key, *value;

	if (listing_path(scan->directory, LOADER_CONF, NULL, path, err) < 0)
		return -1;
	if (access(path, F_OK) == 0) {
		if (fs_read_file(path, LISTING_TEXT_MAX, &text, err) < 0)
			return -1;
		at = (char *)text.data;
		while (listing_next_line(&at, &key, &value)) {
			if (strcmp(key, "default") != 0)
				continue;
			if (!pattern_keeps_order(value))
				return err_set(err, FAIL_BOOT,
					"'%s' has 'default %.64s', which boots past the counting; "
					"write 'default abide-*'",
					path, value);
			scan->pinned = true;
		}
	}
	if (scan->foreign && !scan->pinned)
		return err_set(err, FAIL_BOOT,
			"there are entries of others, which may be booted instead; write 'default "
			"abide-*' into '%s'",
			path);
	return 0;
}

/* The first of each group, as systemd-boot sorts them, is the one that counts. */
static void choose(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++) {
		const struct found *found = &listing->found[i];
		const struct found **first = &listing->first[found->entry.group];

		if (!found->dead &&
			(!*first || systemd_boot_compare(&found->entry, &(*first)->entry) < 0))
			*first = found;
	}
	for (size_t i = 0; i < listing->count; i++) {
		const struct found *found = &listing->found[i];

		if (!found->dead && found != listing->first[found->entry.group])
			note(listing, "'%s' is left over from a change that was cut off",
				found->name);
	}
	if (listing->unfinished)
		note(listing, "a change of the entries was cut off before it counted");
}

int listing_make(const char *directory, struct listing *ret, struct err *err)
{
	struct scan scan = {.directory = directory, .listing = ret};

	*ret = (struct listing){0};
	if (scan_entries(&scan, err) < 0 || check_default(&scan, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "systemd-boot");
	choose(ret);
	return 0;
}
