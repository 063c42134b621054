#include "qemu/rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu/sparse.h"
#include "updater/fs.h"
#include "updater/mem.h"

/* Seconds. A boot takes 2 with KVM, 8 emulated, and far more where others use the processors. */
#define BOOT_LIMIT    300u
#define COMMAND_LIMIT 120u
#define INSTALL_LIMIT 900u /* an emulated SD card does 1-3 MiB/s where others use the processors */
#define COMMAND_MAX   1024u

static void on_output(void *arg, const char *data, size_t len)
{
	const struct rig *rig = arg;

	if (rig->show && !rig->quiet)
		rig->show(data, len);
}

static int make_paths(struct rig *rig, const char *out, const char *work, struct err *err)
{
	CLEANUP(cleanup_free) char *absolute = NULL;
	char folder[PATH_MAX];

	if (fs_join(out, rig->device->name, folder, sizeof(folder), err) < 0)
		return -1;
	absolute = realpath(folder, NULL);
	if (!absolute)
		return err_errno(
			err, "'%s': run qemu/releases.sh %s first", folder, rig->device->name);
	if ((size_t)snprintf(rig->out, sizeof(rig->out), "%s", absolute) >= sizeof(rig->out))
		return err_set(err, FAIL_USAGE, "'%s' is too long", absolute);
	if (fs_join(rig->out, work, rig->work, sizeof(rig->work), err) < 0 ||
		fs_join(rig->work, "disk.img", rig->disk, sizeof(rig->disk), err) < 0)
		return -1;
	return fs_make_dirs(rig->work, 0755, err);
}

int rig_init(struct rig *rig, const struct vm_device *device, const char *out, const char *work,
	void (*show)(const char *data, size_t len), struct err *err)
{
	char kernel[PATH_MAX], initrd[PATH_MAX], www[PATH_MAX], log[PATH_MAX];

	rig->device = device;
	rig->show = show;
	if (make_paths(rig, out, work, err) < 0 ||
		fs_join(rig->out, "vmlinuz", kernel, sizeof(kernel), err) < 0 ||
		fs_join(rig->out, "probe.cpio", initrd, sizeof(initrd), err) < 0 ||
		fs_join(rig->out, "www", www, sizeof(www), err) < 0 ||
		fs_join(rig->work, "console.log", log, sizeof(log), err) < 0)
		return -1;
	(void)remove(log); /* of an earlier run, if there was one */
	rig->accel = vm_accel_probe(device, kernel, initrd, rig->work);
	return web_start(www, rig->work, &rig->web, err);
}

void rig_finish(struct rig *rig)
{
	vm_cut(&rig->vm);
	web_stop(&rig->web);
}

/* ---- power ---- */

int rig_write_log(const struct rig *rig, char ret[static PATH_MAX], struct err *err)
{
	return fs_join(rig->work, "writes.log", ret, PATH_MAX, err);
}

int rig_new_disk(struct rig *rig, struct err *err)
{
	char path[PATH_MAX];

	vm_cut(&rig->vm);
	rig->updated = rig->reverted = false;
	rig->write_log[0] = '\0';
	if (fs_join(rig->work, "vars.fd", path, sizeof(path), err) < 0)
		return -1;
	(void)remove(path); /* if there was one */
	if (!rig->recorded) {
		if (rig_write_log(rig, rig->write_log, err) < 0)
			return -1;
		(void)remove(rig->write_log); /* likewise */
	}
	if (fs_join(rig->out, "factory.img", path, sizeof(path), err) < 0)
		return -1;
	return sparse_copy(path, rig->disk, err);
}

int rig_wait(struct rig *rig, const char *text, struct err *err)
{
	return vm_wait(rig->vm, text, BOOT_LIMIT, err);
}

int rig_wait_counted(struct rig *rig, struct err *err)
{
	return rig_wait(
		rig, rig->device->counted ? rig->device->counted : rig->device->loader, err);
}

int rig_wait_up(struct rig *rig, const char *version, struct err *err)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "release %s is up, confirm says 0", version);
	return rig_wait(rig, text, err);
}

