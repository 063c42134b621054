/*
 * custom - a program of the user's that knows the bootloader (see README.md here for its contract).
 *
 *	PROGRAM get-state        writes the state as JSON on standard output
 *	PROGRAM commit           reads the state as JSON from standard input, makes it so, durably
 *
 * Every failure of the program (missing, not to be trusted, hanging, rubbish, non-zero exit, saying
 * that it did what it did not) is FAIL_BOOT, with what it said on standard error. What it says is
 * parsed strictly: it decides which group boots.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_CUSTOM_CUSTOM_H
#define ABIDE_BOOTLOADER_HOOKS_CUSTOM_CUSTOM_H

#include <stddef.h>

#include "bootloader-hooks/bootloader.h"

#define CUSTOM_TIMEOUT  30u /* s, for each call, if the configuration says nothing else */
#define CUSTOM_TEXT_MAX 160u /* a state as custom_state_format() writes it, with newline and NUL */

/* Does not look at the program yet: bootloader_read() tells what is wrong with it. `timeout` in
 * seconds, for each call. */
int custom_open(
	const char *program, unsigned int timeout, struct bootloader **ret, struct err *err);

/* The contract's JSON and back; pure. Parse takes any spelling of the same JSON, of any `len`;
 * format writes the one line that README.md promises to programs. */
int custom_state_parse(const char *text, size_t len, struct boot_state *ret, struct err *err);
void custom_state_format(const struct boot_state *state, char ret[static CUSTOM_TEXT_MAX]);

#endif
