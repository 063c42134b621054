/*
 * order - the variable that names the groups a bootloader may start, the primary first: "A B",
 * "B A", "A" or "B". GRUB's ORDER and U-Boot's BOOT_ORDER have the same values.
 *
 * A group that is not named is disarmed. Pure.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_ORDER_H
#define ABIDE_BOOTLOADER_HOOKS_ORDER_H

#include <stdbool.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/group.h"

struct boot_order {
	const char *text;
	enum group primary;
	bool listed[GROUP_COUNT];
};

/* NULL: `text` is none of the four. */
const struct boot_order *boot_order_find(const char *text);
/* The one that says it; NULL if both groups are disarmed. */
const struct boot_order *boot_order_of(const struct boot_state *state);

#endif
