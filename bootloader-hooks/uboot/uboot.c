/*
 * Both copies are read here, not through libubootenv: it takes the valid one and does not tell that
 * the other is not, nor why neither is. Flash without UBI (MTD) is no plain bytes: bad blocks are
 * passed over, flags have another meaning. There libubootenv reads, and says less.
 */
#include "bootloader-hooks/uboot/uboot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "updater/blockdev.h"
#include "updater/mem.h"

struct uboot {
	struct bootloader bl;
	char *config;
	struct fw_env env;
	struct err why; /* the configuration is wrong; code FAIL_NONE: it is not */
	bool plain; /* both copies are in plain files, block devices or UBI volumes: */
	bool ubi[UBOOT_COPIES]; /* a UBI volume, which is opened when it is read */
	struct blockdev *dev[UBOOT_COPIES]; /* NULL: dev_why says why */
	struct err dev_why[UBOOT_COPIES];
};

/* Both copies, as they are now. */
struct view {
	uint8_t *bytes[UBOOT_COPIES];
	bool valid[UBOOT_COPIES];
	struct err why[UBOOT_COPIES]; /* of one that is not */
};

static struct uboot *uboot(struct bootloader *bl)
{
	return (struct uboot *)bl;
}

/* ---- looking at the copies ---- */

static void view_finish(struct view *view)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++)
		free(view->bytes[i]);
}

/* "'/dev/mmcblk0' at 0x80000" */
static void name_copy(const struct uboot *ub, unsigned int copy, char *ret, size_t cap)
{
	(void)snprintf(ret, cap, "'%.120s' at 0x%llx", ub->env.copies[copy].device,
		(unsigned long long)ub->env.copies[copy].offset);
}

/* libubootenv has no offset in a volume either. */
static int read_bytes(
	const struct uboot *ub, unsigned int copy, void *bytes, size_t len, struct err *err)
{
	const struct fw_env_copy *where = &ub->env.copies[copy];

	if (ub->ubi[copy])
		return uboot_ubi_read(where->device, bytes, len, err);
	return blockdev_pread(ub->dev[copy], bytes, len, where->offset, err);
}

/* The checksum fails: would it be right with another size? */
static int broken(const struct uboot *ub, unsigned int copy, struct err *err)
{
	CLEANUP(cleanup_free) void *bytes = NULL;
	const uint64_t at = ub->env.copies[copy].offset;
	uint64_t left = ub->ubi[copy] ? ub->env.size : ub->dev[copy]->size - at;
	size_t len = left < UBOOT_ENV_MAX ? (size_t)left : UBOOT_ENV_MAX;
	size_t size;
	struct err why;

	if (mem_alloc(len, &bytes, &why) < 0 || read_bytes(ub, copy, bytes, len, &why) < 0)
		return err_set(err, FAIL_BOOT, "its checksum is wrong");
	size = uboot_copy_other_size(bytes, len);
	if (size)
		return err_set(err, FAIL_BOOT,
			"its checksum is wrong for the size 0x%zx of '%.120s', and right for 0x%zx",
			ub->env.size, ub->config, size);
	return err_set(err, FAIL_BOOT, "its checksum is wrong: half written, or no environment");
}

static int judge_copy(
	const struct uboot *ub, unsigned int copy, const uint8_t *bytes, struct err *err)
{
	switch (uboot_copy_check(bytes, ub->env.size)) {
	case UBOOT_COPY_OK:
		return 0;
	case UBOOT_COPY_BLANK:
		return err_set(err, FAIL_BOOT, "it is blank: never saved, or erased");
	case UBOOT_COPY_SINGLE:
		return err_set(err, FAIL_BOOT,
			"it is an environment without redundancy; U-Boot has to be built with it");
	case UBOOT_COPY_BROKEN:
		break;
	}
	return broken(ub, copy, err);
}

static int read_copy(const struct uboot *ub, unsigned int copy, uint8_t *bytes, struct err *err)
{
	const struct blockdev *dev = ub->dev[copy];
	const uint64_t at = ub->env.copies[copy].offset;

	if (!dev && !ub->ubi[copy]) {
		*err = ub->dev_why[copy];
		return -1;
	}
	if (dev && (at > dev->size || dev->size - at < ub->env.size))
		return err_set(err, FAIL_BOOT,
			"0x%zx bytes from there go past the end of the device at 0x%llx",
			ub->env.size, (unsigned long long)dev->size);
	if (read_bytes(ub, copy, bytes, ub->env.size, err) < 0)
		return -1;
	return judge_copy(ub, copy, bytes, err);
}

