#include "updater/cmd.h"

#include "updater/ui_json.h"

static void print_passed(const struct confirm_result *result)
{
	const char *group = group_name(result->group);

	if (result->outcome == CONFIRM_ALREADY)
		ui_say("group %s is good already: nothing to do\n", group);
	else
		ui_say("group %s is confirmed: %zu health check%s passed\n", group,
			result->health.run, result->health.run == 1 ? "" : "s");
}

/* What happens next, and the failed check's own words, for init's log. */
static void note_failed(struct cmd *cmd, const struct confirm_result *result)
{
	if (result->reverted)
		ui_note(&cmd->ui, "that was the last try: the other group boots next; reboot");
	else if (result->tries_left)
		ui_note(&cmd->ui, "a reboot tries this group again");
	else
		ui_note(&cmd->ui, "that was the last try; a reboot leaves this group");
	if (!cmd->ui.json)
		ui_block("  | ", result->health.output, true);
}

static int run(struct cmd *cmd, struct err *err)
{
	const struct confirm_options options = cmd_confirm_options(cmd);
	struct confirm_result result = {0};
	struct err ignored; /* the failed check is what is told */
	int failed;

	if (cmd_device(cmd, err) < 0)
		return -1;
	failed = confirm_run(&cmd->device, &options, &result, err);
	if (failed && err->code != FAIL_HEALTH)
		return -1;
	if (cmd->ui.json)
		(void)ui_json_confirm(&result, &ignored);
	else if (!failed)
		print_passed(&result);
	if (failed)
		note_failed(cmd, &result);
	return failed;
}

const struct command CMD_CONFIRM_COMMAND = {
	.name = "confirm",
	.operands = "",
	.summary = "run the health checks of a new group, and confirm it if all pass",
	.help = "For the device's init, at every boot: on a group that is good already it does "
		"nothing.\nExits 10 if a check failed: reboot then.\n",
	.options = CMD_JSON,
	.run = run,
};
