/* GRUB on the ESP, with bootloader-hooks/grub/grub.cfg: the firmware starts EFI/BOOT/BOOTX64.EFI,
 * which reads its configuration and the environment, or else the spare copy. */
#include "bootloader-hooks/grub/grub.h"
#include "bootloader-hooks/model.h"
#include "qemu/boot_view.h"
#include "updater/mem.h"

static const char *const FILES[] = {"/EFI/BOOT/BOOTX64.EFI", "/grub/grub.cfg", "/grub/site.cfg"};
static const char *const COPIES[] = {"/grub/grubenv", "/grub/grubenv.spare"};

static bool read_copy(const struct rawspan *esp, const char *path, struct boot_state *ret)
{
	uint8_t block[GRUB_ENV_LEN];
	struct err why; /* GRUB goes on with the spare, whatever it is */
	size_t len = 0;

	return fat_read_file(esp, path, block, sizeof(block), &len, &why) == 0 &&
	       len == sizeof(block) && grub_env_parse(block, ret, &why) == 0;
}

static int choose(const struct rawdisk *disk, const struct rawdisk *factory,
	struct boot_choice *ret, struct err *err)
{
	struct boot_choice choice = {.order = {GROUP_A, GROUP_B}, .count = 1};
	struct boot_state counted;
	struct rawspan esp;

	if (rawdisk_partition(disk, "esp", &esp, err) < 0 ||
		boot_view_check_files(&esp, factory, "esp", FILES, ARRAY_LEN(FILES), err) < 0)
		return -1;
	if (!read_copy(&esp, COPIES[0], &choice.state) &&
		!read_copy(&esp, COPIES[1], &choice.state)) {
		choice.guesses = true;
		choice.count = GROUP_COUNT;
	} else {
		counted = choice.state;
		if (!boot_model_boot(&counted, &choice.order[0]))
			return err_set(err, FAIL_DRIFT, "GRUB finds no group to boot");
	}
	*ret = choice;
	return 0;
}

const struct boot_view BOOT_VIEW_GRUB = {.name = "grub", .choose = choose, .fat = "esp"};
