/*
 * systemd-boot - boot counting by entry name (see README.md here for the names).
 *
 * A group that may boot, or was bad, has one file in loader/entries; its name says all of its
 * state, its `version` (the generation) which group is first. Each change makes a new name with
 * one rename, or takes one away with one unlink; what comes before and after that changes nothing
 * of what systemd-boot starts. FAT gives no more than that.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_SYSTEMD_BOOT_SYSTEMD_BOOT_H
#define ABIDE_BOOTLOADER_HOOKS_SYSTEMD_BOOT_SYSTEMD_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/mem.h"

#define SYSTEMD_BOOT_NAME_MAX       64u /* with its NUL */
#define SYSTEMD_BOOT_GENERATION_MAX 999999999u

/* What a name says: abide-GROUP-GENERATION[-reverted][+LEFT[-DONE]].conf */
struct systemd_boot_entry {
	enum group group;
	uint32_t generation; /* the entry's `version`: the higher is tried first */
	bool reverted; /* bad, and never the primary */
	bool counted; /* else good */
	uint32_t left, done; /* if counted; left 0: bad */
};

enum systemd_boot_kind {
	SYSTEMD_BOOT_FOREIGN, /* not ours, or not looked at by systemd-boot */
	SYSTEMD_BOOT_ENTRY,
	SYSTEMD_BOOT_UNFINISHED, /* a .new that a cut left; systemd-boot does not look at it */
	SYSTEMD_BOOT_WRONG, /* begins like ours and is an entry, but of a form we do not write */
};

/* Opens the ESP or XBOOTLDR that is mounted on `directory`. Succeeds whatever is there:
 * bootloader_read() tells what is wrong. */
int systemd_boot_open(const char *directory, struct bootloader **ret, struct err *err);

/* Pure: names, and the order in which systemd-boot has entries (negative: a before b). */
enum systemd_boot_kind systemd_boot_parse(const char *name, struct systemd_boot_entry *ret);
void systemd_boot_format(
	const struct systemd_boot_entry *entry, char ret[static SYSTEMD_BOOT_NAME_MAX]);
/* The text of an entry, from a template as fs_read_file() gives it: its two lines, then the group's template. FAIL_BOOT if that says what is
 * ours to say, or is for the other group. */
int systemd_boot_text(const struct systemd_boot_entry *entry, const struct bytes *template,
	struct bytes *ret, struct err *err);
int systemd_boot_compare(const struct systemd_boot_entry *a, const struct systemd_boot_entry *b);

/* One start, as boot_model_start() (model.h) has it, but for two things that systemd-boot does
 * otherwise: a good group that does not load is not passed over, and of two bad groups the primary
 * is started again. */
bool systemd_boot_model_start(
	struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret);

#endif
