/*
 * story - the life of one device, told by `make demo` and asserted by qemu/test_update: a release
 * that works, one that does not, and two that nobody trusted signed.
 *
 * Each chapter begins where the one before it ended.
 */
#ifndef ABIDE_QEMU_STORY_H
#define ABIDE_QEMU_STORY_H

#include <stddef.h>

#include "qemu/rig.h"

#define STORY_DEVICE "x86_64-grub"

struct chapter {
	const char *name; /* as a test's name */
	const char *title; /* what is to be seen */
	int (*tell)(struct rig *rig, struct err *err);
};

extern const struct chapter STORY[];
extern const size_t STORY_LEN;

#endif
