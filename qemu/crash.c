#include "qemu/crash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu/mapping.h"
#include "qemu/sparse.h"
#include "updater/mem.h"

#define WATCHES_MAX 32u
/* With more than this pending, a shuffle moves many megabytes: then only every so often. */
#define SHUFFLE_BYTES ((uint64_t)4 << 20)
#define SHUFFLE_EVERY 16u
/* Of more pending writes than these, no single one is left out. */
#define WITHOUT_MAX 64u
#define WHOLE       "whole"

/* How a place of the disk differs from given bytes, sector by sector. */
struct watch {
	uint64_t start;
	uint64_t len;
	const uint8_t *expected;
	uint8_t *differs; /* a sector each: 0 or 1 */
	size_t count; /* of those that differ */
};

/* Bytes that were overwritten, to be put back. */
struct undo {
	uint64_t off;
	uint64_t len;
	size_t at; /* in saved */
};

struct crash_disk {
	struct rawdisk raw;
	struct mapping disk; /* the same, to be written */
	struct watch watches[WATCHES_MAX];
	size_t watch_count;
	bool undoing; /* what is applied will be taken back */
	struct undo *undos;
	size_t undo_count, undo_cap;
	uint8_t *saved;
	size_t saved_len, saved_cap;
};

/* ---- a disk that can be written and taken back ---- */

static int disk_open(const char *base, struct crash_disk *ret, struct err *err)
{
	if (mapping_open_copy(base, &ret->disk, err) < 0)
		return -1;
	ret->raw = (struct rawdisk){.bytes = ret->disk.bytes, .size = ret->disk.len};
	return 0;
}

static void disk_close(struct crash_disk *disk)
{
	for (size_t i = 0; i < disk->watch_count; i++)
		free(disk->watches[i].differs);
	free(disk->undos);
	free(disk->saved);
	mapping_close(&disk->disk);
}

const struct rawdisk *crash_raw(const struct crash_disk *disk)
{
	return &disk->raw;
}

static void watch_look(const struct crash_disk *disk, struct watch *watch, uint64_t sector)
{
	uint64_t at = sector * RAWDISK_SECTOR, len = watch->len - at;
	uint8_t differs;

	if (len > RAWDISK_SECTOR)
		len = RAWDISK_SECTOR;
	differs = memcmp(disk->disk.bytes + watch->start + at, watch->expected + at, len) != 0;
	watch->count += (size_t)differs;
	watch->count -= watch->differs[sector];
	watch->differs[sector] = differs;
}

static void watches_look(struct crash_disk *disk, uint64_t off, uint64_t len)
{
	for (size_t i = 0; i < disk->watch_count; i++) {
		struct watch *watch = &disk->watches[i];
		uint64_t begin = off > watch->start ? off - watch->start : 0;
		uint64_t end = off + len > watch->start ? off + len - watch->start : 0;

		if (end > watch->len)
			end = watch->len;
		for (uint64_t s = begin / RAWDISK_SECTOR; s * RAWDISK_SECTOR < end; s++)
			watch_look(disk, watch, s);
	}
}

static int new_watch(struct crash_disk *disk, uint64_t start, const uint8_t *image, uint64_t len,
	struct err *err)
{
	size_t sectors = (size_t)((len + RAWDISK_SECTOR - 1) / RAWDISK_SECTOR);
	struct watch watch = {.start = start, .len = len, .expected = image};
	void *p = NULL;

	if (disk->watch_count == WATCHES_MAX || start > disk->raw.size ||
		len > disk->raw.size - start)
		return err_set(err, FAIL_SPACE, "%" PRIu64 " bytes at %" PRIu64 ": no such place",
			len, start);
	if (mem_alloc(sectors ? sectors : 1, &p, err) < 0)
		return -1;
	watch.differs = p;
	for (uint64_t s = 0; s < sectors; s++)
		watch_look(disk, &watch, s);
	disk->watches[disk->watch_count++] = watch;
	return 0;
}

