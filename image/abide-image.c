/* abide-image: the host's program. What each command does is in cmd_*.c; see README.md. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/commands.h"
#include "updater/carrier.h"
#include "updater/manifest.h"
#include "updater/mem.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
} COMMANDS[] = {
	{"keys", cmd_keys, "make a root, a signing key and its certificate, for development"},
	{"bundle", cmd_bundle, "pack images into a signed bundle"},
	{"delta", cmd_delta, "make of a full bundle what a device with a known release needs"},
	{"inspect", cmd_inspect, "show what a bundle says, without trusting it"},
	{"extract", cmd_extract, "verify a bundle and write its images out"},
	{"sign", cmd_sign, "add a signature to a bundle, or replace those it has"},
	{"disk", cmd_disk, "make a factory disk from a bundle"},
};

static volatile sig_atomic_t interrupted; /* the signal; set by the handler alone */

static void on_signal(int signal)
{
	interrupted = signal;
}

const volatile sig_atomic_t *command_interruptible(void)
{
	static const int SIGNALS[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal};

	for (size_t i = 0; i < ARRAY_LEN(SIGNALS); i++) {
		struct sigaction before;

		/* What was ignored stays so (nohup). Neither call fails for these signals. */
		(void)sigaction(SIGNALS[i], NULL, &before);
		if (before.sa_handler != SIG_IGN)
			(void)sigaction(SIGNALS[i], &action, NULL);
	}
	return &interrupted;
}

int command_usage(char **argv, const char *fmt, ...)
{
	va_list args;

	if (fmt) {
		(void)fprintf(stderr, "%s: ", argv[0]);
		va_start(args, fmt);
		(void)vfprintf(stderr, fmt, args);
		va_end(args);
		(void)fputc('\n', stderr);
	}
	(void)fprintf(stderr, "try '%s --help'\n", argv[0]);
	return err_exit_code(FAIL_USAGE);
}

int command_fail(char **argv, const struct err *err)
{
	(void)fprintf(stderr, "%s: %s\n", argv[0], err->msg);
	/* As a shell would say it of a program that the signal had ended. */
	return err->code == FAIL_INTERRUPTED ? 128 + interrupted : err_exit_code(err->code);
}

int command_done(char **argv)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	(void)fprintf(stderr, "%s: write to standard output: %s\n", argv[0], strerror(errno));
	return err_exit_code(FAIL_IO);
}

bool command_number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return false;
	}
	if (value > max)
		return false;
	*ret = value;
	return true;
}

int command_now(time_t *ret, struct err *err)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	time_t latest = 0;
	uint64_t value;

	if (!epoch) {
		*ret = time(NULL);
		return 0;
	}
	/* The latest time that a manifest can say. */
	(void)manifest_time_parse("9999-12-31T23:59:59Z", &latest);
	if (!command_number(epoch, (uint64_t)latest, &value))
		return err_set(err, FAIL_USAGE, "SOURCE_DATE_EPOCH is '%s', not seconds since 1970",
			epoch);
	*ret = (time_t)value;
	return 0;
}

static void help(void)
{
	(void)fputs("usage: abide-image COMMAND [OPTION]...\n\n", stdout);
	for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
		(void)printf("  %-8s  %s\n", COMMANDS[i].name, COMMANDS[i].summary);
	(void)fputs("\n'abide-image COMMAND --help' says more; the manual is abide-image(1).\n",
		stdout);
}

static int run(int argc, char **argv)
{
	char name[64];

	for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
		if (strcmp(argv[0], COMMANDS[i].name) != 0)
			continue;
		(void)snprintf(name, sizeof(name), "abide-image %s", argv[0]); /* fits */
		argv[0] = name; /* what getopt puts before its messages */
		return COMMANDS[i].run(argc, argv);
	}
	(void)fprintf(stderr, "abide-image: there is no command '%s'\ntry 'abide-image --help'\n",
		argv[0]);
	return err_exit_code(FAIL_USAGE);
}

int main(int argc, char **argv)
{
	static char program[] = "abide-image";
	char *self[] = {program, NULL};

	/* Before anything else: a carrier must not have opened or printed anything. */
	if (argc < 2)
		return command_usage(self, "a command is missing");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help();
		return command_done(self);
	}
	if (strcmp(argv[1], "--version") == 0) {
		(void)puts("abide-image " ABIDE_VERSION);
		return command_done(self);
	}
	if (argv[1][0] == '-')
		return command_usage(self, "a command is expected before '%s'", argv[1]);
	return run(argc - 1, argv + 1);
}
