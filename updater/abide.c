/* abide - the program on the device: options in, one command run, an exit code out. abide(1) */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "updater/carrier.h"
#include "updater/cmd.h"
#include "updater/log.h"
#include "updater/mem.h"

static const struct command *const COMMANDS[] = {
	&CMD_STATUS_COMMAND,
	&CMD_INFO_COMMAND,
	&CMD_PLAN_COMMAND,
	&CMD_INSTALL_COMMAND,
	&CMD_CONFIRM_COMMAND,
	&CMD_ACTIVATE_COMMAND,
	&CMD_REVERT_COMMAND,
	&CMD_VERIFY_COMMAND,
	&CMD_LOG_COMMAND,
};

static const struct {
	const char *name;
	enum cmd_option option;
	const char *value; /* what comes after it, or "" */
	const char *help;
} OPTIONS[] = {
	{"--fallback", CMD_FALLBACK, " SOURCE",
		"a full bundle, if SOURCE is a delta of no use here"},
	{"--force", CMD_FORCE, "",
		"also a build that failed here, or over a group that does not boot"},
	{"--json", CMD_JSON, "", "one JSON object a line on standard output"},
	{"--reboot", CMD_REBOOT, "", "reboot afterwards, unless nothing is to be tried"},
	{"--verify", CMD_VERIFY, "", "check the chain instead of printing the lines"},
};

/* The signal that asked us to stop. Library calls look at it between two pieces of work. */
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = number;
}

static void catch_signals(void)
{
	/* A second one kills: safe at any point, only less tidy. */
	struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	struct sigaction normal = {.sa_handler = SIG_DFL};

	(void)sigemptyset(&stop.sa_mask);
	(void)sigemptyset(&ignore.sa_mask);
	(void)sigemptyset(&normal.sa_mask);
	(void)sigaction(SIGINT, &stop, NULL); /* these four cannot fail */
	(void)sigaction(SIGTERM, &stop, NULL);
	/* Nobody who stops reading our progress stops an install. */
	(void)sigaction(SIGPIPE, &ignore, NULL);
	/* If whoever started us ignores this one, so do we, and no health check's exit status could
	 * be told: a healthy group would be reverted. */
	(void)sigaction(SIGCHLD, &normal, NULL);
}

/* With 0, 1 or 2 closed the next open() gets that number: what is printed would go into a slot. */
static bool claim_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	return true;
}

/* ---- help ---- */

static void print_help(void)
{
	ui_say("usage: abide [-c FILE] [-v] COMMAND [OPTION]... [OPERAND]...\n\n"
	       "Updates this device as a whole: to one signed artifact, and back by itself.\n\n");
	for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
		ui_say("  %-8s %-8s %s\n", COMMANDS[i]->name, COMMANDS[i]->operands,
			COMMANDS[i]->summary);
	ui_say("\n  -c FILE    the configuration (else system.conf in /etc/abide, /run/abide, "
	       "/usr/lib/abide)\n"
	       "  -v         say what is done, on standard error\n"
	       "  --help     this, or with a COMMAND all about it\n"
	       "  --version\n\n"
	       "exit status: 0 done, or nothing to do; 1 I/O; 2 usage; 3 not trusted; 4 refused;\n"
	       "5 does not fit; 6 wrong state or busy; 7 bootloader; 8 network; 9 drift; 10 health "
	       "check\nfailed; 130, 143 interrupted. More in abide(1).\n");
}

static void print_command_help(const struct command *command)
{
	ui_say("usage: abide [-c FILE] [-v] %s", command->name);
	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
		if (command->options & OPTIONS[i].option)
			ui_say(" [%s%s]", OPTIONS[i].name, OPTIONS[i].value);
	ui_say("%s%s\n\n%s\n\n%s", command->operands[0] ? " " : "", command->operands,
		command->summary, command->help);
	if (command->options)
		ui_say("\n");
	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
		if (command->options & OPTIONS[i].option)
			ui_say("  %-10s %s\n", OPTIONS[i].name, OPTIONS[i].help);
}

/* ---- the command line ---- */

struct line {
	struct cmd cmd;
	bool help, version, verbose;
};

/* `next` is the word after it, or NULL; *ret_used: it was the option's. */
static int set_option(
	struct line *line, const char *word, const char *next, bool *ret_used, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++) {
		if (strcmp(word, OPTIONS[i].name) != 0)
			continue;
		line->cmd.options |= OPTIONS[i].option;
		if (!OPTIONS[i].value[0])
			return 0;
		if (!next)
			return err_set(err, FAIL_USAGE, "%s wants%s", word, OPTIONS[i].value);
		line->cmd.fallback = next; /* the only one with a value */
		*ret_used = true;
		return 0;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		line->help = true;
	else if (strcmp(word, "--version") == 0)
		line->version = true;
	else if (strcmp(word, "-v") == 0)
		line->verbose = true;
	else
		return err_set(err, FAIL_USAGE, "unknown option '%s'; see 'abide --help'", word);
	return 0;
}