/* Only memory can run out here. */
static int view_take(const struct uboot *ub, struct view *ret, struct err *err)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++) {
		char name[160];
		void *p = NULL;

		if (mem_alloc(ub->env.size, &p, err) < 0)
			return -1;
		ret->bytes[i] = p;
		ret->valid[i] = read_copy(ub, i, p, &ret->why[i]) == 0;
		name_copy(ub, i, name, sizeof(name));
		if (!ret->valid[i])
			(void)err_wrap(&ret->why[i], "%s", name);
	}
	return 0;
}

/* The one that counts; UBOOT_COPIES: neither is valid. */
static unsigned int view_current(const struct view *view)
{
	if (view->valid[0] && view->valid[1])
		return uboot_copy_newer(view->bytes[0], view->bytes[1]);
	if (view->valid[0])
		return 0;
	return view->valid[1] ? 1 : UBOOT_COPIES;
}

static bool view_says(
	const struct uboot *ub, const struct view *view, const struct boot_state *state)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++) {
		struct uboot_values values;

		if (!view->valid[i])
			return false;
		uboot_copy_values(view->bytes[i], ub->env.size, &values);
		if (!uboot_values_say(&values, state))
			return false;
	}
	return true;
}

/* ---- read ---- */

static int no_environment(const struct view *view, struct err *err)
{
	return err_set(err, FAIL_BOOT,
		"no valid U-Boot environment: %.170s; %.170s; README of the uboot hook says how to "
		"restore it",
		view->why[0].msg, view->why[1].msg);
}

static int read_plain(struct uboot *ub, struct uboot_values *ret, struct err *err)
{
	CLEANUP(view_finish) struct view view = {0};
	unsigned int current;

	if (view_take(ub, &view, err) < 0)
		return -1;
	current = view_current(&view);
	if (current == UBOOT_COPIES)
		return no_environment(&view, err);
	uboot_copy_values(view.bytes[current], ub->env.size, ret);
	for (unsigned int i = 0; i < UBOOT_COPIES; i++)
		if (!view.valid[i])
			(void)snprintf(ub->bl.note, sizeof(ub->bl.note),
				"U-Boot environment, copy %u: %.120s", i + 1,
				view.why[i].msg); /* a long reason is cut */
	return 0;
}

static int uboot_read(struct bootloader *bl, struct boot_state *ret, struct err *err)
{
	struct uboot *ub = uboot(bl);
	struct uboot_values values;

	if (ub->why.code != FAIL_NONE) {
		*err = ub->why;
		return -1;
	}
	if ((ub->plain ? read_plain(ub, &values, err)
		       : uboot_store_read(ub->config, &values, err)) < 0)
		return err_wrap_as(err, FAIL_BOOT, "'%s'", ub->config);
	if (uboot_values_parse(&values, ret, err) < 0)
		return err_wrap(err, "U-Boot environment of '%s'", ub->config);
	return 0;
}

/* ---- commit ---- */

/* Both: whoever wrote one may have died before its flush. The devices are open since before the
 * write, so that an error of the medium that libubootenv overlooks (it does not look at what its
 * fsync returns) is told to us as well. */
static int flush(const struct uboot *ub, struct err *err)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++)
		if (ub->dev[i] && blockdev_flush(ub->dev[i], err) < 0)
			return -1;
	return 0;
}

/* A volume that cannot be read would keep libubootenv from reading the other one, which is valid. */
static int mend_volumes(const struct uboot *ub, const struct view *view, struct err *err)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++)
		if (ub->ubi[i] && !view->valid[i] &&
			uboot_ubi_mend(ub->env.copies[i].device, ub->env.size, err) < 0)
			return -1;
	return 0;
}

/* libubootenv says "bad file descriptor" whatever keeps it from opening a device. */
static int why_not_written(const struct uboot *ub, struct err *err)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++) {
		CLEANUP(blockdev_close) struct blockdev *dev = NULL;

		if (!ub->ubi[i] &&
			blockdev_open(ub->env.copies[i].device, BLOCKDEV_WRITE, &dev, err) < 0)
			return -1;
	}
	return -1;
}

