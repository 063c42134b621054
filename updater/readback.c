#include "updater/readback.h"

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

/* Two pieces: one is read from the medium by the worker while the other is hashed. */
struct pass {
	struct blockdev *slot;
	uint64_t size;
	struct piece pieces[2];
	struct worker *worker;
	struct hasher *hasher;
};

static void pass_finish(struct pass *pass)
{
	worker_free(&pass->worker); /* first: it may be reading into one of the buffers */
	hasher_free(&pass->hasher);
	free(pass->pieces[0].buf);
	free(pass->pieces[1].buf);
}

static int pass_init(struct pass *pass, struct err *err)
{
	void *p = NULL;

	for (size_t i = 0; i < ARRAY_LEN(pass->pieces); i++) {
		if (mem_alloc_aligned(READ_SIZE, &p, err) < 0)
			return -1;
		pass->pieces[i] = (struct piece){.slot = pass->slot, .buf = p};
	}
	if (hasher_new(&pass->hasher, err) < 0 || hasher_reset(pass->hasher, err) < 0)
		return -1;
	return worker_new(&pass->worker, err);
}

static int read_piece(void *arg, struct err *err)
{
	const struct piece *piece = arg;

	return blockdev_pread(
		piece->slot, piece->buf, (size_t)round_up(piece->len, MEM_BLOCK), piece->off, err);
}

static void start_reading(struct pass *pass, struct piece *piece, uint64_t off)
{
	uint64_t left = pass->size - off;

	if (left == 0)
		return;
	piece->len = left < READ_SIZE ? (size_t)left : READ_SIZE;
	piece->off = off;
	worker_start(pass->worker, read_piece, piece);
}

static int hash_image(struct blockdev *slot, uint64_t size, const struct readback_watch *watch,
	struct digest *ret, struct err *err)
{
	CLEANUP(pass_finish) struct pass pass = {.slot = slot, .size = size};
	uint64_t done = 0;

	if (pass_init(&pass, err) < 0)
		return -1;
	start_reading(&pass, &pass.pieces[0], 0);
	for (size_t i = 0; done < size; i = 1 - i) {
		const struct piece *piece = &pass.pieces[i];

		if (watch && watch->interrupted && *watch->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "interrupted while reading back");
		if (worker_wait(pass.worker, err) < 0)
			return -1;
		done += piece->len;
		start_reading(&pass, &pass.pieces[1 - i], done);
		if (hasher_update(pass.hasher, piece->buf, piece->len, err) < 0)
			return -1;
		if (watch && watch->progress)
			watch->progress(watch->arg, done, size);
	}
	return hasher_final(pass.hasher, ret, err);
}

int readback_run(struct blockdev *slot, const struct trusted *trusted,
	const struct manifest_image *image, const struct readback_watch *watch,
	struct readback_proof **ret, struct err *err)
{
	char expected[DIGEST_HEX_LEN + 1], found[DIGEST_HEX_LEN + 1];
	struct readback_proof *proof;
	struct digest digest;
	void *p = NULL;

	if (hash_image(slot, image->size, watch, &digest, err) < 0)
		return -1;
	if (!digest_equal(&digest, &image->sha256)) {
		digest_to_hex(&image->sha256, expected);
		digest_to_hex(&digest, found);
		return err_set(err, FAIL_DRIFT,
			"'%s' read back as sha256 %s, the signed image '%s' is %s", slot->name,
			found, image->class, expected);
	}
	if (mem_alloc(sizeof(*proof), &p, err) < 0)
		return -1;
	proof = p;
	proof->artifact = *trusted_id(trusted);
	proof->image = digest;
	proof->image_size = image->size;
	memcpy(proof->class, image->class, sizeof(proof->class));
	*ret = proof;
	return 0;
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
