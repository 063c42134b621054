/*
 * disk - a factory disk from a bundle: partition table, ESP with GRUB, group a sealed, group b
 * empty, an empty data partition.
 *
 * The whole disk is first composed in a sparse scratch file, so that it depends on the layout, the
 * bundle, the installed GRUB and the time alone, and then the target is brought to those bytes.
 * Group a is written by the updater's own modules from a verified bundle, and read back: from the
 * scratch file before it is sealed, from the target at the end.
 */
#ifndef ABIDE_IMAGE_DISK_H
#define ABIDE_IMAGE_DISK_H

#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/manifest.h"

struct disk_options {
	const char *target; /* a file, made or grown, or a block device */
	const char *layout;
	const char *bundle;
	const char *trust; /* PEM */
	time_t time; /* of files and file systems; 0: the manifest's `created` */
	const volatile sig_atomic_t *interrupted; /* or NULL */
};

struct disk_result {
	struct digest artifact;
	char version[MANIFEST_NAME_MAX + 1];
	uint64_t size; /* bytes, of the disk */
	uint64_t written; /* bytes; 0: it was right already */
};

int disk_make(const struct disk_options *options, struct disk_result *ret, struct err *err);

#endif
