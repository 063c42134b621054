/*
 * sweep: cut the power at every write and flush of install, confirm, activate, deactivate and
 * revert, and look at what is left.
 *
 * Each scenario runs one command on recorded devices (slots of both groups, both copies of the
 * GRUB environment) and visits the crash states of its log (recorder.h). In every one of them:
 *
 *	- GRUB, by its model, finds a valid environment and boots a group whose every slot is sealed,
 *	  with one artifact, byte for byte a release that somebody signed;
 *	- no other group may boot either unless that holds for it;
 *	- any slot that says it is sealed is, and has the signed header that proves it;
 *	- had GRUB lost both copies of the environment, it would load only a whole image;
 *	- the group that ran during the cut is untouched, byte by byte.
 * And in many (all whole ones, every RERUN_EVERY-th of the others):
 *	- after the reboot the same command converges: the slots and the environment are, but for the
 *	  seals' generations, what an uninterrupted run leaves;
 *	- once more it writes nothing.
 */
#include <malloc.h>
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

#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/model.h"
#include "image/delta.h"
#include "tests/bundles.h"
#include "tests/recorder.h"
#include "tests/scratch.h"
#include "updater/confirm.h"
#include "updater/device.h"
#include "updater/fs.h"
#include "updater/install.h"
#include "updater/mem.h"

#define RERUN_EVERY 16u
#define CLASSES_MAX 2u
#define RELEASES    3u

#define SHUFFLES 12u
#define TEARS    12u

static const struct {
	const char *name;
	size_t image; /* bytes */
	size_t slot; /* bytes */
} CLASS_SIZES[CLASSES_MAX] = {
	{"rootfs", (1200u << 10) + 700, 2u << 20},
	{"app", (200u << 10) + 5, 512u << 10},
};

struct release {
	char bundle[PATH_MAX];
	char delta[PATH_MAX]; /* for the first release; of the last one only */
	struct digest id;
	struct bytes images[CLASSES_MAX];
};

/* Made once: the bundles of a device with one class and of one with two. */
static struct lab {
	struct bundles bundles;
	char state_dir[PATH_MAX];
	char run_dir[PATH_MAX];
	char health_dir[PATH_MAX];
	struct release releases[CLASSES_MAX][RELEASES]; /* [classes - 1] */
} lab;

/* A device of ours: its media, and which group runs. */
struct world {
	struct recorder *rec;
	size_t classes;
	enum group booted;
};

#define ENV_COPIES 2u /* devices 0 and 1 */

static unsigned int slot_number(size_t class, enum group group)
{
	return (unsigned int)(ENV_COPIES + class * GROUP_COUNT + group);
}

static int open_slot(const struct device *device, size_t class, enum group group, bool target,
	struct blockdev **ret, struct err *err)
{
	const struct world *world = device->open_slot_arg;

	(void)err;
	if (target)
		assert_int_not_equal(group, world->booted);
	*ret = recorder_open(world->rec, slot_number(class, group));
	return 0;
}

static void must(int result, const char *what, const struct err *err)
{
	if (result < 0)
		fail_msg("%s: %s", what, err->msg);
}

static struct bootloader *open_boot(struct recorder *rec)
{
	struct blockdev *env = recorder_open(rec, 0);
	struct blockdev *spare = recorder_open(rec, 1);
	struct bootloader *bl = NULL;
	struct err err;

	must(grub_open_on(&env, &spare, &bl, &err), "grub_open_on", &err);
	return bl;
}

static struct device open_device(struct world *world)
{
	struct device device = {
		.compatible = BUNDLES_COMPATIBLE,
		.hardware = "",
		.state_dir = lab.state_dir,
		.run_dir = lab.run_dir,
		.health_dir = lab.health_dir,
		.health_timeout = 10,
		.trial_attempts = 3,
		.trust = {.roots = lab.bundles.root, .threshold = 1},
		.booted = world->booted,
		.boot = open_boot(world->rec),
		.class_count = world->classes,
		.open_slot = open_slot,
		.open_slot_arg = world,
	};

