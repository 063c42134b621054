/* source_http: servers that break off, creep, hang, change their minds, or send what they should
 * not: the exact bytes arrive, or the failure is said. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bad_server.h"
#include "updater/carrier/source.h"

#define FILE_LEN (5u << 20)

struct fixture {
	uint8_t *data;
	uint8_t *got;
	size_t got_len;
	pid_t server;
	unsigned int port;
	unsigned int notes;
	unsigned int fallbacks;
	unsigned int alive;
	uint64_t striped; /* how much of the file has stripes that are wanted */
	useconds_t pause; /* of the reader, before each stripe */
	struct source_options options;
	struct err err;
};

static struct fixture f;

static void on_note(void *arg, const char *text)
{
	(void)arg;
	if (strstr(text, "takes no ranges"))
		return;
	if (strstr(text, "one by one")) {
		f.fallbacks++;
		return;
	}
	assert_non_null(strstr(text, "connection lost at"));
	f.notes++;
}

static void on_alive(void *arg)
{
	(void)arg;
	f.alive++;
}

static int group_setup(void **state)
{
	(void)state;
	f.data = malloc(FILE_LEN);
	f.got = malloc(FILE_LEN + 4096);
	if (!f.data || !f.got || source_http_prepare(&f.err) < 0)
		return -1;
	for (size_t i = 0; i < FILE_LEN; i++)
		f.data[i] = (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16));
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	free(f.data);
	free(f.got);
	return 0;
}

static int setup(void **state)
{
	(void)state;
	f.server = -1;
	f.notes = 0;
	f.fallbacks = 0;
	f.alive = 0;
	f.got_len = 0;
	f.striped = FILE_LEN / 80000 * 80000;
	f.pause = 0;
	f.err = (struct err){0};
	f.options = (struct source_options){
		.stall_timeout = 1,
		.min_rate = 1024,
		.retries = 3,
		.listener = {.note = on_note, .alive = on_alive},
	};
	return 0;
}

static void stop_server(void)
{
	if (f.server <= 0)
		return;
	(void)kill(f.server, SIGKILL);
	assert_int_equal(waitpid(f.server, NULL, 0), f.server);
	f.server = -1;
}

static int teardown(void **state)
{
	(void)state;
	stop_server();
	return 0;
}

static void start_server(const char *mode, const char *argument)
{
	struct bad_server server = {mode, argument, f.data, FILE_LEN};
	int fd = bad_server_listen(&f.port);

	assert_true(fd >= 0);
	f.server = fork();
	if (f.server == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		bad_server_run(&server, fd);
		_exit(1);
	}
	(void)close(fd);
}

static struct source *open_source(void)
{
	struct source *source = NULL;
	char url[64];

	(void)snprintf(url, sizeof(url), "http://user:secret@127.0.0.1:%u/os.abide?token", f.port);
	assert_int_equal(source_http_new(url, &f.options, &source, &f.err), 0);
	return source;
}

/* All of it into f.got. */
static int read_all(struct source *source)
{
	for (;;) {
		size_t n = 0;

		if (source_read(
			    source, f.got + f.got_len, 4096 + FILE_LEN - f.got_len, &n, &f.err) < 0)
			return -1;
		if (n == 0)
			return 0;
		f.got_len += n;
		assert_true(f.got_len <= FILE_LEN);
	}
}

static int fetch(const char *mode, const char *argument)
{
	struct source *source;
	int status;

	start_server(mode, argument);
	source = open_source();
	status = read_all(source);
	assert_int_equal(source->failed, status < 0);
	source_free(&source);
	stop_server();
	return status;
}

static void expect_whole(const char *mode)
{
	if (fetch(mode, "/") < 0)
		fail_msg("%s: %s", mode, f.err.msg);
	assert_int_equal(f.got_len, FILE_LEN);
	assert_memory_equal(f.got, f.data, FILE_LEN);
	assert_true(f.alive > 0);
}

