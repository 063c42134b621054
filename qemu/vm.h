/*
 * vm - a virtual device that really boots: QEMU with one of the machines of vm_device.h, its
 * firmware, one disk, a network whose host is 10.0.2.2, and two serial lines.
 *
 *	vm_accel_probe -> vm_start -> vm_wait / vm_run / vm_reset ... -> vm_cut
 *
 * The first line is the console: bootloader, kernel and init write there, vm_wait() looks for a text in
 * it, and everything is kept in DIRECTORY/console.log. The second is a command channel: a raw shell
 * of the device's init, over which vm_run() runs one command and gets its output and exit status,
 * undisturbed by kernel messages.
 *
 * Every wait has a limit in seconds; past it the call fails with the end of the console in the
 * message. The child dies with this process, however it ends.
 */
#ifndef ABIDE_QEMU_VM_H
#define ABIDE_QEMU_VM_H

#include <stdbool.h>
#include <stddef.h>

#include "qemu/vm_device.h"
#include "updater/err.h"

#define VM_OUTPUT_MAX (64u << 10)

enum vm_accel {
	VM_ACCEL_TCG, /* emulation: works everywhere, a boot takes 7-10 s */
	VM_ACCEL_KVM,
};

/* KVM only where the host has the device's architecture and really boots a guest (a /dev/kvm that
 * opens may still not): `kernel` with `initrd` must reach the initramfs within 15 s.
 * ABIDE_QEMU_ACCEL=tcg|kvm in the environment decides instead. */
enum vm_accel vm_accel_probe(const struct vm_device *device, const char *kernel, const char *initrd,
	const char *directory);
const char *vm_accel_name(enum vm_accel accel);

struct vm_options {
	const struct vm_device *device;
	const char *out; /* the device's folder */
	const char *disk; /* raw image, written to */
	/* Every write, flush and discard of the disk is appended to this file (write_log.h); or
	 * NULL. */
	const char *write_log;
	const char *directory; /* exists: for the firmware's variables and the logs */
	enum vm_accel accel;
	/* Called with a command's output as it arrives; or NULL. */
	void (*on_output)(void *arg, const char *data, size_t len);
	void *on_output_arg;
};

struct vm;

struct vm_result {
	int status; /* the command's exit status */
	size_t len;
	char output[VM_OUTPUT_MAX + 1]; /* stdout and stderr as a terminal saw them, NUL-ended */
};

int vm_start(const struct vm_options *options, struct vm **ret, struct err *err);
/* Until `text` appears on the console after what earlier calls have matched. */
int vm_wait(struct vm *vm, const char *text, unsigned int seconds, struct err *err);
/* Whether `text` has been on the console since vm_start(), or the last vm_forget(). */
bool vm_seen(const struct vm *vm, const char *text);
void vm_forget(struct vm *vm);
/* A non-zero exit status of the command is a success of this call. */
int vm_run(struct vm *vm, const char *command, unsigned int seconds, struct vm_result *ret,
	struct err *err);
/* Sends a command without waiting for its end: for one that reboots, or that will be cut. */
int vm_send(struct vm *vm, const char *command, struct err *err);
/* Until a command sent has written `text`. */
int vm_wait_output(struct vm *vm, const char *text, unsigned int seconds, struct err *err);
/* What a hardware watchdog would do. */
int vm_reset(struct vm *vm, struct err *err);
/* Stops the machine dead, as a hang with interrupts off; vm_reset() starts it again. */
int vm_freeze(struct vm *vm, struct err *err);
/* Of a processor, that QEMU has used so far; of NULL none. */
double vm_processor_seconds(const struct vm *vm);
/* The power cut, also the end: SIGKILL. Takes the vm. */
void vm_cut(struct vm **vm);

#endif
