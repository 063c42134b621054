/* seal: which block counts, what a torn or forged one is worth, and that the old seal survives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/recorder.h"
#include "updater/mem.h"
#include "updater/seal.h"

#define SLOT  (64u * 1024)
#define START (SLOT - SEAL_SPACE)
#define IMAGE 10000u

static const struct recorder_limits LIMITS = {.seed = 7, .shuffles = 32, .tears = 16};

struct fixture {
	struct recorder *rec;
	struct blockdev *dev;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->rec = recorder_new();
	f->dev = recorder_open(f->rec, recorder_add(f->rec, "slot", SLOT, NULL, true));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	blockdev_close(&f->dev);
	recorder_free(&f->rec);
	free(f);
	return 0;
}

static struct seal writing_seal(uint8_t id)
{
	struct seal seal = {.state = SEAL_WRITING, .class = "rootfs", .image_size = IMAGE};

	seal.artifact.b[0] = id;
	seal.image.b[31] = id;
	return seal;
}

static struct seal must_read(struct blockdev *dev)
{
	struct seal seal;
	struct err err;

	assert_int_equal(seal_read(dev, &seal, &err), 0);
	return seal;
}

static void must_write(struct blockdev *dev, struct seal *seal)
{
	struct err err = {0};

	if (seal_write(dev, seal, &err) < 0)
		fail_msg("%s", err.msg);
}

/* A header that header_parse() takes. */
static struct bytes some_header(size_t index_len)
{
	struct bytes manifest = {0}, signature = {0}, index = {0}, header = {0};
	const struct bytes *indexes[] = {&index};
	void *filler = NULL;
	struct err err;

	assert_int_equal(mem_alloc(index_len, &filler, &err), 0);
	assert_int_equal(bytes_copy("{}", 2, &manifest, &err), 0);
	assert_int_equal(bytes_copy("p7s", 3, &signature, &err), 0);
	assert_int_equal(bytes_copy(filler, index_len, &index, &err), 0);
	assert_int_equal(header_encode(&manifest, &signature, indexes, 1, &header, &err), 0);
	free(filler);
	bytes_finish(&manifest);
	bytes_finish(&signature);
	bytes_finish(&index);
	return header;
}

static void seal_it(struct blockdev *dev, struct seal *seal)
{
	struct bytes header = some_header(100);
	struct err err;

	seal->state = SEAL_SEALED;
	assert_int_equal(seal_write_header(dev, seal, &header, &err), 0);
	must_write(dev, seal);
	bytes_finish(&header);
}

static void assert_same(const struct seal *a, const struct seal *b)
{
	assert_int_equal(a->state, b->state);
	assert_true(a->generation == b->generation);
	assert_true(digest_equal(&a->artifact, &b->artifact));
	assert_true(digest_equal(&a->image, &b->image));
	assert_true(digest_equal(&a->header, &b->header));
	assert_string_equal(a->class, b->class);
	assert_true(a->image_size == b->image_size);
	assert_true(a->header_offset == b->header_offset);
	assert_int_equal(a->header_len, b->header_len);
	assert_true(a->mark == b->mark);
	assert_int_equal(a->rejected_count, b->rejected_count);
	assert_memory_equal(a->rejected, b->rejected, sizeof(a->rejected));
}

/* Changes bytes of the block at START and makes its checksum right again. */
static void forge(struct fixture *f, size_t at, const void *bytes, size_t len)
{
	uint8_t *block = recorder_content(f->rec, 0) + START;
	struct digest sum;
	struct err err;

	memcpy(block + at, bytes, len);
	assert_int_equal(digest_once(block, 480, &sum, &err), 0);
	memcpy(block + 480, sum.b, DIGEST_LEN);
}

static void test_read__empty_slot_is_plainly_nothing(void **state)
{
	struct fixture *f = *state;
	struct seal seal = must_read(f->dev);

	assert_int_equal(seal.state, SEAL_NONE);
	assert_int_equal(seal.rejected_count, 0);
	memset(recorder_content(f->rec, 0), 0xff, SLOT);
	assert_int_equal(must_read(f->dev).state, SEAL_NONE);
}

