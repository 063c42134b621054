/*
 * rig - a virtual device with a web server beside it, and what a scenario does and expects.
 *
 *	rig_init -> rig_new_disk -> rig_power_on -> rig_abide, rig_status, rig_reboot ... ->
 *	rig_finish
 *
 * Every call fails with an err that says what was expected and what came instead; a scenario is a
 * chain of them. What releases.sh made is read from OUT/DEVICE; disk and logs of this run are in
 * OUT/DEVICE/WORK.
 */
#ifndef ABIDE_QEMU_RIG_H
#define ABIDE_QEMU_RIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "qemu/vm.h"
#include "qemu/web.h"
#include "updater/digest.h"
#include "updater/err.h"

/* A good release that releases.sh makes. */
struct release {
	const char *bundle;
	const char *version;
};

struct rig {
	const struct vm_device *device;
	char out[PATH_MAX / 2];
	char work[PATH_MAX - 64];
	char disk[PATH_MAX];
	char write_log[PATH_MAX]; /* where the disk's writes are recorded; "": nowhere, */
	bool updated, reverted; /* the device has been, since it left the factory */
	bool recorded; /* the log is complete */
	enum vm_accel accel;
	struct web *web;
	struct vm *vm; /* NULL: it is off */
	struct vm_result result; /* of the last command */
	char here[2]; /* set by rig_ready(): the group that runs, */
	char there[2]; /* the other one, */
	char version[16]; /* the release that runs, */
	char other_version[16]; /* and the one in the other group; "": none */
	bool quiet; /* the running command is not for show */
	/* The show: commands with their output as it comes; NULL in tests. */
	void (*show)(const char *data, size_t len);
};

/* `show` may be NULL. */
int rig_init(struct rig *rig, const struct vm_device *device, const char *out, const char *work,
	void (*show)(const char *data, size_t len), struct err *err);
void rig_finish(struct rig *rig);

/* Switches off and puts a factory disk in, and firmware that has no variables yet. Its writes are
 * recorded if no record is complete yet. */
int rig_new_disk(struct rig *rig, struct err *err);
/* Where the record is, or will be. */
int rig_write_log(const struct rig *rig, char ret[static PATH_MAX], struct err *err);
/* Until release `version` is up and its abide-confirm was satisfied. */
int rig_power_on(struct rig *rig, const char *version, struct err *err);
int rig_wait_up(struct rig *rig, const char *version, struct err *err);
/* Switches on and waits for nothing. */
int rig_start(struct rig *rig, struct err *err);
/* Until the console says `text`, within the time that a boot may take. */
int rig_wait(struct rig *rig, const char *text, struct err *err);
/* Until the bootloader has counted a trial down; where it does not say that, until it runs. */
int rig_wait_counted(struct rig *rig, struct err *err);
/* A device that runs a confirmed group and will start it again: the one that runs, if that is so,
 * else one from the factory. Fills in here, there and the versions. */
int rig_ready(struct rig *rig, struct err *err);
/* One that neither group holds. */
const struct release *rig_next_release(const struct rig *rig);
/* Keeps console and disk of what failed in OUT/DEVICE/failed/NAME, and says so in err. */
void rig_capture(struct rig *rig, const char *name, struct err *err);
void rig_cut_power(struct rig *rig);
/* Orders a reboot and waits for nothing. */
int rig_order_reboot(struct rig *rig, struct err *err);

/* For show: a line about what is happening. */
void rig_tell(const struct rig *rig, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Runs a shell command on the device; its exit status has to be `status`. */
int rig_run(struct rig *rig, int status, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* As rig_run, for show: `abide ...`. */
int rig_abide(struct rig *rig, int status, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Begins `abide install` of a bundle at 3 MiB/s and returns when its progress bar for the rootfs has come
 * to `bar`. */
int rig_begin_slow_install(struct rig *rig, const char *bundle, const char *bar, struct err *err);
/* `abide install` of a bundle from the web server. */
int rig_install(
	struct rig *rig, const char *options, const char *bundle, int status, struct err *err);
/* As rig_install, with so many trial boots instead of what the running release gives. */
int rig_install_with_tries(
	struct rig *rig, unsigned int tries, const char *bundle, struct err *err);

/* The last command's output has to contain `text`. */
int rig_expect(struct rig *rig, const char *text, struct err *err);
/* `abide status --json` has to contain each of the texts (NULL ends them). */
int rig_status(struct rig *rig, const char *const texts[], struct err *err);
/* The SHA-256 of a group's whole partition, seal and free space included. */
int rig_slot_digest(struct rig *rig, const char *group, struct digest *ret, struct err *err);

#endif
