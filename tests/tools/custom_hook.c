/*
 * custom_hook PROGRAM - does a program keep the contract of bootloader-hooks/custom/README.md?
 *
 * It goes through every state a device can get into, commits and reads them, reads while another
 * process commits, kills commits on their way, and hands in rubbish. What the program says in the
 * beginning is put back in the end. `make test-custom-hook HOOK=PROGRAM` calls it.
 *
 * Lines of `ok - what` and `not ok - what: why`; exit status 1 if there is one of the latter.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bootloader-hooks/custom/custom.h"
#include "tests/states.h"
#include "updater/mem.h"
#include "updater/process.h"

#define STATES_OF_A_HOOK 512u
#define RACE_COMMITS     20u
#define KILLS            40u

struct hook {
	char *program;
	struct bootloader *bl;
	struct boot_state states[STATES_OF_A_HOOK];
	size_t count;
	double slowest; /* s, of one call */
	unsigned int failed;
};

/* ---- telling ---- */

__attribute__((format(printf, 4, 5))) static bool tell(
	struct hook *hook, bool ok, const char *what, const char *fmt, ...)
{
	va_list args;

	if (ok) {
		(void)printf("ok - %s\n", what);
		return true;
	}
	hook->failed++;
	(void)printf("not ok - %s: ", what);
	va_start(args, fmt);
	(void)vprintf(fmt, args);
	va_end(args);
	(void)printf("\n");
	return false;
}

static const char *text_of(const struct boot_state *state)
{
	static char texts[2][CUSTOM_TEXT_MAX];
	static unsigned int next;
	char *text = texts[next++ % 2];

	custom_state_format(state, text);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- calling ---- */

static int get(struct hook *hook, struct boot_state *ret, struct err *err)
{
	double start = now();
	int result = bootloader_read(hook->bl, ret, err);

	if (now() - start > hook->slowest)
		hook->slowest = now() - start;
	return result;
}

static int put(struct hook *hook, const struct boot_state *state, struct err *err)
{
	double start = now();
	int result = bootloader_commit(hook->bl, state, err);

	if ((now() - start) / 2 > hook->slowest) /* two calls */
		hook->slowest = (now() - start) / 2;
	return result;
}

/* A commit on its own, without abide's reading it back; the caller waits. */
static pid_t start_commit(const struct hook *hook, const struct boot_state *state)
{
	char text[CUSTOM_TEXT_MAX];
	int input = memfd_create("input", 0);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pid_t pid;

	custom_state_format(state, text);
	if (input < 0 || null < 0 || write(input, text, strlen(text)) != (ssize_t)strlen(text) ||
		lseek(input, 0, SEEK_SET) < 0) {
		perror("custom_hook");
		exit(1);
	}
	pid = fork();
	if (pid == 0) {
		(void)setpgid(0, 0);
		(void)dup2(input, 0);
		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execl(hook->program, hook->program, "commit", (char *)NULL);
		_exit(127);
	}
	(void)setpgid(pid, pid);
	(void)close(input);
	(void)close(null);
	return pid;
}

/* ---- what is asked ---- */

static void check_round_trip(struct hook *hook)
{
	struct err err;
	char what[80];

	(void)snprintf(
		what, sizeof(what), "each of %zu states is kept as it was committed", hook->count);
	for (size_t i = 0; i < hook->count; i++) {
		if (put(hook, &hook->states[i], &err) == 0) /* which reads it back */
			continue;
		(void)tell(hook, false, what, "%s: %s", text_of(&hook->states[i]), err.msg);
		return;
	}
	(void)tell(hook, true, what, "%s", "");
}

static void check_again(struct hook *hook)
{
	const struct boot_state *state = &hook->states[hook->count - 1];
	struct boot_state found;
	struct err err = {0};
	bool ok = true;

	for (unsigned int i = 0; i < 3 && ok; i++)
		ok = put(hook, state, &err) == 0 && get(hook, &found, &err) == 0 &&
		     boot_state_equal(&found, state);
	(void)tell(hook, ok, "the same commit again changes nothing", "%s", err.msg);
}

/* Another process commits two very different states in turn; what is read is one of them. */
static void check_race(struct hook *hook)
{
	static const char WHAT[] = "get-state beside a commit says the old state or the new one";
	const struct boot_state two[2] = {
		{.group = {{.good = true}, {.bad = true}}, .primary = GROUP_A},
		{.group = {{.tries = 3}, {.good = true}}, .primary = GROUP_B}};
	unsigned int seen[2] = {0};
	struct err err;

	if (put(hook, &two[0], &err) < 0) {
		(void)tell(hook, false, WHAT, "%s", err.msg);
		return;
	}
	for (unsigned int i = 1; i <= RACE_COMMITS; i++) {
		pid_t pid = start_commit(hook, &two[i % 2]);
		int status = 0;
		bool ended;

		do {
			struct boot_state found;

			ended = waitpid(pid, &status, WNOHANG) != 0;
			if (get(hook, &found, &err) < 0) {
				(void)tell(hook, false, WHAT, "%s", err.msg);
				if (!ended)
					(void)waitpid(pid, &status, 0);
				return;
			}
			if (boot_state_equal(&found, &two[0]))
				seen[0]++;
			else if (boot_state_equal(&found, &two[1]))
				seen[1]++;
			else {
				(void)tell(hook, false, WHAT, "a mix: %s", text_of(&found));
				if (!ended)
					(void)waitpid(pid, &status, 0);
				return;
			}
		} while (!ended);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			(void)tell(hook, false, WHAT, "a commit failed, wait status %d", status);
			return;
		}
	}
	(void)tell(hook, seen[0] && seen[1], WHAT, "only one of two states was ever seen");
}

