/*
 * hooks: every bootloader on its real backing, one table. Each keeps every state a device can get
 * into, makes every change between two of them, and agrees with the others on what boots next; and
 * `bootloader = auto` finds the one that a system shows.
 *
 * A hook's boot side is held to the model by its own test (test_grub_cfg.c, test_uboot_cmd.c,
 * test_systemd_boot.c); the custom example's, which is a shell script, here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bootloader-hooks/custom/custom.h"
#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/hooks.h"
#include "bootloader-hooks/model.h"
#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "bootloader-hooks/uboot/uboot.h"
#include "tests/must.h"
#include "tests/scratch.h"
#include "tests/states.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"

static const struct boot_state FACTORY = {
	.group = {[GROUP_A] = {.good = true}}, .primary = GROUP_A};

/* A file below the scratch directory, its directories made. */
static void put(
	struct scratch *scratch, const char *name, const void *data, size_t len, mode_t mode)
{
	char dir[PATH_MAX];
	struct err err = {0};

	(void)snprintf(dir, sizeof(dir), "%s", scratch_path(scratch, name));
	*strrchr(dir, '/') = '\0';
	must(fs_make_dirs(dir, 0755, &err), &err);
	must(fs_replace_file(scratch_path(scratch, name), data, len, mode, &err), &err);
}

static void put_text(struct scratch *scratch, const char *name, const char *text)
{
	put(scratch, name, text, strlen(text), 0644);
}

/* Beside build/tests/test_hooks, wherever that is run from. */
static const char *source(const char *name)
{
	static char path[PATH_MAX];
	char program[PATH_MAX / 2] = "";

	assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	for (unsigned int up = 0; up < 3 && strrchr(program, '/'); up++)
		*strrchr(program, '/') = '\0';
	(void)snprintf(path, sizeof(path), "%s/%s", program, name);
	return path;
}

/* ---- the table ---- */

/* Each makes what a factory would, below the scratch directory, and says where it is by the keys of
 * the configuration. */
static void make_grub(struct scratch *scratch, struct hook_settings *ret)
{
	uint8_t block[GRUB_ENV_LEN];
	struct err err = {0};

	must(grub_env_format(&FACTORY, NULL, block, &err), &err);
	put(scratch, "boot/grub/grubenv", block, sizeof(block), 0644);
	put(scratch, "boot/grub/grubenv.spare", block, sizeof(block), 0644);
	must(mem_strdup(scratch_path(scratch, "boot/grub/grubenv"), &ret->grubenv, &err), &err);
}

static void make_systemd_boot(struct scratch *scratch, struct hook_settings *ret)
{
	static const char TEMPLATE[] = "efi /abide/boot-x.efi\noptions abide.group=x\n";
	static const char ENTRY[] = "sort-key abide\nversion 1\nefi /abide/boot-x.efi\n"
				    "options abide.group=x\n";
	static const char *const GROUPS[] = {"a", "b"};
	struct err err = {0};
	char text[128], name[64];

	for (size_t i = 0; i < ARRAY_LEN(GROUPS); i++) {
		(void)snprintf(text, sizeof(text), "%s", TEMPLATE);
		for (char *x = strchr(text, 'x'); x; x = strchr(x + 1, 'x'))
			if (x[1] == '.' || x[1] == '\n')
				*x = GROUPS[i][0];
		(void)snprintf(name, sizeof(name), "efi/abide/%s.conf", GROUPS[i]);
		put_text(scratch, name, text);
		(void)snprintf(name, sizeof(name), "efi/abide/boot-%s.efi", GROUPS[i]);
		put_text(scratch, name, "a kernel");
	}
	(void)snprintf(text, sizeof(text), "%s", ENTRY);
	for (char *x = strchr(text, 'x'); x; x = strchr(x + 1, 'x'))
		if (x[1] == '.' || x[1] == '\n')
			*x = 'a';
	put_text(scratch, "efi/loader/entries/abide-a-1.conf", text);
	put_text(scratch, "efi/loader/loader.conf", "timeout 0\ndefault abide-*\n");
	must(mem_strdup(scratch_path(scratch, "efi"), &ret->esp, &err), &err);
}

