/*
 * mem - owned bytes, little-endian numbers, hexadecimal, and clean-up at the end of a scope.
 *
 * A `struct bytes` owns heap memory: bytes_finish() frees it, steal_bytes() takes it out on the way
 * to the caller. Numbers of all on-disk formats are little-endian and read byte by byte.
 */
#ifndef ABIDE_UPDATER_MEM_H
#define ABIDE_UPDATER_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* The unit of direct I/O and of every structure abide keeps on a slot. */
#define MEM_BLOCK 4096u

struct bytes {
	uint8_t *data; /* NULL if empty */
	size_t len;
};

/* Zeroed memory; free() it. */
int mem_alloc(size_t len, void **ret, struct err *err);
/* Zeroed memory aligned to MEM_BLOCK, for direct I/O; free() it. */
int mem_alloc_aligned(size_t len, void **ret, struct err *err);
int mem_strdup(const char *s, char **ret, struct err *err);
int bytes_copy(const void *data, size_t len, struct bytes *ret, struct err *err);
void bytes_finish(struct bytes *bytes);
struct bytes steal_bytes(struct bytes *bytes);
/* Takes the pointer out of *p and leaves NULL behind. */
void *steal_ptr(void *p);
bool mem_is_zero(const void *data, size_t len);

uint16_t le16_get(const uint8_t *p);
uint32_t le32_get(const uint8_t *p);
uint64_t le64_get(const uint8_t *p);
void le16_put(uint8_t *p, uint16_t v);
void le32_put(uint8_t *p, uint32_t v);
void le64_put(uint8_t *p, uint64_t v);

/* Writes 2 * len lower-case digits and a NUL. */
void hex_encode(const uint8_t *data, size_t len, char *ret);
/* Reads exactly 2 * len lower-case digits followed by the string's end. False if it is not that. */
bool hex_decode(const char *hex, uint8_t *ret, size_t len);

/* Copies for a terminal or a log: bytes outside printable ASCII become '?'. ret is NUL-ended. */
void mem_printable(const void *data, size_t len, char *ret, size_t cap);

/* The smallest multiple of `unit` (a power of two) that is >= v; UINT64_MAX if there is none. */
uint64_t round_up(uint64_t v, uint64_t unit);

/* For __attribute__((cleanup)). */
void cleanup_free(void *p);
void cleanup_fd(const int *fd);
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#endif
