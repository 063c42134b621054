/* container: exactly a bundle's members, in their order, whole; anything else is said to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "tests/tars.h"
#include "updater/carrier/container.h"

/* ---- a source in memory ---- */

struct memory {
	struct source base;
	const uint8_t *data;
	size_t len;
	size_t at;
	size_t step; /* bytes in one read at most */
	size_t fail_at; /* reading from here on fails */
	bool can_skip;
	uint64_t skipped;
};

static int memory_read(
	struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	struct memory *m = (struct memory *)source;
	size_t n = m->len - m->at;

	if (m->at >= m->fail_at)
		return err_set(err, FAIL_NETWORK, "'memory': gone");
	n = n < cap ? n : cap;
	n = n < m->step ? n : m->step;
	memcpy(buf, m->data + m->at, n);
	m->at += n;
	*ret_len = n;
	return 0;
}

static int memory_skip(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err)
{
	struct memory *m = (struct memory *)source;
	uint64_t left = m->len - m->at;

	(void)err;
	if (!m->can_skip)
		return 0;
	*ret_len = len < left ? len : left;
	m->at += (size_t)*ret_len;
	m->skipped += *ret_len;
	return 0;
}

static void memory_free(struct source *source)
{
	(void)source;
}

static const struct source_ops MEMORY = {memory_read, memory_skip, NULL, memory_free};

static struct memory memory_of(const void *data, size_t len)
{
	return (struct memory){
		.base = {.ops = &MEMORY, .name = "memory"},
		.data = data,
		.len = len,
		.step = 1000, /* reads that end anywhere */
		.fail_at = SIZE_MAX,
	};
}

/* ---- reading whole containers ---- */

static struct sample sample;
static struct tars good;

static int group_setup(void **state)
{
	(void)state;
	sample_init(&sample);
	sample_tar(&sample, &good);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	tars_finish(&good);
	sample_finish(&sample);
	return 0;
}

enum how {
	READ,
	SKIP,
};

/* All members to the end. 0, or -1 with err. */
static int walk(struct memory *memory, enum how how, size_t *ret_members, struct err *err)
{
	CLEANUP(container_free) struct container *container = NULL;
	struct member member = {0};

	*ret_members = 0;
	assert_int_equal(container_new(&memory->base, &container, err), 0);
	for (;;) {
		CLEANUP(bytes_finish) struct bytes all = {0};

		if (container_next(container, &member, err) < 0)
			return -1;
		if (member.kind == MEMBER_KIND_END)
			return 0;
		(*ret_members)++;
		if (how == READ &&
			container_read_all(container, &member, member.size, &all, err) < 0)
			return -1;
	}
}

static void expect_refused(const struct tars *tar, const char *text)
{
	struct memory memory = memory_of(tar->data, tar->len);
	struct err err = {0};
	size_t members;

	assert_int_equal(walk(&memory, SKIP, &members, &err), -1);
	if (!strstr(err.msg, text))
		fail_msg("'%s' is not in: %s", text, err.msg);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "'memory'"));
}

static void test_container__reads_what_was_packed(void **state)
{
	static const size_t STEPS[] = {1, 511, 512, 100000, SIZE_MAX};
	CLEANUP(bytes_finish) struct bytes all = {0};
	struct member member;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(STEPS); i++) {
		CLEANUP(container_free) struct container *container = NULL;
		struct memory memory = memory_of(good.data, good.len);
		const struct bytes *expected[] = {&sample.index_raw[0], &sample.index_raw[1],
			&sample.store[0], &sample.store[1], &sample.data[0], &sample.data[1]};

		memory.step = STEPS[i];
		assert_int_equal(container_new(&memory.base, &container, &err), 0);
		assert_int_equal(container_next(container, &member, &err), 0);
		assert_int_equal(member.kind, MEMBER_KIND_MANIFEST);
		assert_int_equal(container_read_all(container, &member, 1000, &all, &err), 0);
		assert_memory_equal(all.data, SAMPLE_MANIFEST, strlen(SAMPLE_MANIFEST));
		bytes_finish(&all);
		assert_int_equal(container_next(container, &member, &err), 0);
		assert_int_equal(member.kind, MEMBER_KIND_SIGNATURE);
		for (size_t k = 0; k < ARRAY_LEN(expected); k++) {
			assert_int_equal(container_next(container, &member, &err), 0);
			assert_int_equal(member.kind, MEMBER_KIND_INDEX + k / 2);
			assert_string_equal(member.class, sample.class[k % 2]);
			assert_int_equal(
				container_read_all(container, &member, 1u << 30, &all, &err), 0);
			assert_int_equal(all.len, expected[k]->len);
			assert_memory_equal(all.data, expected[k]->data, all.len);
			bytes_finish(&all);
		}
		assert_int_equal(container_next(container, &member, &err), 0);
		assert_int_equal(member.kind, MEMBER_KIND_END);
	}
}

