/*
 * vm_device - the virtual devices there are: one row each in VM_DEVICES.
 *
 * A new device is a row in vm_device.c, its disk (layout-NAME.ini), what its root file system has
 * of its own (image/rootfs/devices/NAME/) and its lines in releases.sh. Everything that was made
 * for it lies in a folder of its name: build/qemu/NAME.
 */
#ifndef ABIDE_QEMU_VM_DEVICE_H
#define ABIDE_QEMU_VM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "qemu/boot_view.h"
#include "qemu/checker.h"

#define VM_ARGUMENTS_MAX 32u

/* How to damage what the bootloader keeps, and how that is told. NULL texts are not looked for. */
struct vm_damage {
	const char *command; /* run on the device; NULL: this device has no such thing */
	const char *console; /* what the bootloader says at the next boot */
	const char *status; /* what `abide status --json` has to contain before it */
	int status_exit; /* and its exit status */
};

struct vm_device {
	const char *name;
	const char *title; /* for people */
	const char *qemu; /* the program */
	const char *arch; /* as uname -m says it: where the host's is the same, KVM may help */
	const char *cpu; /* to emulate */
	/* Everything of the machine but what vm.c adds: the chardevs "console", "channel" and
	 * "monitor", the drive "disk", the network "net" and the firmware. NULL-ended. */
	const char *arguments[VM_ARGUMENTS_MAX];
	/* A name without '/' is a file in the device's folder. */
	const char *firmware; /* read-only flash; with firmware_vars NULL the -bios */
	const char *firmware_vars; /* each run writes to a copy of its own */
	const char *console; /* console= of its kernel */

	/* What the console says, in this order, at every boot. */
	const char *loader; /* the bootloader runs, and has changed nothing yet */
	/* A trial was counted down and will be started, of either group. NULL: it says nothing. */
	const char *counted;
	/* The kernel of a group did not load. NULL: it says nothing. */
	const char *not_loaded;

	unsigned int tries_max; /* of a trial; 0: as many as one likes */
	/* Of each group; the first one holds the kernel. Ends with class NULL. */
	struct checker_slot slots[CHECKER_SLOTS_MAX + 1];
	/* For replaying a recorded update. */
	const struct boot_view *view;
	bool no_cache; /* its disk has none: nothing is flushed, and nothing has to be */

	struct vm_damage damage_one; /* one copy of the bootloader's state */
	struct vm_damage damage_all; /* every copy */
};

extern const struct vm_device VM_DEVICES[];
extern const size_t VM_DEVICES_LEN;

/* NULL: there is none of this name. */
const struct vm_device *vm_device_find(const char *name);

#endif
