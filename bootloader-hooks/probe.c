#include "bootloader-hooks/probe.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/hooks.h"
#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "bootloader-hooks/uboot/uboot.h"
#include "updater/fs.h"
#include "updater/mem.h"

static void say_named(const char *key, struct hook_probe *ret)
{
	ret->found = ret->named = true;
	(void)snprintf(ret->text, sizeof(ret->text), "[boot] %s is set", key); /* fits */
}

/* The first place that `is_it` accepts. False: none does. */
static bool find_place(const char *root, const char *const *places, size_t count,
	bool (*is_it)(const char *path), struct hook_probe *ret)
{
	for (size_t i = 0; i < count; i++)
		if (snprintf(ret->path, sizeof(ret->path), "%s%s", root, places[i]) <
				(int)sizeof(ret->path) &&
			is_it(ret->path)) {
			ret->found = true;
			return true;
		}
	ret->path[0] = '\0';
	return false;
}

static void say_missing(
	const char *what, const char *const *places, size_t count, struct hook_probe *ret)
{
	size_t used = (size_t)snprintf(ret->text, sizeof(ret->text), "%s", what);

	for (size_t i = 0; i < count && used < sizeof(ret->text); i++) /* a long list is cut */
		used += (size_t)snprintf(ret->text + used, sizeof(ret->text) - used, "%s %s",
			i ? "," : "", places[i]);
}

/* ---- GRUB ---- */

/* Where distributions have it. Their own block has no ORDER: with it, somebody set it up for groups. */
static const char *const GRUBENVS[] = {
	"/boot/efi/grub/grubenv", "/efi/grub/grubenv", "/boot/grub/grubenv", "/boot/grub2/grubenv"};

static bool is_grubenv(const char *path)
{
	CLEANUP(bytes_finish) struct bytes block = {0};
	struct err ignored; /* not there, or not for us */

	return fs_read_file(path, GRUB_ENV_LEN, &block, &ignored) == 0 &&
	       block.len == GRUB_ENV_LEN && grub_env_is_block(block.data) &&
	       memmem(block.data, block.len, "\nORDER=", 7);
}

/* The first copy may be lost: then GRUB has read the spare. */
static bool is_grubenv_or_spare(const char *path)
{
	char spare[PATH_MAX + 8];

	(void)snprintf(spare, sizeof(spare), "%s.spare", path); /* fits */
	return is_grubenv(path) || is_grubenv(spare);
}

void grub_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret)
{
	*ret = (struct hook_probe){0};
	if (settings->grubenv)
		say_named("grubenv", ret);
	else if (find_place(root, GRUBENVS, ARRAY_LEN(GRUBENVS), is_grubenv_or_spare, ret))
		(void)snprintf(
			ret->text, sizeof(ret->text), "'%.200s' has the variable ORDER", ret->path);
	else
		say_missing("no environment block with the variable ORDER at", GRUBENVS,
			ARRAY_LEN(GRUBENVS), ret);
}

/* ---- systemd-boot ---- */

static const char *const ESPS[] = {"/efi", "/boot", "/boot/efi"};

static bool has_our_entries(const char *esp)
{
	char path[PATH_MAX + 16];
	const struct dirent *at;
	bool found = false;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/loader/entries", esp); /* fits */
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (at = readdir(dir))) {
		struct systemd_boot_entry entry;

		found = systemd_boot_parse(at->d_name, &entry) == SYSTEMD_BOOT_ENTRY;
	}
	(void)closedir(dir);
	return found;
}

/* The EFI hook's: no bootloader reads them. */
static bool has_cmdlines(const char *esp)
{
	char path[PATH_MAX + 16];

	(void)snprintf(path, sizeof(path), "%s/abide/a.cmdline", esp); /* fits */
	return access(path, R_OK) == 0;
}

void systemd_boot_probe(
	const struct hook_settings *settings, const char *root, struct hook_probe *ret)
{
	*ret = (struct hook_probe){0};
	/* Two hooks have that key. */
	if (settings->esp && !has_cmdlines(settings->esp))
		say_named("esp", ret);
	else if (!settings->esp && find_place(root, ESPS, ARRAY_LEN(ESPS), has_our_entries, ret))
		(void)snprintf(ret->text, sizeof(ret->text),
			"'%.200s/loader/entries' has entries of the groups", ret->path);
	else
		say_missing("no loader/entries/abide-GROUP-... in", ESPS, ARRAY_LEN(ESPS), ret);
}

/* ---- EFI ---- */

void efi_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret)
{
	*ret = (struct hook_probe){0};
	if (settings->efivars)
		say_named("efivars", ret);
	else if (settings->esp && has_cmdlines(settings->esp))
		say_named("esp", ret);
	else if (!settings->esp && find_place(root, ESPS, ARRAY_LEN(ESPS), has_cmdlines, ret))
		(void)snprintf(ret->text, sizeof(ret->text),
			"'%.200s/abide' has command lines for the groups", ret->path);
	else
		say_missing("no abide/a.cmdline in", ESPS, ARRAY_LEN(ESPS), ret);
}

/* ---- U-Boot ---- */

static const char *const FW_ENV_CONFIGS[] = {UBOOT_FW_ENV_CONFIG};

static bool is_readable(const char *path)
{
	return access(path, R_OK) == 0;
}

void uboot_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret)
{
	*ret = (struct hook_probe){0};
	if (settings->fw_env_config)
		say_named("fw-env-config", ret);
	else if (find_place(root, FW_ENV_CONFIGS, ARRAY_LEN(FW_ENV_CONFIGS), is_readable, ret))
		(void)snprintf(ret->text, sizeof(ret->text), "'%.200s' is there", ret->path);
	else
		say_missing("no", FW_ENV_CONFIGS, ARRAY_LEN(FW_ENV_CONFIGS), ret);
}

/* ---- custom ---- */

/* A program has no usual place. */
void custom_probe(const struct hook_settings *settings, const char *root, struct hook_probe *ret)
{
	(void)root;
	*ret = (struct hook_probe){.text = "no program in [boot]"};
	if (settings->program)
		say_named("program", ret);
}
