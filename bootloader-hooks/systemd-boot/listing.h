/*
 * listing - what lies on systemd-boot's partition: our entries, and what would get in their way.
 *
 * Between systemd_boot.c, which reads and commits, and entry.c, which knows names.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_SYSTEMD_BOOT_LISTING_H
#define ABIDE_BOOTLOADER_HOOKS_SYSTEMD_BOOT_LISTING_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "updater/err.h"
#include "updater/mem.h"

#define LISTING_ENTRIES  "loader/entries"
#define LISTING_SORT_KEY "abide"
#define LISTING_TEXT_MAX 4096u /* of an entry, a template or loader.conf */
#define LISTING_MAX      16u /* entries of ours; two are enough */

/* One of our names, as it was found. */
struct found {
	char name[SYSTEMD_BOOT_NAME_MAX];
	struct systemd_boot_entry entry;
	bool dead; /* systemd-boot does not list it */
};

struct listing {
	size_t count;
	struct found found[LISTING_MAX];
	const struct found *first[GROUP_COUNT]; /* the one that counts, or NULL */
	bool unfinished; /* a .new is there */
	char note[160]; /* what is amiss and survivable, or "" */
};

/* FAIL_BOOT if it cannot be told which group systemd-boot would start. The listing points into
 * itself: it stays where it is. */
int listing_make(const char *directory, struct listing *ret, struct err *err);

/* DIRECTORY/A[/B] */
int listing_path(const char *directory, const char *a, const char *b, char ret[static PATH_MAX],
	struct err *err);
/* The next line of a text that is neither empty nor a comment, cut into its key and its value.
 * False at the end. Writes into the text. */
bool listing_next_line(char **at, char **ret_key, char **ret_value);
/* Fails if the line names a file that is not there. *ret becomes true if it is what the entry
 * starts; other lines leave it alone. */
int listing_check_loader(
	const char *directory, const char *key, const char *value, bool *ret, struct err *err);
/* Where in an entry's text the line begins that makes it one. There has to be one such line. */
int listing_find_loader(const struct bytes *text, size_t *ret, struct err *err);

#endif