static void test_write__round_trip_of_every_field(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	struct seal found;

	seal.mark = 8192;
	seal.rejected_count = SEAL_REJECTED_MAX;
	for (uint8_t i = 0; i < SEAL_REJECTED_MAX; i++)
		memset(seal.rejected[i].b, i + 1, DIGEST_LEN);
	must_write(f->dev, &seal);
	found = must_read(f->dev);
	assert_same(&found, &seal);
	assert_true(found.generation == 1);
	seal_it(f->dev, &seal);
	found = must_read(f->dev);
	assert_same(&found, &seal);
	assert_true(found.generation == 2);
	assert_true(found.header_offset == START - MEM_BLOCK);
}

static void test_write__takes_the_blocks_in_turn(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	uint8_t kept[MEM_BLOCK];

	must_write(f->dev, &seal);
	memcpy(kept, recorder_content(f->rec, 0) + START, MEM_BLOCK);
	must_write(f->dev, &seal);
	assert_memory_equal(recorder_content(f->rec, 0) + START, kept, MEM_BLOCK);
	memcpy(kept, recorder_content(f->rec, 0) + START + MEM_BLOCK, MEM_BLOCK);
	must_write(f->dev, &seal);
	assert_memory_equal(recorder_content(f->rec, 0) + START + MEM_BLOCK, kept, MEM_BLOCK);
	assert_true(must_read(f->dev).generation == 3);
}

static void test_write__one_block_lies_in_one_sector(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);

	must_write(f->dev, &seal);
	assert_false(mem_is_zero(recorder_content(f->rec, 0) + START, 512));
	assert_true(mem_is_zero(recorder_content(f->rec, 0) + START + 512, MEM_BLOCK - 512));
	/* What a torn write leaves behind the first sector does not matter. */
	memset(recorder_content(f->rec, 0) + START + 512, 0xaa, MEM_BLOCK - 512);
	assert_int_equal(must_read(f->dev).state, SEAL_WRITING);
}

struct cut {
	struct seal before;
	struct seal after;
	unsigned int old, new;
};

static void old_or_new(struct recorder *after, const char *what, void *arg)
{
	struct blockdev *dev = recorder_open(after, 0);
	struct cut *cut = arg;
	struct seal seal = must_read(dev);

	(void)what;
	if (seal.generation == cut->before.generation) {
		assert_same(&seal, &cut->before);
		cut->old++;
	} else {
		assert_same(&seal, &cut->after);
		cut->new ++;
	}
	/* And the next write is in force whatever the cut left. */
	must_write(dev, &seal);
	assert_true(must_read(dev).generation == seal.generation);
	blockdev_close(&dev);
}

static void test_write__cut_leaves_old_seal_or_new(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	struct cut cut = {0};

	seal_it(f->dev, &seal);
	cut.before = seal;
	recorder_forget(f->rec);
	seal = writing_seal(2);
	must_write(f->dev, &seal);
	cut.after = seal;
	assert_true(recorder_crashes(f->rec, &LIMITS, old_or_new, &cut) > 30);
	assert_true(cut.old > 0 && cut.new > 0);
}

static void test_write__failed_write_or_flush_is_told(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	struct err err;

	recorder_fail(f->rec, RECORDER_WRITE, 0, 1);
	assert_int_equal(seal_write(f->dev, &seal, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "'slot'"));
	assert_true(seal.generation == 0);
	recorder_fail(f->rec, RECORDER_FLUSH, 0, 1);
	assert_int_equal(seal_write(f->dev, &seal, &err), -1);
	recorder_fail(f->rec, RECORDER_READ, 0, 1);
	assert_int_equal(seal_read(f->dev, &seal, &err), -1);
}

static void test_read__flipped_bits_never_count(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);

	must_write(f->dev, &seal);
	for (size_t bit = 0; bit < 512u * 8; bit++) {
		uint8_t *byte = recorder_content(f->rec, 0) + START + bit / 8;

		*byte ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(must_read(f->dev).state, SEAL_NONE);
		*byte ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(must_read(f->dev).state, SEAL_WRITING);
}

