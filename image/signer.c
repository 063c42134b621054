#include "image/signer.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "updater/fs.h"
#include "updater/signature.h"

#define PEM_MAX_BYTES (256u << 10)
/* A manifest is at most 64 KiB, so every int below fits. */
#define DETACHED (CMS_DETACHED | CMS_BINARY | CMS_PARTIAL)

struct signer {
	EVP_PKEY *key;
	X509 *cert;
	STACK_OF(X509) * chain;
	char subject[SIGNER_NAME_MAX];
};

static void bio_free(BIO **bio)
{
	BIO_free(*bio);
}

static void cms_free(CMS_ContentInfo **cms)
{
	CMS_ContentInfo_free(*cms);
}

static void certs_free(STACK_OF(X509) * *certs)
{
	sk_X509_pop_free(*certs, X509_free);
}

static int openssl_failed(const char *what, struct err *err)
{
	char reason[160];

	ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
	ERR_clear_error();
	return err_set(err, FAIL_IO, "%s: %s", what, reason);
}

static int pem_open(const char *path, struct bytes *ret_pem, BIO **ret, struct err *err)
{
	if (fs_read_file(path, PEM_MAX_BYTES, ret_pem, err) < 0)
		return -1;
	*ret = BIO_new_mem_buf(ret_pem->data, (int)ret_pem->len);
	return *ret ? 0 : err_memory(err);
}

/* Called by OpenSSL when a key turns out to be encrypted: notes that, and gives up. */
static int no_passphrase(char *buf, int size, int writing, void *asked)
{
	(void)buf;
	(void)size;
	(void)writing;
	*(bool *)asked = true;
	return -1;
}

static int read_key(const char *path, EVP_PKEY **ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes pem = {0};
	CLEANUP(bio_free) BIO *bio = NULL;
	bool asked = false;
	EVP_PKEY *key;

	if (pem_open(path, &pem, &bio, err) < 0)
		return err_wrap(err, "private key");
	key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
	OPENSSL_cleanse(pem.data, pem.len);
	ERR_clear_error();
	if (asked)
		return err_set(err, FAIL_USAGE,
			"private key '%s' is encrypted: give one without a passphrase "
			"(openssl pkey -in KEY -out PLAIN)",
			path);
	if (!key)
		return err_set(err, FAIL_USAGE, "'%s' holds no private key in PEM", path);
	*ret = key;
	return 0;
}

static int read_cert(const char *path, X509 **ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes pem = {0};
	CLEANUP(bio_free) BIO *bio = NULL;
	X509 *cert;

	if (pem_open(path, &pem, &bio, err) < 0)
		return err_wrap(err, "certificate");
	cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	ERR_clear_error();
	if (!cert)
		return err_set(err, FAIL_USAGE, "'%s' holds no certificate in PEM", path);
	*ret = cert;
	return 0;
}

static int read_chain(const char *path, STACK_OF(X509) * ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes pem = {0};
	CLEANUP(bio_free) BIO *bio = NULL;
	X509 *cert;

	if (pem_open(path, &pem, &bio, err) < 0)
		return err_wrap(err, "certificate chain");
	while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (sk_X509_push(ret, cert) <= 0) {
			X509_free(cert);
			return err_memory(err);
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || sk_X509_num(ret) == 0) {
		ERR_clear_error();
		return err_set(err, FAIL_USAGE, "'%s' is not a list of certificates in PEM", path);
	}
	ERR_clear_error(); /* no more start lines: the end */
	return 0;
}

static void subject_of(X509 *cert, char ret[static SIGNER_NAME_MAX])
{
	CLEANUP(bio_free) BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len = 0;

	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0,
			   XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB & ~XN_FLAG_SPC_EQ) >= 0)
		len = BIO_get_mem_data(bio, &text);
	mem_printable(len > 0 ? text : "", len > 0 ? (size_t)len : 0, ret, SIGNER_NAME_MAX);
}

