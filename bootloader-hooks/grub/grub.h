/*
 * grub - GRUB 2 with its environment block (see README.md here for the variables).
 *
 * Two copies of a 1024-byte block. Each commit writes both, one aligned write and a flush each, the
 * first copy first: that write is the commit; the second heals the spare. GRUB reads the first that
 * is a valid block. All variables lie within the first 512 bytes, one sector.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_GRUB_GRUB_H
#define ABIDE_BOOTLOADER_HOOKS_GRUB_GRUB_H

#include <stddef.h>
#include <stdint.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/blockdev.h"

#define GRUB_ENV_LEN 1024u

/* Opens `path` (grubenv) and `path`.spare beside it if it exists. Succeeds without either, so that
 * bootloader_read() can say what is wrong with both. */
int grub_open(const char *path, struct bootloader **ret, struct err *err);
/* Takes both devices on success (spare may be NULL): for tests that record each write. */
int grub_open_on(
	struct blockdev **env, struct blockdev **spare, struct bootloader **ret, struct err *err);

/* Whether it begins like a block, whatever it says. */
bool grub_env_is_block(const uint8_t block[static GRUB_ENV_LEN]);
/* The block's text and back; pure. Foreign variables are kept by grub_env_format's `previous`. */
int grub_env_parse(
	const uint8_t block[static GRUB_ENV_LEN], struct boot_state *ret, struct err *err);
int grub_env_format(const struct boot_state *state, const uint8_t *previous,
	uint8_t ret[static GRUB_ENV_LEN], struct err *err);

#endif
