/* config: what design's example says is read as it says; every slip is told with file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/config.h"

#define SYSTEM "[system]\ncompatible = acme-gateway\nbootloader = grub\n" /* 3 lines */
#define TRUST  "[trust]\nroots = /etc/abide/trust.pem\n" /* 2 */
#define SLOTS  "[slot rootfs.a]\ndevice = /dev/a\n[slot rootfs.b]\ndevice = /dev/b\n" /* 4 */
#define BOOT   "[boot]\ngrubenv = /boot/grubenv\n" /* 2 */
#define WHOLE  SYSTEM TRUST SLOTS BOOT /* 11 */

static int parse(const char *text, size_t len, struct config **ret, struct err *err)
{
	struct bytes bytes = {0};
	int result;

	/* A block of exactly that size: a read past it is seen by the sanitizers. */
	assert_int_equal(bytes_copy(text, len, &bytes, err), 0);
	result = config_parse("x.conf", &bytes, ret, err);
	bytes_finish(&bytes);
	return result;
}

static struct config *parsed(const char *text)
{
	struct config *config = NULL;
	struct err err = {0};

	if (parse(text, strlen(text), &config, &err) < 0)
		fail_msg("%s", err.msg);
	return config;
}

static void assert_refused(const char *text, const char *why)
{
	struct config *config = NULL;
	struct err err = {0};

	assert_int_equal(parse(text, strlen(text), &config, &err), -1);
	assert_null(config);
	if (!strstr(err.msg, why))
		fail_msg("expected '%s' in: %s", why, err.msg);
	assert_int_equal(err.code, FAIL_USAGE);
}

static const char EVERY_KEY[] =
	"# a comment\n"
	"[system]\n"
	"compatible = acme-gateway\n"
	"hardware = rev-b\n"
	"bootloader = grub\n"
	"state-dir = /data/abide\n"
	"run-dir = /tmp/run\n"
	"carrier-user = _abide\n"
	"\n"
	"[trust]\n"
	"roots = /etc/abide/trust.pem\n"
	"crl = /etc/abide/crl.pem\n"
	"threshold = 2\n"
	"[source]\n"
	"ca-file = /etc/ssl/ca.pem\n"
	"stall-timeout = 7\n"
	"min-rate = 99\n"
	"retries = 0\n"
	"[slot rootfs.a]                    ; CLASS.GROUP\n"
	"device = /dev/disk/by-partlabel/rootfs-a   ; a block device, or a plain file\n"
	"[slot rootfs.b]\n"
	"\tdevice = PARTLABEL=rootfs-b\r\n"
	"[slot boot-2.b]\n"
	"device = UUID=12-34\n"
	"[slot boot-2.a]\n"
	"device = /dev/x\n"
	"[boot]\n"
	"trial-attempts = 9\n"
	"grubenv = /boot/efi/grub/grubenv\n"
	"esp = /boot/efi\n"
	"efivars = /efivars\n"
	"fw-env-config = /etc/board.config\n"
	"program = /usr/lib/board/bootstate\n"
	"program-timeout = 3\n"
	"booted = b\n"
	"[health]\n"
	"directory = /opt/health.d\n"
	"timeout = 5";

static void test_config__reads_every_key(void **state)
{
	struct config *c = parsed(EVERY_KEY);

	(void)state;
	assert_string_equal(c->path, "x.conf");
	assert_string_equal(c->compatible, "acme-gateway");
	assert_string_equal(c->hardware, "rev-b");
	assert_string_equal(c->hook->name, "grub");
	assert_string_equal(c->state_dir, "/data/abide");
	assert_string_equal(c->run_dir, "/tmp/run");
	assert_string_equal(c->carrier_user, "_abide");
	assert_string_equal(c->roots, "/etc/abide/trust.pem");
	assert_string_equal(c->crl, "/etc/abide/crl.pem");
	assert_int_equal(c->threshold, 2);
	assert_string_equal(c->ca_file, "/etc/ssl/ca.pem");
	assert_int_equal(c->stall_timeout, 7);
	assert_int_equal(c->min_rate, 99);
	assert_int_equal(c->retries, 0);
	assert_int_equal(c->trial_attempts, 9);
	assert_string_equal(c->boot.grubenv, "/boot/efi/grub/grubenv");
	assert_string_equal(c->boot.esp, "/boot/efi");
	assert_string_equal(c->boot.efivars, "/efivars");
	assert_string_equal(c->boot.fw_env_config, "/etc/board.config");
	assert_string_equal(c->boot.program, "/usr/lib/board/bootstate");
	assert_int_equal(c->boot.program_timeout, 3);
	assert_true(c->booted_set);
	assert_int_equal(c->booted, GROUP_B);
	assert_string_equal(c->health_dir, "/opt/health.d");
	assert_int_equal(c->health_timeout, 5);
	config_free(&c);
	assert_null(c);
	config_free(&c);
	config_free(NULL);
}

