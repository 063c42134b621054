/*
 * ovmf - the variables that OVMF keeps in its flash, read as it reads them when it starts.
 *
 * Sources: UEFI PI 1.7 volume 3, 3.2.1 (firmware volume); edk2's MdeModulePkg/Include/Guid/
 * VariableFormat.h (authenticated variables), and its variable driver for which of two copies counts.
 */
#ifndef ABIDE_QEMU_OVMF_H
#define ABIDE_QEMU_OVMF_H

#include "qemu/rawdisk.h"

#define OVMF_FLASH_LEN 0x84000u /* bytes of OVMF_VARS_4M.fd */

/* A variable of the UEFI specification (EFI_GLOBAL_VARIABLE), its value at most `cap` bytes.
 * *ret_there: false if there is none. FAIL_DRIFT: the flash holds no such store, or the firmware has
 * begun to move it, which this does not follow. */
int ovmf_variable(const struct rawspan *flash, const char *name, void *ret, size_t cap,
	size_t *ret_len, bool *ret_there, struct err *err);

#endif
