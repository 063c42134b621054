#include "updater/carrier_talk.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "updater/carrier/patch.h"

#define SLICE_MS  200 /* how late an interruption may be noticed */
#define NOTES_MAX 1000u /* in all */
#define ALIVE_MAX (1u << 20) /* for one answer: a second each */

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

int talk_wait(void *arg, struct err *err)
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

int talk_lie(struct err *err, const char *what)
{
	return err_set(err, FAIL_UNTRUSTED, "the carrier process broke the protocol: %s", what);
}

int talk_receive(struct carrier *carrier, void *buf, size_t len, struct err *err)
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
		return talk_lie(err, "too many notes");
	if (talk_receive(carrier, raw, len, err) < 0)
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

	if (talk_receive(carrier, raw, len, err) < 0)
		return -1;
	if (!message_parse_error(raw, len, &said))
		return talk_lie(err, "an error of no known kind");
	*err = said;
	return -1;
}

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
			talk_send(carrier, data, base->length(base->arg, i), err) < 0)
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
		return talk_lie(err, "it asks for a base where there is none");
	if (talk_receive(carrier, runs, len, err) < 0)
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
	if (talk_send(carrier, head, sizeof(head), err) < 0)
		return -1;
	for (uint32_t at = 0; at < len; at += PATCH_RUN_LEN)
		if (send_run(carrier, runs + at, err) < 0)
			return -1;
	return 0;
}

int talk_next(struct carrier *carrier, enum message_type type, uint32_t *ret_len, struct err *err)
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
	return talk_lie(err, "signs of life without end");
}

int talk_try_send(
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

int talk_send(struct carrier *carrier, const void *buf, size_t len, struct err *err)
{
	uint32_t len_unused;
	bool gone = false;

	if (talk_try_send(carrier, buf, len, &gone, err) < 0)
		return -1;
	/* It may have said why: that is in the pipe, or will end it. */
	return gone ? talk_next(carrier, MESSAGE_ERROR, &len_unused, err) : 0;
}

int talk_ask(struct carrier *carrier, enum message_type type, const void *payload, size_t len,
	struct err *err)
{
	uint8_t head[MESSAGE_HEAD_LEN];

	le32_put(head, type);
	le32_put(head + 4, (uint32_t)len);
	if (talk_send(carrier, head, sizeof(head), err) < 0)
		return -1;
	return talk_send(carrier, payload, len, err);
}

int talk_receive_bytes(struct carrier *carrier, uint32_t len, struct bytes *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	void *p = NULL;

	if (mem_alloc(len, &p, err) < 0)
		return -1;
	bytes.data = p;
	bytes.len = len;
	if (talk_receive(carrier, bytes.data, len, err) < 0)
		return -1;
	*ret = steal_bytes(&bytes);
	return 0;
}
