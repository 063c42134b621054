#include "updater/carrier/members.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *suffix; /* the whole name for the first two */
	uint64_t min; /* bytes */
	uint64_t max;
} KINDS[] = {
	[MEMBER_KIND_MANIFEST] = {MEMBER_MANIFEST, 1, MANIFEST_SIZE_MAX},
	[MEMBER_KIND_SIGNATURE] = {MEMBER_SIGNATURE, 1, MEMBER_SIGNATURE_MAX},
	[MEMBER_KIND_INDEX] = {MEMBER_INDEX_SUFFIX, INDEX_HEADER_LEN, INDEX_SIZE_MAX},
	[MEMBER_KIND_STORE] = {MEMBER_STORE_SUFFIX, STORE_HEADER_LEN, MEMBER_STORE_MAX},
	[MEMBER_KIND_DATA] = {MEMBER_DATA_SUFFIX, 0, MANIFEST_NUMBER_MAX},
};

static bool class_valid(const char *class, size_t len)
{
	if (len < 1 || len > MANIFEST_CLASS_MAX || class[0] < 'a' || class[0] > 'z')
		return false;
	return strspn(class, "abcdefghijklmnopqrstuvwxyz0123456789-") >= len;
}

/* Kind and class of a name; false if it is no member's. */
static bool split_name(
	const char *name, enum member_kind *ret_kind, char ret_class[static MANIFEST_CLASS_MAX + 1])
{
	size_t len = strlen(name);

	for (enum member_kind kind = 0; kind < MEMBER_KIND_END; kind++) {
		size_t tail = strlen(KINDS[kind].suffix);

		if (len < tail || strcmp(name + len - tail, KINDS[kind].suffix) != 0)
			continue;
		if (kind < MEMBER_KIND_INDEX ? len != tail : !class_valid(name, len - tail))
			continue;
		*ret_kind = kind;
		(void)snprintf(ret_class, MANIFEST_CLASS_MAX + 1, "%.*s", (int)(len - tail), name);
		return true;
	}
	return false;
}

static size_t class_find(const struct member_order *order, const char *class)
{
	size_t i = 0;

	while (i < order->class_count && strcmp(order->classes[i], class) != 0)
		i++;
	return i;
}

/* Whether this member has been here before. */
static bool seen(const struct member_order *order, enum member_kind kind, const char *class)
{
	size_t i = class_find(order, class);

	if (kind < MEMBER_KIND_INDEX)
		return kind < order->next;
	if (kind == MEMBER_KIND_INDEX)
		return i < order->class_count;
	return i < order->class_count &&
	       (kind < order->next || (kind == order->next && i < order->class_at));
}

/* What has to come now, in words. */
static void expected(const struct member_order *order, char *ret, size_t cap)
{
	enum member_kind kind = order->next;
	const char *class = order->class_count ? order->classes[order->class_at] : "CLASS";

	if (kind == MEMBER_KIND_END)
		(void)snprintf(ret, cap, "the end");
	else if (kind < MEMBER_KIND_INDEX)
		(void)snprintf(ret, cap, "'%s'", KINDS[kind].suffix);
	else if (kind == MEMBER_KIND_INDEX && order->class_count)
		(void)snprintf(ret, cap, "'%s%s'", class, MEMBER_STORE_SUFFIX);
	else
		(void)snprintf(ret, cap, "'%s%s'", class, KINDS[kind].suffix);
}

static int misplaced(const struct member_order *order, const char *name, struct err *err)
{
	char wanted[MEMBER_NAME_MAX + 16];
	char shown[64];

	mem_printable(name, strlen(name), shown, sizeof(shown));
	expected(order, wanted, sizeof(wanted));
	return err_set(err, FAIL_UNTRUSTED, "'%s' stands where %s was expected", shown, wanted);
}

static int check_size(const struct member *member, struct err *err)
{
	if (member->size < KINDS[member->kind].min || member->size > KINDS[member->kind].max)
		return err_set(err, FAIL_UNTRUSTED, "'%s' has %llu bytes, expected %llu to %llu",
			member->name, (unsigned long long)member->size,
			(unsigned long long)KINDS[member->kind].min,
			(unsigned long long)KINDS[member->kind].max);
	return 0;
}

/* The order after a member of the expected kind. */
static int advance(struct member_order *order, const struct member *member, struct err *err)
{
	switch (member->kind) {
	case MEMBER_KIND_MANIFEST:
	case MEMBER_KIND_SIGNATURE:
		order->next = member->kind + 1;
		return 0;
	case MEMBER_KIND_INDEX:
		if (order->class_count == MANIFEST_IMAGES_MAX)
			return err_set(
				err, FAIL_UNTRUSTED, "more than %u images", MANIFEST_IMAGES_MAX);
		memcpy(order->classes[order->class_count++], member->class, sizeof(member->class));
		return 0;
	case MEMBER_KIND_STORE:
	case MEMBER_KIND_DATA:
		order->next = member->kind;
		if (++order->class_at == order->class_count) {
			order->class_at = 0;
			order->next = member->kind + 1;
		}
		return 0;
	case MEMBER_KIND_END:
		break;
	}
	return 0;
}

int member_order_place(struct member_order *order, const char *name, uint64_t size,
	struct member *ret, struct err *err)
{
	struct member member = {.size = size};
	enum member_kind next = order->next;

	if (!split_name(name, &member.kind, member.class))
		return misplaced(order, name, err);
	(void)snprintf(member.name, sizeof(member.name), "%s", name);
	if (seen(order, member.kind, member.class))
		return err_set(err, FAIL_UNTRUSTED, "'%s' is there twice", name);
	/* The indexes end where the stores begin. */
	if (next == MEMBER_KIND_INDEX && order->class_count && member.kind == MEMBER_KIND_STORE)
		next = MEMBER_KIND_STORE;
	if (member.kind != next)
		return misplaced(order, name, err);
	if (next > MEMBER_KIND_INDEX && strcmp(member.class, order->classes[order->class_at]) != 0)
		return misplaced(order, name, err);
	if (check_size(&member, err) < 0 || advance(order, &member, err) < 0)
		return -1;
	*ret = member;
	return 0;
}

int member_order_end(const struct member_order *order, struct err *err)
{
	char wanted[MEMBER_NAME_MAX + 16];

	if (order->next == MEMBER_KIND_END)
		return 0;
	expected(order, wanted, sizeof(wanted));
	return err_set(err, FAIL_UNTRUSTED, "%s is missing", wanted);
}
