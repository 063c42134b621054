/* The index's parser: what it accepts adds up, record by record, within its bytes. The image size
 * that a manifest would give is taken from the index itself, so that the checks behind it are
 * reached. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "updater/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_records(const struct index *index, uint64_t image_size)
{
	struct digest digest = {{0}};
	uint64_t sum = 0;

	for (uint32_t i = 0; i < index_count(index); i++) {
		sum += index_length(index, i);
		(void)index_matches(index, i, &digest);
	}
	if (sum != image_size || index_image_size(index) != image_size)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(index_free) struct index *index = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	uint64_t image_size = len >= INDEX_HEADER_LEN ? le64_get(data + 16) : 0;
	struct err err;

	if (bytes_copy(data, len, &bytes, &err) == 0 &&
		index_parse(&bytes, image_size, &index, &err) == 0)
		check_records(index, image_size);
	return 0;
}
