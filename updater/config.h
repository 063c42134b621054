/*
 * config - system.conf: what this device is, whom it trusts, where its slots are.
 *
 * INI (libinih); sections and keys are in abide-system.conf(5). Unknown sections, keys and bad
 * values are FAIL_USAGE with file and line. Only values, nothing is opened here. Paths are absolute,
 * so that what abide does never depends on where it was started.
 */
#ifndef ABIDE_UPDATER_CONFIG_H
#define ABIDE_UPDATER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bootloader-hooks/hooks.h"
#include "updater/err.h"
#include "updater/group.h"
#include "updater/manifest.h"
#include "updater/mem.h"

#define CONFIG_SLOTS_MAX (MANIFEST_IMAGES_MAX * GROUP_COUNT)

struct config_slot {
	char class[MANIFEST_CLASS_MAX + 1];
	enum group group;
	char *device; /* a path, or LABEL=, PARTLABEL=, UUID=, PARTUUID= */
};

struct config {
	char *path; /* the file read */
	/* [system] */
	char compatible[MANIFEST_NAME_MAX + 1];
	char hardware[MANIFEST_NAME_MAX + 1]; /* "" if not set */
	const struct hook *hook; /* `bootloader =`; NULL: auto */
	char *state_dir; /* /var/lib/abide: the journal */
	char *run_dir; /* /run/abide: the lock */
	char *carrier_user; /* NULL: "abide", else "nobody" */
	/* [trust] */
	char *roots;
	char *crl; /* NULL if not set */
	unsigned int threshold;
	/* [source] */
	char *ca_file; /* NULL: the system's */
	unsigned int stall_timeout; /* s */
	unsigned int min_rate; /* bytes/s */
	unsigned int retries;
	/* [slot CLASS.GROUP]: every class has both groups */
	size_t slot_count;
	struct config_slot slots[CONFIG_SLOTS_MAX];
	/* [boot] */
	unsigned int trial_attempts; /* 1..BOOT_TRIES_MAX */
	struct hook_settings boot;
	bool booted_set; /* `booted =`: for trying abide on files */
	enum group booted;
	/* [health] */
	char *health_dir;
	unsigned int health_timeout; /* s, for each check */
};

/* path NULL: the first of /etc/abide/, /run/abide/, /usr/lib/abide/ system.conf that exists. */
int config_read(const char *path, struct config **ret, struct err *err);
/* The same from memory; `path` only names the text in messages. */
int config_parse(const char *path, const struct bytes *text, struct config **ret, struct err *err);
void config_free(struct config **config);

#endif
