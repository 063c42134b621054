#include "updater/cmd.h"

#include "updater/ui_json.h"

#define BOTH_GROUPS (1u << GROUP_A | 1u << GROUP_B)

static int run(struct cmd *cmd, struct err *err)
{
	const struct confirm_options options = cmd_confirm_options(cmd);
	struct verify_report report = {0};
	struct err ignored; /* the drift is what is told */
	unsigned int which = BOTH_GROUPS;
	enum group group;
	int drift;

	if (cmd->operand_count) {
		if (cmd_group(cmd, 0, &group, err) < 0)
			return -1;
		which = 1u << group;
	}
	if (cmd_device(cmd, err) < 0)
		return -1;
	drift = verify_run(&cmd->device, which, &options, &report, err);
	ui_progress_end(&cmd->ui);
	if (drift && err->code != FAIL_DRIFT)
		return -1;
	if (cmd->ui.json)
		(void)ui_json_verify(&report, &ignored);
	for (size_t i = 0; !cmd->ui.json && i < report.count; i++)
		ui_say("  %-5s %-12s %s\n", report.findings[i].ok ? "ok" : "DRIFT",
			report.findings[i].name, report.findings[i].detail);
	return drift;
}

const struct command CMD_VERIFY_COMMAND = {
	.name = "verify",
	.operands = "[GROUP]",
	.summary = "read sealed slots again and compare them with what was signed",
	.help = "Also compares what the bootloader may boot with what the seals say. Changes "
		"nothing. "
		"Exits 9\nif anything is not as it should be.\n",
	.options = CMD_JSON,
	.operands_max = 1,
	.run = run,
};
