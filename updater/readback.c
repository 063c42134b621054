#include "updater/readback.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "updater/mem.h"
#include "updater/worker.h"

#define READ_SIZE (256u << 10)

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

/* One pass over the image, front to back. Two pieces: one is read from the medium by `reader` while
 * the other is hashed. Hashing up to a mark is `ahead`'s job, the rest the owner's; the two never
 * run at the same time, so that all below is whose turn it is.
 *
 * Why what was read before the last write counts as read back: the mark is told after a flush, so
 * that its bytes come from the medium and not from where they wait for it; the writer goes front to
 * back and never returns to what is below its mark, and nobody else may write (the slot is open
 * exclusively, the seal lies behind the image). So what was hashed is what lies there when the seal
 * is written, each byte read after it was flushed. The one exception is the first block: it is
 * written last, and SHA-256 wants it first. It is hashed as promised, and compared with what the
 * medium gives for it after the last flush; if that differs the image differs. */
struct readback {
	struct blockdev *slot;
	const struct manifest_image *image;
	struct readback_watch watch;
	struct piece pieces[2];
	struct worker *reader;
	struct hasher *hasher;
	struct worker *ahead;
	uint64_t done; /* hashed up to here */
	uint64_t limit; /* to be hashed by the job */
	bool promised; /* the first block was hashed as in `first` */
	uint8_t first[MEM_BLOCK];
	atomic_bool stop;
};

static int readback_init(struct readback *readback, struct err *err)
{
	void *p = NULL;

	for (size_t i = 0; i < ARRAY_LEN(readback->pieces); i++) {
		if (mem_alloc_aligned(READ_SIZE, &p, err) < 0)
			return -1;
		readback->pieces[i] = (struct piece){.slot = readback->slot, .buf = p};
	}
	if (hasher_new(&readback->hasher, err) < 0 || hasher_reset(readback->hasher, err) < 0 ||
		worker_new(&readback->reader, err) < 0)
		return -1;
	return worker_new(&readback->ahead, err);
}

int readback_new(struct blockdev *slot, const struct manifest_image *image,
	const struct readback_watch *watch, struct readback **ret, struct err *err)
{
	CLEANUP(readback_free) struct readback *readback = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*readback), &p, err) < 0)
		return -1;
	readback = p;
	readback->slot = slot;
	readback->image = image;
	if (watch)
		readback->watch = *watch;
	if (readback_init(readback, err) < 0)
		return -1;
	*ret = steal_ptr(&readback);
	return 0;
}

void readback_free(struct readback **readback)
{
	struct readback *taken;

	if (!readback || !*readback)
		return;
	taken = steal_ptr(readback);
	atomic_store(&taken->stop, true);
	worker_free(&taken->ahead); /* first: it uses the reader, and that the buffers */
	worker_free(&taken->reader);
	hasher_free(&taken->hasher);
	free(taken->pieces[0].buf);
	free(taken->pieces[1].buf);
	free(taken);
}

static int read_piece(void *arg, struct err *err)
{
	const struct piece *piece = arg;

	return blockdev_pread(
		piece->slot, piece->buf, (size_t)round_up(piece->len, MEM_BLOCK), piece->off, err);
}

static void start_reading(
	struct readback *readback, struct piece *piece, uint64_t off, uint64_t limit)
{
	uint64_t left = limit - off;

	if (left == 0)
		return;
	piece->len = left < READ_SIZE ? (size_t)left : READ_SIZE;
	piece->off = off;
	worker_start(readback->reader, read_piece, piece);
}

static int check_stopped(struct readback *readback, struct err *err)
{
	const volatile sig_atomic_t *interrupted = readback->watch.interrupted;

	if (atomic_load(&readback->stop) || (interrupted && *interrupted))
		return err_set(err, FAIL_INTERRUPTED, "interrupted while reading back");
	return 0;
}

static int hash_piece(struct readback *readback, const struct piece *piece, struct err *err)
{
	if (piece->off == 0 && readback->promised)
		memcpy(piece->buf, readback->first, MEM_BLOCK);
	return hasher_update(readback->hasher, piece->buf, piece->len, err);
}

