#include "updater/device.h"

#include <stdio.h>
#include <string.h>

#include "updater/fs.h"
#include "updater/header.h"
#include "updater/index.h"
#include "updater/log.h"
#include "updater/readback.h"
#include "updater/since_boot.h"
#include "updater/slot.h"

#define CMDLINE_MAX (64u << 10)
#define GROUP_PARAM "abide.group="

void device_slot_name(
	const struct device *device, size_t class, enum group group, char *ret, size_t cap)
{
	(void)snprintf(ret, cap, "%s.%s", device->classes[class].name, group_name(group));
}

int device_class_find(const struct device *device, const char *class)
{
	for (size_t i = 0; i < device->class_count; i++)
		if (strcmp(device->classes[i].name, class) == 0)
			return (int)i;
	return -1;
}

/* One device under two names (a link, a label and a path) passes the configuration. As a target it
 * would be another slot overwritten: of the running group, or of this one. */
static int check_alone(const struct device *device, size_t class, enum group group,
	const char *path, struct err *err)
{
	for (size_t i = 0; i < device->class_count; i++) {
		for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
			char other[PATH_MAX], name[MANIFEST_CLASS_MAX + 3];
			struct err ignored; /* what cannot be found is not this device */

			if ((i == class && g == group) ||
				slot_resolve(device->classes[i].device[g], other, &ignored) < 0 ||
				!slot_is_same(path, other))
				continue;
			device_slot_name(device, i, g, name, sizeof(name));
			return err_set(err, FAIL_USAGE,
				"'%s' is the device of slot '%s', too: give each slot its own in "
				"the configuration",
				path, name);
		}
	}
	return 0;
}

static int open_configured_slot(const struct device *device, size_t class, enum group group,
	bool target, struct blockdev **ret, struct err *err)
{
	char path[PATH_MAX];

	if (slot_resolve(device->classes[class].device[group], path, err) < 0)
		return -1;
	if (!target)
		return slot_open(path, ret, err);
	if (check_alone(device, class, group, path, err) < 0)
		return -1;
	return slot_open_target(path, ret, err);
}

/* ---- which group runs ---- */

static bool group_of_root(const struct device *device, enum group *ret)
{
	struct err ignored;

	for (size_t i = 0; i < device->class_count; i++) {
		for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
			char path[PATH_MAX];

			/* A slot that cannot be found does not hold the running root. */
			if (slot_resolve(device->classes[i].device[g], path, &ignored) < 0)
				continue;
			if (slot_is_running(path)) {
				*ret = g;
				return true;
			}
		}
	}
	return false;
}

/* abide.group=X as the boot script passed it. */
static bool group_of_cmdline(enum group *ret)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	struct err ignored; /* no /proc: the root device decides */
	char *save = NULL;

	if (fs_read_file("/proc/cmdline", CMDLINE_MAX, &text, &ignored) < 0)
		return false;
	for (char *word = strtok_r((char *)text.data, " \n", &save); word;
		word = strtok_r(NULL, " \n", &save))
		if (strncmp(word, GROUP_PARAM, strlen(GROUP_PARAM)) == 0)
			return group_parse(word + strlen(GROUP_PARAM), ret);
	return false;
}

static int find_booted(
	const struct config *config, const struct device *device, enum group *ret, struct err *err)
{
	enum group by_root = GROUP_A, by_cmdline = GROUP_A;
	bool has_root = group_of_root(device, &by_root);
	bool has_cmdline = group_of_cmdline(&by_cmdline);

	if (config->booted_set) {
		if (has_root && by_root != config->booted)
			return err_set(err, FAIL_STATE,
				"'%s' says booted = %s, but the running root is on a slot of group "
				"%s",
				config->path, group_name(config->booted), group_name(by_root));
		if (has_cmdline && by_cmdline != config->booted)
			return err_set(err, FAIL_STATE,
				"'%s' says booted = %s, but the kernel command line "
				"says " GROUP_PARAM "%s",
				config->path, group_name(config->booted), group_name(by_cmdline));
		*ret = config->booted;
		return 0;
	}
	if (has_root && has_cmdline && by_root != by_cmdline)
		return err_set(err, FAIL_STATE,
			"the kernel command line says " GROUP_PARAM
			"%s, but the running root is on a slot of group %s",
			group_name(by_cmdline), group_name(by_root));
	if (!has_root && !has_cmdline)
		return err_set(err, FAIL_STATE,
			"cannot tell which group runs: no " GROUP_PARAM
			"a or b on the kernel command line, and the root file system is on no "
			"slot of '%s'",
			config->path);
	*ret = has_cmdline ? by_cmdline : by_root;
	return 0;
}

