#include "updater/ui_json.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "updater/mem.h"
#include "updater/ui_status.h"

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

/* ---- values ---- */

/* NULL is an absent value. What jansson will not take (no memory, no UTF-8) is null as well. */
static json_t *text(const char *s)
{
	json_t *value = s && *s ? json_string(s) : NULL;

	return value ? value : json_null();
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *digest(const struct digest *d)
{
	char hex[DIGEST_HEX_LEN + 1];

	digest_to_hex(d, hex);
	return json_string(hex);
}

/* Whatever bytes a file name or a program's output is made of. */
static json_t *foreign_text(const char *s)
{
	char clean[PROCESS_OUTPUT_MAX + 1];
	size_t len = strlen(s);

	if (len >= sizeof(clean))
		len = sizeof(clean) - 1;
	mem_printable(s, len, clean, sizeof(clean));
	for (size_t i = 0; i < len; i++)
		if (s[i] == '\n')
			clean[i] = '\n';
	return text(clean);
}

static json_t *digests(const struct digest *list, uint32_t count)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < count; i++)
		(void)json_array_append_new(array, digest(&list[i])); /* see print() */
	return array;
}

/* ---- lines ---- */

/* Takes `object`. NULL: there was no memory for some part of it. */
static int print(json_t *object, struct err *err)
{
	CLEANUP(cleanup_json) json_t *line = object;

	if (!line || json_dumpf(line, stdout, JSON_COMPACT) < 0)
		return err_memory(err);
	(void)fputc('\n', stdout); /* ui_finish() sees whether it went out */
	(void)fflush(stdout); /* likewise; a reader wants progress when it happens */
	return 0;
}

void ui_json_note(const char *command, const char *note)
{
	struct err ignored; /* news that do not get through change nothing */

	(void)print(json_pack("{s:s, s:s, s:o}", "event", "note", "command", command, "text",
			    foreign_text(note)),
		&ignored);
}

void ui_json_progress(
	const char *command, const char *what, const char *class, uint64_t done, uint64_t total)
{
	struct err ignored; /* as above */

	(void)print(json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "event", "progress", "command",
			    command, "phase", what, "class", text(class), "done", number(done),
			    "total", number(total)),
		&ignored);
}

void ui_json_error(const char *command, const struct err *error, int exit_code)
{
	struct err ignored; /* the text on standard error says it, too */

	(void)print(json_pack("{s:s, s:o, s:s, s:i, s:o}", "event", "error", "command",
			    text(command), "code", err_code_name(error->code), "exit", exit_code,
			    "message", foreign_text(error->msg)),
		&ignored);
}

/* ---- status ---- */

static json_t *status_slots(
	const struct device *device, const struct device_view *view, enum group group)
{
	json_t *slots = json_array();

	for (size_t i = 0; i < device->class_count; i++) {
		const struct seal *seal = &view->seals[group][i];
		bool known = seal->state != SEAL_NONE;
		json_t *slot = json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o}", "class",
			device->classes[i].name, "device",
			foreign_text(device->classes[i].device[group]), "seal",
			ui_seal_name(seal->state), "artifact",
			known ? digest(&seal->artifact) : json_null(), "image",
			known ? digest(&seal->image) : json_null(), "size",
			known ? number(seal->image_size) : json_null(), "generation",
			number(seal->generation));

		(void)json_array_append_new(slots, slot); /* a NULL is left out */
	}
	return slots;
}

static json_t *status_group(
	const struct device *device, const struct device_view *view, enum group group)
{
	const struct boot_group *boot = &view->boot.group[group];
	const struct group_facts *facts = &view->facts[group];
	const struct err *problem = &view->problem[group];
	char created[21] = "";

	if (facts->proven)
		manifest_time_format(facts->created, created);
	return json_pack("{s:b, s:b, s:i, s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "good",
		boot->good, "bad", boot->bad, "tries", (int)boot->tries, "seal",
		ui_seal_name(facts->seal), "artifact",
		facts->seal == SEAL_NONE ? json_null() : digest(&facts->artifact), "proven",
		facts->proven, "version", facts->proven ? text(facts->version) : json_null(),
		"security_version", facts->proven ? number(facts->security_version) : json_null(),
		"created", text(created), "problem",
		problem->code == FAIL_NONE ? json_null() : foreign_text(problem->msg), "rejected",
		digests(facts->rejected, facts->rejected_count), "slots",
		status_slots(device, view, group));
}

