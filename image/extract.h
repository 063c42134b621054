/*
 * extract - a bundle's images, verified, as files.
 *
 * Signature, manifest, index, each chunk as it comes, each image's SHA-256 at its end: and only
 * when all of it is right do the files appear. Runs of zeros are holes.
 */
#ifndef ABIDE_IMAGE_EXTRACT_H
#define ABIDE_IMAGE_EXTRACT_H

#include <signal.h>

#include "updater/err.h"
#include "updater/manifest.h"
#include "updater/signature.h"

struct extract_options {
	const char *bundle;
	const char *dir; /* gets CLASS.img; must exist */
	struct trust trust;
	const volatile sig_atomic_t *interrupted; /* or NULL */
};

/* FAIL_UNTRUSTED for what is not trusted or damaged, FAIL_SPACE if the directory is full. */
int extract_run(
	const struct extract_options *options, struct manifest **ret_manifest, struct err *err);

#endif
