#include "image/compress.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "updater/carrier/patch.h"
#include "updater/index.h"
#include "updater/mem.h"

#define WINDOW_LOG_MIN 10 /* RFC 8878, 3.1.1.1.2 */

struct compressor {
	ZSTD_CCtx *ctx;
	size_t room;
	uint8_t *frame;
};

int compressor_new(int level, struct compressor **ret, struct err *err)
{
	CLEANUP(compressor_free) struct compressor *compressor = NULL;
	size_t room = ZSTD_compressBound(STORE_PATCH_MAX);
	void *p = NULL;

	if (mem_alloc(sizeof(*compressor), &p, err) < 0)
		return -1;
	compressor = p;
	if (mem_alloc(room, &p, err) < 0)
		return -1;
	compressor->frame = p;
	compressor->room = room;
	compressor->ctx = ZSTD_createCCtx();
	if (!compressor->ctx)
		return err_memory(err);
	/* No checksum: each chunk's SHA-256 is in the index. The content size stays in: it lets a
	 * decoder refuse a wrong frame before it decodes. */
	if (ZSTD_isError(ZSTD_CCtx_setParameter(compressor->ctx, ZSTD_c_compressionLevel, level)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(compressor->ctx, ZSTD_c_checksumFlag, 0)))
		return err_set(err, FAIL_USAGE, "zstd cannot compress at level %d", level);
	*ret = steal_ptr(&compressor);
	return 0;
}

void compressor_free(struct compressor **compressor)
{
	if (!compressor || !*compressor)
		return;
	(void)ZSTD_freeCCtx((*compressor)->ctx); /* takes NULL; never fails on a one-shot context */
	free((*compressor)->frame);
	free(*compressor);
	*compressor = NULL;
}

int compressor_run(struct compressor *compressor, const uint8_t *data, size_t len, uint8_t *ret,
	size_t *ret_len, struct err *err)
{
	/* Into a buffer that any chunk fits: in a tight one zstd may give up on a frame that is
	 * short enough. */
	size_t n = ZSTD_compress2(compressor->ctx, compressor->frame, compressor->room, data, len);

	if (ZSTD_isError(n))
		return err_set(err, FAIL_IO, "zstd: %s", ZSTD_getErrorName(n));
	if (n < len)
		memcpy(ret, compressor->frame, n);
	*ret_len = n < len ? n : 0;
	return 0;
}

/* The least power of two that reaches from the end of the data to the beginning of the prefix:
 * farther back a frame would not look, and zstd sizes its tables by it. */
static int window_log(size_t len)
{
	int log = WINDOW_LOG_MIN;

	while ((size_t)1 << log < len)
		log++;
	return log;
}

int compressor_run_after(struct compressor *compressor, const uint8_t *prefix, size_t prefix_len,
	const uint8_t *data, size_t len, const uint8_t **ret, size_t *ret_len, struct err *err)
{
	size_t n = ZSTD_CCtx_setParameter(
		compressor->ctx, ZSTD_c_windowLog, window_log(prefix_len + len));

	if (!ZSTD_isError(n))
		n = ZSTD_CCtx_refPrefix(compressor->ctx, prefix, prefix_len);
	if (!ZSTD_isError(n))
		n = ZSTD_compress2(compressor->ctx, compressor->frame, compressor->room, data, len);
	if (ZSTD_isError(n))
		return err_set(err, FAIL_IO, "zstd: %s", ZSTD_getErrorName(n));
	*ret = compressor->frame;
	*ret_len = n;
	return 0;
}
