/*
 * signature: what the `openssl cms` command signs is accepted, and everything else is refused with
 * the reason. The PKI is made once for all the tests, in a directory that the teardown removes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/signers.h"
#include "updater/signature.h"

#define YEAR 31557600

static struct signers pki;

static int setup(void **state)
{
	(void)state;
	signers_new(&pki);
	signers_write(&pki, "manifest", "{\"a\": 1}\n", 9);
	signers_cert(&pki, "ec", SIGNERS_EC, "root", "code");
	signers_cert(&pki, "second", SIGNERS_EC, "root", "code");
	signers_cert(&pki, "rsa", "rsa:2048", "root", "code");
	signers_sign(&pki, "manifest", "ec", "-md sha256", "ec.p7s");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	signers_free(&pki);
	return 0;
}

static struct trust trust_default(void)
{
	return (struct trust){.roots = signers_path(&pki, "root.pem"), .threshold = 1};
}

static int verify_bytes(const struct trust *trust, const struct bytes *signature,
	struct trusted **ret, struct err *err)
{
	struct bytes manifest = signers_read(&pki, "manifest");
	uint8_t *data = manifest.data;
	int result = signature_verify(trust, &manifest, signature, ret, err);

	if (result == 0)
		assert_null(manifest.data); /* taken */
	else
		assert_ptr_equal(manifest.data, data); /* still the caller's */
	bytes_finish(&manifest);
	return result;
}

static int verify(const struct trust *trust, const char *p7s, struct trusted **ret, struct err *err)
{
	struct bytes signature = signers_read(&pki, p7s);
	int result = verify_bytes(trust, &signature, ret, err);

	bytes_finish(&signature);
	return result;
}

static void assert_accepted(const struct trust *trust, const char *p7s, size_t signers)
{
	struct trusted *trusted = NULL;
	struct err err = {0};

	if (verify(trust, p7s, &trusted, &err) < 0)
		fail_msg("%s: %s", p7s, err.msg);
	assert_int_equal(trusted_signer_count(trusted), signers);
	trusted_free(&trusted);
	assert_null(trusted);
}

static void assert_refused_as(
	const struct trust *trust, const char *p7s, enum err_code code, const char *why)
{
	struct trusted *trusted = NULL;
	struct err err = {0};

	assert_int_equal(verify(trust, p7s, &trusted, &err), -1);
	assert_null(trusted);
	if (!strstr(err.msg, why))
		fail_msg("%s: expected '%s' in: %s", p7s, why, err.msg);
	assert_int_equal(err.code, code);
}

static void assert_refused(const struct trust *trust, const char *p7s, const char *why)
{
	assert_refused_as(trust, p7s, FAIL_UNTRUSTED, why);
}

/* What `openssl cms -verify` says; 3.0 has no code-signing purpose to ask for. */
static bool openssl_agrees(const char *p7s, const char *content)
{
	return signers_try(&pki,
		       "cms -verify -binary -purpose any -CAfile root.pem -inform DER -in %s"
		       " -content %s -out out",
		       p7s, content) == 0;
}

static void test_signature__openssl_cms_signs_what_is_accepted(void **state)
{
	static const struct {
		const char *signer, *options;
	} CASES[] = {
		{"ec", "-md sha256"},
		{"ec", "-md sha384"},
		{"ec", "-md sha512"},
		{"ec", "-md sha256 -noattr"},
		{"ec", "-md sha256 -nosmimecap"},
		{"ec", "-md sha256 -keyid"},
		{"rsa", "-md sha256"},
		{"rsa", "-md sha512 -noattr"},
		{"rsa", "-md sha256 -keyopt rsa_padding_mode:pss"},
		{"rsa", "-md sha256 -noattr -keyopt rsa_padding_mode:pss"},
		{"rsa", "-md sha384 -nosmimecap -keyopt rsa_padding_mode:pss"},
	};
	struct trust trust = trust_default();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		signers_sign(&pki, "manifest", CASES[i].signer, CASES[i].options, "case.p7s");
		assert_accepted(&trust, "case.p7s", 1);
		assert_true(openssl_agrees("case.p7s", "manifest"));
	}
}

