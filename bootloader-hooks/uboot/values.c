/*
 * What the variables mean. uboot_values_parse() takes for valid what boot.cmd beside this file takes
 * for valid: change one, change both. README.md has the table and the reasons.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bootloader-hooks/order.h"
#include "bootloader-hooks/uboot/uboot.h"

/* Numbers are hexadecimal, as U-Boot counts. */
#define LEFT_GOOD    (BOOT_TRIES_MAX + 1) /* from here on: confirmed */
#define LEFT_MAX     0xffffu
#define LEFT_WRITTEN 0x63u /* of a good group; also a decimal number, for boot scripts of others */
#define LEFT_LOW     0x40u /* such a script has counted a good group below this: put it up again */

const char *const UBOOT_NAMES[UBOOT_VARIABLES] = {
	[UBOOT_BOOT_ORDER] = "BOOT_ORDER",
	[UBOOT_BOOT_A_LEFT] = "BOOT_A_LEFT",
	[UBOOT_BOOT_B_LEFT] = "BOOT_B_LEFT",
};

static const enum uboot_variable LEFT[GROUP_COUNT] = {
	[GROUP_A] = UBOOT_BOOT_A_LEFT,
	[GROUP_B] = UBOOT_BOOT_B_LEFT,
};

/* Only as setexpr writes it: small letters, no leading zeros. */
static bool parse_left(const char *text, uint32_t *ret)
{
	static const char DIGITS[] = "0123456789abcdef";
	uint32_t left = 0;

	if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
		return false;
	for (const char *p = text; *p; p++) {
		const char *digit = strchr(DIGITS, *p);

		if (!digit)
			return false;
		left = 16 * left + (uint32_t)(digit - DIGITS);
		if (left > LEFT_MAX)
			return false;
	}
	*ret = left;
	return true;
}

static int parse_group(const struct uboot_values *values, enum group group, struct boot_group *ret,
	struct err *err)
{
	const char *name = UBOOT_NAMES[LEFT[group]];
	const char *text = values->text[LEFT[group]];
	uint32_t left = 0;

	if (text[0] == '\0')
		return err_set(err, FAIL_BOOT, "BOOT_ORDER is '%s', but %s is not set",
			values->text[UBOOT_BOOT_ORDER], name);
	if (!parse_left(text, &left))
		return err_set(err, FAIL_BOOT,
			"%s is '%s', expected a hexadecimal number from 0 to %x, in small letters "
			"and without leading zeros",
			name, text, LEFT_MAX);
	*ret = (struct boot_group){
		.good = left >= LEFT_GOOD,
		.tries = left < LEFT_GOOD ? left : 0,
		.bad = left == 0,
	};
	return 0;
}

int uboot_values_parse(const struct uboot_values *values, struct boot_state *ret, struct err *err)
{
	const char *text = values->text[UBOOT_BOOT_ORDER];
	const struct boot_order *order = boot_order_find(text);
	struct boot_state state = {0};

	if (text[0] == '\0')
		return err_set(err, FAIL_BOOT,
			"BOOT_ORDER is not set: not an environment of abide's, or one that was "
			"reset "
			"to its defaults");
	if (!order)
		return err_set(err, FAIL_BOOT,
			"BOOT_ORDER is '%s', expected 'A B', 'B A', 'A' or 'B'", text);
	state.primary = order->primary;
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		if (order->listed[g] && parse_group(values, g, &state.group[g], err) < 0)
			return -1;
	}
	*ret = state;
	return 0;
}

int uboot_values_format(const struct boot_state *state, struct uboot_values *ret, struct err *err)
{
	const struct boot_order *order = boot_order_of(state);
	struct uboot_values values = {0};

	if (!order)
		return err_set(err, FAIL_BOOT, "that would leave no group to boot");
	(void)snprintf(values.text[UBOOT_BOOT_ORDER], sizeof(values.text[0]), "%s", order->text);
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		const struct boot_group *group = &state->group[g];

		assert(group->tries <= BOOT_TRIES_MAX);
		(void)snprintf(values.text[LEFT[g]], sizeof(values.text[0]), "%" PRIx32,
			group->good ? LEFT_WRITTEN : group->tries);
	}
	*ret = values;
	return 0;
}

bool uboot_values_say(const struct uboot_values *values, const struct boot_state *state)
{
	struct boot_state found;
	struct err err;

	if (uboot_values_parse(values, &found, &err) < 0 || !boot_state_equal(&found, state))
		return false;
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
		uint32_t left = 0;

		if (state->group[g].good && parse_left(values->text[LEFT[g]], &left) &&
			left < LEFT_LOW)
			return false;
	}
	return true;
}
