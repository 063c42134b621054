/* The carrier against a real web server: nginx on loopback, over HTTP and over HTTPS with a
 * certificate authority of our own. The child is the real one, in its sandbox. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bad_server.h"
#include "tests/scratch.h"
#include "tests/tars.h"
#include "updater/carrier.h"
#include "updater/fs.h"
#include "updater/process.h"

#define NGINX "/usr/sbin/nginx"

enum port {
	PLAIN,
	SECURE, /* certificate for localhost */
	OTHER_NAME, /* certificate for another host */
	PORTS,
};

static struct sample sample;
static struct tars tar;
static struct scratch *scratch;
static unsigned int ports[PORTS];
static pid_t nginx = -1;

/* ---- the server ---- */

static void write_text(const char *name, const char *text)
{
	struct err err;

	if (fs_replace_file(scratch_path(scratch, name), text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

static void openssl(const char *arguments)
{
	struct process_result result;
	char command[2048];
	char shell[] = "/bin/sh";
	char option[] = "-ec";
	char *argv[] = {shell, option, command, NULL};
	struct err err;

	(void)snprintf(command, sizeof(command), "cd '%s' && openssl %s", scratch->dir, arguments);
	assert_int_equal(process_run(argv, 60, &result, &err), 0);
	if (result.exit_status != 0)
		fail_msg("openssl %s: %s", arguments, result.output);
}

static void make_authority(const char *name)
{
	char command[512];

	(void)snprintf(command, sizeof(command),
		"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key "
		"-out %s.pem -subj '/CN=%s' -days 2 -addext basicConstraints=critical,CA:TRUE",
		name, name, name);
	openssl(command);
}

static void make_certificate(const char *name, const char *host)
{
	char command[512];
	char extension[128];

	(void)snprintf(extension, sizeof(extension), "subjectAltName=DNS:%s\n", host);
	write_text("extension", extension);
	(void)snprintf(command, sizeof(command),
		"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -out %s.csr "
		"-subj '/CN=%s'",
		name, name, host);
	openssl(command);
	(void)snprintf(command, sizeof(command),
		"x509 -req -in %s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 "
		"-extfile extension -out %s.pem",
		name, name);
	openssl(command);
}

/* Ports that were free a moment ago; all are taken before one is given back. */
static void find_ports(void)
{
	int fds[PORTS];

	for (int i = 0; i < PORTS; i++) {
		fds[i] = bad_server_listen(&ports[i]);
		assert_true(fds[i] >= 0);
	}
	for (int i = 0; i < PORTS; i++)
		(void)close(fds[i]);
}

static void write_config(void)
{
	char text[4096];

	(void)snprintf(text, sizeof(text),
		"daemon off;\n"
		"master_process off;\n"
		"pid nginx.pid;\n"
		"error_log error.log;\n"
		"events {}\n"
		"http {\n"
		"  access_log off;\n"
		"  client_body_temp_path tmp;\n"
		"  proxy_temp_path tmp;\n"
		"  fastcgi_temp_path tmp;\n"
		"  uwsgi_temp_path tmp;\n"
		"  scgi_temp_path tmp;\n"
		"  root www;\n"
		"  server {\n"
		"    listen 127.0.0.1:%u;\n"
		"    location = /broken { return 500; }\n"
		"    location = /closed { return 444; }\n"
		"    location = /loop { return 302 /loop; }\n"
		"    location = /moved { return 301 /os.abide; }\n"
		"    location = /up { return 302 https://localhost:%u/os.abide; }\n"
		"    location = /none/ { return 403; }\n"
		"  }\n"
		"  server {\n"
		"    listen 127.0.0.1:%u ssl;\n"
		"    ssl_certificate good.pem;\n"
		"    ssl_certificate_key good.key;\n"
		"    location = /down { return 302 http://127.0.0.1:%u/os.abide; }\n"
		"  }\n"
		"  server {\n"
		"    listen 127.0.0.1:%u ssl;\n"
		"    ssl_certificate other.pem;\n"
		"    ssl_certificate_key other.key;\n"
		"  }\n"
		"}\n",
		ports[PLAIN], ports[SECURE], ports[SECURE], ports[PLAIN], ports[OTHER_NAME]);
	write_text("nginx.conf", text);
}

static void start_nginx(void)
{
	static char prefix[PATH_MAX];
	static char config[PATH_MAX];
	char name[] = "nginx";
	char p[] = "-p";
	char c[] = "-c";
	char e[] = "-e"; /* its complaints from before it read the configuration, too */
	char log[] = "error.log";
	char *argv[] = {name, p, prefix, c, config, e, log, NULL};

	(void)snprintf(prefix, sizeof(prefix), "%s", scratch->dir);
	(void)snprintf(config, sizeof(config), "%s", scratch_path(scratch, "nginx.conf"));
	nginx = fork();
	if (nginx == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		(void)execv(NGINX, argv);
		_exit(127);
	}
	assert_true(nginx > 0);
}

static const char *url(enum port port, const char *path)
{
	static char text[128];

	(void)snprintf(text, sizeof(text), "%s:%u/%s",
		port == PLAIN ? "http://127.0.0.1" : "https://localhost", ports[port], path);
	return text;
}

/* ---- sessions ---- */

static int take_image(struct carrier *carrier, size_t image, struct err *err)
{
	static uint8_t buf[INDEX_CHUNK_MAX];

	if (carrier_want(carrier, sample.class[image], sample.index[image], &sample.wanted[image],
		    NULL, err) < 0)
		return -1;
	for (uint32_t i = 0; i < SAMPLE_CHUNKS; i++) {
		uint32_t len = index_length(sample.index[image], i);

		if (!(sample.wanted[image] >> i & 1))
			continue;
		if (carrier_chunk(carrier, i, buf, len, err) < 0)
			return -1;
		assert_memory_equal(
			buf, sample.plain[image] + sample_offset(&sample, image, i), len);
	}
	return 0;
}

static int take_all(struct carrier *carrier, struct carrier_stats *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes manifest = {0};
	CLEANUP(bytes_finish) struct bytes signature = {0};

	if (carrier_manifest(carrier, &manifest, &signature, err) < 0)
		return -1;
	for (size_t i = 0; i < SAMPLE_IMAGES; i++) {
		CLEANUP(bytes_finish) struct bytes raw = {0};

		if (carrier_index(carrier, sample.class[i], sample.index_raw[i].len, &raw, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < SAMPLE_IMAGES; i++)
		if (take_image(carrier, i, err) < 0)
			return -1;
	return carrier_end(carrier, ret, err);
}

static int session(
	const char *source, const char *ca_file, struct carrier_stats *ret, struct err *err)
{
	struct carrier_options options = {.ca_file = ca_file, .stall_timeout = 5, .retries = 2};
	struct carrier *carrier = NULL;
	int status;

	*err = (struct err){0};
	if (carrier_open(source, &options, &carrier, err) < 0)
		return -1;
	status = take_all(carrier, ret, err);
	carrier_close(&carrier);
	return status;
}

static const char *authority(void)
{
	return scratch_path(scratch, "ca.pem");
}

static void expect_success(const char *source, const char *ca_file)
{
	struct carrier_stats stats;
	struct err err;

	if (session(source, ca_file, &stats, &err) < 0)
		fail_msg("'%s': %s", source, err.msg);
	assert_int_equal(stats.fetched, tar.len);
	assert_int_equal(stats.resumed, 0);
}

static void expect_failure(const char *source, const char *ca_file, const char *text)
{
	struct carrier_stats stats;
	struct err err;

	assert_int_equal(session(source, ca_file, &stats, &err), -1);
	if (err.code != FAIL_NETWORK || !strstr(err.msg, text))
		fail_msg("'%s': expected '%s', got %s: %s", source, text, err_code_name(err.code),
			err.msg);
	assert_non_null(strstr(err.msg, source));
}

/* ---- fixtures ---- */

static int group_setup(void **state)
{
	struct carrier_stats stats;
	struct err err;

	if (access(NGINX, X_OK) != 0) {
		print_message("skipped: no " NGINX "\n");
		return 0;
	}
	if (scratch_setup(state) < 0)
		return -1;
	scratch = *state;
	(void)chmod(scratch->dir, 0755);
	sample_init(&sample);
	sample_tar(&sample, &tar);
	assert_int_equal(mkdir(scratch_path(scratch, "www"), 0755), 0);
	assert_int_equal(mkdir(scratch_path(scratch, "tmp"), 0755), 0);
	assert_int_equal(fs_replace_file(scratch_path(scratch, "www/os.abide"), tar.data, tar.len,
				 0644, &err),
		0);
	assert_int_equal(fs_replace_file(scratch_path(scratch, "www/cut.abide"), tar.data,
				 tar.len - 100000, 0644, &err),
		0);
	make_authority("ca");
	make_authority("stranger");
	make_certificate("good", "localhost");
	make_certificate("other", "elsewhere.example");
	find_ports();
	write_config();
	start_nginx();
	for (int i = 0; i < 100; i++) {
		const struct timespec slice = {.tv_nsec = 50 * 1000 * 1000};

		if (session(url(SECURE, "os.abide"), authority(), &stats, &err) == 0)
			return 0;
		(void)nanosleep(&slice, NULL);
	}
	print_error("nginx does not answer: %s\n", err.msg);
	return -1;
}

static int group_teardown(void **state)
{
	if (nginx > 0) {
		(void)kill(nginx, SIGTERM);
		(void)waitpid(nginx, NULL, 0);
	}
	tars_finish(&tar);
	sample_finish(&sample);
	return scratch ? scratch_teardown(state) : 0;
}

static int setup(void **state)
{
	(void)state;
	if (!scratch)
		skip();
	return 0;
}

/* ---- tests ---- */

static void test_http__plain(void **state)
{
	(void)state;
	expect_success(url(PLAIN, "os.abide"), NULL);
}

static void test_http__tls(void **state)
{
	(void)state;
	expect_success(url(SECURE, "os.abide"), authority());
}

static void test_http__redirects_are_followed(void **state)
{
	(void)state;
	expect_success(url(PLAIN, "moved"), NULL);
	expect_success(url(PLAIN, "up"), authority());
}

static void test_http__redirect_loop_ends(void **state)
{
	(void)state;
	expect_failure(url(PLAIN, "loop"), NULL, "more than 5 redirects");
}

static void test_http__no_redirect_from_https_to_http(void **state)
{
	(void)state;
	expect_failure(url(SECURE, "down"), authority(), "redirected from https down to");
}

static void test_http__errors_of_the_server(void **state)
{
	(void)state;
	expect_failure(url(PLAIN, "missing"), NULL, "the server answered 404 Not Found");
	expect_failure(url(PLAIN, "broken"), NULL, "the server answered 500 Internal Server Error");
	expect_failure(url(PLAIN, "none/"), NULL, "the server answered 403 Forbidden");
	expect_failure(url(PLAIN, "closed"), NULL, "Empty reply");
}

static void test_http__certificate_by_a_stranger(void **state)
{
	(void)state;
	expect_failure(url(SECURE, "os.abide"), scratch_path(scratch, "stranger.pem"),
		"certificate is not accepted");
	/* The system's authorities do not know ours either. */
	expect_failure(url(SECURE, "os.abide"), NULL, "certificate");
}

static void test_http__certificate_for_another_host(void **state)
{
	(void)state;
	expect_failure(url(OTHER_NAME, "os.abide"), authority(), "certificate is not accepted");
}

static void test_http__unusable_authority_file(void **state)
{
	struct carrier_stats stats;
	struct err err;

	(void)state;
	write_text("empty.pem", "nothing\n");
	assert_int_equal(
		session(url(SECURE, "os.abide"), scratch_path(scratch, "empty.pem"), &stats, &err),
		-1);
	assert_int_equal(err.code, FAIL_NETWORK);
	assert_int_equal(
		session(url(SECURE, "os.abide"), scratch_path(scratch, "none.pem"), &stats, &err),
		-1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "none.pem"));
}

static void test_http__tls_expected_and_none_there(void **state)
{
	char source[128];

	(void)state;
	(void)snprintf(source, sizeof(source), "https://localhost:%u/os.abide", ports[PLAIN]);
	expect_failure(source, authority(), "");
}

static void test_http__truncated_on_the_server(void **state)
{
	struct carrier_stats stats;
	struct err err;

	(void)state;
	assert_int_equal(session(url(PLAIN, "cut.abide"), NULL, &stats, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "truncated"));
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_http__plain),
		TEST(test_http__tls),
		TEST(test_http__redirects_are_followed),
		TEST(test_http__redirect_loop_ends),
		TEST(test_http__no_redirect_from_https_to_http),
		TEST(test_http__errors_of_the_server),
		TEST(test_http__certificate_by_a_stranger),
		TEST(test_http__certificate_for_another_host),
		TEST(test_http__unusable_authority_file),
		TEST(test_http__tls_expected_and_none_there),
		TEST(test_http__truncated_on_the_server),
	};

	return cmocka_run_group_tests_name("http", tests, group_setup, group_teardown);
}
