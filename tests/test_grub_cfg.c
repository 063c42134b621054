/*
 * grub.cfg, run by GRUB itself (grub-emu) on a small disk, held to boot_model_boot(): for every
 * environment it must boot the group that the model picks and leave the environment that the model
 * leaves. Only `linux` is replaced, by a function that says which group it was asked to load.
 *
 * Skipped where grub-emu, mtools or sfdisk are missing.
 */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#include <cmocka.h>

#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/model.h"
#include "tests/scratch.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/process.h"

#define MODULES "/usr/lib/grub/x86_64-emu"
#define DISK    (4u << 20)
#define ESP     (64u * 512) /* where the partition begins */

static const char WRAPPER[] = "insmod part_gpt\n"
			      "insmod fat\n"
			      "function linux {\n"
			      "	if [ \"$2\" = \"abide.group=$broken\" -o \"$broken\" = ab ]; then\n"
			      "		echo \"@NOLOAD $2@\"\n"
			      "		false\n"
			      "	elif [ -f \"$1\" ]; then\n"
			      "		echo \"@BOOT $1 $2 $3@\"\n"
			      "		exit\n"
			      "	fi\n"
			      "}\n"
			      "source (host)%s/broken.cfg\n"
			      "export broken\n"
			      "configfile (hd0,gpt1)/grub/grub.cfg\n";

struct disk {
	struct scratch *scratch;
	struct blockdev *dev;
	uint64_t env_at[2]; /* of the two copies in the disk */
};

/* What GRUB did. */
struct outcome {
	char output[PROCESS_OUTPUT_MAX + 1];
	char group; /* 'a', 'b', or 0: it restarted instead */
};

static void run(struct process_result *ret, const char *const *words)
{
	char *argv[16] = {0};
	struct err err = {0};

	for (size_t i = 0; words[i]; i++)
		assert_int_equal(mem_strdup(words[i], &argv[i], &err), 0);
	if (process_run(argv, 30, ret, &err) < 0)
		fail_msg("%s", err.msg);
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
}

static void must(const char *const *words)
{
	struct process_result result;

	run(&result, words);
	if (result.exit_status != 0)
		fail_msg("%s: %s", words[0], result.output);
}