int crash_holds(struct crash_disk *disk, uint64_t start, const uint8_t *image, uint64_t len,
	bool *ret, struct err *err)
{
	for (size_t i = 0; i < disk->watch_count; i++) {
		const struct watch *watch = &disk->watches[i];

		if (watch->start != start || watch->expected != image || watch->len != len)
			continue;
		*ret = watch->count == 0;
		return 0;
	}
	if (new_watch(disk, start, image, len, err) < 0)
		return -1;
	*ret = disk->watches[disk->watch_count - 1].count == 0;
	return 0;
}

static int grow(void **p, size_t *cap, size_t needed, size_t each, struct err *err)
{
	size_t larger = needed * 2;
	void *q;

	if (needed <= *cap)
		return 0;
	q = realloc(*p, larger * each);
	if (!q)
		return err_memory(err);
	*p = q;
	*cap = larger;
	return 0;
}

static int save(struct crash_disk *disk, uint64_t off, uint64_t len, struct err *err)
{
	void *undos = disk->undos, *saved = disk->saved;
	int rc = grow(&undos, &disk->undo_cap, disk->undo_count + 1, sizeof(*disk->undos), err);

	disk->undos = undos;
	if (rc < 0)
		return -1;
	rc = grow(&saved, &disk->saved_cap, disk->saved_len + (size_t)len, 1, err);
	disk->saved = saved;
	if (rc < 0)
		return -1;
	memcpy(disk->saved + disk->saved_len, disk->disk.bytes + off, (size_t)len);
	disk->undos[disk->undo_count++] = (struct undo){off, len, disk->saved_len};
	disk->saved_len += (size_t)len;
	return 0;
}

/* The bytes [from, to) of what an entry writes. */
static int apply(struct crash_disk *disk, const struct write_log_entry *entry, uint64_t from,
	uint64_t to, struct err *err)
{
	uint64_t off = entry->off + from, len = to - from;

	if (entry->off > disk->raw.size || entry->len > disk->raw.size - entry->off)
		return err_set(err, FAIL_SPACE,
			"a write of %" PRIu64 " bytes at %" PRIu64 ": past the disk's end",
			entry->len, entry->off);
	if (len == 0)
		return 0;
	if (disk->undoing && save(disk, off, len, err) < 0)
		return -1;
	if (entry->data)
		memcpy(disk->disk.bytes + off, entry->data + from, (size_t)len);
	else
		memset(disk->disk.bytes + off, 0, (size_t)len); /* a discard */
	watches_look(disk, off, len);
	return 0;
}

static void take_back(struct crash_disk *disk)
{
	while (disk->undo_count > 0) {
		const struct undo *undo = &disk->undos[--disk->undo_count];

		memcpy(disk->disk.bytes + undo->off, disk->saved + undo->at, (size_t)undo->len);
		watches_look(disk, undo->off, undo->len);
	}
	disk->saved_len = 0;
}

/* ---- the walk ---- */

struct walk {
	const struct write_log *log;
	const struct crash_limits *limits;
	crash_check *check;
	void *arg;
	struct crash_disk flushed; /* everything up to the last flush */
	struct crash_disk whole; /* every write so far */
	size_t *pending; /* entries since the last flush */
	size_t *shuffled; /* the same, in another order */
	size_t pending_count;
	uint64_t pending_bytes;
	uint64_t random;
	size_t states;
};

/* xorshift64*: the same sequence everywhere. */
static uint64_t draw(struct walk *walk, uint64_t below)
{
	uint64_t x = walk->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	walk->random = x;
	return x * UINT64_C(0x2545f4914f6cdd1d) % below;
}

static int visit(
	struct walk *walk, struct crash_disk *disk, size_t entry, const char *how, struct err *err)
{
	const struct crash_state state = {entry, strcmp(how, WHOLE) == 0, how};

	walk->states++;
	if (walk->check(disk, &state, walk->arg, err) < 0)
		return err_wrap(err, "entry %zu of the write log, %s", entry, how);
	return 0;
}

