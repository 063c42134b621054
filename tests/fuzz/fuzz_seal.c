/*
 * The seal: whatever lies at a slot's end is read or is nothing, what is read fits the slot, and a
 * seal written after it counts.
 *
 * Input: a byte (bit i: make block i's checksum right, so that the checks behind it are reached),
 * 512 bytes of each seal block, then what lies below them.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "updater/mem.h"
#include "updater/seal.h"

#define SLOT   (64u << 10)
#define START  (SLOT - SEAL_SPACE)
#define BELOW  (32u << 10)
#define SECTOR 512u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint8_t slot[SLOT];

static int memory_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	(void)dev;
	(void)err;
	memcpy(buf, slot + off, len);
	return 0;
}

static int memory_pwrite(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	(void)dev;
	(void)err;
	memcpy(slot + off, buf, len);
	return 0;
}

static int memory_flush(struct blockdev *dev, struct err *err)
{
	(void)dev;
	(void)err;
	return 0;
}

static const struct blockdev_ops OPS = {
	.pread = memory_pread, .pwrite = memory_pwrite, .flush = memory_flush};

static size_t take(const uint8_t **data, size_t *len, uint8_t *to, size_t cap)
{
	size_t n = *len < cap ? *len : cap;

	memcpy(to, *data, n);
	*data += n;
	*len -= n;
	return n;
}

static void load(const uint8_t *data, size_t len)
{
	uint8_t fix = 0;

	memset(slot, 0, sizeof(slot));
	(void)take(&data, &len, &fix, 1);
	for (unsigned int i = 0; i < 2; i++) {
		uint8_t *block = slot + START + i * MEM_BLOCK;
		struct digest sum;
		struct err err;

		(void)take(&data, &len, block, SECTOR);
		if (!(fix & 1u << i))
			continue;
		if (digest_once(block, SECTOR - DIGEST_LEN, &sum, &err) < 0)
			abort();
		memcpy(block + SECTOR - DIGEST_LEN, sum.b, DIGEST_LEN);
	}
	(void)take(&data, &len, slot + START - BELOW, BELOW);
}

static void check_fits(const struct seal *seal)
{
	if (seal->generation == 0 || seal->image_size > START || seal->mark > seal->image_size ||
		seal->rejected_count > SEAL_REJECTED_MAX || !manifest_class_valid(seal->class))
		abort();
	if (seal->state == SEAL_SEALED && (seal->header_offset < seal->image_size ||
						  seal->header_offset + seal->header_len > START))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct blockdev dev = {.ops = &OPS, .name = "fuzz", .size = SLOT};
	struct seal seal, found;
	struct header header = {0};
	struct err err;

	load(data, len);
	if (seal_read(&dev, &seal, &err) < 0)
		abort();
	if (seal.state == SEAL_NONE)
		return 0;
	check_fits(&seal);
	if (seal.state == SEAL_SEALED && seal_read_header(&dev, &seal, &header, &err) == 0)
		header_finish(&header);
	if (seal_write(&dev, &seal, &err) < 0)
		return 0; /* the highest generation */
	if (seal_read(&dev, &found, &err) < 0 || found.generation != seal.generation ||
		found.state != seal.state || found.image_size != seal.image_size ||
		found.rejected_count != seal.rejected_count)
		abort();
	return 0;
}