static void expect_failure(const char *mode, const char *text)
{
	assert_int_equal(fetch(mode, "/"), -1);
	assert_int_equal(f.err.code, FAIL_NETWORK);
	if (!strstr(f.err.msg, text))
		fail_msg("%s: '%s' is not in: %s", mode, text, f.err.msg);
	assert_non_null(strstr(f.err.msg, "'http://127.0.0.1:"));
	assert_non_null(strstr(f.err.msg, "/os.abide'"));
	assert_null(strstr(f.err.msg, "secret"));
	/* What came before the failure was right. */
	assert_memory_equal(f.got, f.data, f.got_len);
}

static void test_source_http__good_server(void **state)
{
	(void)state;
	expect_whole("good");
	assert_int_equal(f.notes, 0);
}

static void test_source_http__chunked_and_until_close(void **state)
{
	(void)state;
	expect_whole("chunked");
	f.got_len = 0;
	expect_whole("close");
}

static void test_source_http__goes_on_where_it_stopped(void **state)
{
	(void)state;
	expect_whole("reset-once");
	assert_int_equal(f.notes, 1);
}

static void test_source_http__goes_on_while_there_is_progress(void **state)
{
	(void)state;
	f.options.retries = 4;
	/* Ten resets of half a MiB each: retries begin anew after each MiB. */
	expect_whole("reset-always");
	assert_true(f.notes >= 9);
}

static void test_source_http__gives_up_after_the_last_retry(void **state)
{
	(void)state;
	f.options.retries = 0;
	expect_failure("reset-once", "gave up after 0 retries");
	assert_int_equal(f.notes, 0);
}

static void test_source_http__without_ranges_it_says_so(void **state)
{
	(void)state;
	expect_failure("reset-no-ranges", "does not take ranges");
	f.got_len = 0;
	expect_failure("reset-refused", "does not take ranges");
}

static void test_source_http__changed_file_is_not_mixed(void **state)
{
	(void)state;
	expect_failure("reset-changed", "changed on the server");
}

static void test_source_http__wrong_range_is_not_taken(void **state)
{
	(void)state;
	expect_failure("reset-wrong", "another range");
}

static void test_source_http__busy_server_gets_another_chance(void **state)
{
	(void)state;
	expect_whole("reset-busy");
	assert_int_equal(f.notes, 2);
}

static void test_source_http__server_that_is_gone_later(void **state)
{
	struct source *source;

	(void)state;
	start_server("hang-once", "/");
	source = open_source();
	f.options.retries = 2;
	assert_int_equal(source_read(source, f.got, 1000, &f.got_len, &f.err), 0);
	stop_server();
	assert_int_equal(read_all(source), -1);
	assert_non_null(strstr(f.err.msg, "gave up after 3 retries"));
	source_free(&source);
}

static void test_source_http__short_body(void **state)
{
	(void)state;
	expect_failure("short", "does not take ranges");
	f.got_len = 0;
	f.options.retries = 0;
	expect_failure("short", "2621440 of 5242880 bytes (the server closed it)");
	f.got_len = 0;
	expect_failure("chunked-cut", "connection lost");
}

static void test_source_http__longer_body(void **state)
{
	(void)state;
	expect_failure("longer", "more than the 5242880 bytes it announced");
}

static void test_source_http__slow_drip(void **state)
{
	(void)state;
	expect_failure("drip", "too slow");
}

static void test_source_http__no_answer(void **state)
{
	(void)state;
	expect_failure("hang", "no answer within 1 seconds");
}

static void test_source_http__silence_half_way(void **state)
{
	(void)state;
	expect_whole("hang-once");
	assert_int_equal(f.notes, 1);
	f.got_len = 0;
	expect_failure("hang-body", "does not take ranges");
}

static void test_source_http__encoded_body(void **state)
{
	(void)state;
	expect_failure("encoded", "Content-Encoding");
}

static void test_source_http__not_http(void **state)
{
	(void)state;
	expect_failure("garbage", "HTTP/0.9");
}

static void test_source_http__redirects(void **state)
{
	(void)state;
	expect_failure("redirect", "more than 5 redirects");
	assert_int_equal(fetch("redirect", "ftp://127.0.0.1/x"), -1);
	assert_non_null(strstr(f.err.msg, "neither http nor https"));
	assert_int_equal(fetch("redirect", "file:///etc/passwd"), -1);
	assert_non_null(strstr(f.err.msg, "neither http nor https"));
}

