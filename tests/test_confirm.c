/* confirm, revert, activate, verify: what happens to an installed group, and what is never done. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/rig.h"
#include "updater/confirm.h"
#include "updater/fs.h"
#include "updater/journal.h"

#define SLOT_SIZE  (1u << 20)
#define IMAGE_SIZE (600u << 10)

static struct bundles b;

static int setup(void **state)
{
	(void)state;
	bundles_init(&b, PKI_ECDSA);
	bundles_image(&b, "1.img", IMAGE_SIZE, 1);
	bundles_image(&b, "2.img", IMAGE_SIZE, 2);
	(void)bundles_make(&b, "1.abide", "1", 5, "1.img");
	(void)bundles_make(&b, "2.abide", "2", 6, "2.img");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bundles_finish(&b);
	return 0;
}

static void write_check(const struct rig *rig, const char *script)
{
	char path[PATH_MAX];
	struct err err = {0};

	assert_int_equal(fs_make_dirs(rig->health_dir, 0755, &err), 0);
	assert_int_equal(fs_join(rig->health_dir, "10-check", path, sizeof(path), &err), 0);
	if (fs_replace_file(path, script, strlen(script), 0755, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(chmod(path, 0755), 0);
}

/* Release 1 in a, release 2 in b and booted for the first time. */
static void rig_in_trial(struct rig *rig)
{
	struct err err = {0};

	rig_init(rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(rig, bundles_path(&b, "1.abide"));
	if (rig_install(rig, bundles_path(&b, "2.abide"), NULL, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(rig_boot(rig), GROUP_B);
	recorder_forget(rig->rec);
	write_check(rig, "#!/bin/sh\nexit 0\n");
}

static const struct confirm_options QUIET;

static void test_confirm__a_passed_check_makes_the_group_good(void **state)
{
	struct confirm_result result;
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_in_trial(&rig);
	assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), 0);
	assert_int_equal(result.outcome, CONFIRM_CONFIRMED);
	assert_int_equal(result.health.run, 1);
	assert_int_equal(rig_view(&rig).state.now, STATE_IDLE);
	assert_true(rig_view(&rig).boot.group[GROUP_B].good);
	assert_true(rig_view(&rig).boot.group[GROUP_A].good); /* the fallback stays */
	for (int i = 0; i < 100; i++)
		assert_int_equal(rig_boot(&rig), GROUP_B);
	/* At the next boot there is nothing to do, and nothing is written. */
	recorder_forget(rig.rec);
	assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), 0);
	assert_int_equal(result.outcome, CONFIRM_ALREADY);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

static void test_confirm__each_failure_costs_a_try_and_the_last_goes_back(void **state)
{
	struct confirm_result result;
	struct rig rig;
	struct err err = {0};
	char why[200];

	(void)state;
	rig_in_trial(&rig);
	write_check(&rig, "#!/bin/sh\necho no heart; exit 3\n");
	for (unsigned int left = 2; left < 3; left--) {
		assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), -1);
		assert_int_equal(err.code, FAIL_HEALTH);
		assert_non_null(strstr(err.msg, "10-check"));
		assert_non_null(strstr(err.msg, "exit status 3"));
		assert_int_equal(result.tries_left, left);
		assert_int_equal(result.reverted, left == 0);
		if (left > 0)
			assert_int_equal(rig_boot(&rig), GROUP_B);
	}
	assert_int_equal(rig_view(&rig).state.now, STATE_REVERTING);
	assert_int_equal(rig_boot(&rig), GROUP_A);
	assert_true(rig_view(&rig).state.target_rejected);
	assert_int_equal(rig_view(&rig).state.now, STATE_IDLE);
	assert_true(journal_last_why(rig.state_dir, "reverted",
		&rig_view(&rig).facts[GROUP_B].artifact, why, sizeof(why)));
	assert_non_null(strstr(why, "10-check"));
	rig_finish(&rig);
}

