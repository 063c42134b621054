#include "updater/state.h"

#include "bootloader-hooks/model.h"

static const char *const STATE_NAMES[STATE_COUNT] = {
	[STATE_IDLE] = "idle",
	[STATE_WRITING] = "writing",
	[STATE_ACTIVATED] = "activated",
	[STATE_TRIAL] = "trial",
	[STATE_REVERTING] = "reverting",
	[STATE_PASSED_OVER] = "passed-over",
};

static const char *const EVENT_NAMES[EVENT_COUNT] = {
	[EVENT_INSTALL] = "install",
	[EVENT_FLIP] = "activate",
	[EVENT_DEACTIVATE] = "deactivate",
	[EVENT_CONFIRM] = "confirm",
	[EVENT_REVERT] = "revert",
};

/*
 * The one transition table: why an event cannot happen in a state and what to do instead; NULL
 * where it can. What depends on more than the state (is the other group sealed? is it good?) is
 * for the caller to check.
 *
 * CONFIRM is allowed wherever the running group is good: init calls it at every boot, and there it
 * changes nothing. INSTALL and FLIP are allowed in ACTIVATED: they replace the flip; and in
 * PASSED_OVER: they are how it is mended.
 */
static const char *const REFUSALS[STATE_COUNT][EVENT_COUNT] = {
	[STATE_IDLE] =
		{
			[EVENT_DEACTIVATE] = "nothing is activated: the running group boots next",
		},
	[STATE_WRITING] =
		{
			[EVENT_DEACTIVATE] = "nothing is activated: the running group boots next",
			[EVENT_REVERT] = "the other group is half written and cannot boot; finish "
					 "the install first",
		},
	[STATE_ACTIVATED] =
		{
			[EVENT_REVERT] = "the other group boots next already; reboot to run it, or "
					 "activate the running group to stay",
		},
	[STATE_TRIAL] =
		{
			[EVENT_INSTALL] = "the running group is on trial and the other one is its "
					  "only fallback; confirm or revert first",
			[EVENT_FLIP] = "the running group is on trial; confirm or revert first",
			[EVENT_DEACTIVATE] = "nothing is activated: the running group is on trial; "
					     "confirm or revert it",
		},
	[STATE_REVERTING] =
		{
			[EVENT_INSTALL] = "the running group was reverted and the other one is the "
					  "only good one; reboot first (if it came back after a "
					  "reboot, the other one does not boot: --force writes it)",
			[EVENT_FLIP] =
				"the running group was reverted and the other one boots next "
				"already; reboot first",
			[EVENT_DEACTIVATE] = "the running group was reverted; reboot first",
			[EVENT_CONFIRM] = "the running group was reverted; reboot first",
			[EVENT_REVERT] = "the running group was reverted already; reboot first",
		},
	[STATE_PASSED_OVER] =
		{
			[EVENT_REVERT] = "the bootloader was to start the other group and did not; "
					 "install into it, or activate it again",
		},
};

const char *state_name(enum device_state state)
{
	return STATE_NAMES[state];
}

const char *event_name(enum device_event event)
{
	return EVENT_NAMES[event];
}

int state_check(enum device_state state, enum device_event event, struct err *err)
{
	const char *refusal = REFUSALS[state][event];

	if (refusal)
		return err_set(err, FAIL_STATE, "cannot %s in state '%s': %s", event_name(event),
			state_name(state), refusal);
	return 0;
}

/* The booted group is what runs, whatever the seals say; a booted group that is good is always
 * bootable, so then `next` is known. */
