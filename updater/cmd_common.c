#include "updater/cmd.h"

int cmd_config(struct cmd *cmd, struct err *err)
{
	return config_read(cmd->config_path, &cmd->config, err);
}

int cmd_device(struct cmd *cmd, struct err *err)
{
	if (cmd_config(cmd, err) < 0)
		return -1;
	return device_open(cmd->config, &cmd->device, err);
}

void cmd_finish(struct cmd *cmd)
{
	device_close(&cmd->device);
	config_free(&cmd->config);
}

static void on_note(void *arg, const char *text)
{
	struct cmd *cmd = arg;

	ui_note(&cmd->ui, text);
}

static void on_read_back(void *arg, uint64_t done, uint64_t total)
{
	struct cmd *cmd = arg;

	ui_progress(&cmd->ui, "reading back", NULL, done, total);
}

struct confirm_options cmd_confirm_options(struct cmd *cmd)
{
	return (struct confirm_options){
		.note = on_note,
		.arg = cmd,
		.watch = {.progress = on_read_back, .arg = cmd, .interrupted = cmd->interrupted},
	};
}

int cmd_group(const struct cmd *cmd, int at, enum group *ret, struct err *err)
{
	if (!group_parse(cmd->operands[at], ret))
		return err_set(err, FAIL_USAGE, "there is no such group: 'a' or 'b'");
	return 0;
}
