#include "updater/readback.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/mem.h"
#include "updater/worker.h"

#define READ_SIZE                                                                                  \
	(INDEX_CHUNK_MAX + 2u * MEM_BLOCK) /* a chunk, with the blocks it begins and ends in */
#define PROBE_STEP (UINT64_C(1) << 20) /* bytes of the image to one sample */

static_assert(INDEX_CHUNK_MAX + 2 * MEM_BLOCK <= READ_SIZE, "a piece holds any chunk");

struct readback_proof {
	struct digest artifact;
	char class[MANIFEST_CLASS_MAX + 1];
	struct digest image;
	uint64_t image_size;
};

/* A piece of the image that is being read, or is there. */
struct piece {
	struct blockdev *slot;
	uint8_t *buf; /* READ_SIZE bytes */
	size_t len;
	uint64_t off;
};

/* From worker_start() to worker_wait() the worker has pieces[0], hasher, at; and later, in
 * hash_rest(), the piece that it reads. */
struct readback {
	struct blockdev *slot;
	const struct trusted *trusted;
	const struct manifest_image *image;
	const struct index *index; /* NULL: nothing is read ahead */
	struct readback_watch watch;
	struct piece pieces[2];
	struct worker *worker;
	struct hasher *hasher; /* of the image */
	uint64_t at; /* bytes of the image that are hashed */
	uint64_t ahead; /* where reading ahead is to end, or ended; 0: not begun */
	uint8_t *first; /* MEM_BLOCK bytes, as hashed; once `ahead` is set */
};

void readback_free(struct readback **readback)
{
	struct readback *taken = steal_ptr(readback);

	if (!taken)
		return;
	worker_free(&taken->worker); /* first: it may be reading into one of the buffers */
	hasher_free(&taken->hasher);
	free(taken->pieces[0].buf);
	free(taken->pieces[1].buf);
	free(taken->first);
	free(taken);
}

int readback_new(struct blockdev *slot, const struct trusted *trusted,
	const struct manifest_image *image, const struct index *index,
	const struct readback_watch *watch, struct readback **ret, struct err *err)
{
	CLEANUP(readback_free) struct readback *readback = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*readback), &p, err) < 0)
		return -1;
	readback = p;
	readback->slot = slot;
	readback->trusted = trusted;
	readback->image = image;
	readback->index = index;
	if (watch)
		readback->watch = *watch;
	for (size_t i = 0; i < ARRAY_LEN(readback->pieces); i++) {
		if (mem_alloc_aligned(READ_SIZE, &p, err) < 0)
			return -1;
		readback->pieces[i] = (struct piece){.slot = slot, .buf = p};
	}
	if (mem_alloc_aligned(MEM_BLOCK, &p, err) < 0)
		return -1;
	readback->first = p;
	if (hasher_new(&readback->hasher, err) < 0 || hasher_reset(readback->hasher, err) < 0 ||
		worker_new(&readback->worker, err) < 0)
		return -1;
	*ret = steal_ptr(&readback);
	return 0;
}

static int check_interrupted(const struct readback *readback, struct err *err)
{
	if (readback->watch.interrupted && *readback->watch.interrupted)
		return err_set(err, FAIL_INTERRUPTED, "interrupted while reading back");
	return 0;
}

static int read_piece(void *arg, struct err *err)
{
	const struct piece *piece = arg;

	return blockdev_pread(
		piece->slot, piece->buf, (size_t)round_up(piece->len, MEM_BLOCK), piece->off, err);
}

/* Sets a piece to what comes at `off`; false if nothing does, up to `end`. */
static bool next_piece(struct piece *piece, uint64_t off, uint64_t end)
{
	uint64_t left = end - off;

	piece->len = left < READ_SIZE ? (size_t)left : READ_SIZE;
	piece->off = off;
	return left > 0;
}

/* ---- beside the writing ---- */

