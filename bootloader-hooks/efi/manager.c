#include "bootloader-hooks/efi/manager.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bootloader-hooks/efi/efi.h"
#include "bootloader-hooks/efi/variables.h"
#include "updater/fs.h"

#define OWN_GUID     "5f2a7c1e-8b3d-4e96-a1f0-3c7d9e52b684"
#define OWN_NAME     "AbideState"
#define OWN_VERSION  1u
#define OWN_LEN      (4u + MANAGER_BOOT_LEN)
#define BOOT_ID      "/proc/sys/kernel/random/boot_id"
#define NAME_LEN     8u /* Boot0001 */
#define FIRST_NUMBER 0x0100u /* firmwares count up from 0 */

static const char *const DESCRIPTIONS[ENTRY_COUNT] = {
	[ENTRY_A] = "abide a",
	[ENTRY_B] = "abide b",
	[ENTRY_PROBE] = "abide probe",
};

const char *manager_description(enum manager_entry entry)
{
	return DESCRIPTIONS[entry];
}

static void name_of(uint16_t number, char ret[static NAME_LEN + 1])
{
	(void)snprintf(ret, NAME_LEN + 1, "Boot%04X", number); /* fits */
}

/* ---- reading ---- */

static int read_number(
	const char *variables, const char *name, bool *ret_there, uint16_t *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes value = {0};

	if (variable_read(variables, name, EFI_GLOBAL, ret_there, &value, err) < 0)
		return -1;
	if (*ret_there && value.len != 2)
		return err_set(err, FAIL_BOOT, "%s has %zu bytes, expected 2", name, value.len);
	*ret = *ret_there ? le16_get(value.data) : 0;
	return 0;
}

static int read_order(const char *variables, struct manager *m, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes value = {0};
	bool there;

	if (variable_read(variables, "BootOrder", EFI_GLOBAL, &there, &value, err) < 0)
		return -1;
	if (value.len % 2 || value.len / 2 > MANAGER_ORDER_MAX)
		return err_set(err, FAIL_BOOT,
			"BootOrder has %zu bytes, expected two for each of at "
			"most %u entries",
			value.len, MANAGER_ORDER_MAX);
	m->order_count = value.len / 2;
	for (size_t i = 0; i < m->order_count; i++)
		m->order[i] = le16_get(value.data + 2 * i);
	return 0;
}

/* "Boot0A1F-8be4df61-...": its number. */
static bool is_entry(const char *name, uint16_t *ret)
{
	unsigned int number;

	if (strncmp(name, "Boot", 4) != 0 || strlen(name) < NAME_LEN || name[NAME_LEN] != '-' ||
		strcasecmp(name + NAME_LEN + 1, EFI_GLOBAL) != 0)
		return false;
	for (size_t i = 4; i < NAME_LEN; i++)
		if (!isxdigit((unsigned char)name[i]))
			return false;
	if (sscanf(name + 4, "%4x", &number) != 1)
		return false;
	*ret = (uint16_t)number;
	return true;
}

