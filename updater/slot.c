#include "updater/slot.h"

#include <blkid/blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"
#include "updater/seal.h"

#define SYSTEM_FILE_MAX (4u << 20) /* of a file under /proc that we read */
#define STACK_MAX       8 /* levels of device mapper, RAID and the like that are followed */

static const char *const TAGS[] = {"LABEL", "PARTLABEL", "UUID", "PARTUUID"};

/* What is plainly somebody else's, though it is no mountable file system. */
static const char *const FOREIGN[] = {"crypto_LUKS", "LVM1_member", "LVM2_member", "swap",
	"swsuspend", "linux_raid_member", "zfs_member", "bcache", "drbd"};

static void cache_put(blkid_cache *cache)
{
	if (*cache)
		blkid_put_cache(*cache);
}

static void iterate_end(blkid_dev_iterate *iterate)
{
	if (*iterate)
		blkid_dev_iterate_end(*iterate);
}

static void probe_free(blkid_probe *probe)
{
	if (*probe)
		blkid_free_probe(*probe);
}

static void close_dir(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static int copy_path(const char *path, char ret[static PATH_MAX], struct err *err)
{
	if (strlen(path) >= PATH_MAX)
		return err_set(err, FAIL_USAGE, "path '%.64s...' is too long", path);
	memcpy(ret, path, strlen(path) + 1);
	return 0;
}

/* Of two devices with one label, one is not ours: better none than the wrong one. */
static int resolve_tag(
	const char *tag, const char *value, char ret_path[static PATH_MAX], struct err *err)
{
	CLEANUP(cache_put) blkid_cache cache = NULL;
	CLEANUP(iterate_end) blkid_dev_iterate iterate = NULL;
	const char *found = NULL;
	blkid_dev dev;

	/* "/dev/null": nothing cached is believed and no cache file is written. */
	if (blkid_get_cache(&cache, "/dev/null") < 0 || blkid_probe_all(cache) < 0)
		return err_set(
			err, FAIL_IO, "%s=%s: cannot look through the block devices", tag, value);
	iterate = blkid_dev_iterate_begin(cache);
	if (!iterate || blkid_dev_set_search(iterate, tag, value) < 0)
		return err_memory(err);
	while (blkid_dev_next(iterate, &dev) == 0) {
		dev = blkid_verify(cache, dev);
		if (!dev)
			continue;
		if (found)
			return err_set(err, FAIL_STATE,
				"%s=%s is ambiguous: '%s' and '%s' both have it; rename one or use "
				"a path",
				tag, value, found, blkid_dev_devname(dev));
		found = blkid_dev_devname(dev);
	}
	if (!found)
		return err_set(err, FAIL_IO, "no block device has %s=%s", tag, value);
	return copy_path(found, ret_path, err);
}

int slot_resolve(const char *device, char ret_path[static PATH_MAX], struct err *err)
{
	const char *equals = strchr(device, '=');

	for (unsigned int i = 0; equals && i < ARRAY_LEN(TAGS); i++) {
		size_t len = strlen(TAGS[i]);

		if ((size_t)(equals - device) == len && memcmp(device, TAGS[i], len) == 0)
			return resolve_tag(TAGS[i], equals + 1, ret_path, err);
	}
	return copy_path(device, ret_path, err);
}

int slot_open(const char *path, struct blockdev **ret, struct err *err)
{
	return blockdev_open(path, BLOCKDEV_DIRECT, ret, err);
}

/* Calls `each` for every entry of a directory until one returns true, and returns that. */
static bool dir_any(
	const char *path, bool (*each)(const char *path, const char *name, void *arg), void *arg)
{
	CLEANUP(close_dir) DIR *dir = opendir(path);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] != '.' && each(path, entry->d_name, arg))
			return true;
	}
	return false;
}

struct below {
	dev_t wanted;
	int depth;
};

static bool is_below(dev_t upper, const struct below *below);

static bool slave_is_below(const char *path, const char *name, void *arg)
{
	const struct below *below = arg;
	const struct below next = {.wanted = below->wanted, .depth = below->depth - 1};
	char file[PATH_MAX];
	CLEANUP(bytes_finish) struct bytes text = {0};
	unsigned int major, minor;
	struct err ignored; /* a device that vanished is below nothing */

	if (snprintf(file, sizeof(file), "%s/%s/dev", path, name) >= (int)sizeof(file) ||
		fs_read_file(file, 64, &text, &ignored) < 0 ||
		sscanf((const char *)text.data, "%u:%u", &major, &minor) != 2)
		return false;
	return is_below(makedev(major, minor), &next);
}

