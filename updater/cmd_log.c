#include "updater/cmd.h"

#include <inttypes.h>

#include "updater/journal.h"
#include "updater/ui_json.h"

static int print_raw(void *arg, uint64_t number, const char *line)
{
	(void)arg, (void)number;
	ui_say("%s\n", line);
	return 0;
}

static int print_row(void *arg, uint64_t number, const char *line)
{
	struct ui_log_row row;

	(void)arg;
	if (!ui_json_log_row(line, &row)) {
		ui_say("%5" PRIu64 "  no line of abide; see 'abide log --verify'\n", number);
		return 0;
	}
	ui_say("%5" PRIu64 "  %-20s  %-16s %-1s  %-12s %-8.8s%s%s\n", row.seq, row.time, row.event,
		row.group[0] ? row.group : "-", row.version[0] ? row.version : "-",
		row.artifact[0] ? row.artifact : "-", row.why[0] ? "  " : "", row.why);
	ui_block("       | ", row.output, false);
	return 0;
}

static int verify(const struct cmd *cmd, struct err *err)
{
	struct journal_check check;
	char head[DIGEST_HEX_LEN + 1];

	if (journal_verify(cmd->config->state_dir, &check, err) < 0)
		return -1;
	digest_to_hex(&check.head, head);
	if (cmd->ui.json && ui_json_log_verify(&check, err) < 0)
		return -1;
	if (!cmd->ui.json)
		ui_say("lines  %" PRIu64 "\nhead   %s\n%s", check.lines, head,
			check.torn ? "the last line has no end: the next entry repairs it\n" : "");
	if (check.broken_at)
		return err_set(err, FAIL_DRIFT, "the chain is broken at line %" PRIu64 ": %s",
			check.broken_at, check.why);
	if (!cmd->ui.json)
		ui_say("the chain is whole\n");
	return 0;
}

static int run(struct cmd *cmd, struct err *err)
{
	if (cmd_config(cmd, err) < 0)
		return -1;
	if (cmd->options & CMD_VERIFY)
		return verify(cmd, err);
	return journal_read(
		cmd->config->state_dir, cmd->ui.json ? print_raw : print_row, NULL, err);
}

const struct command CMD_LOG_COMMAND = {
	.name = "log",
	.operands = "",
	.summary = "the journal: what changed on this device, and why",
	.help = "With --json the lines as they are stored. With --verify their number, the digest "
		"of "
		"the last\none (keep a copy elsewhere to notice a replaced journal), and exit 9 if "
		"the chain is broken.\n",
	.options = CMD_JSON | CMD_VERIFY,
	.run = run,
};