	for (size_t i = 0; i < world->classes; i++)
		(void)snprintf(device.classes[i].name, sizeof(device.classes[i].name), "%s",
			CLASS_SIZES[i].name);
	return device;
}

/* ---- the commands ---- */

typedef int sweep_command(struct device *device, const struct release *release, struct err *err);

static int run_install(struct device *device, const struct release *release, struct err *err)
{
	/* So that marks are made in images as small as these. */
	const struct install_options options = {.mark_interval = 300u << 10};
	struct install_result result;

	return install_run(device, release->bundle, &options, &result, err);
}

static int run_install_delta(struct device *device, const struct release *release, struct err *err)
{
	const struct install_options options = {.mark_interval = 300u << 10};
	struct install_result result;

	return install_run(device, release->delta, &options, &result, err);
}

static int run_confirm(struct device *device, const struct release *release, struct err *err)
{
	const struct confirm_options options = {.note = NULL};
	struct confirm_result result;

	(void)release;
	return confirm_run(device, &options, &result, err);
}

static int run_activate(struct device *device, const struct release *release, struct err *err)
{
	const struct confirm_options options = {.note = NULL};
	bool changed;

	(void)release;
	return activate_run(device, GROUP_B, false, &options, &changed, err);
}

static int run_deactivate(struct device *device, const struct release *release, struct err *err)
{
	const struct confirm_options options = {.note = NULL};
	bool changed;

	(void)release;
	return activate_run(device, GROUP_A, false, &options, &changed, err);
}

static int run_revert(struct device *device, const struct release *release, struct err *err)
{
	const struct confirm_options options = {.note = NULL};

	(void)release;
	return revert_run(device, "by hand", &options, err);
}

static int run(
	struct world *world, sweep_command *command, const struct release *release, struct err *err)
{
	struct device device = open_device(world);
	int result = command(&device, release, err);
	char journal[PATH_MAX + 16];

	device_close(&device);
	/* Never read for a decision; without it the runs after this one are as fast as this. */
	(void)snprintf(journal, sizeof(journal), "%s/journal", lab.state_dir);
	(void)unlink(journal);
	return result;
}

/* ---- starts ---- */

static void put_boot(struct recorder *rec, const struct boot_state *boot)
{
	struct err err;

	must(grub_env_format(boot, NULL, recorder_content(rec, 0), &err), "format", &err);
	memcpy(recorder_content(rec, 1), recorder_content(rec, 0), GRUB_ENV_LEN);
}

static const struct boot_group GOOD = {.good = true};

/* Seals a release in a group, by installing it while the other one "runs". */
static void put_release(struct world *world, enum group group, const struct release *release)
{
	struct boot_state boot = {.primary = group_other(group)};
	struct err err;

	boot.group[group_other(group)] = GOOD;
	put_boot(world->rec, &boot);
	world->booted = group_other(group);
	must(run(world, run_install, release, &err), "first install", &err);
}

/* Release 0 in a, release 1 in b. */
static struct world new_world(size_t classes)
{
	struct world world = {.rec = recorder_new(), .classes = classes};

	(void)recorder_add(world.rec, "grubenv", GRUB_ENV_LEN, NULL, false);
	(void)recorder_add(world.rec, "grubenv.spare", GRUB_ENV_LEN, NULL, false);
	for (size_t i = 0; i < classes; i++) {
		char name[64];

		for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
			(void)snprintf(
				name, sizeof(name), "%s.%s", CLASS_SIZES[i].name, group_name(g));
			(void)recorder_add(world.rec, name, CLASS_SIZES[i].slot, NULL, true);
		}
	}
	put_release(&world, GROUP_A, &lab.releases[classes - 1][0]);
	put_release(&world, GROUP_B, &lab.releases[classes - 1][1]);
	return world;
}

static void blank_group(struct world *world, enum group group)
{
	for (size_t i = 0; i < world->classes; i++)
		memset(recorder_content(world->rec, slot_number(i, group)), 0,
			recorder_size(world->rec, slot_number(i, group)));
}

