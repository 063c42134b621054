#include "image/plain.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "image/dedup.h"
#include "image/output.h"
#include "image/reader.h"
#include "updater/carrier/decode.h"
#include "updater/mem.h"

struct unpacking {
	const char *bundle;
	const volatile sig_atomic_t *interrupted;
	struct reader *reader;
	struct store *store[MANIFEST_IMAGES_MAX];
	struct decoder *decoder;
	struct hasher *hasher;
	struct dedup *places; /* in the map, of the image under way */
	struct plain *plain;
};

static void unpacking_finish(struct unpacking *u)
{
	reader_free(&u->reader);
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		store_free(&u->store[i]);
	decoder_free(&u->decoder);
	hasher_free(&u->hasher);
	dedup_free(&u->places);
	plain_close(&u->plain);
}

static int begin(struct unpacking *u, struct err *err)
{
	const struct bytes *manifest;
	void *p = NULL;

	if (mem_alloc(sizeof(*u->plain), &p, err) < 0)
		return -1;
	u->plain = p;
	if (reader_open(u->bundle, &u->reader, err) < 0)
		return -1;
	manifest = reader_manifest(u->reader);
	if (digest_once(manifest->data, manifest->len, &u->plain->id, err) < 0 ||
		decoder_new(&u->decoder, err) < 0 || hasher_new(&u->hasher, err) < 0)
		return -1;
	if (manifest_parse_untrusted(manifest, &u->plain->manifest, err) < 0)
		return err_wrap(err, "bundle '%s'", u->bundle);
	return 0;
}

static int read_tables(struct unpacking *u, struct err *err)
{
	const struct manifest *manifest = u->plain->manifest;
	struct digest base;

	for (size_t i = 0; i < manifest->image_count; i++)
		if (reader_index(u->reader, &manifest->images[i], &u->plain->index[i], err) < 0)
			return -1;
	for (size_t i = 0; i < manifest->image_count; i++) {
		if (reader_store(u->reader, &manifest->images[i], u->plain->index[i], &u->store[i],
			    NULL, err) < 0)
			return -1;
		if (store_base(u->store[i], &base))
			return err_set(err, FAIL_REFUSED,
				"bundle '%s' is a delta itself, a full bundle is expected",
				u->bundle);
	}
	return 0;
}

/* Room for all images, taken at once: a full disk is an error here, and no signal later. */
static int make_room(struct unpacking *u, const char *beside, struct err *err)
{
	const struct manifest *manifest = u->plain->manifest;
	CLEANUP(cleanup_fd) int spool = -1;
	uint64_t size = 0;
	void *map;

	for (size_t i = 0; i < manifest->image_count; i++)
		if (__builtin_add_overflow(size, manifest->images[i].size, &size) ||
			size > SIZE_MAX / 2)
			return err_set(
				err, FAIL_SPACE, "the images of '%s' are too large", u->bundle);
	if (output_spool(beside, &spool, err) < 0)
		return -1;
	errno = posix_fallocate(spool, 0, (off_t)size);
	if (errno)
		return err_errno(err, "room for the images of '%s' beside '%s'", u->bundle, beside);
	map = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, spool, 0);
	if (map == MAP_FAILED)
		return err_errno(err, "map the images of '%s'", u->bundle);
	u->plain->map = map;
	u->plain->map_len = (size_t)size;
	size = 0;
	for (size_t i = 0; i < manifest->image_count; i++) {
		u->plain->image[i] = u->plain->map + size;
		size += manifest->images[i].size;
	}
	return 0;
}

static int unpack_chunk(struct unpacking *u, const struct store *store, const struct index *index,
	uint32_t i, uint8_t *to, struct err *err)
{
	uint32_t len = index_length(index, i);
	uint32_t stored = store_length(store, i);
	const uint8_t *data;
	uint64_t place;

	switch (store_encoding(store, i)) {
	case STORE_ZERO:
		memset(to, 0, len);
		return 0;
	case STORE_SAME:
		if (!dedup_find(u->places, len, index_digest(index, i), &place))
			return err_set(err, FAIL_UNTRUSTED, "it repeats a chunk that is not there");
		memcpy(to, u->plain->map + place, len);
		return 0;
	case STORE_RAW:
		return container_read(reader_container(u->reader), to, len, err);
	case STORE_ZSTD:
		if (container_borrow(reader_container(u->reader), stored, &data, err) < 0)
			return -1;
		return decoder_zstd(u->decoder, data, stored, to, len, err);
	case STORE_BASE:
	case STORE_PATCH:
		break; /* a delta's: refused above */
	}
	return err_set(err, FAIL_UNTRUSTED, "unknown encoding");
}

static int check_chunk(struct unpacking *u, const struct index *index, uint32_t i,
	const uint8_t *data, struct err *err)
{
	uint32_t len = index_length(index, i);
	struct digest digest;
	uint64_t place;

	if (digest_of(u->hasher, data, len, &digest, err) < 0)
		return -1;
	if (!index_matches(index, i, &digest))
		return err_set(err, FAIL_UNTRUSTED, "its bytes are not those of the index");
	if (dedup_find(u->places, len, digest.b, &place))
		return 0;
	return dedup_add(u->places, len, digest.b, (uint64_t)(data - u->plain->map), err);
}

static int unpack_image(struct unpacking *u, size_t image, struct err *err)
{
	const struct manifest_image *what = &u->plain->manifest->images[image];
	const struct index *index = u->plain->index[image];
	uint8_t *to = u->plain->map + (u->plain->image[image] - u->plain->map);

	dedup_free(&u->places);
	if (dedup_new(&u->places, err) < 0 ||
		reader_data(u->reader, what, store_data_size(u->store[image]), err) < 0)
		return -1;
	for (uint32_t i = 0; i < index_count(index); i++) {
		if (u->interrupted && *u->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "stopped by a signal");
		if (unpack_chunk(u, u->store[image], index, i, to, err) < 0 ||
			check_chunk(u, index, i, to, err) < 0)
			return err_wrap(err, "bundle '%s': image '%s': chunk %" PRIu32, u->bundle,
				what->class, i);
		to += index_length(index, i);
	}
	return 0;
}

int plain_open(const char *bundle, const char *beside, const volatile sig_atomic_t *interrupted,
	struct plain **ret, struct err *err)
{
	CLEANUP(unpacking_finish)
	struct unpacking u = {.bundle = bundle, .interrupted = interrupted};

	if (begin(&u, err) < 0 || read_tables(&u, err) < 0 || make_room(&u, beside, err) < 0)
		return -1;
	for (size_t i = 0; i < u.plain->manifest->image_count; i++)
		if (unpack_image(&u, i, err) < 0)
			return -1;
	if (reader_end(u.reader, err) < 0)
		return -1;
	*ret = steal_ptr(&u.plain);
	return 0;
}

void plain_close(struct plain **plain)
{
	struct plain *taken = steal_ptr(plain);

	if (!taken)
		return;
	if (taken->map)
		(void)munmap(taken->map, taken->map_len); /* what was mapped: cannot fail */
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		index_free(&taken->index[i]);
	manifest_free(&taken->manifest);
	free(taken);
}
