/*
 * The firmware's variables. Input: which group runs (1 byte), then for each of VARIABLES a length (1
 * byte; 255: there is none) and the file as efivarfs has it. What is taken for a state is one, and
 * committing it leaves it as it is.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/efi/efi.h"
#include "bootloader-hooks/efi/variables.h"
#include "tests/fuzz/boot.h"
#include "tests/fuzz/folder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char *const VARIABLES[] = {
	"BootCurrent-" EFI_GLOBAL,
	"BootNext-" EFI_GLOBAL,
	"BootOrder-" EFI_GLOBAL,
	"Boot0000-" EFI_GLOBAL,
	"Boot0100-" EFI_GLOBAL,
	"Boot0101-" EFI_GLOBAL,
	"Boot0102-" EFI_GLOBAL,
	"AbideState-5f2a7c1e-8b3d-4e96-a1f0-3c7d9e52b684",
};

static void put_variables(const uint8_t *data, size_t len)
{
	char name[128];

	for (size_t i = 0; i < ARRAY_LEN(VARIABLES) && len > 0; i++) {
		size_t size = *data++;

		len--;
		if (size == 255)
			continue;
		size = size < len ? size : len;
		(void)snprintf(name, sizeof(name), "variables/%s", VARIABLES[i]); /* fits */
		if (!folder_put(name, data, size))
			abort();
		data += size;
		len -= size;
	}
}

static void put_esp(void)
{
	folder_clear("esp");
	folder_clear("esp/abide");
	(void)folder_put("esp/abide/boot-a.efi", "", 0);
	(void)folder_put("esp/abide/boot-b.efi", "", 0);
	(void)folder_put("esp/abide/a.cmdline", "abide.group=a", 13);
	(void)folder_put("esp/abide/b.cmdline", "abide.group=b", 13);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const struct efi_partition PARTITION = {.number = 1, .start = 2048, .count = 4096};
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	char esp[PATH_MAX], variables[PATH_MAX];
	struct efi_options options = {.esp = esp, .variables = variables, .partition = &PARTITION};
	struct err err;

	if (len < 1)
		return 0;
	folder_clear("variables");
	put_variables(data + 1, len - 1);
	put_esp();
	folder_join("esp", esp);
	folder_join("variables", variables);
	options.booted = data[0] & 1 ? GROUP_B : GROUP_A;
	if (efi_open(&options, &bl, &err) < 0)
		abort();
	boot_check_kept(bl);
	return 0;
}
