#include "updater/carrier/serve.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "updater/carrier/serve_session.h"

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

static int open_source(
	struct session *session, const struct source_options *options, struct err *err)
{
	const struct message_open *open = &session->open;

	if (open->url && !session->fetcher)
		return err_set(err, FAIL_UNTRUSTED, "OPEN with a URL for a carrier of files");
	if (open->url)
		return session->fetcher->open(open->name, options, &session->source, err);
	return source_file_new(session->source_fd, open->name, options, &session->source, err);
}

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
	if (open_source(session, &options, err) < 0)
		return -1;
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

/* A class and a bitmap, into session->bitmap: the payload of WEIGH and WANT. */
static int take_bitmap(struct session *session, const struct message *message,
	char ret_class[static MANIFEST_CLASS_MAX + 1], struct err *err)
{
	uint8_t field[MESSAGE_CLASS_FIELD];
	uint32_t bitmap_len = message->len - MESSAGE_CLASS_FIELD;
	void *p = NULL;

	free(steal_ptr(&session->bitmap));
	if (mem_alloc(bitmap_len, &p, err) < 0)
		return -1;
	session->bitmap = p;
	if (message_payload(&session->reader, field, sizeof(field), err) < 0 ||
		message_payload(&session->reader, session->bitmap, bitmap_len, err) < 0)
		return -1;
	if (!message_parse_class(field, sizeof(field), ret_class))
		return err_set(err, FAIL_UNTRUSTED, "a bitmap without a class");
	return 0;
}

static int check_bitmap(const struct image *image, uint32_t len, struct err *err)
{
	if (len == (index_count(image->index) + 7u) / 8u)
		return 0;
	return err_set(err, FAIL_UNTRUSTED, "a bitmap of %u bytes for the chunks of '%s'", len,
		image->class);
}

static int answer_weigh(struct session *session, const struct message *message, struct err *err)
{
	uint32_t bitmap_len = message->len - MESSAGE_CLASS_FIELD;
	char class[MANIFEST_CLASS_MAX + 1];
	uint8_t payload[MESSAGE_WEIGH_LEN];
	const struct image *image = NULL;
	uint64_t weight = 0;

	if (take_bitmap(session, message, class, err) < 0 ||
		(!session->stores_read && read_stores(session, err) < 0))
		return -1;
	for (size_t i = 0; i < session->image_count; i++)
		if (strcmp(session->images[i].class, class) == 0)
			image = &session->images[i];
	if (!image)
		return err_set(err, FAIL_UNTRUSTED, "WEIGH '%s', which has no index", class);
	if (check_bitmap(image, bitmap_len, err) < 0 ||
		serve_weight(session, image, bitmap_len, &weight, err) < 0)
		return -1;
	le64_put(payload, weight);
	return message_put(&session->writer, MESSAGE_WEIGH, payload, sizeof(payload), err);
}

static int answer_want(struct session *session, const struct message *message, struct err *err)
{
	uint32_t bitmap_len = message->len - MESSAGE_CLASS_FIELD;
	char class[MANIFEST_CLASS_MAX + 1];
	const struct image *image;

	if (take_bitmap(session, message, class, err) < 0)
		return -1;
	do {
		if (session->image_at == session->image_count)
			return err_set(err, FAIL_UNTRUSTED,
				"WANT '%s', which does not follow or has no index", class);
		if (enter_data(session, err) < 0)
			return -1;
		image = &session->images[session->image_at - 1];
	} while (strcmp(image->class, class) != 0);
	if (check_bitmap(image, bitmap_len, err) < 0)
		return -1;
	return serve_chunks(session, image, bitmap_len, err);
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
	case MESSAGE_WEIGH:
		return answer_weigh(session, message, err);
	case MESSAGE_WANT:
		return answer_want(session, message, err);
	case MESSAGE_TAKEN:
		return serve_taken(session, err);
	case MESSAGE_END:
		return answer_end(session, err);
	case MESSAGE_SIGNATURE:
	case MESSAGE_CHUNK:
	case MESSAGE_NOTE:
	case MESSAGE_ALIVE:
	case MESSAGE_ERROR: /* not an installer's: message_next() has refused them */
	case MESSAGE_BASE: /* an answer that nobody asked for */
		break;
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

int serve(int in_fd, int out_fd, int source_fd, const struct source_fetcher *fetcher,
	struct ring_room *ring, struct err *err)
{
	struct session session = {.source_fd = source_fd, .fetcher = fetcher, .ring = ring};
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