static void make_uboot(struct scratch *scratch, struct hook_settings *ret)
{
	uint8_t copy[0x2000];
	struct uboot_values values;
	struct err err = {0};
	char text[PATH_MAX * 2];

	must(uboot_values_format(&FACTORY, &values, &err), &err);
	must(uboot_copy_format(&values, NULL, 1, sizeof(copy), copy, &err), &err);
	put(scratch, "env/first", copy, sizeof(copy), 0600);
	put(scratch, "env/second", copy, sizeof(copy), 0600);
	(void)snprintf(text, sizeof(text), "%s/env/first 0x0 0x2000\n%s/env/second 0x0 0x2000\n",
		scratch->dir, scratch->dir);
	put_text(scratch, "etc/fw_env.config", text);
	must(mem_strdup(scratch_path(scratch, "etc/fw_env.config"), &ret->fw_env_config, &err),
		&err);
}

/* The example's file. */
static void bootstate_text(const struct boot_state *state, char ret[static 64])
{
	char standing[GROUP_COUNT][12];

	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		const struct boot_group *group = &state->group[g];

		(void)snprintf(standing[g], sizeof(standing[g]), "%s",
			group->good  ? "good"
			: group->bad ? "bad"
				     : "none");
		if (group->tries)
			(void)snprintf(standing[g], sizeof(standing[g]), "%u", group->tries);
	}
	(void)snprintf(ret, 64, "primary=%s\na=%s\nb=%s\n", group_name(state->primary), standing[0],
		standing[1]);
}

static void make_custom(struct scratch *scratch, struct hook_settings *ret)
{
	CLEANUP(bytes_finish) struct bytes example = {0};
	struct err err = {0};
	char text[PATH_MAX * 3];

	must(fs_read_file(source("bootloader-hooks/custom/bootstate"), 1u << 20, &example, &err),
		&err);
	put(scratch, "usr/bootstate", example.data, example.len, 0755);
	(void)snprintf(text, sizeof(text),
		"#!/bin/sh\nexport BOOTSTATE_FILE=%s/usr/state BOOTSTATE_LOAD=%s/usr/load\n"
		"exec %s/usr/bootstate \"$@\"\n",
		scratch->dir, scratch->dir, scratch->dir);
	put(scratch, "usr/hook", text, strlen(text), 0755);
	(void)snprintf(text, sizeof(text), "#!/bin/sh\n[ -e %s/usr/loads-$1 ]\n", scratch->dir);
	put(scratch, "usr/load", text, strlen(text), 0755);
	put_text(scratch, "usr/state", "primary=a\na=good\nb=none\n");
	must(mem_strdup(scratch_path(scratch, "usr/hook"), &ret->program, &err), &err);
}

static const struct backend {
	const char *name;
	void (*make)(struct scratch *scratch, struct hook_settings *ret);
	/* NULL: boot_model_start(). What it does otherwise is in the hook's README. */
	bool (*start)(
		struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret);
} BACKENDS[] = {
	{"grub", make_grub, NULL},
	{"systemd-boot", make_systemd_boot, systemd_boot_model_start},
	{"uboot", make_uboot, NULL},
	{"custom", make_custom, NULL},
};

static struct bootloader *open_backend(
	struct scratch *scratch, const struct backend *backend, struct hook_settings *settings)
{
	const struct hook *hook = hook_find(backend->name);
	struct bootloader *bl = NULL;
	struct err err = {0};

	assert_non_null(hook);
	backend->make(scratch, settings);
	must(hook->open(settings, &bl, &err), &err);
	return bl;
}

