#include "qemu/sparse.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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
	CLEANUP(cleanup_fd) int fd = -1;
	struct stat st;
	void *p;
	int rc;

	if (fs_open(from, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "'%s'", from);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_errno(err, "map '%s'", from);
	rc = sparse_write(to, p, (uint64_t)st.st_size, err);
	(void)munmap(p, (size_t)st.st_size); /* cannot fail: it was mapped so */
	return rc;
}