/* Beside build/tests/test_grub_cfg, wherever that is run from. */
static const char *grub_cfg(void)
{
	static char path[PATH_MAX];
	char program[PATH_MAX / 2] = "";

	assert_true(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
	for (unsigned int up = 0; up < 3 && strrchr(program, '/'); up++)
		*strrchr(program, '/') = '\0';
	(void)snprintf(path, sizeof(path), "%s/bootloader-hooks/grub/grub.cfg", program);
	return path;
}

static void put_file(struct scratch *scratch, const char *name, const char *text)
{
	struct err err = {0};

	if (fs_replace_file(scratch_path(scratch, name), text, strlen(text), 0600, &err) < 0)
		fail_msg("%s", err.msg);
}

static bool have_tools(void)
{
	static const char *const TOOLS[] = {"/usr/bin/grub-emu", MODULES "/fat.mod",
		"/usr/bin/mformat", "/usr/bin/mcopy", "/usr/bin/mmd", "/sbin/sfdisk"};

	for (size_t i = 0; i < ARRAY_LEN(TOOLS); i++) {
		if (access(TOOLS[i], R_OK) == 0)
			continue;
		print_message("no %s: grub.cfg was not run\n", TOOLS[i]);
		return false;
	}
	return true;
}

static void make_fat(struct scratch *scratch, unsigned int first_sector)
{
	char image[PATH_MAX + 16];

	(void)snprintf(
		image, sizeof(image), "%s@@%u", scratch_path(scratch, "disk"), first_sector * 512);
	must((const char *const[]){"/usr/bin/mformat", "-i", image, "-T", "2048", "-h", "1", "-s",
		"2048", "::", NULL});
	must((const char *const[]){"/usr/bin/mmd", "-i", image, "::/boot", "::/grub", NULL});
	must((const char *const[]){"/usr/bin/mcopy", "-i", image, scratch_path(scratch, "kernel"),
		"::/boot/vmlinuz", NULL});
}

/* The bytes of the two copies in the disk, found by what was just put there. */
static void find_copies(struct disk *disk)
{
	uint8_t block[GRUB_ENV_LEN];
	struct err err;

	for (uint64_t at = 0; at + GRUB_ENV_LEN <= DISK; at += 512) {
		assert_int_equal(blockdev_pread(disk->dev, block, sizeof(block), at, &err), 0);
		if (memcmp(block, "first copy", 10) == 0)
			disk->env_at[0] = at;
		if (memcmp(block, "spare copy", 10) == 0)
			disk->env_at[1] = at;
	}
	assert_true(disk->env_at[0] != 0 && disk->env_at[1] != 0);
}

static void copy_in(struct scratch *scratch, const char *from, const char *to)
{
	char image[PATH_MAX + 16];

	(void)snprintf(image, sizeof(image), "%s@@%u", scratch_path(scratch, "disk"), ESP);
	must((const char *const[]){"/usr/bin/mcopy", "-o", "-i", image, from, to, NULL});
}

static void put_copies(struct scratch *scratch)
{
	uint8_t block[GRUB_ENV_LEN] = "first copy";
	struct err err;

	assert_int_equal(
		fs_replace_file(scratch_path(scratch, "env"), block, sizeof(block), 0600, &err), 0);
	copy_in(scratch, scratch_path(scratch, "env"), "::/grub/grubenv");
	memcpy(block, "spare copy", 10);
	assert_int_equal(
		fs_replace_file(scratch_path(scratch, "env"), block, sizeof(block), 0600, &err), 0);
	copy_in(scratch, scratch_path(scratch, "env"), "::/grub/grubenv.spare");
	copy_in(scratch, grub_cfg(), "::/grub/grub.cfg");
}

static void make_disk(struct scratch *scratch, struct disk *ret)
{
	struct disk disk = {.scratch = scratch};
	char text[PATH_MAX * 2];
	struct err err;

	if (!have_tools())
		skip();
	(void)scratch_file(scratch, "disk", DISK);
	put_file(scratch, "kernel", "a kernel");
	put_file(scratch, "layout",
		"label: gpt\nstart=64,size=2048\nstart=2112,size=2048\nstart=4160,size=2048\n");
	(void)snprintf(text, sizeof(text), "/sbin/sfdisk -q %s <%s", scratch_path(scratch, "disk"),
		scratch_path(scratch, "layout"));
	must((const char *const[]){"/bin/sh", "-c", text, NULL});
	make_fat(scratch, 64);
	make_fat(scratch, 2112);
	make_fat(scratch, 4160);
	put_copies(scratch);
	(void)snprintf(text, sizeof(text), WRAPPER, scratch->dir);
	put_file(scratch, "grub.cfg", text);
	put_file(scratch, "broken.cfg", "set broken=none\n");
	(void)snprintf(text, sizeof(text), "(hd0) %s\n", scratch_path(scratch, "disk"));
	put_file(scratch, "device.map", text);
	assert_int_equal(symlink(MODULES, scratch_path(scratch, "x86_64-emu")), 0);
	assert_int_equal(
		blockdev_open(scratch_path(scratch, "disk"), BLOCKDEV_WRITE, &disk.dev, &err), 0);
	find_copies(&disk);
	*ret = disk;
}

/* The emulator, on the scratch directory's configuration and device map. */
static struct outcome boot(struct disk *disk)
{
	struct process_result result;
	struct outcome outcome = {.group = 0};
	const char *found;

	run(&result,
		(const char *const[]){"/usr/bin/env", "TERM=dumb", "/usr/bin/grub-emu", "-d",
			disk->scratch->dir, "-m", scratch_path(disk->scratch, "device.map"), NULL});
	if (result.timed_out)
		fail_msg("GRUB did not come to an end: %s", result.output);
	memcpy(outcome.output, result.output, sizeof(outcome.output));
	found = strstr(result.output, "@BOOT ");
	if (strstr(result.output, "grub>"))
		fail_msg("GRUB fell to its prompt: %s", result.output);
	if (found && strstr(found, "abide.group="))
		outcome.group = strstr(found, "abide.group=")[12];
	return outcome;
}

static void env_put(struct disk *disk, unsigned int copy, const char *text)
{
	uint8_t block[GRUB_ENV_LEN];
	struct err err;

	memset(block, '#', sizeof(block));
	memcpy(block, text, strlen(text));
	assert_int_equal(
		blockdev_pwrite(disk->dev, block, sizeof(block), disk->env_at[copy], &err), 0);
}

static void env_get(struct disk *disk, unsigned int copy, uint8_t *ret)
{
	struct err err;

	assert_int_equal(blockdev_pread(disk->dev, ret, GRUB_ENV_LEN, disk->env_at[copy], &err), 0);
}

#define HEAD "# GRUB Environment Block\n"
#define JUNK "no environment at all"

static void test_cfg__boots_what_the_model_boots(void **state)
{
	static const char *const ORDERS[] = {"A B", "B A", "A", "B"};
	static const char *const GROUPS[] = {"10", "13", "00", "01", "02", "09", "-0"};
	struct disk disk;
	unsigned int count = 0;

	make_disk(*state, &disk);
	for (size_t i = 0; i < 4 * 7 * 7; i++) {
		const char *order = ORDERS[i % 4], *a = GROUPS[i / 4 % 7], *b = GROUPS[i / 28];
		uint8_t before[GRUB_ENV_LEN], after[GRUB_ENV_LEN], spare[GRUB_ENV_LEN];
		struct boot_state model, left;
		struct outcome outcome;
		enum group expected;
		char text[256];
		struct err err;

		(void)snprintf(text, sizeof(text),
			HEAD "ORDER=%s\nA_OK=%.*s\nA_TRY=%c\nB_OK=%.*s\nB_TRY=%c\n", order,
			a[0] != '-', a, a[1], b[0] != '-', b, b[1]);
		env_put(&disk, 0, text);
		env_put(&disk, 1, text);
		env_get(&disk, 0, before);
		if (grub_env_parse(before, &model, &err) < 0)
			fail_msg("%s: %s", text, err.msg);
		assert_true(boot_model_boot(&model, &expected));
		outcome = boot(&disk);
		if (outcome.group != group_name(expected)[0])
			fail_msg("%sbooted '%c', expected '%s': %s", text, outcome.group,
				group_name(expected), outcome.output);
		env_get(&disk, 0, after);
		env_get(&disk, 1, spare);
		assert_int_equal(grub_env_parse(after, &left, &err), 0);
		if (!boot_state_equal(&left, &model))
			fail_msg("%sleft %s", text, after);
		/* A group that is not on trial costs no write; the spare is never written. */
		if (!strstr(outcome.output, "on trial"))
			assert_memory_equal(before, after, GRUB_ENV_LEN);
		assert_memory_equal(before, spare, GRUB_ENV_LEN);
		count++;
	}
	print_message("grub.cfg: %u environments\n", count);
	blockdev_close(&disk.dev);
}

static void assert_boots(struct disk *disk, const char *first, const char *spare, char expected)
{
	struct outcome outcome;

	env_put(disk, 0, first);
	env_put(disk, 1, spare);
	outcome = boot(disk);
	if (outcome.group != expected)
		fail_msg("booted '%c', expected '%c', from %s and %s: %s",
			outcome.group ? outcome.group : '-', expected ? expected : '-', first,
			spare, outcome.output);
}

/* What one side takes for a valid environment the other must, too. */
static void test_cfg__takes_the_spare_when_the_model_does(void **state)
{
	static const char *const BAD[] = {JUNK, HEAD, HEAD "ORDER=\n", HEAD "ORDER=C\n",
		HEAD "ORDER=A A\nA_OK=1\n", HEAD "ORDER=A C\nA_OK=1\n", HEAD "ORDER=a\nA_OK=1\n",
		HEAD "ORDER=A\nA_OK=2\n", HEAD "ORDER=A\nA_OK=1\nB_TRY=10\n",
		HEAD "ORDER=A\nA_OK=1\nA_TRY=-1\n", HEAD "ORDER=A\nA_OK=11\n",
		HEAD "ORDER=A:1::: A\nA_OK=1\n"};
	struct disk disk;
	uint8_t block[GRUB_ENV_LEN];

	make_disk(*state, &disk);
	for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
		struct boot_state found;
		struct err err;

		assert_boots(&disk, BAD[i], HEAD "ORDER=B\nB_OK=1\nA_OK=1\n", 'b');
		env_get(&disk, 0, block);
		assert_int_equal(grub_env_parse(block, &found, &err), -1);
	}
	/* A try is counted in the copy that was read. */
	assert_boots(&disk, JUNK, HEAD "ORDER=B A\nA_OK=1\nB_TRY=2\n", 'b');
	env_get(&disk, 1, block);
	assert_non_null(memmem(block, sizeof(block), "B_TRY=1\n", 8));
	blockdev_close(&disk.dev);
}

