/* systemd-boot: names, their order, and every step of every change as a power cut may leave it. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "bootloader-hooks/model.h"
#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/state.h"

#define NAMES_MAX 24

static const bool ALL[GROUP_COUNT] = {true, true}; /* kernels load */

static const struct boot_group GOOD = {.good = true};
static const struct boot_group BAD = {.bad = true};
static const struct boot_group NONE = {.good = false};
static const struct boot_group TRIAL = {.tries = 3};

static struct boot_state boot_of(struct boot_group a, struct boot_group b, enum group primary)
{
	return (struct boot_state){.group = {a, b}, .primary = primary};
}

/* ---- names ---- */

static void test_name__every_form_there_and_back(void **state)
{
	static const struct {
		const char *name;
		struct systemd_boot_entry entry;
	} CASES[] = {
		{"abide-a-1.conf", {GROUP_A, 1, false, false, 0, 0}},
		{"abide-b-7+3.conf", {GROUP_B, 7, false, true, 3, 0}},
		{"abide-b-7+2-1.conf", {GROUP_B, 7, false, true, 2, 1}},
		{"abide-b-7+0-3.conf", {GROUP_B, 7, false, true, 0, 3}},
		{"abide-a-12-reverted+0.conf", {GROUP_A, 12, true, true, 0, 0}},
		{"abide-a-999999999-reverted+0-999999999.conf",
			{GROUP_A, 999999999, true, true, 0, 999999999}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct systemd_boot_entry entry;
		char name[SYSTEMD_BOOT_NAME_MAX];

		assert_int_equal(systemd_boot_parse(CASES[i].name, &entry), SYSTEMD_BOOT_ENTRY);
		assert_int_equal(systemd_boot_compare(&entry, &CASES[i].entry), 0);
		assert_int_equal(entry.done, CASES[i].entry.done);
		systemd_boot_format(&entry, name);
		assert_string_equal(name, CASES[i].name);
	}
}

static void test_name__what_systemd_boot_would_take_and_abide_does_not_write(void **state)
{
	static const char *const NAMES[] = {"abide-.conf", "abide-c-1.conf", "abide-a.conf",
		"abide-a-.conf", "abide-a-01.conf", "abide-a-1000000000.conf", "abide-a-1+.conf",
		"abide-a-1+x.conf", "abide-a-1+3-.conf", "abide-a-1+3-1-1.conf",
		"abide-a-1+10.conf", "abide-a-1+99999999999999999999.conf",
		"abide-a-1-reverted.conf", "abide-a-1-reverted+1.conf", "abide-a-1+3+2.conf",
		"abide-a-1+-3.conf", "abide-a--1.conf", "abide-a-1 .conf", "ABIDE-A-X.CONF",
		"abide-a-1+3xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.conf"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		struct systemd_boot_entry entry;

		if (systemd_boot_parse(NAMES[i], &entry) != SYSTEMD_BOOT_WRONG)
			fail_msg("'%s'", NAMES[i]);
	}
}

static void test_name__others_are_passed_over(void **state)
{
	struct systemd_boot_entry entry;

	(void)state;
	assert_int_equal(systemd_boot_parse("debian.conf", &entry), SYSTEMD_BOOT_FOREIGN);
	assert_int_equal(systemd_boot_parse("abide", &entry), SYSTEMD_BOOT_FOREIGN);
	assert_int_equal(systemd_boot_parse("abide-a-1.conf.bak", &entry), SYSTEMD_BOOT_FOREIGN);
	assert_int_equal(systemd_boot_parse("abide-~1.con", &entry), SYSTEMD_BOOT_FOREIGN);
	assert_int_equal(
		systemd_boot_parse("abide-a-1+3.conf.new", &entry), SYSTEMD_BOOT_UNFINISHED);
	/* FAT knows no case. */
	assert_int_equal(systemd_boot_parse("ABIDE-B-2+3.CONF", &entry), SYSTEMD_BOOT_ENTRY);
}

static void test_order__without_tries_last_then_the_newest(void **state)
{
	static const char *const SORTED[] = {"abide-a-9+1.conf", "abide-b-8.conf",
		"abide-b-8+1.conf", "abide-b-8+3.conf", "abide-a-8.conf", "abide-a-1.conf",
		"abide-b-20+0-1.conf", "abide-b-20-reverted+0.conf", "abide-a-19+0-3.conf"};
	/* More tries left first, of one group and generation. */
	static const size_t PLACE[] = {0, 1, 3, 2, 4, 5, 6, 7, 8};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(SORTED); i++) {
		for (size_t k = 0; k < ARRAY_LEN(SORTED); k++) {
			struct systemd_boot_entry a, b;
			int order;

			assert_int_equal(
				systemd_boot_parse(SORTED[PLACE[i]], &a), SYSTEMD_BOOT_ENTRY);
			assert_int_equal(
				systemd_boot_parse(SORTED[PLACE[k]], &b), SYSTEMD_BOOT_ENTRY);
			order = systemd_boot_compare(&a, &b);
			if ((order > 0) - (order < 0) != (i > k) - (i < k))
				fail_msg("'%s' and '%s': %d", SORTED[PLACE[i]], SORTED[PLACE[k]],
					order);
		}
	}
}

