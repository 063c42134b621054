#include "updater/plan.h"

#include <stdlib.h>
#include <string.h>

#include "updater/mem.h"

/* A cut-off install wrote chunks in order and advanced its mark now and then: what it wrote after
 * the last mark is worth a look, what lies further on is not. Two intervals of the mark. */
#define RESUME_SLACK (UINT64_C(128) << 20)

struct plan_image {
	uint32_t count;
	uint8_t *source; /* enum plan_source, per chunk */
	uint32_t *repeat_of; /* per chunk; itself: the first of its kind */
	uint8_t *is_zero; /* per chunk: bytes known to be zero */
	uint8_t *wanted; /* bitmap */
	uint8_t *seed; /* per chunk: number of the slot that has it, plus 1; 0: none */
	uint64_t *seed_offset; /* per chunk: where there */
	uint32_t *table; /* of the first chunks of their kind, by digest: number + 1; 0: free */
	uint32_t table_size; /* a power of two */
};

const char *plan_action_name(enum plan_action action)
{
	static const char *const NAMES[] = {
		[PLAN_NOTHING] = "nothing",
		[PLAN_DEACTIVATE] = "deactivate",
		[PLAN_ACTIVATE] = "activate",
		[PLAN_WRITE] = "write",
	};

	return NAMES[action];
}

static bool holds(const struct group_facts *facts, const struct digest *artifact)
{
	return facts->seal == SEAL_SEALED && digest_equal(&facts->artifact, artifact);
}

enum plan_action plan_action(const struct state *state, const struct group_facts facts[static 2],
	const struct digest *artifact)
{
	bool passed_over = state->now == STATE_PASSED_OVER;
	bool next_is_target = state->next_known && state->next == state->target && !passed_over;

	if (holds(&facts[state->booted], artifact))
		return state->now == STATE_ACTIVATED || passed_over ? PLAN_DEACTIVATE
								    : PLAN_NOTHING;
	if (!holds(&facts[state->target], artifact) || !facts[state->target].proven)
		return PLAN_WRITE;
	return next_is_target ? PLAN_NOTHING : PLAN_ACTIVATE;
}

/* Digests of zeros for the usual lengths: zero runs are cut at the longest chunk a bundle uses,
 * which is a power of two. Other zero chunks travel through the carrier, at no bytes. */
#define ZERO_FIRST 4096u
#define ZERO_SIZES 7u /* 4 KiB .. INDEX_CHUNK_MAX */

struct zero_digests {
	struct digest digest[ZERO_SIZES];
};

static int zero_digests_make(struct zero_digests *ret, struct err *err)
{
	CLEANUP(hasher_free) struct hasher *hasher = NULL;
	static const uint8_t ZEROS[ZERO_FIRST];

	if (hasher_new(&hasher, err) < 0)
		return -1;
	for (unsigned int i = 0; i < ZERO_SIZES; i++) {
		if (hasher_reset(hasher, err) < 0)
			return -1;
		for (uint32_t done = 0; done < ZERO_FIRST << i; done += ZERO_FIRST)
			if (hasher_update(hasher, ZEROS, ZERO_FIRST, err) < 0)
				return -1;
		if (hasher_final(hasher, &ret->digest[i], err) < 0)
			return -1;
	}
	return 0;
}

static bool chunk_is_zero(const struct index *index, uint32_t i, const struct zero_digests *zeros)
{
	uint32_t length = index_length(index, i);

	for (unsigned int k = 0; k < ZERO_SIZES; k++)
		if (length == ZERO_FIRST << k)
			return index_matches(index, i, &zeros->digest[k]);
	return false;
}

static bool same_chunk(const struct index *a, uint32_t i, const struct index *b, uint32_t k)
{
	return index_length(a, i) == index_length(b, k) &&
	       memcmp(index_digest(a, i), index_digest(b, k), INDEX_DIGEST_LEN) == 0;
}

/* The place in the table of chunk i of `other`, or a free one. The digests are SHA-256, so their
 * first bytes are as good a hash as any; an attacker who signs indexes has better things to do. */
static uint32_t *table_place(const struct plan_image *plan, const struct index *index,
	const struct index *other, uint32_t i)
{
	uint32_t mask = plan->table_size - 1;
	uint32_t at = le32_get(index_digest(other, i)) & mask;

	while (plan->table[at] && !same_chunk(index, plan->table[at] - 1, other, i))
		at = (at + 1) & mask;
	return &plan->table[at];
}