/* What signature_verify() will ask for on every device: better to hear it here. */
static int check_usable(
	const struct signer *signer, const char *key_path, const char *cert_path, struct err *err)
{
	int type = EVP_PKEY_get_base_id(signer->key);
	int bits = EVP_PKEY_get_bits(signer->key);

	if (X509_check_private_key(signer->cert, signer->key) != 1) {
		ERR_clear_error();
		return err_set(err, FAIL_USAGE,
			"private key '%s' does not belong to certificate '%s'", key_path,
			cert_path);
	}
	if (type != EVP_PKEY_RSA && type != EVP_PKEY_EC)
		return err_set(err, FAIL_USAGE, "key '%s' is neither RSA nor ECDSA", key_path);
	if (bits < (type == EVP_PKEY_RSA ? 2048 : 256))
		return err_set(err, FAIL_USAGE,
			"key '%s' has %d bits: devices want 2048 (RSA) or 256 (ECDSA)", key_path,
			bits);
	if (!(X509_get_extension_flags(signer->cert) & EXFLAG_XKUSAGE) ||
		!(X509_get_extended_key_usage(signer->cert) & XKU_CODE_SIGN))
		return err_set(err, FAIL_USAGE,
			"certificate '%s' is not for code signing (extended key usage): devices "
			"would refuse it",
			cert_path);
	return 0;
}

int signer_open(
	const char *key, const char *cert, const char *chain, struct signer **ret, struct err *err)
{
	CLEANUP(signer_free) struct signer *signer = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*signer), &p, err) < 0)
		return -1;
	signer = p;
	signer->chain = sk_X509_new_null();
	if (!signer->chain)
		return err_memory(err);
	if (read_key(key, &signer->key, err) < 0 || read_cert(cert, &signer->cert, err) < 0 ||
		(chain && read_chain(chain, signer->chain, err) < 0) ||
		check_usable(signer, key, cert, err) < 0)
		return -1;
	subject_of(signer->cert, signer->subject);
	*ret = steal_ptr(&signer);
	return 0;
}

void signer_free(struct signer **signer)
{
	if (!signer || !*signer)
		return;
	EVP_PKEY_free((*signer)->key);
	X509_free((*signer)->cert);
	sk_X509_pop_free((*signer)->chain, X509_free);
	free(*signer);
	*signer = NULL;
}

const char *signer_subject(const struct signer *signer)
{
	return signer->subject;
}

static int parse(const struct bytes *signature, CMS_ContentInfo **ret, struct err *err)
{
	const unsigned char *p = signature->data;
	CMS_ContentInfo *cms = NULL;

	if (signature->len <= SIGNATURE_SIZE_MAX)
		cms = d2i_CMS_ContentInfo(NULL, &p, (long)signature->len);
	ERR_clear_error();
	if (!cms || p != signature->data + signature->len ||
		OBJ_obj2nid(CMS_get0_type(cms)) != NID_pkcs7_signed) {
		CMS_ContentInfo_free(cms);
		return err_set(err, FAIL_UNTRUSTED, "the signature is not CMS SignedData in DER");
	}
	*ret = cms;
	return 0;
}

/* Whether every signature in it is right; not whose. A device refuses a wrong one next to ours. */
static int check_existing(
	const struct bytes *manifest, const struct bytes *existing, struct err *err)
{
	CLEANUP(cms_free) CMS_ContentInfo *cms = NULL;
	CLEANUP(bio_free) BIO *content = BIO_new_mem_buf(manifest->data, (int)manifest->len);
	int right;

	if (!content)
		return err_memory(err);
	if (parse(existing, &cms, err) < 0)
		return -1;
	right = CMS_verify(cms, NULL, NULL, content, NULL, CMS_NO_SIGNER_CERT_VERIFY | CMS_BINARY);
	ERR_clear_error();
	if (right != 1)
		return err_set(err, FAIL_UNTRUSTED,
			"a signature in it is wrong (replace them all instead of adding one)");
	return 0;
}

static int refuse_twice(const struct signer *signer, CMS_ContentInfo *cms, struct err *err)
{
	STACK_OF(CMS_SignerInfo) *infos = CMS_get0_SignerInfos(cms);

	if (sk_CMS_SignerInfo_num(infos) >= (int)SIGNERS_MAX)
		return err_set(err, FAIL_SPACE, "it has %u signers already", SIGNERS_MAX);
	for (int i = 0; i < sk_CMS_SignerInfo_num(infos); i++)
		if (CMS_SignerInfo_cert_cmp(sk_CMS_SignerInfo_value(infos, i), signer->cert) == 0)
			return err_set(
				err, FAIL_STATE, "'%s' has signed it already", signer->subject);
	return 0;
}

static int add_cert(CMS_ContentInfo *cms, X509 *cert)
{
	CLEANUP(certs_free) STACK_OF(X509) *present = CMS_get1_certs(cms);

	for (int i = 0; i < sk_X509_num(present); i++)
		if (X509_cmp(sk_X509_value(present, i), cert) == 0)
			return 1;
	return CMS_add1_cert(cms, cert);
}

