/*
 * serve_session - what the carrier's loop (serve.c) and its answer to WANT (serve_chunks.c) share.
 * Nobody else includes it.
 */
#ifndef ABIDE_UPDATER_CARRIER_SERVE_SESSION_H
#define ABIDE_UPDATER_CARRIER_SERVE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "updater/carrier/container.h"
#include "updater/carrier/decode.h"
#include "updater/carrier/message.h"
#include "updater/carrier/patch.h"
#include "updater/carrier/ring.h"
#include "updater/carrier/source.h"
#include "updater/carrier/store.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/manifest.h"
#include "updater/mem.h"

struct image {
	char class[MANIFEST_CLASS_MAX + 1];
	struct bytes raw; /* the index until it is parsed */
	struct index *index;
	struct store *store;
};

/* A WANT being answered, as the source looks at it. */
struct wanted {
	const struct image *image;
	const uint8_t *bitmap;
	uint32_t chunk; /* the one it looked at last */
	uint64_t at; /* where that lies in the data */
};

struct session {
	struct message_reader reader;
	struct message_writer writer;
	int source_fd;
	const struct source_fetcher *fetcher; /* or NULL */
	struct ring_room *ring;
	struct message_open open;
	struct source *source;
	struct container *container;
	struct decoder *decoder;
	size_t image_count;
	size_t image_at; /* whose data member is next */
	bool stores_read;
	struct image images[MANIFEST_IMAGES_MAX];
	time_t alive; /* when the installer last heard of us */
	uint8_t *bitmap; /* of the WANT being answered */
	uint8_t *needed; /* as the bitmap: whose stored bytes are read for it */
	struct wanted wanted;
	struct patch_room room; /* of a delta only */
};

/* Sends the chunks of session->bitmap, which is bitmap_len bytes: the image's data member has been
 * entered. */
int serve_chunks(
	struct session *session, const struct image *image, size_t bitmap_len, struct err *err);
/* How many stored bytes serve_chunks() would read for the bitmap. */
int serve_weight(struct session *session, const struct image *image, size_t bitmap_len,
	uint64_t *ret, struct err *err);
/* The installer has copied a batch of the ring. */
int serve_taken(struct session *session, struct err *err);

#endif
