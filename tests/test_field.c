/* field: JSON that two parsers could read in two ways is refused, with the path of the key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "updater/field.h"

#define NUMBER_MAX ((uint64_t)1 << 53)

struct inner {
	uint64_t number;
};

struct thing {
	uint64_t number;
	char text[8];
	struct inner list[2];
	size_t count;
	struct inner inner;
};

static int read_number(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	return field_number(path, value, NUMBER_MAX, ret, err);
}

static int read_text(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	const char *s;

	if (field_text(path, value, 7, &s, err) < 0)
		return -1;
	memcpy(ret, s, strlen(s) + 1);
	return 0;
}

static int read_inner(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	static const struct field FIELDS[] = {
		{"n", true, read_number, offsetof(struct inner, number)},
	};

	return field_object(path, value, FIELDS, ARRAY_LEN(FIELDS), ret, err);
}

static int read_list(const char *path, const struct json_t *value, void *ret, struct err *err)
{
	struct thing *thing = ret;

	return field_list(path, value, ARRAY_LEN(thing->list), read_inner, thing->list,
		sizeof(thing->list[0]), &thing->count, err);
}

static int read_thing(const char *text, size_t len, struct thing *ret, struct err *err)
{
	static const struct field FIELDS[] = {
		{"n", false, read_number, offsetof(struct thing, number)},
		{"t", false, read_text, offsetof(struct thing, text)},
		{"list", false, read_list, 0},
		{"in", false, read_inner, offsetof(struct thing, inner)},
	};
	CLEANUP(field_close) struct json_t *root = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};

	assert_int_equal(bytes_copy(text, len, &bytes, err), 0);
	if (field_open(&bytes, &root, err) < 0)
		return -1;
	return field_object("", root, FIELDS, ARRAY_LEN(FIELDS), ret, err);
}

static void assert_refused_text(const char *text, size_t len, const char *why)
{
	struct thing thing = {0};
	struct err err = {0};

	assert_int_equal(read_thing(text, len, &thing, &err), -1);
	if (!strstr(err.msg, why))
		fail_msg("expected '%s' in: %s", why, err.msg);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
}

static void assert_refused(const char *text, const char *why)
{
	assert_refused_text(text, strlen(text), why);
}

static struct thing accepted(const char *text)
{
	struct thing thing = {0};
	struct err err = {0};

	if (read_thing(text, strlen(text), &thing, &err) < 0)
		fail_msg("%s", err.msg);
	return thing;
}

static void test_field__reads_in_any_order(void **state)
{
	struct thing thing = accepted(" {\"list\": [{\"n\": 1}, {\"n\": 2}], \"in\": {\"n\": 3},\n"
				      "\"t\": \"\\u0061\xc3\xa9\", \"n\": 9007199254740992}\n");

	(void)state;
	assert_true(thing.number == NUMBER_MAX);
	assert_string_equal(thing.text, "a\xc3\xa9");
	assert_int_equal(thing.count, 2);
	assert_int_equal(thing.list[1].number, 2);
	assert_int_equal(thing.inner.number, 3);
	thing = accepted("{}");
	assert_int_equal(thing.count, 0);
}

static void test_field__refuses_numbers_that_are_not_plain(void **state)
{
	static const char *const CASES[][2] = {
		{"-1", "manifest: n: -1 is negative"},
		{"-9007199254740993", "is negative"},
		{"7.0", "n: expected a whole number, found a fraction or exponent"},
		{"7e0", "found a fraction or exponent"},
		{"9007199254740993", "n: 9007199254740993 is more than 9007199254740992"},
		{"9223372036854775807", "is more than 9007199254740992"},
		{"9223372036854775808", "a number is too large"},
		{"99999999999999999999999999", "a number is too large"},
		{"-99999999999999999999999999", "a number is too large"},
		{"1e999", "a number is too large"},
		{"07", "not JSON"},
		{"+7", "not JSON"},
		{"0x7", "not JSON"},
		{"NaN", "not JSON"},
		{"\"7\"", "n: expected a whole number, found a text"},
		{"true", "found true"},
		{"false", "found false"},
		{"null", "found null"},
		{"[7]", "found a list"},
		{"{}", "found an object"},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		(void)snprintf(text, sizeof(text), "{\"n\": %s}", CASES[i][0]);
		assert_refused(text, CASES[i][1]);
	}
}

static void test_field__refuses_keys_unknown_missing_and_twice(void **state)
{
	(void)state;
	assert_refused("{\"x\": 1}", "manifest: x: unknown key");
	assert_refused("{\"list\": [{\"n\": 1}, {\"n\": 1, \"x\": 1}]}", "list[1].x: unknown key");
	assert_refused("{\"in\": {\"x\": 1}}", "in.x: unknown key");
	assert_refused("{\"in\": {}}", "in.n: missing");
	assert_refused("{\"\\u001b[2J\": 1}", "manifest: ?[2J: unknown key");
	assert_refused("{\"n\": 1, \"n\": 1}", "a key is there twice");
	assert_refused("{\"n\": 1, \"\\u006e\": 1}", "a key is there twice");
	assert_refused("{\"in\": {\"n\": 1,\n\"n\": 1}}", "manifest: line 2 column 3: a key is");
}

static void test_field__cuts_the_path_of_a_long_unknown_key(void **state)
{
	char text[512];

	(void)state;
	(void)snprintf(text, sizeof(text), "{\"%0400d\": 1}", 0);
	assert_refused(text, "000...: unknown key");
}

static void test_field__refuses_other_types_and_sizes(void **state)
{
	(void)state;
	assert_refused("{\"t\": 1}", "t: expected a text, found a number");
	assert_refused("{\"t\": \"12345678\"}", "t: 8 bytes, at most 7 are allowed");
	assert_refused("{\"list\": {}}", "list: expected a list, found an object");
	assert_refused("{\"list\": []}", "list: is empty");
	assert_refused("{\"list\": [1, 2, 3]}", "list: 3 entries, at most 2 are allowed");
	assert_refused("{\"list\": [1]}", "list[0]: expected an object, found a number");
	assert_refused("[]", "manifest: expected an object, found a list");
	assert_refused("7", "manifest: expected an object, found a number");
}

static void test_field__refuses_what_is_not_utf8(void **state)
{
	(void)state;
	assert_refused("{\"t\": \"\xff\"}", "not UTF-8");
	assert_refused("{\"t\": \"\xc0\xaf\"}", "not UTF-8"); /* overlong */
	assert_refused("{\"t\": \"\xed\xa0\x80\"}", "not UTF-8"); /* a surrogate */
	assert_refused("{\"t\": \"\xf4\x90\x80\x80\"}", "not UTF-8"); /* past U+10FFFF */
	assert_refused("{\"t\": \"\xc3\"}", "not UTF-8");
	assert_refused("{\"t\": \"\\ud800\"}", "not JSON"); /* half a pair */
}

