#include "updater/confirm.h"

#include <stdio.h>
#include <string.h>

#include "updater/lock.h"
#include "updater/mem.h"
#include "updater/record.h"

/* ---- journal lines ---- */

static void record(const struct device *device, const struct confirm_options *options,
	const struct device_view *view, enum group group, struct journal_entry entry)
{
	const struct group_facts *facts = &view->facts[group];

	entry.group = group_name(group);
	if (facts->seal == SEAL_SEALED)
		entry.artifact = &facts->artifact;
	entry.version = facts->version;
	record_entry(device->state_dir, &entry, options->note, options->arg);
}

/* The bootloader went back on its own: its tries were used up by boots that never got as far as a
 * health check. The first boot of the good group afterwards writes down what happened. */
static void record_fallback(const struct device *device, const struct confirm_options *options,
	const struct device_view *view)
{
	enum group target = view->state.target;
	char known[8];

	if (!view->state.target_rejected ||
		journal_last_why(device->state_dir, "reverted", &view->facts[target].artifact,
			known, sizeof(known)))
		return;
	record(device, options, view, target,
		(struct journal_entry){.event = "reverted",
			.from = state_name(STATE_TRIAL),
			.to = state_name(view->state.now),
			.why = "every try was used up without a passed health check"});
}

/* The bootloader was to start the other group and did not. Said at every boot, written down once.
 * Nothing is changed: whether to stay here or to mend the other group is for an install, or for a
 * person. */
static void record_passed_over(const struct device *device, const struct confirm_options *options,
	const struct device_view *view, struct confirm_result *result)
{
	const struct group_facts *facts = &view->facts[view->state.target];
	char text[160], last[32];

	if (view->state.now != STATE_PASSED_OVER)
		return;
	result->passed_over = true;
	(void)snprintf(text, sizeof(text),
		"the bootloader was to start group %s, which is %s, and started group %s",
		group_name(view->state.target),
		view->boot.group[view->state.target].good ? "confirmed" : "on trial",
		group_name(view->state.booted)); /* fits */
	if (options->note)
		options->note(options->arg, text);
	if (facts->seal == SEAL_SEALED &&
		!(journal_last_event(device->state_dir, &facts->artifact, last, sizeof(last)) &&
			strcmp(last, "passed-over") == 0))
		record(device, options, view, view->state.target,
			(struct journal_entry){.event = "passed-over",
				.from = state_name(STATE_ACTIVATED),
				.to = state_name(STATE_PASSED_OVER),
				.why = text});
}

/* A copy of the bootloader's environment that was lost and is healed now: said once, here. */
static void record_boot_note(const struct device *device, const struct confirm_options *options,
	const struct device_view *view)
{
	if (!view->boot_note[0])
		return;
	if (options->note)
		options->note(options->arg, view->boot_note);
	record(device, options, view, view->state.booted,
		(struct journal_entry){.event = "environment-healed", .why = view->boot_note});
}

/* ---- confirm ---- */

static int revert_from(struct device *device, const struct device_view *view, const char *why,
	const char *output, const struct confirm_options *options, struct err *err)
{
	const struct boot_state next = edge_revert(&view->boot, view->state.booted);

	/* Power cut before this commit: the trial goes on, or is used up. After it: the other,
	 * confirmed group boots. */
	if (bootloader_commit(device->boot, &next, err) < 0)
		return -1;
	record(device, options, view, view->state.booted,
		(struct journal_entry){.event = "reverted",
			.from = state_name(view->state.now),
			.to = state_name(STATE_REVERTING),
			.why = why,
			.output = output});
	return 0;
}

