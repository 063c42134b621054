/* What a custom bootloader's program says: what is taken for a state is one, and survives being
 * written and read again. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/custom/custom.h"
#include "tests/fuzz/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct boot_state state, found;
	char text[CUSTOM_TEXT_MAX];
	struct err err;

	if (custom_state_parse((const char *)data, len, &state, &err) < 0) {
		if (err.code != FAIL_BOOT || err.msg[0] == '\0')
			abort();
		return 0;
	}
	boot_check(&state);
	custom_state_format(&state, text);
	if (custom_state_parse(text, strlen(text), &found, &err) < 0 ||
		!boot_state_equal(&state, &found))
		abort();
	return 0;
}
