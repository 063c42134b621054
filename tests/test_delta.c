/* delta: made from two bundles and installed on a recorded device, by a real carrier; what a carrier
 * may ask of the base; patches and frames that lie; what is found to be similar. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/compress.h"
#include "image/delta.h"
#include "image/similar.h"
#include "tests/must.h"
#include "tests/rig.h"
#include "updater/base.h"
#include "updater/carrier.h"
#include "updater/carrier/decode.h"
#include "updater/carrier/message.h"
#include "updater/carrier/patch.h"
#include "updater/carrier/ring.h"
#include "updater/fs.h"

#define SLOT_SIZE  (4u << 20)
#define IMAGE_SIZE ((3u << 20) - 1234)

static struct bundles b;

static struct delta_result make(const char *base, const char *bundle, const char *output)
{
	const struct delta_options options = {.base = bundles_path(&b, base),
		.bundle = bundles_path(&b, bundle),
		.output = bundles_path(&b, output),
		.level = 6,
		.threads = 1};
	struct delta_result result;
	struct err err = {0};

	must(delta_create(&options, &result, &err), &err);
	return result;
}

static int setup(void **state)
{
	struct bytes image = {0};
	struct err err = {0};

	(void)state;
	bundles_init(&b, PKI_ECDSA);
	bundles_image(&b, "1.img", IMAGE_SIZE, 1);
	(void)bundles_make(&b, "1.abide", "1", 1, "1.img");
	/* A byte here and there: many chunks of the base that are nearly right. */
	must(fs_read_file(bundles_path(&b, "1.img"), IMAGE_SIZE, &image, &err), &err);
	for (size_t i = 1000; i < image.len; i += 90000)
		image.data[i] ^= 0x55;
	must(fs_replace_file(bundles_path(&b, "2.img"), image.data, image.len, 0644, &err), &err);
	bytes_finish(&image);
	(void)bundles_make(&b, "2.abide", "2", 1, "2.img");
	(void)make("1.abide", "2.abide", "delta.abide");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bundles_finish(&b);
	return 0;
}

static void rig_with_release_1(struct rig *rig)
{
	rig_init(rig, &b, 1, SLOT_SIZE);
	rig_seal_factory(rig, bundles_path(&b, "1.abide"));
}

static void assert_holds_2(struct rig *rig)
{
	struct bytes image = {0};
	struct err err = {0};

	must(fs_read_file(bundles_path(&b, "2.img"), IMAGE_SIZE, &image, &err), &err);
	assert_memory_equal(rig_slot(rig, 0, GROUP_B), image.data, image.len);
	bytes_finish(&image);
}

/* ---- whole ---- */

static void test_delta__is_small_and_the_same_artifact(void **state)
{
	struct delta_result result = make("1.abide", "2.abide", "again.abide");
	const struct pack_stats *stats = &result.stats[0];

	(void)state;
	assert_true(result.size < result.full / 10);
	assert_true(stats->chunks[STORE_PATCH] > 10);
	assert_true(stats->chunks[STORE_BASE] > 10);
	assert_true(stats->kept[STORE_PATCH] < stats->plain[STORE_PATCH] / 20);
	assert_int_equal(stats->kept[STORE_BASE], 0);
}

