/*
 * boot.cmd, run by U-Boot itself (Debian's build for QEMU's arm64 machine), held to
 * bootloader-hooks/model.h: for every environment it must start the group that the model starts, and
 * leave the environment that the model leaves.
 *
 * One start of QEMU runs many cases: a script sets the variables of a case and sources boot.cmd.
 * abide-site.scr, the file for a device's own settings, puts `echo` in the place of booti, reset and
 * saveenv. What boot.cmd would do after it started a group cannot be kept from running; it counts
 * for nothing, and from then on it can neither save nor load.
 *
 * Skipped where qemu-system-aarch64, its U-Boot, mkimage, mtools or sfdisk are missing.
 */
#include <inttypes.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bootloader-hooks/model.h"
#include "bootloader-hooks/uboot/uboot.h"
#include "tests/scratch.h"
#include "updater/blockdev.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"

#define QEMU      "/usr/bin/qemu-system-aarch64"
#define UBOOT     "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
#define DISK      (16u << 20)
#define SECTOR    512u
#define PARTITION 4096u /* sectors of each of the three: boot, a, b */
#define FIRST     64u
#define RAW_AT    (FIRST + 3 * PARTITION) /* the sector of the first case's first copy */
#define BLOCKS    2u /* of a copy */
#define COPY      ((size_t)BLOCKS * SECTOR)
#define CASES_MAX 512u
#define LOG_MAX   (4u << 20)
#define SECONDS   240u /* a machine that is busy with other things; alone it takes a tenth */

/* What U-Boot prints of the variables. */
#define SHOW "${BOOT_ORDER}:${BOOT_A_LEFT}:${BOOT_B_LEFT}"

static const char SITE[] = "abide_boot=\"run t_boot\"\n"
			   "abide_reset=\"run t_reset\"\n"
			   "abide_save=\"run t_save\"\n"
			   "abide_pause=0\n"
			   "abide_store=${t_store}\n"
			   "abide_env_block=${t_block}\n"
			   "abide_env_blocks=2\n"
			   "abide_a_part=${t_a}\n"
			   "abide_b_part=${t_b}\n";

/* `abide_if=none`: no device any more. */
static const char DRIVER[] =
	"setenv t_boot 'echo \"@BOOT ${abide_name} " SHOW " ${bootargs} rd=${abide_rd}@\"; "
	"abide_if=none; abide_save=false; false'\n"
	"setenv t_reset 'echo \"@RESET " SHOW "@\"; abide_if=none; abide_save=false'\n"
	"setenv t_save 'echo \"@SAVE " SHOW "@\"; ${t_saves}'\n"
	"setenv t_addr 48000000\n"
	"load ${devtype} ${devnum}:${distro_bootpart} ${t_addr} /abide.scr\n";

struct one {
	const char *order, *a, *b; /* "" not set */
	bool loads[GROUP_COUNT];
	bool cannot_save;
	bool raw;
};

struct lab {
	struct scratch *scratch;
	struct one cases[CASES_MAX];
	unsigned int count;
	struct bytes log;
	struct blockdev *dev;
	bool read_only;
};

/* What one case did. */
struct outcome {
	const char *text; /* from its mark in the log to the next one's */
	size_t len;
	char group; /* 'a', 'b', or 0: it restarted instead */
	bool saved;
	char left[64]; /* SHOW, when it started the group or restarted */
};