static void test_cfg__without_an_environment_boots_what_loads(void **state)
{
	struct disk disk;

	make_disk(*state, &disk);
	assert_boots(&disk, JUNK, JUNK, 'a');
	put_file(*state, "broken.cfg", "set broken=a\n");
	assert_boots(&disk, JUNK, JUNK, 'b');
	put_file(*state, "broken.cfg", "set broken=ab\n");
	assert_boots(&disk, JUNK, JUNK, 0);
	blockdev_close(&disk.dev);
}

static void test_cfg__kernel_that_does_not_load(void **state)
{
	uint8_t block[GRUB_ENV_LEN];
	struct disk disk;

	make_disk(*state, &disk);
	put_file(*state, "broken.cfg", "set broken=b\n");
	/* On trial: that was its try. Restarting, until the fallback's turn comes. */
	assert_boots(&disk, HEAD "ORDER=B A\nA_OK=1\nB_TRY=2\n", JUNK, 0);
	env_get(&disk, 0, block);
	assert_non_null(memmem(block, sizeof(block), "B_TRY=1\n", 8));
	/* Good: the next one, in the same boot; counted if it is on trial. */
	assert_boots(&disk, HEAD "ORDER=B A\nA_OK=1\nB_OK=1\n", JUNK, 'a');
	assert_boots(&disk, HEAD "ORDER=B A\nA_TRY=3\nB_OK=1\n", JUNK, 'a');
	env_get(&disk, 0, block);
	assert_non_null(memmem(block, sizeof(block), "A_TRY=2\n", 8));
	/* A bad one is better than none, a disarmed one is not. */
	assert_boots(&disk, HEAD "ORDER=A B\nB_OK=1\n", JUNK, 'a');
	assert_boots(&disk, HEAD "ORDER=B\nB_OK=1\nA_OK=1\n", JUNK, 0);
	blockdev_close(&disk.dev);
}

