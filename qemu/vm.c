#include "qemu/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qemu/lines.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define FIRMWARE      "/usr/share/OVMF/OVMF_CODE_4M.fd"
#define FIRMWARE_VARS "/usr/share/OVMF/OVMF_VARS_4M.fd"
#define FIRST_FD      3 /* of QEMU's inherited descriptors, in the order of enum line */
#define COMMAND_MAX   3500u
#define ARGUMENTS_MAX 64u
#define PROBE_SECONDS 15u
#define PROBE_MARKER  "initrd: no abide.group="
#define CONSOLE_TAIL  240u

struct vm {
	pid_t pid;
	struct lines lines;
	unsigned int sequence; /* of commands */
};

static int console_failed(
	const struct vm *vm, const char *what, const char *object, struct err *err)
{
	const struct text *text = &vm->lines.text[LINE_CONSOLE];
	size_t tail = text->len < CONSOLE_TAIL ? text->len : CONSOLE_TAIL;
	char printable[CONSOLE_TAIL + 1];

	mem_printable(text->data + text->len - tail, tail, printable, sizeof(printable));
	return err_wrap(err, "%s '%.120s' (console ends: %s)", what, object, printable);
}

int vm_wait(struct vm *vm, const char *text, unsigned int seconds, struct err *err)
{
	size_t at;

	if (lines_wait(&vm->lines, LINE_CONSOLE, text, seconds, &at, err) < 0)
		return console_failed(vm, "waiting for", text, err);
	return 0;
}

bool vm_seen(const struct vm *vm, const char *text)
{
	return strstr(vm->lines.text[LINE_CONSOLE].data, text) != NULL;
}

void vm_forget(struct vm *vm)
{
	lines_forget(&vm->lines, LINE_CONSOLE);
}

int vm_send(struct vm *vm, const char *command, struct err *err)
{
	char line[COMMAND_MAX + 1];
	int n;

	/* In a subshell, so that nothing it does to itself ends the channel. The marker is made by
	 * printf, so it is not in the command's own text. */
	n = snprintf(line, sizeof(line), "(%s\n) </dev/null; printf '\\001%%d %%d\\002' %u $?\n",
		command, ++vm->sequence);
	if (n < 0 || (size_t)n >= sizeof(line))
		return err_set(
			err, FAIL_USAGE, "a command of %d bytes: at most %u", n, COMMAND_MAX);
	lines_relay(&vm->lines);
	return lines_send(&vm->lines, LINE_CHANNEL, line, err);
}

int vm_wait_output(struct vm *vm, const char *text, unsigned int seconds, struct err *err)
{
	size_t at;

	if (lines_wait(&vm->lines, LINE_CHANNEL, text, seconds, &at, err) < 0)
		return console_failed(vm, "waiting for the output", text, err);
	return 0;
}

int vm_run(struct vm *vm, const char *command, unsigned int seconds, struct vm_result *ret,
	struct err *err)
{
	const struct text *text = &vm->lines.text[LINE_CHANNEL];
	size_t begin, end;
	char marker[32];

	if (vm_send(vm, command, err) < 0)
		return -1;
	(void)snprintf(marker, sizeof(marker), "%c%u ", LINES_MARKER, vm->sequence);
	if (lines_wait(&vm->lines, LINE_CHANNEL, marker, seconds, &end, err) < 0)
		return console_failed(vm, "running", command, err);
	ret->len = end < VM_OUTPUT_MAX ? end : VM_OUTPUT_MAX;
	memcpy(ret->output, text->data, ret->len);
	ret->output[ret->len] = '\0';
	begin = text->seen;
	if (lines_wait(&vm->lines, LINE_CHANNEL, "\002", seconds, &end, err) < 0)
		return console_failed(vm, "running", command, err);
	ret->status = atoi(text->data + begin);
	return 0;
}

