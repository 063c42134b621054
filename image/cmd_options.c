/* The options of every command, from its table. */
#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image/commands.h"
#include "updater/mem.h"

#define FIRST_CODE 256 /* above all letters */

/* getopt_long() that takes no shortened long options: a script that says --comp would break when
 * there is a second option that begins so. */
static int next_option(int argc, char **argv, const char *letters, const struct option *options)
{
	int at = -1;
	int code = getopt_long(argc, argv, letters, options, &at);
	const char *text;
	size_t len;

	if (code == '?' || at < 0)
		return code;
	/* "--name=value", or "--name" with its value, if it has one, behind it. */
	text = argv[optind - 1];
	if (optarg == text)
		text = argv[optind - 2];
	len = strlen(options[at].name);
	if (strncmp(text, "--", 2) == 0 && strncmp(text + 2, options[at].name, len) == 0)
		return code;
	(void)fprintf(stderr, "%s: option '%s' is not shortened: '--%s'\n", argv[0], text,
		options[at].name);
	return '?';
}

/* For getopt: --help behind the table's. */
static void make_options(const struct command_option *options, size_t count, struct option *ret)
{
	assert(count <= COMMAND_OPTIONS_MAX);
	for (size_t i = 0; i < count; i++)
		ret[i] = (struct option){.name = options[i].name,
			.has_arg = options[i].flag ? no_argument : required_argument,
			.val = FIRST_CODE + (int)i};
	ret[count] = (struct option){.name = "help", .has_arg = no_argument, .val = 'h'};
	ret[count + 1] = (struct option){0};
}

static int take_number(const struct command_option *option, const char *value, struct err *err)
{
	uint64_t number;

	if (!command_number(value, option->max, &number) || number < option->min)
		return err_set(err, FAIL_USAGE,
			"--%s '%s' is not a number from %" PRIu64 " to %" PRIu64, option->name,
			value, option->min, option->max);
	*option->number = number;
	return 0;
}

static int take(const struct command_option *option, char *value, struct err *err)
{
	if (option->flag)
		*option->flag = true;
	else if (option->text)
		*option->text = value;
	else if (option->number)
		return take_number(option, value, err);
	else
		return option->set(option->arg, value, err);
	return 0;
}

/* The table's row for what getopt returned, or NULL. -o is --output. */
static const struct command_option *find_option(
	const struct command_option *options, size_t count, int code)
{
	for (size_t i = 0; i < count; i++)
		if (code == FIRST_CODE + (int)i ||
			(code == 'o' && strcmp(options[i].name, "output") == 0))
			return &options[i];
	return NULL;
}

/* -1: all are there. */
static int check_needed(
	char **argv, const struct command_option *options, size_t count, uint32_t seen)
{
	char names[256] = "";
	size_t used = 0, missing = 0;

	for (size_t i = 0; i < count && used < sizeof(names); i++)
		if (options[i].needed && !(seen & UINT32_C(1) << i))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s--%s",
				missing++ ? ", " : "", options[i].name);
	if (missing == 0)
		return -1;
	return command_usage(argv, "%s %s missing", names, missing == 1 ? "is" : "are");
}

int command_parse(
	int argc, char **argv, const char *help, const struct command_option *options, size_t count)
{
	const char *letters = find_option(options, count, 'o') ? "o:h" : "h";
	struct option table[COMMAND_OPTIONS_MAX + 2];
	const struct command_option *option;
	uint32_t seen = 0;
	struct err err = {0};
	int code;

	make_options(options, count, table);
	while ((code = next_option(argc, argv, letters, table)) != -1) {
		if (code == 'h') {
			(void)fputs(help, stdout);
			return command_done(argv);
		}
		option = find_option(options, count, code);
		if (!option)
			return command_usage(argv, NULL); /* getopt has said why */
		seen |= UINT32_C(1) << (option - options);
		if (take(option, optarg, &err) < 0)
			return command_usage(argv, "%s", err.msg);
	}
	return check_needed(argv, options, count, seen);
}
