/*
 * One copy of a redundant environment:
 *
 *	0  4  CRC-32 of everything from 5 on, little-endian
 *	4  1  flag: the copy with the higher one counts; 0 follows ff
 *	5     NAME=VALUE, each ended by a NUL; an empty one ends them; the rest is padding
 *
 * Without redundancy there is no flag, and the variables begin at 4. MTD devices have a flag that
 * says active or obsolete instead; they are libubootenv's alone (uboot.c).
 * Source: U-Boot's documentation, "Environment variables", and the manual of mkenvimage(1).
 */
#include <stdio.h>
#include <string.h>

#include "bootloader-hooks/uboot/uboot.h"
#include "updater/crc32.h"

#define FLAG_AT     4u
#define SINGLE_DATA 4u

static bool blank(const uint8_t *copy, size_t size)
{
	return memcmp(copy, copy + 1, size - 1) == 0;
}

enum uboot_copy_fault uboot_copy_check(const uint8_t *copy, size_t size)
{
	/* Zeros are no valid copy: the checksum of zeros is not 0. */
	if (le32_get(copy) == crc32_add(0, copy + UBOOT_COPY_DATA, size - UBOOT_COPY_DATA))
		return UBOOT_COPY_OK;
	if (blank(copy, size))
		return UBOOT_COPY_BLANK;
	if (le32_get(copy) == crc32_add(0, copy + SINGLE_DATA, size - SINGLE_DATA))
		return UBOOT_COPY_SINGLE;
	return UBOOT_COPY_BROKEN;
}

size_t uboot_copy_other_size(const uint8_t *bytes, size_t len)
{
	uint32_t crc = 0;
	size_t done = UBOOT_COPY_DATA;

	for (size_t size = UBOOT_ENV_MIN; size <= len && size <= UBOOT_ENV_MAX; size *= 2) {
		crc = crc32_add(crc, bytes + done, size - done);
		done = size;
		if (crc == le32_get(bytes))
			return size;
	}
	return 0;
}

/* The variable of ours that "NAME=VALUE" of `len` bytes sets; UBOOT_VARIABLES: none. */
static unsigned int variable_of(const char *entry, size_t len)
{
	unsigned int v;

	for (v = 0; v < UBOOT_VARIABLES; v++) {
		size_t name_len = strlen(UBOOT_NAMES[v]);

		if (len > name_len && memcmp(entry, UBOOT_NAMES[v], name_len) == 0 &&
			entry[name_len] == '=')
			break;
	}
	return v;
}

void uboot_copy_values(const uint8_t *copy, size_t size, struct uboot_values *ret)
{
	struct uboot_values values = {0};

	for (size_t at = UBOOT_COPY_DATA; at < size && copy[at] != '\0';) {
		const char *entry = (const char *)copy + at;
		size_t len = strnlen(entry, size - at);
		unsigned int v = variable_of(entry, len);

		if (v < UBOOT_VARIABLES) {
			size_t skip = strlen(UBOOT_NAMES[v]) + 1;

			mem_printable(
				entry + skip, len - skip, values.text[v], sizeof(values.text[v]));
		}
		at += len + 1;
	}
	*ret = values;
}

unsigned int uboot_copy_newer(const uint8_t *first, const uint8_t *second)
{
	uint8_t a = first[FLAG_AT];
	uint8_t b = second[FLAG_AT];

	if (a == 0xff && b == 0)
		return 1;
	if (b == 0xff && a == 0)
		return 0;
	return b > a;
}

static bool append(uint8_t *copy, size_t size, size_t *at, const char *text, size_t len)
{
	/* With its NUL, and the one that ends them all. */
	if (size - *at < len + 2)
		return false;
	memcpy(copy + *at, text, len);
	*at += len + 1;
	return true;
}

/* Every line of `defaults` that sets a variable which is not ours. */
static bool append_defaults(uint8_t *copy, size_t size, size_t *at, const struct bytes *defaults)
{
	const char *text = (const char *)defaults->data;

	for (size_t from = 0; from < defaults->len;) {
		const char *line = text + from;
		const char *end = memchr(line, '\n', defaults->len - from);
		size_t len = end ? (size_t)(end - line) : defaults->len - from;

		from += len + 1;
		if (len == 0 || line[0] == '#' || !memchr(line, '=', len) ||
			variable_of(line, len) < UBOOT_VARIABLES)
			continue;
		if (!append(copy, size, at, line, len))
			return false;
	}
	return true;
}

int uboot_copy_format(const struct uboot_values *values, const struct bytes *defaults, uint8_t flag,
	size_t size, uint8_t *ret, struct err *err)
{
	size_t at = UBOOT_COPY_DATA;
	bool fits = true;

	memset(ret, 0, size);
	if (defaults && defaults->len)
		fits = append_defaults(ret, size, &at, defaults);
	for (unsigned int v = 0; fits && v < UBOOT_VARIABLES; v++) {
		char entry[sizeof(values->text[0]) + 16];
		int len = snprintf(entry, sizeof(entry), "%s=%s", UBOOT_NAMES[v], values->text[v]);

		fits = values->text[v][0] == '\0' || append(ret, size, &at, entry, (size_t)len);
	}
	if (!fits)
		return err_set(err, FAIL_SPACE,
			"the variables do not fit the %zu bytes of the U-Boot environment", size);
	ret[FLAG_AT] = flag;
	le32_put(ret, crc32_add(0, ret + UBOOT_COPY_DATA, size - UBOOT_COPY_DATA));
	return 0;
}
