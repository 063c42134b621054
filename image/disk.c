#include "image/disk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/converge.h"
#include "image/esp.h"
#include "image/gpt.h"
#include "image/layout.h"
#include "image/span.h"
#include "image/tool.h"
#include "image/uboot_disk.h"
#include "updater/artifact.h"
#include "updater/blockdev.h"
#include "updater/fill.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/plan.h"
#include "updater/readback.h"
#include "updater/seal.h"

#define FAT_EPOCH 315532800 /* 1980-01-01: FAT knows no earlier time */

struct disk {
	const struct disk_options *options;
	struct layout *layout;
	struct artifact artifact;
	struct bytes header; /* for the slots */
	time_t time;
	char work[PATH_MAX]; /* scratch folder; "" before it is made */
	char scratch[PATH_MAX]; /* the whole disk, in it */
	struct blockdev *dev; /* on the scratch file */
	struct blockdev
		*cached; /* the same through the page cache, for what lies unaligned in it */
};

static const char *const SCRATCH_FILES[] = {"disk", "early.cfg", "grub.efi", "grub.cfg", "site.cfg",
	"grubenv", "grubenv.spare", "boot.scr", "abide-site.scr", "loader.conf", "entry", "a.conf",
	"b.conf", "a.cmdline", "b.cmdline"};

static void disk_finish(struct disk *disk)
{
	char path[PATH_MAX];
	struct err err;

	blockdev_close(&disk->dev);
	for (size_t i = 0; disk->work[0] && i < ARRAY_LEN(SCRATCH_FILES); i++)
		if (fs_join(disk->work, SCRATCH_FILES[i], path, sizeof(path), &err) == 0)
			(void)unlink(path); /* not each is made in each run */
	for (size_t i = 0; disk->work[0] && i < disk->layout->file_count; i++)
		if (esp_slot_path(disk->work, &disk->layout->files[i], path, &err) == 0)
			(void)unlink(path);
	if (disk->work[0])
		(void)rmdir(disk->work);
	bytes_finish(&disk->header);
	artifact_close(&disk->artifact);
	layout_free(&disk->layout);
}

/* ---- 1. the bundle: verified, and for this layout ---- */

static int open_bundle(struct disk *disk, struct err *err)
{
	const struct trust trust = {.roots = disk->options->trust, .threshold = 1};
	const struct carrier_options carrier = {.interrupted = disk->options->interrupted};

	if (artifact_open(disk->options->bundle, &carrier, &trust, &disk->artifact, err) < 0 ||
		artifact_read_indexes(&disk->artifact, err) < 0 ||
		artifact_header(&disk->artifact, &disk->header, err) < 0)
		return err_wrap(err, "bundle '%s'", disk->options->bundle);
	disk->time =
		disk->options->time ? disk->options->time : disk->artifact.manifest->created_time;
	if (disk->time < FAT_EPOCH)
		disk->time = FAT_EPOCH;
	return 0;
}

static int check_image(const struct disk *disk, const struct manifest_image *image, struct err *err)
{
	uint64_t needed = seal_needed(image->size, disk->header.len);

	for (int group = GROUP_A; group < GROUP_COUNT; group++) {
		const struct layout_partition *slot =
			layout_slot(disk->layout, image->class, (enum group)group);

		if (!slot)
			return err_set(err, FAIL_USAGE,
				"layout '%s' has no slot for the image '%s' of bundle '%s'",
				disk->layout->path, image->class, disk->options->bundle);
		if (slot->size < needed)
			return err_set(err, FAIL_SPACE,
				"partition '%s' has %" PRIu64
				" bytes, the image '%s' needs %" PRIu64 ": too small by %" PRIu64,
				slot->name, slot->size, image->class, needed, needed - slot->size);
	}
	return 0;
}

static int check_images(const struct disk *disk, struct err *err)
{
	const struct manifest *manifest = disk->artifact.manifest;

	for (size_t i = 0; i < manifest->image_count; i++)
		if (check_image(disk, &manifest->images[i], err) < 0)
			return -1;
	for (size_t i = 0; i < disk->layout->count + disk->layout->file_count; i++) {
		const struct layout_partition *part =
			i < disk->layout->count ? &disk->layout->partitions[i]
						: &disk->layout->files[i - disk->layout->count];

		if (part->class[0] && !manifest_image(manifest, part->class))
			return err_set(err, FAIL_USAGE,
				"bundle '%s' has no image for the slots of class '%s'",
				disk->options->bundle, part->class);
	}
	return 0;
}

/* ---- 2. the scratch disk ---- */

