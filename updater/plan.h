/*
 * plan - what an install would do: a pure decision over an artifact and a device's state.
 *
 * plan_action() says which way the install goes, plan_image_make() where the bytes of one image
 * come from. `abide plan` prints both; install_run() carries them out.
 */
#ifndef ABIDE_UPDATER_PLAN_H
#define ABIDE_UPDATER_PLAN_H

#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/state.h"

enum plan_action {
	PLAN_NOTHING, /* the artifact runs already, or is activated already */
	PLAN_DEACTIVATE, /* it runs already, but another one is activated: take the flip back */
	PLAN_ACTIVATE, /* the target group holds it, sealed: read back, then flip */
	PLAN_WRITE, /* write, read back, seal, flip */
};

const char *plan_action_name(enum plan_action action);
enum plan_action plan_action(const struct state *state, const struct group_facts facts[static 2],
	const struct digest *artifact);

/* Where a chunk's bytes come from. In image order, so that one pass suffices. */
enum plan_source {
	PLAN_ZERO, /* all zero: known from the index */
	PLAN_REPEAT, /* as an earlier chunk of this image: copied from the slot */
	PLAN_IN_PLACE, /* thought to be in the slot already: verified there, else another source */
	PLAN_SEED, /* thought to be in a slot of the running group: verified, else fetched */
	PLAN_MOVED, /* the same, further on in this slot's older content */
	PLAN_FETCH,
};

/* What is known of the target slot's content. */
struct plan_seed {
	const struct index *old_index; /* of the sealed image there, or NULL */
	uint64_t resume; /* an install of this very artifact got this far; 0: none */
};

struct plan_image; /* opaque */

struct plan_totals {
	uint64_t zero; /* bytes, of each source */
	uint64_t repeat;
	uint64_t in_place;
	uint64_t seed;
	uint64_t moved;
	uint64_t fetch;
};

/* Seeds have numbers, by which the caller knows the slots. The slot that is written itself: */
#define PLAN_SELF      0u
#define PLAN_SEEDS_MAX 32u

int plan_image_make(const struct index *index, const struct plan_seed *seed,
	struct plan_image **ret, struct err *err);
/* Chunks that slot `number` holds, by its index, are copied instead of fetched. The first seed that
 * has a chunk is taken; what is in place stays. Nothing of `seed` is kept: one at a time will do. */
int plan_image_add_seed(struct plan_image *plan, const struct index *index,
	const struct index *seed, unsigned int number, struct err *err);
/* No more of them: gives back what was needed to find them. */
void plan_image_end_seeds(struct plan_image *plan);
void plan_image_free(struct plan_image **plan);
enum plan_source plan_source(const struct plan_image *plan, uint32_t chunk);
/* For PLAN_REPEAT: the chunk to copy, which is an earlier one. */
uint32_t plan_repeat_of(const struct plan_image *plan, uint32_t chunk);
/* For PLAN_SEED and PLAN_MOVED: the seed's number, and where the chunk lies in it. */
unsigned int plan_seed_of(const struct plan_image *plan, uint32_t chunk, uint64_t *ret_offset);
/* An in-place or reused chunk turned out to be something else: the next best source is taken, which
 * is to be checked in turn. */
void plan_refetch(struct plan_image *plan, uint32_t chunk);
struct plan_totals plan_totals(const struct plan_image *plan, const struct index *index);
/* Bit i % 8 of byte i / 8: chunk i is PLAN_FETCH. index_count() bits. */
const uint8_t *plan_wanted(const struct plan_image *plan);

#endif
