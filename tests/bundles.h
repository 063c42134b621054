/*
 * bundles - test support: a temporary directory with a PKI in it, images and bundles made in
 * process. Every failure is a failed assertion (cmocka).
 *
 *	bundles_init -> bundles_image, bundles_make ... -> bundles_finish
 *
 *	static struct bundles b;
 *	bundles_init(&b, PKI_ECDSA);
 *	bundles_image(&b, "rootfs.img", 3 << 20, 1);
 *	bundles_make(&b, "os.abide", "1.0", 1, "rootfs.img");
 *	carrier_open(bundles_path(&b, "os.abide"), ...); trust.roots = b.root;
 *	bundles_finish(&b);
 */
#ifndef ABIDE_TESTS_BUNDLES_H
#define ABIDE_TESTS_BUNDLES_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "image/bundle.h"
#include "image/pki.h"

#define BUNDLES_COMPATIBLE "test-device"
#define BUNDLES_CREATED    1700000000 /* 2023-11-14T22:13:20Z */

struct bundles {
	char dir[PATH_MAX];
	char root[PATH_MAX]; /* what to trust */
	char cert[PATH_MAX];
	char key[PATH_MAX];
};

/* ECDSA keys are made at once, RSA ones take up to a second; RSA bundles are reproducible. */
void bundles_init(struct bundles *bundles, enum pki_type type);
/* Removes the directory and all in it. Takes what bundles_init() has not filled in. */
void bundles_finish(struct bundles *bundles);

/* DIR/NAME, in one of eight buffers that take turns. */
const char *bundles_path(const struct bundles *bundles, const char *name);
/* An image of `size` bytes with all that images have: noise, text that compresses, repeats, short
 * and long runs of zeros. Another seed changes a part of it only, as a release does. */
void bundles_image(const struct bundles *bundles, const char *name, size_t size, unsigned int seed);

/* Class rootfs, for BUNDLES_COMPATIBLE on any hardware, signed, created at BUNDLES_CREATED. */
struct bundle_result bundles_make(const struct bundles *bundles, const char *name,
	const char *version, uint64_t security_version, const char *image);
/* The options bundles_make() uses, to be changed: key, certificate, compatible, created, level 3,
 * one thread; without output and images. */
struct bundle_options bundles_options(const struct bundles *bundles);

#endif
