/*
 * devices: every virtual device through every scenario, really booted; and the story that the demo
 * tells, asserted.
 *
 *	ABIDE_DEVICE=NAMES   only these devices (else all of them)
 *	ABIDE_SCENARIOS=SET  only the quick scenarios and the story; or the slow, or the replay ones,
 *	                     or all that are not (boots)
 *	argument             a pattern of test names: '*panic*'; -l lists the devices
 *
 * Each test prints how long it took, and how much of a processor. What a failed one leaves is in build/qemu/DEVICE/failed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "qemu/scenario.h"
#include "qemu/story.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define TESTS_MAX 256u
#define TEST_NAME 128u

/* One test: a device, and a chapter or a scenario. */
struct test {
	char name[TEST_NAME];
	const struct vm_device *device;
	int (*run)(struct rig *rig, struct err *err);
	unsigned int flags; /* a scenario's */
};

/* The device that is on the bench; another one takes its place. */
static struct rig rig;

static int take(const struct vm_device *device, struct err *err)
{
	const char *build = getenv("ABIDE_BUILD");
	char out[PATH_MAX];

	if (rig.device == device)
		return 0;
	rig_finish(&rig);
	memset(&rig, 0, sizeof(rig));
	if (fs_join(build ? build : "build", "qemu", out, sizeof(out), err) < 0)
		return -1;
	return rig_init(&rig, device, out, "run-test", NULL, err);
}

static double seconds_of(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

/* Of a processor, by this process and its children: how busy the machine is says nothing of it. */
static double processor_seconds(void)
{
	static const int WHO[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
	double sum = vm_processor_seconds(rig.vm); /* it counts as a child when it has ended */
	struct rusage used;

	for (size_t i = 0; i < ARRAY_LEN(WHO); i++)
		if (getrusage(WHO[i], &used) == 0)
			sum += seconds_of(&used.ru_utime) + seconds_of(&used.ru_stime);
	return sum;
}

static void run(void **state)
{
	const struct test *test = *state;
	double before = processor_seconds();
	time_t began = time(NULL);
	struct err err = {0};
	int rc;

	rc = take(test->device, &err);
	if (rc == 0)
		rc = test->run(&rig, &err);
	if (rc < 0)
		rig_capture(&rig, strchr(test->name, '/') + 1, &err);
	print_message("%s: %lld s, %.0f s of a processor\n", test->name,
		(long long)(time(NULL) - began), processor_seconds() - before);
	if (rc < 0)
		fail_msg("%s", err.msg);
}

static int stop(void **state)
{
	(void)state;
	rig_finish(&rig);
	return 0;
}

static void add(struct test tests[], size_t *count, const struct vm_device *device,
	const struct chapter *chapter, const struct scenario *scenario)
{
	struct test *test = &tests[*count];

	if (*count == TESTS_MAX)
		abort();
	test->device = device;
	test->run = chapter ? chapter->tell : scenario->run;
	test->flags = scenario ? scenario->flags : 0;
	(void)snprintf(test->name, sizeof(test->name), "%s/%s", device->name,
		chapter ? chapter->name : scenario->name);
	++*count;
}

/* What ABIDE_SCENARIOS may be. */
static const struct {
	const char *name;
	unsigned int mask, flags;
} SETS[] = {
	{"quick", SCENARIO_QUICK, SCENARIO_QUICK},
	{"slow", SCENARIO_QUICK, 0},
	{"replay", SCENARIO_REPLAY, SCENARIO_REPLAY},
	{"boots", SCENARIO_REPLAY, 0},
};

static bool is_wanted(unsigned int flags, const char *set)
{
	if (!set || !*set)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(SETS); i++)
		if (strcmp(set, SETS[i].name) == 0)
			return (flags & SETS[i].mask) == SETS[i].flags;
	return false;
}

/* Whether `name` is one of the words of `names`. */
static bool is_named(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = names; (at = strstr(at, name)); at += len)
		if ((at == names || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
			return true;
	return false;
}

static size_t collect(struct test tests[], const char *only, const char *set)
{
	size_t count = 0;

	for (size_t i = 0; i < VM_DEVICES_LEN; i++) {
		const struct vm_device *device = &VM_DEVICES[i];

		bool has_story =
			strcmp(device->name, STORY_DEVICE) == 0 && is_wanted(SCENARIO_QUICK, set);

		if (only && !is_named(only, device->name))
			continue;
		for (size_t c = 0; has_story && c < STORY_LEN; c++)
			add(tests, &count, device, &STORY[c], NULL);
		for (size_t s = 0; s < SCENARIOS_LEN; s++) {
			bool told = has_story && set && strcmp(set, "quick") == 0 &&
				    SCENARIOS[s].flags & SCENARIO_TOLD;

			if (is_wanted(SCENARIOS[s].flags, set) && !told)
				add(tests, &count, device, NULL, &SCENARIOS[s]);
		}
	}
	return count;
}

static int list_devices(void)
{
	for (size_t i = 0; i < VM_DEVICES_LEN; i++)
		(void)printf("%s\n", VM_DEVICES[i].name);
	return 0;
}

int main(int argc, char **argv)
{
	static struct CMUnitTest units[TESTS_MAX];
	static struct test tests[TESTS_MAX];
	const char *only = getenv("ABIDE_DEVICE"), *set = getenv("ABIDE_SCENARIOS");
	size_t count = collect(tests, only && *only ? only : NULL, set);

	if (argc == 2 && strcmp(argv[1], "-l") == 0)
		return list_devices();
	if (argc > 2 || count == 0) {
		(void)fprintf(stderr, "usage: [ABIDE_DEVICE=NAMES] [ABIDE_SCENARIOS=SET] "
				      "test_devices [PATTERN]; test_devices -l\n");
		if (count == 0)
			(void)fprintf(stderr, "nothing to test: no device '%s', or no set '%s'\n",
				only ? only : "", set ? set : "");
		return 2;
	}
	if (argc == 2)
		cmocka_set_test_filter(argv[1]);
	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* a log to follow */
	for (size_t i = 0; i < count; i++)
		units[i] = (struct CMUnitTest){
			.name = tests[i].name, .test_func = run, .initial_state = &tests[i]};
	return _cmocka_run_group_tests("devices", units, count, NULL, stop);
}