static int set_command(struct line *line, const char *word, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++) {
		if (strcmp(word, COMMANDS[i]->name) != 0)
			continue;
		line->cmd.command = COMMANDS[i];
		return 0;
	}
	return err_set(err, FAIL_USAGE, "unknown command '%s'; see 'abide --help'", word);
}

/* Options may stand anywhere, `--` ends them; `-` is an operand: standard input. The operands are
 * gathered at the front of argv. */
static int parse_line(int argc, char **argv, struct line *line, struct err *err)
{
	bool options = true;

	line->cmd.operands = argv;
	for (int i = 1; i < argc; i++) {
		char *word = argv[i];
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		bool used = false;
		int result = 0;

		if (options && strcmp(word, "--") == 0)
			options = false;
		else if (options && strcmp(word, "-c") == 0 && i + 1 < argc)
			line->cmd.config_path = argv[++i];
		else if (options && strcmp(word, "-c") == 0)
			result = err_set(err, FAIL_USAGE, "-c wants a file");
		else if (options && word[0] == '-' && word[1])
			result = set_option(line, word, next, &used, err);
		else if (!line->cmd.command)
			result = set_command(line, word, err);
		else
			line->cmd.operands[line->cmd.operand_count++] = word;
		if (result < 0)
			return -1;
		i += used;
	}
	return 0;
}

static int check_line(const struct line *line, struct err *err)
{
	const struct command *command = line->cmd.command;

	if (!command)
		return err_set(err, FAIL_USAGE, "which command? See 'abide --help'");
	for (size_t i = 0; i < ARRAY_LEN(OPTIONS); i++)
		if (line->cmd.options & OPTIONS[i].option & ~command->options)
			return err_set(err, FAIL_USAGE,
				"%s does not take %s; see 'abide %s --help'", command->name,
				OPTIONS[i].name, command->name);
	if (line->cmd.operand_count < command->operands_min)
		return err_set(err, FAIL_USAGE, "%s wants %s; see 'abide %s --help'", command->name,
			command->operands, command->name);
	if (line->cmd.operand_count > command->operands_max)
		return err_set(err, FAIL_USAGE, "%s: '%s' is too much; see 'abide %s --help'",
			command->name, line->cmd.operands[command->operands_max], command->name);
	return 0;
}

/* ---- running ---- */

/* What a signal left behind belongs to the same sentence. */
static void say_what_is_left(const struct command *command, struct err *err)
{
	size_t used = strlen(err->msg);

	(void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
		command->interrupted ? command->interrupted : "nothing was changed");
}

static int run_command(struct cmd *cmd, struct err *err)
{
	int result = cmd->command->run(cmd, err);

	if (result < 0) {
		if (cmd->operand_count)
			(void)err_wrap(err, "%s '%s'", cmd->command->name, cmd->operands[0]);
		else
			(void)err_wrap(err, "%s", cmd->command->name);
		if (err->code == FAIL_INTERRUPTED)
			say_what_is_left(cmd->command, err);
	}
	cmd_finish(cmd);
	return result;
}

static int run(int argc, char **argv, struct line *line, struct err *err)
{
	int parsed = parse_line(argc, argv, line, err);

	ui_init(&line->cmd.ui, line->cmd.command ? line->cmd.command->name : NULL,
		line->cmd.options & CMD_JSON);
	if (parsed < 0)
		return -1;
	if (line->version)
		ui_say("abide %s\n", ABIDE_VERSION);
	else if (line->help && line->cmd.command)
		print_command_help(line->cmd.command);
	else if (line->help)
		print_help();
	if (line->version || line->help)
		return 0;
	if (check_line(line, err) < 0)
		return -1;
	log_set_debug(line->verbose);
	catch_signals();
	return run_command(&line->cmd, err);
}

int main(int argc, char **argv)
{
	struct line line = {.cmd = {.interrupted = &interrupted}};
	struct err err = {0};
	int exit_code = 0;

	if (!claim_standard_descriptors())
		return err_exit_code(FAIL_IO); /* and nowhere to say so */
	if (run(argc, argv, &line, &err) < 0) {
		exit_code = err_exit_code(err.code);
		if (err.code == FAIL_INTERRUPTED && interrupted)
			exit_code = 128 + interrupted;
		ui_fail(&line.cmd.ui, &err, exit_code);
	}
	if (ui_finish(&err) < 0 && exit_code == 0) {
		exit_code = err_exit_code(FAIL_IO);
		ui_fail(&line.cmd.ui, &err, exit_code);
	}
	return exit_code;
}
