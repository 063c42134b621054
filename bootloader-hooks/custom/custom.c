/* The user's program: may it be run, running it, and what is made of what it says. */
#include "bootloader-hooks/custom/custom.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "updater/mem.h"
#include "updater/process.h"

#define CONTRACT "its contract is in bootloader-hooks/custom/README.md"

struct custom {
	struct bootloader bl;
	char *program;
	unsigned int timeout;
};

static struct custom *custom(struct bootloader *bl)
{
	return (struct custom *)bl;
}

/* ---- may it be run ---- */

/* Everything that could put another program in its place, if we are root: it runs as root, then. */
static int check_owner(const char *path, bool is_program, struct err *err)
{
	mode_t writable = is_program ? S_IWGRP | S_IWOTH : S_IWOTH;
	struct stat st;

	if (stat(path, &st) < 0)
		return err_errno(err, "'%s'", path);
	if (st.st_uid != 0)
		return err_set(err, FAIL_BOOT,
			"would be run as root, but '%s' belongs to user %u: chown root it", path,
			(unsigned int)st.st_uid);
	/* In a sticky directory nobody replaces what is root's. */
	if ((st.st_mode & writable) && (is_program || !(st.st_mode & S_ISVTX)))
		return err_set(err, FAIL_BOOT,
			"would be run as root, but '%s' may be written by others: chmod go-w it",
			path);
	return 0;
}

/* The program and each directory above it. */
static int check_owners(const char *program, struct err *err)
{
	char path[PATH_MAX]; /* without links: what the kernel will run */

	if (!realpath(program, path))
		return err_errno(err, "find");
	if (check_owner(path, true, err) < 0)
		return -1;
	for (char *slash = strrchr(path, '/'); slash > path; slash = strrchr(path, '/')) {
		*slash = '\0';
		if (check_owner(path, false, err) < 0)
			return -1;
	}
	return check_owner("/", false, err);
}

static int check_program(const char *program, struct err *err)
{
	struct stat st;

	if (stat(program, &st) < 0)
		return err_errno(err, "find what [boot] program of the configuration names");
	if (!S_ISREG(st.st_mode))
		return err_set(err, FAIL_BOOT, "is not a file");
	if (!(st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)))
		return err_set(err, FAIL_BOOT, "is not executable: chmod 755 it");
	return geteuid() == 0 ? check_owners(program, err) : 0;
}

/* ---- running it ---- */

/* The end of what it said, on one line. */
static void last_words(const struct process_result *result, char *ret, size_t cap)
{
	size_t end = result->errors_len, start;

	while (end > 0 && strchr(" \t\r\n", result->errors[end - 1]))
		end--;
	start = end > cap - 1 ? end - (cap - 1) : 0;
	mem_printable(result->errors + start, end - start, ret, cap);
	for (size_t i = 0; ret[i]; i++)
		if (result->errors[start + i] == '\n')
			ret[i] = ' ';
}

/* The program ended, as a program that did what it was asked to. */
static int check_end(
	const struct custom *hook, const struct process_result *result, struct err *err)
{
	char words[161];

	last_words(result, words, sizeof(words));
	if (result->timed_out)
		return err_set(err, FAIL_BOOT, "no end after %u s, killed%s%s", hook->timeout,
			words[0] ? ": " : "", words);
	if (result->signal)
		return err_set(err, FAIL_BOOT, "killed by signal %d%s%s", result->signal,
			words[0] ? ": " : "", words);
	if (result->exit_status != 0)
		return err_set(err, FAIL_BOOT, "exit status %d: %s", result->exit_status,
			words[0] ? words : "it said nothing on standard error");
	return 0;
}

static int call(const struct custom *hook, char *verb, const char *input,
	struct process_result *ret, struct err *err)
{
	char *const argv[] = {hook->program, verb, NULL};

	if (check_program(hook->program, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "bootloader program '%s'", hook->program);
	if (process_exchange(argv, input, input ? strlen(input) : 0, hook->timeout, ret, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "bootloader");
	if (check_end(hook, ret, err) < 0)
		return err_wrap(err, "bootloader program '%s %s'", hook->program, verb);
	return 0;
}

/* ---- get-state ---- */

static int parse_output(
	const struct process_result *result, struct boot_state *ret, struct err *err)
{
	if (result->output_cut)
		return err_set(err, FAIL_BOOT, "wrote more than %u bytes", PROCESS_OUTPUT_MAX);
	if (result->output_len == 0)
		return err_set(err, FAIL_BOOT, "wrote nothing on standard output");
	return custom_state_parse(result->output, result->output_len, ret, err);
}

static int get_state(const struct custom *hook, struct boot_state *ret, struct err *err)
{
	struct process_result result;

	if (call(hook, (char[]){"get-state"}, NULL, &result, err) < 0)
		return -1;
	if (parse_output(&result, ret, err) < 0)
		return err_wrap(
			err, "bootloader program '%s get-state' (" CONTRACT ")", hook->program);
	return 0;
}

static int custom_read(struct bootloader *bl, struct boot_state *ret, struct err *err)
{
	return get_state(custom(bl), ret, err);
}

/* ---- commit ---- */

/* On one line, without the newline. */
static void describe(const struct boot_state *state, char ret[static CUSTOM_TEXT_MAX])
{
	custom_state_format(state, ret);
	ret[strcspn(ret, "\n")] = '\0';
}

/* Exit status 0 is the program's word. What counts is what it says when asked. */
static int check_done(const struct custom *hook, const struct boot_state *state, struct err *err)
{
	char wanted[CUSTOM_TEXT_MAX], found[CUSTOM_TEXT_MAX];
	struct boot_state now;

	if (get_state(hook, &now, err) < 0)
		return err_wrap(err, "after a commit");
	if (boot_state_equal(&now, state))
		return 0;
	describe(state, wanted);
	describe(&now, found);
	return err_set(err, FAIL_BOOT,
		"bootloader program '%s commit' ended with 0, but get-state says otherwise: "
		"expected %s, found %s",
		hook->program, wanted, found);
}

/*
 * Asked for also when the state is there already: whoever committed it may have been killed before
 * it was durable, and only the program knows how to flush. That such a commit writes nothing is the
 * program's part (README.md).
 *
 * Cut points are the program's, too: before its one change the old state counts, after it the new
 * one. If we are killed the program goes on, in a process group of its own.
 */
static int custom_commit(struct bootloader *bl, const struct boot_state *state, struct err *err)
{
	struct process_result result;
	char text[CUSTOM_TEXT_MAX];

	if (!boot_group_bootable(&state->group[GROUP_A]) && !state->group[GROUP_A].bad &&
		!boot_group_bootable(&state->group[GROUP_B]) && !state->group[GROUP_B].bad)
		return err_set(err, FAIL_BOOT, "that would leave no group to boot");
	custom_state_format(state, text);
	if (call(custom(bl), (char[]){"commit"}, text, &result, err) < 0)
		return -1;
	return check_done(custom(bl), state, err);
}

static void custom_free(struct bootloader *bl)
{
	free(custom(bl)->program);
	free(custom(bl));
}

static const struct bootloader_ops OPS = {
	.name = "custom",
	.read = custom_read,
	.commit = custom_commit,
	.free = custom_free,
};

int custom_open(const char *program, unsigned int timeout, struct bootloader **ret, struct err *err)
{
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(struct custom), &p, err) < 0)
		return -1;
	bl = p;
	bl->ops = &OPS;
	custom(bl)->timeout = timeout;
	if (mem_strdup(program, &custom(bl)->program, err) < 0)
		return -1;
	*ret = steal_ptr(&bl);
	return 0;
}