int rig_start(struct rig *rig, struct err *err)
{
	const struct vm_options options = {
		.device = rig->device,
		.out = rig->out,
		.disk = rig->disk,
		.write_log = rig->write_log[0] ? rig->write_log : NULL,
		.directory = rig->work,
		.accel = rig->accel,
		.on_output = on_output,
		.on_output_arg = rig,
	};

	return vm_start(&options, &rig->vm, err);
}

int rig_power_on(struct rig *rig, const char *version, struct err *err)
{
	if (rig_start(rig, err) < 0)
		return -1;
	return rig_wait_up(rig, version, err);
}

void rig_cut_power(struct rig *rig)
{
	vm_cut(&rig->vm);
}

int rig_order_reboot(struct rig *rig, struct err *err)
{
	vm_forget(rig->vm);
	return vm_send(rig->vm, "reboot", err);
}

/* ---- commands ---- */

static int run(struct rig *rig, const char *command, int status, struct err *err)
{
	if (vm_run(rig->vm, command, INSTALL_LIMIT, &rig->result, err) < 0)
		return -1;
	if (rig->result.status != status)
		return err_set(err, FAIL_STATE, "'%.200s': exit status %d expected, was %d: %.200s",
			command, status, rig->result.status, rig->result.output);
	return 0;
}

int rig_run(struct rig *rig, int status, struct err *err, const char *fmt, ...)
{
	char command[COMMAND_MAX];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	rig->quiet = true;
	return run(rig, command, status, err);
}

