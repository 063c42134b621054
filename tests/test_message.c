/* message: the table of message.h, from both sides; nothing else is taken. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/carrier/message.h"

static int parse_head(uint32_t type, uint32_t len, enum message_from from, struct err *err)
{
	uint8_t head[MESSAGE_HEAD_LEN];
	struct message message;

	le32_put(head, type);
	le32_put(head + 4, len);
	if (message_parse_head(head, from, &message, err) < 0)
		return -1;
	assert_int_equal(message.type, type);
	assert_int_equal(message.len, len);
	return 0;
}

static void test_message__lengths_are_those_of_the_table(void **state)
{
	static const struct {
		enum message_type type;
		enum message_from from;
		uint32_t min;
		uint32_t max;
	} TABLE[] = {
		{MESSAGE_OPEN, MESSAGE_FROM_INSTALLER, 25, MESSAGE_OPEN_MAX},
		{MESSAGE_MANIFEST, MESSAGE_FROM_INSTALLER, 0, 0},
		{MESSAGE_MANIFEST, MESSAGE_FROM_CARRIER, 1, 64u << 10},
		{MESSAGE_SIGNATURE, MESSAGE_FROM_CARRIER, 1, 64u << 10},
		{MESSAGE_INDEX, MESSAGE_FROM_INSTALLER, 9, 8 + MANIFEST_CLASS_MAX},
		{MESSAGE_INDEX, MESSAGE_FROM_CARRIER, 24, (uint32_t)INDEX_SIZE_MAX},
		{MESSAGE_WANT, MESSAGE_FROM_INSTALLER, 33, 32 + (2u << 20)},
		{MESSAGE_CHUNK, MESSAGE_FROM_CARRIER, 12, 12},
		{MESSAGE_TAKEN, MESSAGE_FROM_INSTALLER, 0, 0},
		{MESSAGE_WEIGH, MESSAGE_FROM_INSTALLER, 33, 32 + (2u << 20)},
		{MESSAGE_WEIGH, MESSAGE_FROM_CARRIER, 8, 8},
		{MESSAGE_END, MESSAGE_FROM_INSTALLER, 0, 0},
		{MESSAGE_END, MESSAGE_FROM_CARRIER, 12, 12},
		{MESSAGE_NOTE, MESSAGE_FROM_CARRIER, 1, MESSAGE_TEXT_MAX},
		{MESSAGE_ALIVE, MESSAGE_FROM_CARRIER, 0, 0},
		{MESSAGE_ERROR, MESSAGE_FROM_CARRIER, 5, 4 + MESSAGE_TEXT_MAX},
		{MESSAGE_STORES, MESSAGE_FROM_INSTALLER, 0, 0},
		{MESSAGE_STORES, MESSAGE_FROM_CARRIER, 0, 32},
		{MESSAGE_BASE, MESSAGE_FROM_CARRIER, 6, 6 * 256},
		{MESSAGE_BASE, MESSAGE_FROM_INSTALLER, 1, 1u << 20},
	};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(TABLE); i++) {
		assert_int_equal(parse_head(TABLE[i].type, TABLE[i].min, TABLE[i].from, &err), 0);
		assert_int_equal(parse_head(TABLE[i].type, TABLE[i].max, TABLE[i].from, &err), 0);
		assert_int_equal(
			parse_head(TABLE[i].type, TABLE[i].max + 1, TABLE[i].from, &err), -1);
		assert_int_equal(err.code, FAIL_UNTRUSTED);
		assert_int_equal(parse_head(TABLE[i].type, UINT32_MAX, TABLE[i].from, &err), -1);
		if (TABLE[i].min)
			assert_int_equal(
				parse_head(TABLE[i].type, TABLE[i].min - 1, TABLE[i].from, &err),
				-1);
	}
}

static void test_message__each_side_has_its_own(void **state)
{
	static const enum message_type INSTALLERS[] = {MESSAGE_OPEN, MESSAGE_WANT, MESSAGE_TAKEN};
	static const enum message_type CARRIERS[] = {
		MESSAGE_SIGNATURE, MESSAGE_CHUNK, MESSAGE_NOTE, MESSAGE_ALIVE, MESSAGE_ERROR};
	struct err err;

	(void)state;
	for (uint32_t len = 0; len < 300; len++) {
		for (size_t i = 0; i < ARRAY_LEN(INSTALLERS); i++)
			assert_int_equal(
				parse_head(INSTALLERS[i], len, MESSAGE_FROM_CARRIER, &err), -1);
		for (size_t i = 0; i < ARRAY_LEN(CARRIERS); i++)
			assert_int_equal(
				parse_head(CARRIERS[i], len, MESSAGE_FROM_INSTALLER, &err), -1);
		assert_int_equal(parse_head(0, len, MESSAGE_FROM_CARRIER, &err), -1);
		assert_int_equal(parse_head(MESSAGE_LAST + 1, len, MESSAGE_FROM_CARRIER, &err), -1);
		assert_int_equal(parse_head(UINT32_MAX, len, MESSAGE_FROM_INSTALLER, &err), -1);
	}
}

static void encode_open(struct bytes *ret)
{
	char name[] = "http://host/x.abide";
	uint8_t ca[] = "-----BEGIN";
	struct message_open open = {
		.stall_timeout = 7,
		.min_rate = 8,
		.retries = 9,
		.url = true,
		.name = name,
		.ca = {ca, sizeof(ca) - 1},
	};
	struct err err;

	assert_int_equal(message_encode_open(&open, ret, &err), 0);
}

static void test_message__open_round_trip(void **state)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct message_open open;
	struct err err;

	(void)state;
	encode_open(&bytes);
	assert_int_equal(message_parse_open(bytes.data, bytes.len, &open, &err), 0);
	assert_int_equal(open.stall_timeout, 7);
	assert_int_equal(open.min_rate, 8);
	assert_int_equal(open.retries, 9);
	assert_true(open.url);
	assert_string_equal(open.name, "http://host/x.abide");
	assert_int_equal(open.ca.len, 10);
	assert_memory_equal(open.ca.data, "-----BEGIN", 10);
	message_open_finish(&open);
}

static void test_message__open_with_lengths_that_lie(void **state)
{
	static const uint32_t LENGTHS[] = {0, 1, 18, 20, 4097, UINT32_MAX, UINT32_MAX - 9};
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct message_open open;
	struct err err;

	(void)state;
	encode_open(&bytes);
	for (size_t i = 0; i < ARRAY_LEN(LENGTHS); i++)
		for (size_t at = 16; at <= 20; at += 4) {
			uint32_t old = le32_get(bytes.data + at);

			le32_put(bytes.data + at, LENGTHS[i]);
			assert_int_equal(
				message_parse_open(bytes.data, bytes.len, &open, &err), -1);
			le32_put(bytes.data + at, old);
		}
	for (size_t len = 0; len < bytes.len; len++)
		assert_int_equal(message_parse_open(bytes.data, len, &open, &err), -1);
	bytes.data[MESSAGE_OPEN_LEN + 3] = '\0';
	assert_int_equal(message_parse_open(bytes.data, bytes.len, &open, &err), -1);
}

static void test_message__open_refuses_a_name_that_is_too_long(void **state)
{
	char name[MESSAGE_NAME_MAX + 2];
	struct message_open open = {.name = name};
	struct bytes bytes;
	struct err err;

	(void)state;
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(message_encode_open(&open, &bytes, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	name[0] = '\0';
	assert_int_equal(message_encode_open(&open, &bytes, &err), -1);
}

static void test_message__error_is_printable_and_of_a_known_kind(void **state)
{
	uint8_t payload[4 + 600] = {0};
	struct err err;

	(void)state;
	le32_put(payload, FAIL_NETWORK);
	memcpy(payload + 4, "a\x1b[31m\n\xff", 8);
	assert_true(message_parse_error(payload, 12, &err));
	assert_int_equal(err.code, FAIL_NETWORK);
	assert_string_equal(err.msg, "a?[31m??");
	assert_false(message_parse_error(payload, 4, &err));
	for (uint32_t code = 0; code < 300; code++) {
		le32_put(payload, code);
		assert_int_equal(message_parse_error(payload, 12, &err),
			code == FAIL_IO || code == FAIL_USAGE || code == FAIL_UNTRUSTED ||
				code == FAIL_NETWORK || code == FAIL_DRIFT);
	}
	memset(payload + 4, 'x', 600);
	le32_put(payload, FAIL_IO);
	assert_true(message_parse_error(payload, sizeof(payload), &err));
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void test_message__class_field(void **state)
{
	uint8_t field[MESSAGE_CLASS_FIELD] = "rootfs";
	char class[MANIFEST_CLASS_MAX + 1];

	(void)state;
	assert_true(message_parse_class(field, sizeof(field), class));
	assert_string_equal(class, "rootfs");
	field[10] = 'x'; /* behind the zeros */
	assert_false(message_parse_class(field, sizeof(field), class));
	memset(field, 'a', sizeof(field));
	assert_false(message_parse_class(field, sizeof(field), class));
	assert_true(message_parse_class(field, MANIFEST_CLASS_MAX, class));
	memset(field, 0, sizeof(field));
	assert_false(message_parse_class(field, sizeof(field), class));
	assert_false(message_parse_class(field, 0, class));
}

