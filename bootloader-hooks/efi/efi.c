/* What the boot manager's variables mean for the groups, and how they are changed. */
#include "bootloader-hooks/efi/efi.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bootloader-hooks/efi/manager.h"
#include "updater/fs.h"

#define CMDLINE_MAX 1024u

struct efi {
	struct bootloader bl;
	char *esp;
	char *variables;
	enum group booted;
	bool has_partition; /* given; else that of the ESP */
	struct efi_partition partition;
};

static struct efi *efi(struct bootloader *bl)
{
	return (struct efi *)bl;
}

/* ---- what the variables mean ---- */

static bool is_good(const struct manager *m, enum group group)
{
	return manager_place(m, (enum manager_entry)group) >= 0;
}

static bool runs(const struct manager *m, enum group group)
{
	return manager_is(m, (enum manager_entry)group, m->current);
}

/* BootNext was taken, and it was the group's only try: it runs now, or it did and does not. */
static bool was_tried(const struct manager *m, enum group group)
{
	if (is_good(m, group) || m->memory.bad[group] ||
		(m->has_next && manager_is(m, (enum manager_entry)group, m->next)))
		return false;
	return runs(m, group) || manager_asked_before(m, (enum manager_entry)group);
}

/* Neither group has an entry: a device from the factory, or one whose firmware has forgotten. */
static bool is_blank(const struct manager *m)
{
	return !m->has[ENTRY_A] && !m->has[ENTRY_B];
}

static struct boot_group group_of(const struct manager *m, enum group group)
{
	if (is_good(m, group))
		return (struct boot_group){.good = true};
	if (m->has_next && manager_is(m, (enum manager_entry)group, m->next))
		return (struct boot_group){.tries = 1};
	return (struct boot_group){.bad = m->memory.bad[group] || was_tried(m, group)};
}

static enum group primary_of(const struct manager *m)
{
	int a = manager_place(m, ENTRY_A), b = manager_place(m, ENTRY_B);

	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		if (m->has_next && manager_is(m, (enum manager_entry)g, m->next))
			return g;
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		if (was_tried(m, g))
			return g;
	if (a < 0 && b < 0)
		return m->memory.bad[GROUP_A] ? GROUP_B : GROUP_A;
	return b < 0 || (a >= 0 && a < b) ? GROUP_A : GROUP_B;
}

static struct boot_state state_of(const struct manager *m, enum group booted)
{
	struct boot_state state = {.primary = booted};

	if (is_blank(m)) {
		state.group[booted].good = true;
		return state;
	}
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		state.group[g] = group_of(m, g);
	state.primary = primary_of(m);
	return state;
}

/*
 * Whether the firmware does what BootNext says, from what was asked and what came.
 *
 * A group that was asked for and does not run now may have failed before it got anywhere: that
 * proves nothing. The probe is the running group by another number: it boots if anything does.
 */
static enum manager_firmware judge_firmware(const struct manager *m)
{
	if (manager_is(m, ENTRY_PROBE, m->current))
		return FIRMWARE_HONEST;
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		if (runs(m, g) && !is_good(m, g))
			return FIRMWARE_HONEST; /* nothing but BootNext could have started it */
	if (manager_asked_before(m, ENTRY_PROBE))
		return FIRMWARE_LIES;
	if (m->has_next)
		for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
			if (manager_is(m, (enum manager_entry)g, m->next) &&
				manager_asked_before(m, (enum manager_entry)g))
				return FIRMWARE_LIES; /* still there after a restart */
	return m->memory.firmware;
}

/* ---- read ---- */

