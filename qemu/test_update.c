/* update: the whole device, really booted: the story of the demo, and what else may go wrong on the
 * way: panics, hangs, power cuts, a missing kernel, a broken environment, an attacker's bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "qemu/story.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define BOOT_LIMIT 150u

static struct rig rig;

/* A failed step says why and ends the test. */
static void must(int result, const struct err *err)
{
	if (result < 0)
		fail_msg("%s (console: %s/console.log)", err->msg, rig.work);
}

static int start(void **state)
{
	const char *build = getenv("ABIDE_BUILD");
	char out[PATH_MAX];
	struct err err = {0};

	(void)state;
	if (fs_join(build ? build : "build", "qemu", out, sizeof(out), &err) == 0 &&
		rig_init(&rig, vm_device_find(STORY_DEVICE), out, "run-test", NULL, &err) == 0)
		return 0;
	print_error("%s\n", err.msg);
	return -1;
}

static int stop(void **state)
{
	(void)state;
	rig_finish(&rig);
	return 0;
}

/* A device fresh from the factory, running release 1.0.0 from a. */
static int new_device(void **state)
{
	struct err err = {0};

	(void)state;
	if (rig_new_disk(&rig, &err) == 0 && rig_power_on(&rig, "1.0.0", &err) == 0)
		return 0;
	print_error("%s\n", err.msg);
	return -1;
}

static int switch_off(void **state)
{
	(void)state;
	rig_cut_power(&rig);
	return 0;
}

static void test_chapter(void **state)
{
	const struct chapter *chapter = *state;
	struct err err = {0};

	must(chapter->tell(&rig, &err), &err);
}

static void wait_console(const char *text)
{
	struct err err = {0};

	must(vm_wait(rig.vm, text, BOOT_LIMIT, &err), &err);
}

/* Installs `bundle`, to be tried so often, and reboots. */
static void try_release(const char *bundle, unsigned int tries)
{
	struct err err = {0};

	must(rig_install_with_tries(&rig, tries, bundle, &err), &err);
	must(rig_order_reboot(&rig, &err), &err);
}

/* Release 1 runs again from a, which is good; b is bad, and its release rejected. */
static void assert_reverted(const char *version)
{
	char rejected[64];
	const char *const expected[] = {"\"booted\":\"a\"", "\"next\":\"a\"",
		"\"a\":{\"good\":true", "\"b\":{\"good\":false",
		"\"rejected\":[{\"artifact\":", rejected, NULL};
	struct err err = {0};

	(void)snprintf(rejected, sizeof(rejected), "\"version\":\"%s\",\"why\":", version);
	must(rig_wait_up(&rig, "1.0.0", &err), &err);
	must(rig_status(&rig, expected, &err), &err);
}

static void test_update__kernel_panic_in_trial_reverts(void **state)
{
	(void)state;
	try_release("panic", 2);
	for (int i = 0; i < 2; i++) {
		wait_console("release 4.0.0 starts");
		wait_console("Kernel panic");
	}
	assert_reverted("4.0.0");
}

static void test_update__hang_in_trial_is_reset_by_the_watchdog(void **state)
{
	(void)state;
	try_release("hang", 1);
	wait_console("release 5.0.0 starts");
	assert_reverted("5.0.0");
	assert_false(vm_seen(rig.vm, "release 5.0.0 is up"));
}

/* Nothing in the guest runs any more: what resets it is a hardware watchdog. */
static void test_update__dead_machine_in_trial_reverts(void **state)
{
	struct err err = {0};

	(void)state;
	try_release("release-2", 1);
	wait_console("group B on trial, 0 tries left");
	must(vm_freeze(rig.vm, &err), &err);
	sleep(1);
	must(vm_reset(rig.vm, &err), &err);
	assert_reverted("2.0.0");
}

static void test_update__missing_kernel_reverts(void **state)
{
	(void)state;
	try_release("no-kernel", 2);
	for (int i = 0; i < 2; i++)
		wait_console("group b does not load");
	assert_reverted("6.0.0");
}

