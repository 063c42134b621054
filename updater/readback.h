/*
 * readback - proof that a slot holds an image, taken from the medium itself.
 *
 *	readback_run                                    the whole image, now
 *	readback_new -> readback_ahead* -> readback_finish -> readback_free
 *	                                                beside the writing of it
 *
 * The whole image is read past the page cache, each byte after it was flushed, and its SHA-256
 * compared with the manifest's. What readback_ahead() is told of is read in a thread while the rest
 * is still being written; so at the end readback_finish() takes samples of it once more: a medium
 * that takes later blocks for earlier ones (it is smaller than it says) would show by then.
 *
 * Only this makes a `struct readback_proof`, and only with one per slot will device_flip() hand a
 * group to the bootloader and readback_seal() seal a slot.
 */
#ifndef ABIDE_UPDATER_READBACK_H
#define ABIDE_UPDATER_READBACK_H

#include <signal.h>
#include <stdint.h>

#include "updater/blockdev.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/manifest.h"
#include "updater/mem.h"
#include "updater/seal.h"
#include "updater/signature.h"

struct readback; /* one under way */
struct readback_proof;

struct readback_watch {
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* or NULL */
	void *arg;
	const volatile sig_atomic_t *interrupted; /* or NULL */
};

/* FAIL_DRIFT if the bytes are not the image. watch may be NULL. */
int readback_run(struct blockdev *slot, const struct trusted *trusted,
	const struct manifest_image *image, const struct readback_watch *watch,
	struct readback_proof **ret, struct err *err);

/* Borrows all but watch, which may be NULL. index: the image's. */
int readback_new(struct blockdev *slot, const struct trusted *trusted,
	const struct manifest_image *image, const struct index *index,
	const struct readback_watch *watch, struct readback **ret, struct err *err);
/* All up to `end`, a multiple of MEM_BLOCK that only grows, is written and flushed: it may be read.
 * But for the first block, which is written last: `first` says what it will be. Fails with what
 * reading failed with the time before. */
int readback_ahead(struct readback *readback, const uint8_t first[static MEM_BLOCK], uint64_t end,
	struct err *err);
/* All of the image is written and flushed. FAIL_DRIFT if the medium does not hold it. */
int readback_finish(struct readback *readback, struct readback_proof **ret, struct err *err);
void readback_free(struct readback **readback);

void readback_proof_free(struct readback_proof **proof);

const struct digest *readback_artifact(const struct readback_proof *proof);
const char *readback_class(const struct readback_proof *proof);

/* Writes the header copy and the seal `sealed`, flushed. *seal is the slot's current one and
 * becomes the new one. */
int readback_seal(struct blockdev *slot, const struct readback_proof *proof,
	const struct bytes *header, struct seal *seal, struct err *err);

#endif