static int monitor(struct vm *vm, const char *command, struct err *err)
{
	char line[128];
	size_t at;

	(void)snprintf(line, sizeof(line), "{\"execute\":\"%s\"}\n", command);
	if (lines_send(&vm->lines, LINE_MONITOR, line, err) < 0 ||
		lines_wait(&vm->lines, LINE_MONITOR, "{\"return\":", 10, &at, err) < 0)
		return err_wrap(err, "QMP '%s'", command);
	return 0;
}

int vm_freeze(struct vm *vm, struct err *err)
{
	return monitor(vm, "stop", err);
}

int vm_reset(struct vm *vm, struct err *err)
{
	if (monitor(vm, "system_reset", err) < 0)
		return -1;
	return monitor(vm, "cont", err);
}

/* In the child. Dies with its parent; has the far ends of the lines, in order, and a log. */
static void become_qemu(char *const argv[], const int theirs[static LINE_COUNT], int log_fd)
{
	int high[LINE_COUNT];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail with a valid signal */
	for (int i = 0; i < LINE_COUNT; i++)
		high[i] = fcntl(theirs[i], F_DUPFD_CLOEXEC, FIRST_FD + LINE_COUNT);
	if (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
		_exit(127);
	for (int i = 0; i < LINE_COUNT; i++)
		if (high[i] < 0 || dup2(high[i], FIRST_FD + i) < 0)
			_exit(127);
	(void)execvp(argv[0], argv);
	dprintf(STDERR_FILENO, "run '%s': %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int spawn(struct vm *vm, const char *const argv[], struct err *err)
{
	int theirs[LINE_COUNT] = {-1, -1, -1};
	char *copy[ARGUMENTS_MAX] = {NULL}; /* execve's own type has no const */
	int rc;

	for (size_t i = 0; argv[i] && i + 1 < ARGUMENTS_MAX; i++)
		memcpy(&copy[i], &argv[i], sizeof(copy[i]));
	rc = lines_connect(&vm->lines, theirs, err);
	if (rc == 0) {
		vm->pid = fork();
		if (vm->pid == 0)
			become_qemu(copy, theirs, vm->lines.log_fd);
		if (vm->pid < 0)
			rc = err_errno(err, "start '%s'", argv[0]);
	}
	for (size_t i = 0; i < LINE_COUNT; i++)
		cleanup_fd(&theirs[i]);
	return rc;
}

static int vm_new(const struct vm_options *options, struct vm **ret, struct err *err)
{
	CLEANUP(vm_cut) struct vm *vm = NULL;
	char log[PATH_MAX];
	void *p = NULL;

	if (mem_alloc(sizeof(*vm), &p, err) < 0)
		return -1;
	vm = p;
	vm->pid = -1;
	vm->lines.on_output = options->on_output;
	vm->lines.on_output_arg = options->on_output_arg;
	if (fs_make_dirs(options->directory, 0755, err) < 0 ||
		fs_join(options->directory, "console.log", log, sizeof(log), err) < 0 ||
		lines_init(&vm->lines, log, err) < 0)
		return -1;
	*ret = steal_ptr(&vm);
	return 0;
}

/* The firmware writes its variables: each device has its own copy. */
static int prepare_vars(const char *directory, char ret[static PATH_MAX], struct err *err)
{
	CLEANUP(bytes_finish) struct bytes vars = {0};

	if (fs_join(directory, "vars.fd", ret, PATH_MAX, err) < 0)
		return -1;
	if (access(ret, F_OK) == 0)
		return 0;
	if (fs_read_file(FIRMWARE_VARS, 1u << 20, &vars, err) < 0)
		return -1;
	return fs_replace_file(ret, vars.data, vars.len, 0644, err);
}

/* clang-format off */
#define QEMU_COMMON \
	"qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", \
	"-M", "q35,smm=off", \
	"-chardev", "socket,id=console,fd=3", "-serial", "chardev:console", \
	"-chardev", "socket,id=channel,fd=4", "-serial", "chardev:channel", \
	"-chardev", "socket,id=monitor,fd=5", "-mon", "chardev=monitor,mode=control"
/* clang-format on */

static const char *accel_argument(enum vm_accel accel)
{
	return accel == VM_ACCEL_KVM ? "kvm" : "tcg,thread=multi,tb-size=256";
}

/* Nehalem: of what this kernel can use, the one that TCG emulates at the least cost. */
static const char *cpu_argument(enum vm_accel accel)
{
	return accel == VM_ACCEL_KVM ? "host" : "Nehalem";
}

static int spawn_device(struct vm *vm, const struct vm_options *options, struct err *err)
{
	char path[PATH_MAX], vars[PATH_MAX + 64], disk[PATH_MAX + 64];
	const char *const argv[] = {QEMU_COMMON, "-accel", accel_argument(options->accel), "-cpu",
		cpu_argument(options->accel), "-m", "512", "-drive",
		"if=pflash,format=raw,unit=0,readonly=on,file=" FIRMWARE, "-drive", vars, "-drive",
		disk, "-device", "virtio-blk-pci,drive=disk,bootindex=0", "-netdev", "user,id=net",
		"-device", "virtio-net-pci,netdev=net,romfile=", NULL};

	if (prepare_vars(options->directory, path, err) < 0)
		return -1;
	(void)snprintf(vars, sizeof(vars), "if=pflash,format=raw,unit=1,file=%s", path);
	(void)snprintf(disk, sizeof(disk), "if=none,id=disk,format=raw,cache=writeback,file=%s",
		options->disk);
	return spawn(vm, argv, err);
}

int vm_start(const struct vm_options *options, struct vm **ret, struct err *err)
{
	CLEANUP(vm_cut) struct vm *vm = NULL;
	size_t at;

	if (vm_new(options, &vm, err) < 0 || spawn_device(vm, options, err) < 0)
		return -1;
	if (lines_wait(&vm->lines, LINE_MONITOR, "\"QMP\"", 20, &at, err) < 0 ||
		monitor(vm, "qmp_capabilities", err) < 0)
		return err_wrap(
			err, "start a virtual device (see '%s/console.log')", options->directory);
	*ret = steal_ptr(&vm);
	return 0;
}

void vm_cut(struct vm **vm)
{
	if (!vm || !*vm)
		return;
	if ((*vm)->pid > 0) {
		(void)kill((*vm)->pid, SIGKILL); /* our own child, not yet waited for */
		(void)waitpid((*vm)->pid, NULL, 0);
	}
	lines_finish(&(*vm)->lines);
	free(*vm);
	*vm = NULL;
}

static bool kvm_boots(const char *kernel, const char *initrd, const char *directory)
{
	CLEANUP(vm_cut) struct vm *vm = NULL;
	const struct vm_options options = {.directory = directory, .accel = VM_ACCEL_KVM};
	const char *const argv[] = {QEMU_COMMON, "-accel", accel_argument(VM_ACCEL_KVM), "-cpu",
		cpu_argument(VM_ACCEL_KVM), "-m", "256", "-no-reboot", "-kernel", kernel, "-initrd",
		initrd, "-append", "console=ttyS0 panic=-1 quiet", NULL};
	struct err err = {0};

	if (vm_new(&options, &vm, &err) < 0 || spawn(vm, argv, &err) < 0)
		return false;
	return vm_wait(vm, PROBE_MARKER, PROBE_SECONDS, &err) == 0;
}

enum vm_accel vm_accel_probe(const char *kernel, const char *initrd, const char *directory)
{
	const char *forced = getenv("ABIDE_QEMU_ACCEL");

	if (forced)
		return strcmp(forced, "kvm") == 0 ? VM_ACCEL_KVM : VM_ACCEL_TCG;
	/* Nested under pvm, KVM opens and then never runs a guest to its end. */
	if (access("/dev/kvm", R_OK | W_OK) < 0 || access("/sys/module/kvm_pvm", F_OK) == 0)
		return VM_ACCEL_TCG;
	return kvm_boots(kernel, initrd, directory) ? VM_ACCEL_KVM : VM_ACCEL_TCG;
}

const char *vm_accel_name(enum vm_accel accel)
{
	return accel == VM_ACCEL_KVM ? "KVM" : "emulation (TCG)";
}
