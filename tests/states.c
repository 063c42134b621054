#include "tests/states.h"

#include <assert.h>

#include "bootloader-hooks/model.h"

struct walk {
	struct reached *found;
	size_t count, cap;
};

bool states_take(const struct boot_state *boot, const struct state *state, enum device_event event,
	uint32_t tries, struct boot_state *ret)
{
	const struct boot_group *target = &boot->group[state->target];

	switch (event) {
	case EVENT_INSTALL:
		*ret = edge_disarm(boot, state->target);
		return true;
	case EVENT_FLIP:
		*ret = edge_make_next(boot, state, tries);
		return true;
	case EVENT_DEACTIVATE:
		*ret = edge_deactivate(boot, state->booted);
		return true;
	case EVENT_CONFIRM:
		*ret = edge_confirm(boot, state->booted);
		return true;
	case EVENT_REVERT:
		*ret = edge_revert(boot, state->booted);
		return target->good;
	}
	return false;
}

static void add(struct walk *walk, const struct boot_state *boot, enum group booted)
{
	for (size_t i = 0; i < walk->count; i++)
		if (walk->found[i].booted == booted && boot_state_equal(&walk->found[i].boot, boot))
			return;
	assert(walk->count < walk->cap);
	walk->found[walk->count++] = (struct reached){*boot, booted};
}

static void add_starts(struct walk *walk, const struct reached *from)
{
	for (unsigned int i = 0; i < 4; i++) {
		const bool loads[GROUP_COUNT] = {i & 1, i & 2};
		struct boot_state boot = from->boot;
		enum group booted = from->booted; /* nothing started: it will be on the next try */

		(void)boot_model_start(&boot, loads, &booted);
		add(walk, &boot, booted);
	}
}

/* What an install commits on its way, from any state that --force lets it start in. */
static void add_install(struct walk *walk, const struct reached *from, enum group target)
{
	const struct boot_state disarmed = edge_disarm(&from->boot, target);
	const struct boot_state forgotten = edge_forget_bad(&disarmed, target);
	const struct boot_state flipped = edge_flip(&forgotten, target, BOOT_TRIES_MAX);

	add(walk, &disarmed, from->booted);
	add(walk, &forgotten, from->booted);
	add(walk, &flipped, from->booted);
}

static void add_events(
	struct walk *walk, const struct reached *from, enum seal_state target_seal, bool flipped)
{
	struct group_facts facts[GROUP_COUNT] = {{.seal = SEAL_SEALED}, {.seal = SEAL_SEALED}};
	struct state state;

	facts[group_other(from->booted)].seal = target_seal;
	state = state_derive(&from->boot, facts, from->booted, flipped);
	for (unsigned int e = 0; e < EVENT_COUNT; e++) {
		bool forced = e == EVENT_INSTALL && state.now == STATE_REVERTING;
		struct boot_state after;
		struct err err;

		if (!forced && state_check(state.now, (enum device_event)e, &err) < 0)
			continue;
		if (e == EVENT_INSTALL)
			add_install(walk, from, state.target);
		else if (states_take(
				 &from->boot, &state, (enum device_event)e, BOOT_TRIES_MAX, &after))
			add(walk, &after, from->booted);
	}
}

size_t states_reachable(struct reached *ret, size_t cap)
{
	const struct boot_state factory = {
		.group = {[GROUP_A] = {.good = true}}, .primary = GROUP_A};
	struct walk walk = {.found = ret, .cap = cap};

	add(&walk, &factory, GROUP_A);
	for (size_t i = 0; i < walk.count; i++) {
		const struct reached from = walk.found[i];

		add_starts(&walk, &from);
		for (unsigned int seal = SEAL_NONE; seal <= SEAL_SEALED; seal++) {
			add_events(&walk, &from, (enum seal_state)seal, true);
			add_events(&walk, &from, (enum seal_state)seal, false);
		}
	}
	return walk.count;
}

size_t states_boot_reachable(struct boot_state *ret, size_t cap)
{
	static struct reached all[STATES_MAX];
	size_t total = states_reachable(all, STATES_MAX), count = 0;

	for (size_t i = 0; i < total; i++) {
		bool known = false;

		for (size_t k = 0; k < count; k++)
			known = known || boot_state_equal(&ret[k], &all[i].boot);
		if (known)
			continue;
		assert(count < cap);
		ret[count++] = all[i].boot;
	}
	return count;
}
