/*
 * inprocess - updater/carrier.h without a carrier: what the boundary between two processes costs is
 * the difference to this. For `abide-inprocess` of the bench only: it gives up what the boundary
 * guarantees, and takes full bundles in files only.
 *
 * A thread decodes ahead of the installer, as the process does, so that two cores are used here,
 * too. Chunks go through batches in memory that both see: no pipe, no sandbox, one copy.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "updater/carrier.h"
#include "updater/carrier/container.h"
#include "updater/carrier/decode.h"
#include "updater/carrier/source.h"
#include "updater/carrier/store.h"
#include "updater/fs.h"

#define BATCHES      4u
#define BATCH_BYTES  (512u << 10)
#define BATCH_CHUNKS 256u

struct batch {
	uint8_t *bytes;
	uint32_t numbers[BATCH_CHUNKS];
	uint32_t count;
	size_t len;
	bool failed;
	struct err err;
};

struct carrier {
	int fd;
	struct source *source;
	struct container *container;
	struct decoder *decoder;
	struct index *indexes[MANIFEST_IMAGES_MAX];
	struct store *stores[MANIFEST_IMAGES_MAX];
	size_t image_count, image_at;
	bool stores_read;
	/* The image that is decoded. Batches are a ring: `decoded` and `taken` only grow. */
	uint8_t *bitmap;
	uint32_t at; /* the decoder's */
	struct batch batches[BATCHES];
	uint64_t decoded, taken;
	bool stop, running;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t chunk; /* the installer's, within its batch */
	size_t offset;
};

int carrier_open(const char *source, const struct carrier_options *options, struct carrier **ret,
	struct err *err)
{
	struct source_options none = {.stall_timeout = 60};
	struct carrier *carrier;
	void *p = NULL;

	(void)options;
	if (mem_alloc(sizeof(*carrier), &p, err) < 0)
		return -1;
	*ret = carrier = p;
	(void)pthread_mutex_init(&carrier->lock, NULL);
	(void)pthread_cond_init(&carrier->changed, NULL);
	for (size_t i = 0; i < BATCHES; i++) {
		if (mem_alloc(BATCH_BYTES, &p, err) < 0)
			return -1;
		carrier->batches[i].bytes = p;
	}
	if (fs_open(source, O_RDONLY, 0, &carrier->fd, err) < 0 ||
		source_file_new(carrier->fd, source, &none, &carrier->source, err) < 0 ||
		container_new(carrier->source, &carrier->container, err) < 0)
		return -1;
	return decoder_new(&carrier->decoder, err);
}

static int read_member(struct carrier *carrier, struct bytes *ret, struct err *err)
{
	struct member member;

	if (container_next(carrier->container, &member, err) < 0)
		return -1;
	return container_read_all(carrier->container, &member, member.size, ret, err);
}

int carrier_manifest(struct carrier *carrier, struct bytes *ret_manifest,
	struct bytes *ret_signature, struct err *err)
{
	if (read_member(carrier, ret_manifest, err) < 0)
		return -1;
	return read_member(carrier, ret_signature, err);
}

int carrier_index(struct carrier *carrier, const char *class, uint64_t size, struct bytes *ret,
	struct err *err)
{
	struct bytes copy = {0};

	(void)class, (void)size;
	if (read_member(carrier, ret, err) < 0 || bytes_copy(ret->data, ret->len, &copy, err) < 0)
		return -1;
	return index_parse(
		&copy, le64_get(ret->data + 16), &carrier->indexes[carrier->image_count++], err);
}

/* ---- the thread ---- */

static int decode_chunk(struct carrier *carrier, struct batch *batch, struct err *err)
{
	const struct store *store = carrier->stores[carrier->image_at - 1];
	uint32_t len = index_length(carrier->indexes[carrier->image_at - 1], carrier->at);
	uint32_t stored_len = store_length(store, carrier->at);
	const uint8_t *stored;

	if (container_borrow(carrier->container, stored_len, &stored, err) < 0)
		return -1;
	if (store_encoding(store, carrier->at) == STORE_ZERO)
		memset(batch->bytes + batch->len, 0, len);
	else if (store_encoding(store, carrier->at) == STORE_RAW)
		memcpy(batch->bytes + batch->len, stored, len);
	else if (decoder_zstd(carrier->decoder, stored, stored_len, batch->bytes + batch->len, len,
			 err) < 0)
		return -1;
	batch->numbers[batch->count++] = carrier->at;
	batch->len += len;
	return 0;
}

static int decode_batch(struct carrier *carrier, struct batch *batch, struct err *err)
{
	const struct index *index = carrier->indexes[carrier->image_at - 1];
	const struct store *store = carrier->stores[carrier->image_at - 1];

	batch->count = 0;
	batch->len = 0;
	for (; carrier->at < index_count(index); carrier->at++) {
		uint32_t i = carrier->at;

		if (batch->count == BATCH_CHUNKS || batch->len + INDEX_CHUNK_MAX > BATCH_BYTES)
			break;
		if (carrier->bitmap[i / 8] >> (i % 8) & 1) {
			if (decode_chunk(carrier, batch, err) < 0)
				return -1;
		} else if (container_skip(carrier->container, store_length(store, i), err) < 0) {
			return -1;
		}
	}
	return 0;
}

