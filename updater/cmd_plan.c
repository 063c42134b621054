#include "updater/cmd.h"

#include "updater/install.h"
#include "updater/ui_json.h"

static void on_note(void *arg, const char *text)
{
	struct cmd *cmd = arg;

	ui_note(&cmd->ui, text);
}

static const char *explain(const struct install_plan *plan)
{
	switch (plan->action) {
	case PLAN_NOTHING:
		return plan->view.state.now == STATE_ACTIVATED
			       ? "nothing to do: it is activated already"
			       : "nothing to do: it runs already";
	case PLAN_DEACTIVATE:
		return "it runs already: the other group, which is activated, would be taken back";
	case PLAN_ACTIVATE:
		return "the other group holds it: it would be read back and activated";
	case PLAN_WRITE:
		return "it would be written to the other group, read back, sealed and activated";
	}
	return "";
}

static void print_image(
	const char *class, uint64_t size, const struct plan_totals *bytes, uint64_t stored)
{
	char all[UI_SIZE_MAX], travel[UI_SIZE_MAX], fetch[UI_SIZE_MAX], in_place[UI_SIZE_MAX],
		seed[UI_SIZE_MAX], moved[UI_SIZE_MAX], repeat[UI_SIZE_MAX], zero[UI_SIZE_MAX],
		write[UI_SIZE_MAX];

	ui_say("  %s, %s: %s to fetch (for %s of the image), %s to copy from the running group, "
	       "%s from elsewhere in the slot, %s thought to be in place, %s repeated, %s zero; "
	       "%s to write\n",
		class, ui_size(size, all), ui_size(stored, travel), ui_size(bytes->fetch, fetch),
		ui_size(bytes->seed, seed), ui_size(bytes->moved, moved),
		ui_size(bytes->in_place, in_place), ui_size(bytes->repeat, repeat),
		ui_size(bytes->zero, zero), ui_size(size - bytes->in_place, write));
}

static void print_plan(const struct install_plan *plan)
{
	const struct manifest *manifest = plan->manifest;
	char id[UI_ID_MAX];

	ui_say("release %s (%s): %s\n", manifest->version, ui_id(&plan->artifact, id),
		plan->refused ? "it would be refused" : explain(plan));
	for (size_t i = 0; i < plan->verdict.count; i++)
		ui_say("  %-4s %-16s %s\n", plan->verdict.checks[i].ok ? "ok" : "NOT",
			plan->verdict.checks[i].name, plan->verdict.checks[i].detail);
	if (plan->action != PLAN_WRITE || plan->refused)
		return;
	for (size_t i = 0; i < manifest->image_count; i++)
		print_image(manifest->images[i].class, manifest->images[i].size, &plan->totals[i],
			plan->stored[i]);
}

static int run(struct cmd *cmd, struct err *err)
{
	CLEANUP(install_plan_finish) struct install_plan plan = {0};
	const struct install_options options = {
		.force = cmd->options & CMD_FORCE,
		.interrupted = cmd->interrupted,
		.note = on_note,
		.arg = cmd,
	};

	if (cmd_device(cmd, err) < 0 ||
		install_plan(&cmd->device, cmd->operands[0], &options, &plan, err) < 0)
		return -1;
	if (cmd->ui.json && ui_json_plan(&plan, err) < 0)
		return -1;
	if (!cmd->ui.json)
		print_plan(&plan);
	/* Refused is an answer, and the exit status says which. */
	return policy_enforce(&plan.verdict, err);
}

const struct command CMD_PLAN_COMMAND = {
	.name = "plan",
	.operands = "SOURCE",
	.summary = "what install would do and why; changes nothing",
	.help = "Prints each check with its outcome, and where the bytes of each image would come "
		"from.\nExits as install would if a check is not passed.\n",
	.options = CMD_JSON | CMD_FORCE,
	.operands_min = 1,
	.operands_max = 1,
	.run = run,
};
