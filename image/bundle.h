/*
 * bundle - makes a signed bundle from images.
 *
 *	struct bundle_options options = {...};  bundle_create(&options, &result, &err)
 *
 * The same options and files give the same bytes, with any number of threads, if the key is RSA
 * and `created` is given. The output appears complete or not at all; the stored chunks wait in an
 * anonymous file beside it, so there must be room for the bundle twice.
 */
#ifndef ABIDE_IMAGE_BUNDLE_H
#define ABIDE_IMAGE_BUNDLE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "image/compress.h"
#include "image/pack.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/manifest.h"

struct bundle_image {
	const char *class;
	const char *path;
};

/* Everything is borrowed. NULL and 0 leave out what is optional. */
struct bundle_options {
	const char *output;
	const char *key; /* PEM */
	const char *cert; /* PEM */
	const char *chain; /* PEM; optional */
	const char *compatible;
	const char *version;
	uint64_t security_version;
	time_t created;
	const char *description; /* optional, as the three below */
	const char *source;
	const char *builder;
	const char *sbom;
	size_t hardware_count; /* 0: any */
	const char *hardware[MANIFEST_HARDWARE_MAX];
	size_t image_count; /* >= 1 */
	struct bundle_image images[MANIFEST_IMAGES_MAX];
	int level; /* 0: COMPRESS_LEVEL_DEFAULT */
	unsigned int threads; /* 0: all processors */
	const volatile sig_atomic_t *interrupted; /* or NULL */
};

struct bundle_result {
	struct digest id; /* the artifact's */
	uint64_t size; /* bytes of the bundle */
	struct pack_stats stats[MANIFEST_IMAGES_MAX];
};

/* Fails: FAIL_USAGE for an option that cannot be (naming it), FAIL_SPACE for what is too much,
 * FAIL_IO, FAIL_INTERRUPTED. */
int bundle_create(const struct bundle_options *options, struct bundle_result *ret, struct err *err);

#endif