static void test_cfg__does_not_boot_a_trial_it_cannot_count(void **state)
{
	struct disk disk;
	const char *loop;
	int one = 1;
	int fd;
	char map[64];

	make_disk(*state, &disk);
	loop = scratch_loop(*state, scratch_path(*state, "disk"));
	fd = open(loop, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, BLKROSET, &one), 0);
	(void)close(fd);
	(void)snprintf(map, sizeof(map), "(hd0) %s\n", loop);
	put_file(*state, "device.map", map);
	assert_boots(&disk, HEAD "ORDER=B A\nA_OK=1\nB_TRY=2\n", JUNK, 'a');
	blockdev_close(&disk.dev);
}

static void test_cfg__passes_the_command_line_and_site_settings(void **state)
{
	struct scratch *scratch = *state;
	struct outcome outcome;
	struct disk disk;

	make_disk(scratch, &disk);
	env_put(&disk, 0, HEAD "ORDER=B\nB_OK=1\n");
	outcome = boot(&disk);
	assert_non_null(strstr(outcome.output,
		"@BOOT (hd0,gpt3)/boot/vmlinuz abide.group=b root=PARTLABEL=rootfs-b@"));
	put_file(scratch, "site", "set abide_b_part=gpt2\nset abide_b_root=/dev/vda2\n");
	copy_in(scratch, scratch_path(scratch, "site"), "::/grub/site.cfg");
	outcome = boot(&disk);
	assert_non_null(strstr(
		outcome.output, "@BOOT (hd0,gpt2)/boot/vmlinuz abide.group=b root=/dev/vda2@"));
	blockdev_close(&disk.dev);
}

#define DISK_TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(test_cfg__boots_what_the_model_boots),
		DISK_TEST(test_cfg__takes_the_spare_when_the_model_does),
		DISK_TEST(test_cfg__without_an_environment_boots_what_loads),
		DISK_TEST(test_cfg__kernel_that_does_not_load),
		DISK_TEST(test_cfg__does_not_boot_a_trial_it_cannot_count),
		DISK_TEST(test_cfg__passes_the_command_line_and_site_settings),
	};

	return cmocka_run_group_tests_name("grub_cfg", tests, NULL, NULL);
}
