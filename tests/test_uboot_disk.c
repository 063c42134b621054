/* uboot_disk: what U-Boot finds on a factory disk: its script, compiled, and two copies of an environment
 * that starts group a, where the device's fw_env.config says; and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bootloader-hooks/uboot/uboot.h"
#include "image/tool.h"
#include "image/uboot_disk.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define MIB      (UINT64_C(1) << 20)
#define ENV_SIZE 0x4000u
#define SCRIPT   "# a script\necho hello\n"
#define TIME     1700000000

#define DISK   "[disk]\nsize = 32M\nuuid = 8f4f6a52-6d0b-4f6e-9a57-1b1f0c2d7e31\n"
#define UBOOT  "[uboot]\nscript = boot.cmd\nsite = site.cmd\nenvironment = fw_env.config\n"
#define BOOT   "[partition boot]\ntype = boot\nsize = 8M\n"
#define ENV    "[partition env]\ntype = raw\nsize = 1M\n"
#define CARD   "/dev/mmcblk0 0x80000 0x4000\n/dev/mmcblk0 0x90000 0x4000\n"
#define IN_ENV "/dev/disk/by-partlabel/env 0x0 0x4000\n/dev/disk/by-partlabel/env 0x4000 0x4000\n"

static const char *put(struct scratch *s, const char *name, const char *text)
{
	const char *path = scratch_path(s, name);
	struct err err = {0};

	assert_int_equal(fs_replace_file(path, text, strlen(text), 0600, &err), 0);
	return path;
}

/* Reads the layout and writes its U-Boot part into a new file DIR/disk. */
static int try(struct scratch *s, const char *layout_text, const char *fw_env, struct err *err)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	char disk[PATH_MAX];

	put(s, "boot.cmd", SCRIPT);
	put(s, "site.cmd", "abide_store=raw\n");
	put(s, "fw_env.config", fw_env);
	(void)snprintf(disk, sizeof(disk), "%s", put(s, "disk", ""));
	assert_int_equal(truncate(disk, 32 * MIB), 0);
	if (layout_read(put(s, "layout.ini", layout_text), &layout, err) < 0)
		return -1;
	return uboot_disk_write(disk, layout, s->dir, TIME, err);
}

static struct bytes make(struct scratch *s, const char *layout, const char *fw_env)
{
	struct bytes disk = {0};
	struct err err = {0};

	if (try(s, layout, fw_env, &err) < 0 ||
		fs_read_file(scratch_path(s, "disk"), 32 * MIB, &disk, &err) < 0)
		fail_msg("%s", err.msg);
	return disk;
}

