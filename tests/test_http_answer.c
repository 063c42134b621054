/* http_answer: which answers are taken as what was asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "updater/carrier/http_answer.h"
#include "updater/mem.h"

static const struct source_range RANGES[] = {{100, 200}, {300, 400}};

static struct http_response parse(const char *lines)
{
	struct http_response response = {0};

	while (*lines) {
		size_t len = strcspn(lines, "\n") + 1;

		http_response_line(&response, lines, len);
		lines += len;
	}
	http_response_line(&response, "\r\n", 2);
	return response;
}

static struct http_file begun(void)
{
	return (struct http_file){
		.begun = true,
		.first = {.status = 206, .etag = "\"one\""},
		.has_total = true,
		.total = 5000,
	};
}

static void test_http_answer__a_range(void **state)
{
	static const struct {
		const char *lines;
		enum http_verdict verdict;
		const char *text;
	} ANSWERS[] = {
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5000\nContent-Length: 100\n",
			HTTP_TAKE, ""},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5000\n", HTTP_TAKE, ""},
		{"HTTP/1.1 206 x\nContent-Range: bytes 101-199/5000\n", HTTP_REFUSE,
			"another range"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-198/5000\n", HTTP_REFUSE,
			"another range"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-4999/5000\n", HTTP_REFUSE,
			"another range"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5001\n", HTTP_REFUSE,
			"another range"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/*\n", HTTP_REFUSE, "another range"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5000\nContent-Length: 99\n",
			HTTP_REFUSE, "another range"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5000\nContent-Length: 101\n",
			HTTP_REFUSE, "another range"},
		{"HTTP/1.1 206 x\n", HTTP_REFUSE, "another range"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 199-100/5000\n", HTTP_REFUSE, "malformed"},
		{"HTTP/1.1 206 x\nContent-Type: multipart/byteranges; boundary=x\n", HTTP_REFUSE,
			"several parts"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5000\nETag: \"two\"\n", HTTP_REFUSE,
			"changed on the server"},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5000\nContent-Encoding: gzip\n",
			HTTP_REFUSE, "Content-Encoding"},
		{"HTTP/1.1 200 x\nContent-Length: 5000\n", HTTP_REFUSE, "does not take ranges"},
		{"HTTP/1.1 302 x\nLocation: /\n", HTTP_REDIRECT, ""},
		{"HTTP/1.1 503 x\n", HTTP_BUSY, "503 Service Unavailable"},
		{"HTTP/1.1 416 x\n", HTTP_REFUSE, "416 Range Not Satisfiable"},
		{"HTTP/1.1 404 x\n", HTTP_REFUSE, "404 Not Found"},
	};
	const struct http_question asked = {RANGES, 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ANSWERS); i++) {
		struct http_response response = parse(ANSWERS[i].lines);
		struct http_file file = begun();
		char text[HTTP_TEXT_MAX + 1] = "";

		if (http_answer_judge(&file, &asked, &response, text) != ANSWERS[i].verdict ||
			!strstr(text, ANSWERS[i].text))
			fail_msg("%s: '%s'", ANSWERS[i].lines, text);
	}
}

static void test_http_answer__several_ranges(void **state)
{
	static const struct {
		const char *lines;
		enum http_verdict verdict;
	} ANSWERS[] = {
		{"HTTP/1.1 206 x\nContent-Type: multipart/byteranges; boundary=x\n", HTTP_TAKE},
		{"HTTP/1.1 206 x\nContent-Type: Multipart/ByteRanges;boundary=\"x\"\n", HTTP_TAKE},
		{"HTTP/1.1 206 x\nContent-Type: multipart/byteranges\n", HTTP_FEWER_RANGES},
		{"HTTP/1.1 206 x\nContent-Type: multipart/byteranges; boundary=\n",
			HTTP_FEWER_RANGES},
		{"HTTP/1.1 206 x\nContent-Range: bytes 100-199/5000\n", HTTP_FEWER_RANGES},
		{"HTTP/1.1 200 x\nContent-Length: 5000\n", HTTP_FEWER_RANGES},
		{"HTTP/1.1 400 x\n", HTTP_FEWER_RANGES},
		{"HTTP/1.1 416 x\n", HTTP_FEWER_RANGES},
		{"HTTP/1.1 431 x\n", HTTP_FEWER_RANGES},
		{"HTTP/1.1 503 x\n", HTTP_BUSY},
		{"HTTP/1.1 307 x\n", HTTP_REDIRECT},
		{"HTTP/1.1 200 x\nETag: \"two\"\n", HTTP_REFUSE},
		{"HTTP/1.1 206 x\nContent-Type: multipart/byteranges; boundary=x\nETag: \"two\"\n",
			HTTP_REFUSE},
	};
	const struct http_question asked = {RANGES, 2};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ANSWERS); i++) {
		struct http_response response = parse(ANSWERS[i].lines);
		struct http_file file = begun();
		char text[HTTP_TEXT_MAX + 1] = "";

		if (http_answer_judge(&file, &asked, &response, text) != ANSWERS[i].verdict)
			fail_msg("%s: '%s'", ANSWERS[i].lines, text);
	}
}

/* A range may be answered with all of the file, and one that ends behind the file is cut. */
static void test_http_answer__the_first_answer(void **state)
{
	static const struct source_range FIRST = {0, 65536};
	const struct http_question asked = {&FIRST, 1};
	struct http_response response = parse("HTTP/1.1 200 x\nContent-Length: 5000\n");
	struct http_file file = {0};
	char text[HTTP_TEXT_MAX + 1] = "";

	(void)state;
	assert_int_equal(http_answer_judge(&file, &asked, &response, text), HTTP_TAKE);
	http_answer_learn(&file, &asked, &response);
	assert_true(file.begun && file.has_total && !http_file_takes_ranges(&file));
	assert_int_equal(file.total, 5000);
	file = (struct http_file){0};
	response = parse("HTTP/1.1 206 x\nContent-Range: bytes 0-4999/5000\n");
	assert_int_equal(http_answer_judge(&file, &asked, &response, text), HTTP_TAKE);
	http_answer_learn(&file, &asked, &response);
	assert_true(file.has_total && http_file_takes_ranges(&file));
	assert_int_equal(file.total, 5000);
	file = (struct http_file){0};
	response = parse("HTTP/1.1 416 x\n");
	assert_int_equal(http_answer_judge(&file, &asked, &response, text), HTTP_FEWER_RANGES);
	response = parse("HTTP/1.1 503 x\n");
	assert_int_equal(http_answer_judge(&file, &asked, &response, text), HTTP_REFUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http_answer__a_range),
		cmocka_unit_test(test_http_answer__several_ranges),
		cmocka_unit_test(test_http_answer__the_first_answer),
	};

	return cmocka_run_group_tests_name("http_answer", tests, NULL, NULL);
}
