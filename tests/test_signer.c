/* signer: signatures that openssl and abide accept, one next to the other; keys that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/signer.h"
#include "tests/bundles.h"
#include "tests/signers.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/signature.h"

static const char MANIFEST[] = "{\"a\": 1}";

static struct bundles b;
static struct signers s; /* the openssl command in b's directory */

static int setup(void **state)
{
	(void)state;
	bundles_init(&b, PKI_RSA);
	assert_true(snprintf(s.dir, sizeof(s.dir), "%s", b.dir) < (int)sizeof(s.dir));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bundles_finish(&b);
	return 0;
}

static struct bytes manifest_bytes(void)
{
	struct bytes bytes = {0};
	struct err err = {0};

	assert_int_equal(bytes_copy(MANIFEST, strlen(MANIFEST), &bytes, &err), 0);
	return bytes;
}

static struct signer *open_signer(const char *name)
{
	struct signer *signer = NULL;
	char key[64];
	char cert[64];
	struct err err = {0};

	(void)snprintf(key, sizeof(key), "%s.key", name);
	(void)snprintf(cert, sizeof(cert), "%s.pem", name);
	if (signer_open(bundles_path(&b, key), bundles_path(&b, cert), NULL, &signer, &err) < 0)
		fail_msg("%s", err.msg);
	return signer;
}

static struct bytes sign(const char *name, const struct bytes *existing)
{
	CLEANUP(signer_free) struct signer *signer = open_signer(name);
	CLEANUP(bytes_finish) struct bytes manifest = manifest_bytes();
	struct bytes signature = {0};
	struct err err = {0};

	if (signer_sign(signer, &manifest, existing, &signature, &err) < 0)
		fail_msg("%s", err.msg);
	return signature;
}

static void write_file(const char *name, const void *data, size_t len)
{
	struct err err = {0};

	assert_int_equal(fs_replace_file(bundles_path(&b, name), data, len, 0600, &err), 0);
}

static struct bytes read_file(const char *name)
{
	struct bytes bytes = {0};
	struct err err = {0};

	assert_int_equal(fs_read_file(bundles_path(&b, name), 1 << 20, &bytes, &err), 0);
	return bytes;
}

static void assert_trusted(const struct bytes *signature, unsigned int threshold)
{
	CLEANUP(bytes_finish) struct bytes manifest = manifest_bytes();
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	struct trust trust = {.roots = b.root, .threshold = threshold};
	struct err err = {0};

	if (signature_verify(&trust, &manifest, signature, &trusted, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(trusted_signer_count(trusted) >= threshold);
}

/* The openssl command checks every signature in it. */
static void assert_openssl_agrees(const struct bytes *signature)
{
	write_file("m.json", MANIFEST, strlen(MANIFEST));
	write_file("m.p7s", signature->data, signature->len);
	signers_run(&s, "cms -verify -binary -inform DER -in m.p7s -content m.json "
			"-CAfile root.pem -purpose any -out verified");
}

static void test_signer__rsa_signatures_are_deterministic(void **state)
{
	CLEANUP(bytes_finish) struct bytes first = sign("signer", NULL);
	CLEANUP(bytes_finish) struct bytes second = sign("signer", NULL);

	(void)state;
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.data, second.data, first.len);
	assert_trusted(&first, 1);
	assert_openssl_agrees(&first);
}

static void test_signer__a_second_signer_joins_the_first(void **state)
{
	CLEANUP(bytes_finish) struct bytes first = sign("signer", NULL);
	CLEANUP(bytes_finish) struct bytes both = {0};
	CLEANUP(bytes_finish) struct bytes three = {0};
	struct signer_names names;
	struct err err = {0};

	(void)state;
	assert_int_equal(pki_add_signer(b.dir, PKI_ECDSA, "second", &err), 0);
	assert_int_equal(pki_add_signer(b.dir, PKI_RSA, "third", &err), 0);
	both = sign("second", &first);
	three = sign("third", &both);
	assert_trusted(&both, 2);
	assert_trusted(&three, 3);
	assert_openssl_agrees(&three);
	assert_int_equal(signer_names(&three, &names, &err), 0);
	assert_int_equal(names.count, 3);
}

/* Signed with signed attributes (and a signing time) by the real command; then joined. */
static void test_signer__joins_a_signature_made_by_openssl(void **state)
{
	CLEANUP(bytes_finish) struct bytes theirs = {0};
	CLEANUP(bytes_finish) struct bytes both = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(pki_add_signer(b.dir, PKI_ECDSA, "second", &err), 0);
	write_file("m.json", MANIFEST, strlen(MANIFEST));
	signers_run(&s, "cms -sign -binary -outform DER -in m.json -out m.p7s -md sha256 "
			"-signer second.pem -inkey second.key");
	theirs = read_file("m.p7s");
	both = sign("signer", &theirs);
	assert_trusted(&both, 2);
	assert_openssl_agrees(&both);
}

static void refuse_existing(const struct bytes *existing, enum err_code code, const char *text)
{
	CLEANUP(signer_free) struct signer *signer = open_signer("signer");
	CLEANUP(bytes_finish) struct bytes manifest = manifest_bytes();
	struct bytes signature = {0};
	struct err err = {0};

	assert_int_equal(signer_sign(signer, &manifest, existing, &signature, &err), -1);
	assert_null(signature.data);
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, text))
		fail_msg("'%s' does not say '%s'", err.msg, text);
}

