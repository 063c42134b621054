/*
 * ui_status - the state of a device in a few lines, and the builds it has rejected.
 */
#ifndef ABIDE_UPDATER_UI_STATUS_H
#define ABIDE_UPDATER_UI_STATUS_H

#include <stddef.h>
#include <stdint.h>

#include "updater/device.h"
#include "updater/digest.h"

void ui_status_print(const struct device *device, const struct device_view *view);

/* A build that failed its trial here. */
struct ui_rejected {
	struct digest artifact;
	const char *version; /* of the group that still holds it, or NULL */
	char why[512]; /* from the journal, for display; or "" */
};
#define UI_REJECTED_MAX (GROUP_COUNT * (SEAL_REJECTED_MAX + 1u))
/* From bootloader state and seals; borrows from `view`. Returns how many. */
size_t ui_rejected_list(const struct device *device, const struct device_view *view,
	struct ui_rejected ret[static UI_REJECTED_MAX]);

const char *ui_seal_name(enum seal_state state);

#endif
