#include "bootloader-hooks/bootloader.h"

#include <stddef.h>

int bootloader_read(struct bootloader *bl, struct boot_state *ret, struct err *err)
{
	bl->note[0] = '\0';
	return bl->ops->read(bl, ret, err);
}

int bootloader_commit(struct bootloader *bl, const struct boot_state *state, struct err *err)
{
	return bl->ops->commit(bl, state, err);
}

void bootloader_close(struct bootloader **bl)
{
	if (!bl || !*bl)
		return;
	(*bl)->ops->free(*bl);
	*bl = NULL;
}

uint32_t bootloader_tries(const struct bootloader *bl, uint32_t wanted)
{
	return bl->ops->tries_max && wanted > bl->ops->tries_max ? bl->ops->tries_max : wanted;
}

static bool group_equal(const struct boot_group *a, const struct boot_group *b)
{
	return a->good == b->good && a->bad == b->bad && a->tries == b->tries;
}

bool boot_state_equal(const struct boot_state *a, const struct boot_state *b)
{
	return a->primary == b->primary && group_equal(&a->group[GROUP_A], &b->group[GROUP_A]) &&
	       group_equal(&a->group[GROUP_B], &b->group[GROUP_B]);
}

bool boot_group_bootable(const struct boot_group *group)
{
	return group->good || group->tries > 0;
}