static void test_delta__installs_and_converges(void **state)
{
	struct install_result result;
	struct err err = {0};
	struct rig rig;

	(void)state;
	rig_with_release_1(&rig);
	must(rig_install(&rig, bundles_path(&b, "delta.abide"), &result, &err), &err);
	assert_true(result.delta);
	assert_false(result.fallback);
	assert_int_equal(result.action, PLAN_WRITE);
	assert_true(result.bytes.fetch > 0 && result.bytes.seed > 0);
	assert_holds_2(&rig);
	recorder_forget(rig.rec);
	must(rig_install(&rig, bundles_path(&b, "delta.abide"), &result, &err), &err);
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

static void test_delta__without_its_base_nothing_is_written(void **state)
{
	char id[DIGEST_HEX_LEN + 1];
	struct install_result result;
	struct delta_result delta = make("2.abide", "1.abide", "back.abide");
	struct err err = {0};
	struct rig rig;

	(void)state;
	rig_init(&rig, &b, 1, SLOT_SIZE);
	(void)bundles_make(&b, "3.abide", "3", 1, "1.img");
	rig_seal_factory(&rig, bundles_path(&b, "3.abide"));
	recorder_forget(rig.rec);
	assert_int_equal(rig_install(&rig, bundles_path(&b, "back.abide"), &result, &err), -1);
	assert_int_equal(err.code, FAIL_REFUSED);
	digest_to_hex(&delta.base, id);
	assert_non_null(strstr(err.msg, id));
	assert_int_equal(recorder_count(rig.rec, RECORDER_WRITE, RECORDER_ANY), 0);
	rig_finish(&rig);
}

/* Wherever the base is spoilt: another source, or a message; never a wrong byte. */
static void test_delta__spoilt_base_is_noticed(void **state)
{
	struct install_result result;
	unsigned int failed = 0;

	(void)state;
	for (size_t at = 500; at < IMAGE_SIZE; at += 300007) {
		struct err err = {0};
		struct rig rig;

		rig_with_release_1(&rig);
		rig_slot(&rig, 0, GROUP_A)[at] ^= 1;
		if (rig_install(&rig, bundles_path(&b, "delta.abide"), &result, &err) < 0) {
			struct install_options options = {.fallback = bundles_path(&b, "2.abide")};

			if (err.code != FAIL_DRIFT)
				fail_msg("%zu: %s", at, err.msg);
			failed++;
			must(install_run(&rig.device, bundles_path(&b, "delta.abide"), &options,
				     &result, &err),
				&err);
			assert_true(result.fallback);
		}
		assert_holds_2(&rig);
		rig_finish(&rig);
	}
	assert_true(failed > 3);
}

/* ---- what a carrier may ask ---- */

#define FAKE_COUNT  8u
#define FAKE_LENGTH (200u << 10)

struct question {
	uint8_t runs[PATCH_RUN_LEN * 2];
	uint32_t len;
	unsigned int times;
};

static int ask(int in_fd, int out_fd, struct ring_room *room, void *arg)
{
	const struct question *question = arg;
	static uint8_t bytes[PATCH_PREFIX_MAX];
	struct message_writer writer;
	struct message_reader reader;
	struct message message;
	uint32_t offset = 0;
	struct err err;

	if (message_writer_init(&writer, out_fd, &err) < 0 ||
		message_reader_init(&reader, in_fd, MESSAGE_FROM_INSTALLER, &err) < 0)
		return 99;
	do {
		if (message_next(&reader, &message, &err) < 0 || message.len > sizeof(bytes) ||
			message_payload(&reader, bytes, message.len, &err) < 0)
			return 98;
	} while (message.type != MESSAGE_WANT);
	for (unsigned int i = 0; i < question->times; i++) {
		if (message_put(&writer, MESSAGE_BASE, question->runs, question->len, &err) < 0 ||
			message_flush(&writer, &err) < 0 ||
			message_next(&reader, &message, &err) < 0 || message.type != MESSAGE_BASE ||
			message_payload(&reader, bytes, message.len, &err) < 0)
			return 97;
	}
	/* The one chunk that is wanted: number 0, and of the answer its last byte. */
	if (!ring_give(room, 1, &offset))
		return 96;
	room->bytes[offset] = bytes[message.len - 1];
	ring_given(room, 1);
	if (message_put_chunk(&writer, 0, offset, 1, &err) < 0 || message_flush(&writer, &err) < 0)
		return 95;
	return 0;
}

static uint32_t fake_length(void *arg, uint32_t i)
{
	(void)arg;
	assert_true(i < FAKE_COUNT);
	return FAKE_LENGTH;
}

static int fake_chunk(void *arg, uint32_t i, const uint8_t **ret, struct err *err)
{
	static uint8_t bytes[FAKE_LENGTH];

	(void)arg;
	(void)err;
	assert_true(i < FAKE_COUNT);
	memset(bytes, (int)(i + 1), sizeof(bytes));
	*ret = bytes;
	return 0;
}

/* -1, or the last byte of the answer as the carrier saw it. */
static int answer_to(struct question *question, bool with_base, struct err *err)
{
	const struct carrier_base base = {
		.count = FAKE_COUNT, .length = fake_length, .chunk = fake_chunk};
	const struct carrier_options options = {
		.stall_timeout = 5, .impostor = ask, .impostor_arg = question};
	CLEANUP(index_builder_free) struct index_builder *builder = NULL;
	CLEANUP(index_free) struct index *index = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	const struct digest digest = {0};
	struct carrier *carrier = NULL;
	uint8_t chunk = 0;
	int result;

	*err = (struct err){0};
	must(index_builder_new(&builder, err), err);
	must(index_builder_add(builder, 1, &digest, err), err);
	must(index_builder_finish(builder, &bytes, err), err);
	must(index_parse(&bytes, 1, &index, err), err);
	must(carrier_open("/dev/null", &options, &carrier, err), err);
	must(carrier_want(
		     carrier, "rootfs", index, (const uint8_t[]){1}, with_base ? &base : NULL, err),
		err);
	result = carrier_chunk(carrier, 0, &chunk, 1, err);
	carrier_close(&carrier);
	return result < 0 ? -1 : chunk;
}

static struct question question(uint32_t first, uint32_t count)
{
	struct question q = {.len = PATCH_RUN_LEN, .times = 1};

	patch_put_run(q.runs, &(struct patch_run){first, count});
	return q;
}

static void refuse(struct question q, bool with_base, const char *text)
{
	struct err err;

	assert_int_equal(answer_to(&q, with_base, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	if (!strstr(err.msg, text))
		fail_msg("'%s' has no '%s'", err.msg, text);
}

static void test_delta__carrier_gets_chunks_of_the_base(void **state)
{
	struct question q = question(2, 3);
	struct err err;

	(void)state;
	assert_int_equal(answer_to(&q, true, &err), 5); /* the last of chunks 2, 3, 4 */
	q = question(FAKE_COUNT - 1, 1);
	q.len = 2 * PATCH_RUN_LEN;
	patch_put_run(q.runs + PATCH_RUN_LEN, &(struct patch_run){0, 1});
	assert_int_equal(answer_to(&q, true, &err), 1); /* in the order of the runs */
}

static void test_delta__carrier_gets_nothing_else(void **state)
{
	struct question q = question(0, 1);

	(void)state;
	refuse(q, false, "asks for a base where there is none");
	q.times = 2;
	refuse(q, true, "broke the protocol");
	q = question(0, 1);
	q.len++;
	refuse(q, true, "broke the protocol");
	refuse(question(FAKE_COUNT, 1), true, "of its base, which has 8");
	refuse(question(FAKE_COUNT - 1, 2), true, "of its base, which has 8");
	refuse(question(0, PATCH_RUN_MAX), true, "of its base, which has 8");
	refuse(question(UINT32_MAX, 1), true, "are no run");
	refuse(question(0, 0), true, "are no run");
	refuse(question(0, 6), true, "at most 1048576 expected"); /* 6 * 200 KiB */
}

/* ---- patches and frames ---- */

static void test_patch__refuses_what_is_none(void **state)
{
	uint8_t bytes[PATCH_HEAD_LEN + 2 * PATCH_RUN_LEN + 3] = {2};
	struct patch patch;
	struct err err;

	(void)state;
	patch_put_run(bytes + 2, &(struct patch_run){7, 1});
	patch_put_run(bytes + 8, &(struct patch_run){9, PATCH_RUN_MAX});
	must(patch_open(bytes, sizeof(bytes), &patch, &err), &err);
	assert_int_equal(patch.runs_len, 2 * PATCH_RUN_LEN);
	assert_int_equal(patch.frame_len, 3);
	assert_ptr_equal(patch.frame, bytes + 14);
	for (size_t len = 0; len < 14; len++)
		assert_int_equal(patch_open(bytes, len, &patch, &err), -1);
	bytes[12] = bytes[13] = 0; /* a run of no chunks */
	assert_int_equal(patch_open(bytes, sizeof(bytes), &patch, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	le16_put(bytes, PATCH_RUNS_MAX + 1);
	assert_int_equal(patch_open(bytes, sizeof(bytes), &patch, &err), -1);
}

#define TEXT_LEN 5000u

static void test_decode__after_a_prefix(void **state)
{
	CLEANUP(compressor_free) struct compressor *compressor = NULL;
	CLEANUP(decoder_free) struct decoder *decoder = NULL;
	uint8_t prefix[TEXT_LEN], data[TEXT_LEN], out[TEXT_LEN];
	const uint8_t *frame;
	uint32_t seed = 7;
	size_t len;
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < TEXT_LEN; i++)
		prefix[i] = data[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
	le32_put(prefix, 0xec30a437); /* as a dictionary begins: raw bytes all the same */
	data[100] ^= 1;
	must(compressor_new(19, &compressor, &err), &err);
	must(compressor_run_after(compressor, prefix, TEXT_LEN, data, TEXT_LEN, &frame, &len, &err),
		&err);
	assert_true(len < 60);
	must(decoder_new(&decoder, &err), &err);
	must(decoder_zstd_after(decoder, prefix, TEXT_LEN, frame, len, out, TEXT_LEN, &err), &err);
	assert_memory_equal(out, data, TEXT_LEN);
	/* Without it, with less of it, for another length, cut: an error, or other bytes. */
	assert_int_equal(decoder_zstd(decoder, frame, len, out, TEXT_LEN, &err), -1);
	assert_int_equal(
		decoder_zstd_after(decoder, prefix, 10, frame, len, out, TEXT_LEN, &err), -1);
	assert_int_equal(
		decoder_zstd_after(decoder, prefix, TEXT_LEN, frame, len, out, TEXT_LEN - 1, &err),
		-1);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(decoder_zstd_after(decoder, prefix, TEXT_LEN, frame, cut, out,
					 TEXT_LEN, &err),
			-1);
	prefix[200] ^= 1;
	if (decoder_zstd_after(decoder, prefix, TEXT_LEN, frame, len, out, TEXT_LEN, &err) == 0)
		assert_memory_not_equal(out, data, TEXT_LEN);
}

/* A frame that asks for a window of 1 TiB and more: it gets none, and is right or wrong as any. */
static void test_decode__window_costs_nothing(void **state)
{
	/* Magic; no content size, no single segment; window; one raw block of 3 bytes, the last. */
	uint8_t frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x00, 0x19, 0x00, 0x00, 'a', 'b', 'c'};
	CLEANUP(decoder_free) struct decoder *decoder = NULL;
	uint8_t out[3];
	struct err err = {0};

	(void)state;
	must(decoder_new(&decoder, &err), &err);
	must(decoder_zstd(decoder, frame, sizeof(frame), out, 3, &err), &err);
	assert_memory_equal(out, "abc", 3);
	for (unsigned int window = 0; window < 256; window++) {
		frame[5] = (uint8_t)window;
		if (decoder_zstd(decoder, frame, sizeof(frame), out, 3, &err) == 0)
			assert_memory_equal(out, "abc", 3);
	}
}

/* ---- similar ---- */

static void test_similar__finds_the_chunk_that_has_it(void **state)
{
	enum { CHUNKS = 40, LENGTH = 8192 };
	CLEANUP(index_builder_free) struct index_builder *builder = NULL;
	CLEANUP(index_free) struct index *index = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	CLEANUP(similar_free) struct similar *similar = NULL;
	CLEANUP(similar_room_free) struct similar_room *room = NULL;
	static uint8_t image[CHUNKS * LENGTH], data[3 * LENGTH];
	const struct digest digest = {0};
	uint32_t chosen[CHUNKS], seed = 1;
	struct err err = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(image); i++)
		image[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
	must(index_builder_new(&builder, &err), &err);
	for (unsigned int i = 0; i < CHUNKS; i++)
		must(index_builder_add(builder, LENGTH, &digest, &err), &err);
	must(index_builder_finish(builder, &bytes, &err), &err);
	must(index_parse(&bytes, sizeof(image), &index, &err), &err);
	must(similar_new(index, &similar, &err), &err);
	for (uint32_t i = 0; i < CHUNKS; i++)
		similar_add(
			similar, i, image + (size_t)i * LENGTH, sizeof(image) - (size_t)i * LENGTH);
	must(similar_room_new(similar, &room, &err), &err);
	/* The data: chunk 30 moved by 5 bytes, then chunk 7, then what is nowhere. */
	memset(data, 0, sizeof(data));
	memcpy(data + 5, image + 30 * LENGTH, LENGTH - 5);
	memcpy(data + LENGTH, image + 7 * LENGTH, LENGTH);
	assert_int_equal(similar_choose(room, data, sizeof(data), 1 << 20, chosen, CHUNKS), 2);
	assert_int_equal(chosen[0], 7);
	assert_int_equal(chosen[1], 30);
	/* The better one if there is room for one; none without room; a hint alone counts. */
	assert_int_equal(similar_choose(room, data, sizeof(data), LENGTH, chosen, CHUNKS), 1);
	assert_int_equal(similar_choose(room, data, sizeof(data), LENGTH - 1, chosen, CHUNKS), 0);
	assert_int_equal(
		similar_choose(room, data + 2 * LENGTH, LENGTH, LENGTH, chosen, CHUNKS), 0);
	similar_hint(room, 3);
	similar_hint(room, UINT32_MAX);
	assert_int_equal(
		similar_choose(room, data + 2 * LENGTH, LENGTH, LENGTH, chosen, CHUNKS), 1);
	assert_int_equal(chosen[0], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delta__is_small_and_the_same_artifact),
		cmocka_unit_test(test_delta__installs_and_converges),
		cmocka_unit_test(test_delta__without_its_base_nothing_is_written),
		cmocka_unit_test(test_delta__spoilt_base_is_noticed),
		cmocka_unit_test(test_delta__carrier_gets_chunks_of_the_base),
		cmocka_unit_test(test_delta__carrier_gets_nothing_else),
		cmocka_unit_test(test_patch__refuses_what_is_none),
		cmocka_unit_test(test_decode__after_a_prefix),
		cmocka_unit_test(test_decode__window_costs_nothing),
		cmocka_unit_test(test_similar__finds_the_chunk_that_has_it),
	};

	return cmocka_run_group_tests_name("delta", tests, setup, teardown);
}