static void must(const char *const *words)
{
	char *argv[32] = {0};
	struct process_result result;
	struct err err = {0};

	for (size_t i = 0; words[i]; i++)
		assert_int_equal(mem_strdup(words[i], &argv[i], &err), 0);
	if (process_run(argv, SECONDS, &result, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
	if (result.timed_out || result.exit_status != 0)
		fail_msg("%s: %s%s", words[0], result.timed_out ? "did not end: " : "",
			result.output);
}

static bool have_tools(void)
{
	static const char *const TOOLS[] = {QEMU, UBOOT, "/usr/bin/mkimage", "/usr/bin/mformat",
		"/usr/bin/mcopy", "/usr/bin/mmd", "/sbin/sfdisk"};

	for (size_t i = 0; i < ARRAY_LEN(TOOLS); i++) {
		if (access(TOOLS[i], R_OK) == 0)
			continue;
		print_message("no %s: boot.cmd was not run\n", TOOLS[i]);
		return false;
	}
	return true;
}

/* Beside build/tests/test_uboot_cmd, wherever that is run from. */
static const char *boot_cmd(void)
{
	static char path[PATH_MAX];
	char program[PATH_MAX / 2] = "";

	assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	for (unsigned int up = 0; up < 3 && strrchr(program, '/'); up++)
		*strrchr(program, '/') = '\0';
	(void)snprintf(path, sizeof(path), "%s/bootloader-hooks/uboot/boot.cmd", program);
	return path;
}

/* ---- the disk ---- */

static void put_file(struct scratch *scratch, const char *name, const char *text)
{
	struct err err = {0};

	if (fs_replace_file(scratch_path(scratch, name), text, strlen(text), 0600, &err) < 0)
		fail_msg("%s", err.msg);
}

static void copy_in(struct scratch *scratch, unsigned int part, const char *from, const char *to)
{
	char image[PATH_MAX + 32];

	(void)snprintf(image, sizeof(image), "%s@@%u", scratch_path(scratch, "disk"),
		(FIRST + part * PARTITION) * SECTOR);
	must((const char *const[]){"/usr/bin/mcopy", "-o", "-i", image, from, to, NULL});
}

static void put_script(struct scratch *scratch, const char *text, const char *to)
{
	char image[PATH_MAX];

	(void)snprintf(image, sizeof(image), "%s.scr", text);
	must((const char *const[]){"/usr/bin/mkimage", "-A", "arm64", "-T", "script", "-C", "none",
		"-d", text, image, NULL});
	copy_in(scratch, 0, image, to);
	(void)unlink(image);
}

static void make_partition(struct scratch *scratch, unsigned int part)
{
	char image[PATH_MAX + 32];

	(void)snprintf(image, sizeof(image), "%s@@%u", scratch_path(scratch, "disk"),
		(FIRST + part * PARTITION) * SECTOR);
	must((const char *const[]){"/usr/bin/mformat", "-i", image, "-T", "4096", "-h", "1", "-s",
		"4096", "::", NULL});
	must((const char *const[]){"/usr/bin/mmd", "-i", image, "::/boot", NULL});
	copy_in(scratch, part, scratch_path(scratch, "kernel"), "::/boot/vmlinuz");
}

static void lab_make(struct scratch *scratch, struct lab *ret)
{
	char text[PATH_MAX * 2];

	if (!have_tools())
		skip();
	*ret = (struct lab){.scratch = scratch};
	(void)scratch_file(scratch, "disk", DISK);
	put_file(scratch, "kernel", "a kernel");
	put_file(scratch, "layout",
		"label: dos\nstart=64,size=4096\nstart=4160,size=4096\nstart=8256,size=4096\n");
	(void)snprintf(text, sizeof(text), "/sbin/sfdisk -q %s <%s", scratch_path(scratch, "disk"),
		scratch_path(scratch, "layout"));
	must((const char *const[]){"/bin/sh", "-c", text, NULL});
	for (unsigned int part = 0; part < 3; part++)
		make_partition(scratch, part);
	put_file(scratch, "site", SITE);
	put_script(scratch, scratch_path(scratch, "site"), "::/abide-site.scr");
	(void)snprintf(
		text, sizeof(text), "cp '%s' '%s'", boot_cmd(), scratch_path(scratch, "cmd"));
	must((const char *const[]){"/bin/sh", "-c", text, NULL});
	put_script(scratch, scratch_path(scratch, "cmd"), "::/abide.scr");
	struct err err = {0};

	if (blockdev_open(scratch_path(scratch, "disk"), BLOCKDEV_WRITE, &ret->dev, &err) < 0)
		fail_msg("%s", err.msg);
}

static void lab_finish(struct lab *lab)
{
	blockdev_close(&lab->dev);
	bytes_finish(&lab->log);
}

static uint64_t copy_at(unsigned int number, unsigned int copy)
{
	return (RAW_AT + (uint64_t)(number * UBOOT_COPIES + copy) * BLOCKS) * SECTOR;
}

static void copy_put(struct lab *lab, unsigned int number, unsigned int copy, const uint8_t *bytes)
{
	struct err err;

	assert_int_equal(blockdev_pwrite(lab->dev, bytes, COPY, copy_at(number, copy), &err), 0);
}

static void copy_get(struct lab *lab, unsigned int number, unsigned int copy, uint8_t *ret)
{
	struct err err;

	assert_int_equal(blockdev_pread(lab->dev, ret, COPY, copy_at(number, copy), &err), 0);
}

/* ---- cases ---- */

static unsigned int add(struct lab *lab, const struct one *one)
{
	assert_true(lab->count < CASES_MAX);
	lab->cases[lab->count] = *one;
	return lab->count++;
}

static struct uboot_values values_of(const struct one *one)
{
	struct uboot_values values = {0};

	(void)snprintf(values.text[UBOOT_BOOT_ORDER], sizeof(values.text[0]), "%s", one->order);
	(void)snprintf(values.text[UBOOT_BOOT_A_LEFT], sizeof(values.text[0]), "%s", one->a);
	(void)snprintf(values.text[UBOOT_BOOT_B_LEFT], sizeof(values.text[0]), "%s", one->b);
	return values;
}

static void copy_make(const struct one *one, const char *others, uint8_t flag, uint8_t *ret)
{
	const struct uboot_values values = values_of(one);
	struct bytes defaults = {.data = NULL};
	struct err err;

	assert_int_equal(bytes_copy(others, strlen(others), &defaults, &err), 0);
	assert_int_equal(uboot_copy_format(&values, &defaults, flag, COPY, ret, &err), 0);
	bytes_finish(&defaults);
}

/* As two copies: the values in one, the other `flag` behind and with what would be noticed. */
static unsigned int add_raw(struct lab *lab, struct one one, unsigned int copy, uint8_t flag)
{
	const struct one stale = {.order = "A", .a = "9", .b = "9"};
	uint8_t bytes[COPY];
	unsigned int number;

	one.raw = true;
	number = add(lab, &one);
	copy_make(&one, "", flag, bytes);
	copy_put(lab, number, copy, bytes);
	copy_make(&stale, "", (uint8_t)(flag - 1), bytes);
	copy_put(lab, number, 1 - copy, bytes);
	return number;
}

static void write_driver(struct lab *lab)
{
	FILE *file = fopen(scratch_path(lab->scratch, "driver"), "we");

	assert_non_null(file);
	(void)fputs(DRIVER, file);
	for (unsigned int i = 0; i < lab->count; i++) {
		const struct one *one = &lab->cases[i];
		bool set = !one->raw;

		(void)fprintf(file,
			"echo \"@CASE %u@\"\n"
			"setenv BOOT_ORDER \"%s\"\nsetenv BOOT_A_LEFT \"%s\"\n"
			"setenv BOOT_B_LEFT \"%s\"\n"
			"t_store=%s\nt_block=%" PRIx64 "\nt_a=%u\nt_b=%u\nt_saves=%s\n"
			"source ${t_addr}\n",
			i, set ? one->order : "B", set ? one->a : "7", set ? one->b : "7",
			one->raw ? "raw" : "env", copy_at(i, 0) / SECTOR,
			one->loads[GROUP_A] ? 2u : 9u, one->loads[GROUP_B] ? 3u : 9u,
			one->cannot_save ? "false" : "true");
	}
	(void)fputs("echo \"@CASE end@\"\npoweroff\n", file);
	assert_int_equal(fclose(file), 0);
	put_script(lab->scratch, scratch_path(lab->scratch, "driver"), "::/boot.scr");
}

/* Runs all cases. */
static void lab_run(struct lab *lab)
{
	char drive[PATH_MAX + 64], serial[PATH_MAX + 16];
	struct err err = {0};

	write_driver(lab);
	(void)snprintf(drive, sizeof(drive), "if=none,id=disk,format=raw,file=%s%s",
		scratch_path(lab->scratch, "disk"), lab->read_only ? ",readonly=on" : "");
	(void)snprintf(serial, sizeof(serial), "file:%s", scratch_path(lab->scratch, "log"));
	must((const char *const[]){QEMU, "-M", "virt", "-cpu", "cortex-a53", "-accel", "tcg", "-m",
		"256", "-nodefaults", "-display", "none", "-no-reboot", "-serial", serial, "-bios",
		UBOOT, "-drive", drive, "-device", "virtio-blk-pci,drive=disk", NULL});
	if (fs_read_file(scratch_path(lab->scratch, "log"), LOG_MAX, &lab->log, &err) < 0)
		fail_msg("%s", err.msg);
	if (!strstr((const char *)lab->log.data, "@CASE end@"))
		fail_msg("U-Boot did not come to an end: %s", (const char *)lab->log.data);
}

static const char *within(const struct outcome *outcome, const char *needle)
{
	return memmem(outcome->text, outcome->len, needle, strlen(needle));
}

static void take(const char *from, char *ret, size_t cap)
{
	(void)snprintf(ret, cap, "%.*s", (int)strcspn(from, "@"), from);
}

/* BOOT_ORDER has a space in it: up to the first one behind the second colon. */
static void take_show(const char *from, char *ret, size_t cap)
{
	const char *colon = strchr(from, ':');

	colon = colon ? strchr(colon + 1, ':') : NULL;
	assert_non_null(colon);
	(void)snprintf(ret, cap, "%.*s", (int)(colon - from + (long)strcspn(colon, " @")), from);
}

static struct outcome outcome_of(const struct lab *lab, unsigned int number)
{
	struct outcome outcome = {.group = 0};
	const char *boot, *reset, *save, *end;
	char mark[32];

	(void)snprintf(mark, sizeof(mark), "@CASE %u@", number);
	outcome.text = strstr((const char *)lab->log.data, mark);
	assert_non_null(outcome.text);
	end = strstr(outcome.text + strlen(mark), "@CASE ");
	assert_non_null(end);
	outcome.len = (size_t)(end - outcome.text);
	boot = within(&outcome, "@BOOT ");
	reset = within(&outcome, "@RESET ");
	save = within(&outcome, "@SAVE ");
	if (!reset)
		fail_msg("it neither booted nor restarted: %.*s", (int)outcome.len, outcome.text);
	if (boot && boot < reset) {
		outcome.group = boot[6];
		take_show(boot + 8, outcome.left, sizeof(outcome.left));
	} else {
		boot = NULL;
		take(reset + 7, outcome.left, sizeof(outcome.left));
	}
	outcome.saved = save && save < (boot ? boot : reset);
	return outcome;
}

static void show(const struct uboot_values *values, char *ret, size_t cap)
{
	(void)snprintf(ret, cap, "%s:%s:%s", values->text[UBOOT_BOOT_ORDER],
		values->text[UBOOT_BOOT_A_LEFT], values->text[UBOOT_BOOT_B_LEFT]);
}

/* The values after `before` turned into `after`: only a count changes, and only by setexpr. */
static void expected_values(const struct one *one, const struct boot_state *before,
	const struct boot_state *after, char *ret, size_t cap)
{
	static const enum uboot_variable LEFT[] = {UBOOT_BOOT_A_LEFT, UBOOT_BOOT_B_LEFT};
	struct uboot_values values = values_of(one);

	for (unsigned int g = 0; g < GROUP_COUNT; g++)
		if (before->group[g].tries != after->group[g].tries)
			(void)snprintf(values.text[LEFT[g]], sizeof(values.text[0]), "%" PRIx32,
				after->group[g].tries);
	show(&values, ret, cap);
}

/* The case against the model, by what U-Boot said. */
static struct outcome check_case(const struct lab *lab, unsigned int number)
{
	const struct one *one = &lab->cases[number];
	const struct uboot_values values = values_of(one);
	struct outcome outcome = outcome_of(lab, number);
	struct boot_state before, after;
	enum group group = GROUP_A;
	char expected[64];
	bool started;
	struct err err;

	if (uboot_values_parse(&values, &before, &err) < 0)
		fail_msg("%s:%s:%s: %s", one->order, one->a, one->b, err.msg);
	after = before;
	started = boot_model_start(&after, one->loads, &group);
	if (outcome.group != (started ? group_name(group)[0] : 0))
		fail_msg("%s:%s:%s: started '%c', expected %s: %.*s", one->order, one->a, one->b,
			outcome.group ? outcome.group : '-', started ? group_name(group) : "none",
			(int)outcome.len, outcome.text);
	expected_values(one, &before, &after, expected, sizeof(expected));
	if (strcmp(outcome.left, expected) != 0)
		fail_msg("%s:%s:%s: left %s, expected %s: %.*s", one->order, one->a, one->b,
			outcome.left, expected, (int)outcome.len, outcome.text);
	/* What is not counted is not written. */
	if (!one->raw)
		assert_int_equal(outcome.saved, !boot_state_equal(&before, &after));
	return outcome;
}

/* ---- the tests ---- */

static const char *const ORDERS[] = {"A B", "B A", "A", "B"};
static const char *const LEFTS[] = {"0", "1", "2", "9", "a", "63"};
#define LEFT_COUNT ARRAY_LEN(LEFTS)

static void add_all(struct lab *lab, bool a_loads, bool b_loads)
{
	for (size_t i = 0; i < ARRAY_LEN(ORDERS) * LEFT_COUNT * LEFT_COUNT; i++)
		(void)add(lab, &(struct one){.order = ORDERS[i % ARRAY_LEN(ORDERS)],
				       .a = LEFTS[i / ARRAY_LEN(ORDERS) % LEFT_COUNT],
				       .b = LEFTS[i / ARRAY_LEN(ORDERS) / LEFT_COUNT],
				       .loads = {a_loads, b_loads}});
}

static void test_cmd__boots_what_the_model_boots(void **state)
{
	struct lab lab;

	lab_make(*state, &lab);
	add_all(&lab, true, true);
	lab_run(&lab);
	for (unsigned int i = 0; i < lab.count; i++)
		(void)check_case(&lab, i);
	print_message("boot.cmd: %u environments\n", lab.count);
	lab_finish(&lab);
}

static void test_cmd__kernel_that_does_not_load(void **state)
{
	struct lab lab;

	lab_make(*state, &lab);
	add_all(&lab, false, true);
	add_all(&lab, true, false);
	add_all(&lab, false, false);
	lab_run(&lab);
	for (unsigned int i = 0; i < lab.count; i++)
		(void)check_case(&lab, i);
	lab_finish(&lab);
}

/* What one side takes for a valid environment the other must, too. Then a, b, whichever loads, and
 * nothing is written. */
static void test_cmd__without_valid_variables_boots_what_loads(void **state)
{
	static const struct one BAD[] = {
		{.order = "", .a = "", .b = ""},
		{.order = "", .a = "63", .b = "63"},
		{.order = "C", .a = "63", .b = "63"},
		{.order = "B C", .a = "63", .b = "63"},
		{.order = "b", .a = "63", .b = "63"},
		{.order = "B B", .a = "63", .b = "63"},
		{.order = " B", .a = "63", .b = "63"},
		{.order = "B ", .a = "63", .b = "63"},
		{.order = "B A A", .a = "63", .b = "63"},
		{.order = "BA", .a = "63", .b = "63"},
		{.order = "B", .a = "63", .b = ""},
		{.order = "B A", .a = "", .b = "63"},
		{.order = "B", .a = "63", .b = "-1"},
		{.order = "B", .a = "63", .b = "x"},
		{.order = "B", .a = "63", .b = "1x"},
		{.order = "B", .a = "63", .b = "0x3"},
		{.order = "B", .a = "63", .b = "03"},
		{.order = "B", .a = "63", .b = "00"},
		{.order = "B", .a = "63", .b = "3 "},
		{.order = "B", .a = "63", .b = "3 3"},
		{.order = "B", .a = "63", .b = "A"},
		{.order = "B", .a = "63", .b = "+3"},
		{.order = "B", .a = "63", .b = "*3"},
		{.order = "B", .a = "63", .b = "10000"},
		{.order = "B", .a = "63", .b = "100000003"},
		{.order = "B", .a = "63", .b = "fffffffffffffff"},
		{.order = "B A", .a = "none", .b = "63"},
	};
	static const bool LOADS[][GROUP_COUNT] = {{true, true}, {false, true}, {false, false}};
	struct lab lab;

	lab_make(*state, &lab);
	for (size_t i = 0; i < ARRAY_LEN(BAD) * ARRAY_LEN(LOADS); i++) {
		struct one one = BAD[i / ARRAY_LEN(LOADS)];

		memcpy(one.loads, LOADS[i % ARRAY_LEN(LOADS)], sizeof(one.loads));
		(void)add(&lab, &one);
	}
	lab_run(&lab);
	for (unsigned int i = 0; i < lab.count; i++) {
		static const char EXPECTED[] = {'a', 'b', 0};
		const struct one *one = &lab.cases[i];
		const struct uboot_values values = values_of(one);
		const struct outcome outcome = outcome_of(&lab, i);
		struct boot_state found;
		struct err err;

		assert_int_equal(uboot_values_parse(&values, &found, &err), -1);
		if (outcome.group != EXPECTED[i % ARRAY_LEN(LOADS)] || outcome.saved)
			fail_msg("'%s':'%s':'%s': started '%c': %.*s", one->order, one->a, one->b,
				outcome.group ? outcome.group : '-', (int)outcome.len,
				outcome.text);
	}
	lab_finish(&lab);
}

static void test_cmd__unlisted_groups_number_is_not_looked_at(void **state)
{
	static const char *const RUBBISH[] = {"", "x", "-1", "0x3"};
	struct lab lab;

	lab_make(*state, &lab);
	for (size_t i = 0; i < ARRAY_LEN(RUBBISH); i++)
		(void)add(&lab,
			&(struct one){
				.order = "B", .a = RUBBISH[i], .b = "2", .loads = {true, true}});
	lab_run(&lab);
	for (unsigned int i = 0; i < lab.count; i++)
		(void)check_case(&lab, i);
	lab_finish(&lab);
}

static void test_cmd__does_not_boot_a_trial_it_cannot_count(void **state)
{
	struct lab lab;

	lab_make(*state, &lab);
	(void)add(&lab, &(struct one){.order = "B A",
				.a = "63",
				.b = "2",
				.loads = {true, true},
				.cannot_save = true});
	(void)add(&lab, &(struct one){.order = "B A",
				.a = "3",
				.b = "2",
				.loads = {true, true},
				.cannot_save = true});
	(void)add_raw(&lab,
		(struct one){.order = "B A", .a = "63", .b = "2", .loads = {true, true}}, 0, 1);
	lab.read_only = true;
	/* The disk has all the scripts on it when it becomes read-only. */
	lab_run(&lab);
	assert_int_equal(outcome_of(&lab, 0).group, 'a');
	assert_string_equal(outcome_of(&lab, 0).left, "B A:63:2");
	/* The fallback, uncounted. */
	assert_int_equal(outcome_of(&lab, 1).group, 'a');
	assert_string_equal(outcome_of(&lab, 1).left, "B A:3:2");
	assert_int_equal(outcome_of(&lab, 2).group, 'a');
	assert_string_equal(outcome_of(&lab, 2).left, "B A:63:2");
	lab_finish(&lab);
}

static void test_cmd__passes_the_command_line(void **state)
{
	struct outcome outcome;
	struct lab lab;

	lab_make(*state, &lab);
	(void)add(&lab, &(struct one){.order = "B", .a = "0", .b = "63", .loads = {true, true}});
	copy_in(lab.scratch, 2, scratch_path(lab.scratch, "kernel"), "::/boot/initrd");
	(void)add(&lab, &(struct one){.order = "A", .a = "63", .b = "0", .loads = {true, true}});
	lab_run(&lab);
	outcome = outcome_of(&lab, 0);
	assert_non_null(within(&outcome, "abide.group=b root=PARTLABEL=rootfs-b panic=10"));
	assert_non_null(within(&outcome, " rd=0x44000000:8@"));
	outcome = outcome_of(&lab, 1);
	assert_non_null(within(&outcome, "abide.group=a root=PARTLABEL=rootfs-a panic=10"));
	assert_non_null(within(&outcome, " rd=-@"));
	lab_finish(&lab);
}

/* ---- the raw environment, whose format is that of U-Boot's redundant one ---- */

static unsigned int current_copy(uint8_t copies[UBOOT_COPIES][COPY])
{
	bool valid[] = {uboot_copy_check(copies[0], COPY) == UBOOT_COPY_OK,
		uboot_copy_check(copies[1], COPY) == UBOOT_COPY_OK};

	if (valid[0] && valid[1])
		return uboot_copy_newer(copies[0], copies[1]);
	assert_true(valid[0] || valid[1]);
	return valid[1];
}

/* What the device side would read after the case is what the model left. */
static void check_copies(struct lab *lab, unsigned int number)
{
	const struct uboot_values values = values_of(&lab->cases[number]);
	uint8_t copies[UBOOT_COPIES][COPY];
	struct uboot_values found;
	struct boot_state expected, left;
	enum group group;
	struct err err;

	assert_int_equal(uboot_values_parse(&values, &expected, &err), 0);
	(void)boot_model_start(&expected, lab->cases[number].loads, &group);
	copy_get(lab, number, 0, copies[0]);
	copy_get(lab, number, 1, copies[1]);
	uboot_copy_values(copies[current_copy(copies)], COPY, &found);
	assert_int_equal(uboot_values_parse(&found, &left, &err), 0);
	assert_true(boot_state_equal(&left, &expected));
}

static void test_raw__newer_valid_copy_counts_and_the_older_is_written(void **state)
{
	static const uint8_t FLAGS[] = {1, 2, 0x7f, 0x80, 0xff, 0};
	static const struct one ONES[] = {
		{.order = "B A", .a = "63", .b = "2", .loads = {true, true}},
		{.order = "B A", .a = "63", .b = "1", .loads = {true, false}},
		{.order = "A B", .a = "63", .b = "63", .loads = {true, true}},
		{.order = "B", .a = "x", .b = "a", .loads = {true, true}},
	};
	struct lab lab;

	lab_make(*state, &lab);
	for (size_t i = 0; i < ARRAY_LEN(FLAGS) * ARRAY_LEN(ONES); i++)
		for (unsigned int copy = 0; copy < UBOOT_COPIES; copy++)
			(void)add_raw(
				&lab, ONES[i % ARRAY_LEN(ONES)], copy, FLAGS[i / ARRAY_LEN(ONES)]);
	lab_run(&lab);
	for (unsigned int i = 0; i < lab.count; i++) {
		(void)check_case(&lab, i);
		check_copies(&lab, i);
	}
	print_message("boot.cmd: %u raw environments\n", lab.count);
	lab_finish(&lab);
}

/* A cut at any sector of a save: the older copy is half of one and half of the other. */
static void test_raw__half_written_copy_is_passed_over_and_healed(void **state)
{
	static const struct one ONE = {.order = "B A", .a = "63", .b = "2", .loads = {true, true}};
	uint8_t bytes[COPY];
	struct lab lab;

	lab_make(*state, &lab);
	for (unsigned int copy = 0; copy < UBOOT_COPIES; copy++) {
		static const uint8_t FILLS[] = {0, 0xff, 'x'};

		for (size_t i = 0; i < ARRAY_LEN(FILLS); i++) {
			unsigned int number = add_raw(&lab, ONE, copy, 7);

			memset(bytes, FILLS[i], sizeof(bytes));
			copy_put(&lab, number, 1 - copy, bytes);
		}
		for (size_t at = 0; at < COPY; at += SECTOR / 2) {
			unsigned int number = add_raw(&lab, ONE, copy, 7);

			copy_make(&ONE, "other=1\n", 8, bytes);
			bytes[at ? at : 6] ^= 1;
			copy_put(&lab, number, 1 - copy, bytes);
		}
	}
	lab_run(&lab);
	for (unsigned int i = 0; i < lab.count; i++) {
		(void)check_case(&lab, i);
		check_copies(&lab, i);
		for (unsigned int copy = 0; copy < UBOOT_COPIES; copy++) {
			copy_get(&lab, i, copy, bytes);
			assert_int_equal(uboot_copy_check(bytes, COPY), UBOOT_COPY_OK);
		}
	}
	lab_finish(&lab);
}

static void test_raw__both_copies_lost_boots_what_loads(void **state)
{
	uint8_t bytes[COPY] = "no environment at all", found[COPY];
	struct lab lab;

	lab_make(*state, &lab);
	for (unsigned int i = 0; i < 2; i++) {
		(void)add_raw(&lab,
			(struct one){.order = "B", .a = "0", .b = "63", .loads = {i == 0, true}}, 0,
			1);
		copy_put(&lab, i, 0, bytes);
		copy_put(&lab, i, 1, bytes);
	}
	lab_run(&lab);
	assert_int_equal(outcome_of(&lab, 0).group, 'a');
	assert_int_equal(outcome_of(&lab, 1).group, 'b');
	for (unsigned int copy = 0; copy < UBOOT_COPIES; copy++) {
		copy_get(&lab, 0, copy, found);
		assert_memory_equal(found, bytes, COPY);
	}
	lab_finish(&lab);
}

#define LAB_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LAB_TEST(test_cmd__boots_what_the_model_boots),
		LAB_TEST(test_cmd__kernel_that_does_not_load),
		LAB_TEST(test_cmd__without_valid_variables_boots_what_loads),
		LAB_TEST(test_cmd__unlisted_groups_number_is_not_looked_at),
		LAB_TEST(test_cmd__does_not_boot_a_trial_it_cannot_count),
		LAB_TEST(test_cmd__passes_the_command_line),
		LAB_TEST(test_raw__newer_valid_copy_counts_and_the_older_is_written),
		LAB_TEST(test_raw__half_written_copy_is_passed_over_and_healed),
		LAB_TEST(test_raw__both_copies_lost_boots_what_loads),
	};

	return cmocka_run_group_tests_name("uboot_cmd", tests, NULL, NULL);
}
