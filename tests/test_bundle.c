/* bundle: what is written is what was asked for, signed, reproducible, and nothing on failure. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "tests/bundles.h"
#include "updater/carrier/store.h"
#include "updater/fs.h"
#include "updater/index.h"
#include "updater/mem.h"
#include "updater/signature.h"

#define LIMIT ((size_t)64 << 20)
#define SIZE  ((size_t)3 << 20)

static struct bundles b;

static int setup(void **state)
{
	(void)state;
	bundles_init(&b, PKI_RSA);
	bundles_image(&b, "rootfs.img", SIZE + 12345, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bundles_finish(&b);
	return 0;
}

static struct bytes read_all(const char *name)
{
	struct bytes bytes = {0};
	struct err err = {0};

	if (fs_read_file(bundles_path(&b, name), LIMIT, &bytes, &err) < 0)
		fail_msg("%s", err.msg);
	return bytes;
}

static bool exists(const char *name)
{
	return access(bundles_path(&b, name), F_OK) == 0;
}

static size_t files_in(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

/* A member of a plain ustar file, found by hand. */
static struct bytes member(const struct bytes *tar, const char *name)
{
	size_t at = 0;

	while (at + 512 <= tar->len && tar->data[at]) {
		char text[101] = {0};
		size_t size;

		memcpy(text, tar->data + at, 100);
		size = strtoul((const char *)tar->data + at + 124, NULL, 8);
		assert_memory_equal(tar->data + at + 257, "ustar", 5);
		if (strcmp(text, name) == 0)
			return (struct bytes){.data = tar->data + at + 512, .len = size};
		at += 512 + (size + 511) / 512 * 512;
	}
	fail_msg("no member %s", name);
	return (struct bytes){0};
}

static struct trusted *verified(const struct bytes *tar)
{
	struct trust trust = {.roots = b.root, .threshold = 1};
	struct bytes inside = member(tar, "manifest.json");
	struct bytes signature = member(tar, "manifest.p7s");
	struct bytes manifest = {0};
	struct trusted *trusted = NULL;
	struct err err = {0};

	assert_int_equal(bytes_copy(inside.data, inside.len, &manifest, &err), 0);
	if (signature_verify(&trust, &manifest, &signature, &trusted, &err) < 0)
		fail_msg("%s", err.msg);
	return trusted;
}

static struct index *index_of(const struct bytes *tar, const struct manifest_image *image)
{
	char name[64];
	struct bytes inside;
	struct bytes copy = {0};
	struct digest digest;
	struct index *index = NULL;
	struct err err = {0};

	(void)snprintf(name, sizeof(name), "%s.index", image->class);
	inside = member(tar, name);
	assert_int_equal(inside.len, image->index_size);
	assert_int_equal(digest_once(inside.data, inside.len, &digest, &err), 0);
	assert_true(digest_equal(&digest, &image->index_sha256));
	assert_int_equal(bytes_copy(inside.data, inside.len, &copy, &err), 0);
	if (index_parse(&copy, image->size, &index, &err) < 0)
		fail_msg("%s", err.msg);
	return index;
}

/* The first chunk that is the same as chunk i. */
static uint32_t first_same(const struct index *index, uint32_t i)
{
	uint32_t k = 0;

	while (index_length(index, k) != index_length(index, i) ||
		memcmp(index_digest(index, k), index_digest(index, i), INDEX_DIGEST_LEN) != 0)
		k++;
	return k;
}

/* Puts an image together from index, store and data, by the words of the formats. */
static struct bytes unpack(const struct bytes *tar, const struct manifest_image *image)
{
	char name[64];
	struct index *index = index_of(tar, image);
	struct store *store = NULL;
	struct bytes data;
	struct bytes copy = {0};
	struct bytes out = {.data = calloc(1, image->size), .len = image->size};
	size_t *offset = calloc(index_count(index) + 1, sizeof(*offset));
	size_t in = 0;
	struct err err = {0};