static void test_source_http__nobody_listens(void **state)
{
	struct source *source;
	int fd = bad_server_listen(&f.port);

	(void)state;
	(void)close(fd);
	source = open_source();
	assert_int_equal(read_all(source), -1);
	assert_int_equal(f.err.code, FAIL_NETWORK);
	assert_non_null(strstr(f.err.msg, "connect"));
	assert_int_equal(f.notes, 0);
	source_free(&source);
}

static void test_source_http__skips_with_a_range(void **state)
{
	static const uint64_t SKIPS[] = {2u << 20, 3u << 20, FILE_LEN};
	struct source *source;
	uint64_t skipped;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(SKIPS) / sizeof(SKIPS[0]); i++) {
		f.got_len = 0;
		start_server("good", "/");
		source = open_source();
		assert_int_equal(source_read(source, f.got, 1000, &n, &f.err), 0);
		assert_int_equal(source_skip(source, 1000, &skipped, &f.err), 0);
		assert_int_equal(skipped, 0); /* not worth a connection */
		assert_int_equal(source_skip(source, SKIPS[i], &skipped, &f.err), 0);
		n += (size_t)skipped;
		assert_int_equal(n, i == 2 ? FILE_LEN : 1000 + SKIPS[i]);
		assert_int_equal(read_all(source), 0);
		assert_int_equal(f.got_len, FILE_LEN - n);
		assert_memory_equal(f.got, f.data + n, f.got_len);
		assert_true(source->fetched <= FILE_LEN - skipped + (1u << 20));
		source_free(&source);
		stop_server();
	}
}

static void test_source_http__skips_only_where_ranges_are_taken(void **state)
{
	struct source *source;
	uint64_t skipped;
	size_t n;

	(void)state;
	start_server("chunked", "/");
	source = open_source();
	assert_int_equal(source_read(source, f.got, 1000, &n, &f.err), 0);
	assert_int_equal(source_skip(source, 2u << 20, &skipped, &f.err), 0);
	assert_int_equal(skipped, 0);
	source_free(&source);
}

/* 64 KiB, then a MiB that is not wanted, then 100 KiB that are, then nothing. */
static int fetch_parts(const char *mode, uint64_t *ret_fetched)
{
	struct source *source;
	uint64_t skipped = 0;
	size_t n = 0;
	int status = 0;

	start_server(mode, "/");
	source = open_source();
	source_expect(source, 65536);
	while (status == 0 && f.got_len < 65536) {
		status = source_read(source, f.got + f.got_len, 65536 - f.got_len, &n, &f.err);
		f.got_len += status == 0 ? n : 0;
	}
	if (status == 0)
		status = source_skip(source, 1u << 20, &skipped, &f.err);
	source_expect(source, 100000);
	for (size_t got = 0; status == 0 && got < 100000; got += n) {
		status = source_read(source, f.got, 100000 - got, &n, &f.err);
		if (status == 0)
			assert_memory_equal(f.got, f.data + 65536 + skipped + got, n);
	}
	*ret_fetched = source->fetched;
	source_free(&source);
	stop_server();
	return status;
}

static void test_source_http__ranges_that_are_expected(void **state)
{
	uint64_t fetched = 0;

	(void)state;
	if (fetch_parts("range", &fetched) < 0)
		fail_msg("%s", f.err.msg);
	assert_int_equal(fetched, 65536 + 100000);
	assert_int_equal(f.notes, 0);
	f.got_len = 0;
	if (fetch_parts("range-refused", &fetched) < 0)
		fail_msg("%s", f.err.msg);
	assert_true(fetched >= 65536 + 100000);
}

static void test_source_http__lies_about_ranges(void **state)
{
	static const struct {
		const char *mode;
		const char *text;
	} LIES[] = {
		{"range-wrong", "another range"},
		{"range-whole", "does not take ranges"},
		{"range-changed", "changed on the server"},
		{"range-parts", "several parts"},
		{"range-endless", "another range"},
		{"range-short", "another range"},
		{"range-late", "another range"},
		{"range-encoded", "Content-Encoding"},
	};
	uint64_t fetched = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(LIES) / sizeof(LIES[0]); i++) {
		f.got_len = 0;
		f.err = (struct err){0};
		assert_int_equal(fetch_parts(LIES[i].mode, &fetched), -1);
		assert_int_equal(f.err.code, FAIL_NETWORK);
		if (!strstr(f.err.msg, LIES[i].text))
			fail_msg("%s: %s", LIES[i].mode, f.err.msg);
	}
}

