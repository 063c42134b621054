/*
 * cmd - what the commands of abide share: one `struct command` each, and what main() hands them.
 *
 * A command reads its arguments, calls one function of the library, and prints what came of it.
 * It returns 0, or -1 with the error that main() prints and turns into the exit code.
 */
#ifndef ABIDE_UPDATER_CMD_H
#define ABIDE_UPDATER_CMD_H

#include <signal.h>
#include <stdbool.h>

#include "updater/config.h"
#include "updater/confirm.h"
#include "updater/device.h"
#include "updater/err.h"
#include "updater/ui.h"

enum cmd_option {
	CMD_JSON = 1,
	CMD_FORCE = 2,
	CMD_REBOOT = 4,
	CMD_VERIFY = 8,
	CMD_FALLBACK = 16, /* with a value: struct cmd */
};

struct cmd; /* below */

struct command {
	const char *name;
	const char *operands; /* for the synopsis: "SOURCE" */
	const char *summary; /* one line, for `abide --help` */
	const char *help; /* the rest of `abide COMMAND --help` */
	const char *interrupted; /* what a signal left behind; NULL: nothing */
	unsigned int options; /* enum cmd_option it takes */
	int operands_min, operands_max;
	int (*run)(struct cmd *cmd, struct err *err);
};

extern const struct command CMD_ACTIVATE_COMMAND;
extern const struct command CMD_CONFIRM_COMMAND;
extern const struct command CMD_INFO_COMMAND;
extern const struct command CMD_INSTALL_COMMAND;
extern const struct command CMD_LOG_COMMAND;
extern const struct command CMD_PLAN_COMMAND;
extern const struct command CMD_REVERT_COMMAND;
extern const struct command CMD_STATUS_COMMAND;
extern const struct command CMD_VERIFY_COMMAND;

struct cmd {
	const struct command *command;
	unsigned int options; /* enum cmd_option given */
	const char *fallback; /* CMD_FALLBACK's value, or NULL */
	const char *config_path; /* -c; NULL: the usual places */
	char **operands;
	int operand_count;
	struct ui ui;
	const volatile sig_atomic_t *interrupted; /* the signal that asked to stop; 0: none */
	struct config *config; /* after cmd_config() */
	struct device device; /* after cmd_device() */
};

/* Reads the configuration. */
int cmd_config(struct cmd *cmd, struct err *err);
/* Reads the configuration and opens the device. */
int cmd_device(struct cmd *cmd, struct err *err);
void cmd_finish(struct cmd *cmd);
/* Notes and the progress of reading back go to cmd->ui. */
struct confirm_options cmd_confirm_options(struct cmd *cmd);
/* operands[at] as a group. */
int cmd_group(const struct cmd *cmd, int at, enum group *ret, struct err *err);

#endif