	assert_non_null(offset);
	(void)snprintf(name, sizeof(name), "%s.store", image->class);
	data = member(tar, name);
	assert_int_equal(bytes_copy(data.data, data.len, &copy, &err), 0);
	assert_int_equal(store_parse(&copy, index, &store, &err), 0);
	(void)snprintf(name, sizeof(name), "%s.data", image->class);
	data = member(tar, name);
	assert_int_equal(data.len, store_data_size(store));
	for (uint32_t i = 0; i < index_count(index); i++) {
		size_t len = index_length(index, i);
		uint8_t *to = out.data + offset[i];
		uint32_t first;

		switch (store_encoding(store, i)) {
		case STORE_ZERO:
			break;
		case STORE_SAME:
			first = first_same(index, i);
			assert_true(first < i);
			memcpy(to, out.data + offset[first], len);
			break;
		case STORE_RAW:
			memcpy(to, data.data + in, len);
			break;
		case STORE_ZSTD:
			assert_int_equal(
				ZSTD_decompress(to, len, data.data + in, store_length(store, i)),
				len);
			break;
		case STORE_BASE:
		case STORE_PATCH:
			fail_msg("a full bundle has no chunks of a delta");
		}
		in += store_length(store, i);
		offset[i + 1] = offset[i] + len;
	}
	free(offset);
	store_free(&store);
	index_free(&index);
	return out;
}

static void assert_file_is(const char *name, const struct bytes *bytes)
{
	CLEANUP(bytes_finish) struct bytes file = read_all(name);

	assert_int_equal(file.len, bytes->len);
	assert_memory_equal(file.data, bytes->data, file.len);
}

static void test_bundle__holds_the_image(void **state)
{
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	CLEANUP(bytes_finish) struct bytes tar = {0};
	CLEANUP(bytes_finish) struct bytes out = {0};
	struct bundle_result result;
	struct err err = {0};

	(void)state;
	result = bundles_make(&b, "os.abide", "2.1.0", 7, "rootfs.img");
	tar = read_all("os.abide");
	trusted = verified(&tar);
	assert_true(digest_equal(trusted_id(trusted), &result.id));
	assert_int_equal(manifest_parse(trusted, &manifest, &err), 0);
	assert_string_equal(manifest->version, "2.1.0");
	assert_string_equal(manifest->compatible, BUNDLES_COMPATIBLE);
	assert_string_equal(manifest->created, "2023-11-14T22:13:20Z");
	assert_true(manifest->security_version == 7);
	assert_int_equal(result.size, tar.len);
	out = unpack(&tar, &manifest->images[0]);
	assert_file_is("rootfs.img", &out);
	/* The test image has something for every encoding. */
	for (int i = 0; i < 4; i++)
		assert_int_not_equal(result.stats[0].chunks[i], 0);
	assert_int_equal(files_in(b.dir), 6); /* 4 of the PKI, image, bundle: nothing else */
}

static void test_bundle__members_are_in_order(void **state)
{
	static const char *const NAMES[] = {"manifest.json", "manifest.p7s", "rootfs.index",
		"app.index", "rootfs.store", "app.store", "rootfs.data", "app.data"};
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	CLEANUP(bytes_finish) struct bytes tar = {0};
	CLEANUP(bytes_finish) struct bytes out = {0};
	struct bundle_options options = bundles_options(&b);
	struct bundle_result result;
	const uint8_t *before = NULL;
	struct err err = {0};

	(void)state;
	bundles_image(&b, "app.img", 100, 2);
	options.output = bundles_path(&b, "two.abide");
	options.image_count = 2;
	options.images[0] = (struct bundle_image){"rootfs", bundles_path(&b, "rootfs.img")};
	options.images[1] = (struct bundle_image){"app", bundles_path(&b, "app.img")};
	options.hardware_count = 2;
	options.hardware[0] = "rev-b";
	options.hardware[1] = "rev-c";
	options.description = "free \"text\"";
	options.source = "git:4f1c0d2";
	assert_int_equal(bundle_create(&options, &result, &err), 0);
	tar = read_all("two.abide");
	for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
		struct bytes found = member(&tar, NAMES[i]);

		assert_true(before < found.data);
		before = found.data;
	}
	trusted = verified(&tar);
	assert_int_equal(manifest_parse(trusted, &manifest, &err), 0);
	assert_int_equal(manifest->hardware_count, 2);
	assert_string_equal(manifest->hardware[1], "rev-c");
	assert_string_equal(manifest->description, "free \"text\"");
	assert_string_equal(manifest->source, "git:4f1c0d2");
	out = unpack(&tar, &manifest->images[1]);
	assert_file_is("app.img", &out);
}

