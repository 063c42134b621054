/*
 * device - this device as abide sees it: who it is, its slots, its bootloader, and its state.
 *
 *	device_open -> device_examine -> (install, confirm, activate, revert, verify) ->
 *device_close
 *
 * device_examine() derives everything afresh from the bootloader's state and the seals; nothing is
 * remembered between two calls. A struct device may also be filled by hand: tests put recorded
 * block devices behind `open_slot` and a hook on one behind `boot`.
 */
#ifndef ABIDE_UPDATER_DEVICE_H
#define ABIDE_UPDATER_DEVICE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/blockdev.h"
#include "updater/carrier.h"
#include "updater/config.h"
#include "updater/err.h"
#include "updater/seal.h"
#include "updater/signature.h"
#include "updater/state.h"

struct readback_proof; /* readback.h */

struct device_class {
	char name[MANIFEST_CLASS_MAX + 1];
	const char *device[GROUP_COUNT]; /* as configured */
};

struct device {
	const char *compatible;
	const char *hardware; /* "" if not set */
	const char *state_dir;
	const char *run_dir;
	const char *health_dir;
	unsigned int health_timeout; /* s */
	unsigned int trial_attempts;
	struct trust trust; /* `seen` is filled by device_examine's caller: device_trust() */
	struct carrier_options carrier; /* as configured; install adds its callbacks */
	enum group booted;
	struct bootloader *boot; /* owned */
	char boot_why[HOOK_PROBE_TEXT_MAX]; /* bootloader = auto: what shows it; else "" */
	size_t class_count;
	struct device_class classes[MANIFEST_IMAGES_MAX];
	/* Opens a slot: for reading, or as the target of an install (exclusive, checked). */
	int (*open_slot)(const struct device *device, size_t class, enum group group, bool target,
		struct blockdev **ret, struct err *err);
	void *open_slot_arg;
};

struct device_view {
	struct boot_state boot;
	char boot_note[160]; /* what the bootloader hook found amiss, or "" */
	struct seal seals[GROUP_COUNT][MANIFEST_IMAGES_MAX]; /* by class, as in struct device */
	struct group_facts facts[GROUP_COUNT];
	struct err
		problem[GROUP_COUNT]; /* why a group cannot be named or proven; FAIL_NONE: it can */
	struct state state;
};

/* `config` must outlive the device. FAIL_STATE if the running group cannot be told. */
int device_open(const struct config *config, struct device *ret, struct err *err);
void device_close(struct device *device);

/* Fails only if the bootloader's state cannot be read; slots that cannot are told in `problem`. */
int device_examine(const struct device *device, struct device_view *ret, struct err *err);

/* How a new bundle's signature is judged here, and that of an installed header: the same roots,
 * but certificate times and revocation were judged when it was installed. */
struct trust device_trust(const struct device *device, const struct device_view *view);
struct trust device_trust_installed(const struct device *device);

/* Index of a class in device->classes, or -1. */
int device_class_find(const struct device *device, const char *class);
/* "rootfs.b", for messages. */
void device_slot_name(
	const struct device *device, size_t class, enum group group, char *ret, size_t cap);

/* The signed header of a sealed slot, its signature verified, and its manifest. *ret_header and
 * *ret_trusted may be NULL. The header's manifest is moved into *ret_trusted. */
int device_read_header(const struct device *device, struct blockdev *slot, const struct seal *seal,
	struct header *ret_header, struct trusted **ret_trusted, struct manifest **ret_manifest,
	struct err *err);

/* The flip: one bootloader commit that makes the target the group to try next (edge_make_next()). It takes
 * a proof of read-back for every slot of the group, all of one artifact: an unverified slot cannot
 * get here. FAIL_STATE if a proof is missing. */
int device_flip(const struct device *device, const struct boot_state *boot,
	const struct state *state, const struct readback_proof *const proofs[], size_t count,
	struct err *err);

#endif
