/* efi: a directory plays efivarfs, and a few lines the firmware's boot manager. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "bootloader-hooks/efi/efi.h"
#include "bootloader-hooks/efi/manager.h"
#include "bootloader-hooks/efi/variables.h"
#include "bootloader-hooks/model.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/state.h"

#define OWN      "5f2a7c1e-8b3d-4e96-a1f0-3c7d9e52b684"
#define FALLBACK 1 /* the firmware's own entry, for EFI/BOOT/BOOTX64.EFI */

static const struct boot_group GOOD = {.good = true};
static const struct boot_group BAD = {.bad = true};
static const struct boot_group NONE = {.good = false};
static const struct boot_group TRIAL = {.tries = 1};
static const bool ALL[GROUP_COUNT] = {true, true};

static const struct efi_partition PARTITION = {
	.number = 1, .start = 2048, .count = 131072, .guid = {1, 2, 3, 4, 5, 6, 7, 8, 9}};

static struct boot_state boot_of(struct boot_group a, struct boot_group b, enum group primary)
{
	return (struct boot_state){.group = {a, b}, .primary = primary};
}

/* ---- a firmware ---- */

struct machine {
	struct scratch *scratch;
	const char *esp, *variables;
	enum group booted;
	struct bootloader *bl;
	bool lies; /* takes BootNext, and boots the order */
	bool deaf; /* does not even look at it */
};