static void test_config__reads_slots(void **state)
{
	struct config *c = parsed(EVERY_KEY);

	(void)state;
	assert_int_equal(c->slot_count, 4);
	assert_string_equal(c->slots[0].class, "rootfs");
	assert_int_equal(c->slots[0].group, GROUP_A);
	assert_string_equal(c->slots[0].device, "/dev/disk/by-partlabel/rootfs-a");
	assert_int_equal(c->slots[1].group, GROUP_B);
	assert_string_equal(c->slots[1].device, "PARTLABEL=rootfs-b");
	assert_string_equal(c->slots[2].class, "boot-2");
	assert_string_equal(c->slots[2].device, "UUID=12-34");
	config_free(&c);
}

static void test_config__defaults(void **state)
{
	struct config *c = parsed(WHOLE);

	(void)state;
	assert_string_equal(c->hardware, "");
	assert_string_equal(c->state_dir, "/var/lib/abide");
	assert_string_equal(c->run_dir, "/run/abide");
	assert_null(c->carrier_user);
	assert_null(c->crl);
	assert_int_equal(c->threshold, 1);
	assert_null(c->ca_file);
	assert_int_equal(c->stall_timeout, 60);
	assert_int_equal(c->min_rate, 1024);
	assert_int_equal(c->retries, 5);
	assert_int_equal(c->trial_attempts, 3);
	assert_int_equal(c->boot.program_timeout, 0);
	assert_false(c->booted_set);
	assert_string_equal(c->health_dir, "/usr/lib/abide/health.d");
	assert_int_equal(c->health_timeout, 120);
	config_free(&c);
}

static void test_config__byte_order_mark_is_skipped(void **state)
{
	struct config *c = parsed("\xef\xbb\xbf" SLOTS SYSTEM TRUST BOOT);

	(void)state;
	assert_int_equal(c->slot_count, 2);
	config_free(&c);
}

static void test_config__refuses_what_it_does_not_know(void **state)
{
	(void)state;
	assert_refused(
		"[sytem]\n" WHOLE, "'x.conf:1': [sytem]: unknown section; known: [system], ");
	assert_refused(WHOLE "[slots]\n", "'x.conf:12': [slots]: unknown section");
	assert_refused(SYSTEM "color = red\n",
		"'x.conf:4': [system] color: unknown key; known: compatible, hardware, ");
	assert_refused(SYSTEM "roots = /x\n", "'x.conf:4': [system] roots: unknown key");
	assert_refused(WHOLE "Compatible = x\n", "[boot] Compatible: unknown key");
	assert_refused("[slot rootfs.a]\nlabel = x\n",
		"'x.conf:2': [slot rootfs.a] label: unknown key; known: device");
	assert_refused("compatible = x\n" WHOLE, "'x.conf:1': [] compatible: stands before");
	assert_refused(SYSTEM "bootloader-2 = x\n", "unknown key");
}

static void test_config__refuses_other_bootloaders_by_name(void **state)
{
	(void)state;
	assert_refused("[system]\nbootloader = lilo\n",
		"'x.conf:2': [system] bootloader: 'lilo' is not a bootloader this abide knows;"
		" known: auto, grub, systemd-boot, efi, uboot, custom");
}

static void test_config__refuses_what_is_there_twice(void **state)
{
	(void)state;
	assert_refused(
		SYSTEM "compatible = b\n", "'x.conf:4': [system] compatible: is there twice");
	assert_refused(WHOLE "[system]\ncompatible = b\n", "'x.conf:13': [system] compatible: is");
	assert_refused(WHOLE "[slot rootfs.a]\n", "'x.conf:12': [slot rootfs.a] is there twice");
	assert_refused("[slot rootfs.a]\ndevice = /x\ndevice = /y\n",
		"'x.conf:3': [slot rootfs.a] device: is there twice");
	/* An indented line is a key of its own, not the rest of a value. */
	assert_refused(SYSTEM "  compatible = b\n", "compatible: is there twice");
}