static json_t *status_rejected(const struct device *device, const struct device_view *view)
{
	struct ui_rejected list[UI_REJECTED_MAX];
	size_t count = ui_rejected_list(device, view, list);
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(
			array, json_pack("{s:o, s:o, s:o}", "artifact", digest(&list[i].artifact),
				       "version", text(list[i].version), "why", text(list[i].why)));
	return array;
}

int ui_json_status(const struct device *device, const struct device_view *view, struct err *err)
{
	const struct state *state = &view->state;

	return print(
		json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:o, s:s, s:o, s:{s:o, s:o}, s:o, "
			  "s:o, s:s, s:o}",
			"event", "result", "command", "status", "compatible", device->compatible,
			"hardware", text(device->hardware), "state", state_name(state->now),
			"booted", group_name(state->booted), "target", group_name(state->target),
			"next", text(state->next_known ? group_name(state->next) : NULL), "primary",
			group_name(view->boot.primary), "floor", number(state->floor), "groups",
			"a", status_group(device, view, GROUP_A), "b",
			status_group(device, view, GROUP_B), "rejected",
			status_rejected(device, view), "boot_note", text(view->boot_note),
			"bootloader", device->boot->ops->name, "bootloader_why",
			text(device->boot_why)),
		err);
}

/* ---- info, plan, install ---- */

static json_t *verity(const struct manifest_image *image)
{
	char salt[2 * sizeof(image->verity.salt) + 1];

	if (!image->has_verity)
		return json_null();
	hex_encode(image->verity.salt, image->verity.salt_len, salt);
	return json_pack("{s:o, s:o, s:o, s:o}", "root", digest(&image->verity.root), "salt",
		text(salt), "data_blocks", number(image->verity.data_blocks), "hash_offset",
		number(image->verity.hash_offset));
}

static json_t *info_images(const struct manifest *manifest)
{
	json_t *array = json_array();

	for (size_t i = 0; i < manifest->image_count; i++) {
		const struct manifest_image *image = &manifest->images[i];

		(void)json_array_append_new(
			array, json_pack("{s:s, s:o, s:o, s:o}", "class", image->class, "size",
				       number(image->size), "sha256", digest(&image->sha256),
				       "verity", verity(image)));
	}
	return array;
}

int ui_json_info(const struct artifact *artifact, struct err *err)
{
	const struct trusted *trusted = artifact->trusted;
	const struct manifest *manifest = artifact->manifest;
	json_t *hardware = json_array(), *signers = json_array();

	for (size_t i = 0; i < manifest->hardware_count; i++)
		(void)json_array_append_new(hardware, text(manifest->hardware[i]));
	for (size_t i = 0; i < trusted_signer_count(trusted); i++)
		(void)json_array_append_new(signers, foreign_text(trusted_signer(trusted, i)));
	return print(
		json_pack("{s:s, s:s, s:o, s:s, s:o, s:s, s:o, s:s, s:o, s:{s:o, s:o, s:o}, "
			  "s:o, s:o, s:o}",
			"event", "result", "command", "info", "artifact",
			digest(trusted_id(trusted)), "compatible", manifest->compatible, "hardware",
			hardware, "version", manifest->version, "security_version",
			number(manifest->security_version), "created", manifest->created,
			"description", text(manifest->description), "provenance", "source",
			text(manifest->source), "builder", text(manifest->builder), "sbom",
			text(manifest->sbom), "images", info_images(manifest), "signers", signers,
			"delta_for", artifact->delta ? digest(&artifact->base) : json_null()),
		err);
}

static json_t *totals(const struct plan_totals *bytes)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "zero", number(bytes->zero), "repeat",
		number(bytes->repeat), "in_place", number(bytes->in_place), "running",
		number(bytes->seed), "moved", number(bytes->moved), "fetch", number(bytes->fetch));
}

static json_t *plan_checks(const struct policy_verdict *verdict)
{
	json_t *array = json_array();

	for (size_t i = 0; i < verdict->count; i++) {
		const struct policy_check *check = &verdict->checks[i];

		(void)json_array_append_new(array,
			json_pack("{s:s, s:b, s:o, s:o}", "name", check->name, "ok", check->ok,
				"code", check->ok ? json_null() : text(err_code_name(check->code)),
				"detail", foreign_text(check->detail)));
	}
	return array;
}

static json_t *plan_images(const struct install_plan *plan)
{
	json_t *array = json_array();

	if (plan->action != PLAN_WRITE || plan->refused)
		return array;
	for (size_t i = 0; i < plan->manifest->image_count; i++)
		(void)json_array_append_new(array,
			json_pack("{s:s, s:o, s:o, s:o, s:o}", "class",
				plan->manifest->images[i].class, "size",
				number(plan->manifest->images[i].size), "bytes",
				totals(&plan->totals[i]), "stored", number(plan->stored[i]),
				"write",
				number(plan->manifest->images[i].size - plan->totals[i].in_place)));
	return array;
}

