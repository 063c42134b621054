/*
 * field - strict, typed reading of JSON whose every key is known: the JSON half of manifest.c, its
 * only user (wraps jansson).
 *
 * A table of `struct field` per object says which keys there are. Everything else is refused with
 * FAIL_UNTRUSTED and the path of the key ("images[0].verity.foo: unknown key"): duplicate, unknown
 * and missing keys, other types, numbers that are negative, fractional or past a limit, texts too
 * long; NUL characters and what is not UTF-8 anywhere.
 *
 *	field_open -> field_object(root, table) -> field_close
 *
 * Source: RFC 8259 (JSON), RFC 7493 (why duplicates and large numbers are refused).
 */
#ifndef ABIDE_UPDATER_FIELD_H
#define ABIDE_UPDATER_FIELD_H

#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"
#include "updater/mem.h"

#define FIELD_PATH_MAX 96 /* with the NUL; "images[7].verity.hash_offset" fits, see field.c */

struct json_t; /* jansson's value */

/* Reads `value` into what `ret` points to: the member at `offset` of the object's struct. */
typedef int field_reader(const char *path, const struct json_t *value, void *ret, struct err *err);

struct field {
	const char *name;
	bool required;
	field_reader *read;
	size_t offset;
};

/* The whole text is one object, nested no deeper than jansson goes (2048). */
int field_open(const struct bytes *text, struct json_t **ret, struct err *err);
void field_close(struct json_t **root);

/* FAIL_UNTRUSTED: "manifest: PATH: WHY". Returns -1. */
int field_refuse(const char *path, struct err *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Exactly these keys, in any order, read in the table's; `path` is "" for the root. */
int field_object(const char *path, const struct json_t *value, const struct field *fields,
	size_t count, void *ret, struct err *err);
/* 1..max entries, each read into ret + i * size. */
int field_list(const char *path, const struct json_t *value, size_t max, field_reader *read,
	void *ret, size_t size, size_t *ret_count, struct err *err);
int field_number(
	const char *path, const struct json_t *value, uint64_t max, uint64_t *ret, struct err *err);
/* Borrowed from the root: UTF-8 without NUL, at most max bytes. */
int field_text(const char *path, const struct json_t *value, size_t max, const char **ret,
	struct err *err);
/* The value under `name` in the root, or NULL: for a key that decides how to read the others. */
const struct json_t *field_member(const struct json_t *root, const char *name);

#endif
