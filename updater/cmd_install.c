#include "updater/cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "updater/install.h"
#include "updater/process.h"
#include "updater/ui_json.h"

#define REBOOT_TIMEOUT 60u /* s, for the init system to take the order */

static void on_note(void *arg, const char *text)
{
	struct cmd *cmd = arg;

	ui_note(&cmd->ui, text);
}

static const char *phase_name(enum install_phase phase)
{
	switch (phase) {
	case INSTALL_CHECK:
		return "checking";
	case INSTALL_WRITE:
		return "writing";
	case INSTALL_READ_BACK:
		return "reading back";
	}
	return "";
}

static void on_progress(void *arg, const struct install_progress *progress)
{
	struct cmd *cmd = arg;

	ui_progress(&cmd->ui, phase_name(progress->phase), progress->class, progress->done,
		progress->total);
}

static void print_bytes(const struct install_result *result)
{
	const struct plan_totals *bytes = &result->bytes;
	char fetched[UI_SIZE_MAX], in_place[UI_SIZE_MAX], seed[UI_SIZE_MAX], moved[UI_SIZE_MAX],
		repeat[UI_SIZE_MAX], zero[UI_SIZE_MAX], read[UI_SIZE_MAX];

	ui_say("  %s new, %s copied from the running group, %s from elsewhere in the slot, "
	       "%s in place, %s repeated, %s zero; %s read from the source\n",
		ui_size(bytes->fetch, fetched), ui_size(bytes->seed, seed),
		ui_size(bytes->moved, moved), ui_size(bytes->in_place, in_place),
		ui_size(bytes->repeat, repeat), ui_size(bytes->zero, zero),
		ui_size(result->fetched, read));
}

static void print_result(const struct cmd *cmd, const struct install_result *result)
{
	const char *group = group_name(result->group);
	bool runs = result->group == cmd->device.booted;
	char id[UI_ID_MAX];

	ui_say("release %s (%s) ", result->version, ui_id(&result->artifact, id));
	switch (result->action) {
	case PLAN_NOTHING:
		ui_say(runs ? "runs already, in group %s: nothing to do\n"
			    : "is in group %s and activated already: reboot to run it\n",
			group);
		break;
	case PLAN_DEACTIVATE:
		ui_say("runs already, in group %s, which boots next again\n", group);
		break;
	case PLAN_ACTIVATE:
		ui_say("was in group %s already: read back and activated; reboot to run it\n",
			group);
		break;
	case PLAN_WRITE:
		ui_say("is installed in group %s and activated; reboot to run it\n", group);
		if (result->delta || result->fallback)
			ui_say("  from %s\n", result->fallback ? "the fallback" : "the delta");
		print_bytes(result);
		break;
	}
	ui_say("  %" PRIu64 " bytes written\n", result->written);
}

/* Through the init system, so that services are stopped. Without one that listens, at once: all
 * that matters is flushed, and a power cut would do no harm either. */
static int reboot_now(struct err *err)
{
	static const char *const PROGRAMS[] = {"/sbin/reboot", "/usr/sbin/reboot", "/bin/reboot"};
	struct process_result result;
	struct err ignored; /* the next way is tried instead */

	for (size_t i = 0; i < ARRAY_LEN(PROGRAMS); i++) {
		char program[32];
		char *const argv[] = {program, NULL};

		(void)snprintf(program, sizeof(program), "%s", PROGRAMS[i]); /* it fits */
		if (process_run(argv, REBOOT_TIMEOUT, &result, &ignored) == 0 &&
			result.exit_status == 0)
			return 0;
	}
	sync();
	if (reboot(RB_AUTOBOOT) < 0)
		return err_errno(err, "reboot");
	return 0;
}

static int run(struct cmd *cmd, struct err *err)
{
	struct install_result result;
	const struct install_options options = {
		.force = cmd->options & CMD_FORCE,
		.fallback = cmd->fallback,
		.interrupted = cmd->interrupted,
		.progress = on_progress,
		.note = on_note,
		.arg = cmd,
	};

	if (cmd->fallback && strcmp(cmd->fallback, "-") == 0)
		return err_set(err, FAIL_USAGE,
			"--fallback '-': standard input is for SOURCE, a path or URL is expected");
	if (cmd_device(cmd, err) < 0)
		return -1;
	if ((cmd->options & CMD_REBOOT) && cmd->config->booted_set)
		return err_set(err, FAIL_USAGE,
			"'%s' sets 'booted': this is no device that --reboot could reboot",
			cmd->config->path);
	if (install_run(&cmd->device, cmd->operands[0], &options, &result, err) < 0)
		return -1;
	ui_progress_end(&cmd->ui);
	if (cmd->ui.json && ui_json_install(&result, err) < 0)
		return -1;
	if (!cmd->ui.json)
		print_result(cmd, &result);
	if (!(cmd->options & CMD_REBOOT) || result.group == cmd->device.booted)
		return 0;
	return reboot_now(err);
}

const struct command CMD_INSTALL_COMMAND = {
	.name = "install",
	.operands = "SOURCE",
	.summary = "bring this device to an artifact: verify, write, read back, activate",
	.help = "SOURCE: a path, '-' for standard input, http://... or https://... Writes the "
		"group "
		"that does\nnot run, never the running one. Run again it goes on where it was "
		"stopped, or has nothing\nto do. A delta needs its base to run; --fallback is for "
		"where it does not, or cannot be had.\n",
	.interrupted = "the device is as before, but for the target group, which may be "
		       "unsealed now; the same command goes on where this one stopped",
	.options = CMD_JSON | CMD_FALLBACK | CMD_FORCE | CMD_REBOOT,
	.operands_min = 1,
	.operands_max = 1,
	.run = run,
};
