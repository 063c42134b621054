#include "image/similar.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "updater/mem.h"

#define STEP_BITS   6u /* one place in 64 is remembered... */
#define ENTRIES_MAX (UINT64_C(1) << 25) /* ...and fewer of what would need more than this */
#define HOLDERS_MAX 4u /* chunks remembered for one hash: what is everywhere tells nothing */
#define HINT_SCORE  2u
#define CHUNK_COST  2048u /* bytes: a short chunk is not worth more than what it brings */
#define MULTIPLIER  UINT64_C(0x100000001b3) /* odd, and that of FNV: any that spreads will do */
#define MIXER       UINT64_C(0x9e3779b97f4a7c15)

struct entry {
	uint32_t hash; /* 0: free */
	uint32_t chunk;
};

struct similar {
	const struct index *index;
	struct entry *entries; /* open addressing; a hash may be there up to HOLDERS_MAX times */
	uint32_t mask;
	unsigned int step_bits;
	uint64_t out[256]; /* what a byte that leaves the window has added to the hash */
};

/* A chunk that may be chosen. */
struct candidate {
	uint32_t chunk;
	uint32_t score; /* hashes it would cover */
	uint32_t first; /* of `held` */
	uint32_t count;
	bool chosen;
};

struct similar_room {
	const struct similar *similar;
	uint32_t *place; /* by chunk: its candidate + 1; 0: none */
	struct candidate *candidates;
	uint32_t candidate_count;
	uint32_t *hashes; /* of the data, ascending, each once */
	uint32_t hash_count;
	bool *covered; /* by hash */
	uint32_t *held; /* by candidate: the hashes it holds */
};

#define HASHES_MAX     (SIMILAR_DATA_MAX / 8u) /* eight times what is expected; the rest is lost */
#define CANDIDATES_MAX (HASHES_MAX * HOLDERS_MAX)

/* Calls `each` with the hashes of data. */
static void hash_places(const struct similar *similar, const uint8_t *data, size_t len,
	void (*each)(void *arg, uint32_t hash), void *arg)
{
	uint64_t sum = 0;
	uint32_t last = 0;

	for (size_t i = 0; i < len; i++) {
		uint64_t mixed;
		uint32_t hash;

		sum = sum * MULTIPLIER + data[i] + 1;
		if (i < SIMILAR_WINDOW - 1)
			continue;
		mixed = sum * MIXER;
		sum -= similar->out[data[i - (SIMILAR_WINDOW - 1)]];
		if (mixed >> (64 - similar->step_bits))
			continue;
		/* 0 is no hash; and a run of one byte is one place, not many. */
		hash = (uint32_t)(mixed >> 16) | 1;
		if (hash != last)
			each(arg, hash);
		last = hash;
	}
}

int similar_new(const struct index *index, struct similar **ret, struct err *err)
{
	CLEANUP(similar_free) struct similar *similar = NULL;
	uint64_t entries = 1024, power = 1;
	void *p = NULL;

	if (mem_alloc(sizeof(*similar), &p, err) < 0)
		return -1;
	similar = p;
	similar->index = index;
	similar->step_bits = STEP_BITS;
	/* Half full at most. */
	while (entries < ENTRIES_MAX && entries < index_image_size(index) >> (STEP_BITS - 1))
		entries *= 2;
	while (entries < index_image_size(index) >> (similar->step_bits - 1))
		similar->step_bits++;
	similar->mask = (uint32_t)(entries - 1);
	if (mem_alloc(entries * sizeof(*similar->entries), &p, err) < 0)
		return -1;
	similar->entries = p;
	for (unsigned int i = 0; i < SIMILAR_WINDOW - 1; i++)
		power *= MULTIPLIER;
	for (unsigned int i = 0; i < 256; i++)
		similar->out[i] = (i + 1) * power;
	*ret = steal_ptr(&similar);
	return 0;
}

void similar_free(struct similar **similar)
{
	struct similar *taken = steal_ptr(similar);

	if (!taken)
		return;
	free(taken->entries);
	free(taken);
}

struct adding {
	struct similar *similar;
	uint32_t chunk;
};

static void add_hash(void *arg, uint32_t hash)
{
	const struct adding *adding = arg;
	struct similar *similar = adding->similar;
	unsigned int holders = 0;
	uint32_t at = hash >> 1 & similar->mask;

	for (; similar->entries[at].hash; at = (at + 1) & similar->mask) {
		if (similar->entries[at].hash != hash)
			continue;
		if (similar->entries[at].chunk == adding->chunk || ++holders == HOLDERS_MAX)
			return;
	}
	similar->entries[at] = (struct entry){.hash = hash, .chunk = adding->chunk};
}

void similar_add(struct similar *similar, uint32_t i, const uint8_t *data, size_t len)
{
	size_t wanted = (size_t)index_length(similar->index, i) + SIMILAR_WINDOW - 1;
	struct adding adding = {.similar = similar, .chunk = i};

	hash_places(similar, data, len < wanted ? len : wanted, add_hash, &adding);
}

/* ---- choosing ---- */

int similar_room_new(const struct similar *similar, struct similar_room **ret, struct err *err)
{
	CLEANUP(similar_room_free) struct similar_room *room = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*room), &p, err) < 0)
		return -1;
	room = p;
	room->similar = similar;
	if (mem_alloc(index_count(similar->index) * sizeof(*room->place), &p, err) < 0)
		return -1;
	room->place = p;
	if (mem_alloc(CANDIDATES_MAX * sizeof(*room->candidates), &p, err) < 0)
		return -1;
	room->candidates = p;
	if (mem_alloc(HASHES_MAX * sizeof(*room->hashes), &p, err) < 0)
		return -1;
	room->hashes = p;
	if (mem_alloc(HASHES_MAX * sizeof(*room->covered), &p, err) < 0)
		return -1;
	room->covered = p;
	if (mem_alloc((size_t)CANDIDATES_MAX * sizeof(*room->held), &p, err) < 0)
		return -1;
	room->held = p;
	*ret = steal_ptr(&room);
	return 0;
}

