#include "updater/carrier.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "updater/carrier/message.h"
#include "updater/carrier/source.h"
#include "updater/carrier/spawn.h"
#include "updater/fs.h"

#define STALL_DEFAULT    60u /* seconds */
#define MIN_RATE_DEFAULT 1024u /* bytes a second */
#define SLICE_MS         200 /* how late an interruption may be noticed */
#define NOTES_MAX        1000u /* in all */
#define ALIVE_MAX        (1u << 20) /* for one answer: a second each */

struct carrier {
	struct spawned child;
	struct message_reader reader;
	struct carrier_options options;
	unsigned int patience; /* seconds without a byte until the child counts as hung */
	unsigned int notes;
	const struct carrier_base *base; /* of the image being asked for, or NULL */
};

/* ---- waiting ---- */

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int wait_for(struct carrier *carrier, int fd, short events, struct err *err)
{
	int64_t deadline = now_ms() + (int64_t)carrier->patience * 1000;

	for (;;) {
		struct pollfd poll_fd = {.fd = fd, .events = events};
		int n;

		/* A signal between this check and poll() waits for the end of a slice. */
		if (carrier->options.interrupted && *carrier->options.interrupted)
			return err_set(err, FAIL_INTERRUPTED, "interrupted");
		n = poll(&poll_fd, 1, SLICE_MS);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_errno(err, "carrier: poll");
		if (now_ms() >= deadline)
			return err_set(err, FAIL_IO,
				"the carrier process has been silent for %u seconds",
				carrier->patience);
	}
}

static int wait_for_answer(void *arg, struct err *err)
{
	struct carrier *carrier = arg;

	return wait_for(carrier, carrier->child.answers, POLLIN, err);
}

/* ---- talking ---- */

/* What reading failed with, in the words of somebody who knows whose pipe it is. */
static int reading_failed(struct carrier *carrier, struct err *err)
{
	if (carrier->options.interrupted && *carrier->options.interrupted)
		return err_set(err, FAIL_INTERRUPTED, "interrupted");
	if (carrier->reader.ended)
		return spawned_explain(&carrier->child, err);
	if (err->code == FAIL_UNTRUSTED)
		return err_wrap(err, "the carrier process broke the protocol");
	return -1;
}

static int lie(struct err *err, const char *what)
{
	return err_set(err, FAIL_UNTRUSTED, "the carrier process broke the protocol: %s", what);
}

static int receive(struct carrier *carrier, void *buf, size_t len, struct err *err)
{
	if (message_payload(&carrier->reader, buf, len, err) < 0)
		return reading_failed(carrier, err);
	return 0;
}

static int take_note(struct carrier *carrier, uint32_t len, struct err *err)
{
	uint8_t raw[MESSAGE_TEXT_MAX];
	char text[MESSAGE_TEXT_MAX + 1];

	if (++carrier->notes > NOTES_MAX)
		return lie(err, "too many notes");
	if (receive(carrier, raw, len, err) < 0)
		return -1;
	mem_printable(raw, len, text, sizeof(text));
	if (carrier->options.note)
		carrier->options.note(carrier->options.note_arg, text);
	return 0;
}

/* Always -1: with what the child says, if it says it properly. */
static int take_error(struct carrier *carrier, uint32_t len, struct err *err)
{
	uint8_t raw[4 + MESSAGE_TEXT_MAX];
	struct err said;

	if (receive(carrier, raw, len, err) < 0)
		return -1;
	if (!message_parse_error(raw, len, &said))
		return lie(err, "an error of no known kind");
	*err = said;
	return -1;
}

static int send_all(struct carrier *carrier, const void *buf, size_t len, struct err *err);

/* How many bytes the chunks of a run have. */
static int run_bytes(const struct carrier_base *base, const uint8_t *bytes, struct patch_run *ret,
	uint64_t *len, struct err *err)
{
	if (patch_parse_run(bytes, ret, err) < 0)
		return -1;
	if (ret->first >= base->count || ret->count > base->count - ret->first)
		return err_set(err, FAIL_UNTRUSTED,
			"the delta uses %u chunks from %u on of its base, which has %u", ret->count,
			ret->first, base->count);
	for (uint32_t i = 0; i < ret->count; i++)
		*len += base->length(base->arg, ret->first + i); /* 2^24 runs of 2^18 each */
	return 0;
}