/* ---- a partition that a directory plays ---- */

struct esp {
	struct scratch *scratch;
	const char *dir;
	struct bootloader *bl;
};

static void put(const struct esp *esp, const char *name, const char *text)
{
	char path[PATH_MAX];
	struct err err = {0};

	assert_int_equal(fs_join(esp->dir, name, path, sizeof(path), &err), 0);
	if (fs_replace_file(path, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

static void put_template(const struct esp *esp, const char *group)
{
	char name[32], text[256];

	(void)snprintf(name, sizeof(name), "abide/%s.conf", group);
	(void)snprintf(text, sizeof(text),
		"# of a test\ntitle group %s\nefi /abide/boot-%s.efi\n"
		"options abide.group=%s root=PARTLABEL=rootfs-%s\n",
		group, group, group, group);
	put(esp, name, text);
	(void)snprintf(name, sizeof(name), "abide/boot-%s.efi", group);
	put(esp, name, "MZ");
}

static void put_entry(const struct esp *esp, const char *name)
{
	char path[PATH_MAX], text[256];
	struct systemd_boot_entry entry;

	assert_int_equal(systemd_boot_parse(name, &entry), SYSTEMD_BOOT_ENTRY);
	(void)snprintf(path, sizeof(path), "loader/entries/%s", name);
	(void)snprintf(text, sizeof(text), "sort-key abide\nversion %u\nefi /abide/boot-%s.efi\n",
		entry.generation, group_name(entry.group));
	put(esp, path, text);
}

static void empty_entries(const struct esp *esp)
{
	char path[PATH_MAX], file[PATH_MAX * 2];
	const struct dirent *dirent;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/loader/entries", esp->dir);
	dir = opendir(path);
	assert_non_null(dir);
	while ((dirent = readdir(dir))) {
		(void)snprintf(file, sizeof(file), "%s/%s", path, dirent->d_name);
		if (dirent->d_name[0] != '.')
			assert_int_equal(unlink(file), 0);
	}
	(void)closedir(dir);
}

static struct esp esp_open(struct scratch *scratch)
{
	struct esp esp = {.scratch = scratch, .dir = scratch_path(scratch, "esp")};
	static const char *const DIRS[] = {"/loader/entries", "/abide", "/EFI/Linux"};
	struct err err = {0};
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(DIRS); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", esp.dir, DIRS[i]);
		assert_int_equal(fs_make_dirs(path, 0755, &err), 0);
	}
	put_template(&esp, "a");
	put_template(&esp, "b");
	put(&esp, "loader/loader.conf", "timeout 0\ndefault abide-*\n");
	assert_int_equal(systemd_boot_open(esp.dir, &esp.bl, &err), 0);
	return esp;
}

static struct boot_state must_read(const struct esp *esp)
{
	struct boot_state boot;
	struct err err = {0};

	if (bootloader_read(esp->bl, &boot, &err) < 0)
		fail_msg("%s", err.msg);
	return boot;
}

static void must_commit(const struct esp *esp, const struct boot_state *boot)
{
	struct err err = {0};

	if (bootloader_commit(esp->bl, boot, &err) < 0)
		fail_msg("%s", err.msg);
}

static void refuses(const struct esp *esp, const struct boot_state *boot, const char *says)
{
	struct err err = {0};

	assert_int_equal(bootloader_commit(esp->bl, boot, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, says))
		fail_msg("'%s' does not say '%s'", err.msg, says);
}

static void does_not_read(const struct esp *esp, const char *says)
{
	struct boot_state boot;
	struct err err = {0};

	assert_int_equal(bootloader_read(esp->bl, &boot, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, says))
		fail_msg("'%s' does not say '%s'", err.msg, says);
}

/* ---- what lies in loader/entries ---- */

struct names {
	size_t count;
	char name[NAMES_MAX][SYSTEMD_BOOT_NAME_MAX];
	char text[NAMES_MAX][256];
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void names_of(const struct esp *esp, struct names *ret)
{
	char path[PATH_MAX], file[PATH_MAX * 2];
	const struct dirent *dirent;
	DIR *dir;

	*ret = (struct names){0};
	(void)snprintf(path, sizeof(path), "%s/loader/entries", esp->dir);
	dir = opendir(path);
	assert_non_null(dir);
	while ((dirent = readdir(dir))) {
		if (dirent->d_name[0] == '.')
			continue;
		assert_true(ret->count < NAMES_MAX);
		(void)snprintf(
			ret->name[ret->count++], SYSTEMD_BOOT_NAME_MAX, "%.63s", dirent->d_name);
	}
	(void)closedir(dir);
	qsort(ret->name, ret->count, SYSTEMD_BOOT_NAME_MAX, compare_names);
	for (size_t i = 0; i < ret->count; i++) {
		CLEANUP(bytes_finish) struct bytes text = {0};
		struct err err;

		(void)snprintf(file, sizeof(file), "%s/%s", path, ret->name[i]);
		assert_int_equal(fs_read_file(file, 255, &text, &err), 0);
		(void)snprintf(ret->text[i], sizeof(ret->text[i]), "%s", (char *)text.data);
	}
}

static void put_names(const struct esp *esp, const struct names *names)
{
	empty_entries(esp);
	for (size_t i = 0; i < names->count; i++) {
		char name[SYSTEMD_BOOT_NAME_MAX + 32];

		(void)snprintf(name, sizeof(name), "loader/entries/%s", names->name[i]);
		put(esp, name, names->text[i]);
	}
}

static bool has_name(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->name[i], name) == 0)
			return true;
	return false;
}

/* As systemd-boot sees the directory: what names a loader is an entry. */
static bool boots(const struct names *names, enum group *ret)
{
	struct systemd_boot_entry first, entry;
	bool found = false;

	for (size_t i = 0; i < names->count; i++) {
		if (systemd_boot_parse(names->name[i], &entry) != SYSTEMD_BOOT_ENTRY ||
			!strstr(names->text[i], "\nefi "))
			continue;
		if (!found || systemd_boot_compare(&entry, &first) < 0)
			first = entry;
		found = true;
	}
	if (found)
		*ret = first.group;
	return found;
}

/* ---- every edge, every cut ---- */

static const struct {
	const char *what;
	struct boot_state (*edge)(const struct boot_state *boot, enum group group);
	bool other; /* the group that does not run, else the one that does */
} EDGES[] = {
	{"disarm", edge_disarm, true},
	{"forget_bad", edge_forget_bad, true},
	{"activate_good", edge_activate_good, true},
	{"deactivate", edge_deactivate, false},
	{"confirm", edge_confirm, false},
	{"revert", edge_revert, false},
};

static struct boot_state apply(size_t edge, const struct boot_state *boot, enum group booted)
{
	if (edge == ARRAY_LEN(EDGES))
		return edge_flip(boot, group_other(booted), 3);
	return EDGES[edge].edge(boot, EDGES[edge].other ? group_other(booted) : booted);
}

struct cuts {
	unsigned int old, new, states;
};

/* What a cut may leave must be the old state or the new one, for abide and for systemd-boot, and
 * the same commit again must bring it to the new one. */
static void check_cut(const struct esp *esp, const struct names *left, const struct names *after,
	const struct boot_state *old, const struct boot_state *new, struct cuts *cuts)
{
	struct boot_state found, modelled;
	struct names now;
	enum group said = GROUP_A, booted = GROUP_A;

	put_names(esp, left);
	found = must_read(esp);
	if (boot_state_equal(&found, old))
		cuts->old++;
	else if (boot_state_equal(&found, new))
		cuts->new ++;
	else
		fail_msg("a mix");
	modelled = found;
	assert_true(boots(left, &booted));
	assert_true(systemd_boot_model_start(&modelled, ALL, &said));
	assert_int_equal(said, booted);
	must_commit(esp, new);
	names_of(esp, &now);
	assert_int_equal(now.count, after->count);
	found = must_read(esp);
	assert_true(boot_state_equal(&found, new));
	assert_string_equal(esp->bl->note, "");
	cuts->states++;
}

static void add_name(struct names *names, const char *name, const char *text)
{
	(void)snprintf(names->name[names->count], SYSTEMD_BOOT_NAME_MAX, "%.63s", name);
	(void)snprintf(names->text[names->count], sizeof(names->text[0]), "%.255s", text);
	names->count++;
}

/* The new name as it is until its last byte is written: its loader is a comment. */
static void add_covered(struct names *names, const char *name, const char *text)
{
	char covered[256];

	(void)snprintf(covered, sizeof(covered), "%s", text);
	strstr(covered, "\nefi ")[1] = '#';
	add_name(names, name, covered);
}

/* From the names before and after: the new one as .new, with and without its text, beside it, alone;
 * then without the old ones. FAT may leave each of these, and fsck.fat empties one of two that share
 * their text. */
static void check_cuts(const struct esp *esp, const struct names *before, const struct names *after,
	const struct boot_state *old, const struct boot_state *new, struct cuts *cuts)
{
	const char *added = NULL, *text = "";
	unsigned int count = 0, gone = 0;
	struct names left = *before;
	char unfinished[SYSTEMD_BOOT_NAME_MAX];

	for (size_t i = 0; i < after->count; i++) {
		if (has_name(before, after->name[i]))
			continue;
		added = after->name[i];
		text = after->text[i];
		count++;
	}
	for (size_t i = 0; i < before->count; i++)
		gone += !has_name(after, before->name[i]);
	/* The point of it all: one name comes, one goes. */
	assert_true(count <= 1 && gone <= 1);
	check_cut(esp, before, after, old, new, cuts);
	check_cut(esp, after, after, old, new, cuts);
	if (!added)
		return;
	(void)snprintf(unfinished, sizeof(unfinished), "%.50s.new", added);
	add_name(&left, unfinished, "");
	check_cut(esp, &left, after, old, new, cuts);
	left = *before;
	add_covered(&left, unfinished, text);
	check_cut(esp, &left, after, old, new, cuts);
	add_name(&left, added, "");
	check_cut(esp, &left, after, old, new, cuts);
	left = *before;
	add_name(&left, added, "");
	check_cut(esp, &left, after, old, new, cuts);
	left = *before;
	add_covered(&left, added, text);
	check_cut(esp, &left, after, old, new, cuts);
	add_covered(&left, unfinished, text);
	check_cut(esp, &left, after, old, new, cuts);
	left = *before;
	add_name(&left, added, text);
	check_cut(esp, &left, after, old, new, cuts);
	add_name(&left, unfinished, text);
	check_cut(esp, &left, after, old, new, cuts);
}

static void test_commit__each_edge_is_one_step_wherever_it_is_cut(void **state)
{
	struct esp esp = esp_open(*state);
	struct cuts cuts = {0};
	const struct boot_state starts[] = {
		boot_of(GOOD, NONE, GROUP_A), /* fresh */
		boot_of(GOOD, TRIAL, GROUP_B), /* activated, or on its first try */
		boot_of(GOOD, BAD, GROUP_B), /* on its last try, or used up */
		boot_of(GOOD, BAD, GROUP_A), /* reverted */
		boot_of(GOOD, GOOD, GROUP_B), /* confirmed */
		boot_of(GOOD, GOOD, GROUP_A),
	};

	for (size_t s = 0; s < ARRAY_LEN(starts); s++) {
		for (unsigned int i = 0; i < 2 * (ARRAY_LEN(EDGES) + 1); i++) {
			enum group booted = (enum group)(i % 2);
			struct boot_state new = apply(i / 2, &starts[s], booted);
			struct names before, after;
			struct boot_state found;
			enum group ignored;

			/* Nobody reverts to, or disarms beside, what is not good. */
			if (!new.group[GROUP_A].good && !new.group[GROUP_B].good)
				continue;
			if (!boot_model_next(&new, &ignored))
				continue;
			if (!starts[s].group[booted].good && booted != starts[s].primary)
				continue;
			empty_entries(&esp);
			put_entry(&esp, "abide-a-4.conf");
			must_commit(&esp, &starts[s]);
			names_of(&esp, &before);
			must_commit(&esp, &new);
			names_of(&esp, &after);
			found = must_read(&esp);
			if (!boot_state_equal(&found, &new) &&
				!(new.group[new.primary].good == false &&
					!new.group[new.primary]
							.bad &&new.group[new.primary]
							.tries == 0))
				fail_msg("start %zu, edge %u: not what was asked for", s, i / 2);
			new = found;
			check_cuts(&esp, &before, &after, &starts[s], &new, &cuts);
		}
	}
	assert_true(cuts.old > 50 && cuts.new > 50);
	print_message("%u states: %u old, %u new\n", cuts.states, cuts.old, cuts.new);
	bootloader_close(&esp.bl);
}

static void test_commit__an_update_from_factory_to_confirmed_and_back(void **state)
{
	struct esp esp = esp_open(*state);
	struct boot_state boot;
	struct names names;

	put_entry(&esp, "abide-a-1.conf");
	boot = must_read(&esp);
	boot = edge_disarm(&boot, GROUP_B);
	must_commit(&esp, &boot);
	boot = edge_flip(&boot, GROUP_B, 3);
	must_commit(&esp, &boot);
	names_of(&esp, &names);
	assert_int_equal(names.count, 2);
	assert_true(has_name(&names, "abide-b-2+3.conf"));
	assert_string_equal(names.text[1],
		"sort-key abide\nversion 2\n# of a test\ntitle group b\nefi /abide/boot-b.efi\n"
		"options abide.group=b root=PARTLABEL=rootfs-b\n");
	/* systemd-boot starts it. */
	empty_entries(&esp);
	put_entry(&esp, "abide-a-1.conf");
	put_entry(&esp, "abide-b-2+2-1.conf");
	boot = must_read(&esp);
	assert_int_equal(boot.group[GROUP_B].tries, 2);
	boot = edge_confirm(&boot, GROUP_B);
	must_commit(&esp, &boot);
	names_of(&esp, &names);
	assert_true(has_name(&names, "abide-b-2.conf") && names.count == 2);
	/* The next one goes into a. */
	boot = edge_disarm(&boot, GROUP_A);
	must_commit(&esp, &boot);
	names_of(&esp, &names);
	assert_true(has_name(&names, "abide-b-2.conf") && names.count == 1);
	boot = edge_flip(&boot, GROUP_A, 1);
	must_commit(&esp, &boot);
	names_of(&esp, &names);
	assert_true(has_name(&names, "abide-a-3+1.conf") && names.count == 2);
	/* systemd-boot counts, its check fails, it is given up. */
	empty_entries(&esp);
	put_entry(&esp, "abide-b-2.conf");
	put_entry(&esp, "abide-a-3+0-1.conf");
	boot = must_read(&esp);
	assert_true(boot.group[GROUP_A].bad && boot.primary == GROUP_A);
	boot = edge_revert(&boot, GROUP_A);
	must_commit(&esp, &boot);
	names_of(&esp, &names);
	assert_true(has_name(&names, "abide-a-3-reverted+0-1.conf") && names.count == 2);
	boot = must_read(&esp);
	assert_true(boot.group[GROUP_A].bad && boot.primary == GROUP_B);
	bootloader_close(&esp.bl);
}

static void test_commit__every_state_there_and_back(void **state)
{
	static const struct boot_group KINDS[] = {{.good = true}, {.bad = true}, {.tries = 1},
		{.tries = BOOT_TRIES_MAX}, {.tries = 0}};
	struct esp esp = esp_open(*state);

	for (unsigned int from = 0; from < 50; from++) {
		for (unsigned int to = 0; to < 50; to++) {
			const struct boot_state start = boot_of(
				KINDS[from % 5], KINDS[from / 5 % 5], (enum group)(from / 25));
			struct boot_state wanted =
				boot_of(KINDS[to % 5], KINDS[to / 5 % 5], (enum group)(to / 25));
			struct boot_state found;

			if (from % 5 + from / 5 % 5 == 8 || to % 5 + to / 5 % 5 == 8)
				continue; /* no group at all */
			empty_entries(&esp);
			must_commit(&esp, &start);
			must_commit(&esp, &wanted);
			found = must_read(&esp);
			/* A primary that is not listed is none, except beside a reverted one. */
			if (boot_state_equal(&found, &wanted))
				continue;
			wanted.primary = group_other(wanted.primary);
			if (!boot_state_equal(&found, &wanted))
				fail_msg("from %u to %u", from, to);
		}
	}
	bootloader_close(&esp.bl);
}

static void test_commit__what_is_there_is_not_written(void **state)
{
	struct esp esp = esp_open(*state);
	struct boot_state boot;
	struct stat before, after;

	put_entry(&esp, "abide-a-1.conf");
	put_entry(&esp, "abide-b-2+2-1.conf");
	assert_int_equal(stat(scratch_path(*state, "esp/loader/entries"), &before), 0);
	boot = must_read(&esp);
	must_commit(&esp, &boot);
	assert_int_equal(stat(scratch_path(*state, "esp/loader/entries"), &after), 0);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	bootloader_close(&esp.bl);
}

/* ---- what is wrong, and what is said of it ---- */

static void test_read__leftovers_are_told_and_healed(void **state)
{
	static const struct {
		const char *name; /* beside abide-a-1.conf and abide-b-2+2-1.conf */
		const char *says;
		uint32_t tries;
		bool good;
	} CASES[] = {
		{"abide-b-2+1-2.conf", "'abide-b-2+1-2.conf' is left over", 2, false},
		{"abide-b-2.conf", "'abide-b-2+2-1.conf' is left over", 0, true},
		{"abide-b-1+0-3.conf", "'abide-b-1+0-3.conf' is left over", 2, false},
		{"abide-b-2+3.conf.new", "cut off before it counted", 2, false},
	};
	struct esp esp = esp_open(*state);

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		char name[SYSTEMD_BOOT_NAME_MAX + 32];
		struct boot_state boot, found;

		empty_entries(&esp);
		put_entry(&esp, "abide-a-1.conf");
		put_entry(&esp, "abide-b-2+2-1.conf");
		(void)snprintf(name, sizeof(name), "loader/entries/%s", CASES[i].name);
		if (strstr(name, ".new"))
			put(&esp, name, "");
		else
			put_entry(&esp, CASES[i].name);
		boot = must_read(&esp);
		if (!strstr(esp.bl->note, CASES[i].says))
			fail_msg("'%s' does not say '%s'", esp.bl->note, CASES[i].says);
		assert_int_equal(boot.group[GROUP_B].tries, CASES[i].tries);
		assert_int_equal(boot.group[GROUP_B].good, CASES[i].good);
		must_commit(&esp, &boot);
		found = must_read(&esp);
		assert_true(boot_state_equal(&found, &boot));
		assert_string_equal(esp.bl->note, "");
	}
	bootloader_close(&esp.bl);
}