/* Reads and hashes in turn: what else the processors could do, they do already. */
static int hash_ahead(void *arg, struct err *err)
{
	struct readback *readback = arg;
	struct piece *piece = &readback->pieces[0];

	while (next_piece(piece, readback->at, readback->ahead)) {
		if (check_interrupted(readback, err) < 0 || read_piece(piece, err) < 0 ||
			hasher_update(readback->hasher, piece->buf, piece->len, err) < 0)
			return -1;
		readback->at += piece->len;
	}
	return 0;
}

int readback_ahead(struct readback *readback, const uint8_t first[static MEM_BLOCK], uint64_t end,
	struct err *err)
{
	if (end <= MEM_BLOCK || end > readback->image->size)
		return 0;
	if (worker_wait(readback->worker, err) < 0)
		return -1;
	if (!readback->ahead) {
		memcpy(readback->first, first, MEM_BLOCK);
		if (hasher_update(readback->hasher, first, MEM_BLOCK, err) < 0)
			return -1;
		readback->at = MEM_BLOCK;
	}
	assert(end >= readback->ahead && end % MEM_BLOCK == 0);
	readback->ahead = end;
	worker_start(readback->worker, hash_ahead, readback);
	return 0;
}

/* ---- after the last write ---- */

/* One piece is read from the medium by the worker while the other is hashed. */
static int hash_rest(struct readback *readback, struct err *err)
{
	uint64_t size = readback->image->size;

	if (next_piece(&readback->pieces[0], readback->at, size))
		worker_start(readback->worker, read_piece, &readback->pieces[0]);
	for (size_t i = 0; readback->at < size; i = 1 - i) {
		const struct piece *piece = &readback->pieces[i];
		struct piece *next = &readback->pieces[1 - i];

		if (check_interrupted(readback, err) < 0 || worker_wait(readback->worker, err) < 0)
			return -1;
		readback->at += piece->len;
		if (next_piece(next, readback->at, size))
			worker_start(readback->worker, read_piece, next);
		if (hasher_update(readback->hasher, piece->buf, piece->len, err) < 0)
			return -1;
		if (readback->watch.progress)
			readback->watch.progress(readback->watch.arg, readback->at, size);
	}
	return 0;
}

static int changed(const struct readback *readback, uint64_t off, struct err *err)
{
	return err_set(err, FAIL_DRIFT,
		"'%s' changed at %" PRIu64 " after it was written, flushed and read back: the "
		"medium is broken, or smaller than it says",
		readback->slot->name, off);
}

/* Chunk i once more, against the signed index. *ret_telling: it is not all zeros, which many places
 * have alike. */
static int probe_chunk(struct readback *readback, struct hasher *hasher, uint32_t i, uint64_t off,
	bool *ret_telling, struct err *err)
{
	struct piece *piece = &readback->pieces[0];
	size_t head = (size_t)(off % MEM_BLOCK);
	uint32_t len = index_length(readback->index, i);
	struct digest digest;

	piece->off = off - head;
	piece->len = head + len;
	if (check_interrupted(readback, err) < 0 || read_piece(piece, err) < 0 ||
		digest_of(hasher, piece->buf + head, len, &digest, err) < 0)
		return -1;
	if (!index_matches(readback->index, i, &digest))
		return changed(readback, off, err);
	*ret_telling = !mem_is_zero(piece->buf + head, len);
	return 0;
}

/* Where in its step the sample is taken: another place in each, so that no power of two fits. */
static uint64_t probe_place(uint64_t step)
{
	return step * PROBE_STEP + (step * UINT64_C(0x9e3779b97f4a7c15) >> 44);
}

static_assert(PROBE_STEP == UINT64_C(1) << (64 - 44), "a place within its step");

/* All of the first step and of the last that was read ahead, a chunk of each between. A medium that
 * wraps around has its beginning overwritten, and maybe its end, by the first block, which comes
 * last; one that confuses addresses has something overwritten all over. */
