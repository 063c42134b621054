/* The firmware alone: BootNext, which it removes and starts once, else the first entry of BootOrder that
 * is for starting. Where none of ours is, it comes to the fallback, abide-start.efi, that tries a and
 * then b. */
#include <stdio.h>
#include <string.h>

#include "bootloader-hooks/efi/efi.h"
#include "qemu/boot_view.h"
#include "qemu/ovmf.h"
#include "updater/mem.h"

#define ORDER_MAX   64u
#define OPTION_MAX  2048u
#define OPTION_HEAD 6u /* attributes, length of the device path */
#define DISK_NODE   42u /* the partition's node, which comes first */
#define FILE_HEAD   4u

/* Attributes: active, and of the category that is booted rather than an application. */
#define OPTION_ACTIVE   0x01u
#define OPTION_CATEGORY 0x1f00u

static const char *const FILES[] = {
	"/EFI/BOOT/BOOTX64.EFI", "/abide/a.cmdline", "/abide/b.cmdline"};

enum starts {
	STARTS_NOTHING, /* not there, not active, or an application */
	STARTS_A,
	STARTS_B,
	STARTS_OTHER, /* on this device every other one ends with the fallback */
};

/* Whether a device path is that of a file of the ESP: its partition's number and place, the name. */
static bool is_file(const uint8_t *path, size_t len, const struct rawspan *esp, const char *name)
{
	const uint8_t *file = path + DISK_NODE;
	size_t units = strlen(name) + 1;

	if (len < DISK_NODE + FILE_HEAD + 2 * units || path[0] != 4 || path[1] != 1 ||
		le64_get(path + 8) * RAWDISK_SECTOR != esp->start ||
		le64_get(path + 16) * RAWDISK_SECTOR != esp->size || file[0] != 4 || file[1] != 4 ||
		le16_get(file + 2) != FILE_HEAD + 2 * units)
		return false;
	for (size_t i = 0; i < units; i++)
		if (le16_get(file + FILE_HEAD + 2 * i) !=
			(name[i] == '/' ? '\\' : (uint8_t)name[i]))
			return false;
	return true;
}

static int read_option(const struct rawspan *flash, const struct rawspan *esp, uint16_t number,
	enum starts *ret, struct err *err)
{
	uint8_t option[OPTION_MAX];
	size_t len, at = OPTION_HEAD;
	char name[16];
	bool there;

	*ret = STARTS_NOTHING;
	(void)snprintf(name, sizeof(name), "Boot%04X", number);
	if (ovmf_variable(flash, name, option, sizeof(option), &len, &there, err) < 0)
		return -1;
	if (!there || len < OPTION_HEAD || !(option[0] & OPTION_ACTIVE) ||
		le32_get(option) & OPTION_CATEGORY)
		return 0;
	while (at + 2 <= len && le16_get(option + at) != 0) /* its description */
		at += 2;
	at += 2;
	*ret = STARTS_OTHER;
	if (at > len)
		return 0;
	if (is_file(option + at, len - at, esp, "/abide/boot-a.efi"))
		*ret = STARTS_A;
	if (is_file(option + at, len - at, esp, "/abide/boot-b.efi"))
		*ret = STARTS_B;
	return 0;
}

static void add(struct boot_choice *choice, enum group group)
{
	if (choice->count == 0 || choice->order[0] != group)
		choice->order[choice->count++] = group;
}

/* The trial: the only thing that is started before the order. */
static int look_at_next(const struct rawspan *flash, const struct rawspan *esp,
	struct boot_choice *choice, struct err *err)
{
	uint8_t next[2];
	enum starts starts;
	enum group group;
	size_t len;
	bool there;

	if (ovmf_variable(flash, "BootNext", next, sizeof(next), &len, &there, err) < 0)
		return -1;
	if (!there || len != sizeof(next))
		return 0;
	if (read_option(flash, esp, le16_get(next), &starts, err) < 0)
		return -1;
	if (starts != STARTS_A && starts != STARTS_B)
		return 0;
	group = starts == STARTS_A ? GROUP_A : GROUP_B;
	choice->state.group[group].tries = 1;
	add(choice, group);
	return 0;
}

/* *ret_other: something else comes before the first of ours. */
static int look_at_order(const struct rawspan *flash, const struct rawspan *esp,
	struct boot_choice *choice, bool *ret_other, struct err *err)
{
	uint8_t order[2 * ORDER_MAX];
	bool there, ours = false;
	size_t len;

	*ret_other = false;
	if (ovmf_variable(flash, "BootOrder", order, sizeof(order), &len, &there, err) < 0)
		return -1;
	for (size_t at = 0; at + 2 <= len; at += 2) {
		enum starts starts;
		enum group group;

		if (read_option(flash, esp, le16_get(order + at), &starts, err) < 0)
			return -1;
		*ret_other |= starts == STARTS_OTHER && !ours;
		if (starts != STARTS_A && starts != STARTS_B)
			continue;
		group = starts == STARTS_A ? GROUP_A : GROUP_B;
		choice->state.group[group] = (struct boot_group){.good = true};
		if (!ours)
			choice->state.primary = group;
		ours = true;
		add(choice, group);
	}
	*ret_other |= !ours;
	return 0;
}

static bool has_trial(const struct boot_choice *choice)
{
	return choice->state.group[GROUP_A].tries > 0 || choice->state.group[GROUP_B].tries > 0;
}

static int choose(const struct rawdisk *disk, const struct rawdisk *factory,
	struct boot_choice *ret, struct err *err)
{
	const struct rawspan flash = {disk->bytes + disk->size - OVMF_FLASH_LEN, OVMF_FLASH_LEN,
		disk->size - OVMF_FLASH_LEN};
	struct boot_choice choice = {.count = 0};
	struct rawspan esp;
	bool other;

	if (rawdisk_partition(disk, "esp", &esp, err) < 0 ||
		boot_view_check_files(&esp, factory, "esp", FILES, ARRAY_LEN(FILES), err) < 0 ||
		look_at_next(&flash, &esp, &choice, err) < 0 ||
		look_at_order(&flash, &esp, &choice, &other, err) < 0)
		return -1;
	/* What is not ours is started in its place, and is the fallback: behind a trial it must not be. */
	if (other && has_trial(&choice))
		return err_set(err, FAIL_DRIFT, "a trial, and no group of ours comes behind it");
	if (other)
		choice = (struct boot_choice){
			.guesses = true, .order = {GROUP_A, GROUP_B}, .count = GROUP_COUNT};
	*ret = choice;
	return 0;
}

const struct boot_view BOOT_VIEW_EFI = {
	.name = "efi", .choose = choose, .fat = "esp", .flash = OVMF_FLASH_LEN};
