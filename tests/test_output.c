/* output and dedup: complete or not at all; and the table behind repeats. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/dedup.h"
#include "image/output.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/index.h"
#include "updater/mem.h"

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

static void assert_text(const char *path, const char *text)
{
	CLEANUP(bytes_finish) struct bytes file = {0};
	struct err err = {0};

	assert_int_equal(fs_read_file(path, 100, &file, &err), 0);
	assert_string_equal((const char *)file.data, text);
}

static void test_output__appears_at_commit(void **state)
{
	struct scratch *scratch = *state;
	const char *path = scratch_path(scratch, "file");
	struct output output = OUTPUT_NONE;
	mode_t mask = umask(022);
	struct stat st;
	struct err err = {0};

	assert_int_equal(output_open(path, 0644, &output, &err), 0);
	assert_int_equal(fs_write_full(output.fd, path, "new", 3, &err), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(output_commit(&output, &err), 0);
	output_finish(&output);
	(void)umask(mask);
	assert_text(path, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(files_in(scratch->dir), 1);
}

static void test_output__without_commit_leaves_the_old_file(void **state)
{
	struct scratch *scratch = *state;
	const char *path = scratch_path(scratch, "file");
	struct output output = OUTPUT_NONE;
	struct err err = {0};

	assert_int_equal(fs_replace_file(path, "old", 3, 0600, &err), 0);
	assert_int_equal(output_open(path, 0644, &output, &err), 0);
	assert_int_equal(fs_write_full(output.fd, path, "new", 3, &err), 0);
	output_finish(&output);
	output_finish(&output); /* as often as one likes */
	output_finish(NULL);
	assert_text(path, "old");
	assert_int_equal(files_in(scratch->dir), 1);
}

static void test_output__follows_a_link(void **state)
{
	struct scratch *scratch = *state;
	const char *path = scratch_path(scratch, "file");
	const char *link_path = scratch_path(scratch, "link");
	struct output output = OUTPUT_NONE;
	struct stat st;
	struct err err = {0};

	assert_int_equal(fs_replace_file(path, "old", 3, 0600, &err), 0);
	assert_int_equal(symlink("file", link_path), 0);
	assert_int_equal(output_open(link_path, 0644, &output, &err), 0);
	assert_int_equal(fs_write_full(output.fd, path, "new", 3, &err), 0);
	assert_int_equal(output_commit(&output, &err), 0);
	output_finish(&output);
	assert_int_equal(lstat(link_path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_text(path, "new");
}

static void test_output__refuses_what_is_no_file(void **state)
{
	struct scratch *scratch = *state;
	struct output output = OUTPUT_NONE;
	struct err err = {0};

	assert_int_equal(output_open(scratch->dir, 0644, &output, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_int_equal(output_open("/dev/null", 0644, &output, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_int_equal(output_open(scratch_path(scratch, "no/file"), 0644, &output, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_int_equal(output.fd, -1);
}

static void test_output__a_spool_has_no_name(void **state)
{
	struct scratch *scratch = *state;
	CLEANUP(cleanup_fd) int fd = -1;
	struct err err = {0};

	assert_int_equal(output_spool(scratch_path(scratch, "file"), &fd, &err), 0);
	assert_int_equal(fs_write_full(fd, "spool", "data", 4, &err), 0);
	assert_int_equal(files_in(scratch->dir), 0);
}

static void test_dedup__keeps_the_first_of_each(void **state)
{
	enum { COUNT = 20000 }; /* the table grows three times */
	CLEANUP(dedup_free) struct dedup *dedup = NULL;
	uint8_t digest[INDEX_DIGEST_LEN] = {0};
	uint64_t place = 0;
	struct err err = {0};

	(void)state;
	assert_int_equal(dedup_new(&dedup, &err), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		le32_put(digest, i % 7); /* many begin alike */
		le32_put(digest + 12, i);
		assert_false(dedup_find(dedup, 100, digest, &place));
		assert_int_equal(dedup_add(dedup, 100, digest, i * 3ULL, &err), 0);
	}
	for (uint32_t i = 0; i < COUNT; i += 17) {
		le32_put(digest, i % 7);
		le32_put(digest + 12, i);
		assert_true(dedup_find(dedup, 100, digest, &place));
		assert_true(place == i * 3ULL);
		assert_false(dedup_find(dedup, 101, digest, &place));
	}
}

#define WITH_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_SCRATCH(test_output__appears_at_commit),
		WITH_SCRATCH(test_output__without_commit_leaves_the_old_file),
		WITH_SCRATCH(test_output__follows_a_link),
		WITH_SCRATCH(test_output__refuses_what_is_no_file),
		WITH_SCRATCH(test_output__a_spool_has_no_name),
		cmocka_unit_test(test_dedup__keeps_the_first_of_each),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