static void test_read__an_entry_that_starts_nothing_is_none(void **state)
{
	struct esp esp = esp_open(*state);
	struct boot_state boot;

	put_entry(&esp, "abide-a-1.conf");
	put(&esp, "loader/entries/abide-b-2.conf", "");
	boot = must_read(&esp);
	assert_false(boot.group[GROUP_B].good);
	assert_non_null(strstr(esp.bl->note, "neither 'efi' nor 'linux'"));
	put(&esp, "loader/entries/abide-b-2.conf",
		"sort-key abide\nversion 2\nlinux /abide/none\n");
	boot = must_read(&esp);
	assert_false(boot.group[GROUP_B].good);
	assert_non_null(strstr(esp.bl->note, "No such file"));
	must_commit(&esp, &boot);
	assert_int_equal(
		access(scratch_path(*state, "esp/loader/entries/abide-b-2.conf"), F_OK), -1);
	bootloader_close(&esp.bl);
}

static void test_read__what_cannot_be_told_is_refused(void **state)
{
	static const struct {
		const char *name, *text, *says;
	} CASES[] = {
		{"loader/entries/abide-b-2+x.conf", "", "'abide-b-2+x.conf'|abide does not write"},
		{"loader/entries/abide-b-2+12.conf", "", "LEFT at most 9"},
		{"loader/entries/abide-b-2.conf", "efi /abide/boot-b.efi\n", "'version 2'"},
		{"loader/entries/abide-b-2.conf",
			"efi /abide/boot-b.efi\nsort-key abide\nversion 3\n", "'version 2'"},
		{"loader/entries/abide-b-2.conf",
			"efi /abide/boot-b.efi\nsort-key other\nversion 2\n", "sort-key abide"},
		{"loader/entries/abide-b-2.conf",
			"efi /abide/boot-b.efi\nsort-key abide\nversion 2\nmachine-id 1\n",
			"machine-id"},
		{"loader/loader.conf", "default abide-b*\n",
			"default abide-b*|boots past the counting"},
		{"loader/loader.conf", "default @saved\n", "boots past the counting"},
		{"loader/loader.conf", "default abide-a-1.conf\n", "write 'default abide-*'"},
		{"EFI/Linux/other.efi", "", NULL},
	};
	struct esp esp = esp_open(*state);
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		const struct boot_state want = boot_of(GOOD, TRIAL, GROUP_B);
		char path[PATH_MAX];
		const char *says = CASES[i].says;

		put_entry(&esp, "abide-a-1.conf");
		put(&esp, CASES[i].name, CASES[i].text);
		if (!says) { /* pinned: no harm */
			(void)must_read(&esp);
			put(&esp, "loader/loader.conf", "timeout 0\n");
			says = "entries of others";
		}
		if (strchr(says, '|'))
			says = strchr(says, '|') + 1;
		does_not_read(&esp, says);
		refuses(&esp, &want, says);
		assert_int_equal(fs_join(esp.dir, CASES[i].name, path, sizeof(path), &err), 0);
		assert_int_equal(unlink(path), 0);
		put(&esp, "loader/loader.conf", "timeout 0\ndefault abide-*\n");
	}
	empty_entries(&esp);
	does_not_read(&esp, "no entry of either group");
	bootloader_close(&esp.bl);
}

