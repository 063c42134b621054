#include "qemu/mend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "updater/digest.h"
#include "updater/mem.h"
#include "updater/process.h"

#define TABLE_LEN    ((uint64_t)1 << 20) /* more than a GPT at either end */
#define FSCK_SECONDS 120u
#define FSCK_MENDED  1
#define PATH_OF_FD   64u

struct piece {
	uint64_t off, len; /* in the partition */
};

struct mend {
	struct rawspan span; /* the partition of the factory's disk */
	struct piece slots[MEND_SLOTS_MAX];
	struct piece rest[MEND_SLOTS_MAX + 1]; /* all but the slots */
	size_t slot_count, rest_count;
	struct piece *written; /* of the rest, where states may differ */
	size_t written_count;
	struct hasher *hasher;
	struct digest *seen; /* of that, in the states that there were */
	size_t seen_count, seen_cap;
	int fd; /* the partition, as a file for fsck.fat: */
	uint8_t *disk; /* it is mapped into its place here */
	uint64_t disk_len;
	uint64_t flash; /* of these, at the end */
};

static int by_offset(const void *a, const void *b)
{
	const struct piece *left = a, *right = b;

	return left->off < right->off ? -1 : left->off > right->off;
}

/* What lies between the slots. */
static void find_rest(struct mend *mend)
{
	uint64_t at = 0;

	qsort(mend->slots, mend->slot_count, sizeof(mend->slots[0]), by_offset);
	for (size_t i = 0; i < mend->slot_count; i++) {
		mend->rest[mend->rest_count++] = (struct piece){at, mend->slots[i].off - at};
		at = mend->slots[i].off + mend->slots[i].len;
	}
	mend->rest[mend->rest_count++] = (struct piece){at, mend->span.size - at};
}

static void mark(uint8_t *sectors, const struct rawspan *span, uint64_t off, uint64_t len)
{
	uint64_t end = off + len, span_end = span->start + span->size;

	off = off > span->start ? off : span->start;
	end = end < span_end ? end : span_end;
	for (; off < end; off += RAWDISK_SECTOR)
		sectors[(off - span->start) / RAWDISK_SECTOR] = 1;
}

static int add_written(struct mend *mend, const uint8_t *sectors, struct err *err)
{
	uint64_t count = mend->span.size / RAWDISK_SECTOR, runs = 0;
	void *p = NULL;

	for (uint64_t s = 0; s < count; s++)
		runs += sectors[s] && (s == 0 || !sectors[s - 1]);
	if (mem_alloc((runs + 1) * sizeof(*mend->written), &p, err) < 0)
		return -1;
	mend->written = p;
	for (uint64_t s = 0; s < count; s++) {
		if (!sectors[s])
			continue;
		if (s == 0 || !sectors[s - 1])
			mend->written[mend->written_count++].off = s * RAWDISK_SECTOR;
		mend->written[mend->written_count - 1].len += RAWDISK_SECTOR;
	}
	return 0;
}

static int find_written(struct mend *mend, const struct write_log *log, struct err *err)
{
	CLEANUP(cleanup_free) void *p = NULL;
	uint64_t count = mend->span.size / RAWDISK_SECTOR;
	uint8_t *sectors;

	if (mem_alloc(count, &p, err) < 0)
		return -1;
	sectors = p;
	if (!log)
		memset(sectors, 1, count);
	for (size_t i = 0; log && i < log->count; i++)
		mark(sectors, &mend->span, log->entries[i].off, log->entries[i].len);
	for (size_t i = 0; i < mend->slot_count; i++)
		memset(sectors + mend->slots[i].off / RAWDISK_SECTOR, 0,
			mend->slots[i].len / RAWDISK_SECTOR);
	return add_written(mend, sectors, err);
}

/* Memory of a disk's size, with a file where the partition is, and the factory's table. */
static int map_disk(struct mend *mend, const struct rawdisk *factory, struct err *err)
{
	void *p = mmap(NULL, factory->size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return err_errno(
			err, "map a disk of %llu bytes", (unsigned long long)factory->size);
	mend->disk = p;
	mend->disk_len = factory->size;
	memcpy(mend->disk, factory->bytes, TABLE_LEN);
	memcpy(mend->disk + mend->disk_len - TABLE_LEN, factory->bytes + factory->size - TABLE_LEN,
		TABLE_LEN);
	mend->fd = memfd_create("fat", MFD_CLOEXEC);
	if (mend->fd < 0 || ftruncate(mend->fd, (off_t)mend->span.size) < 0 ||
		mmap(mend->disk + mend->span.start, mend->span.size, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_FIXED, mend->fd, 0) == MAP_FAILED)
		return err_errno(
			err, "a file of %llu bytes in memory", (unsigned long long)mend->span.size);
	return 0;
}

static int add_slots(struct mend *mend, const struct mend_place *place, struct err *err)
{
	for (size_t i = 0; i < place->slot_count; i++) {
		const struct rawspan *slot = &place->slots[i];

		if (i == MEND_SLOTS_MAX || slot->start < mend->span.start ||
			slot->size > mend->span.size ||
			slot->start - mend->span.start > mend->span.size - slot->size)
			return err_set(err, FAIL_USAGE, "slot %zu is not in the partition", i);
		mend->slots[mend->slot_count++] =
			(struct piece){slot->start - mend->span.start, slot->size};
	}
	find_rest(mend);
	return 0;
}

int mend_open(const struct rawdisk *factory, const struct mend_place *place,
	const struct write_log *log, struct mend **ret, struct err *err)
{
	CLEANUP(mend_close) struct mend *mend = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*mend), &p, err) < 0)
		return -1;
	mend = p;
	mend->fd = -1;
	mend->flash = place->flash;
	if (rawdisk_partition(factory, place->partition, &mend->span, err) < 0)
		return -1;
	if (mend->span.start < TABLE_LEN || mend->span.start % TABLE_LEN ||
		factory->size - mend->span.start - mend->span.size < TABLE_LEN)
		return err_set(err, FAIL_USAGE,
			"partition '%s': expected at a whole MiB, with one before and one behind",
			place->partition);
	if (add_slots(mend, place, err) < 0 || find_written(mend, log, err) < 0 ||
		hasher_new(&mend->hasher, err) < 0 || map_disk(mend, factory, err) < 0)
		return -1;
	*ret = steal_ptr(&mend);
	return 0;
}

