/* U-Boot's environment and fw_env.config: any bytes are judged without a read past their end, and
 * what is taken for a state is one, and comes back from a copy that is made of it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/model.h"
#include "bootloader-hooks/uboot/uboot.h"
#include "tests/fuzz/boot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_config(const uint8_t *data, size_t len)
{
	struct bytes text = {.data = NULL};
	struct fw_env env = {0};
	struct err err;

	if (bytes_copy(data, len, &text, &err) < 0)
		abort();
	if (fw_env_parse("fw_env.config", &text, &env, &err) == 0 &&
		(env.size < UBOOT_ENV_MIN || env.size > UBOOT_ENV_MAX || !env.copies[1].device))
		abort();
	fw_env_finish(&env);
	bytes_finish(&text);
}

/* The whole input as a copy, whatever its checksum. */
static void check_copy(const uint8_t *data, size_t len)
{
	uint8_t written[4096];
	struct uboot_values values, found;
	struct boot_state state, again;
	enum group booted;
	struct err err;

	(void)uboot_copy_check(data, len);
	(void)uboot_copy_other_size(data, len);
	uboot_copy_values(data, len, &values);
	if (uboot_values_parse(&values, &state, &err) < 0)
		return;
	boot_check(&state);
	if (uboot_values_format(&state, &values, &err) < 0 ||
		uboot_copy_format(&values, NULL, data[4], sizeof(written), written, &err) < 0 ||
		uboot_copy_check(written, sizeof(written)) != UBOOT_COPY_OK)
		abort();
	uboot_copy_values(written, sizeof(written), &found);
	if (uboot_values_parse(&found, &again, &err) < 0 || !boot_state_equal(&state, &again) ||
		!uboot_values_say(&found, &state))
		abort();
	if (!boot_model_boot(&state, &booted))
		abort(); /* BOOT_ORDER names a group, so there is one to start over with */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	check_config(data, len);
	if (len >= UBOOT_ENV_MIN && len <= UBOOT_ENV_MAX)
		check_copy(data, len);
	return 0;
}
