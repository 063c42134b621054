/*
 * group - the slots that boot together: a or b. A plain value, used on every floor.
 */
#ifndef ABIDE_UPDATER_GROUP_H
#define ABIDE_UPDATER_GROUP_H

#include <stdbool.h>

enum group {
	GROUP_A,
	GROUP_B,
};
#define GROUP_COUNT 2

static inline enum group group_other(enum group group)
{
	return group == GROUP_A ? GROUP_B : GROUP_A;
}

static inline const char *group_name(enum group group)
{
	return group == GROUP_A ? "a" : "b";
}

static inline bool group_parse(const char *s, enum group *ret)
{
	if ((s[0] != 'a' && s[0] != 'b') || s[1] != '\0')
		return false;
	*ret = s[0] == 'a' ? GROUP_A : GROUP_B;
	return true;
}

#endif
