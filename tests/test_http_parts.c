/* http_parts: the parts of a multipart body as servers send them, however they arrive; and what is no
 * such body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "updater/carrier/http_parts.h"
#include "updater/mem.h"

#define HEAD(range) "--x\r\nContent-Type: text/plain\r\nContent-Range: bytes " range "\r\n\r\n"

/* "10-12/99:abc|20-20/99:d|end": what came of it; "!" where it is malformed. */
static void parse(const char *body, size_t len, size_t step, char *ret, size_t cap)
{
	struct http_parts parts;
	size_t at = 0;

	ret[0] = '\0';
	http_parts_init(&parts, "x");
	while (at < len) {
		size_t n = len - at < step ? len - at : step;
		const char *data = body + at;
		enum http_parts_event event = HTTP_PARTS_DATA;

		at += n;
		while (event != HTTP_PARTS_MORE) {
			const char *bytes = NULL;
			size_t count = 0;
			char *end = ret + strlen(ret);
			size_t room = cap - strlen(ret);

			event = http_parts_next(&parts, &data, &n, &bytes, &count);
			if (event == HTTP_PARTS_RANGE)
				(void)snprintf(end, room, "%s%llu-%llu/%llu:", ret[0] ? "|" : "",
					(unsigned long long)parts.part.range_start,
					(unsigned long long)parts.part.range_end - 1,
					(unsigned long long)parts.part.range_total);
			else if (event == HTTP_PARTS_DATA)
				(void)snprintf(end, room, "%.*s", (int)count, bytes);
			else if (event == HTTP_PARTS_END)
				(void)snprintf(end, room, "|end");
			else if (event == HTTP_PARTS_MALFORMED) {
				(void)snprintf(end, room, "!");
				return;
			}
		}
	}
}

/* In one piece, and in pieces of every size. */
static void expect(const char *body, size_t len, const char *what)
{
	char got[512];

	for (size_t step = 1; step <= len; step++) {
		parse(body, len, step, got, sizeof(got));
		if (strcmp(got, what) != 0)
			fail_msg("%s, by %zu: %s, expected %s", body, step, got, what);
	}
}

static void test_http_parts__as_servers_send_them(void **state)
{
	static const char *const BODIES[] = {
		/* nginx and Apache begin with a line's end, Go does not; nor does all end with one. */
		"\r\n" HEAD("10-12/99") "abc\r\n" HEAD("20-20/99") "d\r\n--x--\r\n",
		HEAD("10-12/99") "abc\r\n" HEAD("20-20/99") "d\r\n--x--\r\n",
		HEAD("10-12/99") "abc\r\n--x\r\ncontent-range:bytes 20-20/99\r\n\r\nd\r\n--x--\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(BODIES); i++)
		expect(BODIES[i], strlen(BODIES[i]), "10-12/99:abc|20-20/99:d|end");
}

static void test_http_parts__data_may_look_like_a_boundary(void **state)
{
	static const char BODY[] = HEAD("0-8/99") "\r\n--x--\r\n\r\n--x--\r\n";

	(void)state;
	expect(BODY, strlen(BODY), "0-8/99:\r\n--x--\r\n|end");
}

static void test_http_parts__cut_off_it_waits_for_more(void **state)
{
	static const char BODY[] = HEAD("10-12/99") "ab";

	(void)state;
	expect(BODY, strlen(BODY), "10-12/99:ab");
}

static void test_http_parts__malformed(void **state)
{
	static const struct {
		const char *body;
		const char *what;
	} BODIES[] = {
		{"<html>\r\n", "!"},
		{"\r\n\r\n" HEAD("10-12/99"), "!"}, /* a preamble */
		{"--y\r\nContent-Range: bytes 10-12/99\r\n\r\nabc", "!"},
		{"--xx\r\nContent-Range: bytes 10-12/99\r\n\r\nabc", "!"},
		{"-x\r\n", "!"},
		{"--x\r\nContent-Type: text/plain\r\n\r\nabc", "!"}, /* no range */
		{"--x\r\nContent-Range: bytes 10-12/*\r\n\r\nabc", "!"},
		{"--x\r\nContent-Range: bytes 12-10/99\r\n\r\nabc", "!"},
		{"--x\r\nContent-Range: bytes 10-99/99\r\n\r\nabc", "!"},
		{"--x\r\nContent-Range: bytes 10-12/99\r\nContent-Range: bytes 10-12/99\r\n\r\nabc",
			"!"},
		{"--x\r\nContent-Encoding: gzip\r\nContent-Range: bytes 10-12/99\r\n\r\nabc", "!"},
		{"--x\nContent-Range: bytes 10-12/99\n\nabc", "!"}, /* no CR */
		{HEAD("10-12/99") "abcd\r\n--x--\r\n", "10-12/99:abc!"}, /* longer than it says */
		{HEAD("10-12/99") "abc--x--\r\n", "10-12/99:abc!"},
		{HEAD("10-12/99") "abc\r\n--y--\r\n", "10-12/99:abc!"},
		{HEAD("10-12/99") "abc\r\n--x--\r\nmore", "10-12/99:abc|end!"},
		{HEAD("10-12/99") "abc\r\n--x--\r\n\r\n", "10-12/99:abc|end!"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(BODIES); i++)
		expect(BODIES[i].body, strlen(BODIES[i].body), BODIES[i].what);
	expect("--x\0\r\n", 6, "!");
}

static void test_http_parts__header_lines_are_bounded(void **state)
{
	char body[4096] = "--x\r\nA: ";
	char got[64];

	(void)state;
	memset(body + strlen(body), 'a', HTTP_PARTS_LINE_MAX);
	parse(body, strlen(body), 7, got, sizeof(got));
	assert_string_equal(got, "!");
	(void)snprintf(body, sizeof(body), "--x\r\n");
	for (size_t i = 0; i < HTTP_PARTS_HEAD_MAX / 8 + 1; i++)
		(void)snprintf(body + strlen(body), sizeof(body) - strlen(body), "Abc: def\r\n");
	parse(body, strlen(body), 7, got, sizeof(got));
	assert_string_equal(got, "!");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http_parts__as_servers_send_them),
		cmocka_unit_test(test_http_parts__data_may_look_like_a_boundary),
		cmocka_unit_test(test_http_parts__cut_off_it_waits_for_more),
		cmocka_unit_test(test_http_parts__malformed),
		cmocka_unit_test(test_http_parts__header_lines_are_bounded),
	};

	return cmocka_run_group_tests_name("http_parts", tests, NULL, NULL);
}