/* A failed check costs the try that this boot used up. */
static int fail_trial(struct device *device, const struct device_view *view,
	const struct confirm_options *options, struct confirm_result *result, struct err *err)
{
	const struct boot_group *running = &view->boot.group[view->state.booted];
	const struct boot_group *other = &view->boot.group[view->state.target];
	char why[512];

	(void)snprintf(why, sizeof(why), "health check '%s' failed: %s", result->health.failed,
		result->health.why);
	result->tries_left = running->tries;
	if (running->tries == 0 && other->good) {
		if (revert_from(device, view, why, result->health.output, options, err) < 0)
			return -1;
		result->reverted = true;
	} else {
		record(device, options, view, view->state.booted,
			(struct journal_entry){.event = "health-failed",
				.from = state_name(STATE_TRIAL),
				.to = state_name(STATE_TRIAL),
				.why = why,
				.output = result->health.output});
	}
	return err_set(err, FAIL_HEALTH, "%s", why);
}

static int pass_trial(struct device *device, const struct device_view *view,
	const struct confirm_options *options, struct err *err)
{
	const struct boot_state next = edge_confirm(&view->boot, view->state.booted);

	/* Power cut before this commit: one try less, and the checks run again at the next boot.
	 * After it: the group is good and not counted any more. */
	if (bootloader_commit(device->boot, &next, err) < 0)
		return -1;
	record(device, options, view, view->state.booted,
		(struct journal_entry){.event = "confirmed",
			.from = state_name(STATE_TRIAL),
			.to = state_name(STATE_IDLE),
			.why = "every health check passed"});
	return 0;
}

static int judge_trial(struct device *device, const struct device_view *view,
	const struct confirm_options *options, struct confirm_result *result, struct err *err)
{
	if (health_run(device->health_dir, device->health_timeout, &result->health, err) < 0) {
		/* Checks that cannot be run prove nothing: the same as a failed one. */
		result->health.passed = false;
		(void)snprintf(result->health.failed, sizeof(result->health.failed), "%s",
			device->health_dir);
		(void)snprintf(result->health.why, sizeof(result->health.why), "%.127s", err->msg);
	}
	if (!result->health.passed)
		return fail_trial(device, view, options, result, err);
	result->outcome = CONFIRM_CONFIRMED;
	return pass_trial(device, view, options, err);
}

int confirm_run(struct device *device, const struct confirm_options *options,
	struct confirm_result *ret, struct err *err)
{
	CLEANUP(lock_release) struct lock lock = {.fd = -1};
	struct confirm_result result = {.outcome = CONFIRM_ALREADY, .group = device->booted};
	struct device_view view;
	int failed;

	if (lock_take(device->run_dir, "confirm", &lock, err) < 0 ||
		device_examine(device, &view, err) < 0 ||
		state_check(view.state.now, EVENT_CONFIRM, err) < 0)
		return -1;
	record_boot_note(device, options, &view);
	if (view.state.now != STATE_TRIAL) {
		struct err trouble;

		/* Good already. A confirm that was killed may have left the hook's second copy
		 * behind: this brings it up to date, else it writes nothing. */
		if (bootloader_commit(device->boot, &view.boot, &trouble) < 0 && options->note)
			options->note(options->arg, trouble.msg);
		record_fallback(device, options, &view);
		record_passed_over(device, options, &view, &result);
		*ret = result;
		return 0;
	}
	if (view.facts[device->booted].seal != SEAL_SEALED)
		return err_set(err, FAIL_DRIFT,
			"group %s is on trial, but its slots are not sealed with one artifact: not "
			"confirmed",
			group_name(device->booted));
	failed = judge_trial(device, &view, options, &result, err);
	*ret = result; /* also tells what failed */
	return failed;
}

/* ---- revert ---- */

int revert_run(struct device *device, const char *why, const struct confirm_options *options,
	struct err *err)
{
	CLEANUP(lock_release) struct lock lock = {.fd = -1};
	struct device_view view;

	if (lock_take(device->run_dir, "revert", &lock, err) < 0 ||
		device_examine(device, &view, err) < 0)
		return -1;
	if (view.state.now == STATE_REVERTING) /* asked for twice: only made durable */
		return bootloader_commit(device->boot, &view.boot, err);
	if (state_check(view.state.now, EVENT_REVERT, err) < 0)
		return -1;
	if (!view.boot.group[view.state.target].good)
		return err_set(err, FAIL_STATE,
			"there is nothing to go back to: group %s is not confirmed",
			group_name(view.state.target));
	return revert_from(device, &view, why, NULL, options, err);
}