/* For each chunk the first one with the same length and digest. */
static int find_repeats(struct plan_image *plan, const struct index *index, struct err *err)
{
	void *p = NULL;

	plan->table_size = 16;
	while (plan->table_size < plan->count * 2)
		plan->table_size *= 2;
	if (mem_alloc((size_t)plan->table_size * sizeof(*plan->table), &p, err) < 0)
		return -1;
	plan->table = p;
	for (uint32_t i = 0; i < plan->count; i++) {
		uint32_t *place = table_place(plan, index, index, i);

		if (!*place)
			*place = i + 1;
		plan->repeat_of[i] = *place - 1;
	}
	return 0;
}

static enum plan_source fallback_source(const struct plan_image *plan, uint32_t i)
{
	if (plan->is_zero[i])
		return PLAN_ZERO;
	if (plan->repeat_of[i] != i)
		return PLAN_REPEAT;
	if (!plan->seed || !plan->seed[i])
		return PLAN_FETCH;
	return plan->seed[i] == PLAN_SELF + 1 ? PLAN_MOVED : PLAN_SEED;
}

static void set_source(struct plan_image *plan, uint32_t i, enum plan_source source)
{
	uint8_t bit = (uint8_t)(1u << i % 8);

	plan->source[i] = (uint8_t)source;
	if (source == PLAN_FETCH)
		plan->wanted[i / 8] |= bit;
	else
		plan->wanted[i / 8] &= (uint8_t)~bit;
}

/* Chunks that lie where they should be, as far as the seal knows. The first block of an image is
 * wiped before anything is written (install.c), so what touches it is never in place. */
static void mark_in_place(
	struct plan_image *plan, const struct index *index, const struct plan_seed *seed)
{
	uint32_t old_count = seed->old_index ? index_count(seed->old_index) : 0;
	uint64_t offset = 0, old_offset = 0, limit = 0;
	uint32_t k = 0;

	if (seed->resume && __builtin_add_overflow(seed->resume, RESUME_SLACK, &limit))
		limit = UINT64_MAX;
	for (uint32_t i = 0; i < plan->count; i++) {
		while (k < old_count && old_offset < offset)
			old_offset += index_length(seed->old_index, k++);
		bool same = k < old_count && old_offset == offset &&
			    same_chunk(index, i, seed->old_index, k);

		if (offset >= MEM_BLOCK && (same || offset < limit))
			set_source(plan, i, PLAN_IN_PLACE);
		offset += index_length(index, i);
	}
}

static int plan_alloc(uint32_t count, struct plan_image **ret, struct err *err)
{
	CLEANUP(plan_image_free) struct plan_image *plan = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*plan), &p, err) < 0)
		return -1;
	plan = p;
	plan->count = count;
	if (mem_alloc(count, &p, err) < 0)
		return -1;
	plan->source = p;
	if (mem_alloc(count, &p, err) < 0)
		return -1;
	plan->is_zero = p;
	if (mem_alloc((size_t)count * sizeof(*plan->repeat_of), &p, err) < 0)
		return -1;
	plan->repeat_of = p;
	if (mem_alloc((size_t)count / 8 + 1, &p, err) < 0)
		return -1;
	plan->wanted = p;
	*ret = steal_ptr(&plan);
	return 0;
}

int plan_image_make(const struct index *index, const struct plan_seed *seed,
	struct plan_image **ret, struct err *err)
{
	CLEANUP(plan_image_free) struct plan_image *plan = NULL;
	struct zero_digests zeros;

	if (plan_alloc(index_count(index), &plan, err) < 0 || zero_digests_make(&zeros, err) < 0 ||
		find_repeats(plan, index, err) < 0)
		return -1;
	for (uint32_t i = 0; i < plan->count; i++) {
		plan->is_zero[i] = chunk_is_zero(index, i, &zeros);
		set_source(plan, i, fallback_source(plan, i));
	}
	mark_in_place(plan, index, seed);
	*ret = steal_ptr(&plan);
	return 0;
}