static void test_read__a_directory_without_a_partition_on_it(void **state)
{
	struct esp esp = {.scratch = *state, .dir = scratch_path(*state, "none")};
	struct err err;

	assert_int_equal(systemd_boot_open(esp.dir, &esp.bl, &err), 0);
	does_not_read(&esp, "mounted there?");
	assert_int_equal(mkdir(esp.dir, 0755), 0);
	does_not_read(&esp, "mounted there?");
	bootloader_close(&esp.bl);
}

static void test_commit__template_missing_or_wrong_leaves_the_old_state(void **state)
{
	static const struct {
		const char *text; /* of abide/b.conf; NULL: none */
		const char *says;
	} CASES[] = {
		{NULL, "abide/b.conf"},
		{"", "neither 'efi' nor 'linux'"},
		{"efi /abide/none.efi\n", "abide/none.efi"},
		{"efi /abide/boot-b.efi\ninitrd /abide/none.img\n", "abide/none.img"},
		{"efi /abide/boot-b.efi\nlinux /abide/boot-b.efi\n", "has 2 lines 'efi' or"},
		{"efi /abide/boot-b.efi\nversion 9\n", "has 'version'"},
		{"efi /abide/boot-b.efi\nsort-key x\n", "has 'sort-key'"},
		{"efi /abide/boot-b.efi\noptions quiet abide.group=a ro\n",
			"is for group b and says 'abide.group=a'"},
	};
	struct esp esp = esp_open(*state);
	const struct boot_state fresh = boot_of(GOOD, NONE, GROUP_A);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	struct names before, after;

	put_entry(&esp, "abide-a-1.conf");
	names_of(&esp, &before);
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct boot_state found;

		if (CASES[i].text)
			put(&esp, "abide/b.conf", CASES[i].text);
		else
			assert_int_equal(unlink(scratch_path(*state, "esp/abide/b.conf")), 0);
		refuses(&esp, &flipped, CASES[i].says);
		names_of(&esp, &after);
		assert_memory_equal(&before, &after, sizeof(before));
		found = must_read(&esp);
		assert_true(boot_state_equal(&found, &fresh));
	}
	bootloader_close(&esp.bl);
}

