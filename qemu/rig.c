#include "qemu/rig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"

/* Seconds. A boot takes 2 with KVM, 8 emulated, and far more where others use the processors. */
#define BOOT_LIMIT    150u
#define COMMAND_LIMIT 120u
#define INSTALL_LIMIT 240u
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

int rig_new_disk(struct rig *rig, struct err *err)
{
	char program[] = "/bin/cp", sparse[] = "--sparse=always", from[PATH_MAX];
	char *const argv[] = {program, sparse, from, rig->disk, NULL};
	struct process_result result = {0};

	vm_cut(&rig->vm);
	if (fs_join(rig->out, "factory.img", from, sizeof(from), err) < 0 ||
		process_run(argv, COMMAND_LIMIT, &result, err) < 0)
		return -1;
	if (result.exit_status != 0)
		return err_set(err, FAIL_IO, "copy '%s': %.200s", from, result.output);
	return 0;
}

int rig_wait_up(struct rig *rig, const char *version, struct err *err)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "release %s is up, confirm says 0", version);
	return vm_wait(rig->vm, text, BOOT_LIMIT, err);
}

int rig_power_on(struct rig *rig, const char *version, struct err *err)
{
	const struct vm_options options = {
		.device = rig->device,
		.out = rig->out,
		.disk = rig->disk,
		.directory = rig->work,
		.accel = rig->accel,
		.on_output = on_output,
		.on_output_arg = rig,
	};

	if (vm_start(&options, &rig->vm, err) < 0)
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

int rig_begin_slow_install(struct rig *rig, const char *bundle, struct err *err)
{
	char command[COMMAND_MAX];

	(void)snprintf(command, sizeof(command), "abide install http://10.0.2.2:%u/slow/%s.abide",
		(unsigned int)web_port(rig->web), bundle);
	rig->quiet = true;
	if (vm_send(rig->vm, command, err) < 0)
		return -1;
	return vm_wait_output(rig->vm, "writing", COMMAND_LIMIT, err);
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
