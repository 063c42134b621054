/* state: every state and event, and every boot state a device can be in, against the invariants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bootloader-hooks/model.h"
#include "tests/states.h"
#include "updater/mem.h"
#include "updater/state.h"

#define TRIES 3u

static const struct boot_group GOOD = {.good = true};
static const struct boot_group TRYING = {.tries = TRIES};
static const struct boot_group LAST = {.tries = 1};
static const struct boot_group BAD = {.bad = true};
static const struct boot_group NONE = {.good = false};

static struct boot_state boot_of(struct boot_group a, struct boot_group b, enum group primary)
{
	return (struct boot_state){.group = {a, b}, .primary = primary};
}

static struct group_facts sealed(uint64_t security_version, time_t created)
{
	struct group_facts facts = {.seal = SEAL_SEALED,
		.proven = true,
		.security_version = security_version,
		.created = created};

	facts.artifact.b[0] = (uint8_t)security_version;
	return facts;
}

static enum device_state now_of(
	const struct boot_state *boot, enum seal_state target_seal, enum group booted)
{
	struct group_facts facts[2] = {sealed(1, 1), sealed(1, 1)};

	facts[group_other(booted)].seal = target_seal;
	return state_derive(boot, facts, booted, true).now;
}

/* ---- the transition table ---- */

static void test_check__every_state_and_event(void **state)
{
	static const bool ALLOWED[STATE_COUNT][EVENT_COUNT] = {
		/*                  INSTALL FLIP  DEACT  CONFIRM REVERT */
		[STATE_IDLE] = {true, true, false, true, true},
		[STATE_WRITING] = {true, true, false, true, false},
		[STATE_ACTIVATED] = {true, true, true, true, false},
		[STATE_TRIAL] = {false, false, false, true, true},
		[STATE_REVERTING] = {false, false, false, false, false},
		[STATE_PASSED_OVER] = {true, true, true, true, false},
	};

	(void)state;
	for (unsigned int s = 0; s < STATE_COUNT; s++) {
		for (unsigned int e = 0; e < EVENT_COUNT; e++) {
			struct err err = {0};
			int result = state_check((enum device_state)s, (enum device_event)e, &err);

			assert_int_equal(result, ALLOWED[s][e] ? 0 : -1);
			if (ALLOWED[s][e])
				continue;
			assert_int_equal(err.code, FAIL_STATE);
			assert_non_null(strstr(err.msg, state_name((enum device_state)s)));
			assert_non_null(strstr(err.msg, event_name((enum device_event)e)));
		}
	}
}

static void test_names__are_all_there_and_distinct(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < STATE_COUNT; i++) {
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(
				state_name((enum device_state)i), state_name((enum device_state)j));
	}
	for (unsigned int i = 0; i < EVENT_COUNT; i++) {
		for (unsigned int j = 0; j < i; j++)
			assert_string_not_equal(
				event_name((enum device_event)i), event_name((enum device_event)j));
	}
}

/* ---- each state by an example ---- */

static void test_derive__factory_fresh_is_idle(void **state)
{
	struct boot_state boot = boot_of(GOOD, NONE, GROUP_A);

	(void)state;
	assert_int_equal(now_of(&boot, SEAL_NONE, GROUP_A), STATE_IDLE);
}

static void test_derive__writing_until_sealed(void **state)
{
	struct boot_state boot = boot_of(GOOD, NONE, GROUP_A);

	(void)state;
	assert_int_equal(now_of(&boot, SEAL_WRITING, GROUP_A), STATE_WRITING);
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_A), STATE_IDLE);
}

static void test_derive__activated_then_trial(void **state)
{
	struct boot_state boot = boot_of(GOOD, TRYING, GROUP_B);

	(void)state;
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_A), STATE_ACTIVATED);
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_B), STATE_TRIAL);
}

static void test_derive__last_try_is_still_a_trial(void **state)
{
	struct boot_state boot = boot_of(GOOD, LAST, GROUP_B);
	enum group booted;

	(void)state;
	assert_true(boot_model_boot(&boot, &booted));
	assert_int_equal(booted, GROUP_B);
	assert_true(boot.group[GROUP_B].bad);
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_B), STATE_TRIAL);
}

static void test_derive__used_up_trial_falls_back_and_is_rejected(void **state)
{
	struct boot_state boot = boot_of(GOOD, BAD, GROUP_B);
	struct group_facts facts[2] = {sealed(1, 1), sealed(2, 2)};
	struct state s = state_derive(&boot, facts, GROUP_A, true);

	(void)state;
	assert_int_equal(s.now, STATE_IDLE);
	assert_true(s.target_rejected);
	assert_true(s.next_known);
	assert_int_equal(s.next, GROUP_A);
}

