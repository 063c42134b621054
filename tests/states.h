/*
 * states - every boot state a device can get into, found by walking: from the factory's on, every
 * event that updater/state.h allows, and every start, whatever loads (bootloader-hooks/model.h).
 */
#ifndef ABIDE_TESTS_STATES_H
#define ABIDE_TESTS_STATES_H

#include <stdbool.h>
#include <stddef.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/state.h"

#define STATES_MAX 2048u

/* What the bootloader says, and which group runs. */
struct reached {
	struct boot_state boot;
	enum group booted;
};

/* From group a good and running, b empty. Each once; `cap` of at least STATES_MAX is enough. */
size_t states_reachable(struct reached *ret, size_t cap);
/* The same without `booted`: what a hook has to be able to say. */
size_t states_boot_reachable(struct boot_state *ret, size_t cap);

/* The change that install, confirm and the commands make for an event; false if their own checks
 * beyond the state refuse it. `tries` for a flip. */
bool states_take(const struct boot_state *boot, const struct state *state, enum device_event event,
	uint32_t tries, struct boot_state *ret);

#endif
