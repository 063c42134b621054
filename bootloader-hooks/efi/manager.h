/*
 * manager - the firmware's boot manager as its variables say it, with those of abide's entries.
 *
 * Between efi.c, which gives it a meaning and changes it, and variables.c.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_EFI_MANAGER_H
#define ABIDE_BOOTLOADER_HOOKS_EFI_MANAGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/group.h"
#include "updater/mem.h"

#define MANAGER_ORDER_MAX 128u
#define MANAGER_BOOT_LEN  16u

/* An entry is of a group, or the second one of the running group by which BootNext is proven. */
enum manager_entry {
	ENTRY_A = GROUP_A,
	ENTRY_B = GROUP_B,
	ENTRY_PROBE,
};
#define ENTRY_COUNT 3

enum manager_firmware {
	FIRMWARE_UNKNOWN,
	FIRMWARE_HONEST, /* it has booted what BootNext said */
	FIRMWARE_LIES, /* it has not */
};

/* abide's own variable: what the firmware has no place for. */
struct manager_memory {
	bool has_asked;
	enum manager_entry asked; /* what BootNext was set to */
	uint8_t boot[MANAGER_BOOT_LEN]; /* the kernel's boot id then */
	bool bad[GROUP_COUNT]; /* reverted, or failed its trial */
	enum manager_firmware firmware;
};

struct manager {
	size_t order_count;
	uint16_t order[MANAGER_ORDER_MAX]; /* BootOrder */
	bool has_next;
	uint16_t next; /* BootNext */
	uint16_t current; /* BootCurrent */
	bool has[ENTRY_COUNT];
	uint16_t number[ENTRY_COUNT]; /* of Boot####, if `has` */
	struct manager_memory memory; /* zeros if there is none */
	uint8_t boot[MANAGER_BOOT_LEN]; /* this boot's id */
};

/* FAIL_BOOT: the variables cannot be read, or make no sense. */
int manager_read(const char *variables, struct manager *ret, struct err *err);

bool manager_is(const struct manager *m, enum manager_entry entry, uint16_t number);
/* Its place in BootOrder, or -1. */
int manager_place(const struct manager *m, enum manager_entry entry);
/* BootNext was set to it in an earlier boot than this one. */
bool manager_asked_before(const struct manager *m, enum manager_entry entry);

/* Makes or corrects the entry, and has its number in `m`. */
int manager_write_entry(const char *variables, struct manager *m, enum manager_entry entry,
	const struct bytes *option, struct err *err);
int manager_remove_entry(
	const char *variables, struct manager *m, enum manager_entry entry, struct err *err);
/* What each entry is called; another is what it starts. */
const char *manager_description(enum manager_entry entry);
int manager_write_order(
	const char *variables, const uint16_t *order, size_t count, struct err *err);
/* entry NULL: removes it. */
int manager_write_next(const char *variables, const struct manager *m,
	const enum manager_entry *entry, struct err *err);
/* What is told of a failure by manager_write_memory(), before anything is written. */
int manager_check_memory(const char *variables, struct err *err);
int manager_write_memory(
	const char *variables, const struct manager_memory *memory, struct err *err);

#endif