static void test_config__refuses_bad_slots(void **state)
{
	(void)state;
	assert_refused("[slot rootfs]\n", "'x.conf:1': [slot rootfs]: expected [slot CLASS.GROUP]");
	assert_refused("[slot rootfs.c]\n", "expected [slot CLASS.GROUP], the group a or b");
	assert_refused("[slot rootfs.A]\n", "expected [slot CLASS.GROUP]");
	assert_refused("[slot .a]\n", "a class is made of");
	assert_refused("[slot Rootfs.a]\n", "a class is made of");
	assert_refused("[slot 1.a]\n", "a class is made of");
	assert_refused("[slot aaaaaaaaaaaaaaaaaaaaaaaaa.a]\n", "expected [slot CLASS.GROUP]");
	assert_refused(SYSTEM TRUST BOOT "[slot rootfs.a]\ndevice = /x\n",
		"'x.conf': there is a [slot rootfs.a] but no [slot rootfs.b]");
	assert_refused(SYSTEM TRUST BOOT "[slot rootfs.a]\n[slot rootfs.b]\ndevice = /x\n",
		"[slot rootfs.a] has no device");
	assert_refused(WHOLE "[slot app.a]\ndevice = /dev/b\n[slot app.b]\ndevice = /x\n",
		"[slot rootfs.b] and [slot app.a] have the same device '/dev/b'");
	assert_refused("[slot rootfs.a]\ndevice = sda1\n",
		"'sda1' is neither an absolute path nor LABEL=");
	assert_refused("[slot rootfs.a]\ndevice = LABEL=\n", "is neither an absolute path");
}

static void test_config__refuses_too_many_slots(void **state)
{
	char text[2048] = "";

	(void)state;
	for (size_t i = 0; i <= CONFIG_SLOTS_MAX; i++) {
		size_t used = strlen(text);

		(void)snprintf(
			text + used, sizeof(text) - used, "[slot c%zu.a]\ndevice = /d%zu\n", i, i);
	}
	assert_refused(text, "'x.conf:33': [slot c16.a]: at most 16 slots");
}

static void test_config__refuses_what_is_missing(void **state)
{
	static const struct {
		const char *text, *why;
	} CASES[] = {
		{"", "'x.conf': [system] compatible is missing"},
		{"[system]\nbootloader = grub\n" TRUST SLOTS BOOT,
			"[system] compatible is missing"},
		{"[system]\ncompatible = x\n" TRUST SLOTS BOOT, "[system] bootloader is missing"},
		{SYSTEM SLOTS BOOT, "[trust] roots is missing"},
		{SYSTEM TRUST BOOT, "[slot CLASS.GROUP] is missing"},
		{SYSTEM TRUST SLOTS, "[boot] grubenv (for bootloader = grub) is missing"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++)
		assert_refused(CASES[i].text, CASES[i].why);
}

static void test_config__refuses_bad_numbers(void **state)
{
	static const char *const CASES[] = {"0", "10", "-1", "+1", "1.5", "1e0", "three", "3 3",
		"0x3", "99999999999999999999999", "4294967299"};
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		(void)snprintf(text, sizeof(text), "[boot]\ntrial-attempts = %s\n", CASES[i]);
		assert_refused(text, "'x.conf:2': [boot] trial-attempts: '");
		assert_refused(text, "is not a number from 1 to 9");
	}
	assert_refused("[trust]\nthreshold = 0\n", "'0' is not a number from 1 to 16");
	assert_refused("[source]\nstall-timeout = 0\n", "is not a number from 1 to 3600");
}

static void test_config__refuses_bad_values(void **state)
{
	(void)state;
	assert_refused("[system]\ncompatible =\n", "'x.conf:2': [system] compatible: is empty");
	assert_refused("[system]\ncompatible = caf\xc3\xa9\n", "printable ASCII");
	assert_refused(
		"[system]\ncompatible = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaa\n",
		"is not 1..64 characters");
	assert_refused("[system]\nstate-dir = var\n", "'var' is not an absolute path");
	assert_refused("[system]\ncarrier-user = Me Too\n", "is not a user's name");
	assert_refused("[boot]\nbooted = c\n", "'c' is not a group; allowed: a, b");
	assert_refused("[health]\ndirectory = ./x\n", "is not an absolute path");
}

