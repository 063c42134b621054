#include "updater/policy.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Appends a check; the detail is said whether it passed or not. */
__attribute__((format(printf, 5, 6))) static void add(struct policy_verdict *verdict,
	const char *name, bool ok, enum err_code code, const char *fmt, ...)
{
	struct policy_check *check = &verdict->checks[verdict->count];
	va_list args;

	if (verdict->count == POLICY_CHECKS_MAX)
		return;
	verdict->count++;
	*check = (struct policy_check){.name = name, .ok = ok, .code = ok ? FAIL_NONE : code};
	va_start(args, fmt);
	(void)vsnprintf(check->detail, sizeof(check->detail), fmt, args); /* a long one is cut */
	va_end(args);
}

static void judge_compatible(const struct manifest *manifest, const struct policy_input *input,
	struct policy_verdict *verdict)
{
	add(verdict, "compatible", strcmp(manifest->compatible, input->compatible) == 0,
		FAIL_REFUSED, "the bundle is for '%s', this device is '%s'", manifest->compatible,
		input->compatible);
}

static void judge_hardware(const struct manifest *manifest, const struct policy_input *input,
	struct policy_verdict *verdict)
{
	char list[128] = "";
	bool found = manifest->hardware_count == 0;

	for (size_t i = 0; i < manifest->hardware_count; i++) {
		size_t used = strlen(list);

		(void)snprintf(list + used, sizeof(list) - used, "%s'%s'", i ? ", " : "",
			manifest->hardware[i]); /* a long list is cut */
		found = found || strcmp(manifest->hardware[i], input->hardware) == 0;
	}
	if (manifest->hardware_count == 0)
		add(verdict, "hardware", true, FAIL_REFUSED, "the bundle is for any hardware");
	else
		add(verdict, "hardware", found, FAIL_REFUSED,
			"the bundle is for hardware %s, this device is '%s'", list,
			input->hardware);
}

static void judge_floor(const struct manifest *manifest, const struct policy_input *input,
	struct policy_verdict *verdict)
{
	add(verdict, "security-version", manifest->security_version >= input->state->floor,
		FAIL_REFUSED,
		"the bundle's security_version is %" PRIu64 ", this device's floor is %" PRIu64,
		manifest->security_version, input->state->floor);
}

static bool remembers(const struct group_facts *facts, const struct digest *artifact)
{
	for (uint32_t i = 0; i < facts->rejected_count; i++)
		if (digest_equal(&facts->rejected[i], artifact))
			return true;
	return false;
}

/* Whichever group it failed in: the groups take turns, and the build is as bad in the other one. */
static bool is_rejected(const struct digest *artifact, const struct policy_input *input)
{
	const struct group_facts *target = input->target;

	if (remembers(target, artifact) || remembers(input->running, artifact))
		return true;
	return input->state->target_rejected && digest_equal(&target->artifact, artifact);
}

static void judge_rejected(const struct digest *artifact, const struct policy_input *input,
	struct policy_verdict *verdict)
{
	bool rejected = is_rejected(artifact, input);

	if (rejected && input->force)
		add(verdict, "rejected", true, FAIL_REFUSED,
			"this build failed its trial on this device; installed again by force");
	else
		add(verdict, "rejected", !rejected, FAIL_REFUSED,
			rejected ? "this build failed its trial on this device (see 'abide "
				   "status'); --force installs it again"
				 : "this build has not failed a trial on this device");
}

/* A reverted group that still runs is either about to be rebooted, or it came back because the other
 * one does not boot any more. Only a person can tell; by force the other group is written, or the
 * device could never be repaired. Cut off, it still boots the reverted group, as the last of the
 * order. */
