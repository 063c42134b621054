#include "image/esp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "image/tool.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define SECTOR       512u
#define FAT32_MIN    (UINT64_C(64) << 20) /* below that mformat chooses FAT16 */
#define GRUB_TARGET  "x86_64-efi"
#define TEXT_MAX     (256u << 10)
#define SYSTEMD_BOOT "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
#define FALLBACK     "::/EFI/BOOT/BOOTX64.EFI"

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

/* As many as there are; NULL ends them. */
static int make_dirs(const struct esp *esp, const char *const dirs[], struct err *err)
{
	const char *argv[16] = {"mmd", "-i", esp->image};

	for (size_t i = 0; dirs[i] && i + 4 < ARRAY_LEN(argv); i++)
		argv[3 + i] = dirs[i];
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

	if (fs_read_file(from, TEXT_MAX, &text, err) < 0)
		return -1;
	return put(esp, name, text.data, text.len, to, err);
}

static int put_grub(const struct esp *esp, struct err *err)
{
	char early[PATH_MAX], image[PATH_MAX];
	const char *const make[] = {"grub-mkimage", "-O", GRUB_TARGET, "-p", "/grub", "-c", early,
		"-o", image, GRUB_MODULES, NULL};
	const char *const copy[] = {"mcopy", "-n", "-o", "-i", esp->image, image, FALLBACK, NULL};

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

static int write_grub(const struct esp *esp, const struct layout *layout, struct err *err)
{
	static const char *const DIRS[] = {"::/EFI", "::/EFI/BOOT", "::/grub", NULL};

	if (make_dirs(esp, DIRS, err) < 0 || put_grub(esp, err) < 0 ||
		put_config(esp, layout->grub_config, "grub.cfg", "::/grub/grub.cfg", err) < 0)
		return -1;
	if (layout->grub_site[0] &&
		put_config(esp, layout->grub_site, "site.cfg", "::/grub/site.cfg", err) < 0)
		return -1;
	return put_environment(esp, err);
}

/* ---- systemd-boot, and the firmware alone ---- */

static int put_file(const struct esp *esp, const char *from, const char *package, const char *to,
	struct err *err)
{
	const char *const argv[] = {"mcopy", "-n", "-o", "-i", esp->image, from, to, NULL};

	if (access(from, R_OK) < 0)
		return err_errno(err, "'%s' (%s)", from, package);
	return tool_run(argv, esp->time, err);
}

int esp_slot_path(const char *work, const struct layout_partition *file, char ret[static PATH_MAX],
	struct err *err)
{
	char name[MANIFEST_CLASS_MAX + 16];

	(void)snprintf(
		name, sizeof(name), "slot.%s.%s", file->class, group_name(file->group)); /* fits */
	return fs_join(work, name, ret, PATH_MAX, err);
}

/* Before anything else: so each lies in one piece. */
static int put_slots(const struct esp *esp, const struct layout *layout, struct err *err)
{
	for (size_t i = 0; i < layout->file_count; i++) {
		const struct layout_partition *file = &layout->files[i];
		char from[PATH_MAX], to[LAYOUT_PATH_MAX + 4];

		(void)snprintf(to, sizeof(to), "::%s", file->path); /* fits */
		if (esp_slot_path(esp->work, file, from, err) < 0 ||
			put_file(esp, from, "made by this program", to, err) < 0)
			return err_wrap(err, "slot '%s'", file->name);
	}
	return 0;
}

int esp_take_out(const char *disk, const struct layout *layout, const char *path, const char *to,
	time_t time, struct err *err)
{
	char image[PATH_MAX + 32], from[LAYOUT_PATH_MAX + 4];
	const char *const argv[] = {"mcopy", "-n", "-o", "-i", image, from, to, NULL};

	(void)snprintf(image, sizeof(image), "%s@@%" PRIu64, disk, layout_esp(layout)->start);
	(void)snprintf(from, sizeof(from), "::%s", path); /* both fit */
	return tool_run(argv, time, err);
}

/* Group a's template with the two lines that abide puts in front of it. */
static int put_entry(const struct esp *esp, const struct layout *layout, struct err *err)
{
	static const struct systemd_boot_entry ENTRY = {.group = GROUP_A, .generation = 1};
	CLEANUP(bytes_finish) struct bytes template = {0}, text = {0};
	char name[SYSTEMD_BOOT_NAME_MAX], to[SYSTEMD_BOOT_NAME_MAX + 32];

	if (fs_read_file(layout->group_file[GROUP_A], TEXT_MAX, &template, err) < 0 ||
		systemd_boot_text(&ENTRY, &template, &text, err) < 0)
		return err_wrap(err, "'%s'", layout->group_file[GROUP_A]);
	systemd_boot_format(&ENTRY, name);
	(void)snprintf(to, sizeof(to), "::/loader/entries/%s", name); /* fits */
	return put(esp, "entry", text.data, text.len, to, err);
}

static int write_systemd_boot(const struct esp *esp, const struct layout *layout, struct err *err)
{
	static const char *const DIRS[] = {"::/EFI", "::/EFI/BOOT", "::/EFI/systemd", "::/loader",
		"::/loader/entries", "::/abide", NULL};

	if (make_dirs(esp, DIRS, err) < 0 || put_slots(esp, layout, err) < 0 ||
		put_file(esp, layout->start, "make abide-start.efi", FALLBACK, err) < 0 ||
		put_file(esp, SYSTEMD_BOOT, "Debian's package is 'systemd-boot-efi'",
			"::/EFI/systemd/systemd-bootx64.efi", err) < 0 ||
		put_config(esp, layout->loader_conf, "loader.conf", "::/loader/loader.conf", err) <
			0 ||
		put_config(esp, layout->group_file[GROUP_A], "a.conf", "::/abide/a.conf", err) <
			0 ||
		put_config(esp, layout->group_file[GROUP_B], "b.conf", "::/abide/b.conf", err) < 0)
		return -1;
	return put_entry(esp, layout, err);
}

/* Without entries of the firmware's yet: abide-start.efi finds group a, and abide makes them. */
static int write_efi(const struct esp *esp, const struct layout *layout, struct err *err)
{
	static const char *const DIRS[] = {"::/EFI", "::/EFI/BOOT", "::/abide", NULL};

	if (make_dirs(esp, DIRS, err) < 0 || put_slots(esp, layout, err) < 0 ||
		put_file(esp, layout->start, "make abide-start.efi", FALLBACK, err) < 0 ||
		put_config(esp, layout->group_file[GROUP_A], "a.cmdline", "::/abide/a.cmdline",
			err) < 0)
		return -1;
	return put_config(esp, layout->group_file[GROUP_B], "b.cmdline", "::/abide/b.cmdline", err);
}

static int write_loader(const struct esp *esp, const struct layout *layout, struct err *err)
{
	switch (layout->loader) {
	case LAYOUT_GRUB:
		return write_grub(esp, layout, err);
	case LAYOUT_SYSTEMD_BOOT:
		return write_systemd_boot(esp, layout, err);
	case LAYOUT_EFI:
		return write_efi(esp, layout, err);
	case LAYOUT_UBOOT:
		break; /* has no ESP: uboot_disk.h */
	}
	return err_set(err, FAIL_USAGE, "a bootloader without an ESP");
}

int esp_write(const char *path, const struct layout *layout, const char *work, time_t time,
	struct err *err)
{
	const struct layout_partition *part = layout_esp(layout);
	struct esp esp = {.work = work, .time = time};

	(void)snprintf(esp.image, sizeof(esp.image), "%s@@%" PRIu64, path, part->start);
	if (format(&esp, part, err) < 0 || write_loader(&esp, layout, err) < 0)
		return err_wrap(err, "partition '%s'", part->name);
	return 0;
}
