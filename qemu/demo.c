/* demo - tells the story (story.h) on a virtual device, for a person to watch. Each chapter is
 * asserted: a wrong outcome ends the demo with the reason and exit status 1. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "qemu/story.h"
#include "updater/mem.h"

static bool terminal;

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Indented. Where nobody watches, each state of the progress bar becomes nothing: it stands between
 * a carriage return and the escape that erases the rest of the line. */
static void show(const char *data, size_t len)
{
	static bool line_begins = true, skipping, escape;

	for (size_t i = 0; i < len; i++) {
		char c = data[i];

		if (!terminal && c == '\r')
			skipping = true;
		if (skipping) {
			escape = escape || c == '\x1b';
			if (escape && c == 'K')
				skipping = escape = false;
			continue;
		}
		if (line_begins && c != '\n')
			(void)fputs("    ", stdout);
		line_begins = c == '\n';
		(void)putchar(c);
		if (c == '\r') {
			(void)fputs("    ", stdout);
		}
	}
	(void)fflush(stdout);
}

static int tell(struct rig *rig, size_t number, struct err *err)
{
	const char *bold = terminal ? "\x1b[1m" : "", *plain = terminal ? "\x1b[0m" : "";
	uint64_t began = now_ms(), ms;

	(void)printf("\n%s%zu. %s%s\n\n", bold, number + 1, STORY[number].title, plain);
	(void)fflush(stdout);
	if (STORY[number].tell(rig, err) < 0)
		return -1;
	ms = now_ms() - began;
	(void)printf(
		"\n    as expected, after %" PRIu64 ".%" PRIu64 " s\n", ms / 1000, ms % 1000 / 100);
	return 0;
}

static int run(struct rig *rig, const char *out, struct err *err)
{
	const struct vm_device *device = vm_device_find(STORY_DEVICE);
	uint64_t began = now_ms();

	if (rig_init(rig, device, out, "run-demo", show, err) < 0)
		return -1;
	(void)printf("A virtual device: %s, under %s. Its console goes to\n"
		     "%s/console.log.\n",
		device->title, vm_accel_name(rig->accel), rig->work);
	for (size_t i = 0; i < STORY_LEN; i++)
		if (tell(rig, i, err) < 0)
			return -1;
	(void)printf(
		"\nAll %zu as expected, in %" PRIu64 " s.\n", STORY_LEN, (now_ms() - began) / 1000);
	return 0;
}

int main(int argc, char **argv)
{
	static struct rig rig;
	struct err err = {0};
	int result;

	if (argc != 2) {
		(void)fprintf(stderr, "usage: demo OUT (that releases.sh was given)\n");
		return 2;
	}
	terminal = isatty(STDOUT_FILENO) == 1;
	result = run(&rig, argv[1], &err);
	rig_finish(&rig);
	if (result < 0)
		(void)fprintf(stderr, "\ndemo: NOT as expected: %s\n(console: %s/console.log)\n",
			err.msg, rig.work);
	return result < 0;
}