static enum device_state derive_now(const struct boot_state *boot, const struct group_facts *target,
	enum group booted, enum group next, bool flipped)
{
	/* On its last try the group reads as bad: the boot script has counted down to 0 before it
	 * loaded the kernel. While it is primary that is still a trial. */
	if (boot->primary == booted && !boot->group[booted].good)
		return STATE_TRIAL;
	/* Another tool's "good" can be a number of tries, on the fallback of a failed trial: what has
	 * tries left and boots next has not been given up. */
	if (!boot->group[booted].good)
		return boot->group[booted].tries && next == booted ? STATE_TRIAL : STATE_REVERTING;
	if (next != booted)
		return flipped ? STATE_ACTIVATED : STATE_PASSED_OVER;
	return target->seal == SEAL_WRITING ? STATE_WRITING : STATE_IDLE;
}

/* A group counts if it may run: it is bootable, or it runs right now (a last try is not bootable
 * any more, but runs). What nobody proved has no version that could be believed. */
static uint64_t derive_floor(
	const struct boot_state *boot, const struct group_facts facts[static 2], enum group booted)
{
	uint64_t floor = 0;
	bool known = false;

	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		if (facts[g].seal != SEAL_SEALED || !facts[g].proven)
			continue;
		if (g != (unsigned int)booted && !boot_group_bootable(&boot->group[g]))
			continue;
		if (!known || facts[g].security_version < floor)
			floor = facts[g].security_version;
		known = true;
	}
	return floor;
}

static time_t derive_seen(const struct group_facts facts[static 2])
{
	time_t seen = 0;

	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		if (facts[g].proven && facts[g].created > seen)
			seen = facts[g].created;
	}
	return seen;
}

struct state state_derive(const struct boot_state *boot, const struct group_facts facts[static 2],
	enum group booted, bool flipped)
{
	struct state state = {.booted = booted, .target = group_other(booted), .next = booted};

	state.next_known = boot_model_next(boot, &state.next);
	state.now = derive_now(boot, &facts[state.target], booted, state.next, flipped);
	state.floor = derive_floor(boot, facts, booted);
	state.seen = derive_seen(facts);
	state.target_rejected =
		facts[state.target].seal == SEAL_SEALED && boot->group[state.target].bad;
	return state;
}

struct boot_state edge_disarm(const struct boot_state *boot, enum group target)
{
	struct boot_state next = *boot;

	next.group[target].good = false;
	next.group[target].tries = 0;
	next.primary = group_other(target);
	return next;
}

struct boot_state edge_forget_bad(const struct boot_state *boot, enum group target)
{
	struct boot_state next = *boot;

	next.group[target].bad = false;
	return next;
}

struct boot_state edge_flip(const struct boot_state *boot, enum group target, uint32_t tries)
{
	struct boot_state next = *boot;

	next.group[target] = (struct boot_group){.tries = tries};
	next.primary = target;
	return next;
}

struct boot_state edge_activate_good(const struct boot_state *boot, enum group target)
{
	struct boot_state next = *boot;

	next.primary = target;
	return next;
}

struct boot_state edge_make_next(
	const struct boot_state *boot, const struct state *state, uint32_t tries)
{
	/* Uncounted it would be passed over, installed, passed over again for ever. */
	if (!boot->group[state->target].good || state->now == STATE_PASSED_OVER)
		return edge_flip(boot, state->target, tries);
	return edge_activate_good(boot, state->target);
}

struct boot_state edge_deactivate(const struct boot_state *boot, enum group booted)
{
	struct boot_state next = *boot;

	next.group[group_other(booted)].tries = 0;
	next.primary = booted;
	return next;
}

struct boot_state edge_confirm(const struct boot_state *boot, enum group booted)
{
	struct boot_state next = *boot;

	/* Good already: leave the primary alone, or a confirm at boot would take back a flip. */
	if (boot->group[booted].good)
		return next;
	next.group[booted] = (struct boot_group){.good = true};
	next.primary = booted;
	return next;
}

struct boot_state edge_revert(const struct boot_state *boot, enum group booted)
{
	struct boot_state next = *boot;

	next.group[booted] = (struct boot_group){.bad = true};
	next.primary = group_other(booted);
	return next;
}