static struct boot_state must_read(const struct backend *backend, struct bootloader *bl)
{
	struct boot_state found = {0};
	struct err err = {0};

	if (bootloader_read(bl, &found, &err) < 0)
		fail_msg("%s: %s", backend->name, err.msg);
	return found;
}

static void must_keep(
	const struct backend *backend, struct bootloader *bl, const struct boot_state *state)
{
	struct boot_state found;
	struct err err = {0};

	if (bootloader_commit(bl, state, &err) < 0)
		fail_msg("%s: %s", backend->name, err.msg);
	if (strcmp(backend->name, "custom") == 0)
		return; /* it has read back already, and each call is a program */
	found = must_read(backend, bl);
	if (!boot_state_equal(&found, state))
		fail_msg("%s: primary %s/%s, a %d %d %u / %d %d %u, b %d %d %u / %d %d %u",
			backend->name, group_name(state->primary), group_name(found.primary),
			state->group[0].good, state->group[0].bad, state->group[0].tries,
			found.group[0].good, found.group[0].bad, found.group[0].tries,
			state->group[1].good, state->group[1].bad, state->group[1].tries,
			found.group[1].good, found.group[1].bad, found.group[1].tries);
}

/* Where each change begins: it is not what is tested, so the custom program need not do it. */
static void put_state(struct scratch *scratch, const struct backend *backend, struct bootloader *bl,
	const struct boot_state *state)
{
	char text[64];

	if (strcmp(backend->name, "custom") != 0) {
		must_keep(backend, bl, state);
		return;
	}
	bootstate_text(state, text);
	put_text(scratch, "usr/state", text);
}

/* No row is forgotten: whoever adds a hook adds its backing. But efi: a firmware counts to one, and
 * says itself what it has booted, so its changes and its model are in test_efi.c. */
static void test_table__has_every_hook(void **state)
{
	static const char EFI[] = "efi, ";
	char known[256], ours[256], *efi;
	size_t used = 0;

	(void)state;
	hook_names(known, sizeof(known));
	efi = strstr(known, EFI);
	assert_non_null(efi);
	memmove(efi, efi + strlen(EFI), strlen(efi + strlen(EFI)) + 1);
	for (size_t i = 0; i < ARRAY_LEN(BACKENDS); i++)
		used += (size_t)snprintf(
			ours + used, sizeof(ours) - used, "%s%s", i ? ", " : "", BACKENDS[i].name);
	assert_string_equal(ours, known);
}

/* ---- every change: (primary, tries, confirmed, booted) x event ---- */

struct change {
	struct boot_state from, to;
};
#define CHANGES_MAX 4096u

static size_t add_change(struct change *list, size_t count, const struct boot_state *from,
	const struct boot_state *to)
{
	for (size_t i = 0; i < count; i++)
		if (boot_state_equal(&list[i].from, from) && boot_state_equal(&list[i].to, to))
			return count;
	assert_true(count < CHANGES_MAX);
	list[count] = (struct change){*from, *to};
	return count + 1;
}

static size_t every_change(struct change *ret)
{
	static struct reached all[STATES_MAX];
	size_t total = states_reachable(all, STATES_MAX), count = 0;
	struct group_facts facts[GROUP_COUNT] = {{.seal = SEAL_SEALED}, {.seal = SEAL_SEALED}};

	for (size_t i = 0; i < total; i++)
		for (unsigned int e = 0; e < 2 * EVENT_COUNT; e++) {
			const struct state s =
				state_derive(&all[i].boot, facts, all[i].booted, e % 2);
			struct boot_state after;
			struct err err;

			if (state_check(s.now, (enum device_event)(e / 2), &err) == 0 &&
				states_take(&all[i].boot, &s, (enum device_event)(e / 2),
					BOOT_TRIES_MAX, &after))
				count = add_change(ret, count, &all[i].boot, &after);
		}
	return count;
}