static void test_signer__does_not_sign_twice(void **state)
{
	CLEANUP(bytes_finish) struct bytes first = sign("signer", NULL);

	(void)state;
	refuse_existing(&first, FAIL_STATE, "has signed it already");
}

static void test_signer__joins_no_wrong_signature(void **state)
{
	CLEANUP(bytes_finish) struct bytes existing = sign("signer", NULL);
	struct bytes garbage = {.data = existing.data, .len = existing.len - 1};

	(void)state;
	refuse_existing(&garbage, FAIL_UNTRUSTED, "not CMS");
	existing.data[existing.len - 10] ^= 1; /* the signature's value is at the end */
	refuse_existing(&existing, FAIL_UNTRUSTED, "is wrong");
}

static void refuse_files(
	const char *key, const char *cert, const char *chain, enum err_code code, const char *text)
{
	struct signer *signer = NULL;
	struct err err = {0};

	assert_int_equal(signer_open(bundles_path(&b, key), bundles_path(&b, cert),
				 chain ? bundles_path(&b, chain) : NULL, &signer, &err),
		-1);
	assert_null(signer);
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, text))
		fail_msg("'%s' does not say '%s'", err.msg, text);
}

static void test_signer__refuses_files_that_do_not_fit(void **state)
{
	(void)state;
	refuse_files("none.key", "signer.pem", NULL, FAIL_IO, "none.key");
	refuse_files("signer.key", "none.pem", NULL, FAIL_IO, "none.pem");
	refuse_files("signer.pem", "signer.pem", NULL, FAIL_USAGE, "holds no private key");
	refuse_files("signer.key", "signer.key", NULL, FAIL_USAGE, "holds no certificate");
	refuse_files("root.key", "signer.pem", NULL, FAIL_USAGE, "does not belong to");
	refuse_files("root.key", "root.pem", NULL, FAIL_USAGE, "not for code signing");
	refuse_files("signer.key", "signer.pem", "signer.key", FAIL_USAGE, "list of certificates");
}

static void test_signer__says_that_a_key_is_encrypted(void **state)
{
	(void)state;
	signers_run(&s, "pkey -in signer.key -aes128 -passout pass:secret -out locked.key");
	refuse_files("locked.key", "signer.pem", NULL, FAIL_USAGE, "is encrypted");
	signers_run(&s, "rsa -in signer.key -traditional -aes128 -passout pass:secret "
			"-out old.key");
	refuse_files("old.key", "signer.pem", NULL, FAIL_USAGE, "is encrypted");
}

static void test_signer__refuses_keys_that_devices_refuse(void **state)
{
	(void)state;
	signers_run(&s, "req -x509 -newkey rsa:1024 -nodes -keyout small.key -out small.pem "
			"-subj /CN=small -addext extendedKeyUsage=codeSigning");
	refuse_files("small.key", "small.pem", NULL, FAIL_USAGE, "1024 bits");
	signers_run(&s, "req -x509 -newkey ed25519 -nodes -keyout ed.key -out ed.pem "
			"-subj /CN=ed -addext extendedKeyUsage=codeSigning");
	refuse_files("ed.key", "ed.pem", NULL, FAIL_USAGE, "neither RSA nor ECDSA");
}

static void test_signer__carries_the_chain(void **state)
{
	CLEANUP(signer_free) struct signer *signer = NULL;
	CLEANUP(bytes_finish) struct bytes manifest = manifest_bytes();
	CLEANUP(bytes_finish) struct bytes signature = {0};
	struct err err = {0};

	(void)state;
	write_file("ca.ext", "basicConstraints=critical,CA:TRUE\n", 34);
	write_file("leaf.ext", "extendedKeyUsage=codeSigning\n", 29);
	signers_run(&s, "req -newkey rsa:2048 -nodes -keyout mid.key -out mid.csr -subj /CN=mid");
	signers_run(&s, "x509 -req -in mid.csr -CA root.pem -CAkey root.key -CAcreateserial "
			"-days 30 -extfile ca.ext -out mid.pem");
	signers_run(
		&s, "req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf");
	signers_run(&s, "x509 -req -in leaf.csr -CA mid.pem -CAkey mid.key -CAcreateserial "
			"-days 30 -extfile leaf.ext -out leaf.pem");
	assert_int_equal(signer_open(bundles_path(&b, "leaf.key"), bundles_path(&b, "leaf.pem"),
				 bundles_path(&b, "mid.pem"), &signer, &err),
		0);
	assert_non_null(strstr(signer_subject(signer), "leaf"));
	assert_int_equal(signer_sign(signer, &manifest, NULL, &signature, &err), 0);
	assert_trusted(&signature, 1);
	assert_openssl_agrees(&signature);
}

#define WITH_KEYS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_KEYS(test_signer__rsa_signatures_are_deterministic),
		WITH_KEYS(test_signer__a_second_signer_joins_the_first),
		WITH_KEYS(test_signer__joins_a_signature_made_by_openssl),
		WITH_KEYS(test_signer__does_not_sign_twice),
		WITH_KEYS(test_signer__joins_no_wrong_signature),
		WITH_KEYS(test_signer__refuses_files_that_do_not_fit),
		WITH_KEYS(test_signer__says_that_a_key_is_encrypted),
		WITH_KEYS(test_signer__refuses_keys_that_devices_refuse),
		WITH_KEYS(test_signer__carries_the_chain),
	};

	return cmocka_run_group_tests_name("signer", tests, NULL, NULL);
}