static int send_run(struct carrier *carrier, const uint8_t *bytes, struct err *err)
{
	const struct carrier_base *base = carrier->base;
	struct patch_run run;
	const uint8_t *data;

	if (patch_parse_run(bytes, &run, err) < 0)
		return -1;
	for (uint32_t i = run.first; i < run.first + run.count; i++)
		if (base->chunk(base->arg, i, &data, err) < 0 ||
			send_all(carrier, data, base->length(base->arg, i), err) < 0)
			return -1;
	return 0;
}

/* The child asks for chunks of the base. All numbers are checked before a byte is read. */
static int give_base(struct carrier *carrier, uint32_t len, struct err *err)
{
	uint8_t runs[PATCH_RUN_LEN * PATCH_RUNS_MAX];
	uint8_t head[MESSAGE_HEAD_LEN];
	struct patch_run run;
	uint64_t bytes = 0;

	if (!carrier->base || len % PATCH_RUN_LEN != 0)
		return lie(err, "it asks for a base where there is none");
	if (receive(carrier, runs, len, err) < 0)
		return -1;
	for (uint32_t at = 0; at < len; at += PATCH_RUN_LEN)
		if (run_bytes(carrier->base, runs + at, &run, &bytes, err) < 0)
			return -1;
	if (bytes > PATCH_PREFIX_MAX)
		return err_set(err, FAIL_UNTRUSTED,
			"the delta uses %llu bytes of its base in one patch, at most %u expected",
			(unsigned long long)bytes, PATCH_PREFIX_MAX);
	le32_put(head, MESSAGE_BASE);
	le32_put(head + 4, (uint32_t)bytes);
	if (send_all(carrier, head, sizeof(head), err) < 0)
		return -1;
	for (uint32_t at = 0; at < len; at += PATCH_RUN_LEN)
		if (send_run(carrier, runs + at, err) < 0)
			return -1;
	return 0;
}

/* The next message that is an answer; it has to be of that type. Of MESSAGE_ERROR there is none
 * that succeeds: always -1, with what the child said. */
static int next_answer(
	struct carrier *carrier, enum message_type type, uint32_t *ret_len, struct err *err)
{
	struct message message;
	bool asked = false; /* for a part of the base: once for an answer */

	for (unsigned int alive = 0; alive < ALIVE_MAX; alive++) {
		if (message_next(&carrier->reader, &message, err) < 0)
			return reading_failed(carrier, err);
		if (message.type == MESSAGE_ERROR)
			return take_error(carrier, message.len, err);
		if (message.type == type) {
			*ret_len = message.len;
			return 0;
		}
		if (message.type == MESSAGE_BASE && !asked && type == MESSAGE_CHUNK) {
			asked = true;
			if (give_base(carrier, message.len, err) < 0)
				return -1;
			continue;
		}
		if (message.type == MESSAGE_NOTE && take_note(carrier, message.len, err) < 0)
			return -1;
		if (message.type != MESSAGE_NOTE && message.type != MESSAGE_ALIVE)
			return err_set(err, FAIL_UNTRUSTED,
				"the carrier process broke the protocol: message %d where %d was "
				"expected",
				(int)message.type, (int)type);
	}
	return lie(err, "signs of life without end");
}

/* *ret_gone: nobody reads it any more. */
static int try_send(
	struct carrier *carrier, const void *buf, size_t len, bool *ret_gone, struct err *err)
{
	const uint8_t *from = buf;

	while (len > 0) {
		ssize_t n = send(carrier->child.requests, from, len, MSG_NOSIGNAL);

		if (n >= 0) {
			from += n;
			len -= (size_t)n;
		} else if (errno == EAGAIN) {
			if (wait_for(carrier, carrier->child.requests, POLLOUT, err) < 0)
				return -1;
		} else if (errno != EINTR) {
			*ret_gone = true;
			return 0;
		}
	}
	return 0;
}

static int send_all(struct carrier *carrier, const void *buf, size_t len, struct err *err)
{
	uint32_t len_unused;
	bool gone = false;

	if (try_send(carrier, buf, len, &gone, err) < 0)
		return -1;
	/* It may have said why: that is in the pipe, or will end it. */
	return gone ? next_answer(carrier, MESSAGE_ERROR, &len_unused, err) : 0;
}

