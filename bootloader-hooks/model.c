#include "bootloader-hooks/model.h"

bool boot_model_next(const struct boot_state *state, enum group *ret)
{
	const enum group order[] = {state->primary, group_other(state->primary)};

	for (unsigned int i = 0; i < GROUP_COUNT; i++) {
		if (!boot_group_bootable(&state->group[order[i]]))
			continue;
		*ret = order[i];
		return true;
	}
	return false;
}

static bool disarmed(const struct boot_group *group)
{
	return !boot_group_bootable(group) && !group->bad;
}

/* With nothing left to try. */
static bool start_over(
	const struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret)
{
	const enum group order[] = {group_other(state->primary), state->primary};

	for (unsigned int i = 0; i < GROUP_COUNT; i++) {
		if (disarmed(&state->group[order[i]]) || !loads[order[i]])
			continue;
		*ret = order[i];
		return true;
	}
	return false;
}

bool boot_model_start(
	struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret)
{
	const enum group order[] = {state->primary, group_other(state->primary)};

	for (unsigned int i = 0; i < GROUP_COUNT; i++) {
		struct boot_group *group = &state->group[order[i]];

		if (!boot_group_bootable(group) || (group->good && !loads[order[i]]))
			continue;
		if (!group->good && --group->tries == 0)
			group->bad = true;
		if (!loads[order[i]])
			return false; /* that was its try */
		*ret = order[i];
		return true;
	}
	return start_over(state, loads, ret);
}

bool boot_model_boot(struct boot_state *state, enum group *ret)
{
	static const bool ALL[GROUP_COUNT] = {true, true};

	return boot_model_start(state, ALL, ret);
}
