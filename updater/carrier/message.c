#include "updater/carrier/message.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "updater/fs.h"

#define READER_BUFFER (64u << 10)

struct range {
	uint32_t min;
	uint32_t max; /* 0 with min 1: never */
};

#define NEVER                                                                                      \
	{                                                                                          \
		1, 0                                                                               \
	}

/* The last column of the header's table, for each side. */
static const struct range LENGTHS[][2] = {
	[MESSAGE_OPEN] = {{MESSAGE_OPEN_LEN + 1, MESSAGE_OPEN_MAX}, NEVER},
	[MESSAGE_MANIFEST] = {{0, 0}, {1, MANIFEST_SIZE_MAX}},
	[MESSAGE_SIGNATURE] = {NEVER, {1, MEMBER_SIGNATURE_MAX}},
	[MESSAGE_INDEX] = {{9, 8 + MANIFEST_CLASS_MAX}, {INDEX_HEADER_LEN, INDEX_SIZE_MAX}},
	[MESSAGE_WANT] = {{MESSAGE_CLASS_FIELD + 1, MESSAGE_CLASS_FIELD + MESSAGE_BITMAP_MAX},
		NEVER},
	[MESSAGE_CHUNK] = {NEVER, {MESSAGE_CHUNK_LEN, MESSAGE_CHUNK_LEN}},
	[MESSAGE_END] = {{0, 0}, {MESSAGE_END_LEN, MESSAGE_END_LEN}},
	[MESSAGE_NOTE] = {NEVER, {1, MESSAGE_TEXT_MAX}},
	[MESSAGE_ALIVE] = {NEVER, {0, 0}},
	[MESSAGE_ERROR] = {NEVER, {5, 4 + MESSAGE_TEXT_MAX}},
	[MESSAGE_STORES] = {{0, 0}, {0, DIGEST_LEN}},
	[MESSAGE_BASE] = {{1, PATCH_PREFIX_MAX}, {PATCH_RUN_LEN, PATCH_RUN_LEN *PATCH_RUNS_MAX}},
	[MESSAGE_TAKEN] = {{0, 0}, NEVER},
	[MESSAGE_WEIGH] = {{MESSAGE_CLASS_FIELD + 1, MESSAGE_CLASS_FIELD + MESSAGE_BITMAP_MAX},
		{MESSAGE_WEIGH_LEN, MESSAGE_WEIGH_LEN}},
};

int message_parse_head(const uint8_t head[static MESSAGE_HEAD_LEN], enum message_from from,
	struct message *ret, struct err *err)
{
	uint32_t type = le32_get(head);
	uint32_t len = le32_get(head + 4);

	if (type < MESSAGE_OPEN || type > MESSAGE_LAST)
		return err_set(err, FAIL_UNTRUSTED, "message of unknown type %u", type);
	if (len < LENGTHS[type][from].min || len > LENGTHS[type][from].max)
		return err_set(
			err, FAIL_UNTRUSTED, "message of type %u with a length of %u", type, len);
	*ret = (struct message){.type = (enum message_type)type, .len = len};
	return 0;
}

int message_encode_open(const struct message_open *open, struct bytes *ret, struct err *err)
{
	size_t name_len = strlen(open->name);
	void *p = NULL;
	uint8_t *to;

	if (name_len < 1 || name_len > MESSAGE_NAME_MAX)
		return err_set(err, FAIL_USAGE, "the source's name has %zu bytes, expected 1 to %u",
			name_len, MESSAGE_NAME_MAX);
	if (open->ca.len > MESSAGE_CA_MAX)
		return err_set(err, FAIL_USAGE, "CA file: longer than %u bytes", MESSAGE_CA_MAX);
	if (mem_alloc(MESSAGE_OPEN_LEN + name_len + open->ca.len, &p, err) < 0)
		return -1;
	to = p;
	le32_put(to, open->stall_timeout);
	le32_put(to + 4, open->min_rate);
	le32_put(to + 8, open->retries);
	le32_put(to + 12, open->url);
	le32_put(to + 16, (uint32_t)name_len);
	le32_put(to + 20, (uint32_t)open->ca.len);
	memcpy(to + MESSAGE_OPEN_LEN, open->name, name_len);
	if (open->ca.len)
		memcpy(to + MESSAGE_OPEN_LEN + name_len, open->ca.data, open->ca.len);
	*ret = (struct bytes){.data = to, .len = MESSAGE_OPEN_LEN + name_len + open->ca.len};
	return 0;
}

void message_open_finish(struct message_open *open)
{
	free(steal_ptr(&open->name));
	bytes_finish(&open->ca);
}

int message_parse_open(
	const uint8_t *payload, size_t len, struct message_open *ret, struct err *err)
{
	size_t name_len;
	size_t ca_len;
	void *p = NULL;
	struct bytes ca = {0};

	if (len < MESSAGE_OPEN_LEN)
		return err_set(err, FAIL_UNTRUSTED, "OPEN with %zu bytes", len);
	name_len = le32_get(payload + 16);
	ca_len = le32_get(payload + 20);
	if (name_len < 1 || name_len > MESSAGE_NAME_MAX || ca_len > MESSAGE_CA_MAX ||
		MESSAGE_OPEN_LEN + name_len + ca_len != len ||
		memchr(payload + MESSAGE_OPEN_LEN, 0, name_len))
		return err_set(err, FAIL_UNTRUSTED, "OPEN with lengths that do not add up");
	if (mem_alloc(name_len + 1, &p, err) < 0)
		return -1;
	memcpy(p, payload + MESSAGE_OPEN_LEN, name_len);
	if (bytes_copy(payload + MESSAGE_OPEN_LEN + name_len, ca_len, &ca, err) < 0) {
		free(p);
		return -1;
	}
	*ret = (struct message_open){
		.stall_timeout = le32_get(payload),
		.min_rate = le32_get(payload + 4),
		.retries = le32_get(payload + 8),
		.url = le32_get(payload + 12) != 0,
		.name = p,
		.ca = ca,
	};
	return 0;
}

