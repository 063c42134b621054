#include "updater/cmd.h"
#include "updater/ui_json.h"
#include "updater/ui_status.h"

static int run(struct cmd *cmd, struct err *err)
{
	struct device_view view;

	if (cmd_device(cmd, err) < 0 || device_examine(&cmd->device, &view, err) < 0)
		return -1;
	if (cmd->ui.json)
		return ui_json_status(&cmd->device, &view, err);
	ui_status_print(&cmd->device, &view);
	return 0;
}

const struct command CMD_STATUS_COMMAND = {
	.name = "status",
	.operands = "",
	.summary = "what runs, what boots next, and what each group holds",
	.help = "Derived afresh from the bootloader's state and the slots' seals. Changes "
		"nothing.\n",
	.options = CMD_JSON,
	.run = run,
};