/* ---- several ranges at once ---- */

/* Every fourth 20000 bytes of the file, but not the first. */
static bool next_striped(void *arg, uint64_t from, uint64_t gap, struct source_range *ret)
{
	uint64_t stripe = from / 80000;

	(void)arg;
	assert_true(gap >= 1);
	ret->start = stripe * 80000 + 60000;
	if (ret->start < from)
		ret->start = from;
	ret->end = gap > 60000 ? f.striped : stripe * 80000 + 80000;
	return ret->start < f.striped;
}

static int read_exactly(struct source *source, uint64_t at, size_t len)
{
	for (size_t n = 0; len > 0; at += n, len -= n) {
		if (source_read(source, f.got, len, &n, &f.err) < 0)
			return -1;
		assert_true(n > 0 && n <= len);
		assert_memory_equal(f.got, f.data + at, n);
	}
	return 0;
}

static int fetch_stripes(const char *mode, uint64_t *ret_fetched)
{
	struct source_wants wants = {next_striped, NULL};
	struct source *source;
	uint64_t at = 1000;
	int status;

	start_server(mode, "/");
	source = open_source();
	source_expect(source, at);
	status = read_exactly(source, 0, at);
	source_want(source, &wants);
	for (uint64_t stripe = 60000; status == 0 && stripe + 20000 <= f.striped; stripe += 80000) {
		uint64_t skipped = 0;

		(void)usleep(f.pause);
		status = source_skip(source, stripe - at, &skipped, &f.err);
		if (status == 0)
			status = read_exactly(
				source, at + skipped, (size_t)(stripe + 20000 - at - skipped));
		at = stripe + 20000;
	}
	*ret_fetched = source->fetched;
	source_free(&source);
	stop_server();
	return status;
}

#define STRIPES (FILE_LEN / 80000 * 20000)

static void test_source_http__several_ranges_in_one_request(void **state)
{
	uint64_t fetched = 0;

	(void)state;
	if (fetch_stripes("parts", &fetched) < 0)
		fail_msg("%s", f.err.msg);
	assert_true(fetched >= STRIPES && fetched < STRIPES + STRIPES / 50);
	assert_int_equal(f.notes, 0);
	assert_int_equal(f.fallbacks, 0);
}

/* It could answer ranges, but sends the whole file: nothing of it is asked for again. */
static void test_source_http__the_whole_file_instead_of_a_range(void **state)
{
	uint64_t fetched = 0;

	(void)state;
	if (fetch_stripes("good", &fetched) < 0)
		fail_msg("%s", f.err.msg);
	assert_true(fetched <= FILE_LEN);
	assert_int_equal(f.notes + f.fallbacks, 0);
}

static void test_source_http__parts_that_are_cut_off_go_on(void **state)
{
	uint64_t fetched = 0;

	(void)state;
	if (fetch_stripes("parts-cut", &fetched) < 0)
		fail_msg("%s", f.err.msg);
	assert_true(fetched < STRIPES + STRIPES / 20);
	assert_int_equal(f.notes, 1);
	assert_int_equal(f.fallbacks, 0);
}

/* What a server may do by the book, or does by mistake: then one range after the other. */
static void test_source_http__other_parts_than_asked_for(void **state)
{
	static const char *const MODES[] = {"range", "parts-whole", "parts-refused",
		"parts-swapped", "parts-joined", "parts-fewer", "parts-more", "parts-wrong",
		"parts-empty"};
	uint64_t fetched = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(MODES) / sizeof(MODES[0]); i++) {
		f.fallbacks = 0;
		if (fetch_stripes(MODES[i], &fetched) < 0)
			fail_msg("%s: %s", MODES[i], f.err.msg);
		assert_int_equal(f.fallbacks, 1);
		/* A gap of 60000 bytes is taken along now. */
		assert_true(fetched < FILE_LEN + FILE_LEN / 4);
	}
}

