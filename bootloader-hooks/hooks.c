#include "bootloader-hooks/hooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/custom/custom.h"
#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "bootloader-hooks/uboot/uboot.h"
#include "updater/mem.h"

static const char *grub_missing(const struct hook_settings *settings)
{
	return settings->grubenv ? NULL : "grubenv";
}

static int grub_open_configured(
	const struct hook_settings *settings, struct bootloader **ret, struct err *err)
{
	return grub_open(settings->grubenv, ret, err);
}

static const char *systemd_boot_missing(const struct hook_settings *settings)
{
	return settings->esp ? NULL : "esp";
}

static int systemd_boot_open_configured(
	const struct hook_settings *settings, struct bootloader **ret, struct err *err)
{
	return systemd_boot_open(settings->esp, ret, err);
}

static const char *uboot_missing(const struct hook_settings *settings)
{
	(void)settings; /* has a default */
	return NULL;
}

static int uboot_open_configured(
	const struct hook_settings *settings, struct bootloader **ret, struct err *err)
{
	return uboot_open(
		settings->fw_env_config ? settings->fw_env_config : UBOOT_FW_ENV_CONFIG, ret, err);
}

static const char *custom_missing(const struct hook_settings *settings)
{
	return settings->program ? NULL : "program";
}

static int custom_open_configured(
	const struct hook_settings *settings, struct bootloader **ret, struct err *err)
{
	return custom_open(settings->program, CUSTOM_TIMEOUT, ret, err);
}

static const struct hook HOOKS[] = {
	{"grub", grub_missing, grub_open_configured},
	{"systemd-boot", systemd_boot_missing, systemd_boot_open_configured},
	{"uboot", uboot_missing, uboot_open_configured},
	{"custom", custom_missing, custom_open_configured},
};

void hook_settings_finish(struct hook_settings *settings)
{
	free(settings->grubenv);
	free(settings->esp);
	free(settings->fw_env_config);
	free(settings->program);
	*settings = (struct hook_settings){0};
}

const struct hook *hook_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(HOOKS); i++)
		if (strcmp(HOOKS[i].name, name) == 0)
			return &HOOKS[i];
	return NULL;
}

void hook_names(char *ret, size_t cap)
{
	size_t used = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(HOOKS) && used < cap; i++)
		used += (size_t)snprintf(
			ret + used, cap - used, "%s%s", i ? ", " : "", HOOKS[i].name);
}
