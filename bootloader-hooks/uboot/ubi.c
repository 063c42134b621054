/*
 * UBI volumes, as U-Boot and libubootenv name them: /dev/ubi0:NAME, or /dev/ubi0_1.
 *
 * A volume is written as a whole, by an update: the kernel sets a marker in the flash before it erases
 * anything, and takes it away when every byte is there. A write that was cut off leaves the marker, and
 * then nothing of the volume can be read. U-Boot passes over it and takes the other copy; libubootenv
 * 0.3.2 reads neither. So both are read here, and before libubootenv writes the marker is taken away.
 * Source: the kernel's include/uapi/mtd/ubi-user.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <mtd/ubi-user.h>

#include "bootloader-hooks/uboot/uboot.h"
#include "updater/fs.h"

#define PREFIX      "/dev/ubi"
#define VOLUMES_MAX 128u /* of a UBI device */
#define NAME_SIZE   (UBI_MAX_VOLUME_NAME + 2) /* with its newline and a NUL */
#define PIECE       4096u

bool uboot_is_ubi(const char *device)
{
	return strncmp(device, PREFIX, strlen(PREFIX)) == 0;
}

static bool is_volume(unsigned int ubi, unsigned int volume, const char *name)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char path[64];
	struct err ignored; /* the numbers of volumes have gaps */

	(void)snprintf(path, sizeof(path), "/sys/class/ubi/ubi%u_%u/name", ubi, volume);
	return fs_read_file(path, NAME_SIZE, &text, &ignored) == 0 &&
	       text.len == strlen(name) + 1 && memcmp(text.data, name, text.len - 1) == 0;
}

/* /dev/ubi0:NAME -> /dev/ubi0_1, which is the file. */
static int volume_path(const char *device, char ret[static PATH_MAX], struct err *err)
{
	const char *colon = strchr(device, ':');
	unsigned int ubi;

	if (!colon) {
		(void)snprintf(ret, PATH_MAX, "%s", device);
		return 0;
	}
	if (sscanf(device, PREFIX "%u:", &ubi) != 1)
		return err_set(err, FAIL_BOOT,
			"'%.120s' names no UBI volume: expected /dev/ubiN:NAME", device);
	for (unsigned int volume = 0; volume < VOLUMES_MAX; volume++) {
		if (!is_volume(ubi, volume, colon + 1))
			continue;
		(void)snprintf(ret, PATH_MAX, PREFIX "%u_%u", ubi, volume);
		return 0;
	}
	return err_set(err, FAIL_BOOT,
		"there is no UBI volume '%.80s' on '" PREFIX "%u'; is it attached (ubiattach)?",
		colon + 1, ubi);
}

static int volume_open(const char *device, int flags, int *ret, struct err *err)
{
	char path[PATH_MAX];

	if (volume_path(device, path, err) < 0)
		return -1;
	return fs_open(path, flags, 0, ret, err);
}

int uboot_ubi_read(const char *device, uint8_t *buf, size_t size, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	size_t done = 0;

	if (volume_open(device, O_RDONLY, &fd, err) < 0)
		return -1;
	while (done < size) {
		ssize_t n = pread(fd, buf + done, size - done, (off_t)done);

		if (n < 0 && errno == EBADF)
			return err_set(err, FAIL_BOOT, "a write to this UBI volume was cut off");
		if (n < 0)
			return err_errno(err, "read");
		if (n == 0)
			return err_set(err, FAIL_BOOT,
				"this UBI volume ends after %zu of 0x%zx bytes", done, size);
		done += (size_t)n;
	}
	return 0;
}

int uboot_ubi_mend(const char *device, size_t size, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	uint8_t blank[PIECE];
	int64_t len = (int64_t)size;

	if (volume_open(device, O_RDWR, &fd, err) < 0)
		return -1;
	if (pread(fd, blank, 1, 0) >= 0 || errno != EBADF)
		return 0;
	memset(blank, 0xff, sizeof(blank));
	/* A power cut from here on leaves the marker, as it was. */
	if (ioctl(fd, UBI_IOCVOLUP, &len) < 0)
		return err_errno(err, "update '%s'", device);
	for (size_t left = size; left;) {
		ssize_t n = write(fd, blank, left < PIECE ? left : PIECE);

		if (n <= 0)
			return err_errno(err, "write '%s'", device);
		left -= (size_t)n;
	}
	return 0;
}