/* ---- through a pipe ---- */

#define CHUNKS 5000u /* more than are gathered */

static void write_messages(int fd)
{
	static uint8_t big[1 << 20];
	struct message_writer writer;
	struct err err;
	int bad = 0;

	memset(big, 0x5a, sizeof(big));
	bad |= message_writer_init(&writer, fd, &err);
	bad |= message_put(&writer, MESSAGE_NOTE, "hello", 5, &err);
	bad |= message_put(&writer, MESSAGE_INDEX, big, sizeof(big), &err);
	for (uint32_t i = 0; i < CHUNKS; i++) {
		bad |= message_put_chunk(&writer, i, 7 * i, i + 1, &err);
		bad |= message_put(&writer, MESSAGE_ALIVE, NULL, 0, &err);
	}
	bad |= message_flush(&writer, &err);
	message_writer_finish(&writer);
	_exit(bad != 0);
}

static void expect_filled(struct message_reader *reader, uint32_t len, uint8_t value)
{
	struct err err;
	uint8_t *buf = malloc(len);

	assert_non_null(buf);
	assert_int_equal(message_payload(reader, buf, len, &err), 0);
	assert_int_equal(buf[0], value);
	assert_true(len == 1 || memcmp(buf, buf + 1, len - 1) == 0);
	free(buf);
}

