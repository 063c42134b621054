#include "updater/carrier/serve.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "updater/carrier/container.h"
#include "updater/carrier/decode.h"
#include "updater/carrier/message.h"
#include "updater/carrier/patch.h"
#include "updater/carrier/source.h"
#include "updater/carrier/store.h"

struct image {
	char class[MANIFEST_CLASS_MAX + 1];
	struct bytes raw; /* the index until it is parsed */
	struct index *index;
	struct store *store;
};

/* A WANT being answered, as the source looks at it. */
struct wanted {
	const struct image *image;
	const uint8_t *bitmap;
	uint32_t chunk; /* the one it looked at last */
	uint64_t at; /* where that lies in the data */
};

struct session {
	struct message_reader reader;
	struct message_writer writer;
	int source_fd;
	struct ring_room *ring;
	struct message_open open;
	struct source *source;
	struct container *container;
	struct decoder *decoder;
	size_t image_count;
	size_t image_at; /* whose data member is next */
	bool stores_read;
	struct image images[MANIFEST_IMAGES_MAX];
	time_t alive; /* when the installer last heard of us */
	uint8_t *bitmap; /* of the WANT being answered */
	uint8_t *needed; /* as the bitmap: whose stored bytes are read for it */
	struct wanted wanted;
	struct patch_room room; /* of a delta only */
};

static void session_finish(struct session *session)
{
	for (size_t i = 0; i < session->image_count; i++) {
		bytes_finish(&session->images[i].raw);
		index_free(&session->images[i].index);
		store_free(&session->images[i].store);
	}
	free(session->bitmap);
	free(session->needed);
	patch_room_finish(&session->room);
	decoder_free(&session->decoder);
	container_free(&session->container);
	source_free(&session->source);
	message_open_finish(&session->open);
	message_reader_finish(&session->reader);
	message_writer_finish(&session->writer);
}

/* ---- asides ---- */

/* An aside that cannot be written is lost: the answer it belongs to fails for the same reason. */
static void aside(struct session *session, enum message_type type, const void *text, size_t len)
{
	struct err ignored;

	if (message_put(&session->writer, type, text, len, &ignored) == 0)
		(void)message_flush(&session->writer, &ignored);
}

static void on_note(void *arg, const char *text)
{
	size_t len = strlen(text);

	if (len)
		aside(arg, MESSAGE_NOTE, text, len < MESSAGE_TEXT_MAX ? len : MESSAGE_TEXT_MAX);
}

/* Also sends what was gathered: on a slow line chunks arrive as they are decoded. */
static void on_alive(void *arg)
{
	struct session *session = arg;
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	if (now.tv_sec == session->alive)
		return;
	session->alive = now.tv_sec;
	aside(session, MESSAGE_ALIVE, NULL, 0);
}

/* ---- the answers, in the order of message.h ---- */

static int answer_open(struct session *session, const struct message *message, struct err *err)
{
	CLEANUP(cleanup_free) void *payload = NULL;
	struct source_options options = {0};

	if (session->source)
		return err_set(err, FAIL_UNTRUSTED, "OPEN for the second time");
	if (mem_alloc(message->len, &payload, err) < 0 ||
		message_payload(&session->reader, payload, message->len, err) < 0 ||
		message_parse_open(payload, message->len, &session->open, err) < 0)
		return -1;
	options.stall_timeout = session->open.stall_timeout;
	options.min_rate = session->open.min_rate;
	options.retries = session->open.retries;
	options.ca = session->open.ca;
	options.listener = (struct source_listener){
		.note = on_note,
		.alive = on_alive,
		.arg = session,
	};
	if (session->open.url) {
		if (source_http_new(session->open.name, &options, &session->source, err) < 0)
			return -1;
	} else if (source_file_new(session->source_fd, session->open.name, &options,
			   &session->source, err) < 0) {
		return -1;
	}
	return container_new(session->source, &session->container, err);
}

static int next_member(
	struct session *session, enum member_kind kind, struct member *ret, struct err *err)
{
	struct member member;

	if (container_next(session->container, &member, err) < 0)
		return -1;
	/* The container keeps the order; only the number of images can be another. */
	if (member.kind != kind)
		return err_set(err, FAIL_UNTRUSTED, "'%s': '%s' is where the manifest has no image",
			session->source->name,
			member.kind == MEMBER_KIND_END ? "the end" : member.name);
	*ret = member;
	return 0;
}

static int send_member(
	struct session *session, enum member_kind kind, enum message_type type, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct member member;

	if (next_member(session, kind, &member, err) < 0 ||
		container_read_all(session->container, &member, member.size, &bytes, err) < 0)
		return -1;
	return message_put(&session->writer, type, bytes.data, bytes.len, err);
}

static int answer_manifest(struct session *session, struct err *err)
{
	if (send_member(session, MEMBER_KIND_MANIFEST, MESSAGE_MANIFEST, err) < 0)
		return -1;
	return send_member(session, MEMBER_KIND_SIGNATURE, MESSAGE_SIGNATURE, err);
}

