#include "qemu/scenario.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "updater/mem.h"

#define POWER_CYCLES 20u

/* ---- what they have in common ---- */

/* It runs what ran before, which is good; the release that was tried is rejected and not. */
static int expect_reverted(struct rig *rig, const char *rejected, struct err *err)
{
	char booted[32], next[32], good[32], other[32], version[64];
	const char *const expected[] = {
		"\"state\":\"idle\"", booted, next, good, other, version, NULL};

	(void)snprintf(booted, sizeof(booted), "\"booted\":\"%s\"", rig->here);
	(void)snprintf(next, sizeof(next), "\"next\":\"%s\"", rig->here);
	(void)snprintf(good, sizeof(good), "\"%s\":{\"good\":true", rig->here);
	(void)snprintf(other, sizeof(other), "\"%s\":{\"good\":false,\"bad\":true", rig->there);
	(void)snprintf(version, sizeof(version), "\"version\":\"%s\",\"why\":", rejected);
	if (rig_wait_up(rig, rig->version, err) < 0 || rig_status(rig, expected, err) < 0)
		return -1;
	rig->reverted = true;
	return 0;
}

/* The release that was installed runs, and is good; and so is what ran before. */
static int expect_confirmed(struct rig *rig, const char *version, struct err *err)
{
	char booted[32], next[32];
	const char *const expected[] = {"\"state\":\"idle\"", booted, next, "\"a\":{\"good\":true",
		"\"b\":{\"good\":true", "\"boot_note\":null", NULL};

	(void)snprintf(booted, sizeof(booted), "\"booted\":\"%s\"", rig->there);
	(void)snprintf(next, sizeof(next), "\"next\":\"%s\"", rig->there);
	if (rig_wait_up(rig, version, err) < 0 || rig_status(rig, expected, err) < 0)
		return -1;
	rig->updated = true;
	return 0;
}

/* Makes the device ready, installs a release that fails and boots it, for its only try. */
static int try_release(struct rig *rig, const char *bundle, struct err *err)
{
	if (rig_ready(rig, err) < 0 || rig_install_with_tries(rig, 1, bundle, err) < 0)
		return -1;
	return rig_order_reboot(rig, err);
}

static int update(struct rig *rig, struct err *err)
{
	const struct release *release;

	if (rig_ready(rig, err) < 0)
		return -1;
	release = rig_next_release(rig);
	if (rig_install(rig, "", release->bundle, 0, err) < 0 || rig_order_reboot(rig, err) < 0)
		return -1;
	return expect_confirmed(rig, release->version, err);
}

/* ---- updates ---- */

static int update_is_confirmed(struct rig *rig, struct err *err)
{
	return update(rig, err);
}

static int there_and_back_again(struct rig *rig, struct err *err)
{
	for (int i = 0; i < 3; i++)
		if (update(rig, err) < 0)
			return err_wrap(err, "update %d of 3", i + 1);
	return 0;
}

/* ---- releases that fail ---- */

static int unhealthy(struct rig *rig, struct err *err)
{
	if (try_release(rig, "release-3", err) < 0 ||
		rig_wait(rig, "release 3.0.0 starts", err) < 0 ||
		rig_wait(rig, "a health check failed: rebooting", err) < 0)
		return -1;
	return expect_reverted(rig, "3.0.0", err);
}

static int kernel_panics(struct rig *rig, struct err *err)
{
	if (try_release(rig, "panic", err) < 0 || rig_wait(rig, "release 4.0.0 starts", err) < 0 ||
		rig_wait(rig, "Kernel panic", err) < 0)
		return -1;
	return expect_reverted(rig, "4.0.0", err);
}

static int guest_hangs(struct rig *rig, struct err *err)
{
	if (try_release(rig, "hang", err) < 0 || rig_wait(rig, "release 5.0.0 starts", err) < 0 ||
		expect_reverted(rig, "5.0.0", err) < 0)
		return -1;
	if (vm_seen(rig->vm, "release 5.0.0 is up"))
		return err_set(err, FAIL_STATE, "the release that hangs came up");
	return 0;
}

