#include "updater/carrier/ring.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "updater/mem.h"

/* Sealed, so that no access to it can ever be past its end (SIGBUS); and all of it is there from the
 * beginning. */
static int make(int *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = memfd_create("abide-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, RING_SIZE) < 0 || fallocate(fd, 0, 0, RING_SIZE) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_errno(err, "carrier: shared memory");
	*ret = fd;
	fd = -1;
	return 0;
}

int ring_new(struct ring *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	void *p;

	if (make(&fd, err) < 0)
		return -1;
	p = mmap(NULL, RING_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_errno(err, "carrier: map shared memory");
	*ret = (struct ring){.fd = fd, .bytes = p};
	fd = -1;
	return 0;
}

void ring_finish(struct ring *ring)
{
	cleanup_fd(&ring->fd);
	if (ring->bytes)
		(void)munmap((void *)(uintptr_t)ring->bytes, RING_SIZE); /* ours: cannot fail */
	*ring = (struct ring){.fd = -1};
}

bool ring_take(struct ring *ring, uint32_t offset, uint32_t len, uint8_t *to, bool *ret_next)
{
	uint32_t batch = offset / RING_BATCH;

	if (offset >= RING_SIZE || len > RING_BATCH - offset % RING_BATCH)
		return false;
	*ret_next = batch != ring->batch;
	if (*ret_next && batch != (ring->batch + 1) % RING_BATCHES)
		return false;
	ring->batch = batch;
	memcpy(to, ring->bytes + offset, len);
	return true;
}

struct ring_room ring_room(uint8_t *bytes)
{
	return (struct ring_room){.bytes = bytes, .free = RING_BATCHES - 1};
}

int ring_map(int fd, struct ring_room *ret, struct err *err)
{
	void *p = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return err_errno(err, "carrier: map shared memory");
	*ret = ring_room(p);
	return 0;
}

bool ring_give(struct ring_room *room, uint32_t len, uint32_t *ret_offset)
{
	if (len > RING_BATCH - room->used) {
		if (room->free == 0)
			return false;
		room->free--;
		room->batch = (room->batch + 1) % RING_BATCHES;
		room->used = 0;
	}
	*ret_offset = room->batch * RING_BATCH + room->used;
	return true;
}

void ring_given(struct ring_room *room, uint32_t len)
{
	room->used += len;
}

bool ring_taken(struct ring_room *room)
{
	if (room->free == RING_BATCHES - 1)
		return false;
	room->free++;
	return true;
}
