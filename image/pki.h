/*
 * pki - keys and certificates for development (wraps OpenSSL's X.509).
 *
 *	DIR/root.pem   a certificate authority: what a device trusts      DIR/root.key   its key
 *	DIR/NAME.pem   a code signing certificate under it                DIR/NAME.key   its key
 *
 * Nothing that exists is overwritten; keys are made mode 0600, unencrypted, PKCS#8. If anything
 * fails, what was made by this call is removed again.
 *
 * Validity begins in 2000: a device without a clock judges certificates by older times than a
 * workstation's, and a fresh certificate must not be "not yet valid" there.
 */
#ifndef ABIDE_IMAGE_PKI_H
#define ABIDE_IMAGE_PKI_H

#include "updater/err.h"

enum pki_type {
	PKI_RSA, /* 3072 bits: PKCS#1 v1.5 signatures, so that same inputs give the same bundle */
	PKI_ECDSA, /* P-256: small and fast; every signature is another */
};

#define PKI_SIGNER_DEFAULT "signer"

/* Root and signer. FAIL_USAGE if one of the four files exists. */
int pki_make(const char *dir, enum pki_type type, const char *signer, struct err *err);
/* Another signer under the root in DIR: for bundles that need two signatures. */
int pki_add_signer(const char *dir, enum pki_type type, const char *signer, struct err *err);

#endif