static void test_read__valid_checksum_with_nonsense_is_nothing(void **state)
{
	static const struct {
		const char *what;
		size_t at;
		const char *bytes;
		size_t len;
	} FORGERIES[] = {
		{"magic", 0, "X", 1},
		{"format 2", 8, "\2", 1},
		{"state 0", 12, "\0", 1},
		{"state 3", 12, "\3", 1},
		{"state with high bits", 15, "\1", 1},
		{"generation 0", 16, "\0", 1},
		{"image size 0", 24, "\0\0", 2},
		{"image larger than the slot", 26, "\1", 1},
		{"image size near 2^64", 24, "\377\377\377\377\377\377\377\377", 8},
		{"header below the image", 32, "\0\0\0\0", 4},
		{"header not aligned", 32, "\1", 1},
		{"header in the seal blocks", 33, "\340", 1},
		{"header past the slot", 36, "\1", 1},
		{"header end overflows", 32, "\0\360\377\377\377\377\377\377", 8},
		{"header length 0", 40, "\0\0\0\0", 4},
		{"header too long", 40, "\0\0\2\0", 4},
		{"5 rejected", 44, "\5", 1},
		{"many rejected", 44, "\377\377\377\377", 4},
		{"mark past the image", 50, "\1", 1},
		{"class empty", 152, "\0\0\0\0\0\0", 6},
		{"class with garbage behind it", 170, "x", 1},
		{"class without an end", 152, "abcdefghijklmnopqrstuvwxyzabcdef", 32},
		{"class too long", 152, "abcdefghijklmnopqrstuvwxy", 25},
		{"class not a class", 152, "Rootfs", 6},
		{"rejected without being counted", 184, "x", 1},
		{"reserved", 312, "x", 1},
		{"reserved, last", 479, "x", 1},
	};
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	uint8_t good[512];

	must_write(f->dev, &seal); /* block 0 */
	must_write(f->dev, &seal); /* block 1 */
	seal_it(f->dev, &seal); /* block 0 */
	memset(recorder_content(f->rec, 0) + START + MEM_BLOCK, 0, MEM_BLOCK);
	memcpy(good, recorder_content(f->rec, 0) + START, 512);
	for (size_t i = 0; i < ARRAY_LEN(FORGERIES); i++) {
		memcpy(recorder_content(f->rec, 0) + START, good, 512);
		forge(f, 0, "A", 1);
		assert_int_equal(must_read(f->dev).state, SEAL_SEALED);
		forge(f, FORGERIES[i].at, FORGERIES[i].bytes, FORGERIES[i].len);
		if (must_read(f->dev).state != SEAL_NONE)
			fail_msg("counts: %s", FORGERIES[i].what);
	}
}

static void test_read__writing_with_a_header_is_nothing(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);

	must_write(f->dev, &seal);
	forge(f, 40, "\1", 1);
	assert_int_equal(must_read(f->dev).state, SEAL_NONE);
}