static void test_bundle__same_inputs_give_the_same_bytes(void **state)
{
	static const unsigned int THREADS[] = {1, 2, 7};
	CLEANUP(bytes_finish) struct bytes first = {0};
	struct bundle_options options = bundles_options(&b);
	struct bundle_result result;
	struct err err = {0};

	(void)state;
	bundles_image(&b, "large.img", 40 << 20, 3);
	options.image_count = 1;
	options.images[0] = (struct bundle_image){"rootfs", bundles_path(&b, "large.img")};
	for (size_t i = 0; i < ARRAY_LEN(THREADS); i++) {
		options.output = bundles_path(&b, "again.abide");
		options.threads = THREADS[i];
		assert_int_equal(bundle_create(&options, &result, &err), 0);
		if (i == 0)
			first = read_all("again.abide");
		else
			assert_file_is("again.abide", &first);
	}
}

static void test_bundle__replaces_what_was_there(void **state)
{
	CLEANUP(bytes_finish) struct bytes tar = {0};
	struct err err = {0};

	(void)state;
	assert_int_equal(fs_replace_file(bundles_path(&b, "os.abide"), "old", 3, 0600, &err), 0);
	(void)bundles_make(&b, "os.abide", "1", 1, "rootfs.img");
	tar = read_all("os.abide");
	assert_true(tar.len > 512);
}

static void test_bundle__one_byte_image(void **state)
{
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	CLEANUP(bytes_finish) struct bytes tar = {0};
	CLEANUP(bytes_finish) struct bytes out = {0};
	struct err err = {0};

	(void)state;
	bundles_image(&b, "tiny.img", 1, 1);
	(void)bundles_make(&b, "tiny.abide", "1", 1, "tiny.img");
	tar = read_all("tiny.abide");
	trusted = verified(&tar);
	assert_int_equal(manifest_parse(trusted, &manifest, &err), 0);
	out = unpack(&tar, &manifest->images[0]);
	assert_file_is("tiny.img", &out);
}

/* 300 MiB of nothing: maximal zero chunks, no data, and no time. */
static void test_bundle__an_image_of_zeros_costs_nothing(void **state)
{
	struct bundle_result result;

	(void)state;
	bundles_image(&b, "zeros.img", 0, 1);
	assert_int_equal(truncate(bundles_path(&b, "zeros.img"), 300 << 20), 0);
	result = bundles_make(&b, "zeros.abide", "1", 1, "zeros.img");
	assert_int_equal(result.stats[0].chunks[STORE_ZERO], 300 * 4);
	assert_true(result.stats[0].stored == 0);
	assert_true(result.size < 64 << 10);
}

/* Fails with `code` and `text`; no output, nothing beside it. */
static void refuse(const struct bundle_options *options, enum err_code code, const char *text)
{
	struct bundle_options copy = *options;
	struct bundle_result result;
	size_t before = files_in(b.dir);
	struct err err = {0};

	if (!copy.output)
		copy.output = bundles_path(&b, "refused.abide");
	assert_int_equal(bundle_create(&copy, &result, &err), -1);
	if (!strstr(err.msg, text))
		fail_msg("'%s' does not say '%s'", err.msg, text);
	assert_int_equal(err.code, code);
	assert_false(exists("refused.abide"));
	assert_int_equal(files_in(b.dir), before);
}

static struct bundle_options good_options(void)
{
	struct bundle_options options = bundles_options(&b);

	options.image_count = 1;
	options.images[0] = (struct bundle_image){"rootfs", bundles_path(&b, "rootfs.img")};
	return options;
}

static void test_bundle__refuses_bad_names(void **state)
{
	static char text[MANIFEST_TEXT_MAX + 2];
	struct bundle_options options = good_options();

	(void)state;
	options.version = NULL;
	refuse(&options, FAIL_USAGE, "--version is missing");
	options.version = "";
	refuse(&options, FAIL_USAGE, "--version ''");
	options.version = "1\n2";
	refuse(&options, FAIL_USAGE, "--version");
	options = good_options();
	options.compatible = "0123456789012345678901234567890123456789012345678901234567890123x";
	refuse(&options, FAIL_USAGE, "--compatible");
	options = good_options();
	memset(text, 'x', MANIFEST_TEXT_MAX + 1);
	options.description = text;
	refuse(&options, FAIL_USAGE, "--description has 1025 bytes");
	options.description = "\xff";
	refuse(&options, FAIL_USAGE, "not UTF-8");
	options = good_options();
	options.security_version = MANIFEST_NUMBER_MAX + 1;
	refuse(&options, FAIL_USAGE, "--security-version");
}

