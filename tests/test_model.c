/* model: one start of the device, for every boot state and whatever does not load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bootloader-hooks/model.h"
#include "updater/mem.h"

static const struct boot_group GOOD = {.good = true};
static const struct boot_group BAD = {.bad = true};
static const struct boot_group NONE = {.good = false};
static const bool LOADS[4][GROUP_COUNT] = {
	{true, true}, {true, false}, {false, true}, {false, false}};

/* Every standing a group may have: good, bad, disarmed, 1..BOOT_TRIES_MAX tries. */
#define STANDINGS (3u + BOOT_TRIES_MAX)

static struct boot_group standing(unsigned int i)
{
	switch (i) {
	case 0:
		return GOOD;
	case 1:
		return BAD;
	case 2:
		return NONE;
	default:
		return (struct boot_group){.tries = i - 2};
	}
}

static struct boot_state nth_state(unsigned int i)
{
	return (struct boot_state){
		.group = {standing(i % STANDINGS), standing(i / STANDINGS % STANDINGS)},
		.primary = (enum group)(i / STANDINGS / STANDINGS)};
}
#define STATES (STANDINGS * STANDINGS * 2)

static bool disarmed(const struct boot_group *group)
{
	return !group->good && !group->bad && group->tries == 0;
}

static bool same(const struct boot_group *a, const struct boot_group *b)
{
	return a->good == b->good && a->bad == b->bad && a->tries == b->tries;
}

/* ---- by example ---- */

static void test_boot__good_primary_writes_nothing(void **state)
{
	struct boot_state boot = {.group = {GOOD, {.tries = 3}}, .primary = GROUP_A};
	const struct boot_state before = boot;
	enum group group;

	(void)state;
	assert_true(boot_model_boot(&boot, &group));
	assert_int_equal(group, GROUP_A);
	assert_true(boot_state_equal(&boot, &before));
}

static void test_boot__trial_is_counted_first_and_ends_with_the_fallback(void **state)
{
	struct boot_state boot = {.group = {GOOD, {.tries = 2}}, .primary = GROUP_B};
	enum group group;

	(void)state;
	assert_true(boot_model_boot(&boot, &group));
	assert_int_equal(group, GROUP_B);
	assert_int_equal(boot.group[GROUP_B].tries, 1);
	assert_true(boot_model_boot(&boot, &group));
	assert_int_equal(group, GROUP_B);
	assert_true(boot.group[GROUP_B].bad);
	assert_true(boot_model_boot(&boot, &group));
	assert_int_equal(group, GROUP_A);
}

static void test_boot__starts_over_with_the_last_of_the_order(void **state)
{
	struct boot_state boot = {.group = {BAD, BAD}, .primary = GROUP_A};
	const struct boot_state before = boot;
	enum group group;

	(void)state;
	assert_true(boot_model_boot(&boot, &group));
	assert_int_equal(group, GROUP_B);
	assert_true(boot_state_equal(&boot, &before)); /* not counted */
	boot.group[GROUP_B] = NONE;
	assert_true(boot_model_boot(&boot, &group));
	assert_int_equal(group, GROUP_A);
	boot.group[GROUP_A] = NONE;
	assert_false(boot_model_boot(&boot, &group));
}

static void test_start__good_that_does_not_load_is_passed_over(void **state)
{
	struct boot_state boot = {.group = {GOOD, GOOD}, .primary = GROUP_A};
	const struct boot_state before = boot;
	enum group group;

	(void)state;
	assert_true(boot_model_start(&boot, LOADS[2], &group));
	assert_int_equal(group, GROUP_B);
	assert_true(boot_state_equal(&boot, &before));
	assert_false(boot_model_start(&boot, LOADS[3], &group));
}

static void test_start__trial_that_does_not_load_costs_its_try(void **state)
{
	struct boot_state boot = {.group = {GOOD, {.tries = 1}}, .primary = GROUP_B};
	enum group group;

	(void)state;
	assert_false(boot_model_start(&boot, LOADS[1], &group)); /* restarts */
	assert_true(boot.group[GROUP_B].bad);
	assert_true(boot_model_start(&boot, LOADS[1], &group));
	assert_int_equal(group, GROUP_A);
}