int ui_json_plan(const struct install_plan *plan, struct err *err)
{
	const struct state *state = &plan->view.state;

	return print(
		json_pack("{s:s, s:s, s:o, s:s, s:s, s:b, s:s, s:s, s:o, s:o, s:b}", "event",
			"result", "command", "plan", "artifact", digest(&plan->artifact), "version",
			plan->manifest->version, "action", plan_action_name(plan->action),
			"refused", plan->refused, "booted", group_name(state->booted), "target",
			group_name(state->target), "checks", plan_checks(&plan->verdict), "images",
			plan_images(plan), "delta", plan->delta),
		err);
}

int ui_json_install(const struct install_result *result, struct err *err)
{
	return print(json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:b}", "event",
			     "result", "command", "install", "artifact", digest(&result->artifact),
			     "version", result->version, "action", plan_action_name(result->action),
			     "group", group_name(result->group), "bytes", totals(&result->bytes),
			     "written", number(result->written), "fetched", number(result->fetched),
			     "delta", result->delta, "fallback", result->fallback),
		err);
}

/* ---- confirm, activate, revert, verify ---- */

int ui_json_confirm(const struct confirm_result *result, struct err *err)
{
	const struct health_report *health = &result->health;
	const char *outcome = "failed";

	if (health->passed || health->run == 0)
		outcome = result->outcome == CONFIRM_CONFIRMED ? "confirmed" : "already";
	return print(
		json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:o, s:b}", "event",
			"result", "command", "confirm", "outcome", outcome, "group",
			group_name(result->group), "checks", number(health->run), "failed",
			foreign_text(health->failed), "why", foreign_text(health->why), "output",
			foreign_text(health->output), "reverted", result->reverted, "tries_left",
			number(result->tries_left), "passed_over", result->passed_over),
		err);
}

int ui_json_next(const char *command, enum group next, bool changed, struct err *err)
{
	return print(json_pack("{s:s, s:s, s:s, s:b}", "event", "result", "command", command,
			     "next", group_name(next), "changed", changed),
		err);
}

int ui_json_verify(const struct verify_report *report, struct err *err)
{
	json_t *array = json_array();
	bool ok = true;

	for (size_t i = 0; i < report->count; i++) {
		const struct verify_finding *finding = &report->findings[i];

		ok = ok && finding->ok;
		(void)json_array_append_new(
			array, json_pack("{s:s, s:b, s:o}", "name", finding->name, "ok",
				       finding->ok, "detail", foreign_text(finding->detail)));
	}
	return print(json_pack("{s:s, s:s, s:b, s:o}", "event", "result", "command", "verify", "ok",
			     ok, "findings", array),
		err);
}

/* ---- log ---- */

int ui_json_log_verify(const struct journal_check *check, struct err *err)
{
	return print(
		json_pack("{s:s, s:s, s:b, s:o, s:o, s:b, s:o, s:o}", "event", "result", "command",
			"log", "ok", check->broken_at == 0, "lines", number(check->lines), "head",
			digest(&check->head), "torn", check->torn, "broken_at",
			check->broken_at ? number(check->broken_at) : json_null(), "why",
			text(check->why)),
		err);
}

static void take_text(const json_t *line, const char *key, char *ret, size_t cap)
{
	const char *value = json_string_value(json_object_get(line, key));

	if (value)
		mem_printable(value, strlen(value), ret, cap);
}

bool ui_json_log_row(const char *line_text, struct ui_log_row *ret)
{
	CLEANUP(cleanup_json) json_t *line = json_loads(line_text, JSON_REJECT_DUPLICATES, NULL);
	const char *output = json_string_value(json_object_get(line, "output"));

	*ret = (struct ui_log_row){0};
	if (!json_is_object(line))
		return false;
	ret->seq = (uint64_t)json_integer_value(json_object_get(line, "seq"));
	take_text(line, "time", ret->time, sizeof(ret->time));
	take_text(line, "event", ret->event, sizeof(ret->event));
	take_text(line, "group", ret->group, sizeof(ret->group));
	take_text(line, "version", ret->version, sizeof(ret->version));
	take_text(line, "artifact", ret->artifact, sizeof(ret->artifact));
	take_text(line, "why", ret->why, sizeof(ret->why));
	if (output) /* with its line ends: ui_block() makes the rest printable */
		(void)snprintf(ret->output, sizeof(ret->output), "%s", output);
	return true;
}
