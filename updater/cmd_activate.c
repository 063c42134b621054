#include "updater/cmd.h"

#include "updater/ui_json.h"

static int run_activate(struct cmd *cmd, struct err *err)
{
	const struct confirm_options options = cmd_confirm_options(cmd);
	enum group group;
	bool changed;

	if (cmd_group(cmd, 0, &group, err) < 0 || cmd_device(cmd, err) < 0 ||
		activate_run(
			&cmd->device, group, cmd->options & CMD_FORCE, &options, &changed, err) < 0)
		return -1;
	ui_progress_end(&cmd->ui);
	if (cmd->ui.json)
		return ui_json_next("activate", group, changed, err);
	ui_say("group %s boots next%s\n", group_name(group), changed ? "" : " already");
	return 0;
}

const struct command CMD_ACTIVATE_COMMAND = {
	.name = "activate",
	.operands = "GROUP",
	.summary = "make a group boot next by hand: 'a' or 'b'",
	.help = "The other group is read back first, and is on trial unless it was confirmed "
		"before\n(and the bootloader has not passed it over since).\n"
		"Activating the running group takes an earlier activation or install back.\n",
	.options = CMD_JSON | CMD_FORCE,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_activate,
};

static int run_revert(struct cmd *cmd, struct err *err)
{
	const struct confirm_options options = cmd_confirm_options(cmd);

	if (cmd_device(cmd, err) < 0 ||
		revert_run(&cmd->device, "asked for by 'abide revert'", &options, err) < 0)
		return -1;
	if (cmd->ui.json)
		return ui_json_next("revert", group_other(cmd->device.booted), true, err);
	ui_say("group %s is marked bad, group %s boots next; reboot to run it\n",
		group_name(cmd->device.booted), group_name(group_other(cmd->device.booted)));
	return 0;
}

const struct command CMD_REVERT_COMMAND = {
	.name = "revert",
	.operands = "",
	.summary = "give the running group up: mark it bad and boot the other one next",
	.help = "The other group must be confirmed. The running build is rejected from then on.\n",
	.options = CMD_JSON,
	.run = run_revert,
};
