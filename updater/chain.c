#include "updater/chain.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "updater/fs.h"

#define PEM_FILE_MAX   (1u << 20)
#define DEPTH_MAX      8
#define SECURITY_LEVEL 2
#define RSA_BITS_MIN   2048
#define EC_BITS_MIN    256

struct chain {
	const char *roots, *crl; /* file names, for messages; borrowed */
	time_t now;
	bool timeless; /* trust->installed: neither times nor CRLs */
	X509_STORE *store;
	char crl_expired[21]; /* the date, when that is what is wrong */
};

static void cleanup_bio(BIO **bio)
{
	BIO_free_all(*bio);
}

static void format_name(const X509_NAME *name, char ret[static CHAIN_SUBJECT_MAX])
{
	CLEANUP(cleanup_bio) BIO *out = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len = 0;

	if (out && X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0)
		len = BIO_get_mem_data(out, &text);
	mem_printable(text ? text : "", len > 0 ? (size_t)len : 0, ret, CHAIN_SUBJECT_MAX);
}

void chain_subject(const struct x509_st *cert, char ret[static CHAIN_SUBJECT_MAX])
{
	format_name(X509_get_subject_name(cert), ret);
}

static void format_time(time_t t, char ret[static 21])
{
	struct tm tm = {0};

	(void)gmtime_r(&t, &tm); /* a time it cannot express shows as 1900 */
	if (strftime(ret, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		ret[0] = '\0';
}

static void format_asn1_time(const ASN1_TIME *when, char ret[static 21])
{
	struct tm tm = {0};

	if (!when || ASN1_TIME_to_tm(when, &tm) != 1 ||
		strftime(ret, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		memcpy(ret, "an unreadable date", sizeof("an unreadable date"));
}

/* How many PEM objects of one kind `file` has, each put into the store; -1 on a bad one. */
static int add_objects(X509_STORE *store, BIO *in, bool crls)
{
	int count = 0;

	for (;; count++) {
		bool added = false;
		bool found;

		if (crls) {
			X509_CRL *crl = PEM_read_bio_X509_CRL(in, NULL, NULL, NULL);

			found = crl != NULL;
			added = found && X509_STORE_add_crl(store, crl) == 1;
			X509_CRL_free(crl);
		} else {
			X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);

			found = cert != NULL;
			added = found && X509_STORE_add_cert(store, cert) == 1;
			X509_free(cert);
		}
		if (!found)
			break;
		if (!added)
			return -1;
	}
	/* Only "no further BEGIN line" is the end of the file. */
	return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ? count : -1;
}

static int load_file(X509_STORE *store, const char *path, bool crls, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes file = {0};
	CLEANUP(cleanup_bio) BIO *in = NULL;
	const char *what = crls ? "CRL" : "certificate";
	int count;

	if (fs_read_file(path, PEM_FILE_MAX, &file, err) < 0)
		return err_wrap_as(err, err->code == FAIL_SPACE ? FAIL_USAGE : err->code,
			crls ? "CRLs" : "trusted roots");
	in = BIO_new_mem_buf(file.data, (int)file.len);
	if (!in)
		return err_memory(err);
	ERR_clear_error();
	count = add_objects(store, in, crls);
	if (count < 0)
		(void)err_set(err, FAIL_USAGE, "'%s' has a %s that cannot be read: %s", path, what,
			ERR_reason_error_string(ERR_peek_last_error()));
	else if (count == 0)
		(void)err_set(err, FAIL_USAGE, "'%s' has no %s in PEM form", path, what);
	ERR_clear_error();
	return count > 0 ? 0 : -1;
}

int chain_open(const struct trust *trust, time_t now, struct chain **ret, struct err *err)
{
	CLEANUP(chain_close) struct chain *chain = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*chain), &p, err) < 0)
		return -1;
	chain = p;
	chain->roots = trust->roots;
	chain->crl = trust->installed ? NULL : trust->crl;
	chain->timeless = trust->installed;
	chain->now = now;
	chain->store = X509_STORE_new();
	if (!chain->store)
		return err_memory(err);
	if (load_file(chain->store, trust->roots, false, err) < 0)
		return -1;
	if (chain->crl && load_file(chain->store, chain->crl, true, err) < 0)
		return -1;
	*ret = steal_ptr(&chain);
	return 0;
}