static int look(const struct efi *e, struct manager *m, struct err *err)
{
	if (manager_read(e->variables, m, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "EFI boot manager");
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		if (runs(m, g) && g != e->booted)
			return err_set(err, FAIL_BOOT,
				"EFI boot manager: the firmware says that it started '%s', and "
				"group %s runs: an entry starts the wrong group",
				manager_description((enum manager_entry)g), group_name(e->booted));
	return 0;
}

static int efi_read(struct bootloader *bl, struct boot_state *ret, struct err *err)
{
	struct manager m;

	if (look(efi(bl), &m, err) < 0)
		return -1;
	*ret = state_of(&m, efi(bl)->booted);
	if (is_blank(&m))
		(void)snprintf(bl->note, sizeof(bl->note),
			"the firmware has no entry of abide's: group %s, which runs, is taken for "
			"good",
			group_name(efi(bl)->booted)); /* fits */
	else if (judge_firmware(&m) == FIRMWARE_LIES && m.memory.firmware != FIRMWARE_LIES)
		(void)snprintf(bl->note, sizeof(bl->note),
			"the firmware was asked for one entry by BootNext and booted another: "
			"updates are refused from now on"); /* fits */
	else if (m.memory.firmware == FIRMWARE_UNKNOWN &&
		 was_tried(&m, group_other(efi(bl)->booted)))
		(void)snprintf(bl->note, sizeof(bl->note),
			"group %s was asked for by BootNext and does not run: it failed, or the "
			"firmware did not start it",
			group_name(group_other(efi(bl)->booted))); /* fits */
	return 0;
}

/* ---- commit ---- */

static int read_cmdline(
	const struct efi *e, enum group group, char ret[static CMDLINE_MAX + 1], struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char name[32], path[PATH_MAX];
	const char *said;
	size_t len;

	(void)snprintf(name, sizeof(name), "abide/%s.cmdline", group_name(group)); /* fits */
	if (fs_join(e->esp, name, path, sizeof(path), err) < 0 ||
		fs_read_file(path, CMDLINE_MAX, &text, err) < 0)
		return -1;
	len = strcspn((const char *)text.data, "\r\n");
	memcpy(ret, text.data, len);
	ret[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (ret[i] < ' ' || ret[i] > '~')
			return err_set(err, FAIL_BOOT, "'%s' is not one line of ASCII", path);
	said = strstr(ret, "abide.group=");
	if (!said || said[12] != group_name(group)[0])
		return err_set(err, FAIL_BOOT, "'%s' does not say 'abide.group=%s'", path,
			group_name(group));
	return 0;
}

/* The entry that starts the group; and what it starts has to be there. */
static int write_entry(const struct efi *e, struct manager *m, enum manager_entry entry,
	enum group group, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes option = {0};
	struct efi_partition partition = e->partition;
	char cmdline[CMDLINE_MAX + 1], kernel[32], path[PATH_MAX];

	(void)snprintf(kernel, sizeof(kernel), "/abide/boot-%s.efi", group_name(group)); /* fits */
	if (fs_join(e->esp, kernel + 1, path, sizeof(path), err) < 0)
		return -1;
	if (access(path, F_OK) < 0)
		return err_errno(err, "'%s' (is the ESP mounted on '%s'?)", path, e->esp);
	if (read_cmdline(e, group, cmdline, err) < 0 ||
		(!e->has_partition && efi_partition_of(e->esp, &partition, err) < 0) ||
		efi_option_make(
			manager_description(entry), &partition, kernel, cmdline, &option, err) < 0)
		return -1;
	return manager_write_entry(e->variables, m, entry, &option, err);
}

static bool wanted_entry(const struct boot_state *state, enum group group)
{
	return boot_group_bootable(&state->group[group]);
}

/* The good groups, the primary first; then what is not ours, as it was. */
static int write_order(const struct efi *e, const struct manager *m, const struct boot_state *state,
	struct err *err)
{
	const enum group groups[] = {state->primary, group_other(state->primary)};
	uint16_t order[MANAGER_ORDER_MAX + GROUP_COUNT];
	size_t count = 0;

	for (unsigned int i = 0; i < GROUP_COUNT; i++)
		if (state->group[groups[i]].good)
			order[count++] = m->number[groups[i]];
	for (size_t i = 0; i < m->order_count; i++)
		if (!manager_is(m, ENTRY_A, m->order[i]) && !manager_is(m, ENTRY_B, m->order[i]) &&
			!manager_is(m, ENTRY_PROBE, m->order[i]))
			order[count++] = m->order[i];
	if (count > MANAGER_ORDER_MAX)
		return err_set(err, FAIL_BOOT, "BootOrder is full");
	return manager_write_order(e->variables, order, count, err);
}

static bool trial_of(const struct boot_state *state, enum group *ret)
{
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		if (state->group[g].tries > 0) {
			*ret = g;
			return true;
		}
	return false;
}

static int check_wanted(const struct manager *m, const struct boot_state *state, struct err *err)
{
	enum group trial;

	if (!state->group[GROUP_A].good && !state->group[GROUP_B].good)
		return err_set(err, FAIL_BOOT,
			"no group would be confirmed, and a firmware has nothing to go back to");
	if (!trial_of(state, &trial))
		return 0;
	if (state->group[trial].tries > EFI_TRIES_MAX || state->primary != trial ||
		state->group[group_other(trial)].tries)
		return err_set(err, FAIL_BOOT,
			"a firmware gives one group one boot to be tried, the next one");
	if (judge_firmware(m) == FIRMWARE_LIES)
		return err_set(err, FAIL_BOOT,
			"this firmware does not boot what BootNext says (it was asked for one "
			"entry "
			"and booted another), so that nothing can be tried on it; to have it asked "
			"again, remove the variable AbideState and restart");
	return 0;
}

/* What the firmware's variables do not say. */
static struct manager_memory memory_for(const struct manager *m, const struct boot_state *state)
{
	struct manager_memory memory = {.firmware = judge_firmware(m)};

	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		const struct boot_group *group = &state->group[g];
		bool same = m->memory.has_asked && m->memory.asked == (enum manager_entry)g;

		if (group->tries > 0) {
			memory.has_asked = true;
			memory.asked = (enum manager_entry)g;
			memcpy(memory.boot, same && m->has_next ? m->memory.boot : m->boot,
				sizeof(memory.boot));
		} else if (group->bad && state->primary == g) {
			/* Its only try, under way or over: asked for before this boot. */
			memory.has_asked = true;
			memory.asked = (enum manager_entry)g;
			if (same)
				memcpy(memory.boot, m->memory.boot, sizeof(memory.boot));
		} else {
			memory.bad[g] = group->bad;
		}
	}
	return memory;
}

/*
 * Asks the firmware, once, to start the running group under another number at the next boot, where
 * BootCurrent says whether it did. A cut after BootNext: that is what happens, and it counts. Only
 * where nothing else is going on.
 */
static int probe(const struct efi *e, struct manager *m, const struct boot_state *state,
	struct manager_memory *memory, struct err *err)
{
	static const enum manager_entry PROBE = ENTRY_PROBE;

	if (memory->firmware != FIRMWARE_UNKNOWN || memory->has_asked || m->has_next ||
		!state->group[e->booted].good || state->primary != e->booted)
		return 0;
	if (write_entry(e, m, ENTRY_PROBE, e->booted, err) < 0 ||
		manager_write_next(e->variables, m, &PROBE, err) < 0)
		return -1;
	memory->has_asked = true;
	memory->asked = ENTRY_PROBE;
	memcpy(memory->boot, m->boot, sizeof(memory->boot));
	return 0;
}

/* Keeps a probe that is on its way; takes it back when its answer is there, or something else is
 * asked for. */
static int settle_probe(const struct efi *e, struct manager *m, struct manager_memory *memory,
	bool *ret_waits, struct err *err)
{
	*ret_waits = memory->firmware == FIRMWARE_UNKNOWN && !memory->has_asked &&
		     m->memory.has_asked && m->memory.asked == ENTRY_PROBE && m->has_next &&
		     manager_is(m, ENTRY_PROBE, m->next);
	if (*ret_waits) {
		memory->has_asked = true;
		memory->asked = ENTRY_PROBE;
		memcpy(memory->boot, m->memory.boot, sizeof(memory->boot));
		return 0;
	}
	if (memory->firmware == FIRMWARE_UNKNOWN)
		return 0;
	return manager_remove_entry(e->variables, m, ENTRY_PROBE, err);
}

static bool next_is_ours(const struct manager *m)
{
	return m->has_next && (manager_is(m, ENTRY_A, m->next) || manager_is(m, ENTRY_B, m->next));
}

/*
 * Each edge of updater/state.h is one of these writes, which is the commit; those before it change
 * nothing that boots, and the memory after it none either:
 *	entries               not in the order, and not asked for
 *	BootNext is removed   deactivate, disarm: the order boots
 *	BootOrder             confirm, revert of a good group, activate_good, disarm
 *	BootNext              flip
 *	AbideState            forget_bad, revert of a trial (which boots no more anyway)
 * A cut before the memory is written costs the memory: a trial that then fails is disarmed
 * instead of bad, and its build is tried once more.
 */
static int commit_managed(
	const struct efi *e, struct manager *m, const struct boot_state *state, struct err *err)
{
	struct manager_memory memory = memory_for(m, state);
	enum group trial = GROUP_A;
	bool has_trial = trial_of(state, &trial), waits = false;
	enum manager_entry next = (enum manager_entry)trial;
	bool asks = has_trial && !(m->has_next && manager_is(m, next, m->next));

	if (manager_check_memory(e->variables, err) < 0)
		return -1;
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		if (wanted_entry(state, g) && write_entry(e, m, (enum manager_entry)g, g, err) < 0)
			return -1;
	if (!has_trial && next_is_ours(m) && manager_write_next(e->variables, m, NULL, err) < 0)
		return -1;
	if (write_order(e, m, state, err) < 0 ||
		(has_trial && manager_write_next(e->variables, m, &next, err) < 0))
		return -1;
	if (settle_probe(e, m, &memory, &waits, err) < 0 ||
		(!waits && probe(e, m, state, &memory, err) < 0) ||
		manager_write_memory(e->variables, &memory, err) < 0) {
		struct err ignored; /* the first one counts */

		/* What failed is not tried: the order boots, as before. */
		if (asks)
			(void)manager_write_next(e->variables, m, NULL, &ignored);
		return -1;
	}
	return 0;
}

static int efi_commit(struct bootloader *bl, const struct boot_state *state, struct err *err)
{
	struct manager m;

	if (look(efi(bl), &m, err) < 0)
		return -1;
	if (check_wanted(&m, state, err) < 0 || commit_managed(efi(bl), &m, state, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "EFI boot manager");
	return 0;
}

static void efi_free(struct bootloader *bl)
{
	free(efi(bl)->esp);
	free(efi(bl)->variables);
	free(efi(bl));
}

static const struct bootloader_ops OPS = {
	.name = "efi",
	.tries_max = EFI_TRIES_MAX,
	.read = efi_read,
	.commit = efi_commit,
	.free = efi_free,
};

int efi_open(const struct efi_options *options, struct bootloader **ret, struct err *err)
{
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	struct efi *e;
	void *p = NULL;

	if (mem_alloc(sizeof(struct efi), &p, err) < 0)
		return -1;
	bl = p;
	bl->ops = &OPS;
	e = efi(bl);
	e->booted = options->booted;
	e->has_partition = options->partition != NULL;
	if (options->partition)
		e->partition = *options->partition;
	if (mem_strdup(options->esp, &e->esp, err) < 0 ||
		mem_strdup(options->variables, &e->variables, err) < 0)
		return -1;
	*ret = steal_ptr(&bl);
	return 0;
}

/* ---- the model ---- */

bool efi_model_start(
	struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret)
{
	const enum group order[] = {state->primary, group_other(state->primary)};

	for (unsigned int i = 0; i < GROUP_COUNT; i++) {
		struct boot_group *group = &state->group[order[i]];

		if (!boot_group_bootable(group))
			continue;
		if (!group->good && --group->tries == 0)
			group->bad = true;
		if (!loads[order[i]])
			continue;
		*ret = order[i];
		return true;
	}
	/* abide-start.efi: any group that loads. */
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		if (!loads[g])
			continue;
		*ret = g;
		return true;
	}
	return false;
}