static void test_hooks__make_every_change(void **state)
{
	static struct change changes[CHANGES_MAX];
	size_t count = every_change(changes);

	for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++) {
		struct hook_settings settings = {0};
		struct bootloader *bl = open_backend(*state, &BACKENDS[k], &settings);
		struct boot_state now = must_read(&BACKENDS[k], bl);

		assert_true(boot_state_equal(&now, &FACTORY));
		for (size_t i = 0; i < count; i++) {
			if (!boot_state_equal(&now, &changes[i].from))
				put_state(*state, &BACKENDS[k], bl, &changes[i].from);
			must_keep(&BACKENDS[k], bl, &changes[i].to);
			now = changes[i].to;
		}
		bootloader_close(&bl);
		hook_settings_finish(&settings);
	}
	print_message("%zu hooks, %zu changes each\n", ARRAY_LEN(BACKENDS), count);
}

/* ---- all agree on what boots ---- */

/* Systemd-boot does not pass over what does not load, and of two bad groups starts the primary again
 * (its README); nothing else may differ. */
static bool may_differ(const struct boot_state *state, const bool loads[GROUP_COUNT])
{
	enum group next;

	return !boot_model_next(state, &next) || (state->group[next].good && !loads[next]);
}

static void test_hooks__agree_on_what_boots_next(void **state)
{
	static struct boot_state states[STATES_MAX];
	size_t count = states_boot_reachable(states, STATES_MAX);
	unsigned int compared = 0;

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(BACKENDS); k++)
		for (size_t i = 0; i < count * 4; i++) {
			const bool loads[GROUP_COUNT] = {i & 1, i & 2};
			struct boot_state common = states[i / 4], own = common;
			enum group expected = GROUP_A, group = GROUP_A;
			bool started;

			if (!BACKENDS[k].start || may_differ(&own, loads))
				continue;
			started = boot_model_start(&common, loads, &expected);
			assert_int_equal(BACKENDS[k].start(&own, loads, &group), started);
			assert_true(!started || group == expected);
			assert_true(boot_state_equal(&own, &common));
			compared++;
		}
	assert_true(compared > 50);
}

/* The example's boot side is a program: it is run. */
static void test_custom__pick_is_the_model(void **state)
{
	static struct boot_state states[STATES_MAX];
	size_t count = states_boot_reachable(states, STATES_MAX);
	struct hook_settings settings = {0};
	char *const files[GROUP_COUNT] = {(char[]){"usr/loads-a"}, (char[]){"usr/loads-b"}};
	char text[64];

	make_custom(*state, &settings);
	for (size_t i = 0; i < count * 4; i++) {
		char *const argv[] = {settings.program, (char[]){"pick"}, NULL};
		const bool loads[GROUP_COUNT] = {i & 1, i & 2};
		CLEANUP(bytes_finish) struct bytes left = {0};
		struct boot_state boot = states[i / 4];
		struct process_result result;
		enum group group = GROUP_A;
		struct err err = {0};
		bool started;

		bootstate_text(&boot, text);
		put_text(*state, "usr/state", text);
		for (unsigned int g = 0; g < GROUP_COUNT; g++) {
			if (loads[g])
				put_text(*state, files[g], "");
			else
				(void)unlink(scratch_path(*state, files[g]));
		}
		must(process_exchange(argv, NULL, 0, 60, &result, &err), &err);
		started = boot_model_start(&boot, loads, &group);
		assert_int_equal(result.exit_status == 0, started);
		if (started)
			assert_int_equal(result.output[0], group_name(group)[0]);
		bootstate_text(&boot, text);
		must(fs_read_file(scratch_path(*state, "usr/state"), 64, &left, &err), &err);
		assert_string_equal((const char *)left.data, text);
	}
	hook_settings_finish(&settings);
}

/* ---- policy: a healthy device stays ---- */

/* Power is cut at any moment: of a start, which writes at most once and atomically, so before or
 * after that; and of init, before or after its confirm. From every state a device can be in with a
 * good primary that loads, a hundred times, in any mixture. */
