/*
 * signature - whether somebody we trust signed a manifest (wraps OpenSSL's CMS and X.509).
 *
 * Only this module can make a `struct trusted`; everything that parses a manifest for use on a
 * device asks for one. So nothing is parsed before it is authenticated.
 *
 * Accepted: CMS SignedData (DER), detached, over the manifest's bytes, one or more signers; RSA
 * (PKCS#1 v1.5 or PSS) of 2048 bits or more, ECDSA on P-256 or larger; SHA-256 or better, Ed25519
 * where the library can. Each signer's certificate must chain to a root of `roots`, be for code
 * signing (extended key usage present), and not be revoked. `threshold` distinct signers (by public
 * key) must pass; a signer whose chain does not is ignored, one whose signature is wrong is fatal.
 *
 * Time: devices have no clock at first boot. Certificates are judged at the latest of the clock,
 * the build's time and `seen` (the newest signed `created` this device holds). CRLs are judged at the
 * same time: an expired one refuses, one that is not valid yet is used all the same (chain.h).
 *
 * `openssl cms -verify -binary -purpose any` agrees; OpenSSL 3.0 knows no code-signing purpose.
 *
 * Source: RFC 5652 (CMS), RFC 5280 (X.509).
 */
#ifndef ABIDE_UPDATER_SIGNATURE_H
#define ABIDE_UPDATER_SIGNATURE_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/mem.h"

#define SIGNATURE_SIZE_MAX (64u << 10)

struct trust {
	const char *roots; /* PEM file of trusted roots */
	const char *crl; /* PEM file of CRLs, or NULL */
	unsigned int threshold; /* distinct signers needed, >= 1 */
	time_t seen; /* see "Time"; 0 if nothing was seen */
	/* The header of a slot that was sealed here before: certificate times and CRLs were judged
	 * when it was installed and are left out now. An expired or revoked signer keeps new
	 * bundles out; it must not make a device forget what it runs. */
	bool installed;
};

struct trusted;

/* Takes `manifest` (left empty) on success. Fails: FAIL_UNTRUSTED saying why the closest signer
 * failed; FAIL_USAGE/FAIL_IO if the roots or CRL cannot be read. */
int signature_verify(const struct trust *trust, struct bytes *manifest,
	const struct bytes *signature, struct trusted **ret, struct err *err);
void trusted_free(struct trusted **trusted);

const struct bytes *trusted_manifest(const struct trusted *trusted);
const struct digest *trusted_id(const struct trusted *trusted); /* the artifact id */
size_t trusted_signer_count(const struct trusted *trusted);
const char *trusted_signer(const struct trusted *trusted, size_t i); /* subject, printable */

#endif