static void test_update__power_cut_in_install_boots_and_goes_on(void **state)
{
	static const char *const CUT[] = {"\"state\":\"writing\",\"booted\":\"a\"",
		"\"next\":\"a\"", "\"a\":{\"good\":true", NULL};
	static const char *const CONFIRMED[] = {"\"state\":\"idle\",\"booted\":\"b\"", NULL};
	struct err err = {0};

	(void)state;
	must(rig_begin_slow_install(&rig, "other", &err), &err);
	sleep(4); /* of the twelve that it takes */
	rig_cut_power(&rig);
	must(rig_power_on(&rig, "1.0.0", &err), &err);
	must(rig_status(&rig, CUT, &err), &err);
	must(rig_install(&rig, "", "other", 0, &err), &err);
	must(rig_run(&rig, 0, &err, "abide verify b"), &err);
	must(rig_order_reboot(&rig, &err), &err);
	must(rig_wait_up(&rig, "7.0.0", &err), &err);
	must(rig_status(&rig, CONFIRMED, &err), &err);
}

static void test_update__corrupt_grubenv_boots_from_the_spare_and_says_so(void **state)
{
	static const char *const CORRUPT[] = {"\"state\":\"idle\",\"booted\":\"a\"",
		"\"boot_note\":\"read", "grubenv.spare", NULL};
	static const char *const HEALED[] = {
		"\"state\":\"idle\",\"booted\":\"a\"", "\"boot_note\":null", NULL};
	struct err err = {0};

	(void)state;
	must(rig_run(&rig, 0, &err,
		     "dd if=/dev/urandom of=/boot/efi/grub/grubenv bs=1024 count=1 conv=notrunc "
		     "&& sync"),
		&err);
	must(rig_status(&rig, CORRUPT, &err), &err);
	must(rig_order_reboot(&rig, &err), &err);
	must(rig_wait_up(&rig, "1.0.0", &err), &err);
	assert_true(vm_seen(rig.vm, "grubenv is not usable: trying its spare copy"));
	/* The confirmation at the end of the boot has written both copies anew. */
	must(rig_status(&rig, HEALED, &err), &err);
}

static void test_update__changed_image_bytes_never_become_bootable(void **state)
{
	static const char *const EXPECTED[] = {"\"booted\":\"a\"", "\"next\":\"a\"",
		"\"a\":{\"good\":true", "\"b\":{\"good\":false,\"bad\":false,\"tries\":0", NULL};
	struct err err = {0};

	(void)state;
	must(rig_install(&rig, "", "data", 3, &err), &err);
	must(rig_status(&rig, EXPECTED, &err), &err);
	must(rig_order_reboot(&rig, &err), &err);
	must(rig_wait_up(&rig, "1.0.0", &err), &err);
}

#define FAULT(name) cmocka_unit_test_setup_teardown(name, new_device, switch_off)

static const struct CMUnitTest FAULTS[] = {
	FAULT(test_update__kernel_panic_in_trial_reverts),
	FAULT(test_update__hang_in_trial_is_reset_by_the_watchdog),
	FAULT(test_update__dead_machine_in_trial_reverts),
	FAULT(test_update__missing_kernel_reverts),
	FAULT(test_update__power_cut_in_install_boots_and_goes_on),
	FAULT(test_update__corrupt_grubenv_boots_from_the_spare_and_says_so),
	FAULT(test_update__changed_image_bytes_never_become_bootable),
};

#define TESTS_MAX 32

int main(int argc, char **argv)
{
	static struct CMUnitTest tests[TESTS_MAX];
	static struct chapter chapters[TESTS_MAX];
	size_t count = 0;

	if (argc > 2 || STORY_LEN + ARRAY_LEN(FAULTS) > TESTS_MAX) {
		(void)fprintf(stderr, "usage: test_update [PATTERN]\n");
		return 2;
	}
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	for (size_t i = 0; i < STORY_LEN; i++) {
		chapters[i] = STORY[i];
		tests[count++] = (struct CMUnitTest){.name = STORY[i].name,
			.test_func = test_chapter,
			.initial_state = &chapters[i]};
	}
	for (size_t i = 0; i < ARRAY_LEN(FAULTS); i++)
		tests[count++] = FAULTS[i];
	return _cmocka_run_group_tests("update", tests, count, start, stop);
}