/*
 * Each store writes the older copy, all of it, and leaves the one that counts. Cut points:
 *	before or during the first store     the old state: the other copy's checksum is wrong, or old
 *	after it, before the second's flush  the new state; the spare says the old one, or is broken
 *	after the second's flush             both say the new state
 * The spare counts only if the newer copy is lost afterwards. Then it must not say the old state:
 * after a disarm it would name a group that is being written. So a commit has succeeded only when
 * both copies say it and are flushed, and no slot is written before that.
 *
 * What says it already is not written: a commit that was cut off goes on with its second store.
 */
static int commit_plain(const struct uboot *ub, const struct uboot_values *values,
	const struct boot_state *state, struct err *err)
{
	for (unsigned int stored = 0; stored <= UBOOT_COPIES; stored++) {
		CLEANUP(view_finish) struct view view = {0};

		if (view_take(ub, &view, err) < 0)
			return -1;
		if (view_says(ub, &view, state))
			return flush(ub, err);
		if (view_current(&view) == UBOOT_COPIES)
			return no_environment(&view, err);
		if (stored == UBOOT_COPIES)
			break;
		if (mend_volumes(ub, &view, err) < 0)
			return -1;
		if (uboot_store_write(ub->config, ub->env.size, values, err) < 0)
			return why_not_written(ub, err);
		if (flush(ub, err) < 0)
			return -1;
	}
	return err_set(err, FAIL_BOOT,
		"libubootenv stored the change, but it is not in both copies; does another program "
		"write the environment, or does U-Boot use another one?");
}

/* Writes to flash are done when they return: MTD devices have no cache. */
static int commit_flash(const struct uboot *ub, const struct uboot_values *values,
	const struct boot_state *state, struct err *err)
{
	struct uboot_values found;

	if (uboot_store_read(ub->config, &found, err) < 0)
		return -1;
	if (uboot_values_say(&found, state))
		return 0;
	for (unsigned int i = 0; i < UBOOT_COPIES; i++)
		if (uboot_store_write(ub->config, ub->env.size, values, err) < 0)
			return -1;
	if (uboot_store_read(ub->config, &found, err) < 0)
		return -1;
	if (!uboot_values_say(&found, state))
		return err_set(err, FAIL_BOOT, "libubootenv stored the change, but reads another");
	return 0;
}

static int uboot_commit(struct bootloader *bl, const struct boot_state *state, struct err *err)
{
	const struct uboot *ub = uboot(bl);
	struct uboot_values values;

	if (ub->why.code != FAIL_NONE) {
		*err = ub->why;
		return -1;
	}
	if (uboot_values_format(state, &values, err) < 0 ||
		(ub->plain ? commit_plain(ub, &values, state, err)
			   : commit_flash(ub, &values, state, err)) < 0)
		return err_wrap_as(err, FAIL_BOOT, "U-Boot environment of '%s'", ub->config);
	return 0;
}

/* ---- open ---- */

static void uboot_free(struct bootloader *bl)
{
	for (unsigned int i = 0; i < UBOOT_COPIES; i++)
		blockdev_close(&uboot(bl)->dev[i]);
	fw_env_finish(&uboot(bl)->env);
	free(uboot(bl)->config);
	free(uboot(bl));
}

static const struct bootloader_ops OPS = {
	.name = "uboot",
	.read = uboot_read,
	.commit = uboot_commit,
	.free = uboot_free,
};

static bool is_flash(const char *device)
{
	struct stat st;

	return !uboot_is_ubi(device) && stat(device, &st) == 0 && S_ISCHR(st.st_mode);
}

static void open_devices(struct uboot *ub)
{
	ub->plain = !is_flash(ub->env.copies[0].device) && !is_flash(ub->env.copies[1].device);
	/* Only to read and to flush: libubootenv opens them for writing, and lifts the write
	 * protection of an eMMC boot partition for that. */
	for (unsigned int i = 0; ub->plain && i < UBOOT_COPIES; i++) {
		const char *device = ub->env.copies[i].device;

		ub->ubi[i] = uboot_is_ubi(device);
		if (!ub->ubi[i])
			(void)blockdev_open(device, 0, &ub->dev[i], &ub->dev_why[i]);
	}
}

int uboot_open(const char *config, struct bootloader **ret, struct err *err)
{
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	struct uboot *ub;
	void *p = NULL;

	if (mem_alloc(sizeof(*ub), &p, err) < 0)
		return -1;
	ub = p;
	ub->bl.ops = &OPS;
	bl = &ub->bl;
	if (mem_strdup(config, &ub->config, err) < 0)
		return -1;
	if (fw_env_read(config, &ub->env, &ub->why) == 0)
		open_devices(ub);
	*ret = steal_ptr(&bl);
	return 0;
}
