/*
 * members - the names and the order of a bundle's members: shared by the carrier, which reads
 * them, and the host's tools, which write them.
 *
 *	manifest.json manifest.p7s CLASS.index... CLASS.store... CLASS.data...
 *
 * A pax tar, nothing compressed, no other members, classes in the manifest's order throughout.
 * The order of the first CLASS.index members is that order: a reader needs no manifest to check.
 */
#ifndef ABIDE_UPDATER_CARRIER_MEMBERS_H
#define ABIDE_UPDATER_CARRIER_MEMBERS_H

#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/store.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/manifest.h"

#define MEMBER_MANIFEST     "manifest.json"
#define MEMBER_SIGNATURE    "manifest.p7s"
#define MEMBER_INDEX_SUFFIX ".index"
#define MEMBER_STORE_SUFFIX ".store"
#define MEMBER_DATA_SUFFIX  ".data"

#define MEMBER_SIGNATURE_MAX (64u << 10)
#define MEMBER_STORE_MAX     STORE_SIZE_MAX(INDEX_CHUNKS_MAX)
#define MEMBER_NAME_MAX      (MANIFEST_CLASS_MAX + 8u)

enum member_kind {
	MEMBER_KIND_MANIFEST,
	MEMBER_KIND_SIGNATURE,
	MEMBER_KIND_INDEX,
	MEMBER_KIND_STORE,
	MEMBER_KIND_DATA,
	MEMBER_KIND_END, /* the container ended, rightly */
};

struct member {
	enum member_kind kind;
	char class[MANIFEST_CLASS_MAX + 1]; /* "" for manifest, signature and end */
	char name[MEMBER_NAME_MAX + 1]; /* as in the tar */
	uint64_t size; /* bytes */
};

/* How far a reader has come. All zero at the start. */
struct member_order {
	enum member_kind next;
	size_t class_count;
	size_t class_at; /* of `classes`: the next store or data */
	char classes[MANIFEST_IMAGES_MAX][MANIFEST_CLASS_MAX + 1];
};

/* The next member is `name`, of that size: FAIL_UNTRUSTED if it may not stand here (out of order,
 * twice, unknown, too many) or not have that size. */
int member_order_place(struct member_order *order, const char *name, uint64_t size,
	struct member *ret, struct err *err);
/* No member follows: FAIL_UNTRUSTED naming the one that is missing. */
int member_order_end(const struct member_order *order, struct err *err);

#endif
