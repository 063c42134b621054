#include "bootloader-hooks/hooks.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/custom/custom.h"
#include "bootloader-hooks/efi/efi.h"
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

static const char *esp_missing(const struct hook_settings *settings)
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
	return custom_open(settings->program,
		settings->program_timeout ? settings->program_timeout : CUSTOM_TIMEOUT, ret, err);
}

static int efi_open_configured(
	const struct hook_settings *settings, struct bootloader **ret, struct err *err)
{
	const struct efi_options options = {
		.esp = settings->esp,
		.variables = settings->efivars ? settings->efivars : EFI_DEFAULT_VARIABLES,
		.booted = settings->booted,
	};

	return efi_open(&options, ret, err);
}

#define AT(member) offsetof(struct hook_settings, member)

static const struct hook HOOKS[] = {
	{"grub", grub_missing, grub_open_configured, grub_probe, AT(grubenv)},
	{"systemd-boot", esp_missing, systemd_boot_open_configured, systemd_boot_probe, AT(esp)},
	{"efi", esp_missing, efi_open_configured, efi_probe, AT(esp)},
	{"uboot", uboot_missing, uboot_open_configured, uboot_probe, AT(fw_env_config)},
	{"custom", custom_missing, custom_open_configured, custom_probe, AT(program)},
};

void hook_settings_finish(struct hook_settings *settings)
{
	free(settings->grubenv);
	free(settings->esp);
	free(settings->efivars);
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

/* ---- auto ---- */

/* Every hook's probe that is `found` or not, as one text. */
static void list_probes(
	const struct hook_probe *probes, bool found, bool named, char *ret, size_t cap)
{
	size_t used = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(HOOKS) && used < cap; i++) /* a long list is cut */
		if (probes[i].found == found && (!named || probes[i].named))
			used += (size_t)snprintf(ret + used, cap - used, "%s%s: %s",
				used ? "; " : "", HOOKS[i].name, probes[i].text);
}

static int pick(const struct hook_probe *probes, size_t *ret, struct err *err)
{
	size_t found = 0, named = 0;
	char list[448];

	for (size_t i = 0; i < ARRAY_LEN(HOOKS); i++) {
		found += probes[i].found;
		named += probes[i].named;
	}
	for (size_t i = 0; i < ARRAY_LEN(HOOKS); i++) {
		if (named == 1 ? !probes[i].named : !probes[i].found || found > 1)
			continue;
		*ret = i;
		return 0;
	}
	list_probes(probes, found > 0, named > 1, list, sizeof(list));
	return err_set(err, FAIL_BOOT, "bootloader = auto: %s (name it in [system]): %s",
		found ? "more than one is there" : "found none", list);
}

/* With the found path where the hook's key would be. */
static int open_found(const struct hook *hook, const struct hook_settings *settings,
	struct hook_probe *probe, struct bootloader **ret, struct err *err)
{
	struct hook_settings completed = *settings; /* strings borrowed */
	char *path = probe->path;

	if (!probe->named)
		memcpy((char *)&completed + hook->path_at, &path, sizeof(char *));
	return hook->open(&completed, ret, err);
}

int hook_open_auto(const struct hook_settings *settings, const char *root, struct bootloader **ret,
	char ret_why[static HOOK_PROBE_TEXT_MAX], struct err *err)
{
	struct hook_probe probes[ARRAY_LEN(HOOKS)];
	size_t at;

	for (size_t i = 0; i < ARRAY_LEN(HOOKS); i++)
		HOOKS[i].probe(settings, root, &probes[i]);
	if (pick(probes, &at, err) < 0 ||
		open_found(&HOOKS[at], settings, &probes[at], ret, err) < 0)
		return -1;
	memcpy(ret_why, probes[at].text, HOOK_PROBE_TEXT_MAX);
	return 0;
}
