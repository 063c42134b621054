#include "bootloader-hooks/order.h"

#include <stddef.h>
#include <string.h>

#include "updater/mem.h"

static const struct boot_order ORDERS[] = {
	{"A B", GROUP_A, {true, true}},
	{"B A", GROUP_B, {true, true}},
	{"A", GROUP_A, {true, false}},
	{"B", GROUP_B, {false, true}},
};

const struct boot_order *boot_order_find(const char *text)
{
	for (size_t i = 0; i < ARRAY_LEN(ORDERS); i++)
		if (strcmp(text, ORDERS[i].text) == 0)
			return &ORDERS[i];
	return NULL;
}

static bool listed(const struct boot_group *group)
{
	return boot_group_bootable(group) || group->bad;
}

const struct boot_order *boot_order_of(const struct boot_state *state)
{
	bool a = listed(&state->group[GROUP_A]);
	bool b = listed(&state->group[GROUP_B]);

	for (size_t i = 0; i < ARRAY_LEN(ORDERS); i++) {
		if (ORDERS[i].listed[GROUP_A] != a || ORDERS[i].listed[GROUP_B] != b)
			continue;
		if (!a || !b || ORDERS[i].primary == state->primary)
			return &ORDERS[i];
	}
	return NULL;
}