static void test_signature__says_what_and_who(void **state)
{
	struct trust trust = trust_default();
	struct trusted *trusted = NULL;
	struct bytes manifest = signers_read(&pki, "manifest");
	struct digest id;
	struct err err;

	(void)state;
	assert_int_equal(digest_once(manifest.data, manifest.len, &id, &err), 0);
	assert_int_equal(verify(&trust, "ec.p7s", &trusted, &err), 0);
	assert_true(digest_equal(trusted_id(trusted), &id));
	assert_int_equal(trusted_manifest(trusted)->len, manifest.len);
	assert_memory_equal(trusted_manifest(trusted)->data, manifest.data, manifest.len);
	assert_string_equal(trusted_signer(trusted, 0), "CN=ec");
	trusted_free(&trusted);
	trusted_free(&trusted);
	trusted_free(NULL);
	bytes_finish(&manifest);
}

static void test_signature__refuses_a_changed_manifest(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_write(&pki, "other", "{\"a\": 2}\n", 9);
	signers_sign(&pki, "other", "ec", "-md sha256", "other.p7s");
	assert_refused(&trust, "other.p7s", "by 'CN=ec' is wrong: not over this manifest");
	assert_false(openssl_agrees("other.p7s", "manifest"));
	signers_sign(&pki, "other", "rsa", "-md sha256 -noattr", "other.p7s");
	assert_refused(&trust, "other.p7s", "by 'CN=rsa' is wrong");
}

static void test_signature__refuses_an_unknown_root(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_cert(&pki, "foreign", SIGNERS_EC, "stranger", "code");
	signers_sign(&pki, "manifest", "foreign", "-md sha256", "foreign.p7s");
	assert_refused(&trust, "foreign.p7s",
		"'CN=foreign' (issued by 'CN=stranger') does not lead to a root in");
	/* Bringing the root along does not make it trusted. */
	signers_sign(
		&pki, "manifest", "foreign", "-md sha256 -certfile stranger.pem", "foreign.p7s");
	assert_refused(&trust, "foreign.p7s", "does not lead to a root in");
	/* A root signing itself, not for code. */
	signers_sign(&pki, "manifest", "stranger", "-md sha256", "foreign.p7s");
	assert_refused(&trust, "foreign.p7s", "does not lead to a root in");
}

static void test_signature__several_roots_in_one_file(void **state)
{
	struct trust trust = trust_default();
	struct bytes one = signers_read(&pki, "stranger.pem");
	struct bytes two = signers_read(&pki, "root.pem");
	char both[8192];

	(void)state;
	assert_true(snprintf(both, sizeof(both), "%s# a comment\n%s", (char *)one.data,
			    (char *)two.data) < (int)sizeof(both));
	signers_write(&pki, "both.pem", both, strlen(both));
	bytes_finish(&one);
	bytes_finish(&two);
	trust.roots = signers_path(&pki, "both.pem");
	assert_accepted(&trust, "ec.p7s", 1);
}

static void test_signature__names_dates_of_expired_and_early(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_cert_dated(&pki, "old", "root", "20200101000000Z", "20210102030405Z");
	signers_sign(&pki, "manifest", "old", "-md sha256", "old.p7s");
	assert_refused(&trust, "old.p7s", "'CN=old' expired on 2021-01-02T03:04:05Z (judged at 2");
	signers_cert_dated(&pki, "early", "root", "20900101000000Z", "20990101000000Z");
	signers_sign(&pki, "manifest", "early", "-md sha256", "early.p7s");
	assert_refused(&trust, "early.p7s", "'CN=early' is not valid before 2090-01-01T00:00:00Z");
}

static void test_signature__time_never_goes_back_before_what_was_seen(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	trust.seen = time(NULL) + 2 * (time_t)YEAR; /* the signer's certificate has one year */
	assert_refused(&trust, "ec.p7s", "'CN=ec' expired on");
	trust.seen = 1; /* an old one changes nothing */
	assert_accepted(&trust, "ec.p7s", 1);
}