/* A tmpfs of few pages plays a full or a read-only partition: it needs root. */
static void mount_small(const struct esp *esp, const char *options)
{
	if (mount("abide-test", scratch_path(esp->scratch, "esp/loader/entries"), "tmpfs", 0,
		    options) < 0) {
		print_message("no tmpfs to mount here: %s\n", strerror(errno));
		skip();
	}
}

static int unmount_small(void **state)
{
	struct scratch *scratch = *state;

	(void)umount(scratch_path(scratch, "esp/loader/entries")); /* not each test mounted it */
	return scratch_teardown(state);
}

static void test_commit__full_partition(void **state)
{
	struct esp esp = esp_open(*state);
	const struct boot_state fresh = boot_of(GOOD, NONE, GROUP_A);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	const struct boot_state tried = boot_of(GOOD, (struct boot_group){.tries = 2}, GROUP_B);
	const struct boot_state confirmed = boot_of(GOOD, GOOD, GROUP_B);
	const struct boot_state reverted = boot_of(GOOD, BAD, GROUP_A);
	struct boot_state found;
	struct names names;

	mount_small(&esp, "size=8k");
	put_entry(&esp, "abide-a-1.conf");
	put(&esp, "loader/entries/full", "x");
	refuses(&esp, &flipped, "No space left");
	found = must_read(&esp);
	assert_true(boot_state_equal(&found, &fresh));
	assert_string_equal(esp.bl->note, ""); /* and nothing half-made is left */
	/* On trial already: it can be confirmed, or reverted, all the same. */
	assert_int_equal(unlink(scratch_path(*state, "esp/loader/entries/full")), 0);
	put_entry(&esp, "abide-b-2+2-1.conf");
	found = must_read(&esp);
	assert_true(boot_state_equal(&found, &tried));
	must_commit(&esp, &confirmed);
	names_of(&esp, &names);
	assert_true(has_name(&names, "abide-b-2.conf") && names.count == 2);
	must_commit(&esp, &reverted);
	found = must_read(&esp);
	assert_true(boot_state_equal(&found, &reverted));
	bootloader_close(&esp.bl);
}

