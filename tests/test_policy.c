/* policy: every reason to refuse, its code and what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "updater/policy.h"

struct fixture {
	struct manifest manifest;
	struct digest artifact;
	struct state state;
	struct group_facts target;
	struct group_facts running;
	struct policy_slot slots[2];
	struct policy_input input;
};

static void prepare(struct fixture *f)
{
	*f = (struct fixture){
		.manifest = {.compatible = "gateway",
			.hardware_count = 2,
			.hardware = {"rev-b", "rev-c"},
			.version = "2",
			.security_version = 7,
			.image_count = 1,
			.images = {{.class = "rootfs", .size = 100000}}},
		.artifact = {.b = {1}},
		.state = {.now = STATE_IDLE, .booted = GROUP_A, .target = GROUP_B, .floor = 7},
		.slots = {{.class = "rootfs", .name = "rootfs.b", .size = 1 << 20}},
	};
	f->input = (struct policy_input){.compatible = "gateway",
		.hardware = "rev-c",
		.state = &f->state,
		.target = &f->target,
		.running = &f->running,
		.slots = f->slots,
		.slot_count = 1,
		.header_len = 5000};
}

static void expect(struct fixture *f, enum err_code code, const char *words)
{
	struct policy_verdict verdict;
	struct err err = {0};

	policy_judge(&f->manifest, &f->artifact, &f->input, &verdict);
	if (code == FAIL_NONE) {
		assert_int_equal(policy_enforce(&verdict, &err), 0);
		assert_true(verdict.count >= 6);
		return;
	}
	assert_int_equal(policy_enforce(&verdict, &err), -1);
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, words))
		fail_msg("'%s' does not say '%s'", err.msg, words);
}

static void test_policy__a_fitting_artifact_passes_every_check(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	expect(&f, FAIL_NONE, "");
	f.manifest.hardware_count = 0;
	f.input.hardware = "";
	expect(&f, FAIL_NONE, "");
}

static void test_policy__other_device_or_hardware_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.input.compatible = "toaster";
	expect(&f, FAIL_REFUSED, "'gateway', this device is 'toaster'");
	prepare(&f);
	f.input.hardware = "rev-a";
	expect(&f, FAIL_REFUSED, "'rev-b', 'rev-c', this device is 'rev-a'");
	f.input.hardware = "";
	expect(&f, FAIL_REFUSED, "this device is ''");
}

static void test_policy__an_old_release_stays_out_even_by_force(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.manifest.security_version = 6;
	expect(&f, FAIL_REFUSED, "security_version is 6, this device's floor is 7");
	f.input.force = true;
	expect(&f, FAIL_REFUSED, "security_version is 6");
}

static void test_policy__a_rejected_build_needs_force(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.target.rejected_count = 1;
	f.target.rejected[0] = f.artifact;
	expect(&f, FAIL_REFUSED, "--force");
	f.input.force = true;
	expect(&f, FAIL_NONE, "");
	prepare(&f);
	f.state.target_rejected = true;
	f.target.artifact = f.artifact;
	expect(&f, FAIL_REFUSED, "failed its trial");
	f.target.artifact.b[0] = 9;
	expect(&f, FAIL_NONE, "");
	/* It failed in the group that runs another build since. */
	prepare(&f);
	f.running.rejected_count = 1;
	f.running.rejected[0] = f.artifact;
	expect(&f, FAIL_REFUSED, "failed its trial");
}

static void test_policy__not_in_a_trial_and_not_while_reverting(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.state.now = STATE_TRIAL;
	expect(&f, FAIL_STATE, "confirm");
	f.input.force = true;
	expect(&f, FAIL_STATE, "confirm"); /* the only fallback is never written */
	f.input.force = false;
	f.state.now = STATE_REVERTING;
	expect(&f, FAIL_STATE, "reboot");
	/* It came back after a reboot: the other group does not boot, and has to be repaired. */
	f.input.force = true;
	expect(&f, FAIL_NONE, "");
}

static void test_policy__too_small_says_by_how_many_bytes(void **state)
{
	struct fixture f;
	uint64_t needed = seal_needed(100000, 5000);
	char words[64];

	(void)state;
	prepare(&f);
	f.slots[0].size = needed;
	expect(&f, FAIL_NONE, "");
	f.slots[0].size = needed - 4096;
	(void)snprintf(words, sizeof(words), "%d bytes short", 4096);
	expect(&f, FAIL_SPACE, words);
}

static void test_policy__classes_must_match_both_ways(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.manifest.image_count = 2;
	(void)snprintf(f.manifest.images[1].class, sizeof(f.manifest.images[1].class), "app");
	f.manifest.images[1].size = 5;
	expect(&f, FAIL_REFUSED, "no slot of that class");
	prepare(&f);
	f.slots[1] = (struct policy_slot){.class = "app", .name = "app.b", .size = 1 << 20};
	f.input.slot_count = 2;
	expect(&f, FAIL_REFUSED, "no image for slot 'app.b'");
}

static void test_policy__a_slot_that_cannot_be_opened_is_told_as_it_is(void **state)
{
	struct fixture f;

	(void)state;
	prepare(&f);
	f.slots[0].problem = "mounted on '/mnt'";
	f.slots[0].problem_code = FAIL_STATE;
	expect(&f, FAIL_STATE, "slot 'rootfs.b': mounted on '/mnt'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy__a_fitting_artifact_passes_every_check),
		cmocka_unit_test(test_policy__other_device_or_hardware_is_refused),
		cmocka_unit_test(test_policy__an_old_release_stays_out_even_by_force),
		cmocka_unit_test(test_policy__a_rejected_build_needs_force),
		cmocka_unit_test(test_policy__not_in_a_trial_and_not_while_reverting),
		cmocka_unit_test(test_policy__too_small_says_by_how_many_bytes),
		cmocka_unit_test(test_policy__classes_must_match_both_ways),
		cmocka_unit_test(test_policy__a_slot_that_cannot_be_opened_is_told_as_it_is),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
