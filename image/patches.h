/*
 * patches - chunks that the base does not have, gathered into patches and made by several threads.
 *
 *	patches_new (an image) -> { patches_add (a chunk, ascending) }* -> patches_end -> patches_free
 *
 * Results come in image order, through `done`, whatever the number of threads.
 */
#ifndef ABIDE_IMAGE_PATCHES_H
#define ABIDE_IMAGE_PATCHES_H

#include <stdint.h>

#include "image/similar.h"
#include "updater/carrier/patch.h"
#include "updater/err.h"
#include "updater/index.h"

#define PATCHES_CHUNKS_MAX 1024u /* in one patch */
#define PATCHES_HINTS_MAX  4u /* for one chunk */
#define PATCHES_NO_HINT    UINT32_MAX

/* The chunks of one patch, as they are in the full bundle and as a patch. */
struct patches_result {
	uint32_t count;
	const uint32_t *chunks; /* their numbers */
	const uint32_t *lengths; /* stored bytes of each in the full bundle */
	const uint8_t *stored; /* these bytes, end to end */
	size_t stored_len;
	const uint8_t *patch;
	size_t patch_len; /* 0: it would not be shorter */
};

struct patches_options {
	unsigned int threads; /* >= 1 */
	int level; /* of zstd */
	/* Of the base's image of the same class; NULL: it has none. */
	const struct index *base;
	const uint8_t *base_image;
	const struct similar *similar;
	int (*done)(void *arg, const struct patches_result *result, struct err *err);
	void *arg;
};

struct patches;

int patches_new(const struct patches_options *options, struct patches **ret, struct err *err);
void patches_free(struct patches **patches);
/* plain: len bytes; stored: as the full bundle has them. hints: chunks of the base that are near. */
int patches_add(struct patches *patches, uint32_t chunk, const uint8_t *plain, uint32_t len,
	const uint8_t *stored, uint32_t stored_len, const uint32_t hints[static PATCHES_HINTS_MAX],
	struct err *err);
/* The rest of them. */
int patches_end(struct patches *patches, struct err *err);

#endif