/* Whether `upper` is the wanted device or is built on it (dm-verity, RAID, ...). */
static bool is_below(dev_t upper, const struct below *below)
{
	struct below next = *below;
	char slaves[64];

	if (upper == below->wanted)
		return true;
	if (below->depth == 0)
		return false;
	(void)snprintf(slaves, sizeof(slaves), "/sys/dev/block/%u:%u/slaves", major(upper),
		minor(upper)); /* two numbers: fits */
	return dir_any(slaves, slave_is_below, &next);
}

bool slot_is_running(const char *path)
{
	struct stat root, slot;

	if (stat("/", &root) < 0 || stat(path, &slot) < 0 || !S_ISBLK(slot.st_mode))
		return false;
	return is_below(root.st_dev, &(struct below){.wanted = slot.st_rdev, .depth = STACK_MAX});
}

/* The fifth field of a line of mountinfo, with its octal escapes undone. */
static void mount_point(const char *line, char *ret, size_t cap)
{
	char escaped[PATH_MAX];
	size_t n = 0;

	ret[0] = '\0';
	if (sscanf(line, "%*s %*s %*s %*s %4095s", escaped) != 1)
		return;
	for (const char *p = escaped; *p && n + 1 < cap; n++) {
		unsigned int byte;

		if (*p == '\\' && sscanf(p + 1, "%3o", &byte) == 1 && strlen(p) >= 4) {
			ret[n] = (char)byte;
			p += 4;
		} else {
			ret[n] = *p++;
		}
	}
	ret[n] = '\0';
}

static int check_mounts(const char *path, dev_t device, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char *rest = NULL;

	if (fs_read_file("/proc/self/mountinfo", SYSTEM_FILE_MAX, &text, err) < 0)
		return -1;
	for (char *line = strtok_r((char *)text.data, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest)) {
		unsigned int major, minor;
		char point[PATH_MAX], shown[256];

		if (sscanf(line, "%*u %*u %u:%u", &major, &minor) != 2 ||
			makedev(major, minor) != device)
			continue;
		mount_point(line, point, sizeof(point));
		mem_printable(point, strlen(point), shown, sizeof(shown));
		return err_set(
			err, FAIL_STATE, "'%s' is mounted on '%s'; unmount it first", path, shown);
	}
	return 0;
}

static int check_swaps(const char *path, dev_t device, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char *rest = NULL;
	struct err none; /* a kernel without swap has no such file */

	if (fs_read_file("/proc/swaps", SYSTEM_FILE_MAX, &text, &none) < 0)
		return 0;
	for (char *line = strtok_r((char *)text.data, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest)) {
		char name[PATH_MAX];
		struct stat st;

		if (sscanf(line, "%4095s", name) == 1 && stat(name, &st) == 0 &&
			S_ISBLK(st.st_mode) && st.st_rdev == device)
			return err_set(
				err, FAIL_STATE, "'%s' is in use as swap; swapoff it first", path);
	}
	return 0;
}

static bool take_name(const char *path, const char *name, void *arg)
{
	(void)path;
	(void)snprintf(arg, NAME_MAX + 1, "%s", name); /* a name fits */
	return true;
}

static int check_holders(const char *path, dev_t device, struct err *err)
{
	char holders[64], name[NAME_MAX + 1];

	(void)snprintf(holders, sizeof(holders), "/sys/dev/block/%u:%u/holders", major(device),
		minor(device)); /* two numbers: fits */
	if (dir_any(holders, take_name, name))
		return err_set(err, FAIL_STATE, "'%s' is in use by '/dev/%s'", path, name);
	return 0;
}

struct backed {
	struct stat slot;
	char loop[NAME_MAX + 1];
};

