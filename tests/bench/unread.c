/*
 * unread - updater/readback.h without reading anything back: what the read-back costs is the
 * difference to this. For `abide-unread` of the bench only: it seals what nobody has proven.
 */
#define readback_ahead  readback_ahead_read
#define readback_finish readback_finish_read
#include "updater/readback.c" /* NOLINT(bugprone-suspicious-include): all else is as it is there */
#undef readback_ahead
#undef readback_finish

int readback_ahead(struct readback *readback, const uint8_t first[static MEM_BLOCK], uint64_t end,
	struct err *err);
int readback_finish(struct readback *readback, struct readback_proof **ret, struct err *err);

int readback_ahead(struct readback *readback, const uint8_t first[static MEM_BLOCK], uint64_t end,
	struct err *err)
{
	(void)readback, (void)first, (void)end, (void)err;
	return 0;
}

int readback_finish(struct readback *readback, struct readback_proof **ret, struct err *err)
{
	const struct manifest_image *image = readback->image;
	struct readback_proof *proof;
	void *p = NULL;

	if (mem_alloc(sizeof(*proof), &p, err) < 0)
		return -1;
	proof = p;
	proof->artifact = *trusted_id(readback->trusted);
	proof->image = image->sha256;
	proof->image_size = image->size;
	memcpy(proof->class, image->class, sizeof(proof->class));
	*ret = proof;
	return 0;
}
