#include "updater/ui.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "updater/digest.h"
#include "updater/mem.h"
#include "updater/ui_json.h"

#define DRAW_EVERY_MS 100u
#define JSON_EVERY_MS 500u

void ui_init(struct ui *ui, const char *command, bool json)
{
	*ui = (struct ui){.command = command, .json = json};
	ui->bar.on_terminal = !json && isatty(STDERR_FILENO);
}

void ui_say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vprintf(fmt, args); /* ui_finish() sees whether it went out */
	va_end(args);
}

/* Names of files and what servers say end up in messages: none of it may steer a terminal. */
static void print_error_line(const char *command, const char *text)
{
	char clean[sizeof(((struct err *)NULL)->msg) + 128];

	mem_printable(text, strlen(text), clean, sizeof(clean));
	(void)fprintf(stderr, "abide: %s%s%s\n", command ? command : "", command ? ": " : "",
		clean); /* nowhere else to complain */
}

void ui_note(struct ui *ui, const char *text)
{
	ui_progress_clear(&ui->bar);
	if (ui->json)
		ui_json_note(ui->command, text);
	else
		print_error_line(ui->command, text);
}

void ui_progress(struct ui *ui, const char *what, const char *class, uint64_t done, uint64_t total)
{
	char label[sizeof(ui->bar.what)];

	if (!ui->json && !ui->bar.on_terminal)
		return;
	(void)snprintf(label, sizeof(label), "%s%s%s", what, class ? " " : "",
		class ? class : ""); /* a long one is cut */
	if (!ui_progress_due(
		    &ui->bar, label, done, total, ui->json ? JSON_EVERY_MS : DRAW_EVERY_MS))
		return;
	if (ui->json)
		ui_json_progress(ui->command, what, class, done, total);
	else
		ui_progress_draw(&ui->bar, label, done, total);
}

void ui_progress_end(struct ui *ui)
{
	ui_progress_clear(&ui->bar);
}

void ui_fail(struct ui *ui, const struct err *err, int exit_code)
{
	ui_progress_clear(&ui->bar);
	(void)fflush(stdout); /* what was said before comes before */
	if (ui->json)
		ui_json_error(ui->command, err, exit_code);
	/* In both forms: an init's log has standard error only. */
	print_error_line(NULL, err->msg);
}

int ui_finish(struct err *err)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	return err_errno(err, "write to standard output");
}

void ui_block(const char *indent, const char *text, bool to_stderr)
{
	FILE *out = to_stderr ? stderr : stdout;

	while (*text) {
		size_t len = strcspn(text, "\n");
		char line[256];

		mem_printable(text, len, line, sizeof(line));
		(void)fprintf(out, "%s%s\n", indent, line); /* as print_error_line, ui_say */
		text += len + (text[len] == '\n');
	}
}

const char *ui_size(uint64_t bytes, char ret[static UI_SIZE_MAX])
{
	static const char *const UNITS[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		(void)snprintf(
			ret, UI_SIZE_MAX, "%" PRIu64 " byte%s", bytes, bytes == 1 ? "" : "s");
		return ret;
	}
	while (value >= 1000 && unit + 1 < ARRAY_LEN(UNITS)) {
		value /= 1024;
		unit++;
	}
	(void)snprintf(ret, UI_SIZE_MAX, "%.1f %s", value, UNITS[unit]);
	return ret;
}

const char *ui_id(const struct digest *digest, char ret[static UI_ID_MAX])
{
	hex_encode(digest->b, (UI_ID_MAX - 1) / 2, ret);
	return ret;
}
