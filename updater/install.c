#include "updater/install.h"

#include <stdio.h>
#include <string.h>

#include "updater/install_slot.h"
#include "updater/lock.h"
#include "updater/log.h"
#include "updater/mem.h"
#include "updater/readback.h"
#include "updater/record.h"

static void install_finish(struct install *in)
{
	readback_free(&in->readback); /* before the slots that it reads */
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++) {
		readback_proof_free(&in->proofs[i]);
		blockdev_close(&in->slots[i]);
	}
	seeds_close(&in->seeds);
	bytes_finish(&in->header);
	artifact_close(&in->artifact);
}

/* ---- what the caller is told ---- */

static void note(const struct install *in, const char *text)
{
	if (in->options->note)
		in->options->note(in->options->arg, text);
}

static void record(const struct install *in, const char *event, enum device_state from,
	enum device_state to, const char *why)
{
	const struct journal_entry entry = {
		.event = event,
		.from = state_name(from),
		.to = state_name(to),
		.artifact = &in->result.artifact,
		.version = in->result.version,
		.group = group_name(in->result.group),
		.why = why,
	};

	record_entry(in->device->state_dir, &entry, in->options->note, in->options->arg);
}

/* ---- 1. the artifact: verified, then understood ---- */

static int open_artifact(struct install *in, const char *source, struct err *err)
{
	struct carrier_options options = in->device->carrier;
	const struct trust trust = device_trust(in->device, &in->view);

	options.interrupted = in->options->interrupted;
	options.note = in->options->note;
	options.note_arg = in->options->arg;
	if (artifact_open(source, &options, &trust, &in->artifact, err) < 0) {
		/* Not FAIL_UNTRUSTED: who offers what nobody signed for is not passed over. */
		in->source_failed = err->code == FAIL_NETWORK || err->code == FAIL_IO;
		return -1;
	}
	in->result.artifact = *trusted_id(in->artifact.trusted);
	memcpy(in->result.version, in->artifact.manifest->version, sizeof(in->result.version));
	return 0;
}

/* ---- 2. may it be installed, and where ---- */

static void look_at_slots(struct install *in, struct policy_slot *slots, struct err *errs)
{
	for (size_t i = 0; i < in->device->class_count; i++) {
		slots[i] = (struct policy_slot){.class = in->device->classes[i].name};
		device_slot_name(
			in->device, i, in->view.state.target, slots[i].name, sizeof(slots[i].name));
		if (in->device->open_slot(in->device, i, in->view.state.target, true, &in->slots[i],
			    &errs[i]) < 0) {
			slots[i].problem = errs[i].msg;
			slots[i].problem_code = errs[i].code;
			continue;
		}
		slots[i].size = in->slots[i]->size;
	}
}

static void judge(struct install *in, struct policy_verdict *ret)
{
	struct policy_slot slots[MANIFEST_IMAGES_MAX];
	struct err errs[MANIFEST_IMAGES_MAX];
	const struct policy_input input = {
		.compatible = in->device->compatible,
		.hardware = in->device->hardware,
		.state = &in->view.state,
		.target = &in->view.facts[in->view.state.target],
		.running = &in->view.facts[in->view.state.booted],
		.slots = slots,
		.slot_count = in->device->class_count,
		.header_len = artifact_header_len(&in->artifact),
		.force = in->options->force,
	};

	look_at_slots(in, slots, errs);
	policy_judge(in->artifact.manifest, &in->result.artifact, &input, ret);
}

/* The rest of what is read before anything is written. Whether it is a delta, and for what, only
 * the carrier says, and only what it says is believed: a lie costs a chunk that is wrong. */
static int read_indexes(struct install *in, struct policy_verdict *verdict, struct err *err)
{
	in->source_failed = true;
	if (artifact_read_indexes(&in->artifact, err) < 0)
		return -1;
	in->result.delta = in->artifact.delta;
	if (in->artifact.delta)
		policy_judge_base(&in->artifact.base, &in->view.state,
			&in->view.facts[in->view.state.booted], verdict);
	if (policy_enforce(verdict, err) < 0)
		return -1;
	in->source_failed = false;
	return 0;
}

/* ---- 3. the group ---- */