enum target_content {
	TARGET_AS_IT_IS, /* sealed: release 1 in b, release 0 in a */
	TARGET_BLANK,
	TARGET_HALF, /* an install of the scenario's release that was cut */
};

struct scenario {
	const char *name;
	sweep_command *command;
	unsigned int release; /* to install */
	enum group booted;
	enum target_content target;
	struct boot_state boot;
};

static struct world start(
	const struct scenario *scenario, const struct recorder *base, size_t classes)
{
	struct world world = {.rec = recorder_copy(base), .classes = classes};
	enum group target = group_other(scenario->booted);
	struct err err;

	world.booted = scenario->booted;
	if (scenario->target == TARGET_BLANK)
		blank_group(&world, target);
	put_boot(world.rec, &scenario->boot);
	if (scenario->target == TARGET_HALF) {
		/* disarm (2), seals, first block; then the image's first large write fails */
		recorder_fail(world.rec, RECORDER_WRITE, slot_number(0, target), 3);
		assert_int_equal(run(&world, scenario->command,
					 &lab.releases[classes - 1][scenario->release], &err),
			-1);
	}
	recorder_forget(world.rec);
	return world;
}

/* ---- what has to hold ---- */

struct sweep {
	const struct scenario *scenario;
	const struct release *release; /* the one to install */
	struct recorder *before; /* when the command began */
	struct recorder *finished; /* after the uninterrupted run */
	size_t classes;
	size_t seen;
	size_t visited; /* all of those, or a sample: scratch_every() */
	size_t rerun;
	size_t booted[GROUP_COUNT];
	size_t loaded[GROUP_COUNT]; /* without an environment */
	const char *what; /* the state at hand */
};

static void assert_equal_bytes(const struct sweep *sweep, unsigned int device, const uint8_t *found,
	const uint8_t *expected, size_t len, const char *why)
{
	size_t at = 0;

	if (memcmp(found, expected, len) == 0)
		return;
	while (found[at] == expected[at])
		at++;
	fail_msg("%s: %s: device %u differs at %zu: %s", sweep->scenario->name, sweep->what, device,
		at, why);
}

static struct seal seal_of(struct recorder *rec, size_t class, enum group group)
{
	struct blockdev *dev = recorder_open(rec, slot_number(class, group));
	struct seal seal;
	struct err err;

	must(seal_read(dev, &seal, &err), "seal", &err);
	blockdev_close(&dev);
	return seal;
}

/* The release with these bytes in the slot; NULL: none of ours. */
static const struct release *release_in(
	const struct sweep *sweep, struct recorder *rec, size_t class, enum group group)
{
	for (unsigned int i = 0; i < RELEASES; i++) {
		const struct release *release = &lab.releases[sweep->classes - 1][i];

		if (memcmp(recorder_content(rec, slot_number(class, group)),
			    release->images[class].data, release->images[class].len) == 0)
			return release;
	}
	return NULL;
}

static bool has_header(struct recorder *rec, size_t class, enum group group)
{
	struct blockdev *dev = recorder_open(rec, slot_number(class, group));
	const struct seal seal = seal_of(rec, class, group);
	struct header header = {0};
	struct err err;
	bool found = seal_read_header(dev, &seal, &header, &err) == 0;

	header_finish(&header);
	blockdev_close(&dev);
	return found;
}

/* A slot that says it is sealed is, byte for byte, whatever may boot; and it can prove it. */
static void assert_seals_are_true(const struct sweep *sweep, struct recorder *rec)
{
	for (size_t i = 0; i < sweep->classes; i++) {
		for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
			const struct seal seal = seal_of(rec, i, g);
			const struct release *release = release_in(sweep, rec, i, g);

			if (seal.state != SEAL_SEALED)
				continue;
			if (!release || !digest_equal(&release->id, &seal.artifact))
				fail_msg("%s: %s: slot '%s.%s' is sealed with something else",
					sweep->scenario->name, sweep->what, CLASS_SIZES[i].name,
					group_name(g));
			if (!has_header(rec, i, g))
				fail_msg("%s: %s: slot '%s.%s' is sealed without its header",
					sweep->scenario->name, sweep->what, CLASS_SIZES[i].name,
					group_name(g));
		}
	}
}

