#include "qemu/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "qemu/lines.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define FIRST_FD      3 /* of QEMU's inherited descriptors, in the order of enum line */
#define COMMAND_MAX   3500u
#define ARGUMENTS_MAX 96u
#define WORD_MAX      (PATH_MAX + 128u)
#define PROBE_SECONDS 15u
#define PROBE_MARKER  "initrd: no abide.group="
#define CONSOLE_TAIL  240u
#define VARS_MAX      (64u << 20)
#define WRITE_LOG_MAX ((off_t)4 << 30)

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

/* A command line as it grows; its words are kept here. */
struct arguments {
	size_t count;
	char *word[ARGUMENTS_MAX + 1];
};

static void arguments_finish(struct arguments *args)
{
	for (size_t i = 0; i < args->count; i++)
		free(args->word[i]);
}

static int add(struct arguments *args, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int add(struct arguments *args, struct err *err, const char *fmt, ...)
{
	char word[WORD_MAX];
	va_list list;
	int n;

	va_start(list, fmt);
	n = vsnprintf(word, sizeof(word), fmt, list);
	va_end(list);
	if (n < 0 || (size_t)n >= sizeof(word) || args->count == ARGUMENTS_MAX)
		return err_set(err, FAIL_USAGE, "QEMU's command line is too long at '%.80s'", word);
	if (mem_strdup(word, &args->word[args->count], err) < 0)
		return -1;
	args->count++;
	return 0;
}

static int add_all(struct arguments *args, const char *const words[], struct err *err)
{
	for (size_t i = 0; words[i]; i++)
		if (add(args, err, "%s", words[i]) < 0)
			return -1;
	return 0;
}

static int spawn(struct vm *vm, const struct arguments *args, struct err *err)
{
	int theirs[LINE_COUNT] = {-1, -1, -1};
	int rc = lines_connect(&vm->lines, theirs, err);

	if (rc == 0) {
		vm->pid = fork();
		if (vm->pid == 0)
			become_qemu(args->word, theirs, vm->lines.log_fd);
		if (vm->pid < 0)
			rc = err_errno(err, "start '%s'", args->word[0]);
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

/* A name without '/' is in the device's folder. */
static int firmware_path(const struct vm_options *options, const char *name,
	char ret[static PATH_MAX], struct err *err)
{
	if (!strchr(name, '/'))
		return fs_join(options->out, name, ret, PATH_MAX, err);
	(void)snprintf(ret, PATH_MAX, "%s", name); /* a row's path: short */
	return 0;
}

/* The firmware writes its variables: each run has its own copy. */
static int prepare_vars(
	const struct vm_options *options, char ret[static PATH_MAX], struct err *err)
{
	CLEANUP(bytes_finish) struct bytes vars = {0};
	char from[PATH_MAX];

	if (fs_join(options->directory, "vars.fd", ret, PATH_MAX, err) < 0)
		return -1;
	if (access(ret, F_OK) == 0)
		return 0;
	if (firmware_path(options, options->device->firmware_vars, from, err) < 0 ||
		fs_read_file(from, VARS_MAX, &vars, err) < 0)
		return -1;
	return fs_replace_file(ret, vars.data, vars.len, 0644, err);
}

static int add_firmware(struct arguments *args, const struct vm_options *options, struct err *err)
{
	char code[PATH_MAX], vars[PATH_MAX];

	if (firmware_path(options, options->device->firmware, code, err) < 0)
		return -1;
	if (!options->device->firmware_vars) {
		if (add(args, err, "-bios") < 0)
			return -1;
		return add(args, err, "%s", code);
	}
	if (add(args, err, "-drive") < 0 ||
		add(args, err, "if=pflash,format=raw,unit=0,readonly=on,file=%s", code) < 0)
		return -1;
	if (options->device->view->flash)
		return add(args, err, "-machine") < 0 ? -1 : add(args, err, "pflash1=flash");
	if (prepare_vars(options, vars, err) < 0 || add(args, err, "-drive") < 0)
		return -1;
	return add(args, err, "if=pflash,format=raw,unit=1,file=%s", vars);
}

/* clang-format off */
static const char *const COMMON[] = {
	"-nodefaults", "-no-user-config", "-display", "none",
	"-chardev", "socket,id=console,fd=3",
	"-chardev", "socket,id=channel,fd=4",
	"-chardev", "socket,id=monitor,fd=5", "-mon", "chardev=monitor,mode=control",
	NULL,
};
/* clang-format on */

/* The program and the machine without its disk, network and firmware. */
static int add_machine(struct arguments *args, const struct vm_device *device, enum vm_accel accel,
	struct err *err)
{
	const char *const kvm[] = {"-accel", "kvm", "-cpu", "host", NULL};
	const char *const tcg[] = {
		"-accel", "tcg,thread=multi,tb-size=256", "-cpu", device->cpu, NULL};

	if (add(args, err, "%s", device->qemu) < 0 || add_all(args, COMMON, err) < 0 ||
		add_all(args, accel == VM_ACCEL_KVM ? kvm : tcg, err) < 0)
		return -1;
	return add_all(args, device->arguments, err);
}

/* QEMU writes past no log's end: there is room for everything a device may write, none is used. */
static int prepare_log(const char *path, bool *ret_append, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	uint8_t begin = 0;

	if (fs_open(path, O_RDWR | O_CREAT, 0644, &fd, err) < 0)
		return -1;
	if (ftruncate(fd, WRITE_LOG_MAX) < 0 || pread(fd, &begin, 1, 0) != 1)
		return err_errno(err, "'%s'", path);
	*ret_append = begin != 0; /* it has its magic */
	return 0;
}

/* What outlives a power cut of the device is in this machine's page cache, which no SIGKILL empties.
 * That this machine flushes it, too, at each flush of the guest and for each entry of the log, would
 * take most of the time. */
#define NODE "driver=file,cache.no-flush=on,node-name="

static int add_image(
	struct arguments *args, const struct vm_options *options, const char *node, struct err *err)
{
	if (add(args, err, "-blockdev") < 0)
		return -1;
	return add(args, err, NODE "%s,filename=%s", node, options->disk);
}

/* `node` is the image with a log of what is written. */
static int add_logged_image(
	struct arguments *args, const struct vm_options *options, const char *node, struct err *err)
{
	bool append;

	if (prepare_log(options->write_log, &append, err) < 0 ||
		add_image(args, options, "unlogged", err) < 0 || add(args, err, "-blockdev") < 0 ||
		add(args, err, NODE "log,filename=%s", options->write_log) < 0 ||
		add(args, err, "-blockdev") < 0)
		return -1;
	/* A log that is continued has its sector size already. */
	return add(args, err,
		"driver=blklogwrites,node-name=%s,file=unlogged,log=log,"
		"log-super-update-interval=1,%s",
		node, append ? "log-append=on" : "log-sector-size=512");
}

/* The image is the disk and, behind it, the firmware's flash: two parts of one file, so that one log
 * says what was written to which, and when. */
static int add_parts(struct arguments *args, const struct vm_options *options, struct err *err)
{
	uint64_t flash = options->device->view->flash;
	struct stat st;

	if (stat(options->disk, &st) < 0)
		return err_errno(err, "'%s'", options->disk);
	if ((uint64_t)st.st_size <= flash)
		return err_set(err, FAIL_USAGE, "'%s' is no more than a flash", options->disk);
	if (add(args, err, "-blockdev") < 0 ||
		add(args, err, "driver=raw,node-name=disk,file=image,offset=0,size=%llu",
			(unsigned long long)((uint64_t)st.st_size - flash)) < 0 ||
		add(args, err, "-blockdev") < 0)
		return -1;
	return add(args, err, "driver=raw,node-name=flash,file=image,offset=%llu,size=%llu",
		(unsigned long long)((uint64_t)st.st_size - flash), (unsigned long long)flash);
}

static int add_disk(struct arguments *args, const struct vm_options *options, struct err *err)
{
	const char *node = options->device->view->flash ? "image" : "disk";

	if (options->write_log ? add_logged_image(args, options, node, err) < 0
			       : add_image(args, options, node, err) < 0)
		return -1;
	return options->device->view->flash ? add_parts(args, options, err) : 0;
}

static int spawn_device(struct vm *vm, const struct vm_options *options, struct err *err)
{
	CLEANUP(arguments_finish) struct arguments args = {0};
	static const char *const network[] = {"-netdev", "user,id=net", NULL};

	if (add_machine(&args, options->device, options->accel, err) < 0 ||
		add_firmware(&args, options, err) < 0 || add_all(&args, network, err) < 0 ||
		add_disk(&args, options, err) < 0)
		return -1;
	return spawn(vm, &args, err);
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

double vm_processor_seconds(const struct vm *vm)
{
	struct timespec used;
	clockid_t clock;

	if (!vm || clock_getcpuclockid(vm->pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
		return 0;
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
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

/* The device's machine with an empty disk, and a kernel given to it. */
static bool kvm_boots(const struct vm_device *device, const char *kernel, const char *initrd,
	const char *directory)
{
	CLEANUP(vm_cut) struct vm *vm = NULL;
	CLEANUP(arguments_finish) struct arguments args = {0};
	const struct vm_options options = {.directory = directory};
	const char *const rest[] = {"-netdev", "user,id=net", "-drive",
		"if=none,id=disk,format=raw,file=null-co://,file.size=64M", "-no-reboot", "-kernel",
		kernel, "-initrd", initrd, "-append", NULL};
	struct err err = {0};

	if (vm_new(&options, &vm, &err) < 0 || add_machine(&args, device, VM_ACCEL_KVM, &err) < 0 ||
		add_all(&args, rest, &err) < 0 ||
		add(&args, &err, "console=%s panic=-1 quiet", device->console) < 0 ||
		spawn(vm, &args, &err) < 0)
		return false;
	return vm_wait(vm, PROBE_MARKER, PROBE_SECONDS, &err) == 0;
}

enum vm_accel vm_accel_probe(const struct vm_device *device, const char *kernel, const char *initrd,
	const char *directory)
{
	const char *forced = getenv("ABIDE_QEMU_ACCEL");
	struct utsname host;

	if (uname(&host) < 0 || strcmp(host.machine, device->arch) != 0)
		return VM_ACCEL_TCG;
	if (forced)
		return strcmp(forced, "kvm") == 0 ? VM_ACCEL_KVM : VM_ACCEL_TCG;
	/* Nested under pvm, KVM opens and then never runs a guest to its end. */
	if (access("/dev/kvm", R_OK | W_OK) < 0 || access("/sys/module/kvm_pvm", F_OK) == 0)
		return VM_ACCEL_TCG;
	return kvm_boots(device, kernel, initrd, directory) ? VM_ACCEL_KVM : VM_ACCEL_TCG;
}

const char *vm_accel_name(enum vm_accel accel)
{
	return accel == VM_ACCEL_KVM ? "KVM" : "emulation (TCG)";
}
