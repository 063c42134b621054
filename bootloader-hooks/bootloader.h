/*
 * bootloader - what the bootloader knows, as one value, and the two operations on it.
 *
 *	NAME_open -> bootloader_read -> (pure changes: updater/state.h) -> bootloader_commit ->
 *_close
 *
 * A hook only translates between `struct boot_state` and its bootloader's variables; all policy is
 * pure code above it. bootloader_commit() is atomic and durable: a power cut during it leaves the
 * old state or the new one; after it returned 0 the new one. Committing what is there already
 * writes nothing.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_BOOTLOADER_H
#define ABIDE_BOOTLOADER_HOOKS_BOOTLOADER_H

#include <stdbool.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/group.h"

#define BOOT_TRIES_MAX 9u

/* One group, as the bootloader sees it. Bootable: good, or tries > 0.
 *	good           confirmed: boots without being counted
 *	tries > 0      on trial: each boot uses up one
 *	bad            was on trial and failed, or was marked by revert; not bootable
 *	none of these  disarmed: being written, or never used; not bootable
 * good excludes bad and tries; bad excludes tries. */
struct boot_group {
	bool good;
	bool bad;
	uint32_t tries; /* 0..BOOT_TRIES_MAX */
};

struct boot_state {
	struct boot_group group[GROUP_COUNT];
	enum group primary; /* tried first */
};

struct bootloader;

struct bootloader_ops {
	const char *name; /* as in `bootloader =` of the configuration */
	int (*read)(struct bootloader *bl, struct boot_state *ret, struct err *err);
	int (*commit)(struct bootloader *bl, const struct boot_state *state, struct err *err);
	void (*free)(struct bootloader *bl);
	uint32_t tries_max; /* of a trial; 0: BOOT_TRIES_MAX */
};

struct bootloader {
	const struct bootloader_ops *ops;
	char note[160]; /* set by read when something was amiss but survivable, else "" */
};

/* Fails: FAIL_BOOT. */
int bootloader_read(struct bootloader *bl, struct boot_state *ret, struct err *err);
int bootloader_commit(struct bootloader *bl, const struct boot_state *state, struct err *err);
void bootloader_close(struct bootloader **bl);

/* How many tries a trial gets that was to have `wanted`: as many as this bootloader can count. */
uint32_t bootloader_tries(const struct bootloader *bl, uint32_t wanted);

bool boot_state_equal(const struct boot_state *a, const struct boot_state *b);
bool boot_group_bootable(const struct boot_group *group);

#endif
