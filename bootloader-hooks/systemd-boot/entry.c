/*
 * The names of entries, and what systemd-boot makes of them. Sources: the Boot Loader Specification
 * ("Boot counting", "Sorting") and what systemd-boot 252 was seen to do with them.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bootloader-hooks/systemd-boot/systemd_boot.h"

#define PREFIX     "abide-"
#define SUFFIX     ".conf"
#define UNFINISHED ".new"
#define REVERTED   "-reverted"
#define DONE_MAX   999999999u

static bool ends_with(const char *s, const char *end)
{
	size_t len = strlen(s), end_len = strlen(end);

	return len >= end_len && strcmp(s + len - end_len, end) == 0;
}

/* A plain decimal number, without leading zeros. */
static bool take_number(const char **at, uint32_t max, uint32_t *ret)
{
	const char *p = *at;
	uint64_t v = 0;

	if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		v = 10 * v + (uint64_t)(*p - '0');
		if (v > max)
			return false;
	}
	*at = p;
	*ret = (uint32_t)v;
	return true;
}

static bool take_text(const char **at, const char *text)
{
	if (strncmp(*at, text, strlen(text)) != 0)
		return false;
	*at += strlen(text);
	return true;
}

static bool take_counter(const char **at, struct systemd_boot_entry *entry)
{
	if (!take_text(at, "+"))
		return true;
	entry->counted = true;
	if (!take_number(at, BOOT_TRIES_MAX, &entry->left))
		return false;
	return !take_text(at, "-") || take_number(at, DONE_MAX, &entry->done);
}

static bool take_entry(const char *at, struct systemd_boot_entry *ret)
{
	struct systemd_boot_entry entry = {0};
	char group[2] = {0};

	group[0] = *at;
	if (!group_parse(group, &entry.group))
		return false;
	at++;
	if (!take_text(&at, "-") ||
		!take_number(&at, SYSTEMD_BOOT_GENERATION_MAX, &entry.generation))
		return false;
	entry.reverted = take_text(&at, REVERTED);
	if (!take_counter(&at, &entry) || strcmp(at, SUFFIX) != 0)
		return false;
	if (entry.reverted && (!entry.counted || entry.left > 0))
		return false;
	*ret = entry;
	return true;
}

enum systemd_boot_kind systemd_boot_parse(const char *name, struct systemd_boot_entry *ret)
{
	char lower[SYSTEMD_BOOT_NAME_MAX] = "";
	size_t len = strlen(name);

	if (len >= sizeof(lower)) /* longer than any of ours, and than any counter is worth */
		return strncasecmp(name, PREFIX, strlen(PREFIX)) == 0 ? SYSTEMD_BOOT_WRONG
								      : SYSTEMD_BOOT_FOREIGN;
	/* FAT and systemd-boot know no case. */
	for (size_t i = 0; i <= len; i++)
		lower[i] = (char)tolower((unsigned char)name[i]);
	if (strncmp(lower, PREFIX, strlen(PREFIX)) != 0)
		return SYSTEMD_BOOT_FOREIGN;
	if (ends_with(lower, UNFINISHED))
		return SYSTEMD_BOOT_UNFINISHED;
	if (!ends_with(lower, SUFFIX))
		return SYSTEMD_BOOT_FOREIGN;
	return take_entry(lower + strlen(PREFIX), ret) ? SYSTEMD_BOOT_ENTRY : SYSTEMD_BOOT_WRONG;
}

void systemd_boot_format(
	const struct systemd_boot_entry *entry, char ret[static SYSTEMD_BOOT_NAME_MAX])
{
	char counter[24] = "";

	if (entry->counted && entry->done)
		(void)snprintf(counter, sizeof(counter), "+%" PRIu32 "-%" PRIu32, entry->left,
			entry->done); /* fits, as all of them */
	else if (entry->counted)
		(void)snprintf(counter, sizeof(counter), "+%" PRIu32, entry->left);
	(void)snprintf(ret, SYSTEMD_BOOT_NAME_MAX, PREFIX "%s-%" PRIu32 "%s%s" SUFFIX,
		group_name(entry->group), entry->generation, entry->reverted ? REVERTED : "",
		counter);
}

static int compare(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

static bool is_bad(const struct systemd_boot_entry *entry)
{
	return entry->counted && entry->left == 0;
}

/* Without tries last; then the higher version; then the higher name. Of two names of one group and
 * generation (a cut left both) it does not matter which is started: the one that says more counts.
 */
int systemd_boot_compare(const struct systemd_boot_entry *a, const struct systemd_boot_entry *b)
{
	int order = is_bad(a) - is_bad(b);

	if (order == 0)
		order = compare(b->generation, a->generation);
	if (order == 0)
		order = compare(b->group, a->group);
	if (order == 0)
		order = a->counted - b->counted;
	if (order == 0)
		order = compare(b->left, a->left);
	return order ? order : a->reverted - b->reverted;
}

bool systemd_boot_model_start(
	struct boot_state *state, const bool loads[static GROUP_COUNT], enum group *ret)
{
	const enum group order[] = {state->primary, group_other(state->primary)};

	for (unsigned int i = 0; i < GROUP_COUNT; i++) {
		struct boot_group *group = &state->group[order[i]];

		if (!boot_group_bootable(group))
			continue;
		if (!group->good && --group->tries == 0)
			group->bad = true;
		*ret = order[i];
		return loads[order[i]];
	}
	/* Nothing left: the first of those without tries. Its count of boots goes on, no more. */
	for (unsigned int i = 0; i < GROUP_COUNT; i++) {
		if (!state->group[order[i]].bad)
			continue;
		*ret = order[i];
		return loads[order[i]];
	}
	return false;
}
