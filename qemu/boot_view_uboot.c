/* U-Boot with a redundant environment and bootloader-hooks/uboot/boot.cmd: U-Boot is the machine's
 * firmware, loads boot.scr from the first partition, and that takes the variables from the copy
 * that counts. */
#include <string.h>

#include "bootloader-hooks/model.h"
#include "bootloader-hooks/uboot/uboot.h"
#include "qemu/boot_view.h"
#include "updater/mem.h"

#define ENV_SIZE 0x4000u

static const char *const FILES[] = {"/boot.scr", "/abide-site.scr"};

static int check_files(const struct rawdisk *disk, const struct rawdisk *factory, struct err *err)
{
	struct rawspan boot;

	if (rawdisk_partition(disk, "boot", &boot, err) < 0)
		return -1;
	return boot_view_check_files(&boot, factory, "boot", FILES, ARRAY_LEN(FILES), err);
}

/* Asked a hundred thousand times: the checksum is taken anew when the copy has changed. */
static bool is_valid(unsigned int copy, const uint8_t *bytes)
{
	static struct {
		uint8_t bytes[ENV_SIZE];
		bool known, valid;
	} last[UBOOT_COPIES];

	if (!last[copy].known || memcmp(last[copy].bytes, bytes, ENV_SIZE) != 0) {
		last[copy].valid = uboot_copy_check(bytes, ENV_SIZE) == UBOOT_COPY_OK;
		last[copy].known = true;
		memcpy(last[copy].bytes, bytes, ENV_SIZE);
	}
	return last[copy].valid;
}

/* The copy that counts; NULL: none is valid. */
static const uint8_t *valid_copy(const uint8_t *first, const uint8_t *second)
{
	bool first_valid = is_valid(0, first);
	bool second_valid = is_valid(1, second);

	if (first_valid && second_valid)
		return uboot_copy_newer(first, second) == 0 ? first : second;
	if (first_valid || second_valid)
		return first_valid ? first : second;
	return NULL;
}

static int choose_from(const uint8_t *copy, struct boot_choice *ret, struct err *err)
{
	struct boot_choice choice = {.order = {GROUP_A, GROUP_B}, .count = 1};
	struct uboot_values values;
	struct boot_state counted;
	struct err why; /* boot.cmd starts what loads, whatever it is */

	if (copy)
		uboot_copy_values(copy, ENV_SIZE, &values);
	if (!copy || uboot_values_parse(&values, &choice.state, &why) < 0) {
		choice.guesses = true;
		choice.count = GROUP_COUNT;
	} else {
		counted = choice.state;
		if (!boot_model_boot(&counted, &choice.order[0]))
			return err_set(err, FAIL_DRIFT, "boot.cmd finds no group to boot");
	}
	*ret = choice;
	return 0;
}

/* U-Boot's own environment: bare places of the disk (qemu/uboot/config). */
static int choose_env(const struct rawdisk *disk, const struct rawdisk *factory,
	struct boot_choice *ret, struct err *err)
{
	if (check_files(disk, factory, err) < 0)
		return -1;
	return choose_from(valid_copy(disk->bytes + 0x80000, disk->bytes + 0x90000), ret, err);
}

/* abide_store=raw: a partition that boot.cmd reads itself. */
static int choose_raw(const struct rawdisk *disk, const struct rawdisk *factory,
	struct boot_choice *ret, struct err *err)
{
	struct rawspan env;

	if (check_files(disk, factory, err) < 0 ||
		rawdisk_partition(disk, "uboot-env", &env, err) < 0)
		return -1;
	return choose_from(valid_copy(env.bytes, env.bytes + ENV_SIZE), ret, err);
}

const struct boot_view BOOT_VIEW_UBOOT = {.name = "uboot", .choose = choose_env, .fat = NULL};
const struct boot_view BOOT_VIEW_UBOOT_RAW = {
	.name = "uboot, abide_store=raw", .choose = choose_raw, .fat = NULL};