static void test_policy__healthy_device_stays_on_its_group(void **state)
{
	static const bool ALL[GROUP_COUNT] = {true, true};
	static struct reached all[STATES_MAX];
	size_t total = states_reachable(all, STATES_MAX);
	unsigned int healthy = 0;

	(void)state;
	for (size_t i = 0; i < total; i++) {
		struct boot_state boot = all[i].boot;
		const struct boot_state before = boot;

		if (!boot.group[boot.primary].good)
			continue;
		healthy++;
		for (unsigned int n = 0; n < 100; n++) {
			enum group booted = GROUP_A;

			assert_true(boot_model_start(&boot, ALL, &booted));
			assert_int_equal(booted, before.primary);
			if (n % 3 == 0) /* it got as far as the confirm */
				boot = edge_confirm(&boot, booted);
			assert_true(boot_state_equal(&boot, &before));
		}
	}
	assert_true(healthy >= 10);
}

/* A trial that is cut off before its confirm costs one try each; what runs in the end is good, and
 * stays. Never does the device come to a state in which no group boots. */
static void test_policy__every_state_ends_with_a_group_that_boots(void **state)
{
	static const bool ALL[GROUP_COUNT] = {true, true};
	static struct reached all[STATES_MAX];
	size_t total = states_reachable(all, STATES_MAX);

	(void)state;
	for (size_t i = 0; i < total; i++) {
		struct boot_state boot = all[i].boot, settled;
		bool any_good = boot.group[GROUP_A].good || boot.group[GROUP_B].good;
		enum group booted = GROUP_A, stays = GROUP_A;

		for (unsigned int n = 0; n < 2 * BOOT_TRIES_MAX; n++)
			assert_true(boot_model_start(&boot, ALL, &booted));
		settled = boot;
		assert_true(boot_model_start(&boot, ALL, &stays));
		assert_true(!any_good || boot.group[stays].good);
		for (unsigned int n = 0; n < 100; n++) {
			assert_true(boot_model_start(&boot, ALL, &booted));
			assert_int_equal(booted, stays);
		}
		assert_true(boot_state_equal(&boot, &settled));
	}
}

/* ---- bootloader = auto ---- */

static void assert_auto(struct scratch *scratch, const struct hook_settings *settings,
	const char *name, const char *why)
{
	struct bootloader *bl = NULL;
	char said[HOOK_PROBE_TEXT_MAX] = "";
	struct err err = {0};

	must(hook_open_auto(settings, scratch->dir, &bl, said, &err), &err);
	assert_string_equal(bl->ops->name, name);
	if (!strstr(said, why))
		fail_msg("'%s', expected '%s'", said, why);
	bootloader_close(&bl);
}

static void assert_no_auto(
	struct scratch *scratch, const struct hook_settings *settings, const char *const *words)
{
	struct bootloader *bl = NULL;
	char said[HOOK_PROBE_TEXT_MAX];
	struct err err = {0};

	assert_int_equal(hook_open_auto(settings, scratch->dir, &bl, said, &err), -1);
	assert_int_equal(err.code, FAIL_BOOT);
	assert_null(bl);
	for (; *words; words++)
		if (!strstr(err.msg, *words))
			fail_msg("'%s', expected '%s'", err.msg, *words);
}

static void test_auto__nothing_says_what_was_looked_for(void **state)
{
	static const char *const WORDS[] = {"found none", "name it in [system]", "grub: no ",
		"/boot/efi/grub/grubenv", "systemd-boot: no ", "uboot: no /etc/fw_env.config",
		"custom: no program in [boot]", NULL};
	const struct hook_settings none = {0};

	assert_no_auto(*state, &none, WORDS);
	/* A distribution's own files are nobody's boot order. */
	put_text(*state, "boot/grub/grubenv", "# GRUB Environment Block\nsaved_entry=0\n###");
	put_text(*state, "efi/loader/entries/debian.conf", "title Debian\n");
	assert_no_auto(*state, &none, WORDS);
}