static int make_scratch(struct disk *disk, struct err *err)
{
	const char *parent = getenv("TMPDIR");
	CLEANUP(cleanup_fd) int fd = -1;

	/* Not /tmp: it is often memory, and the scratch disk holds the images. */
	if (fs_join(parent ? parent : "/var/tmp", "abide-disk.XXXXXX", disk->work,
		    sizeof(disk->work), err) < 0)
		return -1;
	if (!mkdtemp(disk->work)) {
		(void)err_errno(err, "make the scratch folder '%s'", disk->work);
		disk->work[0] = '\0';
		return -1;
	}
	if (fs_join(disk->work, "disk", disk->scratch, sizeof(disk->scratch), err) < 0 ||
		fs_open(disk->scratch, O_RDWR | O_CREAT | O_EXCL, 0600, &fd, err) < 0)
		return -1;
	if (ftruncate(fd, (off_t)disk->layout->size) < 0)
		return err_errno(
			err, "make '%s' %" PRIu64 " bytes long", disk->scratch, disk->layout->size);
	return 0;
}

static int make_data(const struct disk *disk, const struct layout_partition *part, struct err *err)
{
	char extended[160], blocks[32];
	const char *const argv[] = {"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0",
		"-U", part->fs_uuid, "-L", part->name, "-E", extended, disk->scratch, blocks, NULL};

	(void)snprintf(extended, sizeof(extended),
		"offset=%" PRIu64
		",hash_seed=%s,root_owner=0:0,nodiscard,lazy_itable_init=0,lazy_journal_init=0",
		part->start, part->fs_uuid);
	(void)snprintf(blocks, sizeof(blocks), "%" PRIu64, part->size / 4096);
	if (tool_run(argv, disk->time, err) < 0)
		return err_wrap(err, "partition '%s'", part->name);
	return 0;
}

static int fill_slot(const struct disk *disk, size_t i, struct blockdev *slot, struct seal *seal,
	struct err *err)
{
	CLEANUP(plan_image_free) struct plan_image *plan = NULL;
	const struct plan_seed nothing = {0};

	if (plan_image_make(disk->artifact.indexes[i], &nothing, &plan, err) < 0)
		return -1;
	struct fill fill = {
		.slot = slot,
		.class = seal->class,
		.index = disk->artifact.indexes[i],
		.plan = plan,
		.carrier = disk->artifact.carrier,
		.seal = seal,
		.interrupted = disk->options->interrupted,
	};
	return fill_write(&fill, err);
}

/* A slot that is a file on the ESP is made in a file of its own, and put there with the ESP. */
static int open_slot(const struct disk *disk, const struct layout_partition *part,
	struct blockdev **ret, struct err *err)
{
	char path[PATH_MAX];

	if (!part->path[0])
		return span_open(disk->dev, part->name, part->start, part->size, ret, err);
	if (esp_slot_path(disk->work, part, path, err) < 0)
		return -1;
	return blockdev_open(path, BLOCKDEV_WRITE | BLOCKDEV_DIRECT, ret, err);
}

/* As an install does it: seal `writing`, chunks, read back, header copy, seal `sealed`. */
static int make_slot(const struct disk *disk, size_t i, struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *slot = NULL;
	CLEANUP(readback_proof_free) struct readback_proof *proof = NULL;
	const struct manifest_image *image = &disk->artifact.manifest->images[i];
	const struct layout_partition *part = layout_slot(disk->layout, image->class, GROUP_A);
	const struct readback_watch watch = {.interrupted = disk->options->interrupted};
	struct seal seal = {
		.state = SEAL_WRITING,
		.artifact = *trusted_id(disk->artifact.trusted),
		.image = image->sha256,
		.image_size = image->size,
	};

	memcpy(seal.class, image->class, sizeof(seal.class));
	if (open_slot(disk, part, &slot, err) < 0 || seal_write(slot, &seal, err) < 0 ||
		fill_slot(disk, i, slot, &seal, err) < 0 ||
		readback_run(slot, disk->artifact.trusted, image, &watch, &proof, err) < 0)
		return -1;
	return readback_seal(slot, proof, &disk->header, &seal, err);
}

static int write_loader(const struct disk *disk, struct err *err)
{
	if (disk->layout->loader == LAYOUT_UBOOT)
		return uboot_disk_write(disk->scratch, disk->layout, disk->work, disk->time, err);
	return esp_write(disk->scratch, disk->layout, disk->work, disk->time, err);
}