/* Memory is given only where there is something to be reused. */
static int need_seed_arrays(struct plan_image *plan, struct err *err)
{
	void *p = NULL;

	if (!plan->seed_offset) {
		if (mem_alloc((size_t)plan->count * sizeof(*plan->seed_offset), &p, err) < 0)
			return -1;
		plan->seed_offset = p;
	}
	if (!plan->seed) {
		if (mem_alloc(plan->count, &p, err) < 0)
			return -1;
		plan->seed = p;
	}
	return 0;
}

static void take_seed(struct plan_image *plan, uint32_t i, unsigned int number, uint64_t offset)
{
	if (plan->seed[i] || plan->is_zero[i])
		return;
	plan->seed[i] = (uint8_t)(number + 1);
	plan->seed_offset[i] = offset;
	if (plan->source[i] == PLAN_FETCH)
		set_source(plan, i, fallback_source(plan, i));
}

static int chunk_offsets(const struct index *index, uint64_t **ret, struct err *err)
{
	uint64_t *offsets;
	uint64_t offset = 0;
	void *p = NULL;

	if (mem_alloc(index_count(index) * sizeof(*offsets), &p, err) < 0)
		return -1;
	offsets = p;
	for (uint32_t i = 0; i < index_count(index); i++) {
		offsets[i] = offset;
		offset += index_length(index, i);
	}
	*ret = offsets;
	return 0;
}

/* The slot that is written is a seed only ahead of the writer: a chunk is copied when all before it
 * is written and nothing behind it is, except for the first block, which is wiped. */
int plan_image_add_seed(struct plan_image *plan, const struct index *index,
	const struct index *seed, unsigned int number, struct err *err)
{
	CLEANUP(cleanup_free) uint64_t *offsets = NULL; /* in the new image */
	uint64_t at = 0;

	if (number == PLAN_SELF && chunk_offsets(index, &offsets, err) < 0)
		return -1;
	for (uint32_t k = 0; k < index_count(seed); k++) {
		uint32_t place = *table_place(plan, index, seed, k);

		if (place &&
			(number != PLAN_SELF || (at >= MEM_BLOCK && at >= offsets[place - 1]))) {
			if (need_seed_arrays(plan, err) < 0)
				return -1;
			take_seed(plan, place - 1, number, at);
		}
		at += index_length(seed, k);
	}
	return 0;
}

void plan_image_end_seeds(struct plan_image *plan)
{
	free(steal_ptr(&plan->table));
}

void plan_image_free(struct plan_image **plan)
{
	if (!plan || !*plan)
		return;
	free((*plan)->source);
	free((*plan)->is_zero);
	free((*plan)->repeat_of);
	free((*plan)->wanted);
	free((*plan)->seed);
	free((*plan)->seed_offset);
	free((*plan)->table);
	free(*plan);
	*plan = NULL;
}

enum plan_source plan_source(const struct plan_image *plan, uint32_t chunk)
{
	return (enum plan_source)plan->source[chunk];
}

uint32_t plan_repeat_of(const struct plan_image *plan, uint32_t chunk)
{
	return plan->repeat_of[chunk];
}

unsigned int plan_seed_of(const struct plan_image *plan, uint32_t chunk, uint64_t *ret_offset)
{
	*ret_offset = plan->seed_offset[chunk];
	return plan->seed[chunk] - 1u;
}

void plan_refetch(struct plan_image *plan, uint32_t chunk)
{
	if (plan->source[chunk] == PLAN_SEED || plan->source[chunk] == PLAN_MOVED)
		plan->seed[chunk] = 0;
	set_source(plan, chunk, fallback_source(plan, chunk));
}

const uint8_t *plan_wanted(const struct plan_image *plan)
{
	return plan->wanted;
}

struct plan_totals plan_totals(const struct plan_image *plan, const struct index *index)
{
	struct plan_totals totals = {0};
	uint64_t *const by_source[] = {
		[PLAN_ZERO] = &totals.zero,
		[PLAN_REPEAT] = &totals.repeat,
		[PLAN_IN_PLACE] = &totals.in_place,
		[PLAN_SEED] = &totals.seed,
		[PLAN_MOVED] = &totals.moved,
		[PLAN_FETCH] = &totals.fetch,
	};

	for (uint32_t i = 0; i < plan->count; i++)
		*by_source[plan->source[i]] += index_length(index, i);
	return totals;
}
