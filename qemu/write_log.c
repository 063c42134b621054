#include "qemu/write_log.h"

#include <inttypes.h>
#include <stdlib.h>

#include "updater/mem.h"

/* Little-endian. The superblock: magic, version, number of entries, sector size. An entry: sector,
 * number of sectors, flags, length of the mark behind it. */
#define MAGIC      UINT64_C(0x6a736677736872)
#define VERSION    1u
#define ENTRY_LEN  32u
#define SECTOR_MIN 512u
#define SECTOR_MAX 4096u

/* The next entry at *at, which is moved behind it; false: the log ends there. */
static bool next(
	const struct write_log *log, uint32_t sector, size_t *at, struct write_log_entry *ret)
{
	const uint8_t *head = log->file.bytes + *at;
	uint64_t sectors, mark, data_len;

	if (log->file.len - *at < sector)
		return false;
	sectors = le64_get(head + 8);
	ret->flags = le64_get(head + 16);
	mark = le64_get(head + 24);
	*at += sector;
	if (__builtin_mul_overflow(le64_get(head), (uint64_t)sector, &ret->off) ||
		__builtin_mul_overflow(sectors, (uint64_t)sector, &ret->len))
		return false;
	data_len = ret->flags & WRITE_LOG_DISCARD ? 0 : ret->len;
	if (log->file.len - *at < data_len)
		return false;
	ret->data = data_len ? log->file.bytes + *at : NULL;
	*at += data_len;
	if (!(ret->flags & WRITE_LOG_MARK))
		return true;
	if (log->file.len - *at < mark || log->file.len - *at - mark < sector)
		return false;
	*at += (mark + sector - 1) / sector * sector;
	return true;
}

static int read_entries(const char *path, struct write_log *log, struct err *err)
{
	uint64_t version = le64_get(log->file.bytes + 8), count = le64_get(log->file.bytes + 16);
	uint32_t sector = le32_get(log->file.bytes + 24);
	size_t at = sector;
	void *p = NULL;

	if (le64_get(log->file.bytes) != MAGIC || version != VERSION)
		return err_set(
			err, FAIL_UNTRUSTED, "'%s': not a write log of version %u", path, VERSION);
	if (sector < SECTOR_MIN || sector > SECTOR_MAX || count > log->file.len / sector)
		return err_set(err, FAIL_UNTRUSTED,
			"'%s': %" PRIu64 " entries, sectors of %" PRIu32 " bytes", path, count,
			sector);
	if (mem_alloc((count ? count : 1) * sizeof(*log->entries), &p, err) < 0)
		return -1;
	log->entries = p;
	while (log->count < count && next(log, sector, &at, &log->entries[log->count]))
		log->count++;
	return 0;
}

int write_log_open(const char *path, struct write_log *ret, struct err *err)
{
	CLEANUP(write_log_close) struct write_log log = {0};

	if (mapping_open(path, &log.file, err) < 0)
		return -1;
	if (log.file.len < SECTOR_MIN)
		return err_set(err, FAIL_UNTRUSTED, "'%s': no superblock", path);
	if (read_entries(path, &log, err) < 0)
		return -1;
	*ret = log;
	log = (struct write_log){0};
	return 0;
}

void write_log_no_cache(struct write_log *log)
{
	for (size_t i = 0; i < log->count; i++)
		log->entries[i].flags |= WRITE_LOG_FLUSH;
}

void write_log_flash(struct write_log *log, uint64_t from)
{
	for (size_t i = 0; i < log->count; i++)
		if (log->entries[i].off >= from && log->entries[i].len > 0)
			log->entries[i].flags |= WRITE_LOG_FUA;
}

void write_log_close(struct write_log *log)
{
	free(log->entries);
	mapping_close(&log->file);
	*log = (struct write_log){0};
}