void chain_close(struct chain **chain)
{
	if (!chain || !*chain)
		return;
	X509_STORE_free((*chain)->store);
	free(*chain);
	*chain = NULL;
}

static int refuse_time(const struct chain *chain, const X509 *cert, const char *subject,
	bool expired, struct err *err)
{
	char limit[21];
	char now[21];

	format_asn1_time(expired ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert), limit);
	format_time(chain->now, now);
	return err_set(err, FAIL_UNTRUSTED, "certificate '%s' %s %s (judged at %s)", subject,
		expired ? "expired on" : "is not valid before", limit, now);
}

static int refuse_revoked(const X509 *cert, const char *subject, struct err *err)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *serial = number ? BN_bn2hex(number) : NULL;

	(void)err_set(err, FAIL_UNTRUSTED, "certificate '%s' (serial 0x%s) is revoked", subject,
		serial ? serial : "?");
	OPENSSL_free(serial);
	BN_free(number);
	return -1;
}

/* What X509_verify_cert() found, in words that name the certificate. */
static int refuse_chain(const struct chain *chain, X509_STORE_CTX *ctx, X509 *cert, struct err *err)
{
	int why = X509_STORE_CTX_get_error(ctx);
	X509 *at = X509_STORE_CTX_get_current_cert(ctx);
	char subject[CHAIN_SUBJECT_MAX];
	char issuer[CHAIN_SUBJECT_MAX];

	if (!at)
		at = cert;
	chain_subject(at, subject);
	format_name(X509_get_issuer_name(at), issuer);
	switch (why) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return refuse_time(chain, at, subject, why == X509_V_ERR_CERT_HAS_EXPIRED, err);
	case X509_V_ERR_CERT_REVOKED:
		return refuse_revoked(at, subject, err);
	case X509_V_ERR_UNABLE_TO_GET_CRL:
		return err_set(err, FAIL_UNTRUSTED, "'%s' has no CRL of '%s'", chain->crl, issuer);
	case X509_V_ERR_CRL_HAS_EXPIRED:
		return err_set(err, FAIL_UNTRUSTED,
			"the CRL of '%s' in '%s' expired on %s: replace it by a current one",
			issuer, chain->crl, chain->crl_expired);
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
		return err_set(err, FAIL_UNTRUSTED,
			"certificate '%s' (issued by '%s') does not lead to a root in '%s'",
			subject, issuer, chain->roots);
	default:
		return err_set(err, FAIL_UNTRUSTED, "certificate '%s': %s", subject,
			X509_verify_cert_error_string(why));
	}
}

/* Called for each thing amiss; 1 goes on all the same. */
static int judge_crl(int ok, X509_STORE_CTX *ctx)
{
	struct chain *chain = X509_STORE_CTX_get_app_data(ctx); /* NULL without memory */
	const X509_CRL *crl = X509_STORE_CTX_get0_current_crl(ctx); /* known only in here */

	if (ok || X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CRL_NOT_YET_VALID)
		return 1;
	if (chain && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_CRL_HAS_EXPIRED)
		format_asn1_time(crl ? X509_CRL_get0_nextUpdate(crl) : NULL, chain->crl_expired);
	return 0;
}

static bool curve_is_explicit(const EVP_PKEY *key)
{
	int explicit_params = 0;

	return EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS,
		       &explicit_params) == 1 &&
	       explicit_params;
}

