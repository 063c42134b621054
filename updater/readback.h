/*
 * readback - proof that a slot holds an image, taken from the medium itself.
 *
 *	readback_run                                        what lies in a slot
 *	readback_new -> readback_ahead* -> readback_finish    while it is written
 *
 * The whole image is read past the page cache, and its SHA-256 compared with the manifest's. Only
 * this makes a `struct readback_proof`, and only with one per slot will
 * device_flip() hand a group to the bootloader and readback_seal() seal a slot.
 */
#ifndef ABIDE_UPDATER_READBACK_H
#define ABIDE_UPDATER_READBACK_H

#include <signal.h>
#include <stdint.h>

#include "updater/blockdev.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/manifest.h"
#include "updater/seal.h"
#include "updater/signature.h"

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

/* The same pass in step with a writer: what is flushed is read and hashed by a thread while what
 * follows is written. Borrows slot, image and what the watch points to. Reads nothing yet. */
struct readback;
int readback_new(struct blockdev *slot, const struct manifest_image *image,
	const struct readback_watch *watch, struct readback **ret, struct err *err);
/* A thread that still reads is stopped. */
void readback_free(struct readback **readback);
/* The caller's promise: everything below `mark` (a multiple of MEM_BLOCK, above 0) is flushed and
 * will not be written again, but for the first block, which will be `first`. Does not wait. */
int readback_ahead(struct readback *readback, uint64_t mark, const uint8_t *first, struct err *err);
/* After the last flush: reads what was not yet, and the first block if that was only promised. */
int readback_finish(struct readback *readback, const struct trusted *trusted,
	struct readback_proof **ret, struct err *err);

void readback_proof_free(struct readback_proof **proof);

const struct digest *readback_artifact(const struct readback_proof *proof);
const char *readback_class(const struct readback_proof *proof);

/* Writes the header copy and the seal `sealed`, flushed. *seal is the slot's current one and
 * becomes the new one. */
int readback_seal(struct blockdev *slot, const struct readback_proof *proof,
	const struct bytes *header, struct seal *seal, struct err *err);

#endif