/* Each as it lies on a device, found in its usual place. */
static void test_auto__finds_what_is_there_and_says_why(void **state)
{
	static const struct {
		const char *name, *why;
		void (*make)(struct scratch *scratch, struct hook_settings *ret);
	} CASES[] = {
		{"grub", "boot/grub/grubenv' has the variable ORDER", make_grub},
		{"systemd-boot", "efi/loader/entries' has entries of the groups",
			make_systemd_boot},
		{"uboot", "etc/fw_env.config' is there", make_uboot},
	};
	const struct hook_settings none = {0};

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct hook_settings ignored = {0};
		void *own = NULL;

		assert_int_equal(scratch_setup(&own), 0);
		CASES[i].make(own, &ignored);
		assert_auto(own, &none, CASES[i].name, CASES[i].why);
		hook_settings_finish(&ignored);
		assert_int_equal(scratch_teardown(&own), 0);
	}
	(void)state;
}

/* The hook that is opened is on what was found: it reads the factory's state there. */
static void test_auto__opens_what_it_found(void **state)
{
	const struct hook_settings none = {0};
	struct hook_settings settings = {0};
	struct scratch *scratch = *state;
	struct bootloader *bl = NULL;
	char why[HOOK_PROBE_TEXT_MAX];
	struct boot_state found;
	struct err err = {0};

	make_grub(scratch, &settings);
	assert_int_equal(unlink(settings.grubenv), 0); /* only the spare is left */
	must(hook_open_auto(&none, scratch->dir, &bl, why, &err), &err);
	must(bootloader_read(bl, &found, &err), &err);
	assert_true(boot_state_equal(&found, &FACTORY));
	assert_non_null(strstr(bl->note, "grubenv.spare"));
	bootloader_close(&bl);
	hook_settings_finish(&settings);
}

static void test_auto__more_than_one_is_refused_unless_one_is_named(void **state)
{
	static const char *const TWO[] = {
		"more than one is there", "name it in [system]", "grub: '", "uboot: '", NULL};
	static const char *const NAMED[] = {"more than one is there", "grub: [boot] grubenv is set",
		"custom: [boot] program is set", NULL};
	const struct hook_settings none = {0};
	struct hook_settings grub = {0}, uboot = {0}, both;
	char program[] = "/nonexistent/hook";

	make_grub(*state, &grub);
	make_uboot(*state, &uboot);
	assert_no_auto(*state, &none, TWO);
	assert_auto(*state, &grub, "grub", "[boot] grubenv is set");
	assert_auto(*state, &uboot, "uboot", "[boot] fw-env-config is set");
	both = grub;
	both.program = program;
	assert_no_auto(*state, &both, NAMED);
	/* A key is taken as it stands: what is wrong with its file is for the hook to say. */
	both.grubenv = NULL;
	assert_auto(*state, &both, "custom", "[boot] program is set");
	hook_settings_finish(&grub);
	hook_settings_finish(&uboot);
}

#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table__has_every_hook),
		FILE_TEST(test_hooks__make_every_change),
		FILE_TEST(test_hooks__agree_on_what_boots_next),
		FILE_TEST(test_custom__pick_is_the_model),
		cmocka_unit_test(test_policy__healthy_device_stays_on_its_group),
		cmocka_unit_test(test_policy__every_state_ends_with_a_group_that_boots),
		FILE_TEST(test_auto__nothing_says_what_was_looked_for),
		FILE_TEST(test_auto__finds_what_is_there_and_says_why),
		FILE_TEST(test_auto__opens_what_it_found),
		FILE_TEST(test_auto__more_than_one_is_refused_unless_one_is_named),
	};

	return cmocka_run_group_tests_name("hooks", tests, NULL, NULL);
}