void rig_tell(const struct rig *rig, const char *fmt, ...)
{
	char line[COMMAND_MAX];
	va_list args;

	if (!rig->show)
		return;
	va_start(args, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	rig->show(line, strlen(line));
	rig->show("\n", 1);
}

int rig_abide(struct rig *rig, int status, struct err *err, const char *fmt, ...)
{
	char command[COMMAND_MAX] = "abide ";
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(command + 6, sizeof(command) - 6, fmt, args);
	va_end(args);
	rig->quiet = false;
	rig_tell(rig, "device# %s", command);
	return run(rig, command, status, err);
}

int rig_install(
	struct rig *rig, const char *options, const char *bundle, int status, struct err *err)
{
	return rig_abide(rig, status, err, "install %s%shttp://10.0.2.2:%u/%s.abide", options,
		options[0] ? " " : "", (unsigned int)web_port(rig->web), bundle);
}

int rig_install_with_tries(struct rig *rig, unsigned int tries, const char *bundle, struct err *err)
{
	if (rig_run(rig, 0, err,
		    "sed 's/^trial-attempts.*/trial-attempts = %u/' /etc/abide/system.conf "
		    ">/tmp/system.conf && grep -q 'attempts = %u' /tmp/system.conf",
		    tries, tries) < 0)
		return -1;
	return rig_abide(rig, 0, err, "-c /tmp/system.conf install http://10.0.2.2:%u/%s.abide",
		(unsigned int)web_port(rig->web), bundle);
}

int rig_begin_slow_install(struct rig *rig, const char *bundle, const char *bar, struct err *err)
{
	char command[COMMAND_MAX];

	(void)snprintf(command, sizeof(command), "abide install http://10.0.2.2:%u/slow/%s.abide",
		(unsigned int)web_port(rig->web), bundle);
	rig->quiet = true;
	if (vm_send(rig->vm, command, err) < 0)
		return -1;
	if (vm_wait_output(rig->vm, "writing rootfs", COMMAND_LIMIT, err) < 0)
		return -1;
	return vm_wait_output(rig->vm, bar, COMMAND_LIMIT, err);
}

/* ---- readiness ---- */

static const struct release RELEASES[] = {
	{"release-1", "1.0.0"}, {"release-2", "2.0.0"}, {"other", "7.0.0"}};

const struct release *rig_next_release(const struct rig *rig)
{
	size_t i = 0;

	/* Three releases, two groups: one is left. */
	while (strcmp(RELEASES[i].version, rig->version) == 0 ||
		strcmp(RELEASES[i].version, rig->other_version) == 0)
		i++;
	return &RELEASES[i];
}

/* The string behind `key` in a piece of JSON; "" if that is something else, or not there. */
static void string_of(const char *json, const char *key, char *ret, size_t cap)
{
	const char *at = json ? strstr(json, key) : NULL;
	size_t len = 0;

	ret[0] = '\0';
	if (!at || at[strlen(key)] != '"')
		return;
	at += strlen(key) + 1;
	len = strcspn(at, "\"");
	if (len >= cap)
		return;
	memcpy(ret, at, len);
	ret[len] = '\0';
}

static void version_of(const struct rig *rig, const char *group, char *ret, size_t cap)
{
	char name[16];

	(void)snprintf(name, sizeof(name), "\"%s\":{\"good\"", group);
	string_of(strstr(rig->result.output, name), "\"version\":", ret, cap);
}

/* Whether it runs a confirmed group and will start it again. */
static bool is_ready(struct rig *rig, struct err *err)
{
	char next[2], good[32];

	if (!rig->vm || rig_run(rig, 0, err, "abide status --json") < 0)
		return false;
	string_of(rig->result.output, "\"booted\":", rig->here, sizeof(rig->here));
	string_of(rig->result.output, "\"next\":", next, sizeof(next));
	(void)snprintf(good, sizeof(good), "\"%s\":{\"good\":true", rig->here);
	if (!rig->here[0] || strcmp(rig->here, next) != 0 || !strstr(rig->result.output, good))
		return false;
	(void)snprintf(rig->there, sizeof(rig->there), "%s", rig->here[0] == 'a' ? "b" : "a");
	version_of(rig, rig->here, rig->version, sizeof(rig->version));
	version_of(rig, rig->there, rig->other_version, sizeof(rig->other_version));
	vm_forget(rig->vm);
	return true;
}

int rig_ready(struct rig *rig, struct err *err)
{
	if (is_ready(rig, err))
		return 0;
	if (rig_new_disk(rig, err) < 0 || rig_power_on(rig, "1.0.0", err) < 0)
		return -1;
	if (is_ready(rig, err))
		return 0;
	return err_set(err, FAIL_STATE, "a device from the factory is not ready: %.300s",
		rig->result.output);
}

void rig_capture(struct rig *rig, const char *name, struct err *err)
{
	char folder[PATH_MAX], path[PATH_MAX], log[PATH_MAX];
	struct err ignored; /* what failed is told all the same */

	vm_cut(&rig->vm);
	if (snprintf(folder, sizeof(folder), "%s/failed/%s", rig->out, name) <
			(int)sizeof(folder) &&
		fs_make_dirs(folder, 0755, &ignored) == 0 &&
		fs_join(rig->work, "console.log", log, sizeof(log), &ignored) == 0 &&
		fs_join(folder, "console.log", path, sizeof(path), &ignored) == 0 &&
		sparse_copy(log, path, &ignored) == 0 &&
		fs_join(folder, "disk.img", path, sizeof(path), &ignored) == 0 &&
		sparse_copy(rig->disk, path, &ignored) == 0)
		(void)err_wrap(err, "console and disk: '%s'", folder);
}

/* ---- expectations ---- */

int rig_expect(struct rig *rig, const char *text, struct err *err)
{
	if (strstr(rig->result.output, text))
		return 0;
	return err_set(err, FAIL_STATE, "'%s' expected in: %.300s", text, rig->result.output);
}

int rig_status(struct rig *rig, const char *const texts[], struct err *err)
{
	if (rig_run(rig, 0, err, "abide status --json") < 0)
		return -1;
	for (size_t i = 0; texts[i]; i++)
		if (rig_expect(rig, texts[i], err) < 0)
			return err_wrap(err, "abide status");
	return 0;
}

int rig_slot_digest(struct rig *rig, const char *group, struct digest *ret, struct err *err)
{
	if (rig_run(rig, 0, err,
		    "echo 3 >/proc/sys/vm/drop_caches; "
		    "sha256sum </dev/disk/by-partlabel/rootfs-%s",
		    group) < 0)
		return -1;
	if (rig->result.len < DIGEST_HEX_LEN)
		return err_set(err, FAIL_IO, "no digest: %.200s", rig->result.output);
	rig->result.output[DIGEST_HEX_LEN] = '\0';
	if (!digest_from_hex(rig->result.output, ret))
		return err_set(err, FAIL_IO, "no digest: %.200s", rig->result.output);
	return 0;
}
