/*
 * model - what every boot side does, on the value that hooks translate from and to: the one text
 * that a boot script, a firmware or a table of theirs is held to.
 *
 * One start of the device:
 *	1. The groups in order, the primary first. A good one is started, and nothing is written. One
 *	   on trial is counted first, and then started; at 0 it is bad. Others are passed over.
 *	2. A good group that does not load: on with the next. One on trial that does not load has used
 *	   up its try: the device restarts.
 *	3. Nothing left: start over. The last of the order that is not disarmed is started, uncounted:
 *	   the fallback of the last trial. If it does not load, the first.
 *	4. Still nothing: restart.
 *
 * So a good group that loads is what boots from then on, however often power is cut; a trial ends
 * after at most BOOT_TRIES_MAX starts; and a disarmed group never boots.
 *
 * Pure. A boot side that cannot do a step as it stands here (a firmware that does not count) says
 * which and why in its README, and has a model of its own, compared with this one
 * (tests/test_hooks.c).
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_MODEL_H
#define ABIDE_BOOTLOADER_HOOKS_MODEL_H

#include <stdbool.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/group.h"

/* What step 1 would start, without counting. False: nothing, it would start over. */
bool boot_model_next(const struct boot_state *state, enum group *ret);

/* One start. `loads`: whether the kernel of each group can be loaded. True: *ret was started. False:
 * the device restarts without having started anything. `state` is what is left behind. */
bool boot_model_start(
	struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret);

/* One start where every kernel loads. False: both groups are disarmed. */
bool boot_model_boot(struct boot_state *state, enum group *ret);

#endif