static int answer_index(struct session *session, const struct message *message, struct err *err)
{
	uint8_t payload[8 + MANIFEST_CLASS_MAX];
	char class[MANIFEST_CLASS_MAX + 1];
	struct member member;
	struct image *image;

	if (message_payload(&session->reader, payload, message->len, err) < 0)
		return -1;
	if (!message_parse_class(payload + 8, message->len - 8, class) ||
		session->image_count == MANIFEST_IMAGES_MAX || session->stores_read)
		return err_set(err, FAIL_UNTRUSTED, "INDEX that makes no sense");
	if (container_next(session->container, &member, err) < 0)
		return -1;
	if (member.kind != MEMBER_KIND_INDEX || strcmp(member.class, class) != 0)
		return err_set(err, FAIL_UNTRUSTED,
			"'%s': '%s' is where the manifest's order has '%s%s'",
			session->source->name, member.name, class, MEMBER_INDEX_SUFFIX);
	if (member.size != le64_get(payload))
		return err_set(err, FAIL_UNTRUSTED,
			"'%s': '%s' has %llu bytes, the manifest says %llu", session->source->name,
			member.name, (unsigned long long)member.size,
			(unsigned long long)le64_get(payload));
	image = &session->images[session->image_count];
	if (container_read_all(session->container, &member, INDEX_SIZE_MAX, &image->raw, err) < 0)
		return -1;
	session->image_count++;
	memcpy(image->class, class, sizeof(class));
	return message_put(&session->writer, MESSAGE_INDEX, image->raw.data, image->raw.len, err);
}

/* All of a bundle's images are a delta's to the same base, or none is. */
static int agree_on_base(struct session *session, struct err *err)
{
	struct digest base = {0};
	struct digest other = {0};

	for (size_t i = 0; i < session->image_count; i++) {
		(void)store_base(session->images[i].store, i == 0 ? &base : &other);
		if (i > 0 && !digest_equal(&base, &other))
			return err_set(err, FAIL_UNTRUSTED,
				"'%s': '%s%s' and '%s%s' do not name the same base",
				session->source->name, session->images[0].class,
				MEMBER_STORE_SUFFIX, session->images[i].class, MEMBER_STORE_SUFFIX);
		other = (struct digest){0};
	}
	return digest_is_zero(&base) ? 0 : patch_room_init(&session->room, err);
}

/* Before the first data: by now the installer has authenticated the indexes, or is gone. */
static int read_stores(struct session *session, struct err *err)
{
	for (size_t i = 0; i < session->image_count; i++) {
		struct image *image = &session->images[i];
		CLEANUP(bytes_finish) struct bytes store = {0};
		struct member member;
		uint64_t size = le64_get(image->raw.data + 16);
		uint64_t limit;

		if (next_member(session, MEMBER_KIND_STORE, &member, err) < 0)
			return -1;
		if (index_parse(&image->raw, size, &image->index, err) < 0)
			return err_wrap(err, "'%s': '%s%s'", session->source->name, image->class,
				MEMBER_INDEX_SUFFIX);
		/* The limit before any memory is given for it. */
		limit = STORE_SIZE_MAX(index_count(image->index));
		if (container_read_all(session->container, &member, limit, &store, err) < 0)
			return -1;
		if (store_parse(&store, image->index, &image->store, err) < 0)
			return err_wrap(err, "'%s': '%s'", session->source->name, member.name);
	}
	session->stores_read = true;
	return agree_on_base(session, err);
}

static int answer_stores(struct session *session, struct err *err)
{
	struct digest base;
	bool delta;

	if (!session->stores_read && read_stores(session, err) < 0)
		return -1;
	delta = session->image_count > 0 && store_base(session->images[0].store, &base);
	return message_put(&session->writer, MESSAGE_STORES, base.b, delta ? DIGEST_LEN : 0, err);
}

/* Enters the data member of the next image. */
static int enter_data(struct session *session, struct err *err)
{
	const struct image *image;
	struct member member;

	if (!session->stores_read && read_stores(session, err) < 0)
		return -1;
	image = &session->images[session->image_at];
	if (next_member(session, MEMBER_KIND_DATA, &member, err) < 0)
		return -1;
	if (member.size != store_data_size(image->store))
		return err_set(err, FAIL_UNTRUSTED,
			"'%s': '%s' has %llu bytes, the chunks in its store add up to %llu",
			session->source->name, member.name, (unsigned long long)member.size,
			(unsigned long long)store_data_size(image->store));
	session->image_at++;
	return 0;
}

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

static int answer_taken(struct session *session, struct err *err)
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
		if (answer_taken(session, err) < 0)
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
		if (message.type == MESSAGE_TAKEN && answer_taken(session, err) < 0)
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

