/*
 * manifest - the artifact: what it is for, its version, and the exact bytes of its images.
 *
 * JSON as in design "The bundle" (updater/README.md): strict, so that two parsers never disagree:
 * UTF-8, no duplicate or unknown keys, integers only (0..2^53), every length bounded, classes
 * unique. On a device only manifest_parse() on a `struct trusted` is used; the host's `inspect`
 * reads without trust and says so.
 */
#ifndef ABIDE_UPDATER_MANIFEST_H
#define ABIDE_UPDATER_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/mem.h"

#define MANIFEST_SIZE_MAX     (64u << 10)
#define MANIFEST_FORMAT       1u
#define MANIFEST_NAME_MAX     64u /* compatible, hardware, version: bytes without the NUL */
#define MANIFEST_CLASS_MAX    24u /* class: [a-z0-9-], begins with a letter */
#define MANIFEST_TEXT_MAX     1024u /* description, provenance values */
#define MANIFEST_IMAGES_MAX   8u
#define MANIFEST_HARDWARE_MAX 16u
#define MANIFEST_NUMBER_MAX   ((uint64_t)1 << 53)

struct manifest_verity {
	struct digest root;
	uint8_t salt[64];
	size_t salt_len;
	uint64_t data_blocks;
	uint64_t hash_offset; /* bytes, within the image */
};

struct manifest_image {
	char class[MANIFEST_CLASS_MAX + 1];
	uint64_t size; /* bytes */
	struct digest sha256;
	uint64_t index_size; /* bytes of CLASS.index */
	struct digest index_sha256;
	bool has_verity;
	struct manifest_verity verity;
};

struct manifest {
	char compatible[MANIFEST_NAME_MAX + 1];
	size_t hardware_count; /* 0: any hardware */
	char hardware[MANIFEST_HARDWARE_MAX][MANIFEST_NAME_MAX + 1];
	char version[MANIFEST_NAME_MAX + 1];
	uint64_t security_version;
	char created[21]; /* "2026-11-20T09:00:00Z" */
	time_t created_time; /* the same, seconds since 1970 */
	char description[MANIFEST_TEXT_MAX + 1];
	char source[MANIFEST_TEXT_MAX + 1]; /* provenance; "" if absent */
	char builder[MANIFEST_TEXT_MAX + 1]; /* provenance; "" if absent */
	char sbom[MANIFEST_TEXT_MAX + 1]; /* provenance; "" if absent */
	size_t image_count; /* >= 1 */
	struct manifest_image images[MANIFEST_IMAGES_MAX];
};

struct trusted; /* signature.h */

/* Fails: FAIL_UNTRUSTED, naming the key. *ret is for manifest_free(). */
int manifest_parse(const struct trusted *trusted, struct manifest **ret, struct err *err);
/* For tools that show what nobody vouched for. Never use the result to write a slot. */
int manifest_parse_untrusted(const struct bytes *bytes, struct manifest **ret, struct err *err);
void manifest_free(struct manifest **manifest);

/* The one canonical text of a manifest: fixed key order, two-space indent, final newline. */
int manifest_encode(const struct manifest *manifest, struct bytes *ret, struct err *err);

/* NULL if the manifest has no image of that class. */
const struct manifest_image *manifest_image(const struct manifest *manifest, const char *class);

/* The rules on their own, for option checks: name = printable ASCII 1..MANIFEST_NAME_MAX. */
bool manifest_name_valid(const char *name);
bool manifest_class_valid(const char *class);
/* "YYYY-MM-DDTHH:MM:SSZ" <-> seconds since 1970. */
bool manifest_time_parse(const char *text, time_t *ret);
void manifest_time_format(time_t t, char ret[static 21]);

#endif