static void test_commit__read_only_partition(void **state)
{
	struct esp esp = esp_open(*state);
	const struct boot_state fresh = boot_of(GOOD, NONE, GROUP_A);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	struct boot_state found;

	mount_small(&esp, "size=64k");
	put_entry(&esp, "abide-a-1.conf");
	assert_int_equal(mount("abide-test", scratch_path(*state, "esp/loader/entries"), "tmpfs",
				 MS_REMOUNT | MS_RDONLY, "size=64k"),
		0);
	refuses(&esp, &flipped, "Read-only file system");
	found = must_read(&esp);
	assert_true(boot_state_equal(&found, &fresh));
	bootloader_close(&esp.bl);
}

/* ---- the model ---- */

static void test_model__a_good_group_is_before_any_without_tries(void **state)
{
	struct boot_state boot = boot_of(GOOD, TRIAL, GROUP_B), before;
	enum group booted;

	(void)state;
	for (unsigned int i = 3; i-- > 0;) {
		assert_true(systemd_boot_model_start(&boot, ALL, &booted));
		assert_int_equal(booted, GROUP_B);
		assert_int_equal(boot.group[GROUP_B].tries, i);
	}
	assert_true(boot.group[GROUP_B].bad);
	before = boot;
	assert_true(systemd_boot_model_start(&boot, ALL, &booted));
	assert_int_equal(booted, GROUP_A);
	assert_true(boot_state_equal(&boot, &before));
	boot = boot_of(NONE, BAD, GROUP_A);
	assert_true(systemd_boot_model_start(&boot, ALL, &booted));
	assert_int_equal(booted, GROUP_B);
	boot = boot_of(NONE, NONE, GROUP_A);
	assert_false(systemd_boot_model_start(&boot, ALL, &booted));
}

