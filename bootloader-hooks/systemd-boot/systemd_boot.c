/* The entries on their partition: reading them, and changing one at a time. What their names mean is
 * entry.c's, what counts among them listing.c's. */
#include "bootloader-hooks/systemd-boot/systemd_boot.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bootloader-hooks/systemd-boot/listing.h"
#include "updater/fs.h"
#include "updater/mem.h"

struct systemd_boot {
	struct bootloader bl;
	char *directory;
};

static struct systemd_boot *systemd_boot(struct bootloader *bl)
{
	return (struct systemd_boot *)bl;
}

/* ---- read ---- */

static bool may_be_primary(const struct found *found)
{
	return found && !found->entry.reverted;
}

/* A group that was reverted is never the primary, even if it is the only one there is. */
static enum group primary_of(const struct listing *listing)
{
	const struct found *a = listing->first[GROUP_A];
	const struct found *b = listing->first[GROUP_B];

	if (may_be_primary(a) && may_be_primary(b))
		return a->entry.generation > b->entry.generation ? GROUP_A : GROUP_B;
	if (may_be_primary(a) || may_be_primary(b))
		return may_be_primary(a) ? GROUP_A : GROUP_B;
	return a ? GROUP_B : GROUP_A;
}

static struct boot_group group_of(const struct found *found)
{
	if (!found)
		return (struct boot_group){0};
	return (struct boot_group){
		.good = !found->entry.counted,
		.bad = found->entry.counted && found->entry.left == 0,
		.tries = found->entry.counted ? found->entry.left : 0,
	};
}

static int systemd_boot_read(struct bootloader *bl, struct boot_state *ret, struct err *err)
{
	struct listing listing;

	if (listing_make(systemd_boot(bl)->directory, &listing, err) < 0)
		return -1;
	if (!listing.first[GROUP_A] && !listing.first[GROUP_B])
		return err_set(err, FAIL_BOOT,
			"systemd-boot: '%s/" LISTING_ENTRIES
			"' has no entry of either group%s%s; if group "
			"a runs and is good, make abide-a-1.conf from abide/a.conf, with the lines "
			"'sort-key " LISTING_SORT_KEY "' and 'version 1'",
			systemd_boot(bl)->directory, listing.note[0] ? ": " : "", listing.note);
	memcpy(bl->note, listing.note, sizeof(bl->note));
	*ret = (struct boot_state){
		.group = {group_of(listing.first[GROUP_A]), group_of(listing.first[GROUP_B])},
		.primary = primary_of(&listing),
	};
	return 0;
}

/* ---- commit ---- */

/* What is to be there for one group. */
struct wanted {
	bool listed;
	struct systemd_boot_entry entry;
};

/* From the group's template. What the entry is to start has to be there. */
static int make_text(const struct systemd_boot *sb, const struct systemd_boot_entry *entry,
	struct bytes *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes template = {0}, text = {0};
	char name[8], path[PATH_MAX], *at, *key, *value;
	bool loads = false;

	(void)snprintf(name, sizeof(name), "%s.conf", group_name(entry->group)); /* fits */
	if (listing_path(sb->directory, "abide", name, path, err) < 0 ||
		fs_read_file(path, LISTING_TEXT_MAX, &template, err) < 0)
		return -1;
	if (systemd_boot_text(entry, &template, &text, err) < 0)
		return err_wrap(err, "'%s'", path);
	at = (char *)template.data;
	while (listing_next_line(&at, &key, &value))
		if (listing_check_loader(sb->directory, key, value, &loads, err) < 0)
			return err_wrap(err, "'%s'", path);
	if (!loads)
		return err_set(err, FAIL_BOOT, "'%s' has neither 'efi' nor 'linux'", path);
	*ret = steal_bytes(&text);
	return 0;
}

/* A group that changes its state only keeps its text: what runs is what is confirmed. */
static int text_for(const struct systemd_boot *sb, const struct listing *listing,
	const struct systemd_boot_entry *entry, struct bytes *ret, struct err *err)
{
	const struct found *first = listing->first[entry->group];
	char path[PATH_MAX];

	if (!first || first->entry.generation != entry->generation)
		return make_text(sb, entry, ret, err);
	if (listing_path(sb->directory, LISTING_ENTRIES, first->name, path, err) < 0)
		return -1;
	return fs_read_file(path, LISTING_TEXT_MAX, ret, err);
}

/* Without room for a second file only the name changes. FAT does that in two steps, so that a cut
 * may leave both names or, if the file system is not mounted with `sync`, none. */
