/* install: one update from source to flip, repeated, cut off, refused, and against carriers that
 * lie. Real carrier processes, real bundles; slots and environment are recorded. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/rig.h"
#include "tests/scratch.h"
#include "updater/carrier.h"
#include "updater/carrier/message.h"
#include "updater/carrier/serve.h"
#include "updater/fs.h"

#define SLOT_SIZE  (4u << 20)
#define IMAGE_SIZE ((3u << 20) - 1234)

static struct bundles b;
static uint8_t *image1, *image2;
static uint8_t *strange; /* nothing of it is in the others */

static uint8_t *load(const char *name)
{
	struct bytes bytes = {0};
	struct err err = {0};

	if (fs_read_file(bundles_path(&b, name), IMAGE_SIZE, &bytes, &err) < 0)
		fail_msg("%s", err.msg);
	return bytes.data;
}

static void save(const char *name, const uint8_t *data, size_t len)
{
	struct err err = {0};

	if (fs_replace_file(bundles_path(&b, name), data, len, 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

static int setup(void **state)
{
	(void)state;
	bundles_init(&b, PKI_ECDSA);
	bundles_image(&b, "1.img", IMAGE_SIZE, 1);
	bundles_image(&b, "2.img", IMAGE_SIZE, 2);
	(void)bundles_make(&b, "1.abide", "1", 5, "1.img");
	(void)bundles_make(&b, "2.abide", "2", 6, "2.img");
	(void)bundles_make(&b, "old.abide", "0", 4, "2.img");
	image1 = load("1.img");
	image2 = load("2.img");
	strange = load("1.img");
	for (size_t i = 0; i < IMAGE_SIZE; i++)
		strange[i] ^= (uint8_t)(0x55 + i % 251);
	save("strange.img", strange, IMAGE_SIZE);
	(void)bundles_make(&b, "strange.abide", "1", 5, "strange.img");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(image1);
	free(image2);
	free(strange);
	bundles_finish(&b);
	return 0;
}

static void rig_with_release_1(struct rig *rig)
{
	rig_init(rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(rig, bundles_path(&b, "1.abide"));
}

static void must_install(struct rig *rig, const char *name, struct install_result *ret)
{
	struct err err = {0};

	if (rig_install(rig, bundles_path(&b, name), ret, &err) < 0)
		fail_msg("%s", err.msg);
}

static void test_install__writes_seals_and_flips(void **state)
{
	struct rig rig;
	struct install_result result;
	struct device_view view;

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", &result);
	assert_int_equal(result.action, PLAN_WRITE);
	assert_int_equal(result.group, GROUP_B);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
	view = rig_view(&rig);
	assert_int_equal(view.state.now, STATE_ACTIVATED);
	assert_int_equal(view.state.next, GROUP_B);
	assert_int_equal(view.state.floor, 5);
	assert_true(view.facts[GROUP_B].proven);
	assert_string_equal(view.facts[GROUP_B].version, "2");
	assert_true(view.boot.group[GROUP_A].good);
	assert_int_equal(view.boot.group[GROUP_B].tries, 3);
	rig_finish(&rig);
}

static void test_install__again_writes_nothing(void **state)
{
	struct rig rig;
	struct install_result result;

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "1.abide", &result);
	assert_int_equal(result.action, PLAN_NOTHING);
	assert_int_equal(result.group, GROUP_A);
	must_install(&rig, "2.abide", NULL);
	recorder_forget(rig.rec);
	must_install(&rig, "2.abide", &result);
	assert_int_equal(result.action, PLAN_NOTHING);
	assert_int_equal(result.written, 0);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

static void test_install__the_running_release_takes_a_flip_back(void **state)
{
	struct rig rig;
	struct install_result result;

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", NULL);
	must_install(&rig, "1.abide", &result);
	assert_int_equal(result.action, PLAN_DEACTIVATE);
	assert_int_equal(rig_view(&rig).state.now, STATE_IDLE);
	/* Release 2 is still there, sealed: it is read back and flipped, not written. */
	recorder_forget(rig.rec);
	must_install(&rig, "2.abide", &result);
	assert_int_equal(result.action, PLAN_ACTIVATE);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, rig.slot[0][GROUP_B]), 0);
	assert_int_equal(rig_view(&rig).state.now, STATE_ACTIVATED);
	rig_finish(&rig);
}

static void test_install__a_drifted_slot_is_written_again(void **state)
{
	struct rig rig;
	struct install_result result;

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", NULL);
	must_install(&rig, "1.abide", NULL);
	rig_slot(&rig, 0, GROUP_B)[IMAGE_SIZE / 2] ^= 1;
	must_install(&rig, "2.abide", &result);
	assert_int_equal(result.action, PLAN_WRITE);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
	/* Only what was wrong, and the first chunk, which is never taken as it is. */
	assert_true(result.bytes.in_place > IMAGE_SIZE / 2);
	assert_true(result.written < IMAGE_SIZE / 2);
	rig_finish(&rig);
}

static void test_install__a_sector_that_cannot_be_read_is_written_again(void **state)
{
	unsigned int healed = 0;

	(void)state;
	for (size_t n = 1; n <= 12; n++) {
		struct install_result result = {0};
		struct err err = {0};
		struct rig rig;

		rig_with_release_1(&rig);
		must_install(&rig, "2.abide", NULL);
		must_install(&rig, "1.abide", NULL);
		recorder_fail(rig.rec, RECORDER_READ, rig.slot[0][GROUP_B], n);
		if (rig_install(&rig, bundles_path(&b, "2.abide"), &result, &err) == 0 &&
			result.action == PLAN_WRITE)
			healed++;
		must_install(&rig, "2.abide", NULL);
		assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
		rig_finish(&rig);
	}
	assert_true(healed >= 3);
}

static void test_install__keeps_what_the_old_release_has_in_place(void **state)
{
	struct rig rig;
	struct install_result result;
	struct err err = {0};

	(void)state;
	rig_init(&rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(&rig, bundles_path(&b, "2.abide"));
	/* b holds release 1, a runs 2: installing 3, which is 1 with a changed part */
	memcpy(rig_slot(&rig, 0, GROUP_B), rig_slot(&rig, 0, GROUP_A), SLOT_SIZE);
	recorder_forget(rig.rec);
	bundles_image(&b, "3.img", IMAGE_SIZE, 3);
	(void)bundles_make(&b, "3.abide", "3", 6, "3.img");
	if (rig_install(&rig, bundles_path(&b, "3.abide"), &result, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(result.bytes.in_place > 0);
	assert_true(result.written < IMAGE_SIZE);
	rig_finish(&rig);
}

/* ---- what the device has already ---- */

static void test_install__reuses_what_the_running_group_has(void **state)
{
	struct rig rig;
	struct install_result result;

	(void)state;
	rig_with_release_1(&rig);
	recorder_forget(rig.rec);
	must_install(&rig, "2.abide", &result);
	assert_true(result.bytes.seed > IMAGE_SIZE / 2);
	assert_true(result.bytes.fetch < IMAGE_SIZE / 3);
	assert_int_equal(result.bytes.seed + result.bytes.moved + result.bytes.fetch +
				 result.bytes.zero + result.bytes.repeat + result.bytes.in_place,
		IMAGE_SIZE);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_A), image1, IMAGE_SIZE);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, rig.slot[0][GROUP_A]), 0);
	rig_finish(&rig);
}

static void test_install__a_corrupt_seed_costs_one_fetch(void **state)
{
	struct rig rig;
	struct install_result clean, result;

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", &clean);
	rig_finish(&rig);
	rig_with_release_1(&rig);
	for (size_t at = 10000; at < IMAGE_SIZE; at += IMAGE_SIZE / 4)
		rig_slot(&rig, 0, GROUP_A)[at] ^= 1;
	must_install(&rig, "2.abide", &result);
	assert_true(result.bytes.seed < clean.bytes.seed);
	assert_true(result.bytes.fetch > clean.bytes.fetch);
	assert_true(result.bytes.fetch <= clean.bytes.fetch + 5 * INDEX_CHUNK_MAX);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
	assert_int_equal(rig_view(&rig).state.now, STATE_ACTIVATED);
	rig_finish(&rig);
}

static void test_install__a_seed_that_cannot_be_read_is_none(void **state)
{
	unsigned int whole = 0;

	(void)state;
	for (size_t n = 1; n <= 30; n++) {
		struct rig rig;
		struct err err = {0};
		int status;

		rig_with_release_1(&rig);
		recorder_fail(rig.rec, RECORDER_READ, rig.slot[0][GROUP_A], n);
		status = rig_install(&rig, bundles_path(&b, "2.abide"), NULL, &err);
		recorder_fail(rig.rec, RECORDER_READ, RECORDER_ANY, 0);
		if (status < 0)
			assert_int_not_equal(rig_view(&rig).state.now, STATE_ACTIVATED);
		whole += status == 0;
		must_install(&rig, "2.abide", NULL);
		assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
		rig_finish(&rig);
	}
	assert_true(whole > 10);
}

static void change_seed(void *arg, const struct install_progress *progress)
{
	struct rig *rig = arg;

	if (progress->phase != INSTALL_WRITE)
		return;
	/* Behind what was read ahead; it was right when it was checked. */
	for (size_t at = 2u << 20; at < IMAGE_SIZE; at += 1000)
		rig_slot(rig, 0, GROUP_A)[at] = 0xee;
}

static void test_install__a_seed_that_changes_meanwhile_is_told(void **state)
{
	struct rig rig;
	const struct install_options options = {.progress = change_seed, .arg = &rig};
	struct install_result result;
	struct err err = {0};

	(void)state;
	rig_with_release_1(&rig);
	assert_int_equal(
		install_run(&rig.device, bundles_path(&b, "2.abide"), &options, &result, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	assert_non_null(strstr(err.msg, "while it was reused"));
	assert_int_equal(rig_view(&rig).facts[GROUP_B].seal, SEAL_WRITING);
	assert_int_equal(rig_boot(&rig), GROUP_A);
	/* As the message says. */
	must_install(&rig, "2.abide", NULL);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
	rig_finish(&rig);
}

static void install_over_2(const char *name, const uint8_t *image, size_t len, uint64_t *ret_moved)
{
	struct install_result result;
	char bundle[32];
	uint8_t *sealed = malloc(SLOT_SIZE);
	struct rig rig;

	assert_non_null(sealed);
	save(name, image, len);
	(void)snprintf(bundle, sizeof(bundle), "%s.abide", name);
	(void)bundles_make(&b, bundle, "5", 7, name);
	rig_init(&rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(&rig, bundles_path(&b, "old.abide"));
	memcpy(sealed, rig_slot(&rig, 0, GROUP_A), SLOT_SIZE);
	rig_seal_factory(&rig, bundles_path(&b, "strange.abide"));
	memcpy(rig_slot(&rig, 0, GROUP_B), sealed, SLOT_SIZE);
	must_install(&rig, bundle, &result);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image, len);
	*ret_moved = result.bytes.moved;
	rig_finish(&rig);
	free(sealed);
}

static void test_install__reuses_what_moved_within_the_slot(void **state)
{
	uint8_t *longer = malloc(IMAGE_SIZE + (1u << 19));
	uint64_t moved;

	(void)state;
	assert_non_null(longer);
	/* Half a MiB less in front: what is wanted lies ahead of the writer. */
	install_over_2("shorter", image2 + (1u << 19), IMAGE_SIZE - (1u << 19), &moved);
	assert_true(moved > IMAGE_SIZE / 3);
	/* Half a MiB more: all but what it has several times is overwritten before it is wanted. */
	memcpy(longer, strange, 1u << 19);
	memcpy(longer + (1u << 19), image2, IMAGE_SIZE);
	install_over_2("longer", longer, IMAGE_SIZE + (1u << 19), &moved);
	assert_true(moved < IMAGE_SIZE / 8);
	free(longer);
}

static void test_install__refusals_write_nothing(void **state)
{
	static const struct {
		const char *bundle;
		const char *compatible;
		enum err_code code;
	} CASES[] = {
		{"2.abide", "toaster", FAIL_REFUSED},
		{"old.abide", BUNDLES_COMPATIBLE, FAIL_REFUSED},
		{"missing.abide", BUNDLES_COMPATIBLE, FAIL_IO},
		{"2.img", BUNDLES_COMPATIBLE, FAIL_UNTRUSTED},
	};
	struct rig rig;

	(void)state;
	rig_with_release_1(&rig);
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct err err = {0};

		rig.device.compatible = CASES[i].compatible;
		assert_int_equal(
			rig_install(&rig, bundles_path(&b, CASES[i].bundle), NULL, &err), -1);
		assert_int_equal(err.code, CASES[i].code);
		assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	}
	rig_finish(&rig);
}

static void test_install__not_during_a_trial(void **state)
{
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", NULL);
	assert_int_equal(rig_boot(&rig), GROUP_B);
	recorder_forget(rig.rec);
	bundles_image(&b, "4.img", IMAGE_SIZE, 4);
	(void)bundles_make(&b, "4.abide", "4", 6, "4.img");
	assert_int_equal(rig_install(&rig, bundles_path(&b, "4.abide"), NULL, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	/* The one on trial is asked for again: that is what runs, so there is nothing to do. */
	must_install(&rig, "2.abide", NULL);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, rig.slot[0][GROUP_A]), 0);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, rig.slot[0][GROUP_B]), 0);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, rig.env), 0);
	/* GRUB counted the try in one copy; the other follows at the first chance. */
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, rig.spare), 1);
	rig_finish(&rig);
}

