/*
 * rig - a device on recorded memory: slots, GRUB's environment and its spare, so that the stories
 * (install.h, confirm.h) run for real and every write they make can be replayed.
 *
 *	rig_init -> rig_seal_factory -> (run something on rig.device) -> rig_finish
 *	rig_adopt -> ... -> rig_finish        a crash state as a device of its own
 *
 * Group a runs and is good; group b holds nothing. All failures are failed assertions.
 */
#ifndef ABIDE_TESTS_RIG_H
#define ABIDE_TESTS_RIG_H

#include <stddef.h>
#include <stdint.h>

#include "tests/bundles.h"
#include "tests/recorder.h"
#include "updater/device.h"
#include "updater/install.h"

#define RIG_CLASSES_MAX 2u

struct rig {
	struct recorder *rec;
	bool owns_rec;
	size_t class_count;
	unsigned int slot[RIG_CLASSES_MAX][GROUP_COUNT]; /* recorder's device numbers */
	unsigned int env;
	unsigned int spare;
	const struct bundles *bundles;
	char state_dir[PATH_MAX];
	char run_dir[PATH_MAX];
	char health_dir[PATH_MAX];
	struct device device;
};

/* Classes are "rootfs", then "app". */
void rig_init(struct rig *rig, const struct bundles *bundles, size_t class_count, size_t slot_size);
/* The same device on another recorder (a crash state, or a copy), which it does not own. */
void rig_adopt(struct rig *rig, const struct rig *like, struct recorder *rec);
void rig_finish(struct rig *rig);

/* Puts a bundle's images into group a, sealed, as a factory does; group a is good, b disarmed. */
void rig_seal_factory(struct rig *rig, const char *bundle);
/* A boot as GRUB does it: picks a group, counts its try, and that one is booted then. */
enum group rig_boot(struct rig *rig);

struct device_view rig_view(struct rig *rig);
/* install_run() with nobody watching. */
int rig_install(struct rig *rig, const char *bundle, struct install_result *ret, struct err *err);
uint8_t *rig_slot(struct rig *rig, size_t class, enum group group);
size_t rig_slot_size(const struct rig *rig);

#endif
