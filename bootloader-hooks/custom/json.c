/* The state as JSON: every key there once, none else, and no standing that contradicts itself. */
#include "bootloader-hooks/custom/custom.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "updater/mem.h"

static void cleanup_json(json_t **json)
{
	json_decref(*json);
}

/* Every name of `names` and no other. `where` for messages: "" or "a.". */
static int check_keys(const json_t *object, const char *where, const char *const *names,
	size_t count, struct err *err)
{
	/* jansson's iterators change nothing, but ask for a pointer that could. */
	json_t *at_object = (json_t *)(uintptr_t)object;
	char key[32];

	for (size_t i = 0; i < count; i++)
		if (!json_object_get(object, names[i]))
			return err_set(err, FAIL_BOOT, "'%s%s' is missing", where, names[i]);
	for (void *at = json_object_iter(at_object); at;
		at = json_object_iter_next(at_object, at)) {
		const char *name = json_object_iter_key(at);
		bool known = false;

		for (size_t i = 0; i < count; i++)
			known = known || strcmp(name, names[i]) == 0;
		if (known)
			continue;
		mem_printable(name, strlen(name), key, sizeof(key));
		return err_set(err, FAIL_BOOT, "'%s%s' is not known", where, key);
	}
	return 0;
}

static int parse_bool(
	const json_t *object, const char *group, const char *name, bool *ret, struct err *err)
{
	const json_t *value = json_object_get(object, name);

	if (!json_is_boolean(value))
		return err_set(err, FAIL_BOOT, "'%s.%s' is neither true nor false", group, name);
	*ret = json_is_true(value);
	return 0;
}

static int parse_group(
	const json_t *root, enum group which, struct boot_group *ret, struct err *err)
{
	static const char *const NAMES[] = {"good", "bad", "tries"};
	const char *name = group_name(which);
	const json_t *object = json_object_get(root, name), *tries;
	struct boot_group group = {0};
	char where[4];

	(void)snprintf(where, sizeof(where), "%s.", name);
	if (!json_is_object(object))
		return err_set(err, FAIL_BOOT, "'%s' is not an object", name);
	if (check_keys(object, where, NAMES, ARRAY_LEN(NAMES), err) < 0 ||
		parse_bool(object, name, "good", &group.good, err) < 0 ||
		parse_bool(object, name, "bad", &group.bad, err) < 0)
		return -1;
	tries = json_object_get(object, "tries");
	if (!json_is_integer(tries) || json_integer_value(tries) < 0 ||
		json_integer_value(tries) > BOOT_TRIES_MAX)
		return err_set(err, FAIL_BOOT, "'%s.tries' is not a number from 0 to %u", name,
			BOOT_TRIES_MAX);
	group.tries = (uint32_t)json_integer_value(tries);
	if (group.good + group.bad + (group.tries > 0) > 1)
		return err_set(err, FAIL_BOOT,
			"group %s is more than one of good, bad and on trial (tries > 0)", name);
	*ret = group;
	return 0;
}

int custom_state_parse(const char *text, size_t len, struct boot_state *ret, struct err *err)
{
	static const char *const NAMES[] = {"primary", "a", "b"};
	CLEANUP(cleanup_json) json_t *root = NULL;
	struct boot_state state = {0};
	char words[80];
	const char *primary;
	json_error_t error;

	root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	if (!root) {
		mem_printable(error.text, strlen(error.text), words, sizeof(words));
		return err_set(err, FAIL_BOOT, "not JSON: line %d column %d: %s", error.line,
			error.column, words);
	}
	if (!json_is_object(root))
		return err_set(err, FAIL_BOOT, "not an object");
	if (check_keys(root, "", NAMES, ARRAY_LEN(NAMES), err) < 0 ||
		parse_group(root, GROUP_A, &state.group[GROUP_A], err) < 0 ||
		parse_group(root, GROUP_B, &state.group[GROUP_B], err) < 0)
		return -1;
	primary = json_string_value(json_object_get(root, "primary"));
	if (!primary || !group_parse(primary, &state.primary))
		return err_set(err, FAIL_BOOT, "'primary' is neither \"a\" nor \"b\"");
	*ret = state;
	return 0;
}

static const char *yes_no(bool value)
{
	return value ? "true" : "false";
}

void custom_state_format(const struct boot_state *state, char ret[static CUSTOM_TEXT_MAX])
{
	const struct boot_group *a = &state->group[GROUP_A], *b = &state->group[GROUP_B];
	int len = snprintf(ret, CUSTOM_TEXT_MAX,
		"{\"primary\":\"%s\",\"a\":{\"good\":%s,\"bad\":%s,\"tries\":%" PRIu32
		"},\"b\":{\"good\":%s,\"bad\":%s,\"tries\":%" PRIu32 "}}\n",
		group_name(state->primary), yes_no(a->good), yes_no(a->bad), a->tries,
		yes_no(b->good), yes_no(b->bad), b->tries);

	assert(len > 0 && len < (int)CUSTOM_TEXT_MAX);
}
