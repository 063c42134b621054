#include "updater/signature.h"

#include <limits.h>
#include <openssl/asn1t.h>
#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "updater/chain.h"

#define SIGNERS_MAX 16 /* more is an attempt to keep us busy */

struct trusted {
	struct bytes manifest;
	struct digest id;
	size_t signer_count;
	char signers[SIGNERS_MAX][CHAIN_SUBJECT_MAX];
};

/* One verification under way. */
struct verification {
	struct chain *chain;
	CMS_ContentInfo *cms;
	STACK_OF(X509) * certs; /* those in the signature */
	BIO *content; /* the manifest, read through the digests that the signers used */
	size_t passed_count;
	X509 *passed[SIGNERS_MAX]; /* distinct by key; borrowed from cms */
	char reasons[400]; /* why the others did not count */
};

static void verification_finish(struct verification *v)
{
	chain_close(&v->chain);
	BIO_free_all(v->content);
	sk_X509_pop_free(v->certs, X509_free);
	CMS_ContentInfo_free(v->cms);
	ERR_clear_error();
}

static time_t judging_time(const struct trust *trust)
{
	time_t now = time(NULL);

	if (now < (time_t)ABIDE_BUILD_TIME)
		now = (time_t)ABIDE_BUILD_TIME;
	return now < trust->seen ? trust->seen : now;
}

static const char *library_reason(void)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	return reason ? reason : "no reason given";
}

/* The CMS structure: whole, detached, over plain data, with a sane number of signers. */
static int read_cms(struct verification *v, const struct bytes *signature, struct err *err)
{
	const unsigned char *p = signature->data;
	int signers;

	if (signature->len == 0)
		return err_set(err, FAIL_UNTRUSTED, "signature: is empty");
	if (signature->len > SIGNATURE_SIZE_MAX)
		return err_set(err, FAIL_UNTRUSTED, "signature: %zu bytes, at most %u are allowed",
			signature->len, SIGNATURE_SIZE_MAX);
	v->cms = d2i_CMS_ContentInfo(NULL, &p, (long)signature->len);
	if (!v->cms)
		return err_set(err, FAIL_UNTRUSTED, "signature: is not CMS in DER form: %s",
			library_reason());
	if (p != signature->data + signature->len)
		return err_set(err, FAIL_UNTRUSTED, "signature: %zu bytes follow its end",
			(size_t)(signature->data + signature->len - p));
	if (OBJ_obj2nid(CMS_get0_type(v->cms)) != NID_pkcs7_signed)
		return err_set(err, FAIL_UNTRUSTED, "signature: is CMS, but not SignedData");
	if (OBJ_obj2nid(CMS_get0_eContentType(v->cms)) != NID_pkcs7_data ||
		CMS_is_detached(v->cms) != 1)
		return err_set(err, FAIL_UNTRUSTED,
			"signature: has content in it; a detached one over data is needed");
	signers = sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(v->cms));
	if (signers < 1 || signers > SIGNERS_MAX)
		return err_set(err, FAIL_UNTRUSTED, "signature: %d signers, allowed: 1..%d",
			signers < 0 ? 0 : signers, SIGNERS_MAX);
	return 0;
}

/* Feeds the manifest to every digest that a signer names. */
static int digest_manifest(struct verification *v, const struct bytes *manifest, struct err *err)
{
	BIO *in = BIO_new_mem_buf(manifest->data, (int)manifest->len);
	uint8_t buf[4096];
	int n;

	if (!in)
		return err_memory(err);
	v->content = CMS_dataInit(v->cms, in);
	if (!v->content) {
		BIO_free(in);
		return err_set(err, FAIL_UNTRUSTED, "signature: its digest cannot be computed: %s",
			library_reason());
	}
	do
		n = BIO_read(v->content, buf, sizeof(buf));
	while (n > 0);
	return 0;
}

static bool digest_is_strong(const X509_ALGOR *algorithm)
{
	const ASN1_OBJECT *oid = NULL;
	int nid;

	if (!algorithm)
		return false; /* the default where one may be left out is SHA-1 */
	X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
	nid = OBJ_obj2nid(oid);
	return nid == NID_sha256 || nid == NID_sha384 || nid == NID_sha512;
}