static void assert_known(const struct sweep *sweep, struct recorder *rec, enum group group)
{
	const struct seal first = seal_of(rec, 0, group);

	for (size_t i = 0; i < sweep->classes; i++) {
		const struct seal seal = seal_of(rec, i, group);

		if (seal.state != SEAL_SEALED || !digest_equal(&seal.artifact, &first.artifact))
			fail_msg("%s: %s: group %s may boot, but its slot '%s' is not sealed%s",
				sweep->scenario->name, sweep->what, group_name(group),
				CLASS_SIZES[i].name,
				seal.state == SEAL_SEALED ? " with the same artifact" : "");
	}
}

/* Reads what GRUB reads and takes its choice; the counted try is saved as GRUB saves it. */
static enum group reboot(struct sweep *sweep, struct recorder *rec)
{
	struct bootloader *bl = open_boot(rec);
	struct boot_state boot;
	enum group picked;
	struct err err;

	must(bootloader_read(bl, &boot, &err), sweep->what, &err);
	if (bl->note[0])
		fail_msg("%s: %s: %s", sweep->scenario->name, sweep->what, bl->note);
	bootloader_close(&bl);
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		if (boot_group_bootable(&boot.group[g]))
			assert_known(sweep, rec, g);
	}
	assert_true(boot_model_boot(&boot, &picked));
	must(grub_env_format(&boot, NULL, recorder_content(rec, 0), &err), "format", &err);
	return picked;
}

static bool is_first_block(const struct sweep *sweep, const uint8_t *block)
{
	for (unsigned int i = 0; i < RELEASES; i++) {
		const struct bytes *image = &lab.releases[sweep->classes - 1][i].images[0];

		if (memcmp(block, image->data, MEM_BLOCK) == 0)
			return true;
	}
	return false;
}

/* Both copies of the environment lost as well: GRUB loads the first kernel it can, a before b, and
 * an image without its first block is none. What it loads must be whole. A first block that was
 * itself torn is left out: that would be a third misfortune. */
static void assert_loads_only_whole_images(struct sweep *sweep, struct recorder *rec)
{
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		if (!is_first_block(sweep, recorder_content(rec, slot_number(0, g))))
			continue;
		if (!release_in(sweep, rec, 0, g))
			fail_msg("%s: %s: the image in group %s is not whole, yet would load",
				sweep->scenario->name, sweep->what, group_name(g));
		sweep->loaded[g]++;
		return;
	}
	fail_msg("%s: %s: neither group would load", sweep->scenario->name, sweep->what);
}

static void assert_running_untouched(const struct sweep *sweep, struct recorder *rec)
{
	for (size_t i = 0; i < sweep->classes; i++) {
		unsigned int device = slot_number(i, sweep->scenario->booted);

		assert_equal_bytes(sweep, device, recorder_content(rec, device),
			recorder_content(sweep->before, device), recorder_size(rec, device),
			"the running group was written");
	}
}

/* Everything as the uninterrupted run left it, but for the seals' generations. */
static void assert_converged(const struct sweep *sweep, struct recorder *rec, bool with_env)
{
	for (size_t i = 0; i < sweep->classes; i++) {
		for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
			unsigned int device = slot_number(i, g);
			struct seal found = seal_of(rec, i, g);
			struct seal expected = seal_of(sweep->finished, i, g);

			found.generation = expected.generation;
			assert_equal_bytes(sweep, device, (const uint8_t *)&found,
				(const uint8_t *)&expected, sizeof(found),
				"its seal did not converge");
			assert_equal_bytes(sweep, device, recorder_content(rec, device),
				recorder_content(sweep->finished, device),
				recorder_size(rec, device) - SEAL_SPACE, "it did not converge");
		}
	}
	for (unsigned int copy = 0; with_env && copy < ENV_COPIES; copy++)
		assert_equal_bytes(sweep, copy, recorder_content(rec, copy),
			recorder_content(sweep->finished, copy), GRUB_ENV_LEN,
			"the environment did not converge");
}

