#include "image/span.h"

#include <inttypes.h>
#include <stdlib.h>

#include "updater/mem.h"

struct span {
	struct blockdev dev;
	struct blockdev *whole;
	uint64_t start;
	char *name;
};

static struct span *span(struct blockdev *dev)
{
	return (struct span *)dev;
}

static int span_pread(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	if (blockdev_pread(span(dev)->whole, buf, len, span(dev)->start + off, err) < 0)
		return err_wrap(err, "'%s'", dev->name);
	return 0;
}

static int span_pwrite(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	if (blockdev_pwrite(span(dev)->whole, buf, len, span(dev)->start + off, err) < 0)
		return err_wrap(err, "'%s'", dev->name);
	return 0;
}

static int span_flush(struct blockdev *dev, struct err *err)
{
	return blockdev_flush(span(dev)->whole, err);
}

static int span_zero(
	struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err)
{
	return blockdev_zero(span(dev)->whole, len, span(dev)->start + off, ret_done, err);
}

static void span_free(struct blockdev *dev)
{
	free(span(dev)->name);
	free(span(dev));
}

static const struct blockdev_ops SPAN_OPS = {
	.pread = span_pread,
	.pwrite = span_pwrite,
	.flush = span_flush,
	.zero = span_zero,
	.free = span_free,
};

int span_open(struct blockdev *whole, const char *name, uint64_t start, uint64_t size,
	struct blockdev **ret, struct err *err)
{
	CLEANUP(blockdev_close) struct blockdev *dev = NULL;
	struct span *new;
	uint64_t end;
	void *p = NULL;

	if (__builtin_add_overflow(start, size, &end) || end > whole->size)
		return err_set(err, FAIL_SPACE,
			"'%s': %" PRIu64 " bytes at %" PRIu64
			" go past the end of '%s' at %" PRIu64,
			name, size, start, whole->name, whole->size);
	if (mem_alloc(sizeof(*new), &p, err) < 0)
		return -1;
	new = p;
	new->dev.ops = &SPAN_OPS;
	new->dev.size = size;
	new->whole = whole;
	new->start = start;
	dev = &new->dev;
	if (mem_strdup(name, &new->name, err) < 0)
		return -1;
	dev->name = new->name;
	*ret = steal_ptr(&dev);
	return 0;
}
