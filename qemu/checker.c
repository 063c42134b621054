#include "qemu/checker.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu/mapping.h"
#include "qemu/mend.h"
#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/seal.h"

#define IMAGES_MAX 32u

struct image {
	struct mapping file;
	struct digest sha256;
};

/* The slot's bytes, read only, for seal.c. */
struct span_dev {
	struct blockdev dev;
	struct rawspan span;
};

struct slot {
	struct span_dev span;
	struct seal seal;
};

struct checker {
	const struct boot_view *view;
	const struct checker_slot *slots;
	size_t slot_count;
	struct mapping factory;
	struct image images[IMAGES_MAX];
	size_t image_count;
	struct mend *mend; /* NULL: the device mounts no FAT */
	struct checker_result result;
	struct boot_choice last; /* of the last whole state */
	struct slot now[CHECKER_SLOTS_MAX][GROUP_COUNT]; /* of the state that is looked at */
};

/* ---- what is known ---- */

static struct rawdisk factory_disk(const struct checker *checker)
{
	return (struct rawdisk){.bytes = checker->factory.bytes, .size = checker->factory.len};
}

static void cleanup_directory(DIR **directory)
{
	if (*directory)
		(void)closedir(*directory); /* nothing was written */
}

static int add_images(struct checker *checker, const char *folder, struct err *err)
{
	CLEANUP(cleanup_directory) DIR *directory = opendir(folder);
	const struct dirent *entry;

	if (!directory)
		return err_errno(err, "'%s'", folder);
	while ((entry = readdir(directory))) {
		struct image *image = &checker->images[checker->image_count];
		char path[PATH_MAX];

		if (entry->d_name[0] == '.' || strstr(entry->d_name, ".new"))
			continue;
		if (checker->image_count == IMAGES_MAX)
			return err_set(
				err, FAIL_USAGE, "'%s': more than %u images", folder, IMAGES_MAX);
		if (fs_join(folder, entry->d_name, path, sizeof(path), err) < 0 ||
			mapping_open(path, &image->file, err) < 0)
			return -1;
		checker->image_count++;
		if (digest_once(image->file.bytes, image->file.len, &image->sha256, err) < 0)
			return -1;
	}
	return 0;
}

static int find_slot(const struct rawdisk *disk, const struct checker_slot *slot, enum group group,
	struct rawspan *ret, struct err *err)
{
	struct rawspan esp;
	char name[64];

	if (slot->file[group]) {
		if (rawdisk_partition(disk, "esp", &esp, err) < 0)
			return -1;
		return fat_place(&esp, slot->file[group], ret, err);
	}
	(void)snprintf(name, sizeof(name), "%s-%s", slot->class, group_name(group));
	return rawdisk_partition(disk, name, ret, err);
}

/* The files that are slots are not the checker's business: fsck.fat does not read them. */
static int open_mend(struct checker *checker, const struct write_log *log, struct err *err)
{
	const struct rawdisk factory = factory_disk(checker);
	struct rawspan files[MEND_SLOTS_MAX];
	struct mend_place place = {
		.partition = checker->view->fat, .slots = files, .flash = checker->view->flash};

	if (!checker->view->fat)
		return 0;
	for (size_t i = 0; i < checker->slot_count; i++)
		for (enum group g = GROUP_A; g < GROUP_COUNT && checker->slots[i].file[g]; g++) {
			if (place.slot_count == MEND_SLOTS_MAX)
				return err_set(err, FAIL_USAGE, "more than %u slots are files",
					MEND_SLOTS_MAX);
			if (find_slot(&factory, &checker->slots[i], g, &files[place.slot_count++],
				    err) < 0)
				return -1;
		}
	return mend_open(&factory, &place, log, &checker->mend, err);
}

int checker_open(const struct boot_view *view, const char *images, const char *factory,
	const struct checker_slot slots[], const struct write_log *log, struct checker **ret,
	struct err *err)
{
	CLEANUP(checker_close) struct checker *checker = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*checker), &p, err) < 0)
		return -1;
	checker = p;
	checker->view = view;
	checker->slots = slots;
	while (checker->slot_count < CHECKER_SLOTS_MAX && slots[checker->slot_count].class)
		checker->slot_count++;
	if (mapping_open(factory, &checker->factory, err) < 0 ||
		add_images(checker, images, err) < 0 || open_mend(checker, log, err) < 0)
		return -1;
	*ret = steal_ptr(&checker);
	return 0;
}

void checker_close(struct checker **checker)
{
	if (!checker || !*checker)
		return;
	for (size_t i = 0; i < (*checker)->image_count; i++)
		mapping_close(&(*checker)->images[i].file);
	mapping_close(&(*checker)->factory);
	mend_close(&(*checker)->mend);
	free(*checker);
	*checker = NULL;
}