static void test_field__refuses_nul_characters(void **state)
{
	(void)state;
	assert_refused("{\"t\": \"\\u0000\"}", "a text has a NUL character");
	assert_refused("{\"t\\u0000\": 1}", "NUL character");
	assert_refused_text("{\"t\": \"\0\"}", 10, "manifest: line 1");
	assert_refused_text("{}\0", 3, "something follows the end");
	assert_refused_text("\0", 1, "manifest: line 1");
}

static void test_field__refuses_other_json(void **state)
{
	char *deep = malloc(60000);

	(void)state;
	assert_refused("", "manifest: is empty");
	assert_refused("{}{}", "something follows the end");
	assert_refused("{\"n\":1,}", "not JSON");
	assert_refused("{'n':1}", "not JSON");
	assert_refused("{/* */}", "not JSON");
	assert_refused("\xef\xbb\xbf{}", "not JSON"); /* a byte order mark */
	assert_refused("{\"t\": \"\n\"}", "not JSON");
	assert_refused("{", "manifest: line 1");
	assert_non_null(deep);
	memset(deep, '[', 60000);
	assert_refused_text(deep, 60000, "nested too deep");
	free(deep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_field__reads_in_any_order),
		cmocka_unit_test(test_field__refuses_numbers_that_are_not_plain),
		cmocka_unit_test(test_field__refuses_keys_unknown_missing_and_twice),
		cmocka_unit_test(test_field__cuts_the_path_of_a_long_unknown_key),
		cmocka_unit_test(test_field__refuses_other_types_and_sizes),
		cmocka_unit_test(test_field__refuses_what_is_not_utf8),
		cmocka_unit_test(test_field__refuses_nul_characters),
		cmocka_unit_test(test_field__refuses_other_json),
	};

	return cmocka_run_group_tests_name("field", tests, NULL, NULL);
}
