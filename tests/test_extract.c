/* extract: the images come out as they went in; from a damaged or untrusted bundle, nothing. */
#include <fcntl.h>
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

#include "image/extract.h"
#include "tests/bundles.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define LIMIT ((size_t)64 << 20)

static struct bundles b;

static int setup(void **state)
{
	(void)state;
	bundles_init(&b, PKI_ECDSA);
	assert_int_equal(mkdir(bundles_path(&b, "out"), 0755), 0);
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

	if (fs_read_file(bundles_path(&b, name), LIMIT, &bytes, &err) < 0)
		fail_msg("%s", err.msg);
	return bytes;
}

static int extract(const char *name, const char *roots, struct err *err)
{
	const struct extract_options options = {
		.bundle = bundles_path(&b, name),
		.dir = bundles_path(&b, "out"),
		.trust = {.roots = roots, .threshold = 1},
	};
	CLEANUP(manifest_free) struct manifest *manifest = NULL;

	return extract_run(&options, &manifest, err);
}

static void assert_same_file(const char *a, const char *c)
{
	CLEANUP(bytes_finish) struct bytes x = read_file(a);
	CLEANUP(bytes_finish) struct bytes y = read_file(c);

	assert_int_equal(x.len, y.len);
	assert_memory_equal(x.data, y.data, x.len);
}

static void test_extract__gives_back_every_image(void **state)
{
	struct bundle_options options = bundles_options(&b);
	struct bundle_result result;
	struct stat st;
	struct err err = {0};

	(void)state;
	bundles_image(&b, "rootfs.img", (8 << 20) + 7, 1);
	bundles_image(&b, "app.img", 300000, 2);
	options.output = bundles_path(&b, "os.abide");
	options.image_count = 2;
	options.images[0] = (struct bundle_image){"rootfs", bundles_path(&b, "rootfs.img")};
	options.images[1] = (struct bundle_image){"app", bundles_path(&b, "app.img")};
	assert_int_equal(bundle_create(&options, &result, &err), 0);
	if (extract("os.abide", b.root, &err) < 0)
		fail_msg("%s", err.msg);
	assert_same_file("rootfs.img", "out/rootfs.img");
	assert_same_file("app.img", "out/app.img");
	/* Zeros are holes. */
	assert_int_equal(stat(bundles_path(&b, "out/rootfs.img"), &st), 0);
	assert_true(st.st_blocks * 512 < st.st_size * 9 / 10);
}

static void refuse(const char *name, const char *roots, enum err_code code, const char *text)
{
	struct err err = {0};

	assert_int_equal(extract(name, roots, &err), -1);
	if (err.code != code || !strstr(err.msg, text))
		fail_msg("'%s' (%s): '%s' expected", err.msg, err_code_name(err.code), text);
	/* The directory is as empty as it was. */
	assert_int_equal(rmdir(bundles_path(&b, "out")), 0);
	assert_int_equal(mkdir(bundles_path(&b, "out"), 0755), 0);
}

static void test_extract__refuses_a_stranger(void **state)
{
	struct bundles stranger;

	(void)state;
	bundles_init(&stranger, PKI_ECDSA);
	bundles_image(&b, "rootfs.img", 100000, 1);
	(void)bundles_make(&b, "os.abide", "1", 1, "rootfs.img");
	refuse("os.abide", stranger.root, FAIL_UNTRUSTED, "os.abide");
	bundles_finish(&stranger);
	refuse("os.abide", bundles_path(&b, "none.pem"), FAIL_IO, "none.pem");
	refuse("none.abide", b.root, FAIL_IO, "none.abide");
}

static void write_damaged(const struct bytes *bundle, size_t len)
{
	CLEANUP(cleanup_fd) int fd = -1;
	const char *path = bundles_path(&b, "bad.abide");
	struct err err = {0};

	assert_int_equal(fs_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, &err), 0);
	assert_int_equal(fs_write_full(fd, path, bundle->data, len, &err), 0);
}

/* 61 is prime to the tar's 512, so each kind of field is met; the sweep covers the whole file but
 * the inside of manifest.p7s, where not every byte matters (CMS has version numbers, and names
 * that are compared without case): that is test_signature's. */
static void test_extract__refuses_every_flipped_byte(void **state)
{
	CLEANUP(bytes_finish) struct bytes bundle = {0};
	const uint8_t *p7s;
	size_t tried = 0;

	(void)state;
	bundles_image(&b, "rootfs.img", 250000, 1);
	(void)bundles_make(&b, "os.abide", "1", 1, "rootfs.img");
	bundle = read_file("os.abide");
	p7s = memmem(bundle.data, bundle.len, "manifest.p7s", 12);
	assert_non_null(p7s);
	for (size_t i = 0; i < bundle.len; i += 61) {
		if (bundle.data + i >= p7s + 512 && bundle.data + i < p7s + 2 * 512 + 512)
			continue;
		bundle.data[i] ^= 1;
		write_damaged(&bundle, bundle.len);
		refuse("bad.abide", b.root, FAIL_UNTRUSTED, "");
		bundle.data[i] ^= 1;
		tried++;
	}
	assert_true(tried > 500);
}

static void test_extract__refuses_a_truncated_bundle(void **state)
{
	CLEANUP(bytes_finish) struct bytes bundle = {0};

	(void)state;
	bundles_image(&b, "rootfs.img", 30000, 1);
	(void)bundles_make(&b, "os.abide", "1", 1, "rootfs.img");
	bundle = read_file("os.abide");
	for (size_t len = 0; len < bundle.len; len += 256) {
		write_damaged(&bundle, len);
		refuse("bad.abide", b.root, FAIL_UNTRUSTED, "");
	}
}

static void test_extract__needs_its_directory(void **state)
{
	struct err err = {0};

	(void)state;
	bundles_image(&b, "rootfs.img", 1000, 1);
	(void)bundles_make(&b, "os.abide", "1", 1, "rootfs.img");
	assert_int_equal(rmdir(bundles_path(&b, "out")), 0);
	assert_int_equal(extract("os.abide", b.root, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
}

#define WITH_BUNDLES(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_BUNDLES(test_extract__gives_back_every_image),
		WITH_BUNDLES(test_extract__refuses_a_stranger),
		WITH_BUNDLES(test_extract__refuses_every_flipped_byte),
		WITH_BUNDLES(test_extract__refuses_a_truncated_bundle),
		WITH_BUNDLES(test_extract__needs_its_directory),
	};

	return cmocka_run_group_tests_name("extract", tests, NULL, NULL);
}