const struct checker_result *checker_result(const struct checker *checker)
{
	return &checker->result;
}

int checker_find(const struct checker *checker, const struct checker_slot *slot, enum group group,
	struct rawspan *ret, struct err *err)
{
	const struct rawdisk factory = factory_disk(checker);

	return find_slot(&factory, slot, group, ret, err);
}

/* ---- a slot ---- */

static int span_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	const struct span_dev *span = (const struct span_dev *)dev;

	(void)err; /* blockdev_pread() has looked at the size */
	memcpy(buf, span->span.bytes + off, len);
	return 0;
}

static const struct blockdev_ops SPAN_OPS = {.pread = span_pread};

static int slot_read(const struct rawdisk *disk, const struct checker_slot *where, enum group group,
	struct slot *ret, struct err *err)
{
	if (find_slot(disk, where, group, &ret->span.span, err) < 0)
		return -1;
	ret->span.dev = (struct blockdev){&SPAN_OPS, where->class, ret->span.span.size};
	return seal_read(&ret->span.dev, &ret->seal, err);
}

static const struct image *known_image(const struct checker *checker, const struct digest *sha256)
{
	for (size_t i = 0; i < checker->image_count; i++)
		if (digest_equal(&checker->images[i].sha256, sha256))
			return &checker->images[i];
	return NULL;
}

static int holds(struct crash_disk *disk, const struct slot *slot, const struct image *image,
	bool *ret, struct err *err)
{
	return crash_holds(
		disk, slot->span.span.start, image->file.bytes, image->file.len, ret, err);
}

/* That a sealed slot is what its seal says. */
static int check_seal(
	const struct checker *checker, struct crash_disk *disk, struct slot *slot, struct err *err)
{
	const struct image *image = known_image(checker, &slot->seal.image);
	struct header header = {0};
	bool whole = false;
	int rc;

	if (!image || image->file.len != slot->seal.image_size)
		return err_set(err, FAIL_DRIFT, "sealed, with an image that nobody made");
	if (holds(disk, slot, image, &whole, err) < 0)
		return -1;
	if (!whole)
		return err_set(err, FAIL_DRIFT, "sealed, and its image is not whole");
	rc = seal_read_header(&slot->span.dev, &slot->seal, &header, err);
	header_finish(&header);
	return rc;
}

static int check_seals(struct checker *checker, struct crash_disk *disk, struct err *err)
{
	for (size_t i = 0; i < checker->slot_count; i++)
		for (enum group g = GROUP_A; g < GROUP_COUNT; g++) {
			struct slot *slot = &checker->now[i][g];

			if (slot_read(crash_raw(disk), &checker->slots[i], g, slot, err) < 0 ||
				(slot->seal.state == SEAL_SEALED &&
					check_seal(checker, disk, slot, err) < 0))
				return err_wrap(err, "slot '%s' of group %s",
					checker->slots[i].class, group_name(g));
		}
	return 0;
}

/* ---- what may be started ---- */

/* check_seals() has found all seals to be true: what is left is that there are such. */
static int check_known(const struct checker *checker, enum group group, struct err *err)
{
	struct digest artifact = {0};

	for (size_t i = 0; i < checker->slot_count; i++) {
		const struct slot *slot = &checker->now[i][group];

		if (slot->seal.state != SEAL_SEALED)
			return err_set(err, FAIL_DRIFT,
				"group %s may be started, and its slot '%s' is %s",
				group_name(group), checker->slots[i].class,
				slot->seal.state == SEAL_WRITING ? "half written" : "unknown");
		if (i > 0 && !digest_equal(&artifact, &slot->seal.artifact))
			return err_set(err, FAIL_DRIFT,
				"group %s may be started, and its slots are of two artifacts",
				group_name(group));
		artifact = slot->seal.artifact;
	}
	return 0;
}

/* What loads is told from the first block; what loads has to be whole. False: it does not load. */
static int loads(const struct checker *checker, struct crash_disk *disk, enum group group,
	bool *ret, struct err *err)
{
	bool begins = false, whole = false;
	const struct slot *slot = &checker->now[0][group];

	for (size_t i = 0; i < checker->image_count && !whole; i++) {
		const struct image *image = &checker->images[i];

		if (image->file.len < MEM_BLOCK || image->file.len > slot->span.span.size ||
			memcmp(slot->span.span.bytes, image->file.bytes, MEM_BLOCK) != 0)
			continue;
		begins = true;
		if (holds(disk, slot, image, &whole, err) < 0)
			return -1;
	}
	if (begins && !whole)
		return err_set(err, FAIL_DRIFT, "group %s would load, and is half written",
			group_name(group));
	*ret = begins;
	return 0;
}