static void test_signature__refuses_other_purposes(void **state)
{
	static const struct {
		const char *kind, *why;
	} CASES[] = {
		{"tls", "is not for code signing"},
		{"no-purpose", "is not for code signing"},
		{"encrypts", "is not for digital signatures"},
	};
	struct trust trust = trust_default();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		signers_cert(&pki, "purpose", SIGNERS_EC, "root", CASES[i].kind);
		signers_sign(&pki, "manifest", "purpose", "-md sha256", "purpose.p7s");
		assert_refused(&trust, "purpose.p7s", CASES[i].why);
	}
	signers_cert(&pki, "purpose", SIGNERS_EC, "root", "code-without-key-usage");
	signers_sign(&pki, "manifest", "purpose", "-md sha256", "purpose.p7s");
	assert_accepted(&trust, "purpose.p7s", 1);
}

static void test_signature__intermediate_must_come_along_and_be_an_authority(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_cert(&pki, "middle", SIGNERS_EC, "root", "authority");
	signers_cert(&pki, "leaf", SIGNERS_EC, "middle", "code");
	signers_sign(&pki, "manifest", "leaf", "-md sha256 -certfile middle.pem", "leaf.p7s");
	assert_accepted(&trust, "leaf.p7s", 1);
	assert_true(openssl_agrees("leaf.p7s", "manifest"));
	signers_sign(&pki, "manifest", "leaf", "-md sha256", "leaf.p7s");
	assert_refused(&trust, "leaf.p7s", "does not lead to a root");
	/* A signer is no authority. */
	signers_cert(&pki, "leaf", SIGNERS_EC, "ec", "code");
	signers_sign(&pki, "manifest", "leaf", "-md sha256 -certfile ec.pem", "leaf.p7s");
	assert_refused(&trust, "leaf.p7s", "certificate 'CN=ec': invalid CA certificate");
	/* Nor is an authority for other things. */
	signers_cert(&pki, "middle", SIGNERS_EC, "root", "tls-authority");
	signers_cert(&pki, "leaf", SIGNERS_EC, "middle", "code");
	signers_sign(&pki, "manifest", "leaf", "-md sha256 -certfile middle.pem", "leaf.p7s");
	assert_refused(&trust, "leaf.p7s", "authority 'CN=middle' is not for code signing");
}

static void test_signature__refuses_weak_digests(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_sign(&pki, "manifest", "ec", "-md sha1", "weak.p7s");
	assert_refused(&trust, "weak.p7s", "'CN=ec' signed with a weak digest");
	signers_sign(&pki, "manifest", "rsa", "-md sha224 -noattr", "weak.p7s");
	assert_refused(&trust, "weak.p7s", "'CN=rsa' signed with a weak digest");
	signers_sign(&pki, "manifest", "rsa",
		"-md sha256 -keyopt rsa_padding_mode:pss -keyopt rsa_mgf1_md:sha1", "weak.p7s");
	assert_refused(&trust, "weak.p7s", "unknown or weak scheme");
	signers_cert(&pki, "sha1", SIGNERS_EC " -sha1", "root", "code");
	signers_sign(&pki, "manifest", "sha1", "-md sha256", "weak.p7s");
	assert_refused(&trust, "weak.p7s", "digest algorithm too weak");
}

static void test_signature__refuses_weak_keys(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_cert(&pki, "short", "rsa:1024", "root", "code");
	signers_sign(&pki, "manifest", "short", "-md sha256", "short.p7s");
	assert_refused(&trust, "short.p7s", "certificate 'CN=short': ");
	assert_refused(&trust, "short.p7s", "key too weak");
	signers_cert(&pki, "short", "ec -pkeyopt ec_paramgen_curve:secp224r1", "root", "code");
	signers_sign(&pki, "manifest", "short", "-md sha256", "short.p7s");
	assert_refused(&trust, "short.p7s", "an ECDSA key of 224 bits, at least 256");
	signers_cert(&pki, "short",
		"ec -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:explicit", "root",
		"code");
	signers_sign(&pki, "manifest", "short", "-md sha256", "short.p7s");
	assert_refused(&trust, "short.p7s", "CN=short");
}

