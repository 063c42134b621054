#include "updater/since_boot.h"

#include <limits.h>
#include <string.h>

#include "updater/fs.h"
#include "updater/mem.h"

#define NAME    "flipped"
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define ID_MAX  64u

static int read_boot_id(struct bytes *ret, struct err *err)
{
	return fs_read_file(BOOT_ID, ID_MAX, ret, err);
}

int since_boot_note(const char *run_dir, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes id = {0};
	struct err ignored; /* without an id the note is never compared */
	char path[PATH_MAX];

	if (read_boot_id(&id, &ignored) < 0)
		return 0;
	if (fs_make_dirs(run_dir, 0755, err) < 0 ||
		fs_join(run_dir, NAME, path, sizeof(path), err) < 0 ||
		fs_replace_file(path, id.data, id.len, 0644, err) < 0)
		return err_wrap(err, "note of a flip");
	return 0;
}

bool since_boot_flipped(const char *run_dir)
{
	CLEANUP(bytes_finish) struct bytes id = {0}, noted = {0};
	struct err ignored;
	char path[PATH_MAX];

	if (read_boot_id(&id, &ignored) < 0)
		return true;
	/* A note that is missing or unreadable is none of this boot. */
	return fs_join(run_dir, NAME, path, sizeof(path), &ignored) == 0 &&
	       fs_read_file(path, ID_MAX, &noted, &ignored) == 0 && noted.len == id.len &&
	       memcmp(noted.data, id.data, id.len) == 0;
}
