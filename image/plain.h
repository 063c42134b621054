/*
 * plain - the images of a full bundle as they are on a device, to be looked up at any place.
 *
 * They are unpacked into a nameless file and mapped. Each chunk is compared with the bundle's own
 * index, and the index with its manifest; that somebody trusted signed the manifest is not asked: a
 * delta to a wrong base is of no use, and does no harm.
 *
 *	plain_open -> look -> plain_close
 */
#ifndef ABIDE_IMAGE_PLAIN_H
#define ABIDE_IMAGE_PLAIN_H

#include <signal.h>
#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/manifest.h"

struct plain {
	struct digest id; /* of the artifact */
	struct manifest *manifest;
	struct index *index[MANIFEST_IMAGES_MAX]; /* as manifest->images */
	const uint8_t *image[MANIFEST_IMAGES_MAX];
	uint8_t *map;
	size_t map_len;
};

/* `beside`: a path on the file system that has room for the images. FAIL_UNTRUSTED if the bundle is
 * damaged, FAIL_REFUSED if it is a delta. interrupted may be NULL. */
int plain_open(const char *bundle, const char *beside, const volatile sig_atomic_t *interrupted,
	struct plain **ret, struct err *err);
void plain_close(struct plain **plain);

#endif
