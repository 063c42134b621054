#include "updater/ui_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MIB          1048576.0
#define BAR_MIN      8u /* columns; narrower is left out */
#define WIDTH_MAX    120u
#define WIDTH_UNSURE 80u
#define ETA_MAX      (100u * 3600u) /* seconds; further away is not worth a number */

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail with this clock */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static size_t terminal_width(void)
{
	struct winsize size = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return WIDTH_UNSURE;
	/* The last column stays free: some terminals wrap when it is written. */
	return size.ws_col - 1u < WIDTH_MAX ? size.ws_col - 1u : WIDTH_MAX;
}

static void add_sample(struct ui_progress *bar, uint64_t done, int64_t now)
{
	size_t at = bar->count++ % UI_PROGRESS_SAMPLES;

	bar->samples[at].ms = now;
	bar->samples[at].done = done;
}

static uint64_t rate(const struct ui_progress *bar)
{
	size_t newest = (bar->count - 1) % UI_PROGRESS_SAMPLES;
	size_t oldest = bar->count > UI_PROGRESS_SAMPLES ? bar->count % UI_PROGRESS_SAMPLES : 0;
	int64_t ms = bar->samples[newest].ms - bar->samples[oldest].ms;

	if (bar->count < 2 || ms <= 0)
		return 0;
	return (bar->samples[newest].done - bar->samples[oldest].done) * 1000 / (uint64_t)ms;
}

bool ui_progress_due(struct ui_progress *bar, const char *what, uint64_t done, uint64_t total,
	unsigned int every_ms)
{
	int64_t now = now_ms();
	bool first = bar->count == 0 || strncmp(bar->what, what, sizeof(bar->what) - 1) != 0 ||
		     done < bar->samples[(bar->count - 1) % UI_PROGRESS_SAMPLES].done;

	if (first) {
		bar->count = 0;
		(void)snprintf(bar->what, sizeof(bar->what), "%s", what); /* a long one is cut */
	} else if (done < total && now < bar->next_ms) {
		return false;
	}
	add_sample(bar, done, now);
	bar->next_ms = now + every_ms;
	return true;
}

static void format_eta(uint64_t left, uint64_t bytes_per_second, char *ret, size_t cap)
{
	uint64_t seconds = bytes_per_second ? left / bytes_per_second : ETA_MAX;

	if (seconds >= ETA_MAX)
		(void)snprintf(ret, cap, "--:--");
	else if (seconds >= 3600)
		(void)snprintf(ret, cap, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, seconds / 3600,
			seconds / 60 % 60, seconds % 60);
	else
		(void)snprintf(ret, cap, "%" PRIu64 ":%02" PRIu64, seconds / 60, seconds % 60);
}

static void format_bar(uint64_t done, uint64_t total, size_t width, char *ret)
{
	size_t full = total ? (size_t)((double)(width - 2) * ((double)done / (double)total)) : 0;

	ret[0] = '[';
	memset(ret + 1, ' ', width - 2);
	memset(ret + 1, '=', full < width - 2 ? full : width - 2);
	if (full < width - 2)
		ret[1 + full] = '>';
	ret[width - 1] = ']';
	ret[width] = '\0';
}

void ui_progress_format(const char *what, uint64_t done, uint64_t total, uint64_t bytes_per_second,
	size_t width, char *ret, size_t cap)
{
	unsigned int percent = total ? (unsigned int)((double)done / (double)total * 100) : 100;
	char numbers[96], bar[WIDTH_MAX + 1] = "", eta[16];
	size_t used;

	format_eta(done < total ? total - done : 0, bytes_per_second, eta, sizeof(eta));
	(void)snprintf(numbers, sizeof(numbers), "%3u%%  %.1f/%.1f MiB  %.1f MiB/s  ETA %s",
		percent, (double)done / MIB, (double)total / MIB, (double)bytes_per_second / MIB,
		eta);
	used = strlen(what) + strlen(numbers) + 2;
	if (width <= WIDTH_MAX && width >= used + BAR_MIN + 1)
		format_bar(done, total, width - used - 1, bar);
	(void)snprintf(ret, width + 1 < cap ? width + 1 : cap, "%s  %s%s%s", what, bar,
		bar[0] ? " " : "", numbers); /* a narrow terminal cuts it */
}

void ui_progress_draw(struct ui_progress *bar, const char *what, uint64_t done, uint64_t total)
{
	char line[WIDTH_MAX + 1];

	ui_progress_format(what, done, total, rate(bar), terminal_width(), line, sizeof(line));
	/* Back to the first column, the line, the rest of the old one erased. */
	(void)fprintf(stderr, "\r%s\x1b[K", line);
	(void)fflush(stderr); /* a bar that is not seen is no reason to fail */
	bar->drawn = true;
}

void ui_progress_clear(struct ui_progress *bar)
{
	if (!bar->drawn)
		return;
	(void)fputs("\r\x1b[K", stderr);
	(void)fflush(stderr); /* as above */
	bar->drawn = false;
}