static void test_container__borrows_and_skips_within_a_member(void **state)
{
	for (int can_skip = 0; can_skip < 2; can_skip++) {
		CLEANUP(container_free) struct container *container = NULL;
		struct memory memory = memory_of(good.data, good.len);
		const uint8_t *got = NULL;
		struct member member = {0};
		struct err err;
		uint64_t left;

		(void)state;
		memory.can_skip = can_skip;
		assert_int_equal(container_new(&memory.base, &container, &err), 0);
		while (member.kind != MEMBER_KIND_DATA)
			assert_int_equal(container_next(container, &member, &err), 0);
		left = member.size - 100 - 200000 - 7;
		assert_int_equal(container_skip(container, 100, &err), 0);
		assert_int_equal(container_borrow(container, 200000, &got, &err), 0);
		assert_memory_equal(got, sample.data[0].data + 100, 200000);
		assert_int_equal(container_skip(container, left, &err), 0);
		assert_int_equal(container_borrow(container, 7, &got, &err), 0);
		assert_memory_equal(got, sample.data[0].data + member.size - 7, 7);
		assert_int_equal(container_borrow(container, 1, &got, &err), -1);
		assert_int_equal(err.code, FAIL_UNTRUSTED);
		assert_int_equal(container_skip(container, 1, &err), -1);
		assert_int_equal(container_next(container, &member, &err), 0);
		assert_string_equal(member.name, "app.data");
		assert_true((memory.skipped > 0) == (can_skip != 0));
	}
}

static void test_container__no_cut_goes_unnoticed(void **state)
{
	struct err err;
	size_t members;

	(void)state;
	/* Each boundary, and some place inside each: headers, padding and the end included. */
	for (size_t cut = 0; cut < good.len; cut += cut % 512 == 0 ? 1
						    : cut % 512 == 1
							    ? 255
							    : 256 + 512 * (scratch_every() - 1))
		for (enum how how = READ; how <= SKIP; how++)
			for (int can_skip = 0; can_skip < 2; can_skip++) {
				struct memory memory = memory_of(good.data, cut);

				memory.step = SIZE_MAX;
				memory.can_skip = can_skip;
				if (walk(&memory, how, &members, &err) == 0)
					fail_msg(
						"cut at %zu of %zu was not noticed", cut, good.len);
				assert_int_equal(err.code, FAIL_UNTRUSTED);
				if (!strstr(err.msg, "truncated"))
					fail_msg("cut at %zu: %s", cut, err.msg);
			}
}

static void test_container__a_broken_source_is_not_a_truncated_bundle(void **state)
{
	struct err err;
	size_t members;

	(void)state;
	for (size_t at = 0; at < good.len; at += 1777) {
		struct memory memory = memory_of(good.data, good.len);

		memory.fail_at = at;
		assert_int_equal(walk(&memory, READ, &members, &err), -1);
		assert_int_equal(err.code, FAIL_NETWORK);
		assert_string_equal(err.msg, "'memory': gone");
	}
}

static void test_container__nothing_may_follow_the_end(void **state)
{
	struct tars tar = {0};
	static const uint8_t ZEROS[20 * TARS_BLOCK];
	struct memory memory;
	struct err err;
	size_t members;

	(void)state;
	sample_tar(&sample, &tar);
	tars_bytes(&tar, ZEROS, sizeof(ZEROS));
	memory = memory_of(tar.data, tar.len);
	assert_int_equal(walk(&memory, READ, &members, &err), 0);
	assert_int_equal(members, 8);
	tars_bytes(&tar, "x", 1);
	expect_refused(&tar, "after the end");
	tars_finish(&tar);

	sample_tar(&sample, &tar);
	sample_tar(&sample, &tar);
	expect_refused(&tar, "after the end");
	tars_finish(&tar);
}

static void test_container__an_end_of_one_block_is_truncated(void **state)
{
	struct tars tar = {0};

	(void)state;
	sample_tar(&sample, &tar);
	tar.len -= TARS_BLOCK;
	expect_refused(&tar, "truncated");
	tars_finish(&tar);
}

static void test_container__padding_is_zero(void **state)
{
	struct tars tar = {0};

	(void)state;
	sample_tar(&sample, &tar);
	tar.data[2 * TARS_BLOCK - 1] = 1; /* behind the manifest */
	expect_refused(&tar, "other than zero");
	tars_finish(&tar);
}

/* Small members of plausible size. */
static void add(struct tars *tar, const char *name)
{
	uint8_t content[32] = {0};

	tars_add(tar, name, content, sizeof(content));
}