/* The builds that failed their trial here: those that any seal of the group knew (a cut may have
 * left them in one only), and the one that lies in the group now if the bootloader calls it bad.
 * Also the one that is installed, if it is asked for again by force: until it is good. */
static void carry_rejected(const struct install *in, struct seal *ret)
{
	const struct state *state = &in->view.state;
	const struct group_facts *facts = &in->view.facts[state->target];

	for (uint32_t i = facts->rejected_count; i-- > 0;)
		seal_reject(ret, &facts->rejected[i]);
	if (state->target_rejected)
		seal_reject(ret, &facts->artifact);
}

/* What was rejected is remembered in the seal that replaces its own, in the same write: until then
 * the bootloader's `bad` and the old seal say it. */
static int seal_writing(
	struct install *in, size_t class, const struct seal *old, struct seal *ret, struct err *err)
{
	const struct manifest_image *image = install_image(in, class, NULL);
	struct seal writing = {
		.state = SEAL_WRITING,
		.generation = old->generation,
		.artifact = in->result.artifact,
		.image = image->sha256,
		.image_size = image->size,
	};

	in->class = in->device->classes[class].name;
	if (old->state == SEAL_WRITING && install_holds(in, old))
		writing.mark = old->mark; /* goes on where it stopped */
	memcpy(writing.class, image->class, sizeof(writing.class));
	carry_rejected(in, &writing);
	if (seal_write(in->slots[class], &writing, err) < 0)
		return -1;
	*ret = writing;
	return 0;
}

/* Makes the target group unbootable, durably, before its first byte changes. */
static int begin_group(
	struct install *in, const struct seal old[], struct seal ret[], struct err *err)
{
	const struct boot_state disarmed = edge_disarm(&in->view.boot, in->view.state.target);

	/* Power cut before this commit: nothing has happened. After it: the running group boots,
	 * and the other is not in the order, whatever is or is not written to it from here on. */
	if (bootloader_commit(in->device->boot, &disarmed, err) < 0)
		return -1;
	in->view.boot = disarmed;
	for (size_t i = 0; i < in->device->class_count; i++)
		if (seal_writing(in, i, &old[i], &ret[i], err) < 0)
			return -1;
	if (!in->view.boot.group[in->view.state.target].bad)
		return 0;
	/* Power cut before this commit: bad, and no seal is `sealed`: nothing is taken for what
	 * failed, and the next install comes here again. Without it a cut between the last seal and
	 * the flip would leave the new build sealed in a bad group: rejected without a trial. */
	in->view.boot = edge_forget_bad(&in->view.boot, in->view.state.target);
	return bootloader_commit(in->device->boot, &in->view.boot, err);
}

static int write_group(struct install *in, struct err *err)
{
	const struct seal *old = in->view.seals[in->view.state.target];
	struct seal seals[MANIFEST_IMAGES_MAX];
	struct carrier_stats stats;

	if (artifact_header(&in->artifact, &in->header, err) < 0)
		return -1;
	record(in, "install", in->view.state.now, STATE_WRITING, NULL);
	if (begin_group(in, old, seals, err) < 0)
		return -1;
	seeds_open(in->device, &in->view, &in->seeds);
	/* In the bundle's order: its data is one stream. */
	for (size_t k = 0; k < in->artifact.manifest->image_count; k++) {
		size_t class = (size_t)device_class_find(
			in->device, in->artifact.manifest->images[k].class);
		char name[MANIFEST_CLASS_MAX + 3];

		device_slot_name(in->device, class, in->view.state.target, name, sizeof(name));
		if (install_bring_slot(in, class, &old[class], &seals[class], err) < 0)
			return err_wrap(err, "slot '%s'", name);
	}
	if (carrier_end(in->artifact.carrier, &stats, err) < 0) {
		in->source_failed = true;
		return -1;
	}
	in->result.fetched = stats.fetched;
	in->view.state.now = STATE_WRITING;
	return 0;
}

static int prove_group(struct install *in, struct err *err)
{
	for (size_t i = 0; i < in->device->class_count; i++) {
		in->class = in->device->classes[i].name;
		if (!in->proofs[i] && install_read_back(in, i, err) < 0)
			return -1;
	}
	return 0;
}