static int add_certs(CMS_ContentInfo *cms, const struct signer *signer)
{
	if (!add_cert(cms, signer->cert))
		return 0;
	for (int i = 0; i < sk_X509_num(signer->chain); i++)
		if (!add_cert(cms, sk_X509_value(signer->chain, i)))
			return 0;
	return 1;
}

static int raw_signature(const struct signer *signer, const struct bytes *manifest,
	struct bytes *ret, struct err *err)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	void *p = NULL;
	size_t len = 0;
	int ok;

	ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, signer->key) == 1 &&
	     EVP_DigestSign(ctx, NULL, &len, manifest->data, manifest->len) == 1 &&
	     mem_alloc(len, &p, err) == 0 &&
	     EVP_DigestSign(ctx, p, &len, manifest->data, manifest->len) == 1;
	EVP_MD_CTX_free(ctx);
	if (!ok) {
		free(p);
		return openssl_failed("sign the manifest", err);
	}
	*ret = (struct bytes){.data = p, .len = len};
	return 0;
}

/* CMS_final() would sign again for everybody in it, and so want every key. Without signed
 * attributes a SignerInfo's signature is that of the content: make it and put it there. */
static int add_signer(CMS_ContentInfo *cms, const struct signer *signer,
	const struct bytes *manifest, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes raw = {0};
	CMS_SignerInfo *info;

	if (raw_signature(signer, manifest, &raw, err) < 0)
		return -1;
	info = CMS_add1_signer(
		cms, signer->cert, signer->key, EVP_sha256(), DETACHED | CMS_NOATTR | CMS_NOCERTS);
	if (!info ||
		!ASN1_OCTET_STRING_set(
			CMS_SignerInfo_get0_signature(info), raw.data, (int)raw.len) ||
		!add_certs(cms, signer))
		return openssl_failed("build the signature", err);
	return 0;
}

int signer_sign(const struct signer *signer, const struct bytes *manifest,
	const struct bytes *existing, struct bytes *ret, struct err *err)
{
	CLEANUP(cms_free) CMS_ContentInfo *cms = NULL;
	unsigned char *der = NULL;
	int len;
	int copied;

	if (existing) {
		if (check_existing(manifest, existing, err) < 0 || parse(existing, &cms, err) < 0 ||
			refuse_twice(signer, cms, err) < 0)
			return -1;
	} else {
		cms = CMS_sign(NULL, NULL, NULL, NULL, DETACHED);
	}
	if (!cms)
		return openssl_failed("start a signature", err);
	if (add_signer(cms, signer, manifest, err) < 0)
		return -1;
	len = i2d_CMS_ContentInfo(cms, &der);
	if (len < 0)
		return openssl_failed("encode the signature", err);
	if ((size_t)len > SIGNATURE_SIZE_MAX) {
		OPENSSL_free(der);
		return err_set(err, FAIL_SPACE, "the signature has %d bytes, more than %u", len,
			SIGNATURE_SIZE_MAX);
	}
	copied = bytes_copy(der, (size_t)len, ret, err);
	OPENSSL_free(der);
	return copied;
}

static void name_of(
	CMS_SignerInfo *info, const STACK_OF(X509) * certs, char ret[static SIGNER_NAME_MAX])
{
	for (int i = 0; i < sk_X509_num(certs); i++) {
		X509 *cert = sk_X509_value(certs, i);

		if (CMS_SignerInfo_cert_cmp(info, cert) == 0) {
			subject_of(cert, ret);
			return;
		}
	}
	(void)snprintf(ret, SIGNER_NAME_MAX, "(certificate not in the signature)"); /* fits */
}

int signer_names(const struct bytes *signature, struct signer_names *ret, struct err *err)
{
	CLEANUP(cms_free) CMS_ContentInfo *cms = NULL;
	CLEANUP(certs_free) STACK_OF(X509) *certs = NULL;
	STACK_OF(CMS_SignerInfo) * infos;

	if (parse(signature, &cms, err) < 0)
		return -1;
	certs = CMS_get1_certs(cms);
	infos = CMS_get0_SignerInfos(cms);
	*ret = (struct signer_names){0};
	for (int i = 0; i < sk_CMS_SignerInfo_num(infos) && ret->count < SIGNERS_MAX; i++)
		name_of(sk_CMS_SignerInfo_value(infos, i), certs, ret->name[ret->count++]);
	ERR_clear_error();
	return 0;
}