static void *work(void *arg)
{
	struct carrier *carrier = arg;
	bool ended = false;

	(void)pthread_mutex_lock(&carrier->lock);
	while (!ended) {
		struct batch *batch = &carrier->batches[carrier->decoded % BATCHES];

		while (!carrier->stop && carrier->decoded == carrier->taken + BATCHES)
			(void)pthread_cond_wait(&carrier->changed, &carrier->lock);
		if (carrier->stop)
			break;
		(void)pthread_mutex_unlock(&carrier->lock);
		batch->failed = decode_batch(carrier, batch, &batch->err) < 0;
		ended = batch->failed || batch->count == 0;
		(void)pthread_mutex_lock(&carrier->lock);
		carrier->decoded++;
		(void)pthread_cond_signal(&carrier->changed);
	}
	(void)pthread_mutex_unlock(&carrier->lock);
	return NULL;
}

static void join(struct carrier *carrier)
{
	if (!carrier->running)
		return;
	(void)pthread_mutex_lock(&carrier->lock);
	carrier->stop = true;
	(void)pthread_cond_signal(&carrier->changed);
	(void)pthread_mutex_unlock(&carrier->lock);
	(void)pthread_join(carrier->thread, NULL);
	carrier->running = false;
}

/* ---- the installer ---- */

static int read_stores(struct carrier *carrier, struct err *err)
{
	for (size_t i = 0; i < carrier->image_count; i++) {
		struct bytes bytes = {0};

		if (read_member(carrier, &bytes, err) < 0 ||
			store_parse(&bytes, carrier->indexes[i], &carrier->stores[i], err) < 0)
			return -1;
	}
	carrier->stores_read = true;
	return 0;
}

int carrier_stores(
	struct carrier *carrier, bool *ret_delta, struct digest *ret_base, struct err *err)
{
	*ret_delta = false;
	*ret_base = (struct digest){0};
	return carrier->stores_read ? 0 : read_stores(carrier, err);
}

/* For `abide plan`, which the bench does not run: all that the image has. */
int carrier_weigh(struct carrier *carrier, const char *class, const struct index *index,
	const uint8_t *bitmap, uint64_t *ret, struct err *err)
{
	(void)carrier, (void)class, (void)bitmap, (void)err;
	*ret = index_image_size(index);
	return 0;
}

int carrier_want(struct carrier *carrier, const char *class, const struct index *index,
	const uint8_t *bitmap, const struct carrier_base *base, struct err *err)
{
	size_t len = (index_count(index) + 7u) / 8u;
	struct member member;
	void *p = NULL;

	(void)class, (void)base;
	join(carrier);
	free(carrier->bitmap);
	if (mem_alloc(len, &p, err) < 0)
		return -1;
	carrier->bitmap = memcpy(p, bitmap, len);
	if ((!carrier->stores_read && read_stores(carrier, err) < 0) ||
		container_next(carrier->container, &member, err) < 0)
		return -1;
	carrier->image_at++;
	carrier->at = carrier->chunk = 0;
	carrier->offset = 0;
	carrier->decoded = carrier->taken = 0;
	carrier->stop = false;
	carrier->running = pthread_create(&carrier->thread, NULL, work, carrier) == 0;
	return carrier->running ? 0 : err_set(err, FAIL_IO, "start a thread");
}

int carrier_chunk(
	struct carrier *carrier, uint32_t number, uint8_t *buf, size_t len, struct err *err)
{
	struct batch *batch = &carrier->batches[carrier->taken % BATCHES];

	(void)pthread_mutex_lock(&carrier->lock);
	while (carrier->decoded == carrier->taken)
		(void)pthread_cond_wait(&carrier->changed, &carrier->lock);
	(void)pthread_mutex_unlock(&carrier->lock);
	if (batch->failed) {
		*err = batch->err;
		return -1;
	}
	if (batch->count == 0 || batch->numbers[carrier->chunk] != number)
		return err_set(err, FAIL_UNTRUSTED, "chunk %u does not follow", number);
	memcpy(buf, batch->bytes + carrier->offset, len);
	carrier->offset += len;
	if (++carrier->chunk < batch->count)
		return 0;
	carrier->chunk = 0;
	carrier->offset = 0;
	(void)pthread_mutex_lock(&carrier->lock);
	carrier->taken++;
	(void)pthread_cond_signal(&carrier->changed);
	(void)pthread_mutex_unlock(&carrier->lock);
	return 0;
}

int carrier_end(struct carrier *carrier, struct carrier_stats *ret, struct err *err)
{
	struct member member = {.kind = MEMBER_KIND_MANIFEST};

	join(carrier);
	if (!carrier->stores_read && read_stores(carrier, err) < 0)
		return -1;
	while (member.kind != MEMBER_KIND_END)
		if (container_next(carrier->container, &member, err) < 0)
			return -1;
	*ret = (struct carrier_stats){.fetched = carrier->source->fetched};
	return 0;
}

static void finish(struct carrier *carrier)
{
	join(carrier);
	for (size_t i = 0; i < carrier->image_count; i++) {
		index_free(&carrier->indexes[i]);
		store_free(&carrier->stores[i]);
	}
	for (size_t i = 0; i < BATCHES; i++)
		free(carrier->batches[i].bytes);
	free(carrier->bitmap);
	decoder_free(&carrier->decoder);
	container_free(&carrier->container);
	source_free(&carrier->source);
	cleanup_fd(&carrier->fd);
	free(carrier);
}

void carrier_close(struct carrier **carrier)
{
	struct carrier *taken = steal_ptr(carrier);

	if (taken)
		finish(taken);
}