/* By force: the build in the group failed its trial, and gets another. */
static int keep_rejected(struct install *in, struct err *err)
{
	struct seal *seals = in->view.seals[in->view.state.target];

	if (!in->view.state.target_rejected)
		return 0;
	for (size_t i = 0; i < in->device->class_count; i++)
		if (seal_keep_rejected(in->slots[i], &seals[i], err) < 0)
			return -1;
	return 0;
}

static int flip(struct install *in, struct err *err)
{
	if (in->options->interrupted && *in->options->interrupted)
		return err_set(err, FAIL_INTERRUPTED, "interrupted before the flip");
	if (device_flip(in->device, &in->view.boot, &in->view.state,
		    (const struct readback_proof *const *)in->proofs, in->device->class_count,
		    err) < 0)
		return -1;
	record(in, "activated", in->view.state.now, STATE_ACTIVATED, NULL);
	return 0;
}

static int deactivate(struct install *in, struct err *err)
{
	const struct boot_state next = edge_deactivate(&in->view.boot, in->view.state.booted);

	if (bootloader_commit(in->device->boot, &next, err) < 0)
		return -1;
	record(in, "deactivated", in->view.state.now, STATE_IDLE,
		"the running artifact was asked for again");
	return 0;
}

/* ---- the story ---- */

static int carry_out(struct install *in, struct err *err)
{
	struct policy_verdict verdict = {0};

	in->result.action = plan_action(&in->view.state, in->view.facts, &in->result.artifact);
	in->result.group = in->view.state.target;
	switch (in->result.action) {
	case PLAN_NOTHING:
		if (digest_equal(
			    &in->view.facts[in->view.state.booted].artifact, &in->result.artifact))
			in->result.group = in->view.state.booted;
		/* Whoever brought the device here may have died before the flush, or before the
		 * hook's second copy was written. What is there already is not written. */
		return bootloader_commit(in->device->boot, &in->view.boot, err);
	case PLAN_DEACTIVATE:
		in->result.group = in->view.state.booted;
		return deactivate(in, err);
	case PLAN_ACTIVATE:
		judge(in, &verdict);
		if (policy_enforce(&verdict, err) < 0)
			return -1;
		/* Sealed is not enough after an unknown time in a drawer: read it again. A slot
		 * that has drifted is written again, from the bundle at hand. */
		if (prove_group(in, err) == 0)
			return keep_rejected(in, err) < 0 ? -1 : flip(in, err);
		if (err->code != FAIL_DRIFT && err->code != FAIL_IO)
			return -1;
		note(in, err->msg);
		in->result.action = PLAN_WRITE;
		break;
	case PLAN_WRITE:
		judge(in, &verdict);
		if (policy_enforce(&verdict, err) < 0)
			return -1;
		break;
	}
	if (read_indexes(in, &verdict, err) < 0 || write_group(in, err) < 0)
		return -1;
	return flip(in, err);
}

/* Store and data are not signed and come last: they prove wrong when the target is written already.
 * Whoever reads that wants to know what boots. A failed commit and a signal have words of their own. */
static void tell_failure(const struct install *in, const struct err *err)
{
	char text[160];

	record(in, "install-failed", STATE_WRITING, STATE_WRITING, err->msg);
	(void)snprintf(text, sizeof(text),
		"group %s is untouched and boots next; group %s does not boot until an install "
		"succeeds",
		group_name(in->view.state.booted), group_name(in->result.group)); /* fits */
	if (err->code != FAIL_BOOT && err->code != FAIL_INTERRUPTED)
		note(in, text);
}

/* One source, from the first look at the device on. `wanted`: the artifact it has to be, or zeros. */
static int attempt(
	struct install *in, const char *source, const struct digest *wanted, struct err *err)
{
	char id[2][DIGEST_HEX_LEN + 1];

	if (device_examine(in->device, &in->view, err) < 0 || open_artifact(in, source, err) < 0)
		return -1;
	if (!digest_is_zero(wanted) && !digest_equal(wanted, &in->result.artifact)) {
		digest_to_hex(&in->result.artifact, id[0]);
		digest_to_hex(wanted, id[1]);
		return err_set(err, FAIL_REFUSED,
			"it is artifact %s, not %s as the source it should stand in for", id[0],
			id[1]);
	}
	if (in->view.boot_note[0])
		note(in, in->view.boot_note);
	return carry_out(in, err);
}

