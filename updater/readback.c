#include "updater/readback.h"

#include <stdlib.h>
#include <string.h>

#include "updater/mem.h"

#define READ_SIZE (1u << 20)

struct readback_proof {
	struct digest artifact;
	char class[MANIFEST_CLASS_MAX + 1];
	struct digest image;
	uint64_t image_size;
};

static int hash_image(struct blockdev *slot, uint64_t size, const struct readback_watch *watch,
	struct digest *ret, struct err *err)
{
	CLEANUP(hasher_free) struct hasher *hasher = NULL;
	CLEANUP(cleanup_free) uint8_t *buf = NULL;
	void *p = NULL;

	if (hasher_new(&hasher, err) < 0 || hasher_reset(hasher, err) < 0 ||
		mem_alloc_aligned(READ_SIZE, &p, err) < 0)
		return -1;
	buf = p;
	for (uint64_t done = 0; done < size;) {
		uint64_t left = size - done;
		size_t want = left < READ_SIZE ? (size_t)left : READ_SIZE;

		if (watch && watch->interrupted && *watch->interrupted)
			return err_set(err, FAIL_INTERRUPTED, "interrupted while reading back");
		if (blockdev_pread(slot, buf, (size_t)round_up(want, MEM_BLOCK), done, err) < 0 ||
			hasher_update(hasher, buf, want, err) < 0)
			return -1;
		done += want;
		if (watch && watch->progress)
			watch->progress(watch->arg, done, size);
	}
	return hasher_final(hasher, ret, err);
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