static void judge_state(const struct policy_input *input, struct policy_verdict *verdict)
{
	struct err why = {.msg = ""};
	bool ok = state_check(input->state->now, EVENT_INSTALL, &why) == 0;

	if (!ok && input->force && input->state->now == STATE_REVERTING) {
		add(verdict, "state", true, FAIL_STATE,
			"the running group was reverted; group %s is written by force",
			group_name(input->state->target));
		return;
	}
	add(verdict, "state", ok, FAIL_STATE,
		ok ? "the device is '%s', group %s may be written" : "%s%.0s",
		ok ? state_name(input->state->now) : why.msg, group_name(input->state->target));
}

static void judge_slot(const struct manifest *manifest, const struct policy_slot *slot,
	const struct policy_input *input, struct policy_verdict *verdict)
{
	const struct manifest_image *image = manifest_image(manifest, slot->class);
	uint64_t needed;

	if (!image) {
		add(verdict, "slot", false, FAIL_REFUSED,
			"the bundle has no image for slot '%s': a group is replaced whole",
			slot->name);
		return;
	}
	if (slot->problem) {
		add(verdict, "slot", false, slot->problem_code, "slot '%s': %s", slot->name,
			slot->problem);
		return;
	}
	needed = seal_needed(image->size, input->header_len);
	if (needed > slot->size)
		add(verdict, "space", false, FAIL_SPACE,
			"slot '%s' has %" PRIu64 " bytes, image and seal need %" PRIu64 ": %" PRIu64
			" bytes short",
			slot->name, slot->size, needed, needed - slot->size);
	else
		add(verdict, "space", true, FAIL_SPACE,
			"slot '%s' has %" PRIu64 " bytes, image and seal need %" PRIu64, slot->name,
			slot->size, needed);
}

static void judge_classes(const struct manifest *manifest, const struct policy_input *input,
	struct policy_verdict *verdict)
{
	for (size_t i = 0; i < manifest->image_count; i++) {
		bool found = false;

		for (size_t k = 0; k < input->slot_count; k++)
			found = found ||
				strcmp(manifest->images[i].class, input->slots[k].class) == 0;
		if (!found)
			add(verdict, "slot", false, FAIL_REFUSED,
				"the bundle has an image '%s', this device has no slot of that "
				"class",
				manifest->images[i].class);
	}
}

void policy_judge(const struct manifest *manifest, const struct digest *artifact,
	const struct policy_input *input, struct policy_verdict *ret)
{
	*ret = (struct policy_verdict){0};
	judge_compatible(manifest, input, ret);
	judge_hardware(manifest, input, ret);
	judge_floor(manifest, input, ret);
	judge_rejected(artifact, input, ret);
	judge_state(input, ret);
	judge_classes(manifest, input, ret);
	for (size_t i = 0; i < input->slot_count; i++)
		judge_slot(manifest, &input->slots[i], input, ret);
}

void policy_judge_base(const struct digest *base, const struct state *state,
	const struct group_facts *running, struct policy_verdict *verdict)
{
	char needed[DIGEST_HEX_LEN + 1], found[DIGEST_HEX_LEN + 1] = "nothing known";
	bool ok = running->seal == SEAL_SEALED && digest_equal(&running->artifact, base);

	digest_to_hex(base, needed);
	if (running->seal == SEAL_SEALED)
		digest_to_hex(&running->artifact, found);
	if (ok)
		add(verdict, "base", true, FAIL_REFUSED,
			"a delta for artifact %.12s..., which runs in group %s", needed,
			group_name(state->booted));
	else
		add(verdict, "base", false, FAIL_REFUSED,
			"a delta for artifact %s, but group %s runs %.12s%s: install the full "
			"bundle, or a delta for that",
			needed, group_name(state->booted), found,
			running->seal == SEAL_SEALED ? "..." : "");
}

int policy_enforce(const struct policy_verdict *verdict, struct err *err)
{
	for (size_t i = 0; i < verdict->count; i++)
		if (!verdict->checks[i].ok)
			return err_set(
				err, verdict->checks[i].code, "%s", verdict->checks[i].detail);
	return 0;
}