static int rename_only(
	const struct systemd_boot *sb, const struct found *first, const char *path, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char old[PATH_MAX];

	if (listing_path(sb->directory, LISTING_ENTRIES, first->name, old, err) < 0 ||
		fs_open(old, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	if (rename(old, path) < 0)
		return err_errno(err, "rename '%s' to '%s'", old, path);
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", path);
	return fs_sync_parent(path, err);
}

/* Replaces one byte, in place: no name and no cluster changes. */
static int write_byte(const char *path, size_t at, uint8_t byte, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;

	if (fs_open(path, O_WRONLY, 0, &fd, err) < 0)
		return -1;
	if (pwrite(fd, &byte, 1, (off_t)at) != 1)
		return err_errno(err, "write '%s'", path);
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", path);
	return 0;
}

/* FAT renames in two steps, and a cut between them leaves two names with the same clusters, of which
 * fsck.fat empties one: a trial that was started would lose its entry. So what is renamed is no entry
 * yet, its loader's line being a comment; then one byte makes it one. */
static int place(const struct systemd_boot *sb, const struct listing *listing,
	const struct systemd_boot_entry *entry, const char *name, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	const struct found *first = listing->first[entry->group];
	char path[PATH_MAX];
	uint8_t byte;
	size_t at;

	if (listing_path(sb->directory, LISTING_ENTRIES, name, path, err) < 0 ||
		text_for(sb, listing, entry, &text, err) < 0)
		return -1;
	if (listing_find_loader(&text, &at, err) < 0)
		return err_wrap(err, "entry '%s'", name);
	byte = text.data[at];
	text.data[at] = '#';
	if (fs_replace_file(path, text.data, text.len, 0644, err) == 0)
		return write_byte(path, at, byte, err);
	if (err->code != FAIL_SPACE || !first || first->entry.generation != entry->generation)
		return -1;
	return rename_only(sb, first, path, err);
}

/* The file stays open until its name is gone for good: the clusters of a file that nobody has open
 * are free at once, and a name that came back after a cut would have lost them. */
static int take_away(const struct systemd_boot *sb, const char *name, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char path[PATH_MAX];

	if (listing_path(sb->directory, LISTING_ENTRIES, name, path, err) < 0)
		return -1;
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0; /* renamed: there was no room for two */
	if (fs_open(path, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	if (unlink(path) < 0)
		return err_errno(err, "remove '%s'", path);
	return fs_sync_parent(path, err);
}

/* Every name of the group but `keep`; the one that counted comes last. */
static int take_away_others(const struct systemd_boot *sb, const struct listing *listing,
	enum group group, const char *keep, struct err *err)
{
	const struct found *first = listing->first[group];

	for (size_t i = 0; i < listing->count; i++) {
		const struct found *found = &listing->found[i];

		if (found->entry.group == group && found != first &&
			strcasecmp(found->name, keep) != 0 && take_away(sb, found->name, err) < 0)
			return -1;
	}
	if (!first || strcasecmp(first->name, keep) == 0)
		return 0;
	return take_away(sb, first->name, err);
}

/*
 * Cut points, of a change to one group:
 *	before the new name is there     the old state; a .new that systemd-boot does not look at
 *	before its last byte is there    the old state; a name that systemd-boot passes over
 *	with the new name and the old    a good or a counted entry is sorted before the old one: the
 *	                                 new state. One without tries is sorted behind it: the old
 *	after the old name went          the new state
 * So one byte in a sector or one unlink is the commit, whatever FAT makes of the latter: a name with
 * its file, without (it has no text, and systemd-boot passes over it), or not at all.
 */
static int bring_group(const struct systemd_boot *sb, const struct listing *listing,
	enum group group, const struct wanted *wanted, struct err *err)
{
	const struct found *first = listing->first[group];
	char name[SYSTEMD_BOOT_NAME_MAX] = "";

	if (wanted->listed)
		systemd_boot_format(&wanted->entry, name);
	if (wanted->listed && (!first || strcasecmp(first->name, name) != 0) &&
		place(sb, listing, &wanted->entry, name, err) < 0)
		return -1;
	return take_away_others(sb, listing, group, name, err);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static int take_away_unfinished(const struct systemd_boot *sb, struct err *err)
{
	CLEANUP(close_dir) DIR *dir = NULL;
	const struct dirent *dirent;
	struct systemd_boot_entry ignored;
	char path[PATH_MAX];

	if (listing_path(sb->directory, LISTING_ENTRIES, NULL, path, err) < 0)
		return -1;
	dir = opendir(path);
	if (!dir)
		return err_errno(err, "open '%s'", path);
	while ((dirent = readdir(dir)))
		if (systemd_boot_parse(dirent->d_name, &ignored) == SYSTEMD_BOOT_UNFINISHED &&
			take_away(sb, dirent->d_name, err) < 0)
			return -1;
	return 0;
}

static bool listed(const struct boot_group *group)
{
	return boot_group_bootable(group) || group->bad;
}

/* Keeps a generation that leaves the group where it is to be, else takes one above all. */
static void want_group(const struct listing *listing, const struct boot_state *state,
	enum group group, uint32_t generation, struct wanted *ret)
{
	const struct boot_group *as = &state->group[group];
	const struct found *first = listing->first[group];
	uint32_t done = first && first->entry.counted ? first->entry.done : 0;
	bool same_trial = first && first->entry.counted && first->entry.left == as->tries;

	*ret = (struct wanted){.listed = listed(as)};
	ret->entry = (struct systemd_boot_entry){
		.group = group,
		.generation = generation,
		.reverted = as->bad && group != state->primary,
		.counted = !as->good,
		.left = as->tries,
		.done = as->bad || same_trial ? done : 0,
	};
}

/* Sets both generations: the primary's is the higher one if the other might be taken for it. */
static int generations(const struct listing *listing, const struct boot_state *state,
	uint32_t ret[static GROUP_COUNT], struct err *err)
{
	enum group first = state->primary, second = group_other(first);
	bool rival = listed(&state->group[second]) && !state->group[second].bad;
	uint32_t highest = 0;

	for (size_t i = 0; i < listing->count; i++)
		if (listing->found[i].entry.generation > highest)
			highest = listing->found[i].entry.generation;
	if (highest >= SYSTEMD_BOOT_GENERATION_MAX - GROUP_COUNT)
		return err_set(err, FAIL_BOOT,
			"an entry has the generation %" PRIu32 ": give both lower ones by hand",
			highest);
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		ret[g] = listing->first[g] ? listing->first[g]->entry.generation : 0;
	if (!ret[second] && listed(&state->group[second]))
		ret[second] = ++highest;
	/* A new trial is a new entry: what is left of an older one never gets in its way. */
	if (!ret[first] || (rival && ret[first] < ret[second]) ||
		(state->group[first].tries && listing->first[first] &&
			group_of(listing->first[first]).tries != state->group[first].tries))
		ret[first] = ++highest;
	return 0;
}

/* The state that our names can say and that boots the same: what is not listed is not primary. */
static int normalize(const struct boot_state *state, struct boot_state *ret, struct err *err)
{
	*ret = *state;
	if (!listed(&state->group[GROUP_A]) && !listed(&state->group[GROUP_B]))
		return err_set(err, FAIL_BOOT, "that would leave no group to boot");
	if (!listed(&state->group[state->primary]) &&
		!state->group[group_other(state->primary)].bad)
		ret->primary = group_other(state->primary);
	return 0;
}

static int commit_listed(const struct systemd_boot *sb, const struct listing *listing,
	const struct boot_state *state, struct err *err)
{
	struct wanted wanted[GROUP_COUNT];
	uint32_t generation[GROUP_COUNT];
	const enum group order[] = {state->primary, group_other(state->primary)};
	char path[PATH_MAX];

	if (generations(listing, state, generation, err) < 0 ||
		listing_path(sb->directory, LISTING_ENTRIES, ".", path, err) < 0)
		return -1;
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		want_group(listing, state, g, generation[g], &wanted[g]);
	/* Each edge of updater/state.h changes one group. Other changes come in this order, and a
	 * cut between the two leaves the first. */
	for (unsigned int i = 0; i < GROUP_COUNT; i++)
		if (bring_group(sb, listing, order[i], &wanted[order[i]], err) < 0)
			return -1;
	if (listing->unfinished && take_away_unfinished(sb, err) < 0)
		return -1;
	/* Also if there was nothing to do: whoever did it may have died before its flush. */
	return fs_sync_parent(path, err);
}

static int systemd_boot_commit(
	struct bootloader *bl, const struct boot_state *state, struct err *err)
{
	const struct systemd_boot *sb = systemd_boot(bl);
	struct boot_state wanted;
	struct listing listing;

	assert(state->group[GROUP_A].tries <= BOOT_TRIES_MAX &&
		state->group[GROUP_B].tries <= BOOT_TRIES_MAX);
	if (listing_make(sb->directory, &listing, err) < 0)
		return -1;
	if (normalize(state, &wanted, err) < 0 || commit_listed(sb, &listing, &wanted, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "systemd-boot");
	return 0;
}

static void systemd_boot_free(struct bootloader *bl)
{
	free(systemd_boot(bl)->directory);
	free(systemd_boot(bl));
}

static const struct bootloader_ops OPS = {
	.name = "systemd-boot",
	.read = systemd_boot_read,
	.commit = systemd_boot_commit,
	.free = systemd_boot_free,
};

int systemd_boot_open(const char *directory, struct bootloader **ret, struct err *err)
{
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(struct systemd_boot), &p, err) < 0)
		return -1;
	bl = p;
	bl->ops = &OPS;
	if (mem_strdup(directory, &systemd_boot(bl)->directory, err) < 0)
		return -1;
	*ret = steal_ptr(&bl);
	return 0;
}
