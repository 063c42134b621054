/*
 * delta - a bundle that is small where its base is: of a full bundle and one known release before.
 *
 *	struct delta_options options = {...};  delta_create(&options, &result, &err)
 *
 * Manifest, signature and indexes are taken over as they are: the same artifact, and no key is
 * needed. Chunks that the base has are left out, the others are stored as patches against it
 * (updater/carrier/patch.h), or as the full bundle has them where that is shorter. So the data is
 * never more than the full bundle's.
 *
 * The same bundles and level give the same bytes, with any number of threads and one version of
 * libzstd. The output appears complete or not at all. Beside it there must be room for the base's
 * images; memory: about a quarter of the largest of them (similar.h), and 12 MiB a thread.
 */
#ifndef ABIDE_IMAGE_DELTA_H
#define ABIDE_IMAGE_DELTA_H

#include <signal.h>
#include <stdint.h>

#include "image/compress.h"
#include "image/pack.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/manifest.h"

struct delta_options {
	const char *base; /* full bundles, both */
	const char *bundle;
	const char *output;
	int level; /* 0: COMPRESS_LEVEL_PATCH */
	unsigned int threads; /* 0: all processors */
	const volatile sig_atomic_t *interrupted; /* or NULL */
};

struct delta_result {
	struct digest id; /* of the artifact */
	struct digest base;
	uint64_t size; /* bytes of the delta */
	uint64_t full; /* of the full bundle */
	size_t image_count;
	char class[MANIFEST_IMAGES_MAX][MANIFEST_CLASS_MAX + 1];
	struct pack_stats stats[MANIFEST_IMAGES_MAX];
};

/* FAIL_UNTRUSTED for a damaged bundle, FAIL_REFUSED for one that is a delta, and for two that are
 * not `compatible`: no device could use it. */
int delta_create(const struct delta_options *options, struct delta_result *ret, struct err *err);

#endif