/* ---- opening ---- */

static void adopt_slots(const struct config *config, struct device *device)
{
	for (size_t i = 0; i < config->slot_count; i++) {
		const struct config_slot *slot = &config->slots[i];
		int found = device_class_find(device, slot->class);
		size_t class = found < 0 ? device->class_count++ : (size_t)found;

		memcpy(device->classes[class].name, slot->class, sizeof(slot->class));
		device->classes[class].device[slot->group] = slot->device;
	}
}

static int open_bootloader(const struct config *config, struct device *device, struct err *err)
{
	struct hook_settings settings = config->boot; /* borrowed, but for what follows */

	settings.booted = device->booted;
	if (config->hook)
		return config->hook->open(&settings, &device->boot, err);
	return hook_open_auto(&settings, "", &device->boot, device->boot_why, err);
}

int device_open(const struct config *config, struct device *ret, struct err *err)
{
	struct device device = {
		.compatible = config->compatible,
		.hardware = config->hardware,
		.state_dir = config->state_dir,
		.run_dir = config->run_dir,
		.health_dir = config->health_dir,
		.health_timeout = config->health_timeout,
		.trial_attempts = config->trial_attempts,
		.trust = {.roots = config->roots,
			.crl = config->crl,
			.threshold = config->threshold},
		.carrier = {.user = config->carrier_user,
			.ca_file = config->ca_file,
			.stall_timeout = config->stall_timeout,
			.min_rate = config->min_rate,
			.retries = config->retries},
		.open_slot = open_configured_slot,
	};

	adopt_slots(config, &device);
	if (find_booted(config, &device, &device.booted, err) < 0 ||
		open_bootloader(config, &device, err) < 0)
		return -1;
	*ret = device;
	return 0;
}

void device_close(struct device *device)
{
	if (device)
		bootloader_close(&device->boot);
}

/* ---- examining ---- */

struct trust device_trust(const struct device *device, const struct device_view *view)
{
	struct trust trust = device->trust;

	trust.seen = view->state.seen;
	return trust;
}

struct trust device_trust_installed(const struct device *device)
{
	struct trust trust = device->trust;

	trust.installed = true;
	return trust;
}

int device_read_header(const struct device *device, struct blockdev *slot, const struct seal *seal,
	struct header *ret_header, struct trusted **ret_trusted, struct manifest **ret_manifest,
	struct err *err)
{
	CLEANUP(header_finish) struct header header = {0};
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	const struct trust trust = device_trust_installed(device);

	if (seal_read_header(slot, seal, &header, err) < 0 ||
		signature_verify(&trust, &header.manifest, &header.signature, &trusted, err) < 0 ||
		manifest_parse(trusted, &manifest, err) < 0)
		return -1;
	if (!digest_equal(trusted_id(trusted), &seal->artifact))
		return err_set(err, FAIL_DRIFT,
			"the seal of '%s' names another artifact than its header", slot->name);
	if (header.index_count != manifest->image_count)
		return err_set(err, FAIL_DRIFT, "the header in '%s' has %zu indexes for %zu images",
			slot->name, header.index_count, manifest->image_count);
	*ret_manifest = steal_ptr(&manifest);
	if (ret_trusted)
		*ret_trusted = steal_ptr(&trusted);
	if (ret_header) {
		*ret_header = header;
		header = (struct header){0};
	}
	return 0;
}

static void remember_rejected(struct group_facts *facts, const struct seal *seal)
{
	for (uint32_t i = 0; i < seal->rejected_count; i++) {
		bool known = false;

		for (uint32_t k = 0; k < facts->rejected_count; k++)
			known = known || digest_equal(&facts->rejected[k], &seal->rejected[i]);
		if (!known && facts->rejected_count < SEAL_REJECTED_MAX)
			facts->rejected[facts->rejected_count++] = seal->rejected[i];
	}
}

/* All slots of a group taken together: sealed only if each is, with one artifact, each under its
 * own class. */
