/*
 * confirm - what happens to an installed group afterwards: confirm, activate, revert, verify.
 *
 * confirm_run() is called by the device's init at every boot (updater/init/). In a trial it runs
 * the health checks and makes the group good; on a group that is good already it does nothing. A
 * failed check costs the try this boot used up; when it was the last, the group is marked bad and
 * the previous one boots again. The caller reboots.
 *
 * The journal never stops any of these: a line that cannot be written becomes a note.
 */
#ifndef ABIDE_UPDATER_CONFIRM_H
#define ABIDE_UPDATER_CONFIRM_H

#include <stdbool.h>
#include <stddef.h>

#include "updater/device.h"
#include "updater/err.h"
#include "updater/health.h"
#include "updater/readback.h"

struct confirm_options {
	void (*note)(void *arg, const char *text); /* survivable trouble, one line; or NULL */
	void *arg;
	struct readback_watch watch; /* activate, verify: progress and interruption */
};

enum confirm_outcome {
	CONFIRM_ALREADY, /* the running group is good: nothing done */
	CONFIRM_CONFIRMED, /* the checks passed: it is good now */
};

struct confirm_result {
	enum confirm_outcome outcome;
	enum group group; /* the running one */
	bool passed_over; /* the bootloader was to start the other group, and did not */
	struct health_report health; /* if checks were run; also when they failed */
	bool reverted; /* failed on the last try: the other group boots next */
	unsigned int tries_left; /* failed: boots that are left to this group */
};

/* FAIL_HEALTH if a check failed (*ret is filled then too: reverted, tries_left, health). */
int confirm_run(struct device *device, const struct confirm_options *options,
	struct confirm_result *ret, struct err *err);

/* Makes `group` boot next: the other one after a read-back of all its slots (on trial, unless it
 * was good); the running one by taking a flip back. *ret_changed says whether anything was done.
 * FAIL_REFUSED for a rejected build unless `force`. */
int activate_run(struct device *device, enum group group, bool force,
	const struct confirm_options *options, bool *ret_changed, struct err *err);

/* Marks the running group bad and makes the other, confirmed one boot next. `why` for the journal.
 */
int revert_run(struct device *device, const char *why, const struct confirm_options *options,
	struct err *err);

/* Drift: one finding per slot, and per group what the bootloader says against the seals. */
struct verify_finding {
	char name[MANIFEST_CLASS_MAX + 3]; /* "rootfs.a", or "a" for a group's boot state */
	bool ok;
	char detail[256];
};
#define VERIFY_FINDINGS_MAX (GROUP_COUNT * (MANIFEST_IMAGES_MAX + 1u))
struct verify_report {
	size_t count;
	struct verify_finding findings[VERIFY_FINDINGS_MAX];
};
/* which: bit 1 << GROUP_A, 1 << GROUP_B. FAIL_DRIFT if any finding is not ok (*ret is filled). */
int verify_run(struct device *device, unsigned int which, const struct confirm_options *options,
	struct verify_report *ret, struct err *err);

#endif
