/* Input: how many bytes arrive at a time (1 byte), then a multipart body with the boundary "x". No more
 * data comes out of it than its parts say, and that is bytes of the body. */
#include <stdlib.h>
#include <string.h>

#include "updater/carrier/http_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *body = (const char *)data + 1;
	enum http_parts_event event = HTTP_PARTS_MORE;
	uint64_t announced = 0, given = 0;
	struct http_parts parts;
	size_t step;

	if (size < 2)
		return 0;
	step = (size_t)data[0] + 1;
	http_parts_init(&parts, "x");
	for (size_t at = 0; at < size - 1 && event != HTTP_PARTS_MALFORMED; at += step) {
		const char *from = body + at;
		size_t len = size - 1 - at < step ? size - 1 - at : step;

		do {
			const char *bytes = NULL;
			size_t n = 0;

			event = http_parts_next(&parts, &from, &len, &bytes, &n);
			if (event == HTTP_PARTS_RANGE)
				announced += parts.part.range_end - parts.part.range_start;
			if (event == HTTP_PARTS_DATA &&
				(n == 0 || bytes < body || bytes + n > body + size - 1))
				abort();
			given += n;
			if (given > announced)
				abort();
		} while (event != HTTP_PARTS_MORE && event != HTTP_PARTS_MALFORMED);
	}
	return 0;
}