static void put_file(const char *dir, const char *name, const void *data, size_t len)
{
	char path[PATH_MAX];
	struct err err = {0};

	assert_int_equal(fs_join(dir, name, path, sizeof(path), &err), 0);
	if (fs_replace_file(path, data, len, 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

static void put_variable(
	const struct machine *m, const char *name, const char *guid, const void *data, size_t len)
{
	uint8_t raw[512] = {7};
	char file[128];

	memcpy(raw + 4, data, len);
	(void)snprintf(file, sizeof(file), "%s-%s", name, guid);
	put_file(m->variables, file, raw, len + 4);
}

static void put_number(const struct machine *m, const char *name, uint16_t number)
{
	uint8_t raw[2];

	le16_put(raw, number);
	put_variable(m, name, EFI_GLOBAL, raw, 2);
}

static struct bytes get_variable(const struct machine *m, const char *name, const char *guid)
{
	struct bytes value = {0};
	struct err err = {0};
	bool there;

	if (variable_read(m->variables, name, guid, &there, &value, &err) < 0)
		fail_msg("%s", err.msg);
	return value;
}

/* Which group an entry starts, by the command line in it; false: none of ours. */
static bool entry_group(const struct machine *m, uint16_t number, enum group *ret)
{
	char name[16], text[512] = "";
	struct bytes option;
	size_t n = 0;

	(void)snprintf(name, sizeof(name), "Boot%04X", number);
	option = get_variable(m, name, EFI_GLOBAL);
	for (size_t i = 0; i < option.len && n + 1 < sizeof(text); i++)
		if (option.data[i])
			text[n++] = (char)option.data[i];
	bytes_finish(&option);
	if (!strstr(text, "abide.group="))
		return false;
	*ret = strstr(text, "abide.group=b") ? GROUP_B : GROUP_A;
	return true;
}

static void machine_open(struct machine *m)
{
	const struct efi_options options = {.esp = m->esp,
		.variables = m->variables,
		.booted = m->booted,
		.partition = &PARTITION};
	struct err err = {0};

	bootloader_close(&m->bl);
	assert_int_equal(efi_open(&options, &m->bl, &err), 0);
}

/* What abide asked for was asked in another boot than this one: the kernel's boot id stays the same
 * here, so the remembered one is changed. */
static void age_memory(const struct machine *m)
{
	struct bytes memory = get_variable(m, "AbideState", OWN);

	if (memory.len > 4) {
		memset(memory.data + 4, 0x5a, memory.len - 4);
		put_variable(m, "AbideState", OWN, memory.data, memory.len);
	}
	bytes_finish(&memory);
}

/* `loads`: of the groups. False: not even the fallback started one. */
static bool machine_boot(struct machine *m, const bool loads[static GROUP_COUNT])
{
	struct bytes order = get_variable(m, "BootOrder", EFI_GLOBAL);
	struct bytes next = get_variable(m, "BootNext", EFI_GLOBAL);
	uint16_t tried[64];
	size_t count = 0;
	bool started = false;
	struct err err = {0};

	age_memory(m);
	if (next.len == 2 && !m->lies && !m->deaf)
		tried[count++] = le16_get(next.data);
	if (next.len == 2 && !m->deaf)
		assert_int_equal(variable_remove(m->variables, "BootNext", EFI_GLOBAL, &err), 0);
	for (size_t i = 0; i < order.len / 2; i++)
		tried[count++] = le16_get(order.data + 2 * i);
	bytes_finish(&order);
	bytes_finish(&next);
	for (size_t i = 0; i < count && !started; i++) {
		enum group group = GROUP_A;

		if (!entry_group(m, tried[i], &group)) {
			if (tried[i] != FALLBACK || (!loads[GROUP_A] && !loads[GROUP_B]))
				continue;
			group = loads[GROUP_A] ? GROUP_A : GROUP_B; /* abide-start.efi */
		} else if (!loads[group]) {
			continue;
		}
		put_number(m, "BootCurrent", tried[i]);
		m->booted = group;
		started = true;
	}
	machine_open(m);
	return started;
}

static struct machine *machine_new(struct scratch *scratch)
{
	static const uint8_t ORDER[] = {0, 0, FALLBACK, 0};
	static struct machine machine;
	struct machine *m = &machine;
	struct err err = {0};

	*m = (struct machine){.scratch = scratch,
		.esp = scratch_path(scratch, "esp"),
		.variables = scratch_path(scratch, "efivars")};
	assert_int_equal(fs_make_dirs(scratch_path(scratch, "esp/abide"), 0755, &err), 0);
	assert_int_equal(fs_make_dirs(m->variables, 0755, &err), 0);
	put_file(m->esp, "abide/a.cmdline", "abide.group=a root=/dev/vda2\n", 29);
	put_file(m->esp, "abide/b.cmdline", "abide.group=b root=/dev/vda3\n", 29);
	put_file(m->esp, "abide/boot-a.efi", "MZ", 2);
	put_file(m->esp, "abide/boot-b.efi", "MZ", 2);
	put_variable(m, "Boot0000", EFI_GLOBAL, "\1\0\0\0\4\0U\0i\0\0\0\x7f\xff\4", 15);
	put_variable(m, "Boot0001", EFI_GLOBAL, "\1\0\0\0\4\0D\0i\0s\0k\0\0\0\x7f\xff\4", 19);
	put_variable(m, "BootOrder", EFI_GLOBAL, ORDER, sizeof(ORDER));
	put_number(m, "BootCurrent", FALLBACK);
	machine_open(m);
	return m;
}

static struct boot_state must_read(const struct machine *m)
{
	struct boot_state boot;
	struct err err = {0};

	if (bootloader_read(m->bl, &boot, &err) < 0)
		fail_msg("%s", err.msg);
	return boot;
}

static void must_commit(const struct machine *m, const struct boot_state *boot)
{
	struct boot_state found;
	struct err err = {0};

	if (bootloader_commit(m->bl, boot, &err) < 0)
		fail_msg("%s", err.msg);
	found = must_read(m);
	assert_true(boot_state_equal(&found, boot));
}

static void refuses(const struct machine *m, const struct boot_state *boot, const char *says)
{
	struct err err = {0};

	assert_int_equal(bootloader_commit(m->bl, boot, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, says))
		fail_msg("'%s' does not say '%s'", err.msg, says);
}

static void does_not_read(const struct machine *m, const char *says)
{
	struct boot_state boot;
	struct err err = {0};

	assert_int_equal(bootloader_read(m->bl, &boot, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	if (!strstr(err.msg, says))
		fail_msg("'%s' does not say '%s'", err.msg, says);
}

static void notes(const struct machine *m, const char *says)
{
	(void)must_read(m);
	if (!strstr(m->bl->note, says) || (!*says && m->bl->note[0]))
		fail_msg("'%s' does not say '%s'", m->bl->note, says);
}

/* From the factory to entries of its own, BootNext proven: a device that runs since yesterday. */
static struct machine *machine_settled(struct scratch *scratch)
{
	struct machine *m = machine_new(scratch);
	struct boot_state boot = must_read(m);

	must_commit(m, &boot);
	assert_true(machine_boot(m, ALL));
	boot = must_read(m);
	must_commit(m, &boot);
	assert_true(machine_boot(m, ALL));
	notes(m, "");
	return m;
}

/* ---- load options ---- */

static void test_option__is_what_efibootmgr_makes(void **state)
{
	static const uint8_t HEAD[] = {1, 0, 0, 0, 84, 0, 'a', 0, 'b', 0, 'c', 0, 0, 0, 4, 1, 42, 0,
		1, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 2, 3};
	CLEANUP(bytes_finish) struct bytes option = {0};
	char description[EFI_DESCRIPTION_MAX], cmdline[2048];
	struct err err = {0};

	(void)state;
	assert_int_equal(
		efi_option_make("abc", &PARTITION, "/abide/x.efi", "q z", &option, &err), 0);
	/* 6 + 8 for the description, 42 + 4 + 26 + 4 the path, 8 the command line */
	assert_int_equal(option.len, 6 + 8 + 42 + 4 + 26 + 4 + 8);
	assert_int_equal(le16_get(option.data + 4), 42 + 4 + 26 + 4);
	assert_memory_equal(option.data + 6, HEAD + 6, sizeof(HEAD) - 6);
	assert_memory_equal(option.data + 56, "\4\4\36\0\\\0a\0b\0", 10);
	assert_memory_equal(option.data + option.len - 12, "\x7f\xff\4\0q\0 \0z\0\0\0", 12);
	assert_true(efi_option_description(&option, description));
	assert_string_equal(description, "abc");
	memset(cmdline, 'x', sizeof(cmdline) - 1);
	cmdline[sizeof(cmdline) - 1] = '\0';
	assert_int_equal(
		efi_option_make("abc", &PARTITION, "/a", cmdline, &(struct bytes){0}, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	option.len = 9;
	assert_false(efi_option_description(&option, description));
}

static void spoil(const char *path, off_t at, size_t len)
{
	static const char ZEROS[512];
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, ZEROS, len, at), len);
	assert_int_equal(close(fd), 0);
}

/* sfdisk's own words for a disk it made. */
static void test_partition__as_the_gpt_has_it(void **state)
{
	struct scratch *scratch = *state;
	const char *disk = scratch_file(scratch, "disk", 0);
	struct efi_partition found;
	char command[PATH_MAX * 2];
	struct err err = {0};

	assert_int_equal(truncate(disk, 8 << 20), 0);
	assert_int_equal(efi_partition_read(disk, 1, &found, &err), -1);
	assert_non_null(strstr(err.msg, "has no GPT"));
	(void)snprintf(command, sizeof(command),
		"printf 'label: "
		"gpt\\nstart=2048,size=2048,uuid=01020304-0506-0708-090A-0B0C0D0E0F10\\n' "
		"| PATH=/usr/sbin:/sbin:$PATH sfdisk -q '%s' >/dev/null",
		disk);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
	assert_int_equal(efi_partition_read(disk, 1, &found, &err), 0);
	assert_int_equal(found.number, 1);
	assert_int_equal(found.start, 2048);
	assert_int_equal(found.count, 2048);
	assert_memory_equal(found.guid, "\4\3\2\1\6\5\10\7\t\n\13\14\r\16\17\20", 16);
	assert_int_equal(efi_partition_read(disk, 2, &found, &err), -1);
	assert_int_equal(efi_partition_read(disk, 0, &found, &err), -1);
	assert_int_equal(efi_partition_read(disk, 129, &found, &err), -1);
	assert_non_null(strstr(err.msg, "has no partition 129"));
	/* A primary header that is lost: firmware takes the other one, too. */
	spoil(disk, 512, 92);
	assert_int_equal(efi_partition_read(disk, 1, &found, &err), 0);
	assert_int_equal(found.start, 2048);
	spoil(disk, (8 << 20) - 512, 92);
	assert_int_equal(efi_partition_read(disk, 1, &found, &err), -1);
	assert_non_null(strstr(err.msg, "has no GPT"));
	/* A directory on no partition of a GPT. */
	assert_int_equal(efi_partition_of("/proc", &found, &err), -1);
	assert_non_null(strstr(err.msg, "no partition is mounted"));
}

/* ---- the story of a device ---- */

static void test_fresh__the_running_group_is_good_and_gets_its_entry(void **state)
{
	struct machine *m = machine_new(*state);
	struct boot_state boot = must_read(m);
	const struct boot_state fresh = boot_of(GOOD, NONE, GROUP_A);
	CLEANUP(bytes_finish) struct bytes order = {0};

	assert_true(boot_state_equal(&boot, &fresh));
	notes(m, "the firmware has no entry of abide's");
	must_commit(m, &boot);
	notes(m, "");
	order = get_variable(m, "BootOrder", EFI_GLOBAL);
	assert_memory_equal(order.data, "\0\1\0\0\1\0", 6); /* ours, then what was there */
	assert_true(machine_boot(m, ALL));
	boot = must_read(m);
	assert_true(boot_state_equal(&boot, &fresh));
	bootloader_close(&m->bl);
}

static void test_update__is_tried_once_and_confirmed(void **state)
{
	struct machine *m = machine_settled(*state);
	struct boot_state boot = must_read(m);

	for (int i = 0; i < 3; i++) {
		enum group here = m->booted, there = group_other(here);

		boot = edge_disarm(&boot, there);
		must_commit(m, &boot);
		boot = edge_flip(&boot, there, bootloader_tries(m->bl, 3));
		assert_int_equal(boot.group[there].tries, 1);
		must_commit(m, &boot);
		assert_true(machine_boot(m, ALL));
		assert_int_equal(m->booted, there);
		boot = must_read(m);
		assert_true(boot.group[there].bad && boot.primary == there); /* its last try */
		boot = edge_confirm(&boot, there);
		must_commit(m, &boot);
		for (int k = 0; k < 3; k++)
			assert_true(machine_boot(m, ALL));
		assert_int_equal(m->booted, there);
		boot = must_read(m);
		assert_true(boot.group[there].good && boot.group[here].good);
		notes(m, "");
	}
	bootloader_close(&m->bl);
}

static void test_trial__that_fails_is_bad_and_the_other_boots(void **state)
{
	static const bool ONLY_A[GROUP_COUNT] = {true, false};

	for (int variant = 0; variant < 3; variant++) {
		struct machine *m = machine_settled(*state);
		struct boot_state boot = must_read(m);

		boot = edge_flip(&boot, GROUP_B, 1);
		must_commit(m, &boot);
		/* It does not load; it loads and hangs; its health check fails and it reverts. */
		assert_true(machine_boot(m, variant == 0 ? ONLY_A : ALL));
		assert_int_equal(m->booted, variant == 0 ? GROUP_A : GROUP_B);
		boot = must_read(m);
		if (variant == 2) {
			boot = edge_revert(&boot, GROUP_B);
			must_commit(m, &boot);
		}
		if (variant > 0)
			assert_true(machine_boot(m, ALL));
		assert_int_equal(m->booted, GROUP_A);
		boot = must_read(m);
		assert_true(boot.group[GROUP_A].good && boot.group[GROUP_B].bad);
		notes(m, ""); /* this firmware has shown that it starts what it is asked for */
		must_commit(m, &boot); /* the confirm of that boot */
		boot = edge_disarm(&boot, GROUP_B);
		must_commit(m, &boot);
		assert_true(boot.group[GROUP_B].bad);
		boot = edge_forget_bad(&boot, GROUP_B);
		must_commit(m, &boot);
		bootloader_close(&m->bl);
		assert_int_equal(
			variable_remove(m->variables, "Boot0100", EFI_GLOBAL, &(struct err){0}), 0);
		assert_int_equal(
			variable_remove(m->variables, "Boot0101", EFI_GLOBAL, &(struct err){0}), 0);
		assert_int_equal(
			variable_remove(m->variables, "Boot0102", EFI_GLOBAL, &(struct err){0}), 0);
		assert_int_equal(
			variable_remove(m->variables, "AbideState", OWN, &(struct err){0}), 0);
		assert_int_equal(
			variable_remove(m->variables, "BootNext", EFI_GLOBAL, &(struct err){0}), 0);
	}
}

static void test_flip__is_taken_back(void **state)
{
	struct machine *m = machine_settled(*state);
	struct boot_state boot = must_read(m);

	boot = edge_flip(&boot, GROUP_B, 1);
	must_commit(m, &boot);
	boot = edge_deactivate(&boot, GROUP_A);
	must_commit(m, &boot);
	assert_true(machine_boot(m, ALL));
	assert_int_equal(m->booted, GROUP_A);
	boot = must_read(m);
	assert_false(boot.group[GROUP_B].bad); /* it was never tried */
	bootloader_close(&m->bl);
}

static void test_good_groups__change_places_without_a_trial(void **state)
{
	struct machine *m = machine_settled(*state);
	struct boot_state boot = boot_of(GOOD, GOOD, GROUP_A);

	must_commit(m, &boot);
	boot = edge_activate_good(&boot, GROUP_B);
	must_commit(m, &boot);
	assert_true(machine_boot(m, ALL));
	assert_int_equal(m->booted, GROUP_B);
	boot = must_read(m);
	boot = edge_revert(&boot, GROUP_B);
	must_commit(m, &boot);
	assert_true(machine_boot(m, ALL));
	assert_int_equal(m->booted, GROUP_A);
	bootloader_close(&m->bl);
}

static void test_lost_entries__the_running_group_is_taken_for_good(void **state)
{
	struct machine *m = machine_settled(*state);
	struct boot_state boot;

	assert_int_equal(
		variable_remove(m->variables, "Boot0100", EFI_GLOBAL, &(struct err){0}), 0);
	assert_true(machine_boot(m, ALL)); /* by the fallback */
	assert_int_equal(m->booted, GROUP_A);
	boot = must_read(m);
	assert_true(boot.group[GROUP_A].good);
	notes(m, "no entry of abide's");
	must_commit(m, &boot);
	notes(m, "");
	bootloader_close(&m->bl);
}

/* ---- every edge, cut after every write ---- */

#define SNAPSHOT_MAX 32

struct snapshot {
	size_t count;
	char name[SNAPSHOT_MAX][96];
	struct bytes content[SNAPSHOT_MAX];
};

static void snapshot_take(const struct machine *m, struct snapshot *ret)
{
	DIR *dir = opendir(m->variables);
	const struct dirent *dirent;
	char path[PATH_MAX];
	struct err err = {0};

	*ret = (struct snapshot){0};
	assert_non_null(dir);
	while ((dirent = readdir(dir))) {
		if (dirent->d_name[0] == '.')
			continue;
		assert_true(ret->count < SNAPSHOT_MAX);
		(void)snprintf(
			ret->name[ret->count], sizeof(ret->name[0]), "%.95s", dirent->d_name);
		assert_int_equal(
			fs_join(m->variables, dirent->d_name, path, sizeof(path), &err), 0);
		assert_int_equal(fs_read_file(path, 8192, &ret->content[ret->count], &err), 0);
		ret->count++;
	}
	(void)closedir(dir);
}

static void snapshot_finish(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++)
		bytes_finish(&snapshot->content[i]);
}

/* Makes the variables whose names begin with `prefix` those of the snapshot. */
static void snapshot_put(
	const struct machine *m, const struct snapshot *snapshot, const char *prefix)
{
	struct snapshot now;
	char path[PATH_MAX];
	struct err err = {0};

	snapshot_take(m, &now);
	for (size_t i = 0; i < now.count; i++) {
		assert_int_equal(fs_join(m->variables, now.name[i], path, sizeof(path), &err), 0);
		if (strncmp(now.name[i], prefix, strlen(prefix)) == 0)
			assert_int_equal(unlink(path), 0);
	}
	snapshot_finish(&now);
	for (size_t i = 0; i < snapshot->count; i++)
		if (strncmp(snapshot->name[i], prefix, strlen(prefix)) == 0)
			put_file(m->variables, snapshot->name[i], snapshot->content[i].data,
				snapshot->content[i].len);
}

static void cut_check(struct machine *m, const struct boot_state *old, const struct boot_state *new,
	const char *what)
{
	const struct boot_state found = must_read(m);
	struct boot_state before = *old, after = *new;
	enum group booted_before = GROUP_A, booted_after = GROUP_A, booted = m->booted;

	(void)efi_model_start(&before, ALL, &booted_before);
	(void)efi_model_start(&after, ALL, &booted_after);
	if (!boot_state_equal(&found, old) && !boot_state_equal(&found, new)) {
		/* The memory comes after the commit: bad may be lost, never what boots. */
		for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
			if (found.group[g].good != new->group[g].good ||
				found.group[g].tries != new->group[g].tries)
				fail_msg("%s: a mix", what);
	}
	assert_true(machine_boot(m, ALL));
	if (m->booted != booted_before && m->booted != booted_after)
		fail_msg("%s: group %s boots", what, group_name(m->booted));
	m->booted = booted;
	machine_open(m);
}

/* The first variables that a commit changes, in the order of commit_managed(), and not the others: as
 * a power cut leaves them. */
static unsigned int check_cuts(
	struct machine *m, const struct boot_state *old, const struct boot_state *new)
{
	static const char *const ORDER[] = {
		"Boot0100-", "Boot0101-", "Boot0102-", "BootNext-", "BootOrder-", "AbideState-"};
	struct snapshot before, after;

	must_commit(m, old);
	snapshot_take(m, &before);
	must_commit(m, new);
	snapshot_take(m, &after);
	for (size_t n = 0; n <= ARRAY_LEN(ORDER); n++) {
		char what[32];

		snapshot_put(m, &before, "");
		for (size_t k = 0; k < n; k++)
			snapshot_put(m, &after, ORDER[k]);
		(void)snprintf(what, sizeof(what), "cut %zu", n);
		cut_check(m, old, new, what);
	}
	snapshot_put(m, &before, "");
	machine_open(m);
	snapshot_finish(&before);
	snapshot_finish(&after);
	return ARRAY_LEN(ORDER) + 1;
}

static void test_commit__cut_between_two_variables(void **state)
{
	const struct boot_state starts[] = {boot_of(GOOD, NONE, GROUP_A),
		boot_of(GOOD, GOOD, GROUP_A), boot_of(GOOD, GOOD, GROUP_B),
		boot_of(GOOD, TRIAL, GROUP_B), boot_of(GOOD, BAD, GROUP_A)};
	struct machine *m = machine_settled(*state);
	unsigned int states = 0;

	for (size_t s = 0; s < ARRAY_LEN(starts); s++) {
		const struct boot_state ends[] = {edge_disarm(&starts[s], GROUP_B),
			edge_flip(&starts[s], GROUP_B, 1), edge_activate_good(&starts[s], GROUP_B),
			edge_deactivate(&starts[s], GROUP_A), edge_forget_bad(&starts[s], GROUP_B)};

		for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
			if (!boot_group_bootable(&ends[i].group[ends[i].primary]) ||
				(i == 1 && starts[s].group[GROUP_B].good))
				continue; /* a good group is activated, not tried again */
			states += check_cuts(m, &starts[s], &ends[i]);
		}
	}
	assert_true(states > 100);
	bootloader_close(&m->bl);
}

/* ---- firmware that lies ---- */

static void test_firmware__that_passes_over_bootnext_is_found_out(void **state)
{
	struct machine *m = machine_new(*state);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	struct boot_state boot = must_read(m);

	m->lies = true;
	must_commit(m, &boot); /* sets the probe */
	assert_true(machine_boot(m, ALL));
	notes(m, "updates are refused from now on");
	boot = must_read(m);
	refuses(m, &flipped, "does not boot what BootNext says");
	must_commit(m, &boot); /* anything else goes on, and it is said once */
	notes(m, "");
	refuses(m, &flipped, "does not boot what BootNext says");
	/* Asked again: it was a setting, which is right now. */
	m->lies = false;
	assert_int_equal(variable_remove(m->variables, "AbideState", OWN, &(struct err){0}), 0);
	must_commit(m, &boot);
	assert_true(machine_boot(m, ALL));
	boot = must_read(m);
	must_commit(m, &boot);
	must_commit(m, &flipped);
	bootloader_close(&m->bl);
}

static void test_firmware__that_leaves_bootnext_is_found_out(void **state)
{
	struct machine *m = machine_new(*state);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	struct boot_state boot = must_read(m);

	m->deaf = true;
	must_commit(m, &boot);
	must_commit(m, &flipped); /* not found out yet: this asks, too */
	assert_true(machine_boot(m, ALL));
	assert_int_equal(m->booted, GROUP_A);
	notes(m, "updates are refused from now on");
	refuses(m, &flipped, "does not boot what BootNext says");
	bootloader_close(&m->bl);
}

/* Not proven yet, and the group did not come: nobody is accused. */
static void test_firmware__is_in_doubt_where_a_first_trial_does_not_come(void **state)
{
	static const bool ONLY_A[GROUP_COUNT] = {true, false};
	struct machine *m = machine_new(*state);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	struct boot_state boot = must_read(m);

	must_commit(m, &boot);
	must_commit(m, &flipped);
	assert_true(machine_boot(m, ONLY_A));
	notes(m, "it failed, or the firmware did not start it");
	boot = must_read(m);
	assert_true(boot.group[GROUP_B].bad);
	boot = edge_disarm(&boot, GROUP_B);
	must_commit(m, &boot); /* probes */
	assert_true(machine_boot(m, ALL));
	boot = must_read(m);
	must_commit(m, &boot);
	must_commit(m, &flipped);
	bootloader_close(&m->bl);
}

/* ---- what is wrong, and what is said of it ---- */

static void test_variables__missing_or_of_another_form(void **state)
{
	struct machine *m = machine_settled(*state);
	const char *right = m->variables;
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);

	m->variables = scratch_path(*state, "none");
	machine_open(m);
	does_not_read(m, "is efivarfs mounted there?");
	assert_int_equal(fs_make_dirs(m->variables, 0755, &(struct err){0}), 0);
	does_not_read(m, "has no BootCurrent");
	m->variables = right;
	machine_open(m);
	put_variable(m, "BootOrder", EFI_GLOBAL, "\0\1\2", 3);
	does_not_read(m, "BootOrder has 3 bytes");
	put_variable(m, "BootOrder", EFI_GLOBAL, "\0\1", 2);
	put_variable(m, "BootNext", EFI_GLOBAL, "\0", 1);
	does_not_read(m, "BootNext has 1 bytes");
	refuses(m, &flipped, "BootNext has 1 bytes");
	put_file(m->variables, "BootNext-" EFI_GLOBAL, "x", 1);
	does_not_read(m, "expected at least 4");
	assert_int_equal(
		variable_remove(m->variables, "BootNext", EFI_GLOBAL, &(struct err){0}), 0);
	/* An entry that starts the wrong group. */
	m->booted = GROUP_B;
	machine_open(m);
	put_number(m, "BootCurrent", 0x100);
	does_not_read(m, "an entry starts the wrong group");
	bootloader_close(&m->bl);
}

static void test_commit__what_an_entry_needs_is_missing(void **state)
{
	static const struct {
		const char *text; /* of b.cmdline; NULL: none */
		const char *says;
	} CASES[] = {
		{NULL, "b.cmdline"},
		{"", "does not say 'abide.group=b'"},
		{"abide.group=a ro", "does not say 'abide.group=b'"},
		{"abide.group=b \x01", "not one line of ASCII"},
	};
	struct machine *m = machine_settled(*state);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	const struct boot_state fresh = boot_of(GOOD, NONE, GROUP_A);
	struct boot_state found;

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		if (CASES[i].text)
			put_file(m->esp, "abide/b.cmdline", CASES[i].text, strlen(CASES[i].text));
		else
			assert_int_equal(unlink(scratch_path(*state, "esp/abide/b.cmdline")), 0);
		refuses(m, &flipped, CASES[i].says);
		found = must_read(m);
		assert_true(boot_state_equal(&found, &fresh));
	}
	assert_int_equal(unlink(scratch_path(*state, "esp/abide/boot-b.efi")), 0);
	refuses(m, &flipped, "is the ESP mounted");
	bootloader_close(&m->bl);
}

static void test_commit__what_a_firmware_cannot_do(void **state)
{
	struct machine *m = machine_settled(*state);
	struct boot_state boot = boot_of(GOOD, (struct boot_group){.tries = 2}, GROUP_B);

	refuses(m, &boot, "one boot to be tried");
	boot = boot_of(GOOD, TRIAL, GROUP_A);
	refuses(m, &boot, "one boot to be tried");
	boot = boot_of(NONE, TRIAL, GROUP_B);
	refuses(m, &boot, "nothing to go back to");
	bootloader_close(&m->bl);
}

/* A tmpfs plays a read-only efivarfs, or a full NVRAM: it needs root. */
static void mount_small(const struct machine *m, const char *options)
{
	char command[PATH_MAX * 2];

	(void)snprintf(
		command, sizeof(command), "cp -a '%s' '%s.copy'", m->variables, m->variables);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
	if (mount("abide-test", m->variables, "tmpfs", 0, options) < 0) {
		print_message("no tmpfs to mount here: %s\n", strerror(errno));
		skip();
	}
	(void)snprintf(
		command, sizeof(command), "cp -a '%s.copy'/. '%s'", m->variables, m->variables);
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
}

static int unmount_small(void **state)
{
	struct scratch *scratch = *state;

	(void)umount(scratch_path(scratch, "efivars")); /* not each test mounted it */
	return scratch_teardown(state);
}

static void test_commit__read_only_and_full(void **state)
{
	struct machine *m = machine_settled(*state);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	const struct boot_state fresh = boot_of(GOOD, NONE, GROUP_A);
	struct boot_state found;

	mount_small(m, "size=1m,nr_inodes=12");
	assert_int_equal(
		mount("abide-test", m->variables, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=1m"), 0);
	refuses(m, &flipped, "mounted read-only");
	found = must_read(m);
	assert_true(boot_state_equal(&found, &fresh));
	assert_int_equal(mount("abide-test", m->variables, "tmpfs", MS_REMOUNT, "nr_inodes=12"), 0);
	for (int i = 0; i < 12; i++) {
		char name[32];
		int fd;

		(void)snprintf(name, sizeof(name), "efivars/fill%d", i);
		fd = open(scratch_path(*state, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			break;
		(void)close(fd);
	}
	refuses(m, &flipped, "No space left");
	found = must_read(m);
	assert_true(boot_state_equal(&found, &fresh));
	/* Room for the entry and BootNext, and then none for what is written after them. */
	assert_int_equal(unlink(scratch_path(*state, "efivars/AbideState-" OWN)), 0);
	assert_int_equal(unlink(scratch_path(*state, "efivars/fill0")), 0);
	refuses(m, &flipped, "No space left");
	found = must_read(m);
	assert_true(boot_state_equal(&found, &fresh));
	bootloader_close(&m->bl);
}

static void test_commit__immutable_variables(void **state)
{
	struct machine *m = machine_settled(*state);
	const struct boot_state flipped = boot_of(GOOD, TRIAL, GROUP_B);
	const char *path = scratch_path(*state, "efivars/AbideState-" OWN);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long flags = 0;

	assert_true(fd >= 0);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 ||
		(flags |= FS_IMMUTABLE_FL, ioctl(fd, FS_IOC_SETFLAGS, &flags)) < 0) {
		(void)close(fd);
		print_message("no immutable flag here: %s\n", strerror(errno));
		skip();
	}
	(void)close(fd);
	assert_int_equal(open(path, O_WRONLY | O_CLOEXEC), -1);
	must_commit(m, &flipped); /* takes the flag off */
	bootloader_close(&m->bl);
}

/* ---- the model ---- */

static void test_model__is_that_of_every_boot_side_while_a_group_is_good(void **state)
{
	const struct boot_group KINDS[] = {GOOD, BAD, TRIAL, NONE};
	unsigned int compared = 0;

	(void)state;
	for (unsigned int i = 0; i < 32; i++) {
		struct boot_state ours =
			boot_of(KINDS[i % 4], KINDS[i / 4 % 4], (enum group)(i / 16));
		struct boot_state theirs = ours;
		enum group a = GROUP_A, b = GROUP_A;

		if (!ours.group[GROUP_A].good && !ours.group[GROUP_B].good)
			continue;
		assert_true(efi_model_start(&ours, ALL, &a));
		assert_true(boot_model_start(&theirs, ALL, &b));
		assert_int_equal(a, b);
		assert_true(boot_state_equal(&ours, &theirs));
		compared++;
	}
	assert_int_equal(compared, 14);
}

#define MACHINE_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, unmount_small)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_option__is_what_efibootmgr_makes),
		MACHINE_TEST(test_partition__as_the_gpt_has_it),
		MACHINE_TEST(test_fresh__the_running_group_is_good_and_gets_its_entry),
		MACHINE_TEST(test_update__is_tried_once_and_confirmed),
		MACHINE_TEST(test_trial__that_fails_is_bad_and_the_other_boots),
		MACHINE_TEST(test_flip__is_taken_back),
		MACHINE_TEST(test_good_groups__change_places_without_a_trial),
		MACHINE_TEST(test_lost_entries__the_running_group_is_taken_for_good),
		MACHINE_TEST(test_commit__cut_between_two_variables),
		MACHINE_TEST(test_firmware__that_passes_over_bootnext_is_found_out),
		MACHINE_TEST(test_firmware__that_leaves_bootnext_is_found_out),
		MACHINE_TEST(test_firmware__is_in_doubt_where_a_first_trial_does_not_come),
		MACHINE_TEST(test_variables__missing_or_of_another_form),
		MACHINE_TEST(test_commit__what_an_entry_needs_is_missing),
		MACHINE_TEST(test_commit__what_a_firmware_cannot_do),
		MACHINE_TEST(test_commit__read_only_and_full),
		MACHINE_TEST(test_commit__immutable_variables),
		cmocka_unit_test(test_model__is_that_of_every_boot_side_while_a_group_is_good),
	};

	return cmocka_run_group_tests_name("efi", tests, NULL, NULL);
}