static bool same_object(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) || S_ISBLK(b->st_mode))
		return S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool loop_is_backed(const char *path, const char *name, void *arg)
{
	struct backed *backed = arg;
	CLEANUP(bytes_finish) struct bytes text = {0};
	char file[PATH_MAX];
	struct stat st;
	struct err ignored; /* no such file: not a loop device, or one that is not set up */

	if (strncmp(name, "loop", 4) != 0 ||
		snprintf(file, sizeof(file), "%s/%s/loop/backing_file", path, name) >=
			(int)sizeof(file) ||
		fs_read_file(file, PATH_MAX, &text, &ignored) < 0)
		return false;
	text.data[strcspn((char *)text.data, "\n")] = '\0';
	if (stat((const char *)text.data, &st) < 0 || !same_object(&st, &backed->slot))
		return false;
	(void)snprintf(backed->loop, sizeof(backed->loop), "%s", name); /* a name fits */
	return true;
}

bool slot_is_same(const char *path, const char *other)
{
	struct stat a, b;

	return stat(path, &a) == 0 && stat(other, &b) == 0 && same_object(&a, &b);
}

/* A loop device on top of a slot is no holder in the kernel's books, yet it is one. */
static int check_loops(const char *path, const struct stat *slot, struct err *err)
{
	struct backed backed = {.slot = *slot};

	if (dir_any("/sys/block", loop_is_backed, &backed))
		return err_set(err, FAIL_STATE, "'%s' is in use by '/dev/%s'; losetup -d it first",
			path, backed.loop);
	return 0;
}

static int check_use(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_errno(err, "open '%s'", path);
	if (check_loops(path, &st, err) < 0)
		return -1;
	if (!S_ISBLK(st.st_mode))
		return 0;
	if (slot_is_running(path))
		return err_set(err, FAIL_STATE, "'%s' holds the running root file system", path);
	if (check_mounts(path, st.st_rdev, err) < 0 || check_swaps(path, st.st_rdev, err) < 0)
		return -1;
	return check_holders(path, st.st_rdev, err);
}

static int foreign(const char *path, const char *what, struct err *err)
{
	return err_set(err, FAIL_REFUSED,
		"'%s' holds no image of abide's but %s; if nothing on it is needed: wipefs -a %s",
		path, what, path);
}

/* Judges what the probe found. A file system is fine: it is what slots hold. */
static int judge(const char *path, blkid_probe probe, struct err *err)
{
	const char *value = NULL;

	if (blkid_probe_lookup_value(probe, "TYPE", &value, NULL) == 0) {
		for (unsigned int i = 0; i < ARRAY_LEN(FOREIGN); i++) {
			if (strcmp(value, FOREIGN[i]) == 0)
				return foreign(path, value, err);
		}
		return 0;
	}
	if (blkid_probe_lookup_value(probe, "PTTYPE", &value, NULL) == 0)
		return foreign(path, "a partition table", err);
	return 0;
}

static int check_content(const char *path, struct err *err)
{
	CLEANUP(probe_free) blkid_probe probe = blkid_new_probe();
	CLEANUP(cleanup_fd) int fd = -1;
	int found;

	if (!probe)
		return err_memory(err);
	if (fs_open(path, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	if (blkid_probe_set_device(probe, fd, 0, 0) < 0 ||
		blkid_probe_enable_superblocks(probe, 1) < 0 ||
		blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE) < 0 ||
		blkid_probe_enable_partitions(probe, 1) < 0)
		return err_set(err, FAIL_IO, "'%s' cannot be examined", path);
	found = blkid_do_safeprobe(probe);
	if (found == -2)
		return foreign(path, "signatures of more than one kind", err);
	if (found < 0)
		return err_set(err, FAIL_IO, "'%s' cannot be examined", path);
	return found == 0 ? judge(path, probe, err) : 0;
}

int slot_open_target(const char *path, struct blockdev **ret, struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	struct seal seal;

	/* The checks name the user of the device; the exclusive open after them is what holds: it
	 * fails if somebody took the device in between, and nobody can as long as it is open. */
	if (check_use(path, err) < 0 ||
		blockdev_open(
			path, BLOCKDEV_WRITE | BLOCKDEV_EXCLUSIVE | BLOCKDEV_DIRECT, &dev, err) < 0)
		return -1;
	if (seal_read(dev, &seal, err) < 0)
		return -1;
	/* Sealed, or being written by an install that was cut: ours, whatever it looks like. */
	if (seal.state == SEAL_NONE && check_content(path, err) < 0)
		return -1;
	*ret = steal_ptr(&dev);
	return 0;
}