static void make_crl(const char *issuer, const char *options, const char *out)
{
	signers_run(&pki,
		"ca -batch -config openssl.cnf -cert %s.pem -keyfile %s.key -gencrl %s -out %s",
		issuer, issuer, options, out);
}

static void test_signature__refuses_revoked_by_serial(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_cert(&pki, "gone", SIGNERS_EC, "root", "code");
	signers_sign(&pki, "manifest", "gone", "-md sha256", "gone.p7s");
	assert_accepted(&trust, "gone.p7s", 1);
	signers_run(&pki,
		"ca -batch -config openssl.cnf -cert root.pem -keyfile root.key -revoke gone.pem");
	make_crl("root", "", "crl.pem");
	trust.crl = signers_path(&pki, "crl.pem");
	assert_refused(&trust, "gone.p7s", "certificate 'CN=gone' (serial 0x");
	assert_refused(&trust, "gone.p7s", ") is revoked");
	assert_accepted(&trust, "ec.p7s", 1);
}

static void test_signature__crl_times(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	trust.crl = signers_path(&pki, "dated.pem");
	make_crl("root", "-crl_lastupdate 20200101000000Z -crl_nextupdate 20210102030405Z",
		"dated.pem");
	assert_refused(&trust, "ec.p7s", "the CRL of 'CN=root' in ");
	assert_refused(&trust, "ec.p7s", "expired on 2021-01-02T03:04:05Z: replace it");
	/* The clock is slow, not the CRL wrong; what it revokes is revoked. */
	make_crl("root", "-crl_lastupdate 20900101000000Z -crl_nextupdate 20990101000000Z",
		"dated.pem");
	assert_accepted(&trust, "ec.p7s", 1);
	signers_cert(&pki, "late", SIGNERS_EC, "root", "code");
	signers_sign(&pki, "manifest", "late", "-md sha256", "late.p7s");
	signers_run(&pki,
		"ca -batch -config openssl.cnf -cert root.pem -keyfile root.key -revoke late.pem");
	make_crl("root", "-crl_lastupdate 20900101000000Z -crl_nextupdate 20990101000000Z",
		"dated.pem");
	assert_refused(&trust, "late.p7s", "is revoked");
}

static void test_signature__what_is_installed_outlives_times_and_crls(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_cert(&pki, "was", SIGNERS_EC, "root", "code");
	signers_sign(&pki, "manifest", "was", "-md sha256", "was.p7s");
	signers_run(&pki,
		"ca -batch -config openssl.cnf -cert root.pem -keyfile root.key -revoke was.pem");
	make_crl("root", "", "was-crl.pem");
	trust.crl = signers_path(&pki, "was-crl.pem");
	assert_refused(&trust, "was.p7s", "is revoked");
	trust.installed = true;
	assert_accepted(&trust, "was.p7s", 1);
	trust.crl = signers_path(&pki, "nowhere.pem"); /* not even read */
	trust.seen = time(NULL) + 100 * (time_t)YEAR;
	assert_accepted(&trust, "was.p7s", 1);
	/* Everything else holds. */
	trust.threshold = 2;
	assert_refused(&trust, "was.p7s", "1 of 2 needed signers");
	trust.threshold = 1;
	trust.roots = signers_path(&pki, "stranger.pem");
	assert_refused(&trust, "was.p7s", "does not lead to a root");
}

static void test_signature__every_authority_needs_a_crl(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	make_crl("stranger", "", "stranger-crl.pem");
	trust.crl = signers_path(&pki, "stranger-crl.pem");
	assert_refused(&trust, "ec.p7s", "has no CRL of 'CN=root'");
}

