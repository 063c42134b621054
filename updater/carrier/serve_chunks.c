/* The answer to WANT: chunks, out of what is stored, into the ring. */
#include "updater/carrier/serve_session.h"

#include <stdlib.h>
#include <string.h>

static int decode(struct session *session, const struct image *image, uint32_t i,
	const uint8_t *stored, size_t patch_at, uint8_t *out, struct err *err)
{
	uint32_t len = index_length(image->index, i);
	uint32_t stored_len = store_length(image->store, i);

	switch (store_encoding(image->store, i)) {
	case STORE_ZERO:
		memset(out, 0, len);
		return 0;
	case STORE_RAW:
		if (stored_len != len || !stored) /* none: it is of a patch */
			break;
		memcpy(out, stored, len);
		return 0;
	case STORE_ZSTD:
		return decoder_zstd(session->decoder, stored, stored_len, out, len, err);
	case STORE_PATCH:
		memcpy(out, session->room.plain + patch_at, len);
		return 0;
	case STORE_SAME:
		return err_set(err, FAIL_UNTRUSTED,
			"it is stored as the same as an earlier one, which is not kept");
	case STORE_BASE:
		return err_set(err, FAIL_DRIFT,
			"it is not in this delta, because its base has it; but the base on this "
			"device has not, or not any more ('abide verify' says where): a full "
			"bundle is needed");
	}
	return err_set(err, FAIL_UNTRUSTED, "%u bytes are stored, expected %u", stored_len, len);
}

int serve_taken(struct session *session, struct err *err)
{
	if (!ring_taken(session->ring))
		return err_set(err, FAIL_UNTRUSTED, "TAKEN, and nothing was given");
	return 0;
}

/* Where the next chunk goes. While all the ring is full the installer has other things to do than
 * to ask for any: it says only that it has taken some of it. */
static int make_room(struct session *session, uint32_t len, uint32_t *ret_offset, struct err *err)
{
	struct message message;

	while (!ring_give(session->ring, len, ret_offset)) {
		if (message_flush(&session->writer, err) < 0 ||
			message_next(&session->reader, &message, err) < 0)
			return -1;
		if (message.type != MESSAGE_TAKEN)
			return err_set(err, FAIL_UNTRUSTED, "message %d while chunks are sent",
				(int)message.type);
		if (serve_taken(session, err) < 0)
			return -1;
	}
	return 0;
}

static int send_chunk(struct session *session, const struct image *image, uint32_t i,
	size_t patch_at, struct err *err)
{
	bool patched = store_encoding(image->store, i) == STORE_PATCH;
	uint32_t len = index_length(image->index, i);
	uint32_t batch = session->ring->batch;
	const uint8_t *stored = NULL;
	uint32_t offset = 0;

	if (make_room(session, len, &offset, err) < 0)
		return -1;
	/* What is in the batch before can be worked on from now on. */
	if (session->ring->batch != batch && message_flush(&session->writer, err) < 0)
		return -1;
	if (!patched && container_borrow(session->container, store_length(image->store, i), &stored,
				err) < 0)
		return -1;
	if (decode(session, image, i, stored, patch_at, session->ring->bytes + offset, err) < 0)
		return err_wrap(err, "'%s': '%s%s': chunk %u", session->source->name, image->class,
			MEMBER_DATA_SUFFIX, i);
	ring_given(session->ring, len);
	return message_put_chunk(&session->writer, i, offset, len, err);
}

/* ---- patches ---- */

static bool is_wanted(const uint8_t *bitmap, uint32_t i)
{
	return bitmap[i / 8] >> (i % 8) & 1;
}

/* Which chunks' stored bytes are read: those of the wanted ones that have any, and of a patch, which
 * lie at its first chunk, if any of its chunks is wanted. */
static int find_needed(
	struct session *session, const struct image *image, size_t bitmap_len, struct err *err)
{
	uint32_t patch = 0; /* the chunk that begins it */
	void *p = NULL;

	free(steal_ptr(&session->needed));
	if (mem_alloc(bitmap_len, &p, err) < 0)
		return -1;
	session->needed = p;
	for (uint32_t i = 0; i < index_count(image->index); i++) {
		bool patched = store_encoding(image->store, i) == STORE_PATCH;
		uint32_t from = patched ? patch : i;

		if (patched && store_length(image->store, i) > 0)
			from = patch = i;
		if (is_wanted(session->bitmap, i) && store_length(image->store, from) > 0)
			session->needed[from / 8] |= (uint8_t)(1u << from % 8);
	}
	return 0;
}

/* The one question of the carrier's: what the patch is made against. */
static int ask_for_base(
	struct session *session, const struct patch *patch, size_t *ret_len, struct err *err)
{
	struct message message;

