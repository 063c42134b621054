/*
 * GRUB's environment block: 1024 bytes of text, a first line that marks it, then NAME=VALUE lines,
 * a backslash in front of a byte that is to be taken as it is, '#' up to the end.
 * Source: the GRUB manual, "Environment block".
 *
 * env_parse() mirrors abide_valid in grub.cfg beside this file: change one, change both.
 */
#include "bootloader-hooks/grub/grub.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bootloader-hooks/order.h"
#include "updater/mem.h"

#define SIGNATURE     "# GRUB Environment Block\n"
#define SIGNATURE_LEN (sizeof(SIGNATURE) - 1)
#define SECTOR        512u

enum variable {
	VAR_ORDER,
	VAR_A_OK,
	VAR_A_TRY,
	VAR_B_OK,
	VAR_B_TRY,
};
#define VAR_COUNT 5

static const char *const NAMES[VAR_COUNT] = {
	[VAR_ORDER] = "ORDER",
	[VAR_A_OK] = "A_OK",
	[VAR_A_TRY] = "A_TRY",
	[VAR_B_OK] = "B_OK",
	[VAR_B_TRY] = "B_TRY",
};

/* A NAME=VALUE line in place, escapes and all. */
struct line {
	const char *start;
	size_t len; /* without the newline */
	size_t name_len; /* up to '=' */
};

bool grub_env_is_block(const uint8_t block[static GRUB_ENV_LEN])
{
	return memcmp(block, SIGNATURE, SIGNATURE_LEN) == 0;
}

/* The next line at or after *at that is neither a comment nor without '='. */
static bool next_line(const uint8_t *block, size_t *at, struct line *ret)
{
	while (*at < GRUB_ENV_LEN) {
		const char *start = (const char *)block + *at;
		const char *equals;
		size_t len = 0;
		size_t left = GRUB_ENV_LEN - *at;

		while (len < left && start[len] != '\n')
			len += start[len] == '\\' ? 2 : 1;
		if (len > left)
			len = left;
		*at += len + 1;
		equals = memchr(start, '=', len);
		if (start[0] == '#' || !equals)
			continue;
		*ret = (struct line){
			.start = start, .len = len, .name_len = (size_t)(equals - start)};
		return true;
	}
	return false;
}

static bool line_variable(const struct line *line, enum variable *ret)
{
	for (unsigned int v = 0; v < VAR_COUNT; v++) {
		if (strlen(NAMES[v]) != line->name_len ||
			memcmp(NAMES[v], line->start, line->name_len) != 0)
			continue;
		*ret = (enum variable)v;
		return true;
	}
	return false;
}

/* Our variables' values; "" for one that is not there. */
static int collect(const uint8_t *block, char ret[VAR_COUNT][8], struct err *err)
{
	bool found[VAR_COUNT] = {false};
	struct line line;
	size_t at = SIGNATURE_LEN;

	memset(ret, 0, VAR_COUNT * sizeof(ret[0]));
	while (next_line(block, &at, &line)) {
		const char *value = line.start + line.name_len + 1;
		size_t len = line.len - line.name_len - 1;
		enum variable v;

		if (!line_variable(&line, &v))
			continue;
		if (found[v])
			return err_set(err, FAIL_BOOT, "%s is set twice", NAMES[v]);
		found[v] = true;
		/* Longer than any valid value: cut, and no valid value either. */
		mem_printable(value, len, ret[v], sizeof(ret[v]));
	}
	return 0;
}

/* A single digit up to `max`; unset is 0, as grub.cfg takes it. */
static int parse_digit(
	enum variable v, const char *text, uint32_t max, uint32_t *ret, struct err *err)
{
	uint32_t digit = (uint32_t)(unsigned char)text[0] - '0';

	if (text[0] == '\0') {
		*ret = 0;
		return 0;
	}
	if (text[1] != '\0' || digit > max)
		return err_set(
			err, FAIL_BOOT, "%s is '%s', expected 0..%" PRIu32, NAMES[v], text, max);
	*ret = digit;
	return 0;
}