/* Where abide brings a device (one group is good), and every kernel loads, it is the one model. */
static void test_model__is_that_of_every_boot_side(void **state)
{
	static const struct boot_group KINDS[] = {{.good = true}, {.bad = true}, {.tries = 1},
		{.tries = BOOT_TRIES_MAX}, {.tries = 0}};
	unsigned int compared = 0;

	(void)state;
	for (unsigned int i = 0; i < 50; i++) {
		struct boot_state ours =
			boot_of(KINDS[i % 5], KINDS[i / 5 % 5], (enum group)(i / 25));
		struct boot_state theirs = ours;
		enum group a = GROUP_A, b = GROUP_A;

		if (ours.group[GROUP_A].bad && ours.group[GROUP_B].bad)
			continue; /* nothing good to go back to: see systemd_boot.h */
		assert_int_equal(systemd_boot_model_start(&ours, ALL, &a),
			boot_model_start(&theirs, ALL, &b));
		assert_int_equal(a, b);
		assert_true(boot_state_equal(&ours, &theirs));
		compared++;
	}
	assert_int_equal(compared, 48);
}

static void test_model__a_trial_that_does_not_load_has_used_its_try(void **state)
{
	static const bool ONLY_A[GROUP_COUNT] = {true, false};
	struct boot_state boot = boot_of(GOOD, (struct boot_group){.tries = 1}, GROUP_B);
	enum group booted = GROUP_A;

	(void)state;
	assert_false(systemd_boot_model_start(&boot, ONLY_A, &booted));
	assert_true(boot.group[GROUP_B].bad);
	assert_true(systemd_boot_model_start(&boot, ONLY_A, &booted));
	assert_int_equal(booted, GROUP_A);
	boot = boot_of(GOOD, GOOD, GROUP_B);
	assert_false(systemd_boot_model_start(&boot, ONLY_A, &booted)); /* not passed over */
}