static void assert_starts_a(const uint8_t *copy)
{
	struct uboot_values values;
	struct boot_state state = {0};
	struct err err = {0};

	assert_int_equal(uboot_copy_check(copy, ENV_SIZE), UBOOT_COPY_OK);
	uboot_copy_values(copy, ENV_SIZE, &values);
	if (uboot_values_parse(&values, &state, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(state.group[GROUP_A].good);
	assert_int_equal(state.primary, GROUP_A);
	assert_false(boot_group_bootable(&state.group[GROUP_B]));
}

static void test_uboot_disk__environment_on_the_bare_disk_starts_a(void **state)
{
	CLEANUP(bytes_finish) struct bytes disk = make(*state, DISK UBOOT BOOT, CARD);

	assert_starts_a(disk.data + 0x80000);
	assert_starts_a(disk.data + 0x90000);
	/* Nothing else is in front of the first partition. */
	for (size_t i = 0; i < 0x80000; i++)
		assert_int_equal(disk.data[i], 0);
}

static void test_uboot_disk__environment_in_a_partition_starts_a(void **state)
{
	CLEANUP(bytes_finish) struct bytes disk = make(*state, DISK UBOOT BOOT ENV, IN_ENV);

	assert_starts_a(disk.data + 9 * MIB);
	assert_starts_a(disk.data + 9 * MIB + ENV_SIZE);
}

static void test_uboot_disk__defaults_are_in_the_environment(void **state)
{
	const char *layout = DISK BOOT UBOOT "defaults = initial-env\n";
	CLEANUP(bytes_finish) struct bytes disk = {0};
	const uint8_t *copy;

	put(*state, "initial-env", "# U-Boot's\nbootcmd=run it\nBOOT_ORDER=B A\n");
	disk = make(*state, layout, CARD);
	copy = disk.data + 0x80000;
	assert_starts_a(copy); /* what they say of the groups does not count */
	assert_non_null(memmem(copy + 5, ENV_SIZE - 5, "bootcmd=run it", 15));
	assert_null(memmem(copy + 5, ENV_SIZE - 5, "BOOT_ORDER=B", 12));
}

/* A file of the FAT: its content behind the header that mkimage puts before a script. */
static void assert_script(struct scratch *s, const char *name, const char *text)
{
	CLEANUP(bytes_finish) struct bytes script = {0};
	char image[PATH_MAX], from[64];
	const char *out = scratch_path(s, "out");
	const char *const argv[] = {"mcopy", "-n", "-o", "-i", image, from, out, NULL};
	struct err err = {0};
	size_t len = strlen(text);

	(void)snprintf(image, sizeof(image), "%s@@1M", scratch_path(s, "disk"));
	(void)snprintf(from, sizeof(from), "::/%s", name);
	if (tool_run(argv, TIME, &err) < 0 || fs_read_file(out, MIB, &script, &err) < 0)
		fail_msg("%s", err.msg);
	assert_true(script.len == 64 + 8 + len);
	assert_memory_equal(script.data, "\x27\x05\x19\x56", 4); /* the magic of an image */
	assert_memory_equal(script.data + 72, text, len);
}

static void test_uboot_disk__scripts_are_compiled_into_the_boot_partition(void **state)
{
	CLEANUP(bytes_finish) struct bytes disk = make(*state, DISK UBOOT BOOT, CARD);

	assert_true(disk.len > 0);
	assert_script(*state, "boot.scr", SCRIPT);
	assert_script(*state, "abide-site.scr", "abide_store=raw\n");
}

static void test_uboot_disk__same_inputs_same_bytes(void **state)
{
	CLEANUP(bytes_finish) struct bytes one = make(*state, DISK UBOOT BOOT, CARD);
	CLEANUP(bytes_finish) struct bytes other = {0};

	sleep(2); /* FAT and mkimage count seconds */
	other = make(*state, DISK UBOOT BOOT, CARD);
	assert_int_equal(memcmp(one.data, other.data, one.len), 0);
}

static void test_uboot_disk__what_cannot_be_is_refused(void **state)
{
	static const struct {
		const char *layout, *fw_env, *says;
	} CASES[] = {
		{DISK UBOOT, CARD, "no partition of type boot"},
		{DISK UBOOT BOOT "[partition boot2]\ntype = boot\nsize = 8M\n", CARD,
			"a second partition of type boot"},
		{DISK BOOT "[uboot]\nscript = boot.cmd\n", CARD, "[uboot] needs 'environment'"},
		{DISK BOOT "[uboot]\nenvironment = fw_env.config\n", CARD,
			"[uboot] needs 'script'"},
		{DISK UBOOT BOOT, "/dev/mmcblk0 0x4000 0x4000\n/dev/mmcblk0 0x90000 0x4000\n",
			"0x4000 bytes at 0x4000 of '/dev/mmcblk0' are not between 0x4400 and "
			"0x100000"},
		{DISK UBOOT BOOT, "/dev/mmcblk0 0x80000 0x4000\n/dev/mmcblk0 0xfe000 0x4000\n",
			"0x4000 bytes at 0xfe000"},
		{DISK UBOOT BOOT, IN_ENV, "no partition 'env' of type raw"},
		{DISK UBOOT BOOT "[partition env]\ntype = data\nsize = 1M\n", IN_ENV,
			"no partition 'env' of type raw"},
		{DISK UBOOT BOOT ENV,
			"/dev/disk/by-partlabel/env 0x0 0x4000\n/dev/disk/by-partlabel/env "
			"0xfe000 0x4000\n",
			"0x4000 bytes at 0xfe000 of '/dev/disk/by-partlabel/env'"},
		{DISK UBOOT BOOT, "/dev/mmcblk0 0x80000 0x4000\n", "names one copy"},
		{DISK BOOT UBOOT "defaults = no-defaults\n", CARD, "no-defaults"},
		{DISK "[uboot]\nscript = no.cmd\nenvironment = fw_env.config\n" BOOT, CARD,
			"no.cmd"},
	};

	for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
		struct err err = {0};

		assert_int_equal(try(*state, CASES[i].layout, CASES[i].fw_env, &err), -1);
		if (!strstr(err.msg, CASES[i].says))
			fail_msg("'%s' expected in: %s", CASES[i].says, err.msg);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_uboot_disk__environment_on_the_bare_disk_starts_a),
		TEST(test_uboot_disk__environment_in_a_partition_starts_a),
		TEST(test_uboot_disk__defaults_are_in_the_environment),
		TEST(test_uboot_disk__scripts_are_compiled_into_the_boot_partition),
		TEST(test_uboot_disk__same_inputs_same_bytes),
		TEST(test_uboot_disk__what_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
