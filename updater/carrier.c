#include "updater/carrier_talk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "updater/carrier/message.h"
#include "updater/carrier/source.h"
#include "updater/carrier/spawn.h"
#include "updater/fs.h"

#define STALL_DEFAULT    60u /* seconds */
#define MIN_RATE_DEFAULT 1024u /* bytes a second */

/* ---- the calls, in their order ---- */

static int open_source(const char *source, int *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	struct stat status;

	if (source_is_url(source))
		return 0; /* the child's business */
	if (strcmp(source, "-") == 0) {
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return err_errno(err, "standard input");
	} else if (fs_open(source, O_RDONLY | O_NOCTTY, 0, &fd, err) < 0) {
		return -1;
	}
	if (fstat(fd, &status) < 0)
		return err_errno(err, "stat '%s'", source);
	if (S_ISDIR(status.st_mode))
		return err_set(err, FAIL_IO, "'%s' is a directory, expected a bundle", source);
	*ret = fd;
	fd = -1;
	return 0;
}

static int ask_open(struct carrier *carrier, const char *source, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes ca = {0};
	CLEANUP(bytes_finish) struct bytes payload = {0};
	CLEANUP(cleanup_free) char *name = NULL;
	struct message_open open = {
		.stall_timeout = carrier->options.stall_timeout,
		.min_rate = carrier->options.min_rate,
		.retries = carrier->options.retries,
		.url = source_is_url(source),
	};

	if (mem_strdup(strcmp(source, "-") == 0 ? "standard input" : source, &name, err) < 0)
		return -1;
	open.name = name;
	/* Read here, with the caller's rights: the child may not be able to. */
	if (open.url && carrier->options.ca_file &&
		fs_read_file(carrier->options.ca_file, MESSAGE_CA_MAX, &ca, err) < 0)
		return err_wrap(err, "CA file");
	open.ca = ca;
	if (message_encode_open(&open, &payload, err) < 0)
		return -1;
	return talk_ask(carrier, MESSAGE_OPEN, payload.data, payload.len, err);
}

static void cleanup_carrier(struct carrier **carrier)
{
	carrier_close(carrier);
}

int carrier_open(const char *source, const struct carrier_options *options, struct carrier **ret,
	struct err *err)
{
	CLEANUP(cleanup_carrier) struct carrier *carrier = NULL;
	CLEANUP(cleanup_fd) int fd = -1;
	struct spawn spawn = {
		.user = options->user,
		.impostor = options->impostor,
		.impostor_arg = options->impostor_arg,
	};
	void *p = NULL;

	if (open_source(source, &fd, err) < 0 || mem_alloc(sizeof(*carrier), &p, err) < 0)
		return -1;
	carrier = p;
	carrier->child = (struct spawned){-1, -1, -1, {.fd = -1}};
	carrier->options = *options;
	if (carrier->options.stall_timeout == 0)
		carrier->options.stall_timeout = STALL_DEFAULT;
	if (carrier->options.min_rate == 0)
		carrier->options.min_rate = MIN_RATE_DEFAULT;
	/* The child notices a silent source first, and can say more about it. */
	carrier->patience = carrier->options.stall_timeout + carrier->options.stall_timeout / 4 + 2;
	spawn.source = fd;
	if (spawn_carrier(&spawn, &carrier->child, err) < 0 ||
		message_reader_init(
			&carrier->reader, carrier->child.answers, MESSAGE_FROM_CARRIER, err) < 0)
		return -1;
	carrier->reader.wait = talk_wait;
	carrier->reader.wait_arg = carrier;
	if (ask_open(carrier, source, err) < 0)
		return -1;
	*ret = steal_ptr(&carrier);
	return 0;
}

int carrier_manifest(struct carrier *carrier, struct bytes *ret_manifest,
	struct bytes *ret_signature, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes manifest = {0};
	uint32_t len = 0;

	if (talk_ask(carrier, MESSAGE_MANIFEST, NULL, 0, err) < 0 ||
		talk_next(carrier, MESSAGE_MANIFEST, &len, err) < 0 ||
		talk_receive_bytes(carrier, len, &manifest, err) < 0 ||
		talk_next(carrier, MESSAGE_SIGNATURE, &len, err) < 0 ||
		talk_receive_bytes(carrier, len, ret_signature, err) < 0)
		return -1;
	*ret_manifest = steal_bytes(&manifest);
	return 0;
}

int carrier_index(struct carrier *carrier, const char *class, uint64_t size, struct bytes *ret,
	struct err *err)
{
	uint8_t payload[8 + MANIFEST_CLASS_MAX];
	size_t class_len = strlen(class);
	uint32_t len = 0;

	if (class_len < 1 || class_len > MANIFEST_CLASS_MAX || size < INDEX_HEADER_LEN ||
		size > INDEX_SIZE_MAX)
		return err_set(err, FAIL_UNTRUSTED, "index of '%s' with %llu bytes", class,
			(unsigned long long)size);
	le64_put(payload, size);
	memcpy(payload + 8, class, class_len);
	if (talk_ask(carrier, MESSAGE_INDEX, payload, 8 + class_len, err) < 0 ||
		talk_next(carrier, MESSAGE_INDEX, &len, err) < 0)
		return -1;
	if (len != size)
		return talk_lie(err, "an index of another length than was asked for");
	return talk_receive_bytes(carrier, len, ret, err);
}

