/* The header's framing: what is taken apart goes together again to the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "updater/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(header_finish) struct header header = {0};
	CLEANUP(bytes_finish) struct bytes again = {0};
	const struct bytes *index[MANIFEST_IMAGES_MAX];
	struct err err;

	if (header_parse(data, len, &header, &err) < 0)
		return 0;
	for (size_t i = 0; i < header.index_count; i++)
		index[i] = &header.index[i];
	if (header_encode(&header.manifest, &header.signature, index, header.index_count, &again,
		    &err) < 0 ||
		again.len != len || memcmp(again.data, data, len) != 0)
		abort();
	return 0;
}