/* Of two entries with one description the first in order of numbers counts. */
static int look_at_entry(const char *variables, struct manager *m, uint16_t number, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes option = {0};
	char name[NAME_LEN + 1], description[EFI_DESCRIPTION_MAX];
	bool there;

	name_of(number, name);
	if (variable_read(variables, name, EFI_GLOBAL, &there, &option, err) < 0)
		return -1;
	if (!there || !efi_option_description(&option, description))
		return 0; /* nobody's that we know */
	for (unsigned int e = 0; e < ENTRY_COUNT; e++) {
		if (strcmp(description, DESCRIPTIONS[e]) != 0 ||
			(m->has[e] && m->number[e] < number))
			continue;
		m->has[e] = true;
		m->number[e] = number;
	}
	return 0;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static int read_entries(const char *variables, struct manager *m, struct err *err)
{
	CLEANUP(close_dir) DIR *dir = opendir(variables);
	const struct dirent *dirent;
	uint16_t number;

	if (!dir)
		return err_errno(err, "open '%s'", variables);
	while (errno = 0, (dirent = readdir(dir)))
		if (is_entry(dirent->d_name, &number) &&
			look_at_entry(variables, m, number, err) < 0)
			return -1;
	return errno ? err_errno(err, "read '%s'", variables) : 0;
}

/* One that is not as we write it is as good as none: it decides nothing alone. */
static int read_memory(const char *variables, struct manager_memory *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes value = {0};
	bool there;

	*ret = (struct manager_memory){0};
	if (variable_read(variables, OWN_NAME, OWN_GUID, &there, &value, err) < 0)
		return -1;
	if (!there || value.len != OWN_LEN || value.data[0] != OWN_VERSION ||
		value.data[1] > ENTRY_COUNT || value.data[3] > FIRMWARE_LIES)
		return 0;
	ret->has_asked = value.data[1] > 0;
	if (ret->has_asked)
		ret->asked = (enum manager_entry)(value.data[1] - 1);
	for (unsigned int g = 0; g < GROUP_COUNT; g++)
		ret->bad[g] = value.data[2] >> g & 1;
	ret->firmware = (enum manager_firmware)value.data[3];
	memcpy(ret->boot, value.data + 4, sizeof(ret->boot));
	return 0;
}

/* 6f1e5d3c-2b4a-...: the sixteen bytes of it. */
static int read_boot_id(uint8_t ret[static MANAGER_BOOT_LEN], struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char hex[2 * MANAGER_BOOT_LEN + 1];
	size_t n = 0;

	if (fs_read_file(BOOT_ID, 64, &text, err) < 0)
		return -1;
	for (size_t i = 0; i < text.len && n < sizeof(hex) - 1; i++)
		if (text.data[i] != '-')
			hex[n++] = (char)text.data[i];
	hex[n] = '\0';
	if (!hex_decode(hex, ret, MANAGER_BOOT_LEN))
		return err_set(err, FAIL_BOOT, "'%s' is no boot id", BOOT_ID);
	return 0;
}

int manager_read(const char *variables, struct manager *ret, struct err *err)
{
	struct manager m = {0};
	bool there;

	if (variables_check(variables, err) < 0 ||
		read_number(variables, "BootCurrent", &there, &m.current, err) < 0 ||
		read_number(variables, "BootNext", &m.has_next, &m.next, err) < 0 ||
		read_order(variables, &m, err) < 0 || read_entries(variables, &m, err) < 0 ||
		read_memory(variables, &m.memory, err) < 0 || read_boot_id(m.boot, err) < 0)
		return -1;
	*ret = m;
	return 0;
}

bool manager_is(const struct manager *m, enum manager_entry entry, uint16_t number)
{
	return m->has[entry] && m->number[entry] == number;
}

int manager_place(const struct manager *m, enum manager_entry entry)
{
	for (size_t i = 0; i < m->order_count; i++)
		if (manager_is(m, entry, m->order[i]))
			return (int)i;
	return -1;
}

bool manager_asked_before(const struct manager *m, enum manager_entry entry)
{
	return m->memory.has_asked && m->memory.asked == entry &&
	       memcmp(m->memory.boot, m->boot, sizeof(m->boot)) != 0;
}

/* ---- writing ---- */

/* No entry, not even one that is not in the order, has the number; nor had one that was started and
 * is gone: what has it would be taken for what runs. */
static int free_number(
	const char *variables, const struct manager *m, uint16_t *ret, struct err *err)
{
	for (unsigned int number = FIRST_NUMBER; number <= UINT16_MAX; number++) {
		CLEANUP(bytes_finish) struct bytes ignored = {0};
		char name[NAME_LEN + 1];
		bool there;

		name_of((uint16_t)number, name);
		if (variable_read(variables, name, EFI_GLOBAL, &there, &ignored, err) < 0)
			return -1;
		if (there || number == m->current)
			continue;
		*ret = (uint16_t)number;
		return 0;
	}
	return err_set(err, FAIL_BOOT, "no number is free for another boot entry");
}

int manager_write_entry(const char *variables, struct manager *m, enum manager_entry entry,
	const struct bytes *option, struct err *err)
{
	uint16_t number = m->number[entry];
	char name[NAME_LEN + 1];

	if (!m->has[entry] && free_number(variables, m, &number, err) < 0)
		return -1;
	name_of(number, name);
	if (variable_write(variables, name, EFI_GLOBAL, option->data, option->len, err) < 0)
		return -1;
	m->has[entry] = true;
	m->number[entry] = number;
	return 0;
}

int manager_remove_entry(
	const char *variables, struct manager *m, enum manager_entry entry, struct err *err)
{
	char name[NAME_LEN + 1];

	if (!m->has[entry])
		return 0;
	name_of(m->number[entry], name);
	m->has[entry] = false;
	return variable_remove(variables, name, EFI_GLOBAL, err);
}

int manager_write_order(const char *variables, const uint16_t *order, size_t count, struct err *err)
{
	uint8_t raw[2 * (MANAGER_ORDER_MAX + GROUP_COUNT)];

	for (size_t i = 0; i < count; i++)
		le16_put(raw + 2 * i, order[i]);
	return variable_write(variables, "BootOrder", EFI_GLOBAL, raw, 2 * count, err);
}

int manager_write_next(const char *variables, const struct manager *m,
	const enum manager_entry *entry, struct err *err)
{
	uint8_t raw[2];

	if (!entry)
		return variable_remove(variables, "BootNext", EFI_GLOBAL, err);
	le16_put(raw, m->number[*entry]);
	return variable_write(variables, "BootNext", EFI_GLOBAL, raw, sizeof(raw), err);
}

int manager_check_memory(const char *variables, struct err *err)
{
	return variable_check_writable(variables, OWN_NAME, OWN_GUID, err);
}

int manager_write_memory(
	const char *variables, const struct manager_memory *memory, struct err *err)
{
	uint8_t raw[OWN_LEN] = {OWN_VERSION};

	raw[1] = memory->has_asked ? (uint8_t)(memory->asked + 1) : 0;
	for (unsigned int g = 0; g < GROUP_COUNT; g++)
		raw[2] |= (uint8_t)(memory->bad[g] << g);
	raw[3] = (uint8_t)memory->firmware;
	if (memory->has_asked)
		memcpy(raw + 4, memory->boot, sizeof(memory->boot));
	return variable_write(variables, OWN_NAME, OWN_GUID, raw, sizeof(raw), err);
}