/* Empty files for all slots that are files. */
static int make_files(const struct disk *disk, struct err *err)
{
	for (size_t i = 0; i < disk->layout->file_count; i++) {
		const struct layout_partition *file = &disk->layout->files[i];
		CLEANUP(cleanup_fd) int fd = -1;
		char path[PATH_MAX];

		if (esp_slot_path(disk->work, file, path, err) < 0 ||
			fs_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &fd, err) < 0)
			return -1;
		if (ftruncate(fd, (off_t)file->size) < 0)
			return err_errno(err, "make '%s' %" PRIu64 " bytes long", path, file->size);
	}
	return 0;
}

static int make_slots(struct disk *disk, struct err *err)
{
	if (blockdev_open(disk->scratch, BLOCKDEV_WRITE | BLOCKDEV_DIRECT, &disk->dev, err) < 0)
		return -1;
	for (size_t i = 0; i < disk->artifact.manifest->image_count; i++)
		if (make_slot(disk, i, err) < 0)
			return err_wrap(err, "bundle '%s'", disk->options->bundle);
	if (carrier_end(disk->artifact.carrier, &(struct carrier_stats){0}, err) < 0)
		return err_wrap(err, "bundle '%s'", disk->options->bundle);
	blockdev_close(&disk->dev);
	return 0;
}

static int compose(struct disk *disk, struct err *err)
{
	if (make_scratch(disk, err) < 0 || gpt_write(disk->scratch, disk->layout, err) < 0 ||
		make_files(disk, err) < 0 || make_slots(disk, err) < 0 ||
		write_loader(disk, err) < 0)
		return -1;
	for (size_t i = 0; i < disk->layout->count; i++)
		if (disk->layout->partitions[i].type == LAYOUT_DATA &&
			make_data(disk, &disk->layout->partitions[i], err) < 0)
			return -1;
	return 0;
}

/* ---- 3. the target ---- */

/* What converge_run() flushed, and nothing else has in memory, is read from the medium. */
static int drop_cache(const char *path, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;

	if (fs_open(path, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* advice: what stays is the same */
	return 0;
}

/* A slot of group a as the target has it: of a file on the ESP, a copy that is taken out again. */
static int open_target_slot(const struct disk *disk, const struct layout_partition *part,
	struct blockdev *dev, struct blockdev **ret, struct err *err)
{
	char path[PATH_MAX];

	if (!part->path[0])
		return span_open(dev, part->name, part->start, part->size, ret, err);
	if (esp_slot_path(disk->work, part, path, err) < 0 ||
		esp_take_out(
			disk->options->target, disk->layout, part->path, path, disk->time, err) < 0)
		return -1;
	return blockdev_open(path, BLOCKDEV_DIRECT, ret, err);
}

/* From the medium, past the page cache: what the factory ships is what was signed. */
static int prove_target(const struct disk *disk, struct err *err)
{
	const struct readback_watch watch = {.interrupted = disk->options->interrupted};
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;

	if (drop_cache(disk->options->target, err) < 0 ||
		blockdev_open(disk->options->target, BLOCKDEV_DIRECT, &dev, err) < 0)
		return -1;
	for (size_t i = 0; i < disk->artifact.manifest->image_count; i++) {
		CLEANUP(blockdev_close) struct blockdev *slot = NULL;
		CLEANUP(readback_proof_free) struct readback_proof *proof = NULL;
		const struct manifest_image *image = &disk->artifact.manifest->images[i];
		const struct layout_partition *part =
			layout_slot(disk->layout, image->class, GROUP_A);

		if (open_target_slot(disk, part, dev, &slot, err) < 0 ||
			readback_run(slot, disk->artifact.trusted, image, &watch, &proof, err) < 0)
			return err_wrap(err, "'%s'", disk->options->target);
	}
	return 0;
}

int disk_make(const struct disk_options *options, struct disk_result *ret, struct err *err)
{
	CLEANUP(disk_finish) struct disk disk = {.options = options};
	struct disk_result result = {0};

	if (layout_read(options->layout, &disk.layout, err) < 0 ||
		converge_measure(options->target, disk.layout->size, &result.size, err) < 0 ||
		layout_place(disk.layout, result.size, err) < 0 || open_bundle(&disk, err) < 0 ||
		check_images(&disk, err) < 0)
		return -1;
	if (compose(&disk, err) < 0 ||
		converge_run(options->target, disk.scratch, options->interrupted, &result.written,
			err) < 0 ||
		prove_target(&disk, err) < 0)
		return -1;
	result.artifact = *trusted_id(disk.artifact.trusted);
	memcpy(result.version, disk.artifact.manifest->version, sizeof(result.version));
	*ret = result;
	return 0;
}