bool message_parse_error(const uint8_t *payload, size_t len, struct err *ret)
{
	uint32_t code;

	if (len < 5)
		return false;
	code = le32_get(payload);
	if (code != FAIL_IO && code != FAIL_USAGE && code != FAIL_UNTRUSTED &&
		code != FAIL_NETWORK && code != FAIL_DRIFT)
		return false;
	ret->code = (enum err_code)code;
	mem_printable(payload + 4, len - 4, ret->msg, sizeof(ret->msg));
	return true;
}

bool message_parse_class(const uint8_t *field, size_t len, char ret[static MANIFEST_CLASS_MAX + 1])
{
	size_t n = 0;

	while (n < len && field[n])
		n++;
	if (n < 1 || n > MANIFEST_CLASS_MAX || !mem_is_zero(field + n, len - n))
		return false;
	memcpy(ret, field, n);
	ret[n] = '\0';
	return true;
}

/* ---- reading ---- */

int message_reader_init(
	struct message_reader *reader, int fd, enum message_from from, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(READER_BUFFER, &p, err) < 0)
		return -1;
	*reader = (struct message_reader){.fd = fd, .from = from, .buf = p};
	return 0;
}

void message_reader_finish(struct message_reader *reader)
{
	free(steal_ptr(&reader->buf));
}

/* 1..cap bytes from the other end. */
static int receive(
	struct message_reader *reader, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	for (;;) {
		ssize_t n = read(reader->fd, buf, cap);

		if (n > 0) {
			*ret_len = (size_t)n;
			return 0;
		}
		if (n == 0) {
			reader->ended = true;
			return err_set(err, FAIL_IO, "the other end of the pipe closed");
		}
		if (errno == EAGAIN && reader->wait) {
			if (reader->wait(reader->wait_arg, err) < 0)
				return -1;
		} else if (errno != EINTR) {
			return err_errno(err, "read from the pipe");
		}
	}
}

int message_payload(struct message_reader *reader, void *buf, size_t len, struct err *err)
{
	uint8_t *to = buf;

	while (len > 0) {
		size_t ready = reader->end - reader->at;
		size_t n = len < ready ? len : ready;

		memcpy(to, reader->buf + reader->at, n);
		reader->at += n;
		to += n;
		len -= n;
		if (len == 0)
			break;
		/* The buffer is empty: a long rest goes straight to its place. */
		if (len >= READER_BUFFER) {
			if (receive(reader, to, len, &n, err) < 0)
				return -1;
			to += n;
			len -= n;
			continue;
		}
		reader->at = 0;
		reader->end = 0;
		if (receive(reader, reader->buf, READER_BUFFER, &reader->end, err) < 0)
			return -1;
	}
	return 0;
}

int message_next(struct message_reader *reader, struct message *ret, struct err *err)
{
	uint8_t head[MESSAGE_HEAD_LEN];

	if (message_payload(reader, head, sizeof(head), err) < 0)
		return -1;
	return message_parse_head(head, reader->from, ret, err);
}

/* ---- writing ---- */

int message_writer_init(struct message_writer *writer, int fd, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(MESSAGE_GATHER, &p, err) < 0)
		return -1;
	*writer = (struct message_writer){.fd = fd, .buf = p};
	return 0;
}

void message_writer_finish(struct message_writer *writer)
{
	free(steal_ptr(&writer->buf));
}

int message_flush(struct message_writer *writer, struct err *err)
{
	size_t len = writer->len;

	writer->len = 0;
	return fs_write_full(writer->fd, "pipe", writer->buf, len, err);
}

static void put_head(uint8_t *to, enum message_type type, size_t len)
{
	le32_put(to, type);
	le32_put(to + 4, (uint32_t)len);
}

int message_put(struct message_writer *writer, enum message_type type, const void *payload,
	size_t len, struct err *err)
{
	if (writer->len + MESSAGE_HEAD_LEN + len > MESSAGE_GATHER && message_flush(writer, err) < 0)
		return -1;
	put_head(writer->buf + writer->len, type, len);
	writer->len += MESSAGE_HEAD_LEN;
	if (writer->len + len > MESSAGE_GATHER) {
		/* Too long to gather (an index): from where it lies. */
		if (message_flush(writer, err) < 0)
			return -1;
		return fs_write_full(writer->fd, "pipe", payload, len, err);
	}
	if (len)
		memcpy(writer->buf + writer->len, payload, len);
	writer->len += len;
	return 0;
}

int message_put_chunk(struct message_writer *writer, uint32_t number, uint32_t offset, uint32_t len,
	struct err *err)
{
	uint8_t payload[MESSAGE_CHUNK_LEN];

	le32_put(payload, number);
	le32_put(payload + 4, offset);
	le32_put(payload + 8, len);
	return message_put(writer, MESSAGE_CHUNK, payload, sizeof(payload), err);
}
