#include "tests/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/model.h"
#include "tests/must.h"
#include "updater/fs.h"

static const char *const CLASSES[RIG_CLASSES_MAX] = {"rootfs", "app"};

static int open_slot(const struct device *device, size_t class, enum group group, bool target,
	struct blockdev **ret, struct err *err)
{
	const struct rig *rig = device->open_slot_arg;

	(void)err;
	/* The one thing an installer must never ask for. */
	assert_false(target && group == device->booted);
	*ret = recorder_open(rig->rec, rig->slot[class][group]);
	return 0;
}

static void open_boot(struct rig *rig)
{
	struct blockdev *env = recorder_open(rig->rec, rig->env);
	struct blockdev *spare = recorder_open(rig->rec, rig->spare);
	struct err err = {0};

	must(grub_open_on(&env, &spare, &rig->device.boot, &err), &err);
}

static void make_paths(struct rig *rig)
{
	struct err err = {0};

	must(fs_join(rig->bundles->dir, "state", rig->state_dir, sizeof(rig->state_dir), &err),
		&err);
	must(fs_join(rig->bundles->dir, "run", rig->run_dir, sizeof(rig->run_dir), &err), &err);
	must(fs_join(rig->bundles->dir, "health.d", rig->health_dir, sizeof(rig->health_dir), &err),
		&err);
}

static void make_device(struct rig *rig)
{
	rig->device = (struct device){
		.compatible = BUNDLES_COMPATIBLE,
		.hardware = "",
		.state_dir = rig->state_dir,
		.run_dir = rig->run_dir,
		.health_dir = rig->health_dir,
		.health_timeout = 10,
		.trial_attempts = 3,
		.trust = {.roots = rig->bundles->root, .threshold = 1},
		.carrier = {.stall_timeout = 20},
		.booted = GROUP_A,
		.class_count = rig->class_count,
		.open_slot = open_slot,
		.open_slot_arg = rig,
	};
	for (size_t i = 0; i < rig->class_count; i++)
		(void)snprintf(rig->device.classes[i].name, sizeof(rig->device.classes[i].name),
			"%s", CLASSES[i]);
	open_boot(rig);
}

void rig_init(struct rig *rig, const struct bundles *bundles, size_t class_count, size_t slot_size)
{
	const struct boot_state factory = {.group[GROUP_A] = {.good = true}, .primary = GROUP_A};
	uint8_t block[GRUB_ENV_LEN];
	struct err err = {0};

	*rig = (struct rig){.bundles = bundles, .class_count = class_count, .owns_rec = true};
	rig->rec = recorder_new();
	for (size_t i = 0; i < class_count; i++)
		for (unsigned int g = 0; g < GROUP_COUNT; g++)
			rig->slot[i][g] = recorder_add(
				rig->rec, g ? "slot b" : "slot a", slot_size, NULL, true);
	must(grub_env_format(&factory, NULL, block, &err), &err);
	rig->env = recorder_add(rig->rec, "grubenv", sizeof(block), block, false);
	rig->spare = recorder_add(rig->rec, "grubenv.spare", sizeof(block), block, false);
	make_paths(rig);
	make_device(rig);
}

void rig_adopt(struct rig *rig, const struct rig *like, struct recorder *rec)
{
	*rig = *like;
	rig->rec = rec;
	rig->owns_rec = false;
	make_device(rig);
	rig->device.booted = like->device.booted;
}

void rig_finish(struct rig *rig)
{
	device_close(&rig->device);
	if (rig->owns_rec)
		recorder_free(&rig->rec);
}

uint8_t *rig_slot(struct rig *rig, size_t class, enum group group)
{
	return recorder_content(rig->rec, rig->slot[class][group]);
}

size_t rig_slot_size(const struct rig *rig)
{
	return recorder_size(rig->rec, rig->slot[0][0]);
}

struct device_view rig_view(struct rig *rig)
{
	struct device_view view = {0};
	struct err err = {0};

	must(device_examine(&rig->device, &view, &err), &err);
	return view;
}

int rig_install(struct rig *rig, const char *bundle, struct install_result *ret, struct err *err)
{
	const struct install_options options = {0};
	struct install_result ignored;

	return install_run(&rig->device, bundle, &options, ret ? ret : &ignored, err);
}

/* Installed into b by the installer itself, and then the groups change places: what a factory
 * writes is what an update writes. */
void rig_seal_factory(struct rig *rig, const char *bundle)
{
	const struct boot_state factory = {.group[GROUP_A] = {.good = true}, .primary = GROUP_A};
	size_t size = rig_slot_size(rig);
	struct err err = {0};

	must(rig_install(rig, bundle, NULL, &err), &err);
	for (size_t i = 0; i < rig->class_count; i++) {
		memcpy(rig_slot(rig, i, GROUP_A), rig_slot(rig, i, GROUP_B), size);
		memset(rig_slot(rig, i, GROUP_B), 0, size);
	}
	must(bootloader_commit(rig->device.boot, &factory, &err), &err);
	recorder_forget(rig->rec);
}

enum group rig_boot(struct rig *rig)
{
	uint8_t *env = recorder_content(rig->rec, rig->env);
	uint8_t block[GRUB_ENV_LEN];
	char note[PATH_MAX];
	struct boot_state boot = {0};
	enum group group = GROUP_A;
	struct err err = {0};

	must(grub_env_parse(env, &boot, &err), &err);
	assert_true(boot_model_boot(&boot, &group));
	must(grub_env_format(&boot, env, block, &err), &err);
	memcpy(env, block, sizeof(block));
	rig->device.booted = group;
	must(fs_join(rig->run_dir, "flipped", note, sizeof(note), &err), &err);
	(void)unlink(note); /* /run does not outlive a boot */
	return group;
}