static void test_read__slot_too_small_says_so(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *dev =
		recorder_open(rec, recorder_add(rec, "tiny", SEAL_SPACE - 1, NULL, false));
	struct seal seal;
	struct err err;

	(void)state;
	assert_int_equal(seal_read(dev, &seal, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	assert_non_null(strstr(err.msg, "'tiny'"));
	blockdev_close(&dev);
	recorder_free(&rec);
}

static void test_write__same_place_whether_the_length_is_round_or_not(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *dev =
		recorder_open(rec, recorder_add(rec, "odd", SLOT + 100, NULL, false));
	struct seal seal = writing_seal(1);

	(void)state;
	must_write(dev, &seal);
	assert_memory_equal(recorder_content(rec, 0) + START, "ABIDSEAL", 8);
	blockdev_close(&dev);
	recorder_free(&rec);
}

static void test_write__refuses_what_would_not_be_read_back(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	struct err err;

	seal.image_size = SLOT;
	assert_int_equal(seal_write(f->dev, &seal, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	seal = writing_seal(1);
	seal.mark = IMAGE + 1;
	assert_int_equal(seal_write(f->dev, &seal, &err), -1);
	seal = writing_seal(1);
	seal.state = SEAL_SEALED; /* without a header copy */
	assert_int_equal(seal_write(f->dev, &seal, &err), -1);
	assert_int_equal(recorder_count(f->rec, RECORDER_WRITE, 0), 0);
}

static void test_write__highest_generation_is_not_wrapped(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	struct err err;

	must_write(f->dev, &seal);
	forge(f, 16, "\377\377\377\377\377\377\377\377", 8);
	assert_int_equal(must_read(f->dev).state, SEAL_WRITING);
	assert_int_equal(seal_write(f->dev, &seal, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
}

static void test_header__round_trip_over_several_pieces(void **state)
{
	struct recorder *rec = recorder_new();
	struct blockdev *dev =
		recorder_open(rec, recorder_add(rec, "big", 512u * 1024, NULL, true));
	struct bytes header = some_header(200000);
	struct seal seal = writing_seal(1);
	struct header found = {0};
	struct err err;

	(void)state;
	seal.state = SEAL_SEALED;
	assert_int_equal(seal_write_header(dev, &seal, &header, &err), 0);
	assert_true(
		seal.header_offset + round_up(header.len, MEM_BLOCK) == 512u * 1024 - SEAL_SPACE);
	must_write(dev, &seal);
	assert_int_equal(seal_read_header(dev, &seal, &found, &err), 0);
	assert_int_equal(found.index[0].len, 200000);
	header_finish(&found);
	recorder_content(rec, 0)[seal.header_offset + header.len - 1] ^= 1;
	assert_int_equal(seal_read_header(dev, &seal, &found, &err), -1);
	assert_int_equal(err.code, FAIL_DRIFT);
	bytes_finish(&header);
	blockdev_close(&dev);
	recorder_free(&rec);
}

static void test_header__must_not_overlap_the_image(void **state)
{
	struct fixture *f = *state;
	struct bytes header = some_header(100);
	struct seal seal = writing_seal(1);
	struct err err;

	seal.image_size = START - MEM_BLOCK; /* the header's block is just free */
	assert_int_equal(seal_write_header(f->dev, &seal, &header, &err), 0);
	seal.image_size = START - MEM_BLOCK + 1;
	assert_int_equal(seal_write_header(f->dev, &seal, &header, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	assert_non_null(strstr(err.msg, "(4096 more)"));
	bytes_finish(&header);
}

static void test_header__only_a_sealed_slot_has_one(void **state)
{
	struct fixture *f = *state;
	struct seal seal = writing_seal(1);
	struct header header;
	struct err err;

	assert_int_equal(seal_read_header(f->dev, &seal, &header, &err), -1);
	assert_int_equal(err.code, FAIL_STATE);
}

static void test_reject__newest_first_and_the_oldest_drops_out(void **state)
{
	struct seal seal = {0};
	struct digest id = {{0}};

	(void)state;
	for (uint8_t i = 1; i <= SEAL_REJECTED_MAX + 1; i++) {
		id.b[0] = i;
		seal_reject(&seal, &id);
		seal_reject(&seal, &id);
	}
	assert_int_equal(seal.rejected_count, SEAL_REJECTED_MAX);
	assert_int_equal(seal.rejected[0].b[0], SEAL_REJECTED_MAX + 1);
	assert_int_equal(seal.rejected[SEAL_REJECTED_MAX - 1].b[0], 2);
	id.b[0] = 1;
	assert_false(seal_rejects(&seal, &id));
	id.b[0] = 2;
	assert_true(seal_rejects(&seal, &id));
}

static void test_needed__saturates(void **state)
{
	(void)state;
	assert_true(seal_needed(1, 1) == 2 * MEM_BLOCK + SEAL_SPACE);
	assert_true(seal_needed(4096, 4097) == 3 * MEM_BLOCK + SEAL_SPACE);
	assert_true(seal_needed(UINT64_MAX, 1) == UINT64_MAX);
	assert_true(seal_needed(UINT64_MAX - 8192, 1) == UINT64_MAX);
}

#define SLOT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SLOT_TEST(test_read__empty_slot_is_plainly_nothing),
		SLOT_TEST(test_write__round_trip_of_every_field),
		SLOT_TEST(test_write__takes_the_blocks_in_turn),
		SLOT_TEST(test_write__one_block_lies_in_one_sector),
		SLOT_TEST(test_write__cut_leaves_old_seal_or_new),
		SLOT_TEST(test_write__failed_write_or_flush_is_told),
		SLOT_TEST(test_read__flipped_bits_never_count),
		SLOT_TEST(test_read__valid_checksum_with_nonsense_is_nothing),
		SLOT_TEST(test_read__writing_with_a_header_is_nothing),
		cmocka_unit_test(test_read__slot_too_small_says_so),
		cmocka_unit_test(test_write__same_place_whether_the_length_is_round_or_not),
		SLOT_TEST(test_write__refuses_what_would_not_be_read_back),
		SLOT_TEST(test_write__highest_generation_is_not_wrapped),
		cmocka_unit_test(test_header__round_trip_over_several_pieces),
		SLOT_TEST(test_header__must_not_overlap_the_image),
		SLOT_TEST(test_header__only_a_sealed_slot_has_one),
		cmocka_unit_test(test_reject__newest_first_and_the_oldest_drops_out),
		cmocka_unit_test(test_needed__saturates),
	};

	return cmocka_run_group_tests_name("seal", tests, NULL, NULL);
}
