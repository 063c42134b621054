/* layout: what is read, what is refused and where, where partitions come to lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/layout.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define MIB (UINT64_C(1) << 20)

#define DISK   "[disk]\nsize = 256M\nuuid = 8f4f6a52-6d0b-4f6e-9a57-1b1f0c2d7e31\n"
#define GRUB   "[grub]\nconfig = grub.cfg\n"
#define SDBOOT "[systemd-boot]\nconfig = l.conf\na = a.conf\nb = /x/b.conf\nstart = s.efi\n"
#define FILE_A "[file boot-a]\nclass = boot\ngroup = a\npath = /abide/boot-a.efi\nsize = 8M\n"
#define FILE_B "[file boot-b]\nclass = boot\ngroup = b\npath = /abide/boot-b.efi\nsize = 8M\n"
#define ESP    "[partition esp]\ntype = esp\nsize = 64M\n"
#define SLOT_A "[partition rootfs-a]\ntype = slot\nclass = rootfs\ngroup = a\nsize = 32M\n"
#define SLOT_B "[partition rootfs-b]\ntype = slot\nclass = rootfs\ngroup = b\nsize = 32M\n"
#define DATA   "[partition data]\ntype = data\nsize = rest\n"

static char path[64]; /* of the layout file */

static int setup(void **state)
{
	int fd;

	(void)state;
	(void)snprintf(path, sizeof(path), "/tmp/test_layout.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	return close(fd);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static int read_text(const char *text, struct layout **ret, struct err *err)
{
	assert_int_equal(fs_replace_file(path, text, strlen(text), 0600, err), 0);
	return layout_read(path, ret, err);
}

static void test_layout__reads_and_places(void **state)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(read_text(DISK GRUB ESP SLOT_A SLOT_B DATA, &layout, &err), 0);
	assert_int_equal(layout->count, 4);
	assert_string_equal(layout->grub_config, "/tmp/grub.cfg"); /* relative to the file */
	assert_string_equal(layout->partitions[1].name, "rootfs-a");
	assert_true(layout->partitions[0].start == MIB);
	assert_true(layout->partitions[1].start == 65 * MIB);
	assert_true(layout->partitions[2].start == 97 * MIB);
	assert_true(layout->partitions[3].start == 129 * MIB);
	assert_true(layout->partitions[3].size == (256 - 129 - 1) * MIB);
	assert_ptr_equal(layout_esp(layout), &layout->partitions[0]);
	assert_ptr_equal(layout_slot(layout, "rootfs", GROUP_B), &layout->partitions[2]);
	assert_null(layout_slot(layout, "app", GROUP_B));
}

static void test_layout__rest_follows_the_disk(void **state)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(read_text(DISK GRUB ESP SLOT_A SLOT_B DATA, &layout, &err), 0);
	assert_int_equal(layout_place(layout, 300 * MIB + 4096, &err), 0);
	assert_true(layout->partitions[3].size == (300 - 129 - 1) * MIB);
	assert_int_equal(layout_place(layout, 131 * MIB, &err), 0);
	assert_true(layout->partitions[3].size == MIB);
}

static void test_layout__says_by_how_many_bytes_it_is_too_small(void **state)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(read_text(DISK GRUB ESP SLOT_A SLOT_B DATA, &layout, &err), 0);
	assert_int_equal(layout_place(layout, 130 * MIB, &err), -1);
	assert_int_equal(err.code, FAIL_SPACE);
	assert_non_null(strstr(err.msg, "too small by 1048576"));
}

static void test_layout__derived_uuids_are_stable_and_differ(void **state)
{
	CLEANUP(layout_free) struct layout *one = NULL;
	CLEANUP(layout_free) struct layout *two = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(read_text(DISK GRUB ESP SLOT_A SLOT_B DATA, &one, &err), 0);
	assert_int_equal(read_text(DISK GRUB ESP SLOT_A SLOT_B DATA, &two, &err), 0);
	assert_string_equal(one->partitions[3].uuid, two->partitions[3].uuid);
	assert_string_not_equal(one->partitions[3].uuid, one->partitions[2].uuid);
	assert_string_not_equal(one->partitions[3].uuid, one->partitions[3].fs_uuid);
	assert_int_equal(one->partitions[3].uuid[14], '8'); /* the version, RFC 9562 */
}