/* The same, if the part that is too much was held back while the buffer was full: wherever in what is held
 * back it lies. */
static void test_source_http__other_parts_after_a_pause(void **state)
{
	uint64_t fetched = 0;

	(void)state;
	f.pause = 3000;
	for (unsigned int fewer = 0; fewer < 20; fewer++) {
		f.fallbacks = 0;
		f.striped = (FILE_LEN / 80000 - fewer) * 80000;
		if (fetch_stripes("parts-more", &fetched) < 0)
			fail_msg("%u fewer: %s", fewer, f.err.msg);
		assert_int_equal(f.fallbacks, 1);
	}
}

static void test_source_http__lies_about_parts(void **state)
{
	static const struct {
		const char *mode;
		const char *text;
	} LIES[] = {
		{"parts-total", "multipart answer is malformed"},
		{"parts-malformed", "multipart answer is malformed"},
		{"parts-endless", "multipart answer is malformed"},
		{"parts-encoded", "multipart answer is malformed"},
		{"parts-changed", "changed on the server"},
	};
	uint64_t fetched = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(LIES) / sizeof(LIES[0]); i++) {
		f.err = (struct err){0};
		assert_int_equal(fetch_stripes(LIES[i].mode, &fetched), -1);
		assert_int_equal(f.err.code, FAIL_NETWORK);
		if (!strstr(f.err.msg, LIES[i].text))
			fail_msg("%s: %s", LIES[i].mode, f.err.msg);
	}
}

static void test_source_http__url_is_shown_without_secrets(void **state)
{
	static const struct {
		const char *url;
		const char *shown;
	} URLS[] = {
		{"http://host/x", "http://host/x"},
		{"https://u:p@host:1/x?sig=1#f", "https://host:1/x"},
		{"https://u:p@q@host/x", "https://host/x"},
		{"http://host/a@b", "http://host/a@b"},
		{"http://host?a@b", "http://host"},
		{"http://h\x1b[31m/", "http://h?[31m/"},
	};
	char shown[64];

	(void)state;
	for (size_t i = 0; i < sizeof(URLS) / sizeof(URLS[0]); i++) {
		source_url_display(URLS[i].url, shown, sizeof(shown));
		assert_string_equal(shown, URLS[i].shown);
	}
	assert_true(source_is_url("HTTP://x") && source_is_url("https://x"));
	assert_false(source_is_url("http:/x") || source_is_url("ftp://x") || source_is_url("-"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_source_http__good_server),
		TEST(test_source_http__chunked_and_until_close),
		TEST(test_source_http__goes_on_where_it_stopped),
		TEST(test_source_http__goes_on_while_there_is_progress),
		TEST(test_source_http__gives_up_after_the_last_retry),
		TEST(test_source_http__without_ranges_it_says_so),
		TEST(test_source_http__changed_file_is_not_mixed),
		TEST(test_source_http__wrong_range_is_not_taken),
		TEST(test_source_http__busy_server_gets_another_chance),
		TEST(test_source_http__server_that_is_gone_later),
		TEST(test_source_http__short_body),
		TEST(test_source_http__longer_body),
		TEST(test_source_http__slow_drip),
		TEST(test_source_http__no_answer),
		TEST(test_source_http__silence_half_way),
		TEST(test_source_http__encoded_body),
		TEST(test_source_http__not_http),
		TEST(test_source_http__redirects),
		TEST(test_source_http__nobody_listens),
		TEST(test_source_http__skips_with_a_range),
		TEST(test_source_http__skips_only_where_ranges_are_taken),
		TEST(test_source_http__ranges_that_are_expected),
		TEST(test_source_http__lies_about_ranges),
		TEST(test_source_http__several_ranges_in_one_request),
		TEST(test_source_http__the_whole_file_instead_of_a_range),
		TEST(test_source_http__parts_that_are_cut_off_go_on),
		TEST(test_source_http__other_parts_than_asked_for),
		TEST(test_source_http__other_parts_after_a_pause),
		TEST(test_source_http__lies_about_parts),
		TEST(test_source_http__url_is_shown_without_secrets),
	};

	return cmocka_run_group_tests_name("source_http", tests, group_setup, group_teardown);
}