/* The whole story again, with another source: it goes on with what is right in the slot, as after
 * a power cut. */
static int fall_back(struct install *in, struct err *err)
{
	const struct install_options *options = in->options;
	struct digest wanted = in->result.artifact;
	char text[600];

	(void)snprintf(text, sizeof(text), "%s; installing from '%s' instead", err->msg,
		options->fallback); /* cut, if it is too long */
	note(in, text);
	record(in, "fallback", in->view.state.now, in->view.state.now, text);
	install_finish(in);
	*in = (struct install){.device = in->device, .options = options};
	in->result.fallback = true;
	if (attempt(in, options->fallback, &wanted, err) < 0)
		return err_wrap(err, "fallback '%s'", options->fallback);
	return 0;
}

int install_run(struct device *device, const char *source, const struct install_options *options,
	struct install_result *ret, struct err *err)
{
	CLEANUP(lock_release) struct lock lock = {.fd = -1};
	CLEANUP(install_finish) struct install in = {.device = device, .options = options};
	static const struct digest ANY;
	int result;

	if (lock_take(device->run_dir, "install", &lock, err) < 0)
		return -1;
	result = attempt(&in, source, &ANY, err);
	if (result < 0 && options->fallback && in.source_failed && err->code != FAIL_INTERRUPTED)
		result = fall_back(&in, err);
	if (result < 0) {
		if (in.result.action == PLAN_WRITE && in.header.data)
			tell_failure(&in, err);
		return -1;
	}
	*ret = in.result;
	return 0;
}

/* ---- abide plan ---- */

static int plan_write(struct install *in, struct install_plan *plan, struct err *err)
{
	const struct seal *seals = in->view.seals[in->view.state.target];
	struct err unread = {0};
	struct err refusal;

	if (read_indexes(in, &plan->verdict, &unread) < 0) {
		/* Nothing was refused before: a delta without its base is now. */
		plan->refused = policy_enforce(&plan->verdict, &refusal) < 0;
		if (!plan->refused)
			*err = unread;
		return plan->refused ? 0 : -1;
	}
	seeds_open(in->device, &in->view, &in->seeds);
	for (size_t k = 0; k < in->artifact.manifest->image_count; k++) {
		CLEANUP(plan_image_free) struct plan_image *image = NULL;
		const char *name = in->artifact.manifest->images[k].class;
		size_t class = (size_t)device_class_find(in->device, name);

		in->class = name;
		if (install_plan_slot(in, class, &seals[class], &image, err) < 0)
			return -1;
		plan->totals[k] = plan_totals(image, in->artifact.indexes[k]);
		if (plan->totals[k].fetch > 0 &&
			carrier_weigh(in->artifact.carrier, name, in->artifact.indexes[k],
				plan_wanted(image), &plan->stored[k], err) < 0)
			return -1;
	}
	return 0;
}

int install_plan(struct device *device, const char *source, const struct install_options *options,
	struct install_plan *ret, struct err *err)
{
	CLEANUP(install_finish) struct install in = {.device = device, .options = options};
	struct install_plan plan = {0};
	struct err refusal = {0};

	if (device_examine(device, &in.view, err) < 0 || open_artifact(&in, source, err) < 0)
		return -1;
	plan.artifact = in.result.artifact;
	plan.action = plan_action(&in.view.state, in.view.facts, &in.result.artifact);
	if (plan.action == PLAN_WRITE || plan.action == PLAN_ACTIVATE) {
		judge(&in, &plan.verdict);
		plan.refused = policy_enforce(&plan.verdict, &refusal) < 0;
	}
	if (plan.action == PLAN_WRITE && !plan.refused && plan_write(&in, &plan, err) < 0)
		return -1;
	plan.view = in.view;
	plan.delta = in.artifact.delta;
	plan.manifest = steal_ptr(&in.artifact.manifest);
	*ret = plan;
	return 0;
}

void install_plan_finish(struct install_plan *plan)
{
	manifest_free(&plan->manifest);
}