static void expect_order(const char *const names[], const char *text)
{
	struct tars tar = {0};

	for (size_t i = 0; names[i]; i++)
		add(&tar, names[i]);
	tars_end(&tar);
	expect_refused(&tar, text);
	tars_finish(&tar);
}

#define ORDER(text, ...) expect_order((const char *const[]){__VA_ARGS__, NULL}, text)

static void test_container__members_missing(void **state)
{
	struct tars tar = {0};

	(void)state;
	tars_end(&tar);
	expect_refused(&tar, "'manifest.json' is missing");
	tars_finish(&tar);
	ORDER("'manifest.p7s' stands where 'manifest.json' was expected", "manifest.p7s");
	ORDER("'manifest.p7s' is missing", "manifest.json");
	ORDER("'a.index' stands where 'manifest.p7s'", "manifest.json", "a.index");
	ORDER("'CLASS.index' is missing", "manifest.json", "manifest.p7s");
	ORDER("'a.store' stands where 'CLASS.index'", "manifest.json", "manifest.p7s", "a.store");
	ORDER("'a.store' is missing", "manifest.json", "manifest.p7s", "a.index");
	ORDER("'a.data' stands where 'a.store'", "manifest.json", "manifest.p7s", "a.index",
		"a.data");
	ORDER("'a.data' is missing", "manifest.json", "manifest.p7s", "a.index", "a.store");
	ORDER("'b.store' is missing", "manifest.json", "manifest.p7s", "a.index", "b.index",
		"a.store");
	ORDER("'b.data' is missing", "manifest.json", "manifest.p7s", "a.index", "b.index",
		"a.store", "b.store", "a.data");
}

static void test_container__members_twice(void **state)
{
	(void)state;
	ORDER("'manifest.json' is there twice", "manifest.json", "manifest.json");
	ORDER("'manifest.json' is there twice", "manifest.json", "manifest.p7s", "a.index",
		"manifest.json");
	ORDER("'manifest.p7s' is there twice", "manifest.json", "manifest.p7s", "manifest.p7s");
	ORDER("'a.index' is there twice", "manifest.json", "manifest.p7s", "a.index", "a.index");
	ORDER("'a.index' is there twice", "manifest.json", "manifest.p7s", "a.index", "a.store",
		"a.index");
	ORDER("'a.store' is there twice", "manifest.json", "manifest.p7s", "a.index", "b.index",
		"a.store", "a.store");
	ORDER("'a.data' is there twice", "manifest.json", "manifest.p7s", "a.index", "a.store",
		"a.data", "a.data");
}

static void test_container__members_out_of_order_or_unknown(void **state)
{
	(void)state;
	ORDER("'b.store' stands where 'a.store'", "manifest.json", "manifest.p7s", "a.index",
		"b.index", "b.store");
	ORDER("'b.data' stands where 'a.data'", "manifest.json", "manifest.p7s", "a.index",
		"b.index", "a.store", "b.store", "b.data");
	ORDER("'b.index' stands where 'a.data'", "manifest.json", "manifest.p7s", "a.index",
		"a.store", "b.index");
	ORDER("'README' stands where 'manifest.json'", "README", "manifest.json");
	ORDER("'x' stands where the end", "manifest.json", "manifest.p7s", "a.index", "a.store",
		"a.data", "x");
	ORDER("stands where", "./manifest.json");
	ORDER("stands where", "/manifest.json");
	ORDER("stands where", "manifest.json", "manifest.p7s", "../a.index");
	ORDER("stands where", "manifest.json", "manifest.p7s", "A.index");
	ORDER("stands where", "manifest.json", "manifest.p7s", ".index");
	ORDER("stands where", "manifest.json", "manifest.p7s", "1a.index");
	ORDER("stands where", "manifest.json", "manifest.p7s", "a234567890123456789012345.index");
	ORDER("'?[2J' stands", "\x1b[2J");
	ORDER("more than 8 images", "manifest.json", "manifest.p7s", "a.index", "b.index",
		"c.index", "d.index", "e.index", "f.index", "g.index", "h.index", "i.index");
}

static void test_container__not_a_tar(void **state)
{
	static const char GZIP[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
	struct tars tar = {0};
	uint8_t noise[4 * TARS_BLOCK];

	(void)state;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * 7 + 1);
	tars_bytes(&tar, noise, sizeof(noise));
	expect_refused(&tar, "not a bundle");
	memcpy(tar.data, GZIP, sizeof(GZIP) - 1);
	expect_refused(&tar, "not a bundle");
	tar.len = 100;
	expect_refused(&tar, "not a bundle");
	tar.len = 0;
	expect_refused(&tar, "not a bundle");
	tars_finish(&tar);
}