void mend_close(struct mend **mend)
{
	if (!mend || !*mend)
		return;
	if ((*mend)->disk)
		(void)munmap((*mend)->disk, (*mend)->disk_len); /* cannot fail: it was mapped so */
	cleanup_fd(&(*mend)->fd);
	hasher_free(&(*mend)->hasher);
	free((*mend)->written);
	free((*mend)->seen);
	free(*mend);
	*mend = NULL;
}

/* fsck.fat's exit status: 0 nothing to do, 1 mended, 2 that it did not understand. */
static int fsck(struct mend *mend, const char *option, int most, struct err *err)
{
	char program[] = "/sbin/fsck.fat", word[8], file[PATH_OF_FD];
	char *const argv[] = {program, word, file, NULL};
	struct process_result result = {0};

	(void)snprintf(word, sizeof(word), "%s", option);
	(void)snprintf(file, sizeof(file), "/proc/%d/fd/%d", (int)getpid(), mend->fd);
	if (process_run(argv, FSCK_SECONDS, &result, err) < 0)
		return err_wrap(err, "Debian's package is 'dosfstools'");
	if (result.timed_out || result.exit_status < 0 || result.exit_status > most)
		return err_set(err, FAIL_DRIFT, "fsck.fat %s: exit status %d: %.300s", option,
			result.exit_status, result.output);
	return 0;
}

static int digest_written(struct mend *mend, const uint8_t *partition, uint8_t question,
	struct digest *ret, struct err *err)
{
	if (hasher_reset(mend->hasher, err) < 0 ||
		hasher_update(mend->hasher, &question, 1, err) < 0)
		return -1;
	for (size_t i = 0; i < mend->written_count; i++)
		if (hasher_update(mend->hasher, partition + mend->written[i].off,
			    mend->written[i].len, err) < 0)
			return -1;
	return hasher_final(mend->hasher, ret, err);
}

static int remember(struct mend *mend, const struct digest *digest, struct err *err)
{
	if (mend->seen_count == mend->seen_cap) {
		size_t cap = mend->seen_cap ? 2 * mend->seen_cap : 256;
		void *p = realloc(mend->seen, cap * sizeof(*mend->seen));

		if (!p)
			return err_memory(err);
		mend->seen = p;
		mend->seen_cap = cap;
	}
	mend->seen[mend->seen_count++] = *digest;
	return 0;
}

/* Whether there has been no such state; from now on there has. */
static int is_new(
	struct mend *mend, const uint8_t *partition, uint8_t question, bool *ret, struct err *err)
{
	struct digest digest;

	if (digest_written(mend, partition, question, &digest, err) < 0)
		return -1;
	*ret = false;
	for (size_t i = 0; i < mend->seen_count; i++)
		if (digest_equal(&mend->seen[i], &digest))
			return 0;
	*ret = true;
	return remember(mend, &digest, err);
}

int mend_state(struct mend *mend, const struct rawdisk *disk, uint8_t question, struct rawdisk *ret,
	bool *ret_new, struct err *err)
{
	const uint8_t *before = disk->bytes + mend->span.start;
	uint8_t *partition = mend->disk + mend->span.start;

	if (is_new(mend, before, question, ret_new, err) < 0)
		return -1;
	if (!*ret_new)
		return 0;
	for (size_t i = 0; i < mend->rest_count; i++)
		memcpy(partition + mend->rest[i].off, before + mend->rest[i].off,
			mend->rest[i].len);
	if (fsck(mend, "-a", FSCK_MENDED, err) < 0 || fsck(mend, "-n", 0, err) < 0)
		return -1;
	for (size_t i = 0; i < mend->slot_count; i++)
		if (!mem_is_zero(partition + mend->slots[i].off, mend->slots[i].len))
			return err_set(err, FAIL_DRIFT, "fsck.fat has written into a slot");
	/* fsck.fat has nothing to do with it. */
	memcpy(mend->disk + mend->disk_len - mend->flash, disk->bytes + disk->size - mend->flash,
		mend->flash);
	*ret = (struct rawdisk){.bytes = mend->disk, .size = mend->disk_len};
	return 0;
}
