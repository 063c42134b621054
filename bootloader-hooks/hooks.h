/*
 * hooks - every bootloader abide knows, in one table; the only place that names them all.
 *
 *	hook_find -> hook->missing (is the configuration complete?) -> hook->open -> bootloader_read ...
 *	hook_open_auto -> bootloader_read ...            the one that the running system shows
 *
 * A new bootloader is a folder here, a row in hooks.c, and its settings in struct hook_settings.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_HOOKS_H
#define ABIDE_BOOTLOADER_HOOKS_HOOKS_H

#include <stddef.h>
#include <stdint.h>

#include "bootloader-hooks/bootloader.h"
#include "bootloader-hooks/probe.h"
#include "updater/err.h"

/* What the configuration's [boot] says; each hook takes what it needs. NULL: not set. */
struct hook_settings {
	char *grubenv; /* grub: the environment block */
	char *esp; /* systemd-boot, efi: where the ESP (or XBOOTLDR) is mounted */
	char *efivars; /* efi: where efivarfs is mounted; NULL: its usual place */
	char *fw_env_config; /* uboot: where the copies of its environment are */
	char *program; /* custom: the user's program */
	unsigned int program_timeout; /* custom: s, for each call of it; 0: CUSTOM_TIMEOUT */
	enum group booted; /* not of the configuration: what runs, set before hook->open() */
};

struct hook {
	const char *name; /* as in `bootloader =` of the configuration */
	/* The key of [boot] that is needed and not set, or NULL. */
	const char *(*missing)(const struct hook_settings *settings);
	/* Fails only if nothing can be said about the bootloader at all; what is wrong with its
	 * state is for bootloader_read() to tell. Borrows the settings for the call. */
	int (*open)(const struct hook_settings *settings, struct bootloader **ret, struct err *err);
	/* Does the running system show it? (probe.h) */
	void (*probe)(
		const struct hook_settings *settings, const char *root, struct hook_probe *ret);
	size_t path_at; /* of its key in struct hook_settings: where a found path goes */
};

/* Frees the strings. */
void hook_settings_finish(struct hook_settings *settings);

/* NULL: none has that name. */
const struct hook *hook_find(const char *name);
/* `bootloader = auto`: opens the one hook that the running system shows, and says in `ret_why` what
 * does. A key in the configuration counts for more than what lies around. FAIL_BOOT if none shows,
 * or more than one, with what was looked for or found. `root` as for a probe. */
int hook_open_auto(const struct hook_settings *settings, const char *root, struct bootloader **ret,
	char ret_why[static HOOK_PROBE_TEXT_MAX], struct err *err);
/* "grub, uboot, ...", for messages. Cut if it does not fit. */
void hook_names(char *ret, size_t cap);

#endif
