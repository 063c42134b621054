/*
 * install - bring a device to an artifact: verify, plan, write, read back, seal, flip.
 *
 * install_run() is one of the two stories of abide (the other is confirm.h), readable top to
 * bottom. It converges: run again after a success it writes nothing, run again after a power cut,
 * a kill or an interruption it goes on with what is right in the slot already.
 *
 * What may change: the target group's slots, the bootloader's state (disarm before the first byte,
 * flip after the last), the journal. Never the running group.
 */
#ifndef ABIDE_UPDATER_INSTALL_H
#define ABIDE_UPDATER_INSTALL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "updater/artifact.h"
#include "updater/device.h"
#include "updater/err.h"
#include "updater/plan.h"
#include "updater/policy.h"

enum install_phase {
	INSTALL_CHECK, /* reading what may be in place already */
	INSTALL_WRITE, /* fetching, verifying, writing */
	INSTALL_READ_BACK, /* hashing the image from the medium */
};

struct install_progress {
	enum install_phase phase;
	const char *class;
	uint64_t done; /* bytes of this image in this phase */
	uint64_t total;
};

struct install_options {
	bool force; /* a rejected build again */
	/* Installed instead when the source cannot be had, is a delta whose base is not here, or has
	 * other bytes than it should; or NULL. Verified as the source is, and the same artifact. */
	const char *fallback;
	uint64_t mark_interval; /* tests only: see fill.h */
	const volatile sig_atomic_t *interrupted; /* or NULL */
	void (*progress)(void *arg, const struct install_progress *progress); /* or NULL */
	void (*note)(void *arg, const char *text); /* survivable trouble, one line; or NULL */
	void *arg;
};

struct install_result {
	enum plan_action action; /* what was done */
	enum group group; /* the group that holds the artifact now */
	struct digest artifact;
	char version[MANIFEST_NAME_MAX + 1];
	struct plan_totals bytes; /* of all images, by source, as it turned out */
	uint64_t written; /* bytes written into slots, image data only */
	uint64_t fetched; /* bytes read from the source, as the carrier says */
	bool delta; /* the source was a delta */
	bool fallback; /* the fallback was used */
};

/* Fails with any code but FAIL_HEALTH. On failure the running system is as before; the target
 * slot may be unsealed (and is then not bootable). */
int install_run(struct device *device, const char *source, const struct install_options *options,
	struct install_result *ret, struct err *err);

/* What install_run() would do. Changes nothing, takes no lock. */
struct install_plan {
	struct digest artifact;
	struct manifest *manifest; /* owned */
	struct device_view view;
	struct policy_verdict verdict;
	enum plan_action action;
	bool refused; /* a check is not ok: the action would not happen */
	bool delta;
	struct plan_totals totals[MANIFEST_IMAGES_MAX]; /* by image; PLAN_WRITE only */
	uint64_t stored
		[MANIFEST_IMAGES_MAX]; /* bytes in the source of what is fetched, as the carrier says */
};
int install_plan(struct device *device, const char *source, const struct install_options *options,
	struct install_plan *ret, struct err *err);
void install_plan_finish(struct install_plan *plan);

#endif
