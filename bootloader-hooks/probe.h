/*
 * probe - what the running system shows of each bootloader, for `bootloader = auto`.
 *
 * Reads only, and never fails: what cannot be read is not there. A key of the configuration is
 * taken as it stands, so that its file may be broken and hook->open() is the one to say so.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_PROBE_H
#define ABIDE_BOOTLOADER_HOOKS_PROBE_H

#include <limits.h>
#include <stdbool.h>

struct hook_settings; /* hooks.h */

#define HOOK_PROBE_TEXT_MAX 256u

struct hook_probe {
	bool found;
	bool named; /* the configuration has the hook's key */
	char path[PATH_MAX]; /* found, but not named: the key's value */
	char text[HOOK_PROBE_TEXT_MAX]; /* found: what shows it; else: what was looked for */
};

/* `root` stands for "/": "" but in tests. */
void grub_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret);
void systemd_boot_probe(
	const struct hook_settings *settings, const char *root, struct hook_probe *ret);
void efi_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret);
void uboot_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret);
void custom_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret);

#endif