/* ---- activate ---- */

static int prove_slot(const struct device *device, const struct device_view *view, size_t class,
	enum group group, const struct readback_watch *watch, struct readback_proof **ret,
	struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *slot = NULL;
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	const struct manifest_image *image;

	if (view->seals[group][class].state != SEAL_SEALED)
		return err_set(err, FAIL_DRIFT, "not sealed");
	if (device->open_slot(device, class, group, false, &slot, err) < 0 ||
		device_read_header(device, slot, &view->seals[group][class], NULL, &trusted,
			&manifest, err) < 0)
		return -1;
	image = manifest_image(manifest, device->classes[class].name);
	if (!image)
		return err_set(err, FAIL_DRIFT, "its artifact has no image '%s'",
			device->classes[class].name);
	return readback_run(slot, trusted, image, watch, ret, err);
}

static bool was_rejected(const struct device_view *view)
{
	const struct group_facts *facts = &view->facts[view->state.target];

	for (uint32_t i = 0; i < facts->rejected_count; i++)
		if (digest_equal(&facts->rejected[i], &facts->artifact))
			return true;
	return view->state.target_rejected;
}

/* By force: the bootloader's `bad` goes with the flip, and the seals keep the memory. */
static int keep_rejected(
	const struct device *device, const struct device_view *view, struct err *err)
{
	for (size_t i = 0; view->state.target_rejected && i < device->class_count; i++) {
		CLEANUP(blockdev_close) struct blockdev *slot = NULL;
		struct seal seal = view->seals[view->state.target][i];

		if (device->open_slot(device, i, view->state.target, true, &slot, err) < 0 ||
			seal_keep_rejected(slot, &seal, err) < 0)
			return -1;
	}
	return 0;
}

static int activate_other(struct device *device, const struct device_view *view, bool force,
	const struct confirm_options *options, struct err *err)
{
	struct readback_proof *proofs[MANIFEST_IMAGES_MAX] = {0};
	const struct group_facts *facts = &view->facts[view->state.target];
	char name[MANIFEST_CLASS_MAX + 3];
	int result = 0;

	if (facts->seal != SEAL_SEALED || !facts->proven)
		return err_set(err, FAIL_STATE, "group %s holds no artifact: install one",
			group_name(view->state.target));
	if (was_rejected(view) && !force)
		return err_set(err, FAIL_REFUSED,
			"group %s failed its trial (see 'abide status'); --force tries it again",
			group_name(view->state.target));
	if (facts->security_version < view->state.floor)
		return err_set(err, FAIL_REFUSED,
			"group %s has security_version %llu, this device's floor is %llu",
			group_name(view->state.target), (unsigned long long)facts->security_version,
			(unsigned long long)view->state.floor);
	for (size_t i = 0; i < device->class_count && result == 0; i++) {
		result = prove_slot(
			device, view, i, view->state.target, &options->watch, &proofs[i], err);
		device_slot_name(device, i, view->state.target, name, sizeof(name));
		if (result < 0)
			(void)err_wrap(err, "slot '%s'", name);
	}
	if (result == 0)
		result = keep_rejected(device, view, err);
	if (result == 0)
		result = device_flip(device, &view->boot, &view->state,
			(const struct readback_proof *const *)proofs, device->class_count, err);
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		readback_proof_free(&proofs[i]);
	if (result == 0)
		record(device, options, view, view->state.target,
			(struct journal_entry){.event = "activated",
				.from = state_name(view->state.now),
				.to = state_name(STATE_ACTIVATED),
				.why = "by hand"});
	return result;
}

static int deactivate(struct device *device, const struct device_view *view,
	const struct confirm_options *options, struct err *err)
{
	const struct boot_state next = edge_deactivate(&view->boot, view->state.booted);

	if (state_check(view->state.now, EVENT_DEACTIVATE, err) < 0 ||
		bootloader_commit(device->boot, &next, err) < 0)
		return -1;
	record(device, options, view, view->state.target,
		(struct journal_entry){.event = "deactivated",
			.from = state_name(view->state.now),
			.to = state_name(STATE_IDLE),
			.why = "by hand"});
	return 0;
}