int carrier_stores(
	struct carrier *carrier, bool *ret_delta, struct digest *ret_base, struct err *err)
{
	struct digest base = {0};
	uint32_t len = 0;

	if (talk_ask(carrier, MESSAGE_STORES, NULL, 0, err) < 0 ||
		talk_next(carrier, MESSAGE_STORES, &len, err) < 0)
		return -1;
	if (len != 0 && len != sizeof(base.b))
		return talk_lie(err, "a base that is no artifact's id");
	if (talk_receive(carrier, base.b, len, err) < 0)
		return -1;
	*ret_delta = len != 0;
	*ret_base = base;
	return 0;
}

static int send_bitmap(struct carrier *carrier, enum message_type type, const char *class,
	const struct index *index, const uint8_t *bitmap, struct err *err)
{
	uint8_t start[MESSAGE_HEAD_LEN + MESSAGE_CLASS_FIELD] = {0};
	size_t bitmap_len = (index_count(index) + 7u) / 8u;
	size_t class_len = strlen(class);

	if (class_len < 1 || class_len > MANIFEST_CLASS_MAX)
		return err_set(err, FAIL_UNTRUSTED, "class '%s'", class);
	le32_put(start, type);
	le32_put(start + 4, (uint32_t)(MESSAGE_CLASS_FIELD + bitmap_len));
	memcpy(start + MESSAGE_HEAD_LEN, class, class_len);
	if (talk_send(carrier, start, sizeof(start), err) < 0)
		return -1;
	return talk_send(carrier, bitmap, bitmap_len, err);
}

int carrier_weigh(struct carrier *carrier, const char *class, const struct index *index,
	const uint8_t *bitmap, uint64_t *ret, struct err *err)
{
	uint8_t payload[MESSAGE_WEIGH_LEN];
	uint32_t len = 0;

	if (send_bitmap(carrier, MESSAGE_WEIGH, class, index, bitmap, err) < 0 ||
		talk_next(carrier, MESSAGE_WEIGH, &len, err) < 0 ||
		talk_receive(carrier, payload, sizeof(payload), err) < 0)
		return -1;
	/* Nothing is stored in more bytes than it has. */
	if (le64_get(payload) > index_image_size(index))
		return talk_lie(err, "more bytes are stored than the image has");
	*ret = le64_get(payload);
	return 0;
}

int carrier_want(struct carrier *carrier, const char *class, const struct index *index,
	const uint8_t *bitmap, const struct carrier_base *base, struct err *err)
{
	carrier->base = base;
	return send_bitmap(carrier, MESSAGE_WANT, class, index, bitmap, err);
}

/* A child that is gone needs no room; what it sent before, its error at last, is still to be read. */
static int tell_taken(struct carrier *carrier, struct err *err)
{
	uint8_t head[MESSAGE_HEAD_LEN] = {0};
	bool gone = false;

	le32_put(head, MESSAGE_TAKEN);
	return talk_try_send(carrier, head, sizeof(head), &gone, err);
}

int carrier_chunk(
	struct carrier *carrier, uint32_t number, uint8_t *buf, size_t len, struct err *err)
{
	uint8_t got[MESSAGE_CHUNK_LEN];
	uint32_t got_len = 0;
	bool next = false;

	if (talk_next(carrier, MESSAGE_CHUNK, &got_len, err) < 0 ||
		talk_receive(carrier, got, sizeof(got), err) < 0)
		return -1;
	if (le32_get(got) != number)
		return talk_lie(err, "another chunk than the next one that is wanted");
	if (le32_get(got + 8) != len)
		return talk_lie(err, "a chunk of another length than the index says");
	if (!ring_take(&carrier->child.ring, le32_get(got + 4), (uint32_t)len, buf, &next))
		return talk_lie(err, "a chunk where none can be");
	return next ? tell_taken(carrier, err) : 0;
}

int carrier_end(struct carrier *carrier, struct carrier_stats *ret, struct err *err)
{
	uint8_t payload[MESSAGE_END_LEN];
	uint32_t len = 0;

	if (talk_ask(carrier, MESSAGE_END, NULL, 0, err) < 0 ||
		talk_next(carrier, MESSAGE_END, &len, err) < 0 ||
		talk_receive(carrier, payload, sizeof(payload), err) < 0)
		return -1;
	if (ret)
		*ret = (struct carrier_stats){
			.fetched = le64_get(payload), .resumed = le32_get(payload + 8)};
	return 0;
}

void carrier_close(struct carrier **carrier)
{
	struct carrier *taken = steal_ptr(carrier);

	if (!taken)
		return;
	message_reader_finish(&taken->reader);
	spawned_finish(&taken->child);
	free(taken);
}