#define ESP_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, unmount_small)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name__every_form_there_and_back),
		cmocka_unit_test(test_name__what_systemd_boot_would_take_and_abide_does_not_write),
		cmocka_unit_test(test_name__others_are_passed_over),
		cmocka_unit_test(test_order__without_tries_last_then_the_newest),
		ESP_TEST(test_commit__each_edge_is_one_step_wherever_it_is_cut),
		ESP_TEST(test_commit__an_update_from_factory_to_confirmed_and_back),
		ESP_TEST(test_commit__every_state_there_and_back),
		ESP_TEST(test_commit__what_is_there_is_not_written),
		ESP_TEST(test_read__leftovers_are_told_and_healed),
		ESP_TEST(test_read__an_entry_that_starts_nothing_is_none),
		ESP_TEST(test_read__what_cannot_be_told_is_refused),
		ESP_TEST(test_read__a_directory_without_a_partition_on_it),
		ESP_TEST(test_commit__template_missing_or_wrong_leaves_the_old_state),
		ESP_TEST(test_commit__full_partition),
		ESP_TEST(test_commit__read_only_partition),
		cmocka_unit_test(test_model__a_good_group_is_before_any_without_tries),
		cmocka_unit_test(test_model__is_that_of_every_boot_side),
		cmocka_unit_test(test_model__a_trial_that_does_not_load_has_used_its_try),
	};

	return cmocka_run_group_tests_name("systemd_boot", tests, NULL, NULL);
}