/* A good release that was reverted: it is refused here from now on. So the next scenario gets a device
 * that knows nothing of it. */
static int expect_reverted_for_good(struct rig *rig, const char *rejected, struct err *err)
{
	if (expect_reverted(rig, rejected, err) < 0)
		return -1;
	rig_cut_power(rig);
	return 0;
}

/* Nothing in the guest runs any more: what resets it is a watchdog outside of it. */
static int machine_dies(struct rig *rig, struct err *err)
{
	const struct release *release;

	if (rig_ready(rig, err) < 0)
		return -1;
	release = rig_next_release(rig);
	if (try_release(rig, release->bundle, err) < 0 || rig_wait_counted(rig, err) < 0 ||
		vm_freeze(rig->vm, err) < 0)
		return -1;
	(void)sleep(1);
	if (vm_reset(rig->vm, err) < 0)
		return -1;
	return expect_reverted_for_good(rig, release->version, err);
}

static int kernel_is_missing(struct rig *rig, struct err *err)
{
	if (try_release(rig, "no-kernel", err) < 0)
		return -1;
	if (rig->device->not_loaded && rig_wait(rig, rig->device->not_loaded, err) < 0)
		return -1;
	return expect_reverted(rig, "6.0.0", err);
}

/* Its kernel must not be told to wait for a root device that only the initramfs makes appear. */
static int initramfs_is_missing(struct rig *rig, struct err *err)
{
	if (try_release(rig, "no-initrd", err) < 0 || expect_reverted(rig, "8.0.0", err) < 0)
		return -1;
	if (vm_seen(rig->vm, "release 8.0.0 starts"))
		return err_set(err, FAIL_STATE, "the release without an initramfs started");
	return 0;
}

/* Of which hardly a chunk is on a device that does not hold it: it is all fetched. */
static const struct release STRANGE = {"other", "7.0.0"};

static int ready_for_strange(struct rig *rig, struct err *err)
{
	if (rig_ready(rig, err) < 0)
		return -1;
	if (strcmp(rig->version, STRANGE.version) != 0 &&
		strcmp(rig->other_version, STRANGE.version) != 0)
		return 0;
	rig_cut_power(rig); /* so that a new one is made ready */
	return rig_ready(rig, err);
}

/* The bundle of the strange one, changed. */
static int changed_bytes_never_boot(struct rig *rig, struct err *err)
{
	char good[32], other[64];
	const char *const expected[] = {"\"state\":\"writing\"", good, other, NULL};

	if (ready_for_strange(rig, err) < 0 || rig_install(rig, "", "data", 3, err) < 0)
		return -1;
	(void)snprintf(good, sizeof(good), "\"%s\":{\"good\":true", rig->here);
	(void)snprintf(other, sizeof(other), "\"%s\":{\"good\":false,\"bad\":false,\"tries\":0",
		rig->there);
	if (rig_status(rig, expected, err) < 0 || rig_order_reboot(rig, err) < 0)
		return -1;
	return rig_wait_up(rig, rig->version, err);
}

/* ---- power cuts ---- */

/* The group that runs is good and next; the other one is half written. */
static int expect_writing(struct rig *rig, struct err *err)
{
	char booted[32], next[32], good[32];
	const char *const expected[] = {"\"state\":\"writing\"", booted, next, good, NULL};

	(void)snprintf(booted, sizeof(booted), "\"booted\":\"%s\"", rig->here);
	(void)snprintf(next, sizeof(next), "\"next\":\"%s\"", rig->here);
	(void)snprintf(good, sizeof(good), "\"%s\":{\"good\":true", rig->here);
	return rig_status(rig, expected, err);
}