/* The same command again, twice. `booted`: which group runs now. */
static void rerun(struct sweep *sweep, const struct recorder *from, enum group booted)
{
	struct world world = {
		.rec = recorder_copy(from), .classes = sweep->classes, .booted = booted};
	struct err err;

	if (run(&world, sweep->scenario->command, sweep->release, &err) < 0)
		fail_msg("%s: %s: again, running %s: %s", sweep->scenario->name, sweep->what,
			group_name(booted), err.msg);
	/* In the new group GRUB has counted a try, and nothing is left to be done. */
	assert_converged(sweep, world.rec, booted == sweep->scenario->booted);
	recorder_forget(world.rec);
	must(run(&world, sweep->scenario->command, sweep->release, &err), "third run", &err);
	if (recorder_count(world.rec, RECORDER_WRITE, RECORDER_ANY) > 0)
		fail_msg("%s: %s: the third run wrote", sweep->scenario->name, sweep->what);
	recorder_free(&world.rec);
	sweep->rerun++;
}

/* From the other group these would be another command: it would leave the group it asks for. */
static bool means_the_same(const struct sweep *sweep, enum group booted)
{
	return booted == sweep->scenario->booted || sweep->scenario->command == run_install ||
	       sweep->scenario->command == run_confirm;
}

static void check(struct sweep *sweep, struct recorder *after, const char *what)
{
	bool whole = strstr(what, "whole") != NULL;
	enum group picked;

	sweep->what = what;
	sweep->visited++;
	assert_running_untouched(sweep, after);
	assert_seals_are_true(sweep, after);
	assert_loads_only_whole_images(sweep, after);
	/* A whole state is also what a killed process leaves, without a reboot. */
	if (whole && sweep->scenario->command != run_revert)
		rerun(sweep, after, sweep->scenario->booted);
	picked = reboot(sweep, after);
	sweep->booted[picked]++;
	if ((whole || sweep->visited % RERUN_EVERY == 0) && means_the_same(sweep, picked))
		rerun(sweep, after, picked);
}

/* Of a sample's states, which are fewer already, a part: each costs two installs. */
static void on_crash(struct recorder *after, const char *what, void *arg)
{
	struct sweep *sweep = arg;

	if (sweep->seen++ % (scratch_every() / 2 + 1) == 0)
		check(sweep, after, what);
}

/* ---- the scenarios ---- */

static const struct scenario SCENARIOS[] = {
	{"install into a blank group", run_install, 2, GROUP_A, TARGET_BLANK,
		{{{.good = true}, {.tries = 0}}, GROUP_A}},
	{"install over a good group", run_install, 2, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.good = true}}, GROUP_A}},
	{"install over a rejected group", run_install, 2, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.bad = true}}, GROUP_B}},
	{"install over an activated group", run_install, 2, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.tries = 3}}, GROUP_B}},
	{"install a delta over a good group", run_install_delta, 2, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.good = true}}, GROUP_A}},
	{"install after a cut install", run_install, 2, GROUP_A, TARGET_HALF,
		{{{.good = true}, {.good = true}}, GROUP_A}},
	{"install into group a", run_install, 2, GROUP_B, TARGET_AS_IT_IS,
		{{{.good = true}, {.good = true}}, GROUP_B}},
	{"install what lies sealed already", run_install, 1, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.tries = 0}}, GROUP_A}},
	{"install what runs, to take a flip back", run_install, 0, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.tries = 3}}, GROUP_B}},
	{"confirm", run_confirm, 0, GROUP_B, TARGET_AS_IT_IS,
		{{{.good = true}, {.tries = 2}}, GROUP_B}},
	{"activate a group on trial", run_activate, 0, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.tries = 0}}, GROUP_A}},
	{"activate a good group", run_activate, 0, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.good = true}}, GROUP_A}},
	{"deactivate", run_deactivate, 0, GROUP_A, TARGET_AS_IT_IS,
		{{{.good = true}, {.tries = 3}}, GROUP_B}},
	{"revert a trial", run_revert, 0, GROUP_B, TARGET_AS_IT_IS,
		{{{.good = true}, {.tries = 2}}, GROUP_B}},
	{"revert a good group", run_revert, 0, GROUP_B, TARGET_AS_IT_IS,
		{{{.good = true}, {.good = true}}, GROUP_B}},
};

