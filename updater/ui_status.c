#include "updater/ui_status.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "updater/journal.h"
#include "updater/mem.h"
#include "updater/ui.h"

const char *ui_seal_name(enum seal_state state)
{
	switch (state) {
	case SEAL_NONE:
		return "none";
	case SEAL_WRITING:
		return "writing";
	case SEAL_SEALED:
		return "sealed";
	}
	return "none";
}

/* ---- rejected builds ---- */

static void add_rejected(struct ui_rejected *list, size_t *count, const struct digest *artifact)
{
	for (size_t i = 0; i < *count; i++)
		if (digest_equal(&list[i].artifact, artifact))
			return;
	list[(*count)++] = (struct ui_rejected){.artifact = *artifact};
}

size_t ui_rejected_list(const struct device *device, const struct device_view *view,
	struct ui_rejected ret[static UI_REJECTED_MAX])
{
	const struct state *state = &view->state;
	size_t count = 0;

	/* The newest first: what still lies in a group, then what the seals remember. */
	if (state->target_rejected)
		add_rejected(ret, &count, &view->facts[state->target].artifact);
	if (state->now == STATE_REVERTING && view->facts[state->booted].seal == SEAL_SEALED)
		add_rejected(ret, &count, &view->facts[state->booted].artifact);
	for (unsigned int g = 0; g < GROUP_COUNT; g++)
		for (uint32_t i = 0; i < view->facts[g].rejected_count; i++)
			add_rejected(ret, &count, &view->facts[g].rejected[i]);
	for (size_t i = 0; i < count; i++) {
		for (unsigned int g = 0; g < GROUP_COUNT; g++)
			if (view->facts[g].proven &&
				digest_equal(&view->facts[g].artifact, &ret[i].artifact))
				ret[i].version = view->facts[g].version;
		(void)journal_last_why(device->state_dir, "reverted", &ret[i].artifact, ret[i].why,
			sizeof(ret[i].why)); /* not known: left empty */
	}
	return count;
}

static void print_rejected(const struct device *device, const struct device_view *view)
{
	struct ui_rejected list[UI_REJECTED_MAX];
	size_t count = ui_rejected_list(device, view, list);
	char id[UI_ID_MAX];

	for (size_t i = 0; i < count; i++)
		ui_say("rejected    %s%s%s: %s\n", list[i].version ? list[i].version : "",
			list[i].version ? " " : "", ui_id(&list[i].artifact, id),
			list[i].why[0] ? list[i].why : "failed its trial on this device");
}

/* ---- the groups ---- */

static void describe_boot(const struct boot_group *group, bool runs_on_trial, char *ret, size_t cap)
{
	const char *plural = group->tries == 1 ? "y" : "ies";

	if (group->good)
		(void)snprintf(ret, cap, "good");
	else if (runs_on_trial && group->tries == 0)
		(void)snprintf(ret, cap, "trial, the last try");
	else if (runs_on_trial)
		(void)snprintf(ret, cap, "trial, %" PRIu32 " more tr%s", group->tries, plural);
	else if (group->bad)
		(void)snprintf(ret, cap, "bad");
	else if (group->tries)
		(void)snprintf(ret, cap, "trial, %" PRIu32 " tr%s", group->tries, plural);
	else
		(void)snprintf(ret, cap, "-");
}

static void print_group(const struct device_view *view, enum group group)
{
	const struct state *state = &view->state;
	const struct group_facts *facts = &view->facts[group];
	char id[UI_ID_MAX] = "-", boot[64];

	describe_boot(&view->boot.group[group], group == state->booted && state->now == STATE_TRIAL,
		boot, sizeof(boot));
	if (facts->seal != SEAL_NONE)
		(void)ui_id(&facts->artifact, id);
	ui_say("  %s %-7s  %-12s %-9s %-8s %s\n", group_name(group),
		group == state->booted ? "running" : "", facts->proven ? facts->version : "-", id,
		ui_seal_name(facts->seal), boot);
}

static void print_next(const struct state *state)
{
	if (!state->next_known)
		ui_say("boots next  nothing by its variables: the bootloader starts over with the "
		       "last confirmed group\n");
	else
		ui_say("boots next  group %s\n", group_name(state->next));
}

/* The state in a person's words. */
static const char *explain(enum device_state state)
{
	switch (state) {
	case STATE_IDLE:
		return "idle: the running group is confirmed and stays";
	case STATE_WRITING:
		return "writing: an install into the other group did not end; install again to go "
		       "on";
	case STATE_ACTIVATED:
		return "activated: the other group is installed and will be tried; reboot to run "
		       "it";
	case STATE_TRIAL:
		return "trial: the running group is not confirmed yet";
	case STATE_REVERTING:
		return "reverting: the running group was given up; reboot to run the other one";
	case STATE_PASSED_OVER:
		return "passed-over: the bootloader was to start the other group and did not";
	}
	return "";
}

static void print_passed_over(const struct state *state)
{
	const char *target = group_name(state->target), *booted = group_name(state->booted);

	if (state->now != STATE_PASSED_OVER)
		return;
	ui_say("note        group %s may not load: 'abide verify %s' reads it, an install or "
	       "'abide "
	       "activate %s' tries it again; 'abide activate %s' stays with group %s\n",
		target, target, target, booted, booted);
}

void ui_status_print(const struct device *device, const struct device_view *view)
{
	char problem[sizeof(view->problem[0].msg)];

	ui_say("device      %s%s%s\n", device->compatible, device->hardware[0] ? ", " : "",
		device->hardware);
	ui_say("bootloader  %s%s%s\n", device->boot->ops->name,
		device->boot_why[0] ? ", because " : "", device->boot_why);
	ui_say("state       %s\n", explain(view->state.now));
	print_next(&view->state);
	ui_say("floor       security version %" PRIu64 "\n", view->state.floor);
	ui_say("\n  group      version      artifact  seal     boot\n");
	print_group(view, GROUP_A);
	print_group(view, GROUP_B);
	ui_say("\n");
	print_rejected(device, view);
	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		if (view->problem[g].code == FAIL_NONE)
			continue;
		mem_printable(view->problem[g].msg, strlen(view->problem[g].msg), problem,
			sizeof(problem));
		ui_say("problem     group %s: %s\n", group_name((enum group)g), problem);
	}
	print_passed_over(&view->state);
	if (view->boot_note[0])
		ui_say("note        %s\n", view->boot_note);
}