static void test_container__only_regular_files(void **state)
{
	static const char TYPES[] = "1234567LKSVMx";
	struct tars tar = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(TYPES) - 1; i++) {
		tars_header(&tar, "manifest.json", TYPES[i], i < 6 ? 0 : 10, "elsewhere");
		tars_bytes(&tar, "0123456789", 10);
		tars_end(&tar);
		add(&tar, "manifest.json");
		expect_refused(&tar, "");
		tars_finish(&tar);
	}
}

static void test_container__only_ustar_and_pax(void **state)
{
	struct tars tar = {0};
	unsigned int sum = 0;

	(void)state;
	/* GNU's magic, and the seventh edition's, which has none. */
	for (int v7 = 0; v7 < 2; v7++) {
		add(&tar, "manifest.json");
		memcpy(tar.data + 257, v7 ? "\0\0\0\0\0\0\0" : "ustar  ", 8);
		memset(tar.data + 148, ' ', 8);
		sum = 0;
		for (size_t i = 0; i < TARS_BLOCK; i++)
			sum += tar.data[i];
		(void)snprintf((char *)tar.data + 148, 8, "%06o", sum);
		tars_end(&tar);
		expect_refused(&tar, "neither a ustar nor a pax archive");
		tars_finish(&tar);
	}
}

static void test_container__pax_is_fine_but_not_sparse(void **state)
{
	struct tars tar = {0};
	struct memory memory;
	struct err err;
	size_t members;

	(void)state;
	tars_pax(&tar, "path", "manifest.json");
	add(&tar, "other");
	memory = memory_of(tar.data, tar.len);
	assert_int_equal(walk(&memory, READ, &members, &err), -1);
	assert_int_equal(members, 1);
	tars_finish(&tar);

	tars_pax(&tar, "GNU.sparse.map", "0,5,10,5");
	add(&tar, "manifest.json");
	tars_end(&tar);
	expect_refused(&tar, "regular, plainly stored");
	tars_finish(&tar);
}

static void test_container__huge_sizes_and_headers(void **state)
{
	static const uint64_t SIZES[] = {
		(64u << 10) + 1, UINT64_C(1) << 33, UINT64_C(1) << 62, INT64_MAX, UINT64_MAX};
	struct tars tar = {0};
	char *text = malloc(200000);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
		tars_header(&tar, "manifest.json", '0', SIZES[i], NULL);
		tars_end(&tar);
		expect_refused(&tar, "");
		tars_finish(&tar);
	}
	tars_header(&tar, "manifest.json", '0', 0, NULL);
	tars_end(&tar);
	expect_refused(&tar, "0 bytes");
	tars_finish(&tar);

	assert_non_null(text);
	memset(text, 'a', 200000);
	text[199999] = '\0';
	tars_pax(&tar, "comment", text);
	add(&tar, "manifest.json");
	expect_refused(&tar, "longer than 65536 bytes");
	tars_finish(&tar);
	free(text);
}

static void test_container__flipped_bytes_never_crash(void **state)
{
	struct err err;
	size_t members;

	(void)state;
	/* All of the first headers and small members; sampled beyond. */
	for (size_t at = 0; at < good.len; at += at < 8192 ? scratch_every() : 4099) {
		struct memory memory = memory_of(good.data, good.len);
		uint8_t old = good.data[at];

		memory.step = SIZE_MAX;
		good.data[at] ^= 0xff;
		if (walk(&memory, READ, &members, &err) < 0)
			assert_int_equal(err.code, FAIL_UNTRUSTED);
		good.data[at] = old;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_container__reads_what_was_packed),
		cmocka_unit_test(test_container__borrows_and_skips_within_a_member),
		cmocka_unit_test(test_container__no_cut_goes_unnoticed),
		cmocka_unit_test(test_container__a_broken_source_is_not_a_truncated_bundle),
		cmocka_unit_test(test_container__nothing_may_follow_the_end),
		cmocka_unit_test(test_container__an_end_of_one_block_is_truncated),
		cmocka_unit_test(test_container__padding_is_zero),
		cmocka_unit_test(test_container__members_missing),
		cmocka_unit_test(test_container__members_twice),
		cmocka_unit_test(test_container__members_out_of_order_or_unknown),
		cmocka_unit_test(test_container__not_a_tar),
		cmocka_unit_test(test_container__only_regular_files),
		cmocka_unit_test(test_container__only_ustar_and_pax),
		cmocka_unit_test(test_container__pax_is_fine_but_not_sparse),
		cmocka_unit_test(test_container__huge_sizes_and_headers),
		cmocka_unit_test(test_container__flipped_bytes_never_crash),
	};

	return cmocka_run_group_tests_name("container", tests, group_setup, group_teardown);
}
