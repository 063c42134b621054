/*
 * The format of a seal block, little-endian. Reserved bytes are zero. The rest of the block's
 * MEM_BLOCK bytes is written as zeros and never read.
 *
 *	offset  size
 *	     0     8  magic "ABIDSEAL"
 *	     8     4  format, 1
 *	    12     4  state: 1 writing, 2 sealed
 *	    16     8  generation, from 1
 *	    24     8  image length in bytes
 *	    32     8  offset of the header copy in the slot; 0 while writing
 *	    40     4  header length in bytes; 0 while writing
 *	    44     4  number of rejected builds
 *	    48     8  mark: the image is flushed up to here
 *	    56    32  artifact id: SHA-256 of the manifest
 *	    88    32  SHA-256 of the image
 *	   120    32  SHA-256 of the header copy; zero while writing
 *	   152    32  class, padded with zeros
 *	   184   128  artifact ids of the rejected builds, newest first, padded with zeros
 *	   312   168  reserved
 *	   480    32  SHA-256 of bytes 0..479
 */
#include "updater/seal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/index.h"
#include "updater/signature.h"

#define FORMAT    1u
#define CLASS_LEN 32u

static const uint8_t MAGIC[8] = {'A', 'B', 'I', 'D', 'S', 'E', 'A', 'L'};

enum offset {
	AT_MAGIC = 0,
	AT_FORMAT = 8,
	AT_STATE = 12,
	AT_GENERATION = 16,
	AT_IMAGE_SIZE = 24,
	AT_HEADER_OFFSET = 32,
	AT_HEADER_LEN = 40,
	AT_REJECTED_COUNT = 44,
	AT_MARK = 48,
	AT_ARTIFACT = 56,
	AT_IMAGE = 88,
	AT_HEADER = 120,
	AT_CLASS = 152,
	AT_REJECTED = 184,
	AT_RESERVED = 312,
	AT_CHECKSUM = 480,
};

/* The state's number on the medium; SEAL_NONE is never written. */
static const uint32_t STATE_CODES[] = {[SEAL_WRITING] = 1, [SEAL_SEALED] = 2};

/* Bounds what a forged seal can make us allocate. */
#define HEADER_LEN_MAX                                                                             \
	(MEM_BLOCK + (uint64_t)MANIFEST_SIZE_MAX + SIGNATURE_SIZE_MAX +                            \
		MANIFEST_IMAGES_MAX * INDEX_SIZE_MAX)
/* The header copy goes to the slot in pieces of this size: no second copy of it in memory. */
#define PIECE (64u << 10)

_Static_assert(AT_CHECKSUM + DIGEST_LEN == 512, "a seal fits one sector");
_Static_assert(AT_REJECTED + SEAL_REJECTED_MAX * DIGEST_LEN == AT_RESERVED, "rejected builds fit");
_Static_assert(MANIFEST_CLASS_MAX < CLASS_LEN, "a class and its NUL fit");
_Static_assert(HEADER_LEN_MAX <= UINT32_MAX, "a header's length fits");

/* Where the seal blocks begin. A device whose length is no multiple of MEM_BLOCK has a rest that
 * nobody uses: the same whether it is opened for direct I/O or not. */
static int seal_start(const struct blockdev *dev, uint64_t *ret, struct err *err)
{
	uint64_t end = dev->size & ~(uint64_t)(MEM_BLOCK - 1);

	if (end < SEAL_SPACE)
		return err_set(err, FAIL_SPACE,
			"'%s' has %" PRIu64 " bytes; a slot needs %u for its seal alone", dev->name,
			dev->size, SEAL_SPACE);
	*ret = end - SEAL_SPACE;
	return 0;
}

static void encode_digest(uint8_t *at, const struct digest *digest)
{
	memcpy(at, digest->b, DIGEST_LEN);
}

static void decode_digest(const uint8_t *at, struct digest *ret)
{
	memcpy(ret->b, at, DIGEST_LEN);
}