static int answer_want(struct session *session, const struct message *message, struct err *err)
{
	uint8_t field[MESSAGE_CLASS_FIELD];
	char class[MANIFEST_CLASS_MAX + 1];
	uint32_t bitmap_len = message->len - MESSAGE_CLASS_FIELD;
	const struct image *image;
	void *p = NULL;

	free(steal_ptr(&session->bitmap));
	if (mem_alloc(bitmap_len, &p, err) < 0)
		return -1;
	session->bitmap = p;
	if (message_payload(&session->reader, field, sizeof(field), err) < 0 ||
		message_payload(&session->reader, session->bitmap, bitmap_len, err) < 0)
		return -1;
	if (!message_parse_class(field, sizeof(field), class))
		return err_set(err, FAIL_UNTRUSTED, "WANT without a class");
	do {
		if (session->image_at == session->image_count)
			return err_set(err, FAIL_UNTRUSTED,
				"WANT '%s', which does not follow or has no index", class);
		if (enter_data(session, err) < 0)
			return -1;
		image = &session->images[session->image_at - 1];
	} while (strcmp(image->class, class) != 0);
	if (bitmap_len != (index_count(image->index) + 7u) / 8u)
		return err_set(err, FAIL_UNTRUSTED, "WANT '%s' with a bitmap of %u bytes", class,
			bitmap_len);
	if (find_needed(session, image, bitmap_len, err) < 0)
		return -1;
	return send_chunks(session, image, err);
}

static int answer_end(struct session *session, struct err *err)
{
	uint8_t payload[MESSAGE_END_LEN];
	struct member member;

	while (session->image_at < session->image_count)
		if (enter_data(session, err) < 0)
			return -1;
	if (next_member(session, MEMBER_KIND_END, &member, err) < 0)
		return -1;
	le64_put(payload, session->source->fetched);
	le32_put(payload + 8, session->source->resumed);
	return message_put(&session->writer, MESSAGE_END, payload, sizeof(payload), err);
}

static int answer(struct session *session, const struct message *message, struct err *err)
{
	if (message->type != MESSAGE_OPEN && !session->container)
		return err_set(err, FAIL_UNTRUSTED, "message %d before OPEN", (int)message->type);
	switch (message->type) {
	case MESSAGE_OPEN:
		return answer_open(session, message, err);
	case MESSAGE_MANIFEST:
		return answer_manifest(session, err);
	case MESSAGE_INDEX:
		return answer_index(session, message, err);
	case MESSAGE_STORES:
		return answer_stores(session, err);
	case MESSAGE_WANT:
		return answer_want(session, message, err);
	case MESSAGE_TAKEN:
		return answer_taken(session, err);
	case MESSAGE_END:
		return answer_end(session, err);
	case MESSAGE_SIGNATURE:
	case MESSAGE_CHUNK:
	case MESSAGE_NOTE:
	case MESSAGE_ALIVE:
	case MESSAGE_ERROR:
		break; /* not an installer's: message_next() has refused them */
	case MESSAGE_BASE:
		break; /* an answer that nobody asked for */
	}
	return err_set(err, FAIL_UNTRUSTED, "message %d from the installer", (int)message->type);
}

static int serve_all(struct session *session, struct err *err)
{
	struct message message = {.type = MESSAGE_OPEN};

	if (decoder_new(&session->decoder, err) < 0)
		return -1;
	while (message.type != MESSAGE_END) {
		if (message_next(&session->reader, &message, err) < 0)
			return session->reader.ended ? 0 : -1;
		if (answer(session, &message, err) < 0 || message_flush(&session->writer, err) < 0)
			return -1;
	}
	return 0;
}

static void put_error(struct message_writer *writer, const struct err *err)
{
	uint8_t payload[4 + MESSAGE_TEXT_MAX];
	size_t len = strlen(err->msg);
	struct err ignored; /* nobody is left to tell */

	len = len < MESSAGE_TEXT_MAX ? len : MESSAGE_TEXT_MAX;
	le32_put(payload, (uint32_t)err->code);
	memcpy(payload + 4, err->msg, len);
	if (message_put(writer, MESSAGE_ERROR, payload, 4 + len, &ignored) == 0)
		(void)message_flush(writer, &ignored);
}

void serve_error(int out_fd, const struct err *err)
{
	struct message_writer writer;
	struct err ignored; /* as above */

	if (message_writer_init(&writer, out_fd, &ignored) < 0)
		return;
	put_error(&writer, err);
	message_writer_finish(&writer);
}

int serve(int in_fd, int out_fd, int source_fd, struct ring_room *ring, struct err *err)
{
	struct session session = {.source_fd = source_fd, .ring = ring};
	int status = -1;

	if (message_reader_init(&session.reader, in_fd, MESSAGE_FROM_INSTALLER, err) == 0 &&
		message_writer_init(&session.writer, out_fd, err) == 0) {
		status = serve_all(&session, err);
		if (status < 0)
			put_error(&session.writer, err);
	}
	session_finish(&session);
	return status;
}
