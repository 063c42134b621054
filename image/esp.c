#include "image/esp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bootloader-hooks/grub/grub.h"
#include "image/tool.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define SECTOR        512u
#define FAT32_MIN     (UINT64_C(64) << 20) /* below that mformat chooses FAT16 */
#define GRUB_TARGET   "x86_64-efi"
#define GRUB_FILE_MAX (256u << 10)

/* What grub.cfg uses, and the file systems that a slot or the ESP may have. */
#define GRUB_MODULES                                                                               \
	"part_gpt", "fat", "squash4", "ext2", "gzio", "xzio", "lzopio", "normal", "configfile",    \
		"linux", "boot", "loadenv", "test", "true", "echo", "regexp", "sleep", "reboot",   \
		"serial", "terminal"

/* Embedded in the GRUB image, whose prefix is /grub on the partition it was loaded from. Without a
 * grub.cfg there is nothing to do but to try again; never a prompt that waits for a person. */
static const char EARLY_CONFIG[] = "configfile $prefix/grub.cfg\n"
				   "echo \"abide: no $prefix/grub.cfg; restarting in 10 s\"\n"
				   "sleep 10\n"
				   "reboot\n";

struct esp {
	const char *work;
	time_t time;
	char image[PATH_MAX + 32]; /* FILE@@OFFSET, as mtools has it */
};

static int format(struct esp *esp, const struct layout_partition *part, struct err *err)
{
	char sectors[32], hidden[32], serial[16];
	bool fat32 = part->size >= FAT32_MIN;
	const char *const argv[] = {"mformat", "-i", esp->image, "-T", sectors, "-H", hidden, "-N",
		serial, "-v", "ESP", fat32 ? "-F" : "::", fat32 ? "::" : NULL, NULL};

	(void)snprintf(sectors, sizeof(sectors), "%" PRIu64, part->size / SECTOR);
	(void)snprintf(hidden, sizeof(hidden), "%" PRIu64, part->start / SECTOR);
	(void)snprintf(serial, sizeof(serial), "%.8s", part->fs_uuid);
	return tool_run(argv, esp->time, err);
}

static int make_dirs(const struct esp *esp, struct err *err)
{
	const char *const argv[] = {
		"mmd", "-i", esp->image, "::/EFI", "::/EFI/BOOT", "::/grub", NULL};

	return tool_run(argv, esp->time, err);
}

/* Through a file of the same name in the scratch folder: mcopy has no standard input that it may
 * ask nothing on. */
static int put(const struct esp *esp, const char *name, const void *data, size_t len,
	const char *to, struct err *err)
{
	char path[PATH_MAX];
	const char *const argv[] = {"mcopy", "-n", "-o", "-i", esp->image, path, to, NULL};

	if (fs_join(esp->work, name, path, sizeof(path), err) < 0 ||
		fs_replace_file(path, data, len, 0600, err) < 0)
		return -1;
	return tool_run(argv, esp->time, err);
}

static int put_config(
	const struct esp *esp, const char *from, const char *name, const char *to, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};

	if (fs_read_file(from, GRUB_FILE_MAX, &text, err) < 0)
		return -1;
	return put(esp, name, text.data, text.len, to, err);
}

static int put_grub(const struct esp *esp, struct err *err)
{
	char early[PATH_MAX], image[PATH_MAX];
	const char *const make[] = {"grub-mkimage", "-O", GRUB_TARGET, "-p", "/grub", "-c", early,
		"-o", image, GRUB_MODULES, NULL};
	const char *const copy[] = {
		"mcopy", "-n", "-o", "-i", esp->image, image, "::/EFI/BOOT/BOOTX64.EFI", NULL};

	if (fs_join(esp->work, "early.cfg", early, sizeof(early), err) < 0 ||
		fs_join(esp->work, "grub.efi", image, sizeof(image), err) < 0 ||
		fs_replace_file(early, EARLY_CONFIG, sizeof(EARLY_CONFIG) - 1, 0600, err) < 0 ||
		tool_run(make, esp->time, err) < 0)
		return -1;
	return tool_run(copy, esp->time, err);
}

/* Group a confirmed and first; group b is neither good nor on trial: not bootable. */
static int put_environment(const struct esp *esp, struct err *err)
{
	const struct boot_state state = {
		.group[GROUP_A] = {.good = true},
		.primary = GROUP_A,
	};
	uint8_t block[GRUB_ENV_LEN];

	if (grub_env_format(&state, NULL, block, err) < 0 ||
		put(esp, "grubenv", block, sizeof(block), "::/grub/grubenv", err) < 0)
		return -1;
	return put(esp, "grubenv.spare", block, sizeof(block), "::/grub/grubenv.spare", err);
}

int esp_write(const char *path, const struct layout *layout, const char *work, time_t time,
	struct err *err)
{
	const struct layout_partition *part = layout_esp(layout);
	struct esp esp = {.work = work, .time = time};

	(void)snprintf(esp.image, sizeof(esp.image), "%s@@%" PRIu64, path, part->start);
	if (format(&esp, part, err) < 0 || make_dirs(&esp, err) < 0 || put_grub(&esp, err) < 0 ||
		put_config(&esp, layout->grub_config, "grub.cfg", "::/grub/grub.cfg", err) < 0)
		return err_wrap(err, "partition '%s'", part->name);
	if (layout->grub_site[0] &&
		put_config(&esp, layout->grub_site, "site.cfg", "::/grub/site.cfg", err) < 0)
		return err_wrap(err, "partition '%s'", part->name);
	if (put_environment(&esp, err) < 0)
		return err_wrap(err, "partition '%s'", part->name);
	return 0;
}
