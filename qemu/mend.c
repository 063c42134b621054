#include "qemu/mend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "updater/mem.h"
#include "updater/process.h"

#define TABLE_LEN    ((uint64_t)1 << 20) /* more than a GPT at either end */
#define FSCK_SECONDS 120u
#define FSCK_MENDED  1
/* A walk goes to and fro between a few states. */
#define LAST_MAX   8u
#define PATH_OF_FD 64u

struct piece {
	uint64_t off, len; /* in the partition */
};

struct mend {
	struct rawspan span; /* the partition of the factory's disk */
	struct piece slots[MEND_SLOTS_MAX];
	struct piece rest[MEND_SLOTS_MAX + 1]; /* all but the slots */
	size_t slot_count, rest_count;
	uint8_t *last[LAST_MAX]; /* the partition before fsck.fat was at it */
	size_t last_count;
	int fd; /* the partition, as a file for fsck.fat: */
	uint8_t *disk; /* it is mapped into its place here */
	uint64_t disk_len;
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

static int add_slots(
	struct mend *mend, const struct rawspan slots[], size_t slot_count, struct err *err)
{
	for (size_t i = 0; i < slot_count; i++) {
		if (i == MEND_SLOTS_MAX || slots[i].start < mend->span.start ||
			slots[i].size > mend->span.size ||
			slots[i].start - mend->span.start > mend->span.size - slots[i].size)
			return err_set(err, FAIL_USAGE, "slot %zu is not in the partition", i);
		mend->slots[mend->slot_count++] =
			(struct piece){slots[i].start - mend->span.start, slots[i].size};
	}
	find_rest(mend);
	return 0;
}

int mend_open(const struct rawdisk *factory, const char *partition, const struct rawspan slots[],
	size_t slot_count, struct mend **ret, struct err *err)
{
	CLEANUP(mend_close) struct mend *mend = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*mend), &p, err) < 0)
		return -1;
	mend = p;
	mend->fd = -1;
	if (rawdisk_partition(factory, partition, &mend->span, err) < 0)
		return -1;
	if (mend->span.start < TABLE_LEN || mend->span.start % TABLE_LEN ||
		factory->size - mend->span.start - mend->span.size < TABLE_LEN)
		return err_set(err, FAIL_USAGE,
			"partition '%s': expected at a whole MiB, with one before and one behind",
			partition);
	if (add_slots(mend, slots, slot_count, err) < 0 || map_disk(mend, factory, err) < 0)
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
	for (size_t i = 0; i < LAST_MAX; i++)
		free((*mend)->last[i]);
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

static bool is_same(const struct mend *mend, const uint8_t *one, const uint8_t *other)
{
	for (size_t i = 0; i < mend->rest_count; i++)
		if (memcmp(one + mend->rest[i].off, other + mend->rest[i].off, mend->rest[i].len) !=
			0)
			return false;
	return true;
}

/* All but what is a slot's. */
static void copy(const struct mend *mend, uint8_t *to, const uint8_t *from)
{
	for (size_t i = 0; i < mend->rest_count; i++)
		memcpy(to + mend->rest[i].off, from + mend->rest[i].off, mend->rest[i].len);
}

static bool was_there(const struct mend *mend, const uint8_t *partition)
{
	for (size_t i = 0; i < LAST_MAX && i < mend->last_count; i++)
		if (is_same(mend, mend->last[i], partition))
			return true;
	return false;
}

/* Of the last ones the oldest makes room. */
static int remember(struct mend *mend, const uint8_t *partition, struct err *err)
{
	uint8_t **last = &mend->last[mend->last_count++ % LAST_MAX];
	void *p = NULL;

	if (!*last && mem_alloc(mend->span.size, &p, err) < 0)
		return -1;
	if (!*last)
		*last = p;
	copy(mend, *last, partition);
	return 0;
}

int mend_state(struct mend *mend, const struct rawdisk *disk, struct rawdisk *ret, bool *ret_new,
	struct err *err)
{
	const uint8_t *before = disk->bytes + mend->span.start;
	uint8_t *partition = mend->disk + mend->span.start;

	*ret_new = !was_there(mend, before);
	if (!*ret_new)
		return 0;
	if (remember(mend, before, err) < 0)
		return -1;
	copy(mend, partition, before);
	if (fsck(mend, "-a", FSCK_MENDED, err) < 0 || fsck(mend, "-n", 0, err) < 0)
		return -1;
	for (size_t i = 0; i < mend->slot_count; i++)
		if (!mem_is_zero(partition + mend->slots[i].off, mend->slots[i].len))
			return err_set(err, FAIL_DRIFT, "fsck.fat has written into a slot");
	*ret = (struct rawdisk){mend->disk, mend->disk_len};
	return 0;
}