void similar_room_free(struct similar_room **room)
{
	struct similar_room *taken = steal_ptr(room);

	if (!taken)
		return;
	free(taken->place);
	free(taken->candidates);
	free(taken->hashes);
	free(taken->covered);
	free(taken->held);
	free(taken);
}

static struct candidate *candidate_of(struct similar_room *room, uint32_t chunk)
{
	if (!room->place[chunk]) {
		if (room->candidate_count == CANDIDATES_MAX)
			return NULL;
		room->candidates[room->candidate_count] = (struct candidate){.chunk = chunk};
		room->place[chunk] = ++room->candidate_count;
	}
	return &room->candidates[room->place[chunk] - 1];
}

void similar_hint(struct similar_room *room, uint32_t i)
{
	struct candidate *candidate;

	if (i >= index_count(room->similar->index))
		return;
	candidate = candidate_of(room, i);
	if (candidate)
		candidate->score += HINT_SCORE;
}

static void note_hash(void *arg, uint32_t hash)
{
	struct similar_room *room = arg;

	if (room->hash_count < HASHES_MAX)
		room->hashes[room->hash_count++] = hash;
}

static int compare_numbers(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_hashes(struct similar_room *room)
{
	uint32_t kept = 0;

	qsort(room->hashes, room->hash_count, sizeof(*room->hashes), compare_numbers);
	for (uint32_t i = 0; i < room->hash_count; i++)
		if (i == 0 || room->hashes[i] != room->hashes[i - 1])
			room->hashes[kept++] = room->hashes[i];
	room->hash_count = kept;
	memset(room->covered, 0, kept * sizeof(*room->covered));
}

/* Calls `each` for every chunk that holds the hash. */
static void for_holders(struct similar_room *room, uint32_t number,
	void (*each)(struct similar_room *room, struct candidate *candidate, uint32_t number))
{
	const struct similar *similar = room->similar;
	uint32_t hash = room->hashes[number];
	uint32_t at = hash >> 1 & similar->mask;

	for (; similar->entries[at].hash; at = (at + 1) & similar->mask)
		if (similar->entries[at].hash == hash) {
			struct candidate *candidate =
				candidate_of(room, similar->entries[at].chunk);

			if (candidate)
				each(room, candidate, number);
		}
}

static void count_holder(struct similar_room *room, struct candidate *candidate, uint32_t number)
{
	(void)room;
	(void)number;
	candidate->score++;
	candidate->count++;
}

static void list_holder(struct similar_room *room, struct candidate *candidate, uint32_t number)
{
	room->held[candidate->first + candidate->count++] = number;
}

static void uncount_holder(struct similar_room *room, struct candidate *candidate, uint32_t number)
{
	(void)room;
	(void)number;
	candidate->score -= candidate->score > 0;
}

/* Who holds what. */
static void find_candidates(struct similar_room *room)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < room->hash_count; i++)
		for_holders(room, i, count_holder);
	for (uint32_t i = 0; i < room->candidate_count; i++) {
		room->candidates[i].first = at;
		at += room->candidates[i].count;
		room->candidates[i].count = 0;
	}
	for (uint32_t i = 0; i < room->hash_count; i++)
		for_holders(room, i, list_holder);
}

/* The one that gains most for its length and still fits; NULL: none gains. */
static struct candidate *best_candidate(struct similar_room *room, uint64_t budget)
{
	const struct index *index = room->similar->index;
	struct candidate *best = NULL;
	uint64_t best_cost = 0;

	for (uint32_t i = 0; i < room->candidate_count; i++) {
		struct candidate *one = &room->candidates[i];
		uint64_t length = index_length(index, one->chunk);
		uint64_t cost = length + CHUNK_COST;

		if (one->chosen || one->score == 0 || length > budget)
			continue;
		/* score / cost is larger; no product is near 2^64. */
		if (!best || one->score * best_cost > best->score * cost) {
			best = one;
			best_cost = cost;
		}
	}
	return best;
}

static void cover(struct similar_room *room, struct candidate *chosen)
{
	chosen->chosen = true;
	for (uint32_t i = 0; i < chosen->count; i++) {
		uint32_t number = room->held[chosen->first + i];

		if (room->covered[number])
			continue;
		room->covered[number] = true;
		for_holders(room, number, uncount_holder);
	}
}

size_t similar_choose(struct similar_room *room, const uint8_t *data, size_t len, uint64_t budget,
	uint32_t *ret, size_t cap)
{
	struct candidate *best;
	size_t count = 0;

	assert(len <= SIMILAR_DATA_MAX);
	hash_places(room->similar, data, len, note_hash, room);
	sort_hashes(room);
	find_candidates(room);
	while (count < cap && (best = best_candidate(room, budget))) {
		cover(room, best);
		budget -= index_length(room->similar->index, best->chunk);
		ret[count++] = best->chunk;
	}
	qsort(ret, count, sizeof(*ret), compare_numbers);
	for (uint32_t i = 0; i < room->candidate_count; i++)
		room->place[room->candidates[i].chunk] = 0;
	room->candidate_count = 0;
	room->hash_count = 0;
	return count;
}