static int probe_all(struct readback *readback, struct err *err)
{
	CLEANUP(hasher_free) struct hasher *hasher = NULL;
	uint64_t off = 0, last = readback->ahead > PROBE_STEP ? readback->ahead - PROBE_STEP : 0;
	uint64_t step = 1;

	if (hasher_new(&hasher, err) < 0)
		return -1;
	for (uint32_t i = 0; off < readback->ahead; off += index_length(readback->index, i++)) {
		bool telling = false;
		bool sample;

		if (off / PROBE_STEP > step)
			step = off / PROBE_STEP; /* there was nothing telling in the one before */
		sample = off >= probe_place(step);
		if (!sample && off >= PROBE_STEP && off < last)
			continue;
		if (probe_chunk(readback, hasher, i, off, &telling, err) < 0)
			return -1;
		if (sample && telling)
			step++;
	}
	return 0;
}

static int check_ahead(struct readback *readback, struct err *err)
{
	struct piece *piece = &readback->pieces[0];

	piece->off = 0;
	piece->len = MEM_BLOCK;
	if (read_piece(piece, err) < 0)
		return -1;
	if (memcmp(piece->buf, readback->first, MEM_BLOCK) != 0)
		return changed(readback, 0, err);
	return probe_all(readback, err);
}

static int check_digest(
	const struct readback *readback, const struct digest *digest, struct err *err)
{
	char expected[DIGEST_HEX_LEN + 1], found[DIGEST_HEX_LEN + 1];

	if (digest_equal(digest, &readback->image->sha256))
		return 0;
	digest_to_hex(&readback->image->sha256, expected);
	digest_to_hex(digest, found);
	return err_set(err, FAIL_DRIFT, "'%s' read back as sha256 %s, the signed image '%s' is %s",
		readback->slot->name, found, readback->image->class, expected);
}

int readback_finish(struct readback *readback, struct readback_proof **ret, struct err *err)
{
	const struct manifest_image *image = readback->image;
	struct readback_proof *proof;
	struct digest digest;
	void *p = NULL;

	if (worker_wait(readback->worker, err) < 0 || hash_rest(readback, err) < 0 ||
		hasher_final(readback->hasher, &digest, err) < 0 ||
		check_digest(readback, &digest, err) < 0)
		return -1;
	if (readback->ahead && check_ahead(readback, err) < 0)
		return -1;
	if (mem_alloc(sizeof(*proof), &p, err) < 0)
		return -1;
	proof = p;
	proof->artifact = *trusted_id(readback->trusted);
	proof->image = digest;
	proof->image_size = image->size;
	memcpy(proof->class, image->class, sizeof(proof->class));
	*ret = proof;
	return 0;
}

int readback_run(struct blockdev *slot, const struct trusted *trusted,
	const struct manifest_image *image, const struct readback_watch *watch,
	struct readback_proof **ret, struct err *err)
{
	CLEANUP(readback_free) struct readback *readback = NULL;

	if (readback_new(slot, trusted, image, NULL, watch, &readback, err) < 0)
		return -1;
	return readback_finish(readback, ret, err);
}

void readback_proof_free(struct readback_proof **proof)
{
	if (!proof || !*proof)
		return;
	free(*proof);
	*proof = NULL;
}

const struct digest *readback_artifact(const struct readback_proof *proof)
{
	return &proof->artifact;
}

const char *readback_class(const struct readback_proof *proof)
{
	return proof->class;
}

int readback_seal(struct blockdev *slot, const struct readback_proof *proof,
	const struct bytes *header, struct seal *seal, struct err *err)
{
	struct seal sealed = *seal;

	sealed.state = SEAL_SEALED;
	sealed.artifact = proof->artifact;
	sealed.image = proof->image;
	sealed.image_size = proof->image_size;
	sealed.mark = proof->image_size;
	memcpy(sealed.class, proof->class, sizeof(sealed.class));
	/* Power cut here, or after the header copy: the seal still says `writing`; the next
	 * install finds every byte right, writes the header again and seals. The flush between
	 * the two keeps a seal from becoming durable before the header it points to. */
	if (seal_write_header(slot, &sealed, header, err) < 0 || blockdev_flush(slot, err) < 0)
		return -1;
	/* Power cut during this write: the old seal or the new one, never a mix (seal.h). */
	if (seal_write(slot, &sealed, err) < 0)
		return -1;
	*seal = sealed;
	return 0;
}