static int encode(const struct seal *seal, uint8_t *block, struct err *err)
{
	struct digest checksum;

	memset(block, 0, MEM_BLOCK);
	memcpy(block + AT_MAGIC, MAGIC, sizeof(MAGIC));
	le32_put(block + AT_FORMAT, FORMAT);
	le32_put(block + AT_STATE, STATE_CODES[seal->state]);
	le64_put(block + AT_GENERATION, seal->generation);
	le64_put(block + AT_IMAGE_SIZE, seal->image_size);
	le64_put(block + AT_HEADER_OFFSET, seal->header_offset);
	le32_put(block + AT_HEADER_LEN, seal->header_len);
	le32_put(block + AT_REJECTED_COUNT, seal->rejected_count);
	le64_put(block + AT_MARK, seal->mark);
	encode_digest(block + AT_ARTIFACT, &seal->artifact);
	encode_digest(block + AT_IMAGE, &seal->image);
	encode_digest(block + AT_HEADER, &seal->header);
	memcpy(block + AT_CLASS, seal->class, strlen(seal->class));
	for (uint32_t i = 0; i < seal->rejected_count; i++)
		encode_digest(block + AT_REJECTED + i * DIGEST_LEN, &seal->rejected[i]);
	if (digest_once(block, AT_CHECKSUM, &checksum, err) < 0)
		return -1;
	encode_digest(block + AT_CHECKSUM, &checksum);
	return 0;
}

static bool decode_class(const uint8_t *at, char ret[static MANIFEST_CLASS_MAX + 1])
{
	size_t len = strnlen((const char *)at, CLASS_LEN);

	if (len > MANIFEST_CLASS_MAX || !mem_is_zero(at + len, CLASS_LEN - len))
		return false;
	memcpy(ret, at, len);
	return manifest_class_valid(ret);
}

static bool decode_rejected(const uint8_t *block, struct seal *seal)
{
	uint32_t count = le32_get(block + AT_REJECTED_COUNT);

	if (count > SEAL_REJECTED_MAX)
		return false;
	seal->rejected_count = count;
	for (uint32_t i = 0; i < count; i++)
		decode_digest(block + AT_REJECTED + i * DIGEST_LEN, &seal->rejected[i]);
	return mem_is_zero(
		block + AT_REJECTED + count * DIGEST_LEN, (SEAL_REJECTED_MAX - count) * DIGEST_LEN);
}

static bool decode_state(uint32_t code, enum seal_state *ret)
{
	for (uint32_t s = SEAL_WRITING; s <= SEAL_SEALED; s++) {
		if (STATE_CODES[s] != code)
			continue;
		*ret = (enum seal_state)s;
		return true;
	}
	return false;
}

/* Whether the numbers describe a slot whose seal blocks begin at `start`. */
static bool plausible(const struct seal *seal, uint64_t start)
{
	uint64_t header_end;

	if (seal->generation == 0 || seal->image_size == 0 || seal->image_size > start ||
		seal->mark > seal->image_size)
		return false;
	if (seal->state == SEAL_WRITING)
		return seal->header_offset == 0 && seal->header_len == 0 &&
		       digest_is_zero(&seal->header);
	return seal->header_len > 0 && seal->header_len <= HEADER_LEN_MAX &&
	       seal->header_offset % MEM_BLOCK == 0 && seal->header_offset >= seal->image_size &&
	       !__builtin_add_overflow(seal->header_offset, seal->header_len, &header_end) &&
	       header_end <= start;
}

/* Fills *ret and *ret_valid; a block that is not a valid seal of this slot is no error. */
static int decode(
	const uint8_t *block, uint64_t start, struct seal *ret, bool *ret_valid, struct err *err)
{
	struct seal seal = {0};
	struct digest sum;

	*ret_valid = false;
	if (memcmp(block + AT_MAGIC, MAGIC, sizeof(MAGIC)) != 0 ||
		le32_get(block + AT_FORMAT) != FORMAT)
		return 0;
	if (digest_once(block, AT_CHECKSUM, &sum, err) < 0)
		return -1;
	if (memcmp(block + AT_CHECKSUM, sum.b, DIGEST_LEN) != 0)
		return 0;
	seal.generation = le64_get(block + AT_GENERATION);
	seal.image_size = le64_get(block + AT_IMAGE_SIZE);
	seal.header_offset = le64_get(block + AT_HEADER_OFFSET);
	seal.header_len = le32_get(block + AT_HEADER_LEN);
	seal.mark = le64_get(block + AT_MARK);
	decode_digest(block + AT_ARTIFACT, &seal.artifact);
	decode_digest(block + AT_IMAGE, &seal.image);
	decode_digest(block + AT_HEADER, &seal.header);
	if (!decode_state(le32_get(block + AT_STATE), &seal.state) ||
		!decode_class(block + AT_CLASS, seal.class) || !decode_rejected(block, &seal) ||
		!mem_is_zero(block + AT_RESERVED, AT_CHECKSUM - AT_RESERVED) ||
		!plausible(&seal, start))
		return 0;
	*ret = seal;
	*ret_valid = true;
	return 0;
}