static void test_layout__given_uuid_is_kept(void **state)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(read_text(DISK GRUB ESP SLOT_A SLOT_B DATA
				 "uuid = 3f9b7f2e-9d6c-4f5b-8a51-6d1f0b7a9c42\n",
				 &layout, &err),
		0);
	assert_string_equal(layout->partitions[3].uuid, "3f9b7f2e-9d6c-4f5b-8a51-6d1f0b7a9c42");
}

/* What is wrong, and what the message has to name: the line, or the section. */
static const struct {
	const char *text;
	const char *said;
} BAD[] = {
	{"[disk]\nsize = 256M\ncolour = red\n", ":3: [disk] colour: there is no such key"},
	{"[disc]\nsize = 256M\n", ":2: [disc] size: there is no such section"},
	{"size = 256M\n", ":1: [] size: there is no such section"},
	{"[disk]\nsize\n", ":2: neither"},
	{"[disk]\nsize = 256M\nsize = 256M\n", ":3: [disk] size: is set twice"},
	{"[disk]\nsize = 0\n", ":2: [disk] size: '0' is not a size"},
	{"[disk]\nsize = -1M\n", "'-1M' is not a size"},
	{"[disk]\nsize = 1.5G\n", "'1.5G' is not a size"},
	{"[disk]\nsize = 256MB\n", "'256MB' is not a size"},
	{"[disk]\nsize = 1048577\n", "'1048577' is not a size"},
	{"[disk]\nsize = 9000000000000T\n", "is not a size"},
	{"[disk]\nsize = 99999999999999999999\n", "is not a size"},
	{"[disk]\nuuid = 8f4f6a52\n", ":2: [disk] uuid: '8f4f6a52' is not a UUID"},
	{"[disk]\nuuid = 8f4f6a52-6d0b-4f6e-9a57-1b1f0c2d7e31a\n", "is not a UUID"},
	{"[grub]\nmenu = x\n", ":2: [grub] menu: there is no such key"},
	{"[partition x]\ntype = swap\n", ":2: [partition x] type: 'swap' is none of"},
	{"[partition x]\nclass = Rootfs\n", "'Rootfs' is not a class"},
	{"[partition x]\ngroup = c\n", "'c' is neither a nor b"},
	{"[partition x]\nsize = rest\nsize = 1M\n", ":3: [partition x] size: is set twice"},
	{"[partition this-name-is-longer-than-a-gpt-has-it]\ntype = data\n", "is not a name"},
	{DISK ESP,
		"no bootloader: one section of [grub], [uboot], [systemd-boot], [efi] is needed"},
	{DISK "[grub]\nsite = x\n" ESP, "[grub] needs 'config'"},
	{DISK "[efi]\na = x\nb = y\n" ESP, "[efi] needs 'start'"},
	{DISK "[systemd-boot]\nconfig = x\na = y\n" ESP, "[systemd-boot] needs 'b'"},
	{DISK GRUB "[efi]\na = x\n", "[efi] a: a second bootloader"},
	{DISK SDBOOT ESP FILE_A, "[file boot-a]: class 'boot' has no slot in group b"},
	{DISK SDBOOT ESP FILE_A FILE_B "[file c]\nclass = boot\ngroup = b\npath = /c\nsize = 1M\n",
		"[file c]: a second slot 'boot.b'"},
	{DISK SDBOOT ESP FILE_A "[file c]\nclass = boot\ngroup = b\npath = /ABIDE/boot-a.EFI\n"
				"size = 1M\n",
		"[file c]: '/ABIDE/boot-a.EFI' is the path of 'boot-a', too"},
	{DISK SDBOOT ESP FILE_A "[file c]\nclass = boot\ngroup = b\nsize = 1M\n",
		"[file c]: 'path' and 'size' are needed"},
	{DISK SDBOOT ESP "[file c]\npath = /c\nsize = 1M\n", "[file c]: 'class' and 'group'"},
	{"[file c]\npath = c.efi\n", ":2: [file c] path: 'c.efi' is not a path on the ESP"},
	{"[file c]\npath = /../c\n", "is not a path on the ESP"},
	{"[file c]\npath = /a b\n", "is not a path on the ESP"},
	{"[file c]\nsize = rest\n", "'rest' is not a size"},
	{"[file c]\ntype = slot\n", ":2: [file c] type: there is no such key"},
	{DISK GRUB "[uboot]\nscript = x\n" ESP, "[uboot] script: a second bootloader"},
	{DISK "[uboot]\nscript = x\n", "[uboot] needs 'environment'"},
	{DISK "[uboot]\nscript = x\nenvironment = y\nprogram = z\n", "need each other"},
	{DISK "[uboot]\nprogram-offset = 33\nscript = x\nenvironment = y\n", "need each other"},
	{DISK "[uboot]\nprogram-offset = 1M\n", "'1M' is not an offset such as 0x8400 or 33K"},
	{DISK "[uboot]\nprogram-offset = 0\n", "'0' is not an offset"},
	{DISK "[uboot]\nprogram-offset = -4K\n", "'-4K' is not an offset"},
	{DISK "[uboot]\nprogram-offset = 4K\nprogram-offset = 4K\n", "is set twice"},
	{GRUB ESP, "[disk] needs 'size' and 'uuid'"},
	{DISK GRUB SLOT_A SLOT_B, "no partition of type esp"},
	{DISK GRUB ESP SLOT_A, "class 'rootfs' has no slot in group b"},
	{DISK GRUB ESP "[partition x]\ntype = slot\nclass = app\nsize = 1M\n", "are for slots"},
	{DISK GRUB ESP "[partition x]\ntype = data\nclass = app\nsize = 1M\n", "are for slots"},
	{DISK GRUB ESP SLOT_A SLOT_B "[partition x]\ntype = slot\nclass = rootfs\ngroup = b\n"
				     "size = 1M\n",
		"[partition x]: a second slot 'rootfs.b'"},
	{DISK GRUB ESP "[partition x]\ntype = esp\nsize = 1M\n", "a second partition of type esp"},
	{DISK GRUB ESP "[partition x]\nsize = 1M\n", "[partition x]: 'type' is missing"},
	{DISK GRUB ESP "[partition x]\ntype = data\n", "[partition x]: 'size' is missing"},
	{DISK GRUB ESP DATA "[partition x]\ntype = data\nsize = 1M\n", "for the last partition"},
	{DISK GRUB ESP "[partition x]\ntype = data\nsize = 191M\n", "too small by 1048576"},
};

