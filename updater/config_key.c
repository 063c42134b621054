#include "updater/config_key.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/config.h"

#define HOOK_NAMES_MAX 128u
#define USER_MAX       32u
#define THRESHOLD_MAX  16u /* more signers than a signature may have */

static int set_name(const struct config_key *key, const char *value, void *ret, struct err *err)
{
	(void)key;
	if (!manifest_name_valid(value))
		return err_set(err, FAIL_USAGE, "'%s' is not 1..%u characters of printable ASCII",
			value, MANIFEST_NAME_MAX);
	memcpy(ret, value, strlen(value) + 1);
	return 0;
}

static int set_path(const struct config_key *key, const char *value, void *ret, struct err *err)
{
	(void)key;
	if (value[0] != '/')
		return err_set(err, FAIL_USAGE, "'%s' is not an absolute path", value);
	return mem_strdup(value, ret, err);
}

static int set_device(const struct config_key *key, const char *value, void *ret, struct err *err)
{
	static const char *const TAGS[] = {"LABEL=", "PARTLABEL=", "UUID=", "PARTUUID="};

	(void)key;
	for (size_t i = 0; i < ARRAY_LEN(TAGS); i++)
		if (strncmp(value, TAGS[i], strlen(TAGS[i])) == 0 && value[strlen(TAGS[i])])
			return mem_strdup(value, ret, err);
	if (value[0] != '/')
		return err_set(err, FAIL_USAGE,
			"'%s' is neither an absolute path nor LABEL=, PARTLABEL=, UUID= or"
			" PARTUUID= with a value",
			value);
	return mem_strdup(value, ret, err);
}

static int set_user(const struct config_key *key, const char *value, void *ret, struct err *err)
{
	size_t len = strlen(value);

	(void)key;
	if (len > USER_MAX || value[0] == '-' ||
		strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_-") != len)
		return err_set(err, FAIL_USAGE, "'%s' is not a user's name", value);
	return mem_strdup(value, ret, err);
}

static int set_number(const struct config_key *key, const char *value, void *ret, struct err *err)
{
	uint64_t v = 0;
	const char *p = value;

	for (; *p >= '0' && *p <= '9' && v <= key->max; p++)
		v = 10 * v + (uint64_t)(*p - '0');
	if (*p || v < key->min || v > key->max)
		return err_set(err, FAIL_USAGE, "'%s' is not a number from %u to %u", value,
			key->min, key->max);
	*(unsigned int *)ret = (unsigned int)v;
	return 0;
}

static int set_bootloader(
	const struct config_key *key, const char *value, void *ret, struct err *err)
{
	const struct hook *hook = hook_find(value);
	char known[HOOK_NAMES_MAX];

	(void)key;
	if (strcmp(value, "auto") == 0)
		return 0; /* NULL */
	if (!hook) {
		hook_names(known, sizeof(known));
		return err_set(err, FAIL_USAGE,
			"'%s' is not a bootloader this abide knows; known: auto, %s", value, known);
	}
	*(const struct hook **)ret = hook;
	return 0;
}

static int set_booted(const struct config_key *key, const char *value, void *ret, struct err *err)
{
	struct config *config = ret;

	(void)key;
	if (!group_parse(value, &config->booted))
		return err_set(err, FAIL_USAGE, "'%s' is not a group; allowed: a, b", value);
	config->booted_set = true;
	return 0;
}

#define AT(member) offsetof(struct config, member)

static const struct config_key KEYS[] = {
	{"system", "compatible", set_name, AT(compatible), 0, 0},
	{"system", "hardware", set_name, AT(hardware), 0, 0},
	{"system", "bootloader", set_bootloader, AT(hook), 0, 0},
	{"system", "state-dir", set_path, AT(state_dir), 0, 0},
	{"system", "run-dir", set_path, AT(run_dir), 0, 0},
	{"system", "carrier-user", set_user, AT(carrier_user), 0, 0},
	{"trust", "roots", set_path, AT(roots), 0, 0},
	{"trust", "crl", set_path, AT(crl), 0, 0},
	{"trust", "threshold", set_number, AT(threshold), 1, THRESHOLD_MAX},
	{"source", "ca-file", set_path, AT(ca_file), 0, 0},
	{"source", "stall-timeout", set_number, AT(stall_timeout), 1, 3600},
	{"source", "min-rate", set_number, AT(min_rate), 1, 1000000000},
	{"source", "retries", set_number, AT(retries), 0, 1000},
	{"boot", "trial-attempts", set_number, AT(trial_attempts), 1, BOOT_TRIES_MAX},
	{"boot", "grubenv", set_path, AT(boot.grubenv), 0, 0},
	{"boot", "esp", set_path, AT(boot.esp), 0, 0},
	{"boot", "efivars", set_path, AT(boot.efivars), 0, 0},
	{"boot", "fw-env-config", set_path, AT(boot.fw_env_config), 0, 0},
	{"boot", "program", set_path, AT(boot.program), 0, 0},
	{"boot", "program-timeout", set_number, AT(boot.program_timeout), 1, 3600},
	{"boot", "booted", set_booted, 0, 0, 0},
	{"health", "directory", set_path, AT(health_dir), 0, 0},
	{"health", "timeout", set_number, AT(health_timeout), 1, 86400},
};

_Static_assert(ARRAY_LEN(KEYS) <= CONFIG_KEYS_MAX, "what counts them has room");

const struct config_key CONFIG_SLOT_DEVICE = {"slot", "device", set_device, 0, 0, 0};

const struct config_key *config_key_find(
	const char *section, const char *name, unsigned int *ret_number)
{
	for (unsigned int i = 0; i < ARRAY_LEN(KEYS); i++) {
		if (strcmp(KEYS[i].section, section) != 0 || strcmp(KEYS[i].name, name) != 0)
			continue;
		*ret_number = i;
		return &KEYS[i];
	}
	return NULL;
}

bool config_key_section(const char *section)
{
	for (size_t i = 0; i < ARRAY_LEN(KEYS); i++)
		if (strcmp(KEYS[i].section, section) == 0)
			return true;
	return false;
}

void config_key_names(const char *section, char *ret, size_t cap)
{
	size_t used = 0;

	ret[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(KEYS) && used < cap; i++)
		if (strcmp(KEYS[i].section, section) == 0)
			used += (size_t)snprintf(
				ret + used, cap - used, "%s%s", used ? ", " : "", KEYS[i].name);
}