/* The write cut off after each sector, on the disk with everything before it. */
static int visit_torn(struct walk *walk, size_t number, struct err *err)
{
	const struct write_log_entry *entry = &walk->log->entries[number];
	uint64_t sectors = entry->len / RAWDISK_SECTOR, done = 0;
	unsigned int tears = walk->limits->tears;

	for (uint64_t s = 1; s < sectors; s++) {
		char how[64];

		/* The first and the last, and as many between as there may be. */
		if (s > 1 && s < sectors - 1 && draw(walk, sectors) >= tears)
			continue;
		if (apply(&walk->whole, entry, done, s * RAWDISK_SECTOR, err) < 0)
			return -1;
		done = s * RAWDISK_SECTOR;
		(void)snprintf(how, sizeof(how), "torn after %" PRIu64 " of %" PRIu64 " sectors", s,
			sectors);
		if (visit(walk, &walk->whole, number, how, err) < 0)
			return -1;
	}
	return apply(&walk->whole, entry, done, entry->len, err);
}

static int visit_alone(struct walk *walk, size_t number, struct err *err)
{
	const struct write_log_entry *entry = &walk->log->entries[number];

	if (walk->pending_count < 2) /* nothing was pending before it: that is `whole` */
		return 0;
	if (apply(&walk->flushed, entry, 0, entry->len, err) < 0 ||
		visit(walk, &walk->flushed, number, "alone", err) < 0)
		return -1;
	take_back(&walk->flushed);
	return 0;
}

static void shuffle(struct walk *walk)
{
	memcpy(walk->shuffled, walk->pending, walk->pending_count * sizeof(*walk->pending));
	for (size_t i = walk->pending_count; i > 1; i--) {
		size_t k = (size_t)draw(walk, i), other = walk->shuffled[k];

		walk->shuffled[k] = walk->shuffled[i - 1];
		walk->shuffled[i - 1] = other;
	}
}

/* Whether there is so much pending that it is looked at every so often only. */
static bool is_too_much(const struct walk *walk, size_t number)
{
	return walk->pending_bytes > SHUFFLE_BYTES && number % SHUFFLE_EVERY != 0;
}

/* Everything but one of the pending writes: a flush that is missing costs the device just that. */
static int visit_without(struct walk *walk, size_t number, struct err *err)
{
	/* Without the last one it is what was whole before; without the first of two, `alone`. */
	if (walk->pending_count < 3 || walk->pending_count > WITHOUT_MAX ||
		is_too_much(walk, number))
		return 0;
	for (size_t lost = 0; lost + 1 < walk->pending_count; lost++) {
		char how[64];

		for (size_t i = 0; i < walk->pending_count; i++) {
			const struct write_log_entry *entry = &walk->log->entries[walk->pending[i]];

			if (i != lost && apply(&walk->flushed, entry, 0, entry->len, err) < 0)
				return -1;
		}
		(void)snprintf(how, sizeof(how), "without entry %zu", walk->pending[lost]);
		if (visit(walk, &walk->flushed, number, how, err) < 0)
			return -1;
		take_back(&walk->flushed);
	}
	return 0;
}

/* A subset of what is pending, in any order, some of it torn. */
static int apply_shuffled(struct walk *walk, struct err *err)
{
	uint64_t keep = 1 + draw(walk, 9); /* of ten */

	shuffle(walk);
	for (size_t i = 0; i < walk->pending_count; i++) {
		const struct write_log_entry *entry = &walk->log->entries[walk->shuffled[i]];
		uint64_t sectors = entry->len / RAWDISK_SECTOR, from = 0, to = sectors;

		if (draw(walk, 10) >= keep)
			continue;
		if (draw(walk, 4) == 0)
			from = draw(walk, sectors);
		if (draw(walk, 4) == 0)
			to = from + draw(walk, sectors - from + 1);
		if (apply(&walk->flushed, entry, from * RAWDISK_SECTOR, to * RAWDISK_SECTOR, err) <
			0)
			return -1;
	}
	return 0;
}