static void join_seals(const struct device *device, enum group group, struct device_view *view)
{
	struct group_facts *facts = &view->facts[group];
	const struct seal *seals = view->seals[group];
	bool all = device->class_count > 0, any_writing = false;

	for (size_t i = 0; i < device->class_count; i++) {
		const struct seal *seal = &seals[i];

		remember_rejected(facts, seal);
		any_writing = any_writing || seal->state == SEAL_WRITING;
		all = all && seal->state == SEAL_SEALED &&
		      strcmp(seal->class, device->classes[i].name) == 0 &&
		      digest_equal(&seal->artifact, &seals[0].artifact);
	}
	facts->seal = all ? SEAL_SEALED : any_writing ? SEAL_WRITING : SEAL_NONE;
	if (facts->seal == SEAL_SEALED)
		facts->artifact = seals[0].artifact;
	for (size_t i = 0; facts->seal == SEAL_WRITING && i < device->class_count; i++)
		if (seals[i].state == SEAL_WRITING)
			facts->artifact = seals[i].artifact;
}

/* A build that failed here once, was tried again by force and passed is not rejected any more. */
static void forgive_good(struct group_facts *facts)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < facts->rejected_count; i++)
		if (!digest_equal(&facts->rejected[i], &facts->artifact))
			facts->rejected[kept++] = facts->rejected[i];
	facts->rejected_count = kept;
}

static int prove_group(
	const struct device *device, enum group group, struct device_view *view, struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *slot = NULL;
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	struct group_facts *facts = &view->facts[group];

	if (device->open_slot(device, 0, group, false, &slot, err) < 0 ||
		device_read_header(
			device, slot, &view->seals[group][0], NULL, NULL, &manifest, err) < 0)
		return -1;
	facts->proven = true;
	facts->security_version = manifest->security_version;
	facts->created = manifest->created_time;
	memcpy(facts->version, manifest->version, sizeof(facts->version));
	return 0;
}

static int read_seal(const struct device *device, size_t class, enum group group, struct seal *ret,
	struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *slot = NULL;

	if (device->open_slot(device, class, group, false, &slot, err) < 0)
		return -1;
	return seal_read(slot, ret, err);
}

static void examine_group(const struct device *device, enum group group, struct device_view *view)
{
	struct err *problem = &view->problem[group];
	struct err err = {0};
	char name[MANIFEST_CLASS_MAX + 3];

	for (size_t i = 0; i < device->class_count; i++) {
		if (read_seal(device, i, group, &view->seals[group][i], &err) == 0)
			continue;
		view->seals[group][i] = (struct seal){.state = SEAL_NONE};
		device_slot_name(device, i, group, name, sizeof(name));
		(void)err_wrap(&err, "slot '%s'", name);
		*problem = err;
	}
	join_seals(device, group, view);
	if (view->boot.group[group].good && view->facts[group].seal == SEAL_SEALED)
		forgive_good(&view->facts[group]);
	if (view->facts[group].seal == SEAL_SEALED && prove_group(device, group, view, &err) < 0)
		*problem = err;
}

int device_examine(const struct device *device, struct device_view *ret, struct err *err)
{
	struct device_view view = {0};

	if (bootloader_read(device->boot, &view.boot, err) < 0)
		return -1;
	memcpy(view.boot_note, device->boot->note, sizeof(view.boot_note));
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		examine_group(device, g, &view);
	view.state = state_derive(
		&view.boot, view.facts, device->booted, since_boot_flipped(device->run_dir));
	log_debug("state %s, booted %s", state_name(view.state.now), group_name(device->booted));
	*ret = view;
	return 0;
}

/* ---- the flip ---- */

int device_flip(const struct device *device, const struct boot_state *boot,
	const struct state *state, const struct readback_proof *const proofs[], size_t count,
	struct err *err)
{
	const struct boot_state next =
		edge_make_next(boot, state, bootloader_tries(device->boot, device->trial_attempts));
	enum group target = state->target;

	if (count != device->class_count || target == device->booted)
		return err_set(err, FAIL_STATE, "group %s is not proven: %zu of %zu slots",
			group_name(target), count, device->class_count);
	for (size_t i = 0; i < count; i++)
		if (!proofs[i] || strcmp(readback_class(proofs[i]), device->classes[i].name) != 0 ||
			!digest_equal(readback_artifact(proofs[i]), readback_artifact(proofs[0])))
			return err_set(err, FAIL_STATE, "slot '%s.%s' is not proven",
				device->classes[i].name, group_name(target));
	if (since_boot_note(device->run_dir, err) < 0)
		return -1;
	/* Every seal of the group is flushed. Power cut before this commit: the running group
	 * boots. After it: the target is tried. It is one write (bootloader.h), so there is no
	 * between. */
	return bootloader_commit(device->boot, &next, err);
}
