/*
 * digest - SHA-256, in one piece or in many (wraps OpenSSL's EVP).
 *
 * Whoever only compares and prints them (digest_value.c) is not linked with OpenSSL.
 *
 * A `struct hasher` is made once per operation and reused: digest_of() on it costs no allocation.
 *
 *	hasher_new -> { hasher_reset -> hasher_update* -> hasher_final }* -> hasher_free
 *
 * Source: FIPS 180-4.
 */
#ifndef ABIDE_UPDATER_DIGEST_H
#define ABIDE_UPDATER_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"

#define DIGEST_LEN     32u
#define DIGEST_HEX_LEN 64u /* without the NUL */

struct digest {
	uint8_t b[DIGEST_LEN];
};

struct hasher;

int hasher_new(struct hasher **ret, struct err *err);
void hasher_free(struct hasher **hasher);
int hasher_reset(struct hasher *hasher, struct err *err);
int hasher_update(struct hasher *hasher, const void *data, size_t len, struct err *err);
int hasher_final(struct hasher *hasher, struct digest *ret, struct err *err);

/* Reset, update and final in one. */
int digest_of(
	struct hasher *hasher, const void *data, size_t len, struct digest *ret, struct err *err);
/* As digest_of with a hasher of its own: for one small thing. */
int digest_once(const void *data, size_t len, struct digest *ret, struct err *err);

bool digest_equal(const struct digest *a, const struct digest *b);
bool digest_is_zero(const struct digest *d);
void digest_to_hex(const struct digest *d, char ret[static DIGEST_HEX_LEN + 1]);
bool digest_from_hex(const char *hex, struct digest *ret);

#endif