static int visit_shuffled(struct walk *walk, size_t number, struct err *err)
{
	unsigned int shuffles = walk->limits->shuffles;

	if (walk->pending_count < 2 || is_too_much(walk, number))
		return 0;
	for (unsigned int i = 0; i < shuffles; i++) {
		char how[64];

		(void)snprintf(how, sizeof(how), "shuffled, %u of %u", i + 1, shuffles);
		if (apply_shuffled(walk, err) < 0 ||
			visit(walk, &walk->flushed, number, how, err) < 0)
			return -1;
		take_back(&walk->flushed);
	}
	return 0;
}

/* For good. */
static int make_durable(struct walk *walk, size_t number, struct err *err)
{
	const struct write_log_entry *entry = &walk->log->entries[number];

	walk->flushed.undoing = false;
	if (apply(&walk->flushed, entry, 0, entry->len, err) < 0)
		return -1;
	walk->flushed.undoing = true;
	return 0;
}

static int flush(struct walk *walk, struct err *err)
{
	for (size_t i = 0; i < walk->pending_count; i++)
		if (make_durable(walk, walk->pending[i], err) < 0)
			return -1;
	walk->pending_count = 0;
	walk->pending_bytes = 0;
	return 0;
}

static int step(struct walk *walk, size_t number, struct err *err)
{
	const struct write_log_entry *entry = &walk->log->entries[number];

	if (entry->flags & WRITE_LOG_FLUSH && flush(walk, err) < 0)
		return -1;
	if (entry->len == 0)
		return 0;
	walk->pending[walk->pending_count++] = number;
	walk->pending_bytes += entry->len;
	if (visit_torn(walk, number, err) < 0 ||
		visit(walk, &walk->whole, number, WHOLE, err) < 0 ||
		visit_alone(walk, number, err) < 0 || visit_without(walk, number, err) < 0 ||
		visit_shuffled(walk, number, err) < 0)
		return -1;
	if (visit(walk, &walk->flushed, number, "dropped", err) < 0)
		return -1;
	if (!(entry->flags & WRITE_LOG_FUA))
		return 0;
	/* Durable itself, and no more to be lost; that says nothing of the others. */
	walk->pending_count--;
	walk->pending_bytes -= entry->len;
	return make_durable(walk, number, err);
}

static int walk_log(struct walk *walk, const char *base, struct err *err)
{
	size_t len = (walk->log->count + 1) * sizeof(*walk->pending);
	void *pending = NULL, *shuffled = NULL;

	if (mem_alloc(len, &pending, err) < 0)
		return -1;
	walk->pending = pending;
	if (mem_alloc(len, &shuffled, err) < 0)
		return -1;
	walk->shuffled = shuffled;
	if (disk_open(base, &walk->flushed, err) < 0 || disk_open(base, &walk->whole, err) < 0)
		return -1;
	walk->flushed.undoing = true;
	for (size_t i = 0; i < walk->log->count; i++)
		if (step(walk, i, err) < 0)
			return -1;
	return 0;
}

int crash_walk(const char *base, const struct write_log *log, const struct crash_limits *limits,
	crash_check *check, void *arg, size_t *ret_states, struct err *err)
{
	struct walk walk = {.log = log, .limits = limits, .check = check, .arg = arg};
	int rc;

	walk.random = UINT64_C(0x9e3779b97f4a7c15) + limits->seed;
	rc = walk_log(&walk, base, err);
	disk_close(&walk.flushed);
	disk_close(&walk.whole);
	free(walk.pending);
	free(walk.shuffled);
	if (rc == 0)
		*ret_states = walk.states;
	return rc;
}

int crash_write_image(const char *base, const struct write_log *log, size_t entries,
	uint64_t sectors, const char *path, struct err *err)
{
	struct crash_disk disk = {.undoing = false};
	int rc = disk_open(base, &disk, err);

	for (size_t i = 0; rc == 0 && i < entries; i++) {
		const struct write_log_entry *entry = &log->entries[i];
		bool cut = sectors && i + 1 == entries && sectors * RAWDISK_SECTOR < entry->len;

		rc = apply(&disk, entry, 0, cut ? sectors * RAWDISK_SECTOR : entry->len, err);
	}
	if (rc == 0)
		rc = sparse_write(path, disk.disk.bytes, disk.raw.size, err);
	disk_close(&disk);
	return rc;
}
