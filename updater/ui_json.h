/*
 * ui_json - the JSON that abide prints, and the journal's lines read back for a table (wraps
 * jansson). One compact object a line on standard output. The fields are documented in abide(1)
 * under JSON; they may be added to, never renamed.
 */
#ifndef ABIDE_UPDATER_UI_JSON_H
#define ABIDE_UPDATER_UI_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "updater/artifact.h"
#include "updater/confirm.h"
#include "updater/device.h"
#include "updater/err.h"
#include "updater/install.h"
#include "updater/journal.h"
#include "updater/manifest.h"
#include "updater/signature.h"

/* While a command runs. */
void ui_json_note(const char *command, const char *note);
void ui_json_progress(
	const char *command, const char *what, const char *class, uint64_t done, uint64_t total);
void ui_json_error(const char *command, const struct err *err, int exit_code);

/* Results, the last line of a command that did not fail. */
int ui_json_status(const struct device *device, const struct device_view *view, struct err *err);
int ui_json_info(const struct artifact *artifact, struct err *err);
int ui_json_plan(const struct install_plan *plan, struct err *err);
int ui_json_install(const struct install_result *result, struct err *err);
int ui_json_confirm(const struct confirm_result *result, struct err *err);
/* activate, revert: the group that boots next, and whether anything was changed. */
int ui_json_next(const char *command, enum group next, bool changed, struct err *err);
int ui_json_verify(const struct verify_report *report, struct err *err);
int ui_json_log_verify(const struct journal_check *check, struct err *err);

/* One line of the journal, for people. Texts are cut to fit and "" if absent. */
struct ui_log_row {
	uint64_t seq;
	char time[32];
	char event[32];
	char group[8];
	char version[MANIFEST_NAME_MAX + 1];
	char artifact[DIGEST_HEX_LEN + 1];
	char why[1025];
	char output[PROCESS_OUTPUT_MAX + 1];
};
/* False: it is no line of abide's. */
bool ui_json_log_row(const char *line, struct ui_log_row *ret);

#endif
