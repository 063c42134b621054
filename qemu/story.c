#include "qemu/story.h"

#include <string.h>

#include "updater/mem.h"

#define TRIES 3 /* trial-attempts in the releases' system.conf */
#define LIMIT 150 /* s, for a boot */

static int factory(struct rig *rig, struct err *err)
{
	static const char *const EXPECTED[] = {"\"state\":\"idle\",\"booted\":\"a\"",
		"\"next\":\"a\"", "\"a\":{\"good\":true", "\"version\":\"1.0.0\"",
		"\"b\":{\"good\":false,\"bad\":false,\"tries\":0,\"seal\":\"none\"", NULL};

	if (rig_new_disk(rig, err) < 0 || rig_power_on(rig, "1.0.0", err) < 0 ||
		rig_abide(rig, 0, err, "status") < 0)
		return -1;
	return rig_status(rig, EXPECTED, err);
}

static int install_two(struct rig *rig, struct err *err)
{
	static const char *const EXPECTED[] = {"\"state\":\"activated\",\"booted\":\"a\"",
		"\"next\":\"b\"", "\"a\":{\"good\":true",
		"\"b\":{\"good\":false,\"bad\":false,\"tries\":3,\"seal\":\"sealed\"",
		"\"version\":\"2.0.0\"", NULL};

	if (rig_install(rig, "", "release-2", 0, err) < 0 ||
		rig_expect(rig, "is installed in group b and activated", err) < 0 ||
		rig_expect(rig, "100%", err) < 0) /* the progress bar */
		return -1;
	return rig_status(rig, EXPECTED, err);
}

static int confirm_two(struct rig *rig, struct err *err)
{
	static const char *const EXPECTED[] = {"\"state\":\"idle\",\"booted\":\"b\"",
		"\"next\":\"b\"", "\"a\":{\"good\":true", "\"b\":{\"good\":true",
		"\"rejected\":[],\"boot_note\":null", NULL};

	if (rig_order_reboot(rig, err) < 0 || rig_wait_up(rig, "2.0.0", err) < 0)
		return -1;
	if (!vm_seen(rig->vm, "group B on trial, 2 tries left"))
		return err_set(err, FAIL_STATE, "GRUB did not count the trial down");
	rig_tell(rig, "rebooted: GRUB counted one of three tries, the health check passed");
	if (rig_abide(rig, 0, err, "status") < 0)
		return -1;
	return rig_status(rig, EXPECTED, err);
}

static int installing_again_writes_nothing(struct rig *rig, struct err *err)
{
	if (rig_install(rig, "", "release-2", 0, err) < 0 ||
		rig_expect(rig, "nothing to do", err) < 0)
		return -1;
	return rig_expect(rig, "0 bytes written", err);
}

static int release_three_fails(struct rig *rig, struct err *err)
{
	static const char *const EXPECTED[] = {"\"state\":\"idle\",\"booted\":\"b\"",
		"\"next\":\"b\"", "\"a\":{\"good\":false,\"bad\":true", "\"b\":{\"good\":true",
		"\"rejected\":[{\"artifact\":", "\"version\":\"3.0.0\",\"why\":\"", "10-service",
		NULL};

	if (rig_install(rig, "", "release-3", 0, err) < 0 || rig_order_reboot(rig, err) < 0)
		return -1;
	for (int i = 0; i < TRIES; i++) {
		if (vm_wait(rig->vm, "release 3.0.0 starts", LIMIT, err) < 0 ||
			vm_wait(rig->vm, "a health check failed: rebooting", LIMIT, err) < 0)
			return -1;
		rig_tell(rig,
			"try %d of %d: release 3.0.0 started, its health check failed, reboot",
			i + 1, TRIES);
	}
	if (rig_wait_up(rig, "2.0.0", err) < 0 || rig_abide(rig, 0, err, "status") < 0)
		return -1;
	return rig_status(rig, EXPECTED, err);
}

static int rejected_is_refused_unless_forced(struct rig *rig, struct err *err)
{
	static const char *const FORCED[] = {
		"\"state\":\"activated\",\"booted\":\"b\"", "\"next\":\"a\"", NULL};
	static const char *const TAKEN_BACK[] = {"\"state\":\"idle\",\"booted\":\"b\"",
		"\"next\":\"b\"", "\"b\":{\"good\":true", NULL};

	if (rig_install(rig, "", "release-3", 4, err) < 0 || rig_expect(rig, "--force", err) < 0 ||
		rig_install(rig, "--force", "release-3", 0, err) < 0 ||
		rig_status(rig, FORCED, err) < 0)
		return -1;
	/* Nobody wants it tried: the running group first again. */
	if (rig_abide(rig, 0, err, "activate b") < 0)
		return -1;
	return rig_status(rig, TAKEN_BACK, err);
}

static int untrusted_writes_nothing(struct rig *rig, struct err *err)
{
	static const char *const UNTRUSTED[] = {"tampered", "stranger"};
	static const char *const EXPECTED[] = {"\"state\":\"idle\",\"booted\":\"b\"", NULL};
	struct digest before, after;
	char hex[DIGEST_HEX_LEN + 1];

	for (size_t i = 0; i < ARRAY_LEN(UNTRUSTED); i++) {
		if (rig_slot_digest(rig, "a", &before, err) < 0 ||
			rig_install(rig, "", UNTRUSTED[i], 3, err) < 0 ||
			rig_slot_digest(rig, "a", &after, err) < 0)
			return -1;
		if (!digest_equal(&before, &after))
			return err_set(err, FAIL_DRIFT, "'%s' changed the slot", UNTRUSTED[i]);
		digest_to_hex(&after, hex);
		rig_tell(rig, "rootfs-a before and after: sha256 %.16s...", hex);
	}
	return rig_status(rig, EXPECTED, err);
}

static int everything_is_on_record(struct rig *rig, struct err *err)
{
	if (rig_abide(rig, 0, err, "log") < 0 || rig_abide(rig, 0, err, "log --verify") < 0)
		return -1;
	return rig_abide(rig, 0, err, "verify");
}

const struct chapter STORY[] = {
	{"factory_disk_runs_release_1", "Release 1.0.0 runs from group a, as it left the factory",
		factory},
	{"release_2_is_installed_over_http",
		"Release 2.0.0 is installed over HTTP into group b, while 1.0.0 runs", install_two},
	{"release_2_is_tried_and_confirmed",
		"The device reboots into group b; its service answers, so b is confirmed",
		confirm_two},
	{"second_install_writes_nothing", "Installing the same release again has nothing to do",
		installing_again_writes_nothing},
	{"unhealthy_release_3_is_reverted_and_rejected",
		"Release 3.0.0 never becomes healthy: its three tries are used up, and 2.0.0 runs "
		"again",
		release_three_fails},
	{"rejected_release_is_refused_unless_forced",
		"Release 3.0.0 is refused from now on, unless forced; then the flip is taken back",
		rejected_is_refused_unless_forced},
	{"untrusted_bundles_write_nothing",
		"A tampered bundle and a stranger's are refused before a byte is written to the "
		"slot",
		untrusted_writes_nothing},
	{"journal_tells_it_all",
		"The journal tells it all, and what is in the slots is what was signed",
		everything_is_on_record},
};
const size_t STORY_LEN = ARRAY_LEN(STORY);
