#include "updater/carrier/decode.h"

#include <zstd.h>

#include "updater/mem.h"

/* A struct of its own only so that the header shows nothing of zstd. */
struct decoder {
	ZSTD_DCtx *context;
};

int decoder_new(struct decoder **ret, struct err *err)
{
	void *p = NULL;
	struct decoder *decoder;

	if (mem_alloc(sizeof(*decoder), &p, err) < 0)
		return -1;
	decoder = p;
	decoder->context = ZSTD_createDCtx();
	if (!decoder->context) {
		cleanup_free(&p);
		return err_memory(err);
	}
	*ret = decoder;
	return 0;
}

void decoder_free(struct decoder **decoder)
{
	struct decoder *taken = steal_ptr(decoder);

	if (!taken)
		return;
	(void)ZSTD_freeDCtx(taken->context); /* returns a size, nothing of use */
	cleanup_free(&taken);
}

int decoder_zstd(struct decoder *decoder, const uint8_t *in, size_t in_len, uint8_t *out,
	size_t out_len, struct err *err)
{
	return decoder_zstd_after(decoder, NULL, 0, in, in_len, out, out_len, err);
}

int decoder_zstd_after(struct decoder *decoder, const uint8_t *prefix, size_t prefix_len,
	const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len, struct err *err)
{
	size_t frame = ZSTD_findFrameCompressedSize(in, in_len);
	size_t n;

	if (ZSTD_isError(frame))
		return err_set(
			err, FAIL_UNTRUSTED, "not a zstd frame: %s", ZSTD_getErrorName(frame));
	/* Decompressing takes frame after frame: two would look like one. */
	if (frame != in_len)
		return err_set(err, FAIL_UNTRUSTED, "the zstd frame has %zu bytes, %zu are stored",
			frame, in_len);
	/* For this frame only; and before each, or one that failed would leave its prefix behind. */
	n = ZSTD_DCtx_refPrefix(decoder->context, prefix, prefix_len);
	if (ZSTD_isError(n))
		return err_set(err, FAIL_IO, "zstd: %s", ZSTD_getErrorName(n));
	n = ZSTD_decompressDCtx(decoder->context, out, out_len, in, in_len);
	if (ZSTD_isError(n))
		return err_set(err, FAIL_UNTRUSTED, "does not decompress to %zu bytes: %s", out_len,
			ZSTD_getErrorName(n));
	if (n != out_len)
		return err_set(
			err, FAIL_UNTRUSTED, "decompresses to %zu bytes, expected %zu", n, out_len);
	return 0;
}
