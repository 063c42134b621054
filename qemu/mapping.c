#include "qemu/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "updater/fs.h"
#include "updater/mem.h"

static int map(const char *path, int protection, struct mapping *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	struct stat st;
	void *p;

	if (fs_open(path, O_RDONLY, 0, &fd, err) < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return err_errno(err, "'%s'", path);
	if (st.st_size == 0)
		return 0;
	p = mmap(NULL, (size_t)st.st_size, protection, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_errno(err, "map '%s'", path);
	*ret = (struct mapping){p, (uint64_t)st.st_size};
	return 0;
}

int mapping_open(const char *path, struct mapping *ret, struct err *err)
{
	return map(path, PROT_READ, ret, err);
}

int mapping_open_copy(const char *path, struct mapping *ret, struct err *err)
{
	return map(path, PROT_READ | PROT_WRITE, ret, err);
}

void mapping_close(struct mapping *mapping)
{
	if (mapping->bytes)
		(void)munmap(mapping->bytes, mapping->len); /* cannot fail: it was mapped so */
	*mapping = (struct mapping){0};
}