static void test_signature__threshold_counts_distinct_trusted_keys(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	trust.threshold = 2;
	assert_refused(&trust, "ec.p7s", "1 of 2 needed signers");
	signers_sign(&pki, "manifest", "ec", "-md sha256 -signer second.pem -inkey second.key",
		"two.p7s");
	assert_accepted(&trust, "two.p7s", 2);
	/* Signing again, or with a second certificate for the same key, is one signer. */
	signers_run(&pki,
		"cms -resign -nocerts -binary -inform DER -in ec.p7s -outform DER -content manifest"
		" -signer ec.pem -inkey ec.key -md sha256 -out two.p7s");
	assert_refused(&trust, "two.p7s", "1 of 2 needed signers");
	signers_run(&pki,
		"req -x509 -config openssl.cnf -extensions code -key ec.key -days 365 -subj"
		" /CN=twin -CA root.pem -CAkey root.key -out twin.pem");
	signers_sign(
		&pki, "manifest", "ec", "-md sha256 -signer twin.pem -inkey ec.key", "two.p7s");
	assert_refused(&trust, "two.p7s", "1 of 2 needed signers");
}

static void test_signature__strangers_are_ignored_but_told_of(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_sign(&pki, "manifest", "ec", "-md sha256 -signer stranger.pem -inkey stranger.key",
		"mixed.p7s");
	assert_accepted(&trust, "mixed.p7s", 1);
	trust.threshold = 2;
	assert_refused(&trust, "mixed.p7s",
		"1 of 2 needed signers: certificate 'CN=stranger' (issued by 'CN=stranger') does");
}

static void test_signature__one_wrong_signature_is_fatal(void **state)
{
	struct trust trust = trust_default();
	struct bytes mixed;

	(void)state;
	signers_sign(&pki, "manifest", "ec", "-md sha256 -signer second.pem -inkey second.key",
		"wrong.p7s");
	mixed = signers_read(&pki, "wrong.p7s");
	mixed.data[mixed.len - 1] ^= 1; /* the last signer's signature value ends the file */
	signers_write(&pki, "wrong.p7s", mixed.data, mixed.len);
	bytes_finish(&mixed);
	assert_refused(&trust, "wrong.p7s", "is wrong");
}

static void test_signature__refuses_other_forms_of_cms(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_sign(&pki, "manifest", "ec", "-md sha256 -nodetach", "form.p7s");
	assert_refused(&trust, "form.p7s", "has content in it");
	signers_sign(&pki, "manifest", "ec", "-md sha256 -nocerts", "form.p7s");
	assert_refused(&trust, "form.p7s", "certificate is not in the signature");
	signers_run(&pki, "cms -data_create -in manifest -outform DER -out form.p7s");
	assert_refused(&trust, "form.p7s", "is CMS, but not SignedData");
	signers_run(&pki, "cms -sign -binary -in manifest -signer ec.pem -inkey ec.key -outform"
			  " PEM -out form.p7s");
	assert_refused(&trust, "form.p7s", "is not CMS in DER form");
}

static void test_signature__refuses_garbage_and_every_truncation(void **state)
{
	struct trust trust = trust_default();
	struct bytes whole = signers_read(&pki, "ec.p7s");
	struct trusted *trusted = NULL;
	struct err err;

	(void)state;
	signers_write(&pki, "bad.p7s", "", 0);
	assert_refused(&trust, "bad.p7s", "is empty");
	signers_write(&pki, "bad.p7s", "garbage", 7);
	assert_refused(&trust, "bad.p7s", "is not CMS in DER form");
	for (size_t len = 1; len < whole.len; len++) {
		struct bytes cut = {0};

		assert_int_equal(bytes_copy(whole.data, len, &cut, &err), 0);
		assert_int_equal(verify_bytes(&trust, &cut, &trusted, &err), -1);
		assert_int_equal(err.code, FAIL_UNTRUSTED);
		bytes_finish(&cut);
	}
	whole.data[whole.len] = 0; /* signers_read() leaves room for a NUL */
	whole.len++;
	assert_int_equal(verify_bytes(&trust, &whole, &trusted, &err), -1);
	assert_non_null(strstr(err.msg, "1 bytes follow its end"));
	bytes_finish(&whole);
}