static void test_derive__reverted_until_reboot(void **state)
{
	struct boot_state boot = boot_of(GOOD, TRYING, GROUP_B);

	(void)state;
	boot = edge_revert(&boot, GROUP_B);
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_B), STATE_REVERTING);
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_A), STATE_IDLE);
}

/* As another tool leaves it that knows tries only, after a trial that failed. */
static void test_derive__fallback_with_tries_is_on_trial(void **state)
{
	struct boot_state boot = boot_of(TRYING, BAD, GROUP_B);

	(void)state;
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_A), STATE_TRIAL);
	boot = edge_confirm(&boot, GROUP_A);
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_A), STATE_IDLE);
	assert_int_equal(boot.primary, GROUP_A);
	/* Given up: the other one boots next. */
	boot = boot_of(TRYING, GOOD, GROUP_B);
	assert_int_equal(now_of(&boot, SEAL_SEALED, GROUP_A), STATE_REVERTING);
}

/* ---- a good group that the bootloader did not start ---- */

static const struct boot_group KINDS[] = {{.good = true}, {.tries = TRIES}};

static void test_derive__passed_over_unless_flipped_since_this_boot(void **state)
{
	struct group_facts facts[2] = {sealed(1, 1), sealed(1, 1)};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
		struct boot_state boot = boot_of(KINDS[i], GOOD, GROUP_A);

		assert_int_equal(state_derive(&boot, facts, GROUP_B, true).now, STATE_ACTIVATED);
		assert_int_equal(state_derive(&boot, facts, GROUP_B, false).now, STATE_PASSED_OVER);
		/* The group that was to boot did. */
		assert_int_not_equal(
			state_derive(&boot, facts, GROUP_A, false).now, STATE_PASSED_OVER);
	}
}

/* As long as nobody does anything, it says the same at every boot; and it is not made worse. */
static void test_passed_over__is_stable(void **state)
{
	static const bool ONLY_B[GROUP_COUNT] = {false, true};
	struct group_facts facts[2] = {sealed(2, 2), sealed(1, 1)};
	struct boot_state boot = boot_of(GOOD, GOOD, GROUP_A);
	const struct boot_state before = boot;
	enum group booted;

	(void)state;
	for (unsigned int n = 0; n < 100; n++) {
		assert_true(boot_model_start(&boot, ONLY_B, &booted));
		assert_int_equal(booted, GROUP_B);
		assert_int_equal(state_derive(&boot, facts, booted, false).now, STATE_PASSED_OVER);
		boot = edge_confirm(&boot, booted);
	}
	assert_true(boot_state_equal(&boot, &before));
}

/* An agent that installs the same release again and reboots: it ends with a build that is rejected,
 * not in a circle; and the device runs its good group all the time. */
static void test_passed_over__installed_again_is_on_trial(void **state)
{
	static const bool ONLY_B[GROUP_COUNT] = {false, true};
	struct group_facts facts[2] = {sealed(2, 2), sealed(1, 1)};
	struct boot_state boot = boot_of(GOOD, GOOD, GROUP_A);
	struct state s = state_derive(&boot, facts, GROUP_B, false);
	enum group booted;

	(void)state;
	boot = edge_make_next(&boot, &s, TRIES);
	assert_false(boot.group[GROUP_A].good);
	assert_int_equal(boot.group[GROUP_A].tries, TRIES);
	for (unsigned int n = 0; n < TRIES; n++)
		assert_false(boot_model_start(&boot, ONLY_B, &booted)); /* restarts */
	assert_true(boot_model_start(&boot, ONLY_B, &booted));
	s = state_derive(&boot, facts, booted, false);
	assert_int_equal(booted, GROUP_B);
	assert_int_equal(s.now, STATE_IDLE);
	assert_true(s.target_rejected);
}

/* Back to a group that was confirmed, from one that runs well: not counted. */
static void test_flip__good_group_stays_good(void **state)
{
	struct group_facts facts[2] = {sealed(2, 2), sealed(1, 1)};
	struct boot_state boot = boot_of(GOOD, GOOD, GROUP_A);
	struct state s = state_derive(&boot, facts, GROUP_A, false);
	struct boot_state after = edge_make_next(&boot, &s, TRIES);
	struct boot_state expected = boot_of(GOOD, GOOD, GROUP_B);

	(void)state;
	assert_true(boot_state_equal(&after, &expected));
}

/* ---- floor and seen ---- */

static uint64_t floor_of(struct boot_group a, struct boot_group b, struct group_facts fa,
	struct group_facts fb, enum group booted)
{
	struct boot_state boot = boot_of(a, b, booted);
	struct group_facts facts[2] = {fa, fb};

	return state_derive(&boot, facts, booted, true).floor;
}

