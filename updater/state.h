/*
 * state - the state of a device, derived from bootloader state and seals; and its edges.
 *
 *              install               flip                reboot
 *   IDLE ────────────────> WRITING ────────> ACTIVATED ────────> TRIAL
 *    ^  ^                     │                  │                 │ │
 *    │  └──── cut, retry ─────┘                  │ deactivate      │ │
 *    │  └────────────────────────────────────────┘                 │ │
 *    ├──────────────────────── confirm ────────────────────────────┘ │
 *    └─────────── revert: health failed, or tries used up ───────────┘
 *
 *	IDLE       the running group is good and boots next; the other is sealed, bad or nothing
 *	WRITING    as IDLE, but a slot of the other group says `writing`: it is not bootable
 *	ACTIVATED  the other group is sealed and boots next; the running one stays the fallback
 *	TRIAL      the running group is not good, and primary or what boots next; the other one is the
 *	           fallback
 *	REVERTING  the running group is bad (revert was called) and the other boots next
 *	PASSED_OVER  as ACTIVATED, but it was so when the device started: the bootloader was to start
 *	           the other group and started the running, good one. What an install or an
 *	           activation makes of it is a flip like any other, and on trial
 *
 * Nothing is stored: state_derive() is a pure function, called at every start. Each edge is a pure
 * function from one boot_state to the next, and the caller commits the result in one write.
 */
#ifndef ABIDE_UPDATER_STATE_H
#define ABIDE_UPDATER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/group.h"
#include "updater/manifest.h"
#include "updater/seal.h"

enum device_state {
	STATE_IDLE,
	STATE_WRITING,
	STATE_ACTIVATED,
	STATE_TRIAL,
	STATE_REVERTING,
	STATE_PASSED_OVER,
};
#define STATE_COUNT 6

enum device_event {
	EVENT_INSTALL, /* begin to write the other group */
	EVENT_FLIP, /* every slot of the other group is sealed: try it next */
	EVENT_DEACTIVATE, /* take the flip back */
	EVENT_CONFIRM, /* the health check passed */
	EVENT_REVERT, /* leave the running group for the other confirmed one */
};
#define EVENT_COUNT 5

/* What the slots of one group say, taken together. SEAL_SEALED only if every slot is sealed, with
 * the same artifact. */
struct group_facts {
	enum seal_state seal;
	struct digest artifact; /* if seal is not SEAL_NONE */
	bool proven; /* sealed, and the header copy's signature verified: */
	char version[MANIFEST_NAME_MAX + 1];
	uint64_t security_version;
	time_t created;
	uint32_t rejected_count; /* builds remembered by the slots' seals */
	struct digest rejected[SEAL_REJECTED_MAX];
};

struct state {
	enum device_state now;
	enum group booted;
	enum group target; /* the other one: the only group abide may write */
	enum group next; /* what the bootloader would boot now */
	bool next_known; /* false: nothing is bootable by its variables; the boot script starts over
			  */
	uint64_t floor; /* lowest security_version among the groups that may boot; 0 if unknown */
	time_t seen; /* newest signed time on the device; 0 if none */
	bool target_rejected; /* the other group is sealed and bad: its build failed its trial */
};

/* flipped: whether a group was made the first since this boot (since_boot.h). */
struct state state_derive(const struct boot_state *boot, const struct group_facts facts[static 2],
	enum group booted, bool flipped);

const char *state_name(enum device_state state);
const char *event_name(enum device_event event);
/* FAIL_STATE with the reason and what to do, if `event` cannot happen in `state`. */
int state_check(enum device_state state, enum device_event event, struct err *err);

/* The edges. Each keeps: at least one good group stays good unless there was none. */
/* install: the target is not bootable from here on. Bad stays, as the memory of a failed build. */
struct boot_state edge_disarm(const struct boot_state *boot, enum group target);
/* install, when every seal of the target remembers that build: bad goes, or the next build sealed
 * there would be taken for the one that failed. */
struct boot_state edge_forget_bad(const struct boot_state *boot, enum group target);
/* flip: the target is primary with `tries`; the running group stays good, as fallback. */
struct boot_state edge_flip(const struct boot_state *boot, enum group target, uint32_t tries);
/* activate a group that is good already: it becomes primary, uncounted. */
struct boot_state edge_activate_good(const struct boot_state *boot, enum group target);
/* The one of the two that the state's target needs: a good one that was passed over has to prove
 * itself again, on trial. */
struct boot_state edge_make_next(
	const struct boot_state *boot, const struct state *state, uint32_t tries);
/* deactivate: the running group is primary again; the target is disarmed unless it was good. */
struct boot_state edge_deactivate(const struct boot_state *boot, enum group booted);
/* confirm: the running group is good and primary. Unchanged if it is good already: a confirm at
 * boot does not take back a flip. */
struct boot_state edge_confirm(const struct boot_state *boot, enum group booted);
/* revert: the running group is bad, the other primary. Caller checked that the other is good. */
struct boot_state edge_revert(const struct boot_state *boot, enum group booted);

#endif