static size_t sweep_scenario(
	const struct scenario *scenario, const struct recorder *base, size_t classes)
{
	struct world world = start(scenario, base, classes);
	struct recorder *before = recorder_copy(world.rec);
	struct sweep sweep = {.scenario = scenario, .before = before, .classes = classes};
	const struct recorder_limits limits = {.seed = 2026,
		.shuffles = (SHUFFLES - 1) / scratch_every() + 1,
		.tears = (TEARS - 1) / scratch_every() + 1};
	struct err err;

	sweep.release = &lab.releases[classes - 1][scenario->release];
	must(run(&world, scenario->command, sweep.release, &err), scenario->name, &err);
	sweep.finished = recorder_copy(world.rec);
	(void)recorder_crashes(world.rec, &limits, on_crash, &sweep);
	print_message(
		"%-40s %3zu events %5zu crash states (a boots %4zu, b %4zu), %4zu run again\n",
		scenario->name, recorder_events(world.rec), sweep.visited, sweep.booted[GROUP_A],
		sweep.booted[GROUP_B], sweep.rerun);
	recorder_free(&sweep.finished);
	recorder_free(&before);
	recorder_free(&world.rec);
	return sweep.visited;
}

static size_t total;

static void sweep_all(size_t classes)
{
	struct world world = new_world(classes);
	size_t visited = 0;

	for (size_t i = 0; i < ARRAY_LEN(SCENARIOS); i++)
		visited += sweep_scenario(&SCENARIOS[i], world.rec, classes);
	print_message("power-cut sweep, %zu slot%s a group: %zu crash states\n", classes,
		classes > 1 ? "s" : "", visited);
	recorder_free(&world.rec);
	total += visited;
}

static void test_sweep__one_slot_a_group(void **state)
{
	(void)state;
	sweep_all(1);
	assert_true(total > 1000 / (2 * scratch_every()));
}

static void test_sweep__two_slots_a_group(void **state)
{
	(void)state;
	total = 0;
	sweep_all(2);
	assert_true(total > 1000 / (2 * scratch_every()));
}

/* ---- faults ---- */

/* Every write, flush, read and zeroing in turn fails with EIO: the command fails or gets by; afterwards all
 * of the above holds, and the command converges once the device behaves. */
static void test_sweep__each_operation_fails_once(void **state)
{
	struct world base = new_world(1);
	const struct scenario *scenario = &SCENARIOS[1];
	size_t failed = 0;

	(void)state;
	for (enum recorder_op op = RECORDER_READ; op <= RECORDER_ZERO; op++) {
		struct world world = start(scenario, base.rec, 1);
		struct recorder *before = recorder_copy(world.rec);
		struct sweep sweep = {.scenario = scenario, .before = before, .classes = 1};
		struct err err;
		size_t count;

		sweep.release = &lab.releases[0][scenario->release];
		must(run(&world, run_install, sweep.release, &err), scenario->name, &err);
		sweep.finished = world.rec;
		count = recorder_count(world.rec, op, RECORDER_ANY);
		for (size_t n = 1; n <= count; n += scratch_every()) {
			struct world broken = start(scenario, base.rec, 1);
			char what[64] = "";

			recorder_fail(broken.rec, op, RECORDER_ANY, n);
			if (run(&broken, run_install, sweep.release, &err) < 0) {
				failed++;
				assert_true(err.code == FAIL_IO || err.code == FAIL_BOOT);
			}
			recorder_fail(broken.rec, op, RECORDER_ANY, 0);
			(void)snprintf(what, sizeof(what),
				"operation %d, number %zu, failed: whole", (int)op, n);
			check(&sweep, broken.rec, what);
			recorder_free(&broken.rec);
		}
		recorder_free(&before);
		recorder_free(&world.rec);
	}
	print_message("%zu installs failed with an I/O error\n", failed);
	assert_true(failed > 20 / scratch_every());
	recorder_free(&base.rec);
}

