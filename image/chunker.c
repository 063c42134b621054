#include "image/chunker.h"

#include <assert.h>
#include <string.h>

#include "updater/mem.h"

/* "abide c1" in ASCII. */
#define GEAR_SEED UINT64_C(0x6162696465206331)

/* The mask takes the hash's high bits: bit n of a gear hash depends on the last n + 1 bytes. Bit 63
 * stays out because the first of two bytes is judged on a hash that is shifted by one already. A
 * cut comes every 2^16 bytes before CHUNKER_NORMAL and every 2^12 after it: 14 bits, normalised by
 * two. */
#define MASK(bits) (((UINT64_C(1) << (bits)) - 1) << (63 - (bits)))
#define MASK_HARD  MASK(16)
#define MASK_EASY  MASK(12)

/* Every run of CHUNKER_ZERO_MIN zeros holds one of these points with eight zeros after it. */
#define PROBE_STEP (CHUNKER_ZERO_MIN / 2)

static_assert(CHUNKER_WINDOW >= CHUNKER_MAX + CHUNKER_ZERO_MIN,
	"a zero run that begins in a chunk must be seen to its minimum");

void chunker_init(struct chunker *chunker)
{
	uint64_t state = GEAR_SEED;

	/* Source of the constants: G. Steele et al., "Fast splittable pseudorandom number
	 * generators", OOPSLA 2014. */
	for (size_t i = 0; i < 256; i++) {
		uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		chunker->gear[i] = z ^ z >> 31;
		chunker->gear_shifted[i] = chunker->gear[i] << 1;
	}
}

/* How many zeros `data` begins with. */
static size_t zero_run(const uint8_t *data, size_t len)
{
	size_t n = 0;

	while (len - n >= MEM_BLOCK && mem_is_zero(data + n, MEM_BLOCK))
		n += MEM_BLOCK;
	while (n < len && data[n] == 0)
		n++;
	return n;
}

/* Hashes data[*at..end) on top of *hash until the mask is hit. Returns the cut after the byte that
 * hit it, or 0. */
static inline size_t scan(const struct chunker *chunker, const uint8_t *data, size_t *at,
	size_t end, uint64_t mask, uint64_t *hash)
{
	uint64_t h = *hash;
	size_t i = *at;

	for (; i + 2 <= end; i += 2) {
		h = (h << 2) + chunker->gear_shifted[data[i]];
		if (!(h & mask << 1))
			return i + 1;
		h += chunker->gear[data[i + 1]];
		if (!(h & mask))
			return i + 2;
	}
	if (i < end) {
		h = (h << 1) + chunker->gear[data[i++]];
		if (!(h & mask))
			return i;
	}
	*hash = h;
	*at = i;
	return 0;
}

static size_t gear_cut(const struct chunker *chunker, const uint8_t *data, size_t len)
{
	size_t limit = len < CHUNKER_MAX ? len : CHUNKER_MAX;
	size_t normal = limit < CHUNKER_NORMAL ? limit : CHUNKER_NORMAL;
	size_t at = CHUNKER_MIN;
	uint64_t hash = 0;
	size_t cut;

	if (limit <= CHUNKER_MIN)
		return limit;
	cut = scan(chunker, data, &at, normal, MASK_HARD, &hash);
	if (!cut)
		cut = scan(chunker, data, &at, limit, MASK_EASY, &hash);
	return cut ? cut : limit;
}

/* Where the first file ends, if one does inside data[CHUNKER_MIN..cut); else `cut`. */
static size_t cut_at_file_end(const uint8_t *data, size_t len, uint64_t offset, size_t cut)
{
	static const uint8_t ZEROS[CHUNKER_END_ZEROS];
	size_t first = MEM_BLOCK - (size_t)(offset % MEM_BLOCK);

	for (size_t p = first; p < cut && p + sizeof(ZEROS) <= len; p += MEM_BLOCK)
		if (p >= CHUNKER_MIN &&
			memcmp(data + p - sizeof(ZEROS), ZEROS, sizeof(ZEROS)) == 0 &&
			memcmp(data + p, ZEROS, sizeof(ZEROS)) != 0)
			return p;
	return cut;
}

/* Where the first long zero run begins, if it begins inside data[0..cut); else `cut`. */
static size_t cut_at_zeros(const uint8_t *data, size_t len, size_t cut)
{
	static const uint8_t ZEROS[8];

	for (size_t p = PROBE_STEP; p < cut + PROBE_STEP && p + sizeof(ZEROS) <= len;
		p += PROBE_STEP) {
		size_t begin = p;
		size_t left;

		if (memcmp(data + p, ZEROS, sizeof(ZEROS)) != 0)
			continue;
		while (begin > 0 && data[begin - 1] == 0)
			begin--;
		if (begin >= cut)
			return cut;
		left = len - begin;
		if (left > CHUNKER_ZERO_MIN)
			left = CHUNKER_ZERO_MIN;
		if (begin > 0 && left == CHUNKER_ZERO_MIN && zero_run(data + begin, left) == left)
			return begin;
	}
	return cut;
}

uint32_t chunker_cut(
	const struct chunker *chunker, const uint8_t *data, size_t len, uint64_t offset)
{
	size_t window = len < CHUNKER_WINDOW ? len : CHUNKER_WINDOW;
	size_t zeros, cut;

	assert(len > 0);
	zeros = zero_run(data, window);
	if (zeros >= CHUNKER_ZERO_MIN || zeros == len)
		return (uint32_t)zeros;
	cut = gear_cut(chunker, data, window);
	cut = cut_at_file_end(data, window, offset, cut);
	return (uint32_t)cut_at_zeros(data, window, cut);
}