static void test_confirm__a_silent_fallback_is_written_down_once(void **state)
{
	struct confirm_result result;
	struct rig rig;
	struct err err = {0};
	struct journal_check before, after;

	(void)state;
	rig_in_trial(&rig);
	(void)unlink(bundles_path(&b, "state/journal.jsonl"));
	assert_int_equal(rig_boot(&rig), GROUP_B); /* panics */
	assert_int_equal(rig_boot(&rig), GROUP_B); /* panics */
	assert_int_equal(rig_boot(&rig), GROUP_A);
	assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), 0);
	assert_int_equal(journal_verify(rig.state_dir, &before, &err), 0);
	assert_int_equal(before.lines, 1);
	assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), 0);
	assert_int_equal(journal_verify(rig.state_dir, &after, &err), 0);
	assert_int_equal(after.lines, 1);
	rig_finish(&rig);
}

static int count_healed(void *arg, uint64_t number, const char *line)
{
	(void)number;
	*(int *)arg += strstr(line, "environment-healed") != NULL;
	return 0;
}

static void test_confirm__a_lost_environment_copy_is_healed_and_said_once(void **state)
{
	struct confirm_result result;
	struct rig rig;
	struct err err = {0};
	int healed = 0;

	(void)state;
	rig_init(&rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(&rig, bundles_path(&b, "1.abide"));
	(void)unlink(bundles_path(&b, "state/journal.jsonl"));
	memset(recorder_content(rig.rec, rig.env), 0xff, 512);
	assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), 0);
	assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), 0);
	assert_int_equal(journal_read(rig.state_dir, count_healed, &healed, &err), 0);
	assert_int_equal(healed, 1);
	assert_memory_equal(
		recorder_content(rig.rec, rig.env), recorder_content(rig.rec, rig.spare), 1024);
	rig_finish(&rig);
}

static void collect(void *arg, const char *text)
{
	(void)snprintf(arg, 512, "%s", text);
}

static void test_confirm__no_journal_stops_it(void **state)
{
	char text[512] = "";
	const struct confirm_options options = {.note = collect, .arg = text};
	struct confirm_result result;
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_in_trial(&rig);
	rig.device.state_dir = "/proc/no-such-place";
	assert_int_equal(confirm_run(&rig.device, &options, &result, &err), 0);
	assert_true(rig_view(&rig).boot.group[GROUP_B].good);
	assert_non_null(strstr(text, "journal"));
	text[0] = '\0';
	assert_int_equal(revert_run(&rig.device, "test", &options, &err), 0);
	assert_int_equal(rig_boot(&rig), GROUP_A);
	assert_non_null(strstr(text, "journal"));
	rig_finish(&rig);
}

