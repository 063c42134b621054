#include "image/tarball.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "updater/fs.h"

#define BLOCK (1 << 20) /* bytes in one write(2) */

struct tarball {
	struct archive *archive;
	struct archive_entry *entry;
	char *name;
	time_t mtime;
	uint64_t left; /* bytes of the member still to come */
	int fd;
	bool abandoned; /* nothing more is to be written */
	struct err cause; /* of a failed write */
};

static la_ssize_t write_block(struct archive *archive, void *arg, const void *buf, size_t len)
{
	struct tarball *tarball = arg;

	if (!tarball->abandoned &&
		fs_write_full(tarball->fd, tarball->name, buf, len, &tarball->cause) == 0)
		return (la_ssize_t)len;
	archive_set_error(archive, EIO, "write failed");
	return -1;
}

static int failed(struct tarball *tarball, struct err *err)
{
	if (tarball->cause.code) {
		*err = tarball->cause;
		return -1;
	}
	return err_set(err, FAIL_IO, "write '%s': %s", tarball->name,
		archive_error_string(tarball->archive));
}

int tarball_new(int fd, const char *name, time_t mtime, struct tarball **ret, struct err *err)
{
	CLEANUP(tarball_free) struct tarball *tarball = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*tarball), &p, err) < 0)
		return -1;
	tarball = p;
	tarball->mtime = mtime;
	tarball->fd = fd;
	if (mem_strdup(name, &tarball->name, err) < 0)
		return -1;
	tarball->archive = archive_write_new();
	tarball->entry = archive_entry_new();
	if (!tarball->archive || !tarball->entry)
		return err_memory(err);
	if (archive_write_set_format_pax_restricted(tarball->archive) != ARCHIVE_OK ||
		archive_write_set_bytes_per_block(tarball->archive, BLOCK) != ARCHIVE_OK ||
		archive_write_set_bytes_in_last_block(tarball->archive, 512) != ARCHIVE_OK ||
		archive_write_open(tarball->archive, tarball, NULL, write_block, NULL) !=
			ARCHIVE_OK)
		return failed(tarball, err);
	*ret = steal_ptr(&tarball);
	return 0;
}

void tarball_free(struct tarball **tarball)
{
	if (!tarball || !*tarball)
		return;
	archive_entry_free((*tarball)->entry);
	if ((*tarball)->archive) {
		/* Without tarball_end() the file is not wanted: close, which alone gives all
		 * memory back after an error, must not fill up the member. */
		(*tarball)->abandoned = true;
		(void)archive_write_close((*tarball)->archive);
		(void)archive_write_free((*tarball)->archive);
	}
	free((*tarball)->name);
	free(*tarball);
	*tarball = NULL;
}

int tarball_begin(struct tarball *tarball, const char *member, uint64_t size, struct err *err)
{
	struct archive_entry *entry = archive_entry_clear(tarball->entry);

	assert(tarball->left == 0);
	archive_entry_set_pathname(entry, member);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	archive_entry_set_size(entry, (la_int64_t)size);
	archive_entry_set_mtime(entry, tarball->mtime, 0);
	if (archive_write_header(tarball->archive, entry) != ARCHIVE_OK)
		return failed(tarball, err);
	tarball->left = size;
	return 0;
}

int tarball_append(struct tarball *tarball, const void *data, size_t len, struct err *err)
{
	assert(len <= tarball->left);
	if (len && archive_write_data(tarball->archive, data, len) != (la_ssize_t)len)
		return failed(tarball, err);
	tarball->left -= len;
	return 0;
}

int tarball_add(
	struct tarball *tarball, const char *member, const struct bytes *bytes, struct err *err)
{
	if (tarball_begin(tarball, member, bytes->len, err) < 0)
		return -1;
	return tarball_append(tarball, bytes->data, bytes->len, err);
}

int tarball_end(struct tarball *tarball, struct err *err)
{
	assert(tarball->left == 0);
	if (archive_write_close(tarball->archive) != ARCHIVE_OK)
		return failed(tarball, err);
	return 0;
}
