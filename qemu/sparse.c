#include "qemu/sparse.h"

#include <fcntl.h>
#include <unistd.h>

#include "qemu/mapping.h"
#include "updater/fs.h"
#include "updater/mem.h"

#define PIECE (UINT64_C(256) << 10)

int sparse_write(const char *to, const uint8_t *data, uint64_t len, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;

	if (fs_open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644, &fd, err) < 0)
		return -1;
	if (ftruncate(fd, (off_t)len) < 0)
		return err_errno(err, "'%s'", to);
	for (uint64_t off = 0; off < len; off += PIECE) {
		size_t n = (size_t)(len - off < PIECE ? len - off : PIECE);

		if (!mem_is_zero(data + off, n) &&
			pwrite(fd, data + off, n, (off_t)off) != (ssize_t)n)
			return err_errno(err, "write '%s'", to);
	}
	return 0;
}

int sparse_copy(const char *from, const char *to, struct err *err)
{
	CLEANUP(mapping_close) struct mapping file = {0};

	if (mapping_open(from, &file, err) < 0)
		return -1;
	return sparse_write(to, file.bytes, file.len, err);
}