/* Cut twice on the way, taken up again, completed. Seconds would say little of how far it is. */
static int cut_in_install(struct rig *rig, struct err *err)
{
	static const char *const BARS[] = {"[===", "[========"}; /* of some fifteen that it draws */

	if (ready_for_strange(rig, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(BARS); i++) {
		if (rig_begin_slow_install(rig, STRANGE.bundle, BARS[i], err) < 0)
			return -1;
		rig_cut_power(rig);
		if (rig_power_on(rig, rig->version, err) < 0 || expect_writing(rig, err) < 0)
			return err_wrap(err, "cut at '%s'", BARS[i]);
	}
	if (rig_install(rig, "", STRANGE.bundle, 0, err) < 0 ||
		rig_run(rig, 0, err, "abide verify %s", rig->there) < 0 ||
		rig_order_reboot(rig, err) < 0)
		return -1;
	return expect_confirmed(rig, STRANGE.version, err);
}

static int cut_and_start(struct rig *rig, struct err *err)
{
	rig_cut_power(rig);
	return rig_start(rig, err);
}

/* Where a trial has one try, a power cut uses it up. */
static int cut_on_the_only_way_up(struct rig *rig, struct err *err)
{
	const struct release *release;

	if (rig_ready(rig, err) < 0)
		return -1;
	release = rig_next_release(rig);
	if (rig_install_with_tries(rig, 1, release->bundle, err) < 0 ||
		rig_order_reboot(rig, err) < 0 || rig_wait_counted(rig, err) < 0 ||
		cut_and_start(rig, err) < 0)
		return -1;
	return expect_reverted_for_good(rig, release->version, err);
}

/* In the bootloader before and after it has counted, and in the trial before it is confirmed: three
 * tries are used up, the fourth confirms. */
static int cut_on_the_way_up(struct rig *rig, struct err *err)
{
	const struct release *release;
	char starts[64];

	if (rig->device->tries_max == 1)
		return cut_on_the_only_way_up(rig, err);
	if (rig_ready(rig, err) < 0)
		return -1;
	release = rig_next_release(rig);
	(void)snprintf(starts, sizeof(starts), "release %s starts", release->version);
	if (rig_install_with_tries(rig, 4, release->bundle, err) < 0 ||
		rig_order_reboot(rig, err) < 0 || rig_wait(rig, rig->device->loader, err) < 0 ||
		cut_and_start(rig, err) < 0 || rig_wait_counted(rig, err) < 0 ||
		cut_and_start(rig, err) < 0 || rig_wait(rig, starts, err) < 0 ||
		cut_and_start(rig, err) < 0)
		return -1;
	return expect_confirmed(rig, release->version, err);
}

/* Anywhere on the way up, also within a second of starting. Nothing is counted. */
static int idle_power_cycles(struct rig *rig, struct err *err)
{
	CLEANUP(cleanup_free) char *before = NULL;

	if (rig_ready(rig, err) < 0 || rig_run(rig, 0, err, "abide status --json") < 0 ||
		mem_strdup(rig->result.output, &before, err) < 0)
		return -1;
	for (unsigned int i = 0; i < POWER_CYCLES; i++) {
		if (cut_and_start(rig, err) < 0)
			return -1;
		if (i % 5 > 0 && rig_wait(rig, rig->device->loader, err) < 0)
			return err_wrap(err, "power cycle %u", i + 1);
		if (i % 5 > 2)
			(void)sleep(i % 5 - 2);
	}
	rig_cut_power(rig);
	if (rig_power_on(rig, rig->version, err) < 0 ||
		rig_run(rig, 0, err, "abide status --json") < 0)
		return -1;
	if (strcmp(before, rig->result.output) != 0)
		return err_set(err, FAIL_STATE, "after %u power cycles: %.100s before it: %.100s",
			POWER_CYCLES, rig->result.output, before);
	return 0;
}

/* ---- the bootloader's state ---- */

static int damage_one_copy(struct rig *rig, struct err *err)
{
	const struct vm_damage *damage = &rig->device->damage_one;
	const char *const healed[] = {"\"state\":\"idle\"", "\"boot_note\":null", NULL};

	if (rig_ready(rig, err) < 0 || rig_run(rig, 0, err, "%s", damage->command) < 0 ||
		rig_run(rig, damage->status_exit, err, "abide status --json") < 0 ||
		(damage->status && rig_expect(rig, damage->status, err) < 0) ||
		rig_order_reboot(rig, err) < 0 || rig_wait_up(rig, rig->version, err) < 0)
		return -1;
	if (damage->console && !vm_seen(rig->vm, damage->console))
		return err_set(err, FAIL_STATE, "the bootloader did not say '%s'", damage->console);
	/* The confirmation at the end of the boot has written both copies anew. */
	return rig_status(rig, healed, err);
}

static int check_every_copy_damaged(
	struct rig *rig, const struct vm_damage *damage, struct err *err)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "is up, confirm says %d", damage->status_exit);
	if (rig_wait(rig, text, err) < 0)
		return -1;
	if (damage->console && !vm_seen(rig->vm, damage->console))
		return err_set(err, FAIL_STATE, "the bootloader did not say '%s'", damage->console);
	if (rig_run(rig, damage->status_exit, err, "abide status --json") < 0)
		return -1;
	return damage->status ? rig_expect(rig, damage->status, err) : 0;
}

