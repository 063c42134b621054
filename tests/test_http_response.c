/* http_response: what header lines say, and what they must not be able to say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "updater/carrier/http_response.h"
#include "updater/mem.h"

static struct http_response parse(const char *const lines[])
{
	struct http_response response = {0};

	for (size_t i = 0; lines[i]; i++)
		http_response_line(&response, lines[i], strlen(lines[i]));
	return response;
}

#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void test_http_response__plain_file(void **state)
{
	struct http_response r =
		PARSE("HTTP/1.1 200 OK\r\n", "Server: x\r\n", "content-length:  1234 \r\n",
			"ETag: \"a-b\"\r\n", "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n",
			"ACCEPT-RANGES: Bytes\r\n", "\r\n");

	(void)state;
	assert_int_equal(r.status, 200);
	assert_true(r.complete && r.has_length && r.takes_ranges);
	assert_false(r.malformed || r.chunked || r.encoded || r.refuses_ranges || r.has_range);
	assert_int_equal(r.length, 1234);
	assert_string_equal(r.etag, "\"a-b\"");
	assert_string_equal(r.modified, "Tue, 14 Nov 2023 22:13:20 GMT");
	assert_string_equal(http_response_validator(&r), "\"a-b\"");
}

static void test_http_response__range(void **state)
{
	struct http_response r = PARSE("HTTP/1.1 206 Partial\r\n",
		"Content-Range: bytes 100-199/5000\r\n", "Content-Length: 100\r\n", "\r\n");

	(void)state;
	assert_true(r.has_range && r.has_range_total && !r.malformed);
	assert_int_equal(r.range_start, 100);
	assert_int_equal(r.range_total, 5000);
	r = PARSE("HTTP/1.1 206 Partial\r\n", "Content-Range: bytes 7-9/*\r\n", "\r\n");
	assert_true(r.has_range && !r.has_range_total && !r.malformed);
}

static void test_http_response__malformed_numbers(void **state)
{
	static const char *const LINES[] = {"Content-Length: -1", "Content-Length: 1x",
		"Content-Length:", "Content-Length: 99999999999999999999999",
		"Content-Length: 999999999999999999", "Content-Length: +5", "Content-Length: 0x10",
		"Content-Range: bytes", "Content-Range: bytes 1-2", "Content-Range: bytes -2/3",
		"Content-Range: bytes x-2/3", "Content-Range: bytes 1/2-3",
		"Content-Range: lines 1-2/3", "Content-Range: bytes 1-2/", "Content-Range: -/",
		"Content-Range: bytes */3"};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(LINES); i++) {
		struct http_response r = PARSE("HTTP/1.1 200 OK", LINES[i], "");

		if (!r.malformed)
			fail_msg("taken: %s", LINES[i]);
	}
	assert_true(PARSE("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6").malformed);
	assert_false(PARSE("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5").malformed);
}

static void test_http_response__chunks_outweigh_a_length(void **state)
{
	struct http_response r =
		PARSE("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked", "");

	(void)state;
	assert_true(r.chunked && !r.has_length);
	assert_true(PARSE("HTTP/1.1 200 OK", "Content-Encoding: gzip", "").encoded);
	assert_false(PARSE("HTTP/1.1 200 OK", "Content-Encoding: identity", "").encoded);
}

static void test_http_response__interim_answers_do_not_count(void **state)
{
	struct http_response r = PARSE("HTTP/1.1 100 Continue", "");

	(void)state;
	assert_false(r.complete);
	r = PARSE("HTTP/1.1 103 Early", "ETag: \"x\"", "", "HTTP/1.1 404 Not Found", "");
	assert_true(r.complete);
	assert_int_equal(r.status, 404);
	assert_string_equal(r.etag, "");
	/* Trailers change nothing any more. */
	r = PARSE("HTTP/1.1 200 OK", "", "Content-Length: 7");
	assert_false(r.has_length);
}

static void test_http_response__validators_are_safe_to_send_back(void **state)
{
	char longer[400] = "ETag: \"";
	struct http_response r;

	(void)state;
	memset(longer + 7, 'x', 300);
	assert_string_equal(PARSE("HTTP/1.1 200 OK", longer, "").etag, "");
	assert_string_equal(PARSE("HTTP/1.1 200 OK", "ETag: \"a\rb\"", "").etag, "");
	r = PARSE("HTTP/1.1 200 OK", "ETag: W/\"weak\"", "");
	assert_null(http_response_validator(&r));
	r = PARSE("HTTP/1.1 200 OK", "ETag: W/\"weak\"", "Last-Modified: then", "");
	assert_string_equal(http_response_validator(&r), "then");
}

static void test_http_response__same_file_or_another(void **state)
{
	struct http_response one = PARSE("HTTP/1.1 200 OK", "ETag: \"1\"", "Last-Modified: a");
	struct http_response two = PARSE("HTTP/1.1 200 OK", "ETag: \"2\"", "Last-Modified: a");
	struct http_response late = PARSE("HTTP/1.1 200 OK", "Last-Modified: b");
	struct http_response none = PARSE("HTTP/1.1 200 OK");

	(void)state;
	assert_true(http_response_same(&one, &one));
	assert_false(http_response_same(&one, &two));
	assert_false(http_response_same(&one, &late));
	assert_true(http_response_same(&one, &none));
}

static void test_http_response__status_lines(void **state)
{
	(void)state;
	assert_int_equal(PARSE("HTTP/1.1").status, 0);
	assert_int_equal(PARSE("HTTP/1.1 ").status, 0);
	assert_int_equal(PARSE("HTTP/1.1 2x0 OK").status, 0);
	assert_int_equal(PARSE("HTTP/2 204").status, 204);
	assert_string_equal(http_status_text(404), "Not Found");
	assert_string_equal(http_status_text(299), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http_response__plain_file),
		cmocka_unit_test(test_http_response__range),
		cmocka_unit_test(test_http_response__malformed_numbers),
		cmocka_unit_test(test_http_response__chunks_outweigh_a_length),
		cmocka_unit_test(test_http_response__interim_answers_do_not_count),
		cmocka_unit_test(test_http_response__validators_are_safe_to_send_back),
		cmocka_unit_test(test_http_response__same_file_or_another),
		cmocka_unit_test(test_http_response__status_lines),
	};

	return cmocka_run_group_tests_name("http_response", tests, NULL, NULL);
}
