/* boot - what every hook's fuzzer asks of a state that was read. */
#ifndef ABIDE_TESTS_FUZZ_BOOT_H
#define ABIDE_TESTS_FUZZ_BOOT_H

#include <stdlib.h>

#include "bootloader-hooks/bootloader.h"

/* Aborts unless it is one that struct boot_group allows. */
static inline void boot_check(const struct boot_state *state)
{
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		const struct boot_group *group = &state->group[g];

		if (group->tries > BOOT_TRIES_MAX ||
			(group->good && (group->bad || group->tries)) ||
			(group->bad && group->tries))
			abort();
	}
	if (state->primary != GROUP_A && state->primary != GROUP_B)
		abort();
}

/* What a hook reads, if it does, is one, and committing it leaves it as it is. A commit may be
 * refused: a template that is none, no group to go back to. */
static inline void boot_check_kept(struct bootloader *bl)
{
	struct boot_state state, again;
	struct err err;

	if (bootloader_read(bl, &state, &err) < 0) {
		if (err.code != FAIL_BOOT || !err.msg[0])
			abort();
		return;
	}
	boot_check(&state);
	if (bootloader_commit(bl, &state, &err) < 0)
		return;
	if (bootloader_read(bl, &again, &err) < 0 || !boot_state_equal(&state, &again))
		abort();
}

#endif
