/* pki: what is made is a working PKI for development, and nothing is ever overwritten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/pki.h"
#include "image/signer.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/signature.h"

static const char *in(const char *dir, const char *name)
{
	static char paths[8][PATH_MAX];
	static unsigned int turn;
	char *path = paths[turn++ % 8];

	(void)snprintf(path, PATH_MAX, "%s/%s", dir, name);
	return path;
}

/* Signs with DIR/NAME and verifies against DIR/root.pem. */
static void assert_works(const char *dir, const char *cert, const char *key)
{
	CLEANUP(signer_free) struct signer *signer = NULL;
	CLEANUP(bytes_finish) struct bytes manifest = {0};
	CLEANUP(bytes_finish) struct bytes signature = {0};
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	struct trust trust = {.roots = in(dir, "root.pem"), .threshold = 1};
	struct err err = {0};

	if (signer_open(in(dir, key), in(dir, cert), NULL, &signer, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(bytes_copy("{}", 2, &manifest, &err), 0);
	assert_int_equal(signer_sign(signer, &manifest, NULL, &signature, &err), 0);
	if (signature_verify(&trust, &manifest, &signature, &trusted, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(trusted_signer_count(trusted), 1);
}

static void assert_mode(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void check_type(void **state, enum pki_type type)
{
	struct scratch *scratch = *state;
	const char *dir = scratch_path(scratch, "a/b");
	mode_t mask = umask(0);
	struct err err = {0};
	int made = pki_make(dir, type, PKI_SIGNER_DEFAULT, &err);

	(void)umask(mask);
	if (made < 0)
		fail_msg("%s", err.msg);
	/* Keys are private even where the umask says nothing. */
	assert_mode(in(dir, "root.key"), 0600);
	assert_mode(in(dir, "signer.key"), 0600);
	assert_works(dir, "signer.pem", "signer.key");
}

static void test_pki__rsa_is_trusted(void **state)
{
	check_type(state, PKI_RSA);
}

static void test_pki__ecdsa_is_trusted(void **state)
{
	check_type(state, PKI_ECDSA);
}

static void test_pki__adds_a_signer_under_the_same_root(void **state)
{
	struct scratch *scratch = *state;
	struct err err = {0};

	assert_int_equal(pki_make(scratch->dir, PKI_ECDSA, "signer", &err), 0);
	assert_int_equal(pki_add_signer(scratch->dir, PKI_ECDSA, "second", &err), 0);
	assert_works(scratch->dir, "second.pem", "second.key");
}

static void test_pki__never_overwrites(void **state)
{
	static const char *const NAMES[] = {"root.pem", "root.key", "signer.pem", "signer.key"};
	struct scratch *scratch = *state;
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		CLEANUP(bytes_finish) struct bytes kept = {0};
		const char *path = in(scratch->dir, NAMES[i]);

		assert_int_equal(fs_replace_file(path, "precious", 8, 0600, &err), 0);
		assert_int_equal(pki_make(scratch->dir, PKI_ECDSA, "signer", &err), -1);
		assert_int_equal(err.code, FAIL_USAGE);
		assert_non_null(strstr(err.msg, NAMES[i]));
		assert_int_equal(fs_read_file(path, 100, &kept, &err), 0);
		assert_int_equal(kept.len, 8);
		assert_int_equal(unlink(path), 0);
		/* Nothing else was left there either. */
		for (size_t k = 0; k < ARRAY_LEN(NAMES); k++)
			assert_int_equal(access(in(scratch->dir, NAMES[k]), F_OK), -1);
	}
	assert_int_equal(pki_make(scratch->dir, PKI_ECDSA, "signer", &err), 0);
	assert_int_equal(pki_add_signer(scratch->dir, PKI_ECDSA, "signer", &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
}

static void test_pki__refuses_names_that_leave_the_directory(void **state)
{
	static const char *const NAMES[] = {"", ".", "..", "../x", "a/b", "root"};
	struct scratch *scratch = *state;
	struct err err = {0};

	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		assert_int_equal(pki_make(scratch->dir, PKI_ECDSA, NAMES[i], &err), -1);
		assert_int_equal(err.code, FAIL_USAGE);
	}
}

static void test_pki__needs_a_root_to_add_to(void **state)
{
	struct scratch *scratch = *state;
	struct err err = {0};

	assert_int_equal(pki_add_signer(scratch->dir, PKI_ECDSA, "second", &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_int_equal(pki_make(scratch->dir, PKI_ECDSA, "signer", &err), 0);
	assert_int_equal(fs_replace_file(in(scratch->dir, "root.key"), "x", 1, 0600, &err), 0);
	assert_int_equal(pki_add_signer(scratch->dir, PKI_ECDSA, "second", &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_int_equal(access(in(scratch->dir, "second.key"), F_OK), -1);
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(test_pki__rsa_is_trusted),
		WITH_SCRATCH(test_pki__ecdsa_is_trusted),
		WITH_SCRATCH(test_pki__adds_a_signer_under_the_same_root),
		WITH_SCRATCH(test_pki__never_overwrites),
		WITH_SCRATCH(test_pki__refuses_names_that_leave_the_directory),
		WITH_SCRATCH(test_pki__needs_a_root_to_add_to),
	};

	return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