/* How long a commit takes, so that kills are spread over all of it. */
static double commit_seconds(struct hook *hook, const struct boot_state *state)
{
	double start = now();
	int status;

	(void)waitpid(start_commit(hook, state), &status, 0);
	return now() - start;
}

static void check_kills(struct hook *hook)
{
	static const char WHAT[] = "a commit that is killed leaves the old state or the new one, "
				   "and the next one works";
	const struct boot_state old = {
		.group = {{.good = true}, {.bad = true}}, .primary = GROUP_A};
	const struct boot_state new = {.group = {{.tries = 3}, {.good = true}}, .primary = GROUP_B};
	double length = commit_seconds(hook, &new);
	unsigned int killed = 0, kept = 0;
	struct boot_state found;
	struct err err = {0};

	for (unsigned int i = 0; i < KILLS; i++) {
		double after = length * 1.2 * i / KILLS;
		const struct timespec wait = {
			(time_t)after, (long)((after - (double)(time_t)after) * 1e9)};
		int status = 0;
		pid_t pid;

		if (put(hook, &old, &err) < 0) {
			(void)tell(hook, false, WHAT, "%s", err.msg);
			return;
		}
		pid = start_commit(hook, &new);
		(void)nanosleep(&wait, NULL);
		(void)kill(-pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
		killed += WIFSIGNALED(status);
		if (get(hook, &found, &err) < 0) {
			(void)tell(hook, false, WHAT, "after %.4f s: %s", after, err.msg);
			return;
		}
		kept += boot_state_equal(&found, &old);
		if (!boot_state_equal(&found, &old) && !boot_state_equal(&found, &new)) {
			(void)tell(hook, false, WHAT, "after %.4f s: a mix: %s", after,
				text_of(&found));
			return;
		}
	}
	if (put(hook, &new, &err) < 0) {
		(void)tell(hook, false, WHAT, "%s", err.msg);
		return;
	}
	(void)printf("# of %u commits %u were killed before their end, %u before their change\n",
		KILLS, killed, kept);
	(void)tell(hook, killed > 0, WHAT, "none of %u commits was killed in time", KILLS);
}

/* Refused with a status other than 0, and nothing changed. `input` NULL: for get-state's verbs. */
static bool refuses(
	struct hook *hook, char *verb, const char *input, size_t len, const char **ret_why)
{
	char *const argv[] = {hook->program, verb, NULL};
	struct boot_state before, after;
	struct process_result result;
	struct err err;

	*ret_why = "get-state failed";
	if (get(hook, &before, &err) < 0)
		return false;
	*ret_why = "it did not start or end";
	if (process_exchange(argv, input, len, CUSTOM_TIMEOUT, &result, &err) < 0 ||
		result.timed_out)
		return false;
	*ret_why = "it was taken: exit status 0";
	if (result.exit_status == 0)
		return false;
	*ret_why = "get-state failed afterwards";
	if (get(hook, &after, &err) < 0)
		return false;
	*ret_why = "it was refused, but the state has changed";
	return boot_state_equal(&before, &after);
}

static void check_rubbish(struct hook *hook)
{
#define GROUP_GOOD                 "{\"good\":true,\"bad\":false,\"tries\":0}"
#define GROUP_OF(good, bad, tries) "{\"good\":" good ",\"bad\":" bad ",\"tries\":" tries "}"
#define STATE_OF(primary, a, b)    "{\"primary\":" primary ",\"a\":" a ",\"b\":" b "}\n"
	static const char *const RUBBISH[] = {
		"\n",
		"rubbish\n",
		"{}\n",
		STATE_OF("\"c\"", GROUP_GOOD, GROUP_GOOD),
		STATE_OF("7", GROUP_GOOD, GROUP_GOOD),
		STATE_OF("\"a\"", GROUP_GOOD, "null"),
		STATE_OF("\"a\"", GROUP_GOOD, GROUP_OF("true", "true", "0")),
		STATE_OF("\"a\"", GROUP_GOOD, GROUP_OF("true", "false", "3")),
		STATE_OF("\"a\"", GROUP_GOOD, GROUP_OF("false", "false", "10")),
		STATE_OF("\"a\"", GROUP_GOOD, GROUP_OF("false", "false", "-1")),
		STATE_OF("\"a\"", GROUP_GOOD, GROUP_OF("false", "false", "1.5")),
		STATE_OF("\"a\"", GROUP_GOOD, GROUP_OF("false", "maybe", "0")),
		"{\"primary\":\"a\",\"a\":" GROUP_GOOD "}\n",
		STATE_OF("\"a\"", GROUP_GOOD, GROUP_GOOD) "and more\n",
	};
	static const char WHAT[] = "rubbish is refused, and changes nothing";
	const char *why = "";

	for (size_t i = 0; i < ARRAY_LEN(RUBBISH); i++)
		if (!refuses(hook, (char[]){"commit"}, RUBBISH[i], strlen(RUBBISH[i]), &why)) {
			(void)tell(hook, false, WHAT, "%s: %.*s", why,
				(int)strcspn(RUBBISH[i], "\n"), RUBBISH[i]);
			return;
		}
	(void)tell(hook, true, WHAT, "%s", "");
}

/* As a writer that dies on the way leaves it. */
static void check_cut_input(struct hook *hook)
{
	static const char WHAT[] = "input that is cut short is refused, and changes nothing";
	const char *why = "";
	char text[CUSTOM_TEXT_MAX];
	size_t len;

	custom_state_format(&hook->states[0], text);
	len = strcspn(text, "\n");
	for (size_t cut = 0; cut < len; cut += cut < len - 8 ? 7 : 1)
		if (!refuses(hook, (char[]){"commit"}, text, cut, &why)) {
			(void)tell(
				hook, false, WHAT, "%s: the first %zu bytes of %s", why, cut, text);
			return;
		}
	(void)tell(hook, true, WHAT, "%s", "");
}

static void check_verbs(struct hook *hook)
{
	const char *why = "";
	bool ok = refuses(hook, (char[]){"no-such-verb"}, NULL, 0, &why);

	(void)tell(hook, ok, "a verb it does not know is refused, and changes nothing", "%s", why);
}

/* ---- all of it ---- */

static void check_all(struct hook *hook)
{
	static const char *const WHAT_TIME = "each call ends well within the limit";

	check_round_trip(hook);
	if (hook->failed)
		return; /* the rest would say the same in other words */
	check_again(hook);
	check_race(hook);
	check_kills(hook);
	check_rubbish(hook);
	check_cut_input(hook);
	check_verbs(hook);
	(void)printf("# the slowest call took %.3f s, the limit is %u s\n", hook->slowest,
		CUSTOM_TIMEOUT);
	(void)tell(hook, hook->slowest < CUSTOM_TIMEOUT / 2.0, WHAT_TIME, "%.1f s", hook->slowest);
}

int main(int argc, char **argv)
{
	struct hook hook = {0};
	struct boot_state before;
	struct err err;

	if (argc != 2 || argv[1][0] != '/') {
		(void)fprintf(stderr, "usage: custom_hook /PATH/OF/PROGRAM\n"
				      "The boot state of this device is changed many times, and "
				      "then put back: not "
				      "for a device in use.\n");
		return 2;
	}
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	hook.program = argv[1];
	hook.count = states_boot_reachable(hook.states, STATES_OF_A_HOOK);
	if (custom_open(hook.program, CUSTOM_TIMEOUT, &hook.bl, &err) < 0 ||
		!tell(&hook, get(&hook, &before, &err) == 0, "get-state says a state", "%s",
			err.msg)) {
		bootloader_close(&hook.bl);
		return 1;
	}
	check_all(&hook);
	(void)tell(&hook, put(&hook, &before, &err) == 0, "the first state is put back", "%s: %s",
		text_of(&before), err.msg);
	bootloader_close(&hook.bl);
	return hook.failed ? 1 : 0;
}
