/*
 * since_boot - was the other group made the first since this boot?
 *
 *	since_boot_note -> the flip's commit            who flips
 *	since_boot_flipped -> state_derive              who asks
 *
 * A group that is first while the other one runs was either activated since the device started, or
 * the bootloader passed it over. The bootloader's state says the same in both cases. What tells them
 * apart is a note in the run directory, with the id that the kernel gives to each boot: written
 * before the flip, and void after the next boot, also where the run directory outlives it.
 *
 * It decides what is said, and that a group which was passed over goes on trial again: never which
 * group boots.
 */
#ifndef ABIDE_UPDATER_SINCE_BOOT_H
#define ABIDE_UPDATER_SINCE_BOOT_H

#include <stdbool.h>

#include "updater/err.h"

/* Before a flip is committed: a cut between the two leaves a note that the next boot voids. */
int since_boot_note(const char *run_dir, struct err *err);
/* True also where it cannot be told (no /proc): then nothing is said of the bootloader. */
bool since_boot_flipped(const char *run_dir);

#endif