static void test_message__what_is_written_is_read(void **state)
{
	struct message_reader reader;
	struct message message;
	uint8_t rest[4], chunk[MESSAGE_CHUNK_LEN];
	struct err err;
	int fds[2];
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0)
		write_messages(fds[1]);
	(void)close(fds[1]);
	assert_int_equal(message_reader_init(&reader, fds[0], MESSAGE_FROM_CARRIER, &err), 0);
	assert_int_equal(message_next(&reader, &message, &err), 0);
	assert_int_equal(message.type, MESSAGE_NOTE);
	expect_filled(&reader, 1, 'h');
	assert_int_equal(message_payload(&reader, rest, 4, &err), 0);
	assert_int_equal(message_next(&reader, &message, &err), 0);
	assert_int_equal(message.len, 1 << 20);
	expect_filled(&reader, message.len, 0x5a);
	for (uint32_t i = 0; i < CHUNKS; i++) {
		assert_int_equal(message_next(&reader, &message, &err), 0);
		assert_int_equal(message.type, MESSAGE_CHUNK);
		assert_int_equal(message.len, sizeof(chunk));
		assert_int_equal(message_payload(&reader, chunk, sizeof(chunk), &err), 0);
		assert_int_equal(le32_get(chunk), i);
		assert_int_equal(le32_get(chunk + 4), 7 * i);
		assert_int_equal(le32_get(chunk + 8), i + 1);
		assert_int_equal(message_next(&reader, &message, &err), 0);
		assert_int_equal(message.type, MESSAGE_ALIVE);
	}
	assert_int_equal(message_next(&reader, &message, &err), -1);
	assert_true(reader.ended);
	message_reader_finish(&reader);
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message__lengths_are_those_of_the_table),
		cmocka_unit_test(test_message__each_side_has_its_own),
		cmocka_unit_test(test_message__open_round_trip),
		cmocka_unit_test(test_message__open_with_lengths_that_lie),
		cmocka_unit_test(test_message__open_refuses_a_name_that_is_too_long),
		cmocka_unit_test(test_message__error_is_printable_and_of_a_known_kind),
		cmocka_unit_test(test_message__class_field),
		cmocka_unit_test(test_message__what_is_written_is_read),
	};

	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