static void test_bundle__refuses_bad_lists(void **state)
{
	struct bundle_options options = good_options();

	(void)state;
	options.image_count = 0;
	refuse(&options, FAIL_USAGE, "0 images");
	options = good_options();
	options.image_count = 2;
	options.images[1] = options.images[0];
	refuse(&options, FAIL_USAGE, "'rootfs' is given twice");
	options.images[1].class = "Root/fs";
	refuse(&options, FAIL_USAGE, "image class 'Root/fs'");
	options = good_options();
	options.hardware_count = MANIFEST_HARDWARE_MAX + 1;
	refuse(&options, FAIL_USAGE, "--hardware is given 17 times");
	options.hardware_count = 2;
	options.hardware[0] = options.hardware[1] = "rev-a";
	refuse(&options, FAIL_USAGE, "'rev-a' is given twice");
}

static void test_bundle__refuses_bad_image_files(void **state)
{
	struct bundle_options options = good_options();

	(void)state;
	options.images[0].path = bundles_path(&b, "nowhere.img");
	refuse(&options, FAIL_IO, "nowhere.img': No such file");
	options.images[0].path = b.dir;
	refuse(&options, FAIL_USAGE, "is a directory");
	bundles_image(&b, "empty.img", 0, 1);
	options.images[0].path = bundles_path(&b, "empty.img");
	refuse(&options, FAIL_USAGE, "is empty");
}

static void test_bundle__refuses_bad_outputs(void **state)
{
	struct bundle_options options = good_options();
	struct stat st;

	(void)state;
	options.output = bundles_path(&b, "no/such/dir.abide");
	refuse(&options, FAIL_IO, "No such file");
	options.output = b.dir;
	refuse(&options, FAIL_USAGE, "not a plain file");
	options.output = "/dev/null";
	refuse(&options, FAIL_USAGE, "'/dev/null' is there and is not a plain file");
	assert_int_equal(stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
}

static void test_bundle__stops_on_a_signal(void **state)
{
	struct bundle_options options = good_options();
	sig_atomic_t interrupted = 1;

	(void)state;
	options.interrupted = &interrupted;
	refuse(&options, FAIL_INTERRUPTED, "stopped");
}

static void test_bundle__a_full_disk_leaves_nothing(void **state)
{
	struct bundle_options options = good_options();
	const char *disk = bundles_path(&b, "disk");
	char *output = NULL;

	(void)state;
	assert_int_equal(mkdir(disk, 0755), 0);
	if (mount("none", disk, "tmpfs", 0, "size=256k") < 0)
		skip();
	assert_true(asprintf(&output, "%s/os.abide", disk) > 0);
	options.output = output;
	refuse(&options, FAIL_SPACE, "No space left");
	assert_int_equal(files_in(disk), 0);
	free(output);
	assert_int_equal(umount(disk), 0);
}

static int teardown_disk(void **state)
{
	(void)umount(bundles_path(&b, "disk")); /* if the test failed half-way */
	return teardown(state);
}

#define WITH_BUNDLES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BUNDLES(test_bundle__holds_the_image),
		WITH_BUNDLES(test_bundle__members_are_in_order),
		WITH_BUNDLES(test_bundle__same_inputs_give_the_same_bytes),
		WITH_BUNDLES(test_bundle__replaces_what_was_there),
		WITH_BUNDLES(test_bundle__one_byte_image),
		WITH_BUNDLES(test_bundle__an_image_of_zeros_costs_nothing),
		WITH_BUNDLES(test_bundle__refuses_bad_names),
		WITH_BUNDLES(test_bundle__refuses_bad_lists),
		WITH_BUNDLES(test_bundle__refuses_bad_image_files),
		WITH_BUNDLES(test_bundle__refuses_bad_outputs),
		WITH_BUNDLES(test_bundle__stops_on_a_signal),
		cmocka_unit_test_setup_teardown(
			test_bundle__a_full_disk_leaves_nothing, setup, teardown_disk),
	};

	return cmocka_run_group_tests_name("bundle", tests, NULL, NULL);
}