static int parse_group(const char *ok_text, enum variable ok_var, const char *try_text,
	enum variable try_var, struct boot_group *ret, struct err *err)
{
	uint32_t ok = 0;
	uint32_t tries = 0;

	if (parse_digit(ok_var, ok_text, 1, &ok, err) < 0 ||
		parse_digit(try_var, try_text, BOOT_TRIES_MAX, &tries, err) < 0)
		return -1;
	*ret = (struct boot_group){
		.good = ok != 0, .tries = ok ? 0 : tries, .bad = !ok && tries == 0};
	return 0;
}

int grub_env_parse(
	const uint8_t block[static GRUB_ENV_LEN], struct boot_state *ret, struct err *err)
{
	char values[VAR_COUNT][8];
	struct boot_state state = {0};
	const struct boot_order *order;

	if (!grub_env_is_block(block))
		return err_set(err, FAIL_BOOT, "does not begin like a GRUB environment block");
	if (collect(block, values, err) < 0)
		return -1;
	order = boot_order_find(values[VAR_ORDER]);
	if (!order)
		return err_set(err, FAIL_BOOT, "ORDER is '%s', expected 'A B', 'B A', 'A' or 'B'",
			values[VAR_ORDER]);
	if (parse_group(values[VAR_A_OK], VAR_A_OK, values[VAR_A_TRY], VAR_A_TRY,
		    &state.group[GROUP_A], err) < 0 ||
		parse_group(values[VAR_B_OK], VAR_B_OK, values[VAR_B_TRY], VAR_B_TRY,
			&state.group[GROUP_B], err) < 0)
		return -1;
	state.primary = order->primary;
	for (unsigned int g = 0; g < GROUP_COUNT; g++) {
		if (!order->listed[g])
			state.group[g] = (struct boot_group){0};
	}
	*ret = state;
	return 0;
}

static bool append(uint8_t *block, size_t *at, const char *text, size_t len)
{
	if (GRUB_ENV_LEN - *at < len)
		return false;
	memcpy(block + *at, text, len);
	*at += len;
	return true;
}

/* Every line of `previous` that is not ours, as it is. */
static bool append_foreign(uint8_t *block, size_t *at, const uint8_t *previous)
{
	size_t from = SIGNATURE_LEN;
	struct line line;

	while (next_line(previous, &from, &line)) {
		enum variable v;

		if (line_variable(&line, &v))
			continue;
		if (!append(block, at, line.start, line.len) || !append(block, at, "\n", 1))
			return false;
	}
	return true;
}

int grub_env_format(const struct boot_state *state, const uint8_t *previous,
	uint8_t ret[static GRUB_ENV_LEN], struct err *err)
{
	const struct boot_group *a = &state->group[GROUP_A];
	const struct boot_group *b = &state->group[GROUP_B];
	const struct boot_order *order = boot_order_of(state);
	uint8_t block[GRUB_ENV_LEN];
	char ours[128];
	size_t at = 0;
	int len;

	assert(a->tries <= BOOT_TRIES_MAX && b->tries <= BOOT_TRIES_MAX);
	if (!order)
		return err_set(err, FAIL_BOOT, "that would leave no group to boot");
	len = snprintf(ours, sizeof(ours),
		SIGNATURE "ORDER=%s\nA_OK=%d\nA_TRY=%" PRIu32 "\nB_OK=%d\nB_TRY=%" PRIu32 "\n",
		order->text, a->good, a->tries, b->good, b->tries);
	assert(len > 0 && (size_t)len < sizeof(ours));
	/* Ours first: within one sector, so that a torn write has all of them or none. */
	_Static_assert(sizeof(ours) <= SECTOR, "our variables fit the first sector");
	memset(block, '#', sizeof(block));
	if (!append(block, &at, ours, (size_t)len) ||
		(previous && grub_env_is_block(previous) && !append_foreign(block, &at, previous)))
		return err_set(err, FAIL_BOOT,
			"the variables of others leave no room in the %u bytes of the environment; "
			"remove some with grub-editenv",
			GRUB_ENV_LEN);
	memcpy(ret, block, sizeof(block));
	return 0;
}