static void test_config__refuses_lines_it_cannot_read(void **state)
{
	struct config *config = NULL;
	struct err err;
	char text[400];

	(void)state;
	assert_refused("[system\n", "'x.conf:1': expected [section] or key = value");
	assert_refused("[system]\n\nhello\n", "'x.conf:3': expected [section] or key = value");
	/* The first of two is told, whoever finds it. */
	assert_refused("[system]\nhello\ncolor = x\n", "'x.conf:2': expected");
	assert_refused("[system]\ncolor = x\nhello\n", "'x.conf:2': [system] color");
	assert_refused("[system]\ncompatible = a\x1b[2Jb\n", "'x.conf:2': has a control character");
	assert_int_equal(parse("[system]\ncompatible = a\0b\n", 25, &config, &err), -1);
	assert_non_null(strstr(err.msg, "'x.conf:2': has a control character"));

	(void)snprintf(text, sizeof(text), "[trust]\nroots = /%0300d\n", 0);
	assert_refused(text, "'x.conf:2': the line is longer than 1");
	(void)snprintf(text, sizeof(text), "[trust]\n# %0300d\n", 0);
	assert_refused(text, "'x.conf:2': the line is longer than 1");
	(void)snprintf(text, sizeof(text), "[%0150d]\n", 0);
	assert_refused(text, "...]: unknown section");
}

static void test_config__longest_line_is_not_cut(void **state)
{
	char text[1024];
	struct config *c;

	(void)state;
	/* "roots = /" and 181 zeros are 190 bytes; as a whole below inih's 200. */
	(void)snprintf(text, sizeof(text), SYSTEM SLOTS BOOT "[trust]\nroots = /%0181d\n", 0);
	c = parsed(text);
	assert_int_equal(strlen(c->roots), 182);
	config_free(&c);
}

static void test_config__truncation_is_never_half_a_value_read_out_of_bounds(void **state)
{
	static const char TEXT[] = WHOLE;

	(void)state;
	for (size_t len = 0; len < sizeof(TEXT) - 1; len++) {
		struct config *config = NULL;
		struct err err;

		if (parse(TEXT, len, &config, &err) < 0)
			assert_int_equal(err.code, FAIL_USAGE);
		config_free(&config);
	}
}

static void test_config__missing_files_say_where_it_looked(void **state)
{
	struct config *config = NULL;
	struct err err;

	(void)state;
	assert_int_equal(config_read("/nowhere/system.conf", &config, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_non_null(
		strstr(err.msg, "configuration: open '/nowhere/system.conf': No such file"));
	assert_int_equal(config_read("/", &config, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	if (access("/etc/abide", F_OK) == 0 || access("/run/abide", F_OK) == 0 ||
		access("/usr/lib/abide", F_OK) == 0)
		return; /* this machine is an abide device */
	assert_int_equal(config_read(NULL, &config, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_non_null(strstr(err.msg, "'/etc/abide/system.conf', '/run/abide/system.conf' and"));
}

static void test_config__reads_a_file(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct config *config = NULL;
	struct err err = {0};
	char path[128];
	int result;
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/abide-config-XXXXXX", tmp ? tmp : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, WHOLE, strlen(WHOLE)), (ssize_t)strlen(WHOLE));
	assert_int_equal(close(fd), 0);
	result = config_read(path, &config, &err);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(result, 0);
	assert_string_equal(config->path, path);
	config_free(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config__reads_every_key),
		cmocka_unit_test(test_config__reads_slots),
		cmocka_unit_test(test_config__defaults),
		cmocka_unit_test(test_config__byte_order_mark_is_skipped),
		cmocka_unit_test(test_config__refuses_what_it_does_not_know),
		cmocka_unit_test(test_config__refuses_other_bootloaders_by_name),
		cmocka_unit_test(test_config__refuses_what_is_there_twice),
		cmocka_unit_test(test_config__refuses_bad_slots),
		cmocka_unit_test(test_config__refuses_too_many_slots),
		cmocka_unit_test(test_config__refuses_what_is_missing),
		cmocka_unit_test(test_config__refuses_bad_numbers),
		cmocka_unit_test(test_config__refuses_bad_values),
		cmocka_unit_test(test_config__refuses_lines_it_cannot_read),
		cmocka_unit_test(test_config__longest_line_is_not_cut),
		cmocka_unit_test(test_config__truncation_is_never_half_a_value_read_out_of_bounds),
		cmocka_unit_test(test_config__missing_files_say_where_it_looked),
		cmocka_unit_test(test_config__reads_a_file),
	};

	return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
