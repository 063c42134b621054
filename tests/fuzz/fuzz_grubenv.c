/* GRUB's environment block: what is taken for a state is one, and survives being written back with
 * everybody else's variables. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/model.h"
#include "tests/fuzz/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t block[GRUB_ENV_LEN], written[GRUB_ENV_LEN], again[GRUB_ENV_LEN];
	struct boot_state state, found;
	enum group booted;
	struct err err;

	memset(block, '#', sizeof(block));
	memcpy(block, data, len < sizeof(block) ? len : sizeof(block));
	if (grub_env_parse(block, &state, &err) < 0)
		return 0;
	boot_check(&state);
	if (grub_env_format(&state, block, written, &err) < 0)
		return 0; /* too full of other variables */
	if (grub_env_parse(written, &found, &err) < 0 || !boot_state_equal(&state, &found) ||
		grub_env_format(&found, written, again, &err) < 0 ||
		memcmp(written, again, sizeof(written)) != 0)
		abort();
	if (!boot_model_boot(&state, &booted))
		abort(); /* ORDER names a group, so there is one to start over with */
	return 0;
}