/* ---- bundles ---- */

static void make_release(struct release *release, size_t classes, unsigned int number)
{
	struct bundle_options options = bundles_options(&lab.bundles);
	struct bundle_result result;
	char name[64], version[16], images[CLASSES_MAX][PATH_MAX];
	struct err err;

	(void)snprintf(name, sizeof(name), "os-%zu-%u.abide", classes, number);
	(void)snprintf(version, sizeof(version), "%u.0", number + 1);
	(void)snprintf(
		release->bundle, sizeof(release->bundle), "%s", bundles_path(&lab.bundles, name));
	options.output = release->bundle;
	options.version = version;
	options.security_version = 1;
	options.image_count = classes;
	for (size_t i = 0; i < classes; i++) {
		(void)snprintf(name, sizeof(name), "%s-%u.img", CLASS_SIZES[i].name, number);
		bundles_image(&lab.bundles, name, CLASS_SIZES[i].image, number + 1);
		(void)snprintf(
			images[i], sizeof(images[i]), "%s", bundles_path(&lab.bundles, name));
		must(fs_read_file(images[i], CLASS_SIZES[i].image, &release->images[i], &err),
			"image", &err);
		options.images[i] = (struct bundle_image){CLASS_SIZES[i].name, images[i]};
	}
	must(bundle_create(&options, &result, &err), "bundle", &err);
	release->id = result.id;
}

static void make_delta(struct release *release, const struct release *base, size_t classes)
{
	struct delta_options options = {.base = base->bundle,
		.bundle = release->bundle,
		.output = release->delta,
		.level = 3,
		.threads = 1};
	struct delta_result result;
	char name[64];
	struct err err;

	(void)snprintf(name, sizeof(name), "delta-%zu.abide", classes);
	(void)snprintf(
		release->delta, sizeof(release->delta), "%s", bundles_path(&lab.bundles, name));
	must(delta_create(&options, &result, &err), "delta", &err);
	assert_true(result.stats[0].chunks[STORE_BASE] > 0);
	assert_true(result.stats[0].chunks[STORE_PATCH] > 0);
}

static void make_dir(const char *name, char ret[static PATH_MAX])
{
	(void)snprintf(ret, PATH_MAX, "%s", bundles_path(&lab.bundles, name));
	assert_int_equal(mkdir(ret, 0700), 0);
}

static int setup(void **state)
{
	(void)state;
	bundles_init(&lab.bundles, PKI_ECDSA);
	make_dir("state", lab.state_dir);
	make_dir("run", lab.run_dir);
	make_dir("health", lab.health_dir);
	for (size_t c = 1; c <= CLASSES_MAX; c++) {
		for (unsigned int i = 0; i < RELEASES; i++)
			make_release(&lab.releases[c - 1][i], c, i);
		make_delta(&lab.releases[c - 1][RELEASES - 1], &lab.releases[c - 1][0], c);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < CLASSES_MAX * RELEASES; i++) {
		for (unsigned int k = 0; k < CLASSES_MAX; k++)
			bytes_finish(&lab.releases[i / RELEASES][i % RELEASES].images[k]);
	}
	bundles_finish(&lab.bundles);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sweep__one_slot_a_group),
		cmocka_unit_test(test_sweep__two_slots_a_group),
		cmocka_unit_test(test_sweep__each_operation_fails_once),
	};

	/* Thousands of copies of all media: keep the memory instead of mapping it anew each time. */
	(void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 512 << 20);
	return cmocka_run_group_tests_name("sweep", tests, setup, teardown);
}