static void test_floor__lowest_of_what_may_run(void **state)
{
	struct group_facts unproven = sealed(2, 1);
	struct group_facts writing = sealed(2, 1);

	(void)state;
	unproven.proven = false;
	writing.seal = SEAL_WRITING;
	assert_int_equal(floor_of(GOOD, GOOD, sealed(7, 1), sealed(5, 1), GROUP_A), 5);
	assert_int_equal(floor_of(GOOD, TRYING, sealed(7, 1), sealed(9, 1), GROUP_A), 7);
	/* What cannot boot strands nobody. */
	assert_int_equal(floor_of(GOOD, BAD, sealed(7, 1), sealed(5, 1), GROUP_A), 7);
	assert_int_equal(floor_of(GOOD, NONE, sealed(7, 1), sealed(5, 1), GROUP_A), 7);
	/* The running group counts, even on its last try. */
	assert_int_equal(floor_of(BAD, GOOD, sealed(5, 1), sealed(7, 1), GROUP_A), 5);
	/* What nobody proved has no version. */
	assert_int_equal(floor_of(GOOD, GOOD, sealed(7, 1), unproven, GROUP_A), 7);
	assert_int_equal(floor_of(GOOD, GOOD, sealed(7, 1), writing, GROUP_A), 7);
	assert_int_equal(floor_of(GOOD, GOOD, unproven, unproven, GROUP_A), 0);
	/* 0 is a version, too. */
	assert_int_equal(floor_of(GOOD, GOOD, sealed(0, 1), sealed(3, 1), GROUP_A), 0);
}

static void test_seen__newest_proven(void **state)
{
	struct boot_state boot = boot_of(GOOD, NONE, GROUP_A);
	struct group_facts facts[2] = {sealed(1, 100), sealed(1, 200)};

	(void)state;
	assert_int_equal(state_derive(&boot, facts, GROUP_A, true).seen, 200);
	facts[1].proven = false;
	assert_int_equal(state_derive(&boot, facts, GROUP_A, true).seen, 100);
	facts[0].proven = false;
	assert_int_equal(state_derive(&boot, facts, GROUP_A, true).seen, 0);
}

/* ---- all of it: every boot state x what the other slot holds x which group runs ---- */

static struct boot_group any_group(unsigned int i)
{
	const struct boot_group all[] = {GOOD, TRYING, LAST, BAD, NONE};

	return all[i];
}
#define ANY_GROUP_COUNT 5u

static unsigned int good_count(const struct boot_state *boot)
{
	return (unsigned int)boot->group[GROUP_A].good + boot->group[GROUP_B].good;
}

static bool group_same(const struct boot_group *a, const struct boot_group *b)
{
	return a->good == b->good && a->bad == b->bad && a->tries == b->tries;
}

static void assert_well_formed(const struct boot_state *boot)
{
	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		const struct boot_group *group = &boot->group[g];

		assert_true(group->tries <= BOOT_TRIES_MAX);
		assert_false(group->good && (group->bad || group->tries > 0));
		assert_false(group->bad && group->tries > 0);
	}
}

static void assert_edge(const struct boot_state *boot, const struct state *s,
	enum device_event event, const struct boot_state *after)
{
	const struct boot_group *booted = &after->group[s->booted];
	const struct boot_group *target = &after->group[s->target];
	enum group next;
	bool known = boot_model_next(after, &next);

	assert_well_formed(after);
	assert_true(good_count(after) > 0 || good_count(boot) == 0);
	/* As long as something is good, something boots by its variables. */
	assert_true(known || good_count(boot) == 0);
	switch (event) {
	case EVENT_INSTALL:
		assert_false(boot_group_bootable(target));
		assert_true(group_same(booted, &boot->group[s->booted]));
		assert_true(known && next == s->booted);
		assert_int_equal(target->bad, boot->group[s->target].bad);
		break;
	case EVENT_FLIP:
		assert_true(known && next == s->target);
		assert_true(booted->good); /* the fallback */
		break;
	case EVENT_DEACTIVATE:
		assert_true(known && next == s->booted && booted->good);
		assert_int_equal(target->tries, 0);
		break;
	case EVENT_CONFIRM:
		assert_true(booted->good);
		if (boot->group[s->booted].good)
			assert_true(boot_state_equal(boot, after));
		else
			assert_true(known && next == s->booted);
		break;
	case EVENT_REVERT:
		assert_true(booted->bad && known && next == s->target && target->good);
		break;
	}
}

/* Doing the same once more changes nothing: every command converges. */
static void assert_repeats(
	const struct boot_state *after, const struct state *s, enum device_event event)
{
	struct boot_state again;

	if (event == EVENT_REVERT || !states_take(after, s, event, TRIES, &again))
		return;
	assert_true(boot_state_equal(after, &again));
}

