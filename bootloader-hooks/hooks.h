/*
 * hooks - every bootloader abide knows, in one table; the only place that names them all.
 *
 *	hook_find -> hook->missing (is the configuration complete?) -> hook->open -> bootloader_read ...
 *
 * A new bootloader is a folder here, a row in hooks.c, and its settings in struct hook_settings.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_HOOKS_H
#define ABIDE_BOOTLOADER_HOOKS_HOOKS_H

#include <stddef.h>
#include <stdint.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/err.h"

/* What the configuration's [boot] says; each hook takes what it needs. NULL: not set. */
struct hook_settings {
	char *grubenv; /* grub: the environment block */
	char *esp; /* systemd-boot: where the partition with the entries is mounted */
	char *fw_env_config; /* uboot: where the copies of its environment are */
	char *program; /* custom: the user's program */
};

struct hook {
	const char *name; /* as in `bootloader =` of the configuration */
	/* The key of [boot] that is needed and not set, or NULL. */
	const char *(*missing)(const struct hook_settings *settings);
	/* Fails only if nothing can be said about the bootloader at all; what is wrong with its
	 * state is for bootloader_read() to tell. Borrows the settings for the call. */
	int (*open)(const struct hook_settings *settings, struct bootloader **ret, struct err *err);
};

/* Frees the strings. */
void hook_settings_finish(struct hook_settings *settings);

/* NULL: none has that name. */
const struct hook *hook_find(const char *name);
/* "grub, uboot, ...", for messages. Cut if it does not fit. */
void hook_names(char *ret, size_t cap);

#endif
