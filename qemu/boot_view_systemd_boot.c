/* systemd-boot on the ESP: it lists loader/entries, sorts what it finds, and starts the first entry,
 * whose tries are in its name. */
#include <stdio.h>
#include <string.h>

#include "bootloader-hooks/systemd-boot/systemd_boot.h"
#include "qemu/boot_view.h"
#include "updater/mem.h"

#define ENTRIES  "/loader/entries"
#define TEXT_MAX 4096u

static const char *const FILES[] = {
	"/EFI/BOOT/BOOTX64.EFI", "/EFI/systemd/systemd-bootx64.efi", "/loader/loader.conf"};

struct look {
	const struct rawspan *esp;
	bool found[GROUP_COUNT];
	struct systemd_boot_entry first[GROUP_COUNT];
};

/* An entry that names no loader (it is not in force yet, or a cut has left its name alone) or is for
 * another group is none. */
static bool has_text(const struct rawspan *esp, const char *name, enum group group)
{
	char path[300], text[TEXT_MAX + 1], wanted[32];
	struct err why; /* as if the entry was not there */
	size_t len = 0;

	(void)snprintf(path, sizeof(path), ENTRIES "/%s", name);
	if (fat_read_file(esp, path, text, TEXT_MAX, &len, &why) < 0)
		return false;
	text[len] = '\0';
	(void)snprintf(wanted, sizeof(wanted), "abide.group=%s ", group_name(group));
	return strstr(text, wanted) && (strstr(text, "\nefi ") || strstr(text, "\nlinux "));
}

static bool consider(const struct fat_entry *file, void *arg)
{
	struct systemd_boot_entry entry;
	struct look *look = arg;
	enum group group;

	if (file->is_directory || systemd_boot_parse(file->name, &entry) != SYSTEMD_BOOT_ENTRY ||
		!has_text(look->esp, file->name, entry.group))
		return true;
	group = entry.group;
	if (!look->found[group] || systemd_boot_compare(&entry, &look->first[group]) < 0)
		look->first[group] = entry;
	look->found[group] = true;
	return true;
}

static struct boot_group group_of(const struct look *look, enum group group)
{
	const struct systemd_boot_entry *entry = &look->first[group];

	if (!look->found[group])
		return (struct boot_group){.tries = 0};
	return (struct boot_group){.good = !entry->counted,
		.bad = entry->counted && entry->left == 0,
		.tries = entry->counted ? entry->left : 0};
}

static int choose(const struct rawdisk *disk, const struct rawdisk *factory,
	struct boot_choice *ret, struct err *err)
{
	struct boot_choice choice = {.count = 1};
	struct rawspan esp;
	struct look look = {.esp = &esp};

	if (rawdisk_partition(disk, "esp", &esp, err) < 0 ||
		boot_view_check_files(&esp, factory, "esp", FILES, ARRAY_LEN(FILES), err) < 0 ||
		fat_list(&esp, ENTRIES, consider, &look, err) < 0)
		return -1;
	if (!look.found[GROUP_A] && !look.found[GROUP_B])
		return err_set(err, FAIL_DRIFT, "systemd-boot finds no entry of ours");
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		choice.state.group[g] = group_of(&look, g);
	/* The first of all that it sorts. */
	choice.order[0] = look.found[GROUP_A] ? GROUP_A : GROUP_B;
	if (look.found[GROUP_A] && look.found[GROUP_B] &&
		systemd_boot_compare(&look.first[GROUP_B], &look.first[GROUP_A]) < 0)
		choice.order[0] = GROUP_B;
	choice.state.primary = choice.order[0];
	*ret = choice;
	return 0;
}

const struct boot_view BOOT_VIEW_SYSTEMD_BOOT = {
	.name = "systemd-boot", .choose = choose, .fat = "esp"};
