/*
 * signer - a key with its certificate, and the signatures it makes (wraps OpenSSL's CMS).
 *
 *	signer_open -> signer_sign -> signer_free
 *
 * The signature is CMS SignedData, DER, detached, without signed attributes: the key signs the
 * manifest's bytes themselves. So an RSA signature (PKCS#1 v1.5) depends on nothing but key and
 * manifest, and a signer can be added without the other keys. The confusion that CMS without
 * signed attributes is known for (a signature over attributes passed off as one over content, RFC
 * 8933) needs content that begins as a DER SET does; a manifest begins with '{'.
 *
 * Source: RFC 5652.
 */
#ifndef ABIDE_IMAGE_SIGNER_H
#define ABIDE_IMAGE_SIGNER_H

#include <stddef.h>

#include "updater/err.h"
#include "updater/mem.h"

#define SIGNERS_MAX     16u
#define SIGNER_NAME_MAX 256u

struct signer;

/* PEM files; chain (intermediate certificates, for the signature to carry) may be NULL. FAIL_USAGE
 * if the key is encrypted, is not the certificate's, or devices would not take it: RSA under 2048
 * bits, a curve under 256, no code signing purpose. */
int signer_open(
	const char *key, const char *cert, const char *chain, struct signer **ret, struct err *err);
void signer_free(struct signer **signer);
const char *signer_subject(const struct signer *signer);

/* existing NULL: a new signature. Else the signer is added to it, with what is in it untouched:
 * FAIL_UNTRUSTED if that is not a right signature of this manifest, FAIL_STATE if this signer is in
 * it already. */
int signer_sign(const struct signer *signer, const struct bytes *manifest,
	const struct bytes *existing, struct bytes *ret, struct err *err);

/* Who says to have signed: nothing is verified. Printable names. */
struct signer_names {
	size_t count;
	char name[SIGNERS_MAX][SIGNER_NAME_MAX];
};
int signer_names(const struct bytes *signature, struct signer_names *ret, struct err *err);

#endif