static int ask(struct carrier *carrier, enum message_type type, const void *payload, size_t len,
	struct err *err)
{
	uint8_t head[MESSAGE_HEAD_LEN];

	le32_put(head, type);
	le32_put(head + 4, (uint32_t)len);
	if (send_all(carrier, head, sizeof(head), err) < 0)
		return -1;
	return send_all(carrier, payload, len, err);
}

static int receive_bytes(struct carrier *carrier, uint32_t len, struct bytes *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	void *p = NULL;

	if (mem_alloc(len, &p, err) < 0)
		return -1;
	bytes.data = p;
	bytes.len = len;
	if (receive(carrier, bytes.data, len, err) < 0)
		return -1;
	*ret = steal_bytes(&bytes);
	return 0;
}

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
	return ask(carrier, MESSAGE_OPEN, payload.data, payload.len, err);
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
	carrier->reader.wait = wait_for_answer;
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

	if (ask(carrier, MESSAGE_MANIFEST, NULL, 0, err) < 0 ||
		next_answer(carrier, MESSAGE_MANIFEST, &len, err) < 0 ||
		receive_bytes(carrier, len, &manifest, err) < 0 ||
		next_answer(carrier, MESSAGE_SIGNATURE, &len, err) < 0 ||
		receive_bytes(carrier, len, ret_signature, err) < 0)
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
	if (ask(carrier, MESSAGE_INDEX, payload, 8 + class_len, err) < 0 ||
		next_answer(carrier, MESSAGE_INDEX, &len, err) < 0)
		return -1;
	if (len != size)
		return lie(err, "an index of another length than was asked for");
	return receive_bytes(carrier, len, ret, err);
}

int carrier_stores(
	struct carrier *carrier, bool *ret_delta, struct digest *ret_base, struct err *err)
{
	struct digest base = {0};
	uint32_t len = 0;

	if (ask(carrier, MESSAGE_STORES, NULL, 0, err) < 0 ||
		next_answer(carrier, MESSAGE_STORES, &len, err) < 0)
		return -1;
	if (len != 0 && len != sizeof(base.b))
		return lie(err, "a base that is no artifact's id");
	if (receive(carrier, base.b, len, err) < 0)
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
	if (send_all(carrier, start, sizeof(start), err) < 0)
		return -1;
	return send_all(carrier, bitmap, bitmap_len, err);
}

int carrier_weigh(struct carrier *carrier, const char *class, const struct index *index,
	const uint8_t *bitmap, uint64_t *ret, struct err *err)
{
	uint8_t payload[MESSAGE_WEIGH_LEN];
	uint32_t len = 0;

	if (send_bitmap(carrier, MESSAGE_WEIGH, class, index, bitmap, err) < 0 ||
		next_answer(carrier, MESSAGE_WEIGH, &len, err) < 0 ||
		receive(carrier, payload, sizeof(payload), err) < 0)
		return -1;
	/* Nothing is stored in more bytes than it has. */
	if (le64_get(payload) > index_image_size(index))
		return lie(err, "more bytes are stored than the image has");
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
	return try_send(carrier, head, sizeof(head), &gone, err);
}

int carrier_chunk(
	struct carrier *carrier, uint32_t number, uint8_t *buf, size_t len, struct err *err)
{
	uint8_t got[MESSAGE_CHUNK_LEN];
	uint32_t got_len = 0;
	bool next = false;

	if (next_answer(carrier, MESSAGE_CHUNK, &got_len, err) < 0 ||
		receive(carrier, got, sizeof(got), err) < 0)
		return -1;
	if (le32_get(got) != number)
		return lie(err, "another chunk than the next one that is wanted");
	if (le32_get(got + 8) != len)
		return lie(err, "a chunk of another length than the index says");
	if (!ring_take(&carrier->child.ring, le32_get(got + 4), (uint32_t)len, buf, &next))
		return lie(err, "a chunk where none can be");
	return next ? tell_taken(carrier, err) : 0;
}

int carrier_end(struct carrier *carrier, struct carrier_stats *ret, struct err *err)
{
	uint8_t payload[MESSAGE_END_LEN];
	uint32_t len = 0;

	if (ask(carrier, MESSAGE_END, NULL, 0, err) < 0 ||
		next_answer(carrier, MESSAGE_END, &len, err) < 0 ||
		receive(carrier, payload, sizeof(payload), err) < 0)
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