static bool mask_is_strong(const X509_ALGOR *mask)
{
	X509_ALGOR *inner;
	const ASN1_OBJECT *oid = NULL;
	bool strong;

	if (!mask)
		return false;
	X509_ALGOR_get0(&oid, NULL, NULL, mask);
	if (OBJ_obj2nid(oid) != NID_mgf1 || !mask->parameter)
		return false;
	inner = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(X509_ALGOR), mask->parameter);
	strong = digest_is_strong(inner);
	X509_ALGOR_free(inner);
	return strong;
}

static bool pss_is_strong(const X509_ALGOR *algorithm)
{
	RSA_PSS_PARAMS *pss;
	bool strong;

	if (!algorithm->parameter)
		return false;
	pss = ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(RSA_PSS_PARAMS), algorithm->parameter);
	strong = pss && digest_is_strong(pss->hashAlgorithm) &&
		 mask_is_strong(pss->maskGenAlgorithm);
	RSA_PSS_PARAMS_free(pss);
	return strong;
}

static bool scheme_is_strong(const X509_ALGOR *algorithm)
{
	static const int NIDS[] = {
		NID_rsaEncryption,
		NID_sha256WithRSAEncryption,
		NID_sha384WithRSAEncryption,
		NID_sha512WithRSAEncryption,
		NID_ecdsa_with_SHA256,
		NID_ecdsa_with_SHA384,
		NID_ecdsa_with_SHA512,
		NID_ED25519,
	};
	const ASN1_OBJECT *oid = NULL;
	int nid;

	X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
	nid = OBJ_obj2nid(oid);
	if (nid == NID_rsassaPss)
		return pss_is_strong(algorithm);
	for (size_t i = 0; i < ARRAY_LEN(NIDS); i++)
		if (nid == NIDS[i])
			return true;
	return false;
}

/* Whether the signer is one to judge at all: known certificate, algorithms that mean something. */
static int check_algorithms(CMS_SignerInfo *si, X509 **ret_cert, struct err *err)
{
	X509_ALGOR *digest = NULL;
	X509_ALGOR *scheme = NULL;
	EVP_PKEY *key = NULL;
	X509 *cert = NULL;
	char subject[CHAIN_SUBJECT_MAX];

	CMS_SignerInfo_get0_algs(si, &key, &cert, &digest, &scheme);
	if (!cert || !key)
		return err_set(err, FAIL_UNTRUSTED,
			"a signer's certificate is not in the signature, or has no usable key");
	chain_subject(cert, subject);
	if (!digest_is_strong(digest))
		return err_set(err, FAIL_UNTRUSTED,
			"'%s' signed with a weak digest; SHA-256, SHA-384 or SHA-512 is needed",
			subject);
	if (!scheme_is_strong(scheme))
		return err_set(err, FAIL_UNTRUSTED,
			"'%s' signed with an unknown or weak scheme; RSA, RSA-PSS or ECDSA with"
			" SHA-256 or better is needed",
			subject);
	*ret_cert = cert;
	return 0;
}

/* The mathematics: signed attributes if there are any, and the manifest's digest. */
static int check_signature(
	const struct verification *v, CMS_SignerInfo *si, const X509 *cert, struct err *err)
{
	char subject[CHAIN_SUBJECT_MAX];

	ERR_clear_error();
	if ((CMS_signed_get_attr_count(si) < 0 || CMS_SignerInfo_verify(si) > 0) &&
		CMS_SignerInfo_verify_content(si, v->content) > 0)
		return 0;
	chain_subject(cert, subject);
	if (EVP_PKEY_get_base_id(X509_get0_pubkey(cert)) == EVP_PKEY_ED25519)
		return err_set(err, FAIL_UNTRUSTED,
			"signature: '%s' used Ed25519: wrong, or beyond this OpenSSL (%s): %s",
			subject, OPENSSL_VERSION_STR, library_reason());
	return err_set(err, FAIL_UNTRUSTED,
		"signature: by '%s' is wrong: not over this manifest, or the manifest was changed"
		" (%s)",
		subject, library_reason());
}