/* No progress is told from the thread: it is the writer's at that time. */
static int hash_up_to(struct readback *readback, uint64_t limit, bool tell, struct err *err)
{
	const struct readback_watch *watch = &readback->watch;

	start_reading(readback, &readback->pieces[0], readback->done, limit);
	for (size_t i = 0; readback->done < limit; i = 1 - i) {
		const struct piece *piece = &readback->pieces[i];

		if (worker_wait(readback->reader, err) < 0 || check_stopped(readback, err) < 0)
			return -1;
		start_reading(
			readback, &readback->pieces[1 - i], readback->done + piece->len, limit);
		if (hash_piece(readback, piece, err) < 0)
			return -1;
		readback->done += piece->len;
		if (tell && watch->progress)
			watch->progress(watch->arg, readback->done, readback->image->size);
	}
	return 0;
}

static int hash_ahead(void *arg, struct err *err)
{
	struct readback *readback = arg;

	return hash_up_to(readback, readback->limit, false, err);
}

int readback_ahead(struct readback *readback, uint64_t mark, const uint8_t *first, struct err *err)
{
	/* Slower than the writer: the next mark, or the end, will cover this one, too. */
	if (worker_busy(readback->ahead))
		return 0;
	if (worker_wait(readback->ahead, err) < 0)
		return -1;
	if (!readback->promised)
		memcpy(readback->first, first, MEM_BLOCK);
	readback->promised = true;
	readback->limit = mark < readback->image->size ? mark : readback->image->size;
	worker_start(readback->ahead, hash_ahead, readback);
	return 0;
}

static int differs(const struct readback *readback, const struct digest *digest, struct err *err)
{
	char expected[DIGEST_HEX_LEN + 1], found[DIGEST_HEX_LEN + 1];

	digest_to_hex(&readback->image->sha256, expected);
	digest_to_hex(digest, found);
	return err_set(err, FAIL_DRIFT, "'%s' read back as sha256 %s, the signed image '%s' is %s",
		readback->slot->name, found, readback->image->class, expected);
}

static int check_first_block(struct readback *readback, struct err *err)
{
	uint8_t *block = readback->pieces[0].buf;
	uint64_t size = readback->image->size;

	if (!readback->promised)
		return 0;
	if (blockdev_pread(readback->slot, block, MEM_BLOCK, 0, err) < 0)
		return -1;
	if (memcmp(block, readback->first, size < MEM_BLOCK ? (size_t)size : MEM_BLOCK) != 0)
		return err_set(err, FAIL_DRIFT,
			"the first block of '%s' was read back as something else than was written",
			readback->slot->name);
	return 0;
}

static int make_proof(const struct readback *readback, const struct trusted *trusted,
	const struct digest *digest, struct readback_proof **ret, struct err *err)
{
	struct readback_proof *proof;
	void *p = NULL;

	if (mem_alloc(sizeof(*proof), &p, err) < 0)
		return -1;
	proof = p;
	proof->artifact = *trusted_id(trusted);
	proof->image = *digest;
	proof->image_size = readback->image->size;
	memcpy(proof->class, readback->image->class, sizeof(proof->class));
	*ret = proof;
	return 0;
}

int readback_finish(struct readback *readback, const struct trusted *trusted,
	struct readback_proof **ret, struct err *err)
{
	struct digest digest;

	if (check_stopped(readback, err) < 0 || worker_wait(readback->ahead, err) < 0 ||
		hash_up_to(readback, readback->image->size, true, err) < 0 ||
		check_first_block(readback, err) < 0 ||
		hasher_final(readback->hasher, &digest, err) < 0)
		return -1;
	if (!digest_equal(&digest, &readback->image->sha256))
		return differs(readback, &digest, err);
	return make_proof(readback, trusted, &digest, ret, err);
}

int readback_run(struct blockdev *slot, const struct trusted *trusted,
	const struct manifest_image *image, const struct readback_watch *watch,
	struct readback_proof **ret, struct err *err)
{
	CLEANUP(readback_free) struct readback *readback = NULL;

	if (readback_new(slot, image, watch, &readback, err) < 0)
		return -1;
	return readback_finish(readback, trusted, ret, err);
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