/* The seal that counts (or an all-zero one, SEAL_NONE), and which block holds it. */
static int read_current(struct blockdev *dev, uint64_t start, struct seal *ret,
	unsigned int *ret_block, struct err *err)
{
	CLEANUP(cleanup_free) void *blocks = NULL;
	struct seal current = {0};
	unsigned int block = 1; /* so that a slot without a seal gets its first in block 0 */

	if (mem_alloc_aligned(SEAL_SPACE, &blocks, err) < 0 ||
		blockdev_pread(dev, blocks, SEAL_SPACE, start, err) < 0)
		return -1;
	for (unsigned int i = 0; i < 2; i++) {
		struct seal seal;
		bool valid;

		if (decode((const uint8_t *)blocks + i * MEM_BLOCK, start, &seal, &valid, err) < 0)
			return -1;
		if (!valid || seal.generation <= current.generation)
			continue;
		current = seal;
		block = i;
	}
	*ret = current;
	*ret_block = block;
	return 0;
}

int seal_read(struct blockdev *dev, struct seal *ret, struct err *err)
{
	struct seal seal;
	unsigned int block;
	uint64_t start = 0;

	if (seal_start(dev, &start, err) < 0 || read_current(dev, start, &seal, &block, err) < 0)
		return err_wrap(err, "seal of '%s'", dev->name);
	*ret = seal;
	return 0;
}

static int write_block(struct blockdev *dev, const struct seal *seal, uint64_t at, struct err *err)
{
	CLEANUP(cleanup_free) void *block = NULL;

	if (mem_alloc_aligned(MEM_BLOCK, &block, err) < 0 || encode(seal, block, err) < 0)
		return -1;
	/* A cut before the flush leaves the other block in force, or this one whole: everything
	 * that counts is in its first sector. */
	if (blockdev_pwrite(dev, block, MEM_BLOCK, at, err) < 0)
		return -1;
	return blockdev_flush(dev, err);
}

int seal_write(struct blockdev *dev, struct seal *seal, struct err *err)
{
	struct seal current;
	struct seal next = *seal;
	unsigned int block;
	uint64_t start = 0;

	if (seal_start(dev, &start, err) < 0 || read_current(dev, start, &current, &block, err) < 0)
		return err_wrap(err, "seal of '%s'", dev->name);
	if (__builtin_add_overflow(current.generation, 1, &next.generation))
		return err_set(err, FAIL_DRIFT,
			"seal of '%s': its generation is the highest there is, so abide did not "
			"write it; erase the last %u bytes of the slot",
			dev->name, SEAL_SPACE);
	/* What would not be read back must not be written: the old seal would go on counting. */
	if (next.state == SEAL_NONE || next.rejected_count > SEAL_REJECTED_MAX ||
		!manifest_class_valid(next.class) || !plausible(&next, start))
		return err_set(err, FAIL_SPACE,
			"seal of '%s': an image of %" PRIu64 " bytes with a header of %" PRIu32
			" at %" PRIu64 " does not describe a slot of %" PRIu64 " bytes",
			dev->name, next.image_size, next.header_len, next.header_offset, dev->size);
	if (write_block(dev, &next, start + (block == 0 ? MEM_BLOCK : 0), err) < 0)
		return err_wrap(err, "seal of '%s'", dev->name);
	seal->generation = next.generation;
	return 0;
}

static int write_pieces(
	struct blockdev *dev, const struct bytes *data, uint64_t at, struct err *err)
{
	CLEANUP(cleanup_free) void *piece = NULL;