static void note_reason(struct verification *v, const struct err *reason)
{
	size_t used = strlen(v->reasons);
	size_t room = sizeof(v->reasons) - used;

	if (snprintf(v->reasons + used, room, "%s%s", used ? "; " : ": ", reason->msg) >= (int)room)
		memcpy(v->reasons + sizeof(v->reasons) - 4, "...", 4);
}

static void count_signer(struct verification *v, X509 *cert)
{
	for (size_t i = 0; i < v->passed_count; i++)
		if (EVP_PKEY_eq(X509_get0_pubkey(v->passed[i]), X509_get0_pubkey(cert)) == 1)
			return;
	v->passed[v->passed_count++] = cert; /* read_cms() bounds the signers */
}

static int check_signers(struct verification *v, struct err *err)
{
	STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(v->cms);

	for (int i = 0; i < sk_CMS_SignerInfo_num(infos); i++) {
		CMS_SignerInfo *si = sk_CMS_SignerInfo_value(infos, i);
		X509 *cert = NULL;
		struct err reason;

		if (check_algorithms(si, &cert, &reason) < 0 ||
			chain_check(v->chain, cert, v->certs, &reason) < 0) {
			note_reason(v, &reason);
			continue;
		}
		/* Only now: no stranger's key is ever computed with. */
		if (check_signature(v, si, cert, err) < 0)
			return -1;
		count_signer(v, cert);
	}
	return 0;
}

static int check_threshold(const struct verification *v, unsigned int threshold, struct err *err)
{
	if (v->passed_count >= threshold)
		return 0;
	if (threshold == 1)
		return err_set(err, FAIL_UNTRUSTED, "signature: no trusted signer%s", v->reasons);
	return err_set(err, FAIL_UNTRUSTED, "signature: %zu of %u needed signers%s",
		v->passed_count, threshold, v->reasons);
}

static int make_trusted(
	const struct verification *v, struct bytes *manifest, struct trusted **ret, struct err *err)
{
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*trusted), &p, err) < 0)
		return -1;
	trusted = p;
	if (digest_once(manifest->data, manifest->len, &trusted->id, err) < 0)
		return -1;
	for (size_t i = 0; i < v->passed_count; i++)
		chain_subject(v->passed[i], trusted->signers[i]);
	trusted->signer_count = v->passed_count;
	trusted->manifest = steal_bytes(manifest);
	*ret = steal_ptr(&trusted);
	return 0;
}

int signature_verify(const struct trust *trust, struct bytes *manifest,
	const struct bytes *signature, struct trusted **ret, struct err *err)
{
	CLEANUP(verification_finish) struct verification v = {0};

	if (trust->threshold == 0)
		return err_set(err, FAIL_USAGE, "a threshold of 0 signers would trust anybody");
	if (manifest->len == 0 || manifest->len > INT_MAX)
		return err_set(err, FAIL_UNTRUSTED, "signature: the manifest is empty or too long");
	if (chain_open(trust, judging_time(trust), &v.chain, err) < 0)
		return -1;
	ERR_clear_error();
	if (read_cms(&v, signature, err) < 0)
		return -1;
	v.certs = CMS_get1_certs(v.cms);
	(void)CMS_set1_signers_certs(v.cms, NULL, 0); /* a signer without one is told of later */
	if (digest_manifest(&v, manifest, err) < 0 || check_signers(&v, err) < 0 ||
		check_threshold(&v, trust->threshold, err) < 0)
		return -1;
	return make_trusted(&v, manifest, ret, err);
}

void trusted_free(struct trusted **trusted)
{
	if (!trusted || !*trusted)
		return;
	bytes_finish(&(*trusted)->manifest);
	free(*trusted);
	*trusted = NULL;
}

const struct bytes *trusted_manifest(const struct trusted *trusted)
{
	return &trusted->manifest;
}

const struct digest *trusted_id(const struct trusted *trusted)
{
	return &trusted->id;
}

size_t trusted_signer_count(const struct trusted *trusted)
{
	return trusted->signer_count;
}

const char *trusted_signer(const struct trusted *trusted, size_t i)
{
	return trusted->signers[i];
}