static void use_up_the_trial(struct rig *rig)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_boot(rig), GROUP_B);
	assert_int_equal(rig_boot(rig), GROUP_A);
}

static void test_install__a_rejected_build_is_remembered(void **state)
{
	struct rig rig;
	struct install_result result;
	struct install_options force = {.force = true};
	struct device_view view;
	struct err err = {0};

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", NULL);
	use_up_the_trial(&rig);
	assert_int_equal(rig_install(&rig, bundles_path(&b, "2.abide"), NULL, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	/* Another release takes its place; the seal still knows. */
	bundles_image(&b, "5.img", IMAGE_SIZE, 5);
	(void)bundles_make(&b, "5.abide", "5", 6, "5.img");
	must_install(&rig, "5.abide", NULL);
	view = rig_view(&rig);
	assert_int_equal(view.facts[GROUP_B].rejected_count, 1);
	must_install(&rig, "1.abide", NULL); /* take the flip back */
	assert_int_equal(rig_install(&rig, bundles_path(&b, "2.abide"), NULL, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	if (install_run(&rig.device, bundles_path(&b, "2.abide"), &force, &result, &err) < 0)
		fail_msg("%s", err.msg);
	/* Forced, and taken back before it could prove itself: still rejected. */
	assert_int_equal(rig_view(&rig).facts[GROUP_B].rejected_count, 1);
	must_install(&rig, "1.abide", NULL);
	assert_int_equal(rig_install(&rig, bundles_path(&b, "2.abide"), NULL, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	rig_finish(&rig);
}

static void test_install__forced_where_it_lies_it_stays_rejected_until_good(void **state)
{
	const struct install_options force = {.force = true};
	struct boot_state boot;
	struct install_result result;
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", NULL);
	use_up_the_trial(&rig);
	if (install_run(&rig.device, bundles_path(&b, "2.abide"), &force, &result, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(result.action, PLAN_ACTIVATE);
	must_install(&rig, "1.abide", NULL); /* take the flip back */
	assert_int_equal(rig_install(&rig, bundles_path(&b, "2.abide"), NULL, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	/* Forced once more, and this time it is confirmed: forgiven. */
	if (install_run(&rig.device, bundles_path(&b, "2.abide"), &force, &result, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(rig_boot(&rig), GROUP_B);
	boot = rig_view(&rig).boot;
	boot = edge_confirm(&boot, GROUP_B);
	assert_int_equal(bootloader_commit(rig.device.boot, &boot, &err), 0);
	assert_int_equal(rig_view(&rig).facts[GROUP_B].rejected_count, 0);
	rig_finish(&rig);
}

static void test_install__repairs_a_group_that_does_not_boot_any_more(void **state)
{
	const struct install_options force = {.force = true};
	struct boot_state boot;
	struct install_result result;
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_with_release_1(&rig);
	must_install(&rig, "2.abide", NULL);
	assert_int_equal(rig_boot(&rig), GROUP_B);
	boot = rig_view(&rig).boot;
	boot = edge_revert(&boot, GROUP_B);
	assert_int_equal(bootloader_commit(rig.device.boot, &boot, &err), 0);
	/* Rebooted; a's kernel does not load; GRUB starts over with b. */
	assert_int_equal(rig_view(&rig).state.now, STATE_REVERTING);
	rig_slot(&rig, 0, GROUP_A)[9000] ^= 1;
	bundles_image(&b, "6.img", IMAGE_SIZE, 6);
	(void)bundles_make(&b, "6.abide", "6", 6, "6.img");
	assert_int_equal(rig_install(&rig, bundles_path(&b, "6.abide"), NULL, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	if (install_run(&rig.device, bundles_path(&b, "6.abide"), &force, &result, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(rig_boot(&rig), GROUP_A);
	assert_string_equal(rig_view(&rig).facts[GROUP_A].version, "6");
	rig_finish(&rig);
}

/* ---- stopped on the way ---- */

static volatile sig_atomic_t stop;
static uint64_t stop_at;

static void stop_later(void *arg, const struct install_progress *progress)
{
	(void)arg;
	if (progress->phase == INSTALL_WRITE && progress->done >= stop_at)
		stop = 1;
}

static void test_install__interrupted_leaves_the_device_as_before(void **state)
{
	const struct install_options options = {.interrupted = &stop, .progress = stop_later};
	struct rig rig;
	struct install_result result;
	struct err err = {0};

	(void)state;
	rig_with_release_1(&rig);
	stop = 0;
	stop_at = 2u << 20;
	assert_int_equal(
		install_run(&rig.device, bundles_path(&b, "2.abide"), &options, &result, &err), -1);
	assert_int_equal(err.code, FAIL_INTERRUPTED);
	assert_int_equal(rig_view(&rig).state.now, STATE_WRITING);
	assert_int_equal(rig_boot(&rig), GROUP_A);
	assert_true(mem_is_zero(rig_slot(&rig, 0, GROUP_B), MEM_BLOCK)); /* not mountable */
	must_install(&rig, "2.abide", &result);
	assert_true(result.bytes.in_place >= 1u << 20); /* it went on where it stopped */
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
	rig_finish(&rig);
}

/* How many of them an install makes on the slot it writes. */
static size_t operations(enum recorder_op op)
{
	struct rig rig;
	size_t count;

	rig_with_release_1(&rig);
	recorder_forget(rig.rec);
	must_install(&rig, "2.abide", NULL);
	count = recorder_count(rig.rec, op, rig.slot[0][GROUP_B]);
	rig_finish(&rig);
	return count;
}

static void test_install__a_failing_medium_is_never_sealed(void **state)
{
	static const enum recorder_op OPS[] = {
		RECORDER_READ, RECORDER_WRITE, RECORDER_FLUSH, RECORDER_ZERO};

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(OPS); k++) {
		size_t count = operations(OPS[k]);

		for (size_t n = 1; n <= count && n <= 25; n += scratch_every()) {
			struct rig rig;
			struct err err = {0};
			int result;

			rig_with_release_1(&rig);
			recorder_fail(rig.rec, OPS[k], rig.slot[0][GROUP_B], n);
			result = rig_install(&rig, bundles_path(&b, "2.abide"), NULL, &err);
			recorder_fail(rig.rec, OPS[k], RECORDER_ANY, 0);
			if (result < 0) {
				assert_int_not_equal(rig_view(&rig).state.now, STATE_ACTIVATED);
				assert_int_equal(err.code, FAIL_IO);
				assert_non_null(strstr(err.msg, strerror(EIO)));
			}
			assert_memory_equal(rig_slot(&rig, 0, GROUP_A), image1, IMAGE_SIZE);
			must_install(&rig, "2.abide", NULL);
			assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
			rig_finish(&rig);
		}
	}
}

/* ---- a carrier that lies: the real one, with somebody in the middle ---- */

enum mischief {
	FLIP_A_BIT,
	OTHER_NUMBER,
	TWICE,
	CRASH,
	END_EARLY,
	HANG,
	OTHER_MANIFEST,
	OTHER_INDEX,
	MISCHIEF_COUNT,
};

struct man {
	enum mischief mischief;
	uint32_t at; /* the chunk message, counted from 0 */
	uint32_t seen;
	char bundle[PATH_MAX];
};

static void pass(int out, const uint8_t *head, const uint8_t *payload, size_t len)
{
	struct err err;

	if (fs_write_full(out, "pipe", head, MESSAGE_HEAD_LEN, &err) < 0 ||
		fs_write_full(out, "pipe", payload, len, &err) < 0)
		_exit(1);
}

static void meddle(
	struct man *man, int out, uint8_t *ring, uint8_t *head, uint8_t *payload, size_t len)
{
	enum message_type type = (enum message_type)le32_get(head);

	if (type == MESSAGE_MANIFEST && man->mischief == OTHER_MANIFEST)
		payload[len / 2] ^= 1;
	if (type == MESSAGE_INDEX && man->mischief == OTHER_INDEX)
		payload[len - 1] ^= 1;
	if (type != MESSAGE_CHUNK || man->seen++ != man->at) {
		pass(out, head, payload, len);
		return;
	}
	if (man->mischief == FLIP_A_BIT)
		ring[le32_get(payload + 4)] ^= 0x10;
	if (man->mischief == OTHER_NUMBER)
		le32_put(payload, le32_get(payload) + 1);
	if (man->mischief == CRASH)
		_exit(77);
	if (man->mischief == END_EARLY)
		_exit(0);
	while (man->mischief == HANG)
		(void)pause();
	pass(out, head, payload, len);
	if (man->mischief == TWICE)
		pass(out, head, payload, len);
}

/* Copies requests down and answers up, until either end closes. */
static int in_the_middle(int in, int out, struct ring_room *room, void *arg)
{
	static uint8_t payload[64u << 20];
	struct man *man = arg;
	int down[2], up[2], source = -1;
	struct err err;

	if (pipe(down) < 0 || pipe(up) < 0 || fs_open(man->bundle, 0, 0, &source, &err) < 0)
		return 1;
	if (fork() == 0) {
		(void)close(down[1]);
		(void)close(up[0]);
		(void)serve(down[0], up[1], source, NULL, room, &err);
		_exit(0);
	}
	(void)close(down[0]);
	(void)close(up[1]);
	for (;;) {
		struct pollfd fds[] = {{in, POLLIN, 0}, {up[0], POLLIN, 0}};
		uint8_t head[MESSAGE_HEAD_LEN];
		size_t got;

		if (poll(fds, 2, -1) < 0)
			return 1;
		if (fds[0].revents) {
			ssize_t n = read(in, payload, sizeof(payload));

			if (n <= 0 || fs_write_full(down[1], "pipe", payload, (size_t)n, &err) < 0)
				return 0;
			continue;
		}
		if (fs_read_full(up[0], "pipe", head, sizeof(head), &got, &err) < 0 || got == 0)
			return 0;
		if (fs_read_full(up[0], "pipe", payload, le32_get(head + 4), &got, &err) < 0)
			return 1;
		meddle(man, out, room->bytes, head, payload, got);
	}
}

static void test_install__nothing_a_carrier_does_gets_unverified_bytes_written(void **state)
{
	struct man man = {0};

	(void)state;
	(void)snprintf(man.bundle, sizeof(man.bundle), "%s", bundles_path(&b, "2.abide"));
	for (int m = 0; m < MISCHIEF_COUNT; m++) {
		struct rig rig;
		struct err err = {0};
		const uint8_t *slot;

		/* Nothing to reuse: all of it goes through the carrier. */
		rig_init(&rig, &b, 1, SLOT_SIZE);
		rig_seal_factory(&rig, bundles_path(&b, "strange.abide"));
		man.mischief = (enum mischief)m;
		man.at = 60;
		man.seen = 0;
		rig.device.carrier.impostor = in_the_middle;
		rig.device.carrier.impostor_arg = &man;
		rig.device.carrier.stall_timeout = 2;
		assert_int_equal(rig_install(&rig, man.bundle, NULL, &err), -1);
		if (m <= TWICE || m >= OTHER_MANIFEST)
			assert_int_equal(err.code, FAIL_UNTRUSTED);
		/* What reached the slot is what the index says, where it says so, or nothing. */
		slot = rig_slot(&rig, 0, GROUP_B);
		for (size_t at = 0; at < IMAGE_SIZE; at += MEM_BLOCK) {
			size_t len = IMAGE_SIZE - at < MEM_BLOCK ? IMAGE_SIZE - at : MEM_BLOCK;

			if (!mem_is_zero(slot + at, len))
				assert_memory_equal(slot + at, image2 + at, len);
		}
		assert_int_not_equal(rig_view(&rig).state.now, STATE_ACTIVATED);
		assert_int_equal(rig_boot(&rig), GROUP_A);
		assert_memory_equal(rig_slot(&rig, 0, GROUP_A), strange, IMAGE_SIZE);
		rig.device.carrier.impostor = NULL;
		must_install(&rig, "2.abide", NULL);
		assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image2, IMAGE_SIZE);
		rig_finish(&rig);
	}
}

static void test_install__two_slots_are_one_group(void **state)
{
	struct bundle_options options;
	struct bundle_result made;
	struct install_result result;
	struct device_view view;
	struct rig rig;
	struct err err = {0};

	(void)state;
	for (int i = 1; i <= 2; i++) {
		char name[16], image[16];

		(void)snprintf(name, sizeof(name), "two%d.abide", i);
		(void)snprintf(image, sizeof(image), "%d.img", i);
		options = bundles_options(&b);
		options.output = bundles_path(&b, name);
		options.version = i == 1 ? "1" : "2";
		options.image_count = 2;
		options.images[0] = (struct bundle_image){"app", bundles_path(&b, image)};
		options.images[1] = (struct bundle_image){
			"rootfs", bundles_path(&b, i == 1 ? "2.img" : "1.img")};
		if (bundle_create(&options, &made, &err) < 0)
			fail_msg("%s", err.msg);
	}
	rig_init(&rig, &b, 2, SLOT_SIZE);
	rig_seal_factory(&rig, bundles_path(&b, "two1.abide"));
	must_install(&rig, "two2.abide", &result);
	assert_memory_equal(rig_slot(&rig, 0, GROUP_B), image1, IMAGE_SIZE);
	assert_memory_equal(rig_slot(&rig, 1, GROUP_B), image2, IMAGE_SIZE);
	/* The first slot is proven, the second has drifted: both are written and proven anew. */
	must_install(&rig, "two1.abide", NULL);
	rig_slot(&rig, 1, GROUP_B)[IMAGE_SIZE / 2] ^= 1;
	must_install(&rig, "two2.abide", &result);
	assert_int_equal(result.action, PLAN_WRITE);
	assert_memory_equal(rig_slot(&rig, 1, GROUP_B), image2, IMAGE_SIZE);
	/* One slot of the group unsealed: the group holds nothing, and says so. */
	memset(rig_slot(&rig, 1, GROUP_B) + SLOT_SIZE - SEAL_SPACE, 0, SEAL_SPACE);
	view = rig_view(&rig);
	assert_int_equal(view.facts[GROUP_B].seal, SEAL_NONE);
	must_install(&rig, "two2.abide", &result);
	assert_int_equal(result.action, PLAN_WRITE);
	assert_int_equal(rig_view(&rig).facts[GROUP_B].seal, SEAL_SEALED);
	/* A bundle for one of the two slots would leave a mixed group. */
	assert_int_equal(rig_install(&rig, bundles_path(&b, "2.abide"), NULL, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	rig_finish(&rig);
}

static void test_install__plan_says_the_same_and_changes_nothing(void **state)
{
	const struct install_options options = {0};
	struct install_plan plan;
	struct rig rig;
	struct err err = {0};

	(void)state;
	rig_with_release_1(&rig);
	if (install_plan(&rig.device, bundles_path(&b, "2.abide"), &options, &plan, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(plan.action, PLAN_WRITE);
	assert_false(plan.refused);
	assert_true(plan.totals[0].fetch > 0);
	install_plan_finish(&plan);
	rig.device.compatible = "toaster";
	if (install_plan(&rig.device, bundles_path(&b, "2.abide"), &options, &plan, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(plan.refused);
	install_plan_finish(&plan);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_install__writes_seals_and_flips),
		cmocka_unit_test(test_install__again_writes_nothing),
		cmocka_unit_test(test_install__the_running_release_takes_a_flip_back),
		cmocka_unit_test(test_install__a_drifted_slot_is_written_again),
		cmocka_unit_test(test_install__a_sector_that_cannot_be_read_is_written_again),
		cmocka_unit_test(test_install__keeps_what_the_old_release_has_in_place),
		cmocka_unit_test(test_install__reuses_what_the_running_group_has),
		cmocka_unit_test(test_install__a_corrupt_seed_costs_one_fetch),
		cmocka_unit_test(test_install__a_seed_that_cannot_be_read_is_none),
		cmocka_unit_test(test_install__a_seed_that_changes_meanwhile_is_told),
		cmocka_unit_test(test_install__reuses_what_moved_within_the_slot),
		cmocka_unit_test(test_install__refusals_write_nothing),
		cmocka_unit_test(test_install__not_during_a_trial),
		cmocka_unit_test(test_install__a_rejected_build_is_remembered),
		cmocka_unit_test(test_install__repairs_a_group_that_does_not_boot_any_more),
		cmocka_unit_test(test_install__forced_where_it_lies_it_stays_rejected_until_good),
		cmocka_unit_test(test_install__interrupted_leaves_the_device_as_before),
		cmocka_unit_test(test_install__a_failing_medium_is_never_sealed),
		cmocka_unit_test(
			test_install__nothing_a_carrier_does_gets_unverified_bytes_written),
		cmocka_unit_test(test_install__two_slots_are_one_group),
		cmocka_unit_test(test_install__plan_says_the_same_and_changes_nothing),
	};

	return cmocka_run_group_tests_name("install", tests, setup, teardown);
}