static int check_guess(const struct checker *checker, struct crash_disk *disk,
	const struct boot_choice *choice, enum group *ret, struct err *err)
{
	for (size_t i = 0; i < choice->count; i++) {
		bool it_loads;

		*ret = choice->order[i];
		if (loads(checker, disk, *ret, &it_loads, err) < 0)
			return -1;
		if (it_loads)
			return 0;
	}
	return err_set(err, FAIL_DRIFT, "the bootloader has lost its state, and no group loads");
}

/* *ret is the group that would be started. */
static int check_choice(const struct checker *checker, struct crash_disk *disk,
	const struct boot_choice *choice, enum group *ret, struct err *err)
{
	if (choice->guesses)
		return check_guess(checker, disk, choice, ret, err);
	if (choice->count == 0)
		return err_set(err, FAIL_DRIFT, "the bootloader starts no group");
	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		if (boot_group_bootable(&choice->state.group[g]) &&
			check_known(checker, g, err) < 0)
			return -1;
	*ret = choice->order[0];
	return check_known(checker, *ret, err);
}

static bool same_choice(const struct boot_choice *a, const struct boot_choice *b)
{
	return a->guesses == b->guesses && a->count == b->count && a->order[0] == b->order[0] &&
	       (a->guesses || boot_state_equal(&a->state, &b->state));
}

static int check_places(const struct checker *checker, const struct rawdisk *before,
	const struct rawdisk *after, struct err *err)
{
	for (size_t i = 0; i < checker->slot_count; i++)
		for (enum group g = GROUP_A; g < GROUP_COUNT && checker->slots[i].file[g]; g++) {
			struct rawspan was, is;

			if (find_slot(before, &checker->slots[i], g, &was, err) < 0 ||
				find_slot(after, &checker->slots[i], g, &is, err) < 0)
				return -1;
			if (was.start != is.start || was.size != is.size)
				return err_set(err, FAIL_DRIFT, "'%s' lies elsewhere",
					checker->slots[i].file[g]);
		}
	return 0;
}

/* What the verdict depends on beside the FAT. */
static uint8_t question_of(const struct checker *checker, bool in_order)
{
	uint8_t ret = in_order;
	struct err ignored; /* a group that is not known is an answer, too */

	for (enum group g = GROUP_A; g < GROUP_COUNT; g++)
		ret = (uint8_t)(ret << 1 | (check_known(checker, g, &ignored) == 0));
	return ret;
}

/* After fsck.fat every slot that is a file is in its place, and what may be started is known. Where the
 * writes came in order the choice is the same. (Where they did not, a firmware that changes a name
 * may have a trial's entry in a cluster that is not in its directory's chain yet: fsck.fat drops it,
 * and the confirmed group starts.) */
static int check_mended(struct checker *checker, struct crash_disk *disk,
	const struct boot_choice *choice, bool in_order, struct err *err)
{
	const struct rawdisk factory = factory_disk(checker);
	struct boot_choice mended = {.count = 0};
	struct rawdisk after;
	enum group ignored;
	bool is_new;

	if (mend_state(checker->mend, crash_raw(disk), question_of(checker, in_order), &after,
		    &is_new, err) < 0)
		return -1;
	if (!is_new) /* and right, then as now */
		return 0;
	checker->result.mended++;
	if (checker->view->choose(&after, &factory, &mended, err) < 0 ||
		check_places(checker, crash_raw(disk), &after, err) < 0)
		return -1;
	if (in_order && !same_choice(&mended, choice))
		return err_set(err, FAIL_DRIFT, "the bootloader would do something else");
	return check_choice(checker, disk, &mended, &ignored, err);
}

static void note_change(struct checker *checker, const struct boot_choice *choice, size_t entry)
{
	struct checker_result *result = &checker->result;
	bool same = choice->guesses == checker->last.guesses &&
		    boot_state_equal(&choice->state, &checker->last.state);

	if (!same && entry > 0 && result->change_count < CHECKER_CHANGES_MAX)
		result->changes[result->change_count++] = (struct checker_change){entry, *choice};
	checker->last = *choice;
}

int checker_check(
	struct crash_disk *disk, const struct crash_state *state, void *arg, struct err *err)
{
	struct checker *checker = arg;
	const struct rawdisk factory = factory_disk(checker);
	struct boot_choice choice = {.count = 0};
	enum group started = GROUP_A;

	if (checker->view->choose(crash_raw(disk), &factory, &choice, err) < 0 ||
		check_seals(checker, disk, err) < 0 ||
		check_choice(checker, disk, &choice, &started, err) < 0)
		return -1;
	checker->result.starts[started]++;
	checker->result.guesses += choice.guesses ? 1 : 0;
	if (checker->mend && check_mended(checker, disk, &choice, state->whole, err) < 0)
		return err_wrap(err, "after fsck.fat");
	if (state->whole)
		note_change(checker, &choice, state->entry);
	return 0;
}
