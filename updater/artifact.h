/*
 * artifact - a release as it is offered by a source: its header fetched, verified and parsed.
 *
 * The order is the invariant: signature, then manifest, then each index by its digest. Nothing in
 * this process reads what somebody trusted has not signed. The carrier stays connected, at the
 * first byte after the header, so that an install goes on from there.
 *
 *	artifact_open -> (plan, install) -> artifact_close
 */
#ifndef ABIDE_UPDATER_ARTIFACT_H
#define ABIDE_UPDATER_ARTIFACT_H

#include "updater/carrier.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/manifest.h"
#include "updater/mem.h"
#include "updater/signature.h"

struct artifact {
	struct carrier *carrier;
	struct trusted *trusted;
	struct bytes signature;
	struct manifest *manifest;
	struct index *indexes[MANIFEST_IMAGES_MAX]; /* as manifest->images; NULL before _indexes */
	bool delta; /* after _indexes: of use only with the artifact `base`. Nobody signed for that */
	struct digest base;
};

/* The manifest, verified. */
int artifact_open(const char *source, const struct carrier_options *options,
	const struct trust *trust, struct artifact *ret, struct err *err);
/* Then every index, each compared with the digest in the manifest; and whether it is a delta. */
int artifact_read_indexes(struct artifact *artifact, struct err *err);
/* The header as a slot keeps it (header.h). After artifact_read_indexes(). */
int artifact_header(const struct artifact *artifact, struct bytes *ret, struct err *err);
/* Its length, known from the manifest alone. */
uint64_t artifact_header_len(const struct artifact *artifact);
void artifact_close(struct artifact *artifact);

#endif
