/*
 * scenario - what may happen to a device, in one table; every device of vm_device.h goes through
 * all of it (test_devices.c).
 *
 * A scenario asks for a device that is ready: running, confirmed, idle. It gets the one that the
 * scenario before it has left, in whichever group that was, or a fresh one from the factory. So it
 * names groups by what they are (`here` runs, `there` is the other one), never by their letters.
 *
 * The first device from the factory has its writes recorded, until there is an update and a revert
 * among them and a scenario asks for the record.
 */
#ifndef ABIDE_QEMU_SCENARIO_H
#define ABIDE_QEMU_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>

#include "qemu/rig.h"

enum scenario_flags {
	SCENARIO_QUICK = 1, /* in the set that `make test` runs */
	SCENARIO_REPLAY = 2, /* of the record of an update */
	SCENARIO_TOLD = 4, /* the story has it, too: where that is told, not quick */
};

struct scenario {
	const char *name;
	int (*run)(struct rig *rig, struct err *err);
	unsigned int flags;
};

extern const struct scenario SCENARIOS[];
extern const size_t SCENARIOS_LEN;

/* Sees to it that an update and a revert of a fresh device are recorded, and switches off. */
int scenario_record(struct rig *rig, struct err *err);

/* Power cuts at exact writes, from what was recorded: scenario_record.c. */
int scenario_every_prefix(struct rig *rig, struct err *err);
int scenario_broken_logs(struct rig *rig, struct err *err);
int scenario_cut_states_boot(struct rig *rig, struct err *err);

#endif