int activate_run(struct device *device, enum group group, bool force,
	const struct confirm_options *options, bool *ret_changed, struct err *err)
{
	CLEANUP(lock_release) struct lock lock = {.fd = -1};
	struct device_view view;

	if (lock_take(device->run_dir, "activate", &lock, err) < 0 ||
		device_examine(device, &view, err) < 0)
		return -1;
	if (view.state.next_known && view.state.next == group &&
		view.state.now != STATE_PASSED_OVER) {
		/* Whoever did it may have died before the flush. */
		if (bootloader_commit(device->boot, &view.boot, err) < 0)
			return -1;
		*ret_changed = false;
		return 0;
	}
	if (group == view.state.booted) {
		if (deactivate(device, &view, options, err) < 0)
			return -1;
	} else if (state_check(view.state.now, EVENT_FLIP, err) < 0 ||
		   activate_other(device, &view, force, options, err) < 0) {
		return -1;
	}
	*ret_changed = true;
	return 0;
}

/* ---- verify ---- */

static struct verify_finding *add_finding(struct verify_report *report)
{
	return &report->findings[report->count++];
}

static void verify_slot(struct device *device, const struct device_view *view, size_t class,
	enum group group, const struct confirm_options *options, struct verify_report *report)
{
	CLEANUP(readback_proof_free) struct readback_proof *proof = NULL;
	struct verify_finding *finding = add_finding(report);
	struct err err = {0};

	device_slot_name(device, class, group, finding->name, sizeof(finding->name));
	if (view->seals[group][class].state != SEAL_SEALED &&
		!boot_group_bootable(&view->boot.group[group]) && group != device->booted) {
		finding->ok = true;
		(void)snprintf(finding->detail, sizeof(finding->detail),
			"not sealed, and not bootable: holds nothing");
		return;
	}
	finding->ok = prove_slot(device, view, class, group, &options->watch, &proof, &err) == 0;
	(void)snprintf(finding->detail, sizeof(finding->detail), "%.250s",
		finding->ok ? "the image is the signed one, byte for byte" : err.msg);
}

/* What may boot must be known: sealed, with one artifact, whose signature verifies. */
static void verify_boot(
	const struct device_view *view, enum group group, struct verify_report *report)
{
	const struct group_facts *facts = &view->facts[group];
	bool bootable =
		boot_group_bootable(&view->boot.group[group]) || group == view->state.booted;
	struct verify_finding *finding = add_finding(report);

	(void)snprintf(finding->name, sizeof(finding->name), "%s", group_name(group));
	finding->ok = !bootable || (facts->seal == SEAL_SEALED && facts->proven);
	if (finding->ok)
		(void)snprintf(finding->detail, sizeof(finding->detail), "%s",
			bootable ? "bootable, and its slots are sealed with one artifact"
				 : "not bootable");
	else
		(void)snprintf(finding->detail, sizeof(finding->detail),
			"bootable, but not one known artifact: %.200s",
			view->problem[group].code ? view->problem[group].msg
						  : "its slots are not sealed alike");
}

int verify_run(struct device *device, unsigned int which, const struct confirm_options *options,
	struct verify_report *ret, struct err *err)
{
	struct device_view view;
	struct verify_report report = {0};
	const struct verify_finding *first_bad = NULL;

	if (device_examine(device, &view, err) < 0)
		return -1;
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		if (!(which & 1u << g))
			continue;
		for (size_t i = 0; i < device->class_count; i++)
			verify_slot(device, &view, i, g, options, &report);
		verify_boot(&view, g, &report);
	}
	if (options->watch.interrupted && *options->watch.interrupted)
		return err_set(err, FAIL_INTERRUPTED, "interrupted");
	for (size_t i = 0; i < report.count && !first_bad; i++)
		if (!report.findings[i].ok)
			first_bad = &report.findings[i];
	*ret = report;
	if (first_bad)
		return err_set(err, FAIL_DRIFT, "'%s': %s", first_bad->name, first_bad->detail);
	return 0;
}
