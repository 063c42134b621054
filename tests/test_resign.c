/* resign and contents: another signature, the same artifact; and what a bundle says of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/contents.h"
#include "image/extract.h"
#include "image/resign.h"
#include "tests/bundles.h"
#include "updater/fs.h"
#include "updater/mem.h"

static struct bundles b;
static struct bundle_result made; /* os.abide */

static int setup(void **state)
{
	struct err err = {0};

	(void)state;
	bundles_init(&b, PKI_ECDSA);
	bundles_image(&b, "rootfs.img", 3 << 20, 1);
	made = bundles_make(&b, "os.abide", "1", 7, "rootfs.img");
	assert_int_equal(pki_add_signer(b.dir, PKI_RSA, "second", &err), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bundles_finish(&b);
	return 0;
}

static struct bytes read_file(const char *name)
{
	struct bytes bytes = {0};
	struct err err = {0};

	assert_int_equal(fs_read_file(bundles_path(&b, name), 64 << 20, &bytes, &err), 0);
	return bytes;
}

static struct resign_options second_signer(void)
{
	return (struct resign_options){
		.bundle = bundles_path(&b, "os.abide"),
		.key = bundles_path(&b, "second.key"),
		.cert = bundles_path(&b, "second.pem"),
	};
}

static int extract(const char *name, unsigned int threshold, struct err *err)
{
	const struct extract_options options = {
		.bundle = bundles_path(&b, name),
		.dir = b.dir,
		.trust = {.roots = b.root, .threshold = threshold},
	};
	CLEANUP(manifest_free) struct manifest *manifest = NULL;

	return extract_run(&options, &manifest, err);
}

static struct contents *contents_of(const char *name)
{
	struct contents *contents = NULL;
	struct err err = {0};

	if (contents_read(bundles_path(&b, name), &contents, &err) < 0)
		fail_msg("%s", err.msg);
	return contents;
}

static void test_resign__adds_a_signer_in_place(void **state)
{
	CLEANUP(contents_free) struct contents *contents = NULL;
	struct resign_options options = second_signer();
	struct digest id;
	struct err err = {0};

	(void)state;
	assert_int_equal(extract("os.abide", 2, &err), -1);
	assert_int_equal(resign_run(&options, &id, &err), 0);
	assert_true(digest_equal(&id, &made.id));
	if (extract("os.abide", 2, &err) < 0)
		fail_msg("%s", err.msg);
	contents = contents_of("os.abide");
	assert_int_equal(contents->signers.count, 2);
	assert_true(digest_equal(&contents->id, &made.id));
}

/* Everything after the signature is the same, byte for byte. */
static void test_resign__touches_nothing_else(void **state)
{
	CLEANUP(bytes_finish) struct bytes before = read_file("os.abide");
	CLEANUP(bytes_finish) struct bytes after = {0};
	struct resign_options options = second_signer();
	const uint8_t *old_index;
	const uint8_t *new_index;
	struct digest id;
	struct err err = {0};

	(void)state;
	options.output = bundles_path(&b, "two.abide");
	assert_int_equal(resign_run(&options, &id, &err), 0);
	after = read_file("two.abide");
	old_index = memmem(before.data, before.len, "rootfs.index", 12);
	new_index = memmem(after.data, after.len, "rootfs.index", 12);
	assert_non_null(old_index);
	assert_non_null(new_index);
	assert_int_equal(before.data + before.len - old_index, after.data + after.len - new_index);
	assert_memory_equal(old_index, new_index, (size_t)(before.data + before.len - old_index));
}

static void test_resign__replaces_the_signers(void **state)
{
	CLEANUP(contents_free) struct contents *contents = NULL;
	struct resign_options options = second_signer();
	struct digest id;
	struct err err = {0};

	(void)state;
	options.replace = true;
	assert_int_equal(resign_run(&options, &id, &err), 0);
	contents = contents_of("os.abide");
	assert_int_equal(contents->signers.count, 1);
	assert_non_null(strstr(contents->signers.name[0], "second"));
	/* As often as one likes. */
	assert_int_equal(resign_run(&options, &id, &err), 0);
	assert_true(digest_equal(&id, &made.id));
}

static void test_resign__a_refusal_changes_nothing(void **state)
{
	CLEANUP(bytes_finish) struct bytes before = read_file("os.abide");
	CLEANUP(bytes_finish) struct bytes after = {0};
	struct resign_options options = second_signer();
	struct digest id;
	struct err err = {0};

	(void)state;
	options.key = b.key;
	options.cert = b.cert;
	assert_int_equal(resign_run(&options, &id, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
	options.key = bundles_path(&b, "root.key");
	assert_int_equal(resign_run(&options, &id, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	after = read_file("os.abide");
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, before.len);
}

static void damage(const char *needle, size_t after)
{
	CLEANUP(bytes_finish) struct bytes bundle = read_file("os.abide");
	uint8_t *at = memmem(bundle.data, bundle.len, needle, strlen(needle));
	struct err err = {0};

	assert_non_null(at);
	at[after] ^= 1;
	assert_int_equal(
		fs_replace_file(bundles_path(&b, "os.abide"), bundle.data, bundle.len, 0600, &err),
		0);
}

static void refuse(const char *text)
{
	CLEANUP(contents_free) struct contents *contents = NULL;
	struct resign_options options = second_signer();
	struct digest id;
	struct err err = {0};

	options.replace = true;
	assert_int_equal(resign_run(&options, &id, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, text));
	assert_int_equal(contents_read(options.bundle, &contents, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, text));
}

static void test_resign__signs_no_other_index(void **state)
{
	(void)state;
	damage("ABIDEIDX", 30);
	refuse("rootfs.index");
}

static void test_resign__signs_no_broken_store(void **state)
{
	(void)state;
	damage("ABIDESTO", 12);
	refuse("rootfs.store");
}

static void test_contents__counts_what_is_in_it(void **state)
{
	CLEANUP(contents_free) struct contents *contents = contents_of("os.abide");
	CLEANUP(cleanup_free) char *json = NULL;
	struct err err = {0};

	(void)state;
	assert_string_equal(contents->manifest->version, "1");
	assert_true(contents->manifest->security_version == 7);
	for (int e = 0; e < 4; e++) {
		assert_int_equal(contents->images[0].stats.chunks[e], made.stats[0].chunks[e]);
		assert_true(contents->images[0].stats.plain[e] == made.stats[0].plain[e]);
	}
	assert_true(contents->images[0].stats.stored == made.stats[0].stored);
	assert_int_equal(contents_json(contents, &json, &err), 0);
	assert_non_null(strstr(json, "\"verified\": false"));
	assert_non_null(strstr(json, "\"security_version\": 7"));
	assert_non_null(strstr(json, "CN=abide development signer"));
}

#define WITH_BUNDLES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BUNDLES(test_resign__adds_a_signer_in_place),
		WITH_BUNDLES(test_resign__touches_nothing_else),
		WITH_BUNDLES(test_resign__replaces_the_signers),
		WITH_BUNDLES(test_resign__a_refusal_changes_nothing),
		WITH_BUNDLES(test_resign__signs_no_other_index),
		WITH_BUNDLES(test_resign__signs_no_broken_store),
		WITH_BUNDLES(test_contents__counts_what_is_in_it),
	};

	return cmocka_run_group_tests_name("resign", tests, NULL, NULL);
}
