#include "updater/field.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int field_refuse(const char *path, struct err *err, const char *fmt, ...)
{
	char why[256];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args); /* a long one is cut */
	va_end(args);
	return err_set(err, FAIL_UNTRUSTED, "manifest: %s: %s", path, why);
}

static const char *type_name(const json_t *value)
{
	static const char *const NAMES[] = {
		[JSON_OBJECT] = "an object",
		[JSON_ARRAY] = "a list",
		[JSON_STRING] = "a text",
		[JSON_INTEGER] = "a number",
		[JSON_REAL] = "a fraction",
		[JSON_TRUE] = "true",
		[JSON_FALSE] = "false",
		[JSON_NULL] = "null",
	};

	return NAMES[json_typeof(value)];
}

static int expect(
	const char *path, const json_t *value, json_type type, const char *wanted, struct err *err)
{
	if (json_typeof(value) == type)
		return 0;
	return field_refuse(path, err, "expected %s, found %s", wanted, type_name(value));
}

/* In our words what is wrong with the JSON; jansson's words and the place follow. */
static const char *json_error_words(const json_error_t *error)
{
	static const struct {
		enum json_error_code code;
		const char *words;
	} WORDS[] = {
		{json_error_invalid_utf8, "not UTF-8"},
		{json_error_duplicate_key, "a key is there twice"},
		{json_error_numeric_overflow, "a number is too large"},
		{json_error_end_of_input_expected, "something follows the end"},
		{json_error_premature_end_of_input, "cut short"},
		{json_error_null_character, "a text has a NUL character"},
		{json_error_null_byte_in_key, "a key has a NUL character"},
		{json_error_stack_overflow, "nested too deep"},
	};

	for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
		if (json_error_code(error) == WORDS[i].code)
			return WORDS[i].words;
	return "not JSON";
}

void field_close(struct json_t **root)
{
	if (!root)
		return;
	json_decref(*root);
	*root = NULL;
}

int field_open(const struct bytes *text, struct json_t **ret, struct err *err)
{
	CLEANUP(field_close) json_t *root = NULL;
	char words[JSON_ERROR_TEXT_LENGTH];
	json_error_t error;

	if (text->len == 0)
		return err_set(err, FAIL_UNTRUSTED, "manifest: is empty");
	root = json_loadb((const char *)text->data, text->len,
		JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
	if (!root) {
		mem_printable(error.text, strlen(error.text), words, sizeof(words));
		return err_set(err, FAIL_UNTRUSTED, "manifest: line %d column %d: %s: %s",
			error.line, error.column, json_error_words(&error), words);
	}
	if (!json_is_object(root))
		return err_set(err, FAIL_UNTRUSTED, "manifest: expected an object, found %s",
			type_name(root));
	*ret = steal_ptr(&root);
	return 0;
}

const struct json_t *field_member(const struct json_t *root, const char *name)
{
	return json_object_get(root, name);
}

/* A path that is too long is cut: only an unknown key's can be, and it is for display. */
static void join(const char *path, const char *name, char ret[static FIELD_PATH_MAX])
{
	char printable[FIELD_PATH_MAX + 1]; /* so that a cut one is seen to be too long */

	mem_printable(name, strlen(name), printable, sizeof(printable));
	if (snprintf(ret, FIELD_PATH_MAX, "%s%s%s", path, *path ? "." : "", printable) >=
		FIELD_PATH_MAX)
		memcpy(ret + FIELD_PATH_MAX - 4, "...", 4);
}

static bool is_known(const struct field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].name, name) == 0)
			return true;
	return false;
}

static int check_keys(const char *path, const json_t *value, const struct field *fields,
	size_t count, struct err *err)
{
	/* jansson's iterators change nothing, but ask for a pointer that could. */
	json_t *object = (json_t *)(uintptr_t)value;
	char inner[FIELD_PATH_MAX];

	for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
		const char *name = json_object_iter_key(at);

		if (is_known(fields, count, name))
			continue;
		join(path, name, inner);
		return field_refuse(inner, err, "unknown key");
	}
	return 0;
}

int field_object(const char *path, const struct json_t *value, const struct field *fields,
	size_t count, void *ret, struct err *err)
{
	char inner[FIELD_PATH_MAX];

	if (expect(path, value, JSON_OBJECT, "an object", err) < 0 ||
		check_keys(path, value, fields, count, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		const json_t *member = json_object_get(value, fields[i].name);

		join(path, fields[i].name, inner);
		if (!member && fields[i].required)
			return field_refuse(inner, err, "missing");
		if (member &&
			fields[i].read(inner, member, (char *)ret + fields[i].offset, err) < 0)
			return -1;
	}
	return 0;
}

int field_list(const char *path, const struct json_t *value, size_t max, field_reader *read,
	void *ret, size_t size, size_t *ret_count, struct err *err)
{
	size_t count = json_array_size(value); /* 0 if it is no array */

	if (expect(path, value, JSON_ARRAY, "a list", err) < 0)
		return -1;
	if (count == 0)
		return field_refuse(path, err, "is empty");
	if (count > max)
		return field_refuse(path, err, "%zu entries, at most %zu are allowed", count, max);
	for (size_t i = 0; i < count; i++) {
		char inner[FIELD_PATH_MAX];

		(void)snprintf(inner, sizeof(inner), "%s[%zu]", path, i); /* known keys: fits */
		if (read(inner, json_array_get(value, i), (char *)ret + i * size, err) < 0)
			return -1;
	}
	*ret_count = count;
	return 0;
}

int field_number(
	const char *path, const struct json_t *value, uint64_t max, uint64_t *ret, struct err *err)
{
	json_int_t v;

	if (json_is_real(value))
		return field_refuse(
			path, err, "expected a whole number, found a fraction or exponent");
	if (expect(path, value, JSON_INTEGER, "a whole number", err) < 0)
		return -1;
	v = json_integer_value(value);
	if (v < 0)
		return field_refuse(path, err, "%" JSON_INTEGER_FORMAT " is negative", v);
	if ((uint64_t)v > max)
		return field_refuse(
			path, err, "%" JSON_INTEGER_FORMAT " is more than %" PRIu64, v, max);
	*ret = (uint64_t)v;
	return 0;
}

int field_text(
	const char *path, const struct json_t *value, size_t max, const char **ret, struct err *err)
{
	if (expect(path, value, JSON_STRING, "a text", err) < 0)
		return -1;
	if (json_string_length(value) > max)
		return field_refuse(path, err, "%zu bytes, at most %zu are allowed",
			json_string_length(value), max);
	*ret = json_string_value(value); /* without JSON_ALLOW_NUL there is none in it */
	return 0;
}
