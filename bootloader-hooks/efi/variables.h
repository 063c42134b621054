/*
 * variables - EFI variables through efivarfs: a file for each, four bytes of attributes in front.
 *
 * A write is one write(2), which the firmware makes durable as a whole. Variables that Linux keeps
 * from being removed by accident carry the immutable flag; it is taken off before a write. A plain
 * directory works, too: that is how it is tested.
 */
#ifndef ABIDE_BOOTLOADER_HOOKS_EFI_VARIABLES_H
#define ABIDE_BOOTLOADER_HOOKS_EFI_VARIABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/mem.h"

#define EFI_GLOBAL "8be4df61-93ca-11d2-aa0d-00e098032b8c"

/* FAIL_BOOT if the directory holds no variables at all, with what to do. */
int variables_check(const char *directory, struct err *err);
/* Its value without the attributes. *ret_there: whether there is one; else *ret is empty. */
int variable_read(const char *directory, const char *name, const char *guid, bool *ret_there,
	struct bytes *ret, struct err *err);
/* One that has the value already is not written. */
int variable_write(const char *directory, const char *name, const char *guid, const void *data,
	size_t len, struct err *err);
/* Fails if it is there and could not be written, before anything else is. */
int variable_check_writable(
	const char *directory, const char *name, const char *guid, struct err *err);
/* One that is not there is removed already. */
int variable_remove(const char *directory, const char *name, const char *guid, struct err *err);

#endif