static void test_confirm__an_unsealed_trial_is_not_confirmed(void **state)
{
	struct confirm_result result;
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_in_trial(&rig);
	memset(rig_slot(&rig, 0, GROUP_B) + SLOT_SIZE - SEAL_SPACE, 0, SEAL_SPACE);
	assert_int_equal(confirm_run(&rig.device, &QUIET, &result, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

static void test_revert__needs_somewhere_to_go(void **state)
{
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_init(&rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(&rig, bundles_path(&b, "1.abide"));
	assert_int_equal(revert_run(&rig.device, "test", &QUIET, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

static void test_revert__twice_is_once(void **state)
{
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_in_trial(&rig);
	assert_int_equal(revert_run(&rig.device, "test", &QUIET, &err), 0);
	recorder_forget(rig.rec);
	assert_int_equal(revert_run(&rig.device, "test", &QUIET, &err), 0);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	assert_int_equal(rig_boot(&rig), GROUP_A);
	rig_finish(&rig);
}

static void confirmed_b(struct rig *rig)
{
	struct confirm_result result;
	struct err err = {0};

	rig_in_trial(rig);
	assert_int_equal(confirm_run(&rig->device, &QUIET, &result, &err), 0);
}

static void test_activate__takes_the_other_good_group_uncounted(void **state)
{
	struct rig rig;
	struct err err = {0};
	bool changed = false;

	(void)state;
	confirmed_b(&rig);
	if (activate_run(&rig.device, GROUP_A, false, &QUIET, &changed, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(changed);
	assert_int_equal(activate_run(&rig.device, GROUP_A, false, &QUIET, &changed, &err), 0);
	assert_false(changed);
	/* Taken back: b runs and is to stay. */
	assert_int_equal(activate_run(&rig.device, GROUP_B, false, &QUIET, &changed, &err), 0);
	assert_true(changed);
	assert_int_equal(rig_boot(&rig), GROUP_B);
	assert_int_equal(activate_run(&rig.device, GROUP_A, false, &QUIET, &changed, &err), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(rig_boot(&rig), GROUP_A);
	assert_true(rig_view(&rig).boot.group[GROUP_B].good);
	rig_finish(&rig);
}

static void test_activate__reads_back_before_it_flips(void **state)
{
	struct rig rig;
	struct err err = {0};
	bool changed = false;

	(void)state;
	confirmed_b(&rig);
	rig_slot(&rig, 0, GROUP_A)[IMAGE_SIZE - 1] ^= 1;
	recorder_forget(rig.rec);
	assert_int_equal(activate_run(&rig.device, GROUP_A, true, &QUIET, &changed, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	assert_non_null(strstr(err.msg, "rootfs.a"));
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

static void test_activate__a_rejected_group_needs_force(void **state)
{
	struct rig rig;
	struct err err = {0};
	bool changed = false;

	(void)state;
	rig_in_trial(&rig);
	assert_int_equal(revert_run(&rig.device, "test", &QUIET, &err), 0);
	assert_int_equal(rig_boot(&rig), GROUP_A);
	assert_int_equal(activate_run(&rig.device, GROUP_B, false, &QUIET, &changed, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	assert_int_equal(activate_run(&rig.device, GROUP_B, true, &QUIET, &changed, &err), 0);
	assert_int_equal(rig_view(&rig).boot.group[GROUP_B].tries, 3);
	assert_int_equal(activate_run(&rig.device, GROUP_A, false, &QUIET, &changed, &err), 0);
	assert_int_equal(activate_run(&rig.device, GROUP_B, false, &QUIET, &changed, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	rig_finish(&rig);
}

static void test_activate__an_empty_group_is_refused(void **state)
{
	struct rig rig;
	struct err err = {0};
	bool changed = false;

	(void)state;
	rig_init(&rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(&rig, bundles_path(&b, "1.abide"));
	assert_int_equal(activate_run(&rig.device, GROUP_B, true, &QUIET, &changed, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

static void test_verify__finds_every_kind_of_drift(void **state)
{
	struct verify_report report;
	struct rig rig;
	struct err err = {0};

	(void)state;
	confirmed_b(&rig);
	assert_int_equal(verify_run(&rig.device, 3, &QUIET, &report, &err), 0);
	assert_int_equal(report.count, 4);
	/* one bit of an image */
	rig_slot(&rig, 0, GROUP_A)[5000] ^= 4;
	assert_int_equal(verify_run(&rig.device, 3, &QUIET, &report, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	assert_false(report.findings[0].ok);
	assert_true(report.findings[2].ok);
	assert_int_equal(verify_run(&rig.device, 1 << GROUP_B, &QUIET, &report, &err), 0);
	rig_slot(&rig, 0, GROUP_A)[5000] ^= 4;
	/* the header copy */
	rig_slot(&rig, 0, GROUP_A)[SLOT_SIZE - SEAL_SPACE - MEM_BLOCK + 50] ^= 4;
	assert_int_equal(verify_run(&rig.device, 1 << GROUP_A, &QUIET, &report, &err), -1);
	assert_false(report.findings[0].ok);
	assert_false(report.findings[1].ok); /* bootable, and not known */
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, rig.slot[0][GROUP_A]), 0);
	rig_finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_confirm__a_passed_check_makes_the_group_good),
		cmocka_unit_test(test_confirm__each_failure_costs_a_try_and_the_last_goes_back),
		cmocka_unit_test(test_confirm__a_silent_fallback_is_written_down_once),
		cmocka_unit_test(test_confirm__a_lost_environment_copy_is_healed_and_said_once),
		cmocka_unit_test(test_confirm__no_journal_stops_it),
		cmocka_unit_test(test_confirm__an_unsealed_trial_is_not_confirmed),
		cmocka_unit_test(test_revert__needs_somewhere_to_go),
		cmocka_unit_test(test_revert__twice_is_once),
		cmocka_unit_test(test_activate__takes_the_other_good_group_uncounted),
		cmocka_unit_test(test_activate__reads_back_before_it_flips),
		cmocka_unit_test(test_activate__a_rejected_group_needs_force),
		cmocka_unit_test(test_activate__an_empty_group_is_refused),
		cmocka_unit_test(test_verify__finds_every_kind_of_drift),
	};

	return cmocka_run_group_tests_name("confirm", tests, setup, teardown);
}