/* Level 2 would also take P-224 and DSA. */
static int check_key(const X509 *cert, struct err *err)
{
	const EVP_PKEY *key = X509_get0_pubkey(cert);
	int bits = key ? EVP_PKEY_get_bits(key) : 0;
	char subject[CHAIN_SUBJECT_MAX];

	chain_subject(cert, subject);
	switch (key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE) {
	case EVP_PKEY_RSA:
	case EVP_PKEY_RSA_PSS:
		if (bits >= RSA_BITS_MIN)
			return 0;
		return err_set(err, FAIL_UNTRUSTED,
			"certificate '%s': an RSA key of %d bits, at least %d are needed", subject,
			bits, RSA_BITS_MIN);
	case EVP_PKEY_EC:
		if (curve_is_explicit(key))
			return err_set(err, FAIL_UNTRUSTED,
				"certificate '%s': its curve is not a named one", subject);
		if (bits >= EC_BITS_MIN)
			return 0;
		return err_set(err, FAIL_UNTRUSTED,
			"certificate '%s': an ECDSA key of %d bits, at least %d are needed",
			subject, bits, EC_BITS_MIN);
	case EVP_PKEY_ED25519:
		return 0;
	default:
		return err_set(err, FAIL_UNTRUSTED,
			"certificate '%s': its key is neither RSA, ECDSA nor Ed25519", subject);
	}
}

/* OpenSSL 3.0 knows no code-signing purpose, so the check is ours. */
static int check_purpose(X509 *cert, bool is_signer, struct err *err)
{
	char subject[CHAIN_SUBJECT_MAX];
	bool has_usage = (X509_get_extension_flags(cert) & EXFLAG_XKUSAGE) != 0;
	bool signs_code = has_usage && (X509_get_extended_key_usage(cert) & XKU_CODE_SIGN) != 0;
	bool any = has_usage && (X509_get_extended_key_usage(cert) & XKU_ANYEKU) != 0;

	chain_subject(cert, subject);
	if (is_signer && !signs_code)
		return err_set(err, FAIL_UNTRUSTED,
			"certificate '%s' is not for code signing (extended key usage)", subject);
	if (!is_signer && has_usage && !signs_code && !any)
		return err_set(err, FAIL_UNTRUSTED,
			"authority '%s' is not for code signing (extended key usage)", subject);
	/* Without a key usage extension every bit is set. */
	if (is_signer && (X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE) == 0)
		return err_set(err, FAIL_UNTRUSTED,
			"certificate '%s' is not for digital signatures (key usage)", subject);
	return 0;
}

static int check_way(X509_STORE_CTX *ctx, struct err *err)
{
	const STACK_OF(X509) *way = X509_STORE_CTX_get0_chain(ctx);

	for (int i = 0; i < sk_X509_num(way); i++) {
		X509 *cert = sk_X509_value(way, i);

		if (check_key(cert, err) < 0 || check_purpose(cert, i == 0, err) < 0)
			return -1;
	}
	return 0;
}

static void set_rules(struct chain *chain, X509_STORE_CTX *ctx)
{
	X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(ctx);

	if (chain->timeless)
		(void)X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_NO_CHECK_TIME); /* always 1 */
	else
		X509_VERIFY_PARAM_set_time(rules, chain->now);
	X509_VERIFY_PARAM_set_depth(rules, DEPTH_MAX);
	X509_VERIFY_PARAM_set_auth_level(rules, SECURITY_LEVEL);
	if (chain->crl) {
		(void)X509_VERIFY_PARAM_set_flags(
			rules, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL); /* always 1 */
		(void)X509_STORE_CTX_set_app_data(ctx, chain); /* fails only without memory */
		X509_STORE_CTX_set_verify_cb(ctx, judge_crl);
	}
}

int chain_check(
	struct chain *chain, struct x509_st *cert, struct stack_st_X509 *others, struct err *err)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int result;

	if (!ctx || X509_STORE_CTX_init(ctx, chain->store, cert, others) != 1) {
		X509_STORE_CTX_free(ctx);
		return err_memory(err);
	}
	set_rules(chain, ctx);
	if (X509_verify_cert(ctx) == 1)
		result = check_way(ctx, err);
	else
		result = refuse_chain(chain, ctx, cert, err);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return result;
}