static void test_layout__bad_input_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
		CLEANUP(layout_free) struct layout *layout = NULL;
		struct err err = {0};

		if (read_text(BAD[i].text, &layout, &err) == 0)
			fail_msg("accepted: %s", BAD[i].text);
		assert_null(layout);
		if (err.code != FAIL_USAGE || !strstr(err.msg, BAD[i].said) ||
			!strstr(err.msg, path))
			fail_msg("expected '%s', code %d said: %s", BAD[i].said, err.code, err.msg);
	}
}

static void test_layout__missing_file_is_usage(void **state)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(layout_read("/nonexistent/layout.ini", &layout, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_non_null(strstr(err.msg, "/nonexistent/layout.ini"));
}

static void test_layout__slots_that_are_files(void **state)
{
	CLEANUP(layout_free) struct layout *layout = NULL;
	const struct layout_partition *slot;
	struct err err = {0};

	(void)state;
	assert_int_equal(
		read_text(DISK SDBOOT ESP FILE_A FILE_B SLOT_A SLOT_B DATA, &layout, &err), 0);
	assert_int_equal(layout->loader, LAYOUT_SYSTEMD_BOOT);
	assert_string_equal(layout->loader_conf, "/tmp/l.conf");
	assert_string_equal(layout->group_file[GROUP_B], "/x/b.conf");
	assert_string_equal(layout->start, "/tmp/s.efi");
	assert_int_equal(layout->count, 4); /* partitions */
	assert_int_equal(layout->file_count, 2);
	slot = layout_slot(layout, "boot", GROUP_B);
	assert_non_null(slot);
	assert_string_equal(slot->path, "/abide/boot-b.efi");
	assert_int_equal(slot->size, 8 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout__reads_and_places),
		cmocka_unit_test(test_layout__rest_follows_the_disk),
		cmocka_unit_test(test_layout__says_by_how_many_bytes_it_is_too_small),
		cmocka_unit_test(test_layout__derived_uuids_are_stable_and_differ),
		cmocka_unit_test(test_layout__given_uuid_is_kept),
		cmocka_unit_test(test_layout__slots_that_are_files),
		cmocka_unit_test(test_layout__bad_input_is_named),
		cmocka_unit_test(test_layout__missing_file_is_usage),
	};

	return cmocka_run_group_tests_name("layout", tests, setup, teardown);
}
