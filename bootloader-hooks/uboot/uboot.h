/*
 * uboot - U-Boot with a redundant environment (see README.md here for the variables).
 *
 * Two copies, each whole: checksum, flag, variables. U-Boot and libubootenv write the older one and
 * leave the one that counts alone, so that one store is the commit. A commit stores until both
 * copies say it: the first store is the change, the second takes the old state out of the spare.
 *
 *	values.c     the variables' texts <-> struct boot_state; pure
 *	copy.c       the bytes of one copy, as U-Boot's documentation has them; pure
 *	fw_config.c  /etc/fw_env.config: where the copies are
 *	ubi.c        copies in UBI volumes
 *	store.c      libubootenv, which writes them
 *	uboot.c      the hook: reads both copies, tells what is wrong with them, commits
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_UBOOT_UBOOT_H
#define ABIDE_BOOTLOADER_HOOKS_UBOOT_UBOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/err.h"
#include "updater/mem.h"

#define UBOOT_FW_ENV_CONFIG "/etc/fw_env.config"
#define UBOOT_COPIES        2u
#define UBOOT_ENV_MIN       256u /* bytes of a copy */
#define UBOOT_COPY_DATA     5u /* where the variables begin in a copy */
#define UBOOT_ENV_MAX       (1u << 20)

/* Succeeds whatever is at `config`, so that bootloader_read() can say what is wrong with it. */
int uboot_open(const char *config, struct bootloader **ret, struct err *err);

/* ---- values.c ---- */

enum uboot_variable {
	UBOOT_BOOT_ORDER,
	UBOOT_BOOT_A_LEFT,
	UBOOT_BOOT_B_LEFT,
};
#define UBOOT_VARIABLES 3

/* Their texts; "" is not set. What is longer is cut, and no valid value either. */
struct uboot_values {
	char text[UBOOT_VARIABLES][16];
};

extern const char *const UBOOT_NAMES[UBOOT_VARIABLES];

int uboot_values_parse(const struct uboot_values *values, struct boot_state *ret, struct err *err);
/* Fails only if it would leave no group to boot. */
int uboot_values_format(const struct boot_state *state, struct uboot_values *ret, struct err *err);
/* Whether they say `state`, and no good group was counted down so far by a foreign boot script that
 * it is to be put up again. */
bool uboot_values_say(const struct uboot_values *values, const struct boot_state *state);

/* ---- copy.c ---- */

enum uboot_copy_fault {
	UBOOT_COPY_OK,
	UBOOT_COPY_BLANK, /* every byte the same: never written, or erased */
	UBOOT_COPY_SINGLE, /* right for an environment without redundancy, which has no flag */
	UBOOT_COPY_BROKEN, /* anything else: half written, or not an environment */
};

enum uboot_copy_fault uboot_copy_check(const uint8_t *copy, size_t size);
/* The size for which the bytes would be a valid copy, tried at powers of two; 0: none. */
size_t uboot_copy_other_size(const uint8_t *bytes, size_t len);
/* Of a valid copy. Of a variable that is there twice the last counts, as for U-Boot. */
void uboot_copy_values(const uint8_t *copy, size_t size, struct uboot_values *ret);
/* Which of two valid copies counts, 0 or 1. */
unsigned int uboot_copy_newer(const uint8_t *first, const uint8_t *second);
/* A copy of `size` bytes with `defaults` (NAME=VALUE lines, '#' comments; or NULL) and the values,
 * which replace those of the same names. FAIL_SPACE if it does not fit. */
int uboot_copy_format(const struct uboot_values *values, const struct bytes *defaults, uint8_t flag,
	size_t size, uint8_t *ret, struct err *err);

/* ---- fw_config.c ---- */

struct fw_env_copy {
	char *device;
	uint64_t offset;
};

struct fw_env {
	struct fw_env_copy copies[UBOOT_COPIES];
	size_t size; /* of each copy, in bytes */
};

/* FAIL_BOOT: what is wrong with the file, with its line. */
int fw_env_read(const char *path, struct fw_env *ret, struct err *err);
int fw_env_parse(const char *path, const struct bytes *text, struct fw_env *ret, struct err *err);
void fw_env_finish(struct fw_env *env);

/* ---- ubi.c ---- */

bool uboot_is_ubi(const char *device);
/* The first `size` bytes of the volume. */
int uboot_ubi_read(const char *device, uint8_t *buf, size_t size, struct err *err);
/* A volume to which a write was cut off, so that nothing of it can be read, becomes one that is blank;
 * any other stays as it is. */
int uboot_ubi_mend(const char *device, size_t size, struct err *err);

/* ---- store.c: libubootenv ---- */

/* The variables as libubootenv finds them, for devices that cannot be read as plain bytes. */
int uboot_store_read(const char *config, struct uboot_values *ret, struct err *err);
/* All of them in one store, into the older copy. Not durable when it returns. */
int uboot_store_write(
	const char *config, size_t size, const struct uboot_values *values, struct err *err);

#endif