/* A known group starts all the same; abide says that it cannot know, and changes nothing. */
static int damage_every_copy(struct rig *rig, struct err *err)
{
	const struct vm_damage *damage = &rig->device->damage_all;
	int rc;

	if (rig_ready(rig, err) < 0 || rig_run(rig, 0, err, "%s", damage->command) < 0 ||
		rig_order_reboot(rig, err) < 0)
		return -1;
	rc = check_every_copy_damaged(rig, damage, err);
	rig_cut_power(rig); /* the next scenario gets a new disk */
	return rc;
}

int scenario_record(struct rig *rig, struct err *err)
{
	if (rig->recorded)
		return 0;
	if (!rig->write_log[0])
		rig_cut_power(rig); /* what runs there is not recorded from its beginning */
	if ((!rig->updated && update(rig, err) < 0) ||
		(!rig->reverted && kernel_panics(rig, err) < 0) || rig_run(rig, 0, err, "sync") < 0)
		return err_wrap(err, "recording an update");
	rig_cut_power(rig);
	rig->recorded = true;
	return 0;
}

#define QUICK  SCENARIO_QUICK
#define REPLAY SCENARIO_REPLAY
#define TOLD   SCENARIO_TOLD

const struct scenario SCENARIOS[] = {
	{"update_is_confirmed", update_is_confirmed, QUICK | TOLD},
	{"kernel_panic_is_reverted", kernel_panics, QUICK},
	{"every_prefix_of_an_update_boots", scenario_every_prefix, QUICK | REPLAY},
	{"a_broken_order_of_writes_is_noticed", scenario_broken_logs, QUICK | REPLAY},
	{"power_cut_in_flip_count_and_confirm", scenario_cut_states_boot, REPLAY},
	{"unhealthy_release_is_reverted", unhealthy, QUICK | TOLD},
	{"power_cut_on_the_way_up", cut_on_the_way_up, QUICK},
	{"hang_is_reset_and_reverted", guest_hangs, 0},
	{"dead_machine_is_reset_and_reverted", machine_dies, 0},
	{"missing_kernel_is_reverted", kernel_is_missing, 0},
	{"missing_initramfs_is_reverted", initramfs_is_missing, 0},
	{"changed_bytes_never_boot", changed_bytes_never_boot, 0},
	{"power_cut_in_install", cut_in_install, 0},
	{"update_there_and_back_again", there_and_back_again, 0},
	{"idle_power_cycles_change_nothing", idle_power_cycles, 0},
	{"one_damaged_copy_is_told_and_healed", damage_one_copy, 0},
	{"every_copy_damaged_boots_and_is_told", damage_every_copy, 0},
};
const size_t SCENARIOS_LEN = ARRAY_LEN(SCENARIOS);