	*ret_len = 0;
	if (patch->runs_len == 0)
		return 0;
	if (message_put(&session->writer, MESSAGE_BASE, patch->runs, patch->runs_len, err) < 0 ||
		message_flush(&session->writer, err) < 0)
		return -1;
	do {
		if (message_next(&session->reader, &message, err) < 0)
			return -1;
		if (message.type == MESSAGE_TAKEN && serve_taken(session, err) < 0)
			return -1;
	} while (message.type == MESSAGE_TAKEN);
	if (message.type != MESSAGE_BASE)
		return err_set(err, FAIL_UNTRUSTED, "message %d from the installer, BASE expected",
			(int)message.type);
	*ret_len = message.len; /* at most PATCH_PREFIX_MAX: message.h */
	return message_payload(&session->reader, session->room.prefix, message.len, err);
}

/* Unpacks the patch that begins at chunk i, all of it. */
static int unpack_patch(
	struct session *session, const struct image *image, uint32_t i, struct err *err)
{
	uint32_t stored = store_length(image->store, i);
	size_t plain = index_length(image->index, i);
	struct patch patch;
	size_t prefix = 0;

	for (uint32_t k = i + 1; k < index_count(image->index); k++) {
		if (store_encoding(image->store, k) != STORE_PATCH)
			continue;
		if (store_length(image->store, k) > 0)
			break;
		plain += index_length(image->index, k);
	}
	if (container_read(session->container, session->room.stored, stored, err) < 0)
		return -1;
	if (patch_open(session->room.stored, stored, &patch, err) < 0 ||
		ask_for_base(session, &patch, &prefix, err) < 0 ||
		patch_decode(session->decoder, &session->room, &patch, prefix, plain, err) < 0)
		return err_wrap(err, "'%s': '%s%s': chunk %u", session->source->name, image->class,
			MEMBER_DATA_SUFFIX, i);
	return 0;
}

/* Up to the last wanted chunk before a gap that is not taken along. */
static uint64_t run_length(const struct wanted *wanted, uint64_t gap_min)
{
	uint32_t count = index_count(wanted->image->index);
	uint64_t run = 0, gap = 0;

	for (uint32_t i = wanted->chunk; i < count && (run == 0 || gap < gap_min); i++) {
		gap += store_length(wanted->image->store, i);
		if (is_wanted(wanted->bitmap, i)) {
			run += gap;
			gap = 0;
		}
	}
	return run;
}

/* See struct source_wants. */
static bool next_wanted(void *arg, uint64_t from, uint64_t gap, struct source_range *ret)
{
	struct wanted *wanted = arg;
	uint32_t count = index_count(wanted->image->index);

	if (from < wanted->at) {
		wanted->chunk = 0;
		wanted->at = 0;
	}
	for (; wanted->chunk < count; wanted->chunk++) {
		uint64_t end = wanted->at + store_length(wanted->image->store, wanted->chunk);

		if (end > from && end > wanted->at && is_wanted(wanted->bitmap, wanted->chunk)) {
			ret->start = from > wanted->at ? from : wanted->at;
			ret->end = wanted->at + run_length(wanted, gap);
			return true;
		}
		wanted->at = end;
	}
	return false;
}

static int send_chunks(struct session *session, const struct image *image, struct err *err)
{
	struct source_wants wants = {next_wanted, &session->wanted};
	uint64_t unneeded = 0; /* stored bytes up to here that nobody needs: one jump, not many */
	size_t patch_len = 0; /* plain bytes of the patch under way up to here */

	session->wanted = (struct wanted){.image = image, .bitmap = session->needed};
	container_want(session->container, &wants);
	for (uint32_t i = 0; i < index_count(image->index); i++) {
		bool patched = store_encoding(image->store, i) == STORE_PATCH;
		uint32_t stored = store_length(image->store, i);
		size_t patch_at = patched && stored == 0 ? patch_len : 0;

		if (patched)
			patch_len = patch_at + index_length(image->index, i);
		if (!is_wanted(session->needed, i)) {
			unneeded += stored;
		} else {
			if (container_skip(session->container, unneeded, err) < 0)
				return -1;
			unneeded = 0;
			if (patched && unpack_patch(session, image, i, err) < 0)
				return -1;
		}
		if (is_wanted(session->bitmap, i) &&
			send_chunk(session, image, i, patch_at, err) < 0)
			return -1;
	}
	container_expect(session->container, 0); /* the bitmap is not looked at any more */
	return 0;
}

int serve_weight(struct session *session, const struct image *image, size_t bitmap_len,
	uint64_t *ret, struct err *err)
{
	uint64_t weight = 0; /* at most the size of the data member */

	if (find_needed(session, image, bitmap_len, err) < 0)
		return -1;
	for (uint32_t i = 0; i < index_count(image->index); i++)
		if (is_wanted(session->needed, i))
			weight += store_length(image->store, i);
	*ret = weight;
	return 0;
}

int serve_chunks(
	struct session *session, const struct image *image, size_t bitmap_len, struct err *err)
{
	if (find_needed(session, image, bitmap_len, err) < 0)
		return -1;
	return send_chunks(session, image, err);
}
