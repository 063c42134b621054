/*
 * contents - what a bundle says about itself. Nothing is verified but that its parts fit together:
 * anybody may have written it.
 *
 *	contents_read -> look, or contents_json -> contents_free
 */
#ifndef ABIDE_IMAGE_CONTENTS_H
#define ABIDE_IMAGE_CONTENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "image/pack.h"
#include "image/signer.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/manifest.h"

struct contents {
	struct digest id; /* the artifact's, if the signature should hold */
	struct manifest *manifest;
	uint64_t manifest_size; /* bytes of the members */
	uint64_t signature_size;
	struct signer_names signers; /* who they say they are */
	bool delta;
	struct digest base; /* of a delta: the artifact that it needs */
	struct {
		uint32_t chunks;
		uint64_t store_size; /* bytes of CLASS.store */
		struct pack_stats stats;
	} images[MANIFEST_IMAGES_MAX]; /* as in the manifest */
};

int contents_read(const char *path, struct contents **ret, struct err *err);
void contents_free(struct contents **contents);
/* One JSON object with "verified": false; free() it. */
int contents_json(const struct contents *contents, char **ret, struct err *err);

#endif
