#include "qemu/ovmf.h"

#include <string.h>

#include "updater/mem.h"

/* The flash: the volume with the variables, then a log, the working space and the spare area of the
 * driver that moves the variables when the store is full. */
#define STORE_AT     0x48u /* of the flash: behind the volume's header */
#define STORE_END    0x40000u
#define WORKING_AT   0x41000u
#define WORKING_LEN  0x20u /* its header; behind it come what it moves, or nothing */
#define SIGNATURE_AT 40u /* of the volume's header */

enum store_offset {
	STORE_SIZE = 16,
	STORE_FORMAT = 20,
	STORE_STATE = 21,
	STORE_HEAD = 28,
};
#define STORE_FORMATTED 0x5au
#define STORE_HEALTHY   0xfeu

enum variable_offset {
	VARIABLE_BEGINS = 0,
	VARIABLE_STATE = 2,
	VARIABLE_ATTRIBUTES = 4,
	VARIABLE_NAME_LEN = 36,
	VARIABLE_DATA_LEN = 40,
	VARIABLE_VENDOR = 44,
	VARIABLE_HEAD = 60,
};
#define BEGINS 0x55aau
/* Each step of a change clears one bit more; flash can do that without being erased. */
#define ADDED        0x3fu
#define ADDED_LEAVES 0x3eu /* its successor is being written */
#define UNSET        0xffffffffu

static const uint8_t STORE[16] = {0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e,
	0x14, 0x4e, 0xc3, 0x77, 0x92};
static const uint8_t GLOBAL[16] = {0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00,
	0xe0, 0x98, 0x03, 0x2b, 0x8c};

static bool is_erased(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != 0xff)
			return false;
	return true;
}

static int check_store(const struct rawspan *flash, struct err *err)
{
	const uint8_t *store = flash->bytes + STORE_AT;

	if (flash->size != OVMF_FLASH_LEN || memcmp(flash->bytes + SIGNATURE_AT, "_FVH", 4) != 0 ||
		memcmp(store, STORE, sizeof(STORE)) != 0 ||
		store[STORE_FORMAT] != STORE_FORMATTED || store[STORE_STATE] != STORE_HEALTHY ||
		le32_get(store + STORE_SIZE) != STORE_END - STORE_AT)
		return err_set(err, FAIL_DRIFT, "the flash has no variables of OVMF's");
	if (!is_erased(flash->bytes + WORKING_AT + WORKING_LEN, VARIABLE_HEAD))
		return err_set(err, FAIL_DRIFT, "OVMF has begun to move its variables");
	return 0;
}

/* Of a header that was cut off the lengths may not be there yet: it has none, then. */
static size_t length_at(const uint8_t *variable, size_t at)
{
	uint32_t len = le32_get(variable + at);

	if (variable[VARIABLE_STATE] == 0xff || len == UNSET ||
		le32_get(variable + VARIABLE_ATTRIBUTES) == UNSET)
		return 0;
	return len;
}

static bool has_name(const uint8_t *variable, size_t name_len, const char *name)
{
	const uint8_t *unit = variable + VARIABLE_HEAD;

	if (name_len != 2 * (strlen(name) + 1) ||
		memcmp(variable + VARIABLE_VENDOR, GLOBAL, sizeof(GLOBAL)) != 0)
		return false;
	for (size_t i = 0; i <= strlen(name); i++)
		if (le16_get(unit + 2 * i) != (uint8_t)name[i])
			return false;
	return true;
}

/* The one that is there; else the one that was to be replaced by it. */
static const uint8_t *find(const uint8_t *store, size_t size, const char *name)
{
	const uint8_t *leaving = NULL;
	size_t len;

	for (size_t at = STORE_HEAD; at + VARIABLE_HEAD <= size; at += round_up(len, 4)) {
		const uint8_t *variable = store + at;
		size_t name_len, data_len;
		uint8_t state = variable[VARIABLE_STATE];

		if (le16_get(variable + VARIABLE_BEGINS) != BEGINS)
			break;
		name_len = length_at(variable, VARIABLE_NAME_LEN);
		data_len = length_at(variable, VARIABLE_DATA_LEN);
		if (name_len > size || data_len > size ||
			at + VARIABLE_HEAD + name_len + data_len > size)
			break;
		len = VARIABLE_HEAD + name_len + data_len;
		if ((state != ADDED && state != ADDED_LEAVES) ||
			!has_name(variable, name_len, name))
			continue;
		if (state == ADDED)
			return variable;
		leaving = variable;
	}
	return leaving;
}

int ovmf_variable(const struct rawspan *flash, const char *name, void *ret, size_t cap,
	size_t *ret_len, bool *ret_there, struct err *err)
{
	const uint8_t *variable;

	if (check_store(flash, err) < 0)
		return -1;
	variable = find(flash->bytes + STORE_AT, STORE_END - STORE_AT, name);
	*ret_there = variable != NULL;
	*ret_len = 0;
	if (!variable)
		return 0;
	*ret_len = length_at(variable, VARIABLE_DATA_LEN);
	if (*ret_len > cap)
		return err_set(err, FAIL_DRIFT, "the variable '%s' has %zu bytes", name, *ret_len);
	memcpy(ret, variable + VARIABLE_HEAD + length_at(variable, VARIABLE_NAME_LEN), *ret_len);
	return 0;
}