static void visit(
	const struct boot_state *boot, enum seal_state target_seal, enum group booted, bool flipped)
{
	struct group_facts facts[2] = {sealed(1, 1), sealed(1, 1)};
	struct state s;

	facts[group_other(booted)].seal = target_seal;
	s = state_derive(boot, facts, booted, flipped);
	assert_int_equal(s.booted, booted);
	assert_int_equal(s.target, group_other(booted)); /* never the running one */
	if (s.next_known)
		assert_true(boot_group_bootable(&boot->group[s.next]));
	for (unsigned int e = 0; e < EVENT_COUNT; e++) {
		struct boot_state after;
		struct err err;

		if (state_check(s.now, (enum device_event)e, &err) < 0 ||
			!states_take(boot, &s, (enum device_event)e, TRIES, &after))
			continue;
		assert_edge(boot, &s, (enum device_event)e, &after);
		assert_repeats(&after, &s, (enum device_event)e);
	}
}

static void test_edges__keep_the_invariants_everywhere(void **state)
{
	unsigned int visited = 0;

	(void)state;
	for (unsigned int i = 0; i < ANY_GROUP_COUNT * ANY_GROUP_COUNT * 2 * 2 * 3; i++) {
		unsigned int rest = i;
		struct boot_state boot;
		enum group booted;

		boot.group[GROUP_A] = any_group(rest % ANY_GROUP_COUNT);
		rest /= ANY_GROUP_COUNT;
		boot.group[GROUP_B] = any_group(rest % ANY_GROUP_COUNT);
		rest /= ANY_GROUP_COUNT;
		boot.primary = (enum group)(rest % 2);
		rest /= 2;
		booted = (enum group)(rest % 2);
		visit(&boot, (enum seal_state)(rest / 2), booted, true);
		visit(&boot, (enum seal_state)(rest / 2), booted, false);
		visited += 2;
	}
	assert_int_equal(visited, 600);
}

/* Power cycling for ever: a good primary is never counted; a trial ends with the fallback. */
static void test_model__power_cycles_end_with_a_good_group(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < ANY_GROUP_COUNT * 2; i++) {
		struct boot_state boot = boot_of(
			GOOD, any_group(i % ANY_GROUP_COUNT), (enum group)(i / ANY_GROUP_COUNT));
		struct boot_state settled;
		enum group booted;

		for (unsigned int n = 0; n <= TRIES; n++)
			assert_true(boot_model_boot(&boot, &booted));
		assert_true(boot.group[booted].good);
		settled = boot;
		for (unsigned int n = 0; n < 100; n++)
			assert_true(boot_model_boot(&boot, &booted));
		assert_true(boot_state_equal(&boot, &settled));
	}
}

static void test_forget_bad__only_that(void **state)
{
	struct boot_state boot = boot_of(GOOD, BAD, GROUP_A);
	struct boot_state expected = boot_of(GOOD, NONE, GROUP_A);
	struct boot_state after = edge_forget_bad(&boot, GROUP_B);

	(void)state;
	assert_true(boot_state_equal(&after, &expected));
}

static void test_confirm__does_not_take_back_a_flip(void **state)
{
	struct boot_state boot = boot_of(GOOD, NONE, GROUP_A);
	struct boot_state flipped = edge_flip(&boot, GROUP_B, TRIES);
	struct boot_state after = edge_confirm(&flipped, GROUP_A);

	(void)state;
	assert_true(boot_state_equal(&flipped, &after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check__every_state_and_event),
		cmocka_unit_test(test_names__are_all_there_and_distinct),
		cmocka_unit_test(test_derive__factory_fresh_is_idle),
		cmocka_unit_test(test_derive__writing_until_sealed),
		cmocka_unit_test(test_derive__activated_then_trial),
		cmocka_unit_test(test_derive__last_try_is_still_a_trial),
		cmocka_unit_test(test_derive__used_up_trial_falls_back_and_is_rejected),
		cmocka_unit_test(test_derive__reverted_until_reboot),
		cmocka_unit_test(test_derive__passed_over_unless_flipped_since_this_boot),
		cmocka_unit_test(test_passed_over__is_stable),
		cmocka_unit_test(test_passed_over__installed_again_is_on_trial),
		cmocka_unit_test(test_flip__good_group_stays_good),
		cmocka_unit_test(test_derive__fallback_with_tries_is_on_trial),
		cmocka_unit_test(test_floor__lowest_of_what_may_run),
		cmocka_unit_test(test_seen__newest_proven),
		cmocka_unit_test(test_edges__keep_the_invariants_everywhere),
		cmocka_unit_test(test_model__power_cycles_end_with_a_good_group),
		cmocka_unit_test(test_forget_bad__only_that),
		cmocka_unit_test(test_confirm__does_not_take_back_a_flip),
	};

	return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