static void test_signature__a_flipped_byte_vouches_for_nothing_else(void **state)
{
	struct trust trust = trust_default();
	struct bytes whole = signers_read(&pki, "ec.p7s");
	size_t accepted = 0;

	(void)state;
	for (size_t i = 0; i < whole.len; i++) {
		struct trusted *trusted = NULL;
		struct err err;

		whole.data[i] ^= 0x21;
		/* A few bytes mean nothing to the proof (a version, the list of digests). */
		if (verify_bytes(&trust, &whole, &trusted, &err) == 0) {
			accepted++;
			assert_string_equal(trusted_signer(trusted, 0), "CN=ec");
		}
		trusted_free(&trusted);
		whole.data[i] ^= 0x21;
	}
	assert_true(accepted < 16);
	bytes_finish(&whole);
}

static void test_signature__trust_files_that_cannot_be_used(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	trust.roots = signers_path(&pki, "nowhere.pem");
	assert_refused_as(&trust, "ec.p7s", FAIL_IO, "trusted roots: open '");
	signers_write(&pki, "empty.pem", "", 0);
	trust.roots = signers_path(&pki, "empty.pem");
	assert_refused_as(
		&trust, "ec.p7s", FAIL_USAGE, "empty.pem' has no certificate in PEM form");
	signers_write(&pki, "bad.pem",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 59);
	trust.roots = signers_path(&pki, "bad.pem");
	assert_refused_as(&trust, "ec.p7s", FAIL_USAGE, "has a certificate that cannot be read");
	trust = trust_default();
	trust.crl = signers_path(&pki, "root.pem");
	assert_refused_as(&trust, "ec.p7s", FAIL_USAGE, "has no CRL in PEM form");
	trust.crl = signers_path(&pki, "nowhere.pem");
	assert_refused_as(&trust, "ec.p7s", FAIL_IO, "CRLs: open '");
	trust = trust_default();
	trust.threshold = 0;
	assert_refused_as(&trust, "ec.p7s", FAIL_USAGE, "threshold of 0");
}

static void test_signature__ed25519_where_openssl_can(void **state)
{
	struct trust trust = trust_default();

	(void)state;
	signers_cert(&pki, "ed", "ed25519", "root", "code");
	if (signers_try(&pki,
		    "cms -sign -binary -outform DER -in manifest -signer ed.pem -inkey ed.key -md"
		    " sha512 -out ed.p7s") != 0)
		skip(); /* 3.0 cannot */
	assert_accepted(&trust, "ed.p7s", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signature__openssl_cms_signs_what_is_accepted),
		cmocka_unit_test(test_signature__says_what_and_who),
		cmocka_unit_test(test_signature__refuses_a_changed_manifest),
		cmocka_unit_test(test_signature__refuses_an_unknown_root),
		cmocka_unit_test(test_signature__several_roots_in_one_file),
		cmocka_unit_test(test_signature__names_dates_of_expired_and_early),
		cmocka_unit_test(test_signature__time_never_goes_back_before_what_was_seen),
		cmocka_unit_test(test_signature__refuses_other_purposes),
		cmocka_unit_test(test_signature__intermediate_must_come_along_and_be_an_authority),
		cmocka_unit_test(test_signature__refuses_weak_digests),
		cmocka_unit_test(test_signature__refuses_weak_keys),
		cmocka_unit_test(test_signature__refuses_revoked_by_serial),
		cmocka_unit_test(test_signature__crl_times),
		cmocka_unit_test(test_signature__what_is_installed_outlives_times_and_crls),
		cmocka_unit_test(test_signature__every_authority_needs_a_crl),
		cmocka_unit_test(test_signature__threshold_counts_distinct_trusted_keys),
		cmocka_unit_test(test_signature__strangers_are_ignored_but_told_of),
		cmocka_unit_test(test_signature__one_wrong_signature_is_fatal),
		cmocka_unit_test(test_signature__refuses_other_forms_of_cms),
		cmocka_unit_test(test_signature__refuses_garbage_and_every_truncation),
		cmocka_unit_test(test_signature__a_flipped_byte_vouches_for_nothing_else),
		cmocka_unit_test(test_signature__trust_files_that_cannot_be_used),
		cmocka_unit_test(test_signature__ed25519_where_openssl_can),
	};

	return cmocka_run_group_tests_name("signature", tests, setup, teardown);
}