static void test_start__bad_fallback_is_better_than_none(void **state)
{
	struct boot_state boot = {.group = {BAD, GOOD}, .primary = GROUP_B};
	enum group group;

	(void)state;
	assert_true(boot_model_start(&boot, LOADS[1], &group));
	assert_int_equal(group, GROUP_A);
	boot.group[GROUP_A] = NONE; /* being written: never */
	assert_false(boot_model_start(&boot, LOADS[1], &group));
}

/* ---- every state, whatever loads ---- */

static void check_start(const struct boot_state *before, const bool loads[GROUP_COUNT])
{
	struct boot_state after = *before;
	enum group group = GROUP_A, next;
	bool started = boot_model_start(&after, loads, &group);
	unsigned int changed = 0;

	assert_int_equal(after.primary, before->primary);
	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		const struct boot_group *was = &before->group[g], *is = &after.group[g];

		if (same(was, is))
			continue;
		/* The one change there is: a trial that was counted. */
		changed++;
		assert_int_equal(is->tries, was->tries - 1);
		assert_int_equal(is->bad, is->tries == 0);
		assert_false(was->good || is->good);
		assert_true(!started || (unsigned int)group == g);
	}
	assert_true(changed <= 1);
	if (!started) {
		/* Only if no good group loads; a trial has paid for it. */
		for (unsigned int g = 0; g < GROUP_COUNT; g++)
			assert_false(before->group[g].good && loads[g] &&
				     (before->primary == g || changed == 0));
		return;
	}
	assert_true(loads[group]);
	assert_false(disarmed(&before->group[group]));
	if (boot_model_next(before, &next) && loads[next])
		assert_int_equal(group, next);
}

static void test_start__every_state(void **state)
{
	unsigned int count = 0;

	(void)state;
	for (unsigned int i = 0; i < STATES; i++) {
		for (unsigned int k = 0; k < ARRAY_LEN(LOADS); k++, count++) {
			const struct boot_state before = nth_state(i);

			check_start(&before, LOADS[k]);
		}
	}
	assert_int_equal(count, 12 * 12 * 2 * 4);
}

/* Power is cut at any moment of a start, which is after a write or before it: so the starts of a
 * device that never gets as far as a confirm are starts in a row. Where a good group loads, one runs
 * after at most as many as there are tries, and from then on every time, with nothing written. */
static void test_start__power_cycles_settle_on_a_good_group(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < STATES * ARRAY_LEN(LOADS); i++) {
		struct boot_state boot = nth_state(i % STATES);
		const bool *loads = LOADS[i / STATES];
		struct boot_state settled;
		enum group group = GROUP_A, stays;

		if (!(boot.group[GROUP_A].good && loads[GROUP_A]) &&
			!(boot.group[GROUP_B].good && loads[GROUP_B]))
			continue;
		for (unsigned int n = 0; n < BOOT_TRIES_MAX; n++)
			(void)boot_model_start(&boot, loads, &group);
		assert_true(boot_model_start(&boot, loads, &stays));
		assert_true(boot.group[stays].good);
		settled = boot;
		for (unsigned int n = 0; n < 100; n++) {
			assert_true(boot_model_start(&boot, loads, &group));
			assert_int_equal(group, stays);
		}
		assert_true(boot_state_equal(&boot, &settled));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_boot__good_primary_writes_nothing),
		cmocka_unit_test(test_boot__trial_is_counted_first_and_ends_with_the_fallback),
		cmocka_unit_test(test_boot__starts_over_with_the_last_of_the_order),
		cmocka_unit_test(test_start__good_that_does_not_load_is_passed_over),
		cmocka_unit_test(test_start__trial_that_does_not_load_costs_its_try),
		cmocka_unit_test(test_start__bad_fallback_is_better_than_none),
		cmocka_unit_test(test_start__every_state),
		cmocka_unit_test(test_start__power_cycles_settle_on_a_good_group),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
