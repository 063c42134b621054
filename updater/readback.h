/*
 * readback - proof that a slot holds an image, taken from the medium itself.
 *
 * readback_run() reads the whole image past the page cache and compares its SHA-256 with the
 * manifest's. Only it makes a `struct readback_proof`, and only with one per slot will
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
void readback_proof_free(struct readback_proof **proof);

const struct digest *readback_artifact(const struct readback_proof *proof);
const char *readback_class(const struct readback_proof *proof);

/* Writes the header copy and the seal `sealed`, flushed. *seal is the slot's current one and
 * becomes the new one. */
int readback_seal(struct blockdev *slot, const struct readback_proof *proof,
	const struct bytes *header, struct seal *seal, struct err *err);

#endif