	if (mem_alloc_aligned(PIECE, &piece, err) < 0)
		return -1;
	for (size_t done = 0; done < data->len; done += PIECE) {
		size_t len = data->len - done < PIECE ? data->len - done : PIECE;
		size_t padded = (size_t)round_up(len, MEM_BLOCK);

		memcpy(piece, data->data + done, len);
		memset((uint8_t *)piece + len, 0, padded - len);
		if (blockdev_pwrite(dev, piece, padded, at + done, err) < 0)
			return -1;
	}
	return 0;
}

int seal_write_header(
	struct blockdev *dev, struct seal *seal, const struct bytes *header, struct err *err)
{
	uint64_t needed = seal_needed(seal->image_size, header->len);
	struct digest digest;
	uint64_t start = 0;
	uint64_t at;

	if (seal_start(dev, &start, err) < 0)
		return err_wrap(err, "seal of '%s'", dev->name);
	if (header->len == 0 || header->len > HEADER_LEN_MAX || needed > start + SEAL_SPACE)
		return err_set(err, FAIL_SPACE,
			"'%s' has %" PRIu64 " bytes; image, header and seal need %" PRIu64
			" (%" PRIu64 " more)",
			dev->name, dev->size, needed, needed > dev->size ? needed - dev->size : 0);
	at = start - round_up(header->len, MEM_BLOCK);
	/* While this is written the seal says `writing`, so a cut leaves nothing that counts. */
	if (digest_once(header->data, header->len, &digest, err) < 0 ||
		write_pieces(dev, header, at, err) < 0)
		return err_wrap(err, "header copy of '%s'", dev->name);
	seal->header_offset = at;
	seal->header_len = (uint32_t)header->len;
	seal->header = digest;
	return 0;
}

int seal_read_header(
	struct blockdev *dev, const struct seal *seal, struct header *ret, struct err *err)
{
	CLEANUP(cleanup_free) void *copy = NULL;
	size_t padded = (size_t)round_up(seal->header_len, MEM_BLOCK);
	struct digest digest;

	if (seal->state != SEAL_SEALED)
		return err_set(
			err, FAIL_STATE, "'%s' is not sealed: it has no header copy", dev->name);
	if (mem_alloc_aligned(padded, &copy, err) < 0 ||
		blockdev_pread(dev, copy, padded, seal->header_offset, err) < 0 ||
		digest_once(copy, seal->header_len, &digest, err) < 0)
		return err_wrap(err, "header copy of '%s'", dev->name);
	if (!digest_equal(&digest, &seal->header))
		return err_set(err, FAIL_DRIFT,
			"header copy of '%s' is not what was sealed; install again", dev->name);
	if (header_parse(copy, seal->header_len, ret, err) < 0)
		return err_wrap(err, "header copy of '%s'", dev->name);
	return 0;
}

bool seal_rejects(const struct seal *seal, const struct digest *artifact)
{
	for (uint32_t i = 0; i < seal->rejected_count; i++) {
		if (digest_equal(&seal->rejected[i], artifact))
			return true;
	}
	return false;
}

void seal_reject(struct seal *seal, const struct digest *artifact)
{
	if (seal_rejects(seal, artifact))
		return;
	if (seal->rejected_count < SEAL_REJECTED_MAX)
		seal->rejected_count++;
	memmove(&seal->rejected[1], &seal->rejected[0],
		(seal->rejected_count - 1) * sizeof(seal->rejected[0]));
	seal->rejected[0] = *artifact;
}

int seal_keep_rejected(struct blockdev *dev, struct seal *seal, struct err *err)
{
	struct seal kept = *seal;

	if (seal_rejects(seal, &seal->artifact))
		return 0;
	seal_reject(&kept, &seal->artifact);
	/* A cut before or during this write: the bootloader still says bad. */
	if (seal_write(dev, &kept, err) < 0)
		return -1;
	*seal = kept;
	return 0;
}

uint64_t seal_needed(uint64_t image_size, uint64_t header_len)
{
	uint64_t image = round_up(image_size, MEM_BLOCK);
	uint64_t header = round_up(header_len, MEM_BLOCK);
	uint64_t sum;

	if (__builtin_add_overflow(image, header, &sum) ||
		__builtin_add_overflow(sum, SEAL_SPACE, &sum))
		return UINT64_MAX;
	return sum;
}
