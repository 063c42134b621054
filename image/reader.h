/*
 * reader - a bundle's members, one after the other, each checked against what came before.
 *
 *	reader_open -> reader_index (each image, in the manifest's order) -> reader_store (each)
 *	  -> reader_data (each) { container_borrow on reader_container() } -> reader_end -> reader_free
 *
 * The host's tools read with the rights of whoever runs them, in one process, by the carrier's
 * strict code. Whether the manifest is trusted is for the caller to establish, after reader_open().
 * All functions name the bundle, fail with FAIL_UNTRUSTED for what is not as it should be, and
 * FAIL_IO.
 */
#ifndef ABIDE_IMAGE_READER_H
#define ABIDE_IMAGE_READER_H

#include <stdint.h>

#include "updater/carrier/container.h"
#include "updater/carrier/store.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/manifest.h"
#include "updater/mem.h"

struct reader;

/* Reads up to and with the signature. */
int reader_open(const char *path, struct reader **ret, struct err *err);
void reader_free(struct reader **reader);
const struct bytes *reader_manifest(const struct reader *reader);
const struct bytes *reader_signature(const struct reader *reader);
struct container *reader_container(struct reader *reader);

/* The image's index, which has the size and digest that the manifest says. */
int reader_index(struct reader *reader, const struct manifest_image *image, struct index **ret,
	struct err *err);
/* The image's store; ret_bytes (or NULL) is for who wants it as it was, too. */
int reader_store(struct reader *reader, const struct manifest_image *image,
	const struct index *index, struct store **ret, struct bytes *ret_bytes, struct err *err);
/* The image's data begin: exactly `size` bytes. */
int reader_data(
	struct reader *reader, const struct manifest_image *image, uint64_t size, struct err *err);
/* Nothing follows. */
int reader_end(struct reader *reader, struct err *err);

#endif
