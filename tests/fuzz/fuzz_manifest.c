/* The manifest's parser; what it accepts has one canonical text, which comes back unchanged. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "updater/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_stable(const struct manifest *manifest)
{
	CLEANUP(manifest_free) struct manifest *again = NULL;
	CLEANUP(bytes_finish) struct bytes first = {0};
	CLEANUP(bytes_finish) struct bytes second = {0};
	struct err err;

	if (manifest_encode(manifest, &first, &err) < 0)
		return; /* escapes can make the canonical text too long */
	if (manifest_parse_untrusted(&first, &again, &err) < 0 ||
		manifest_encode(again, &second, &err) < 0)
		abort();
	if (first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct err err;

	if (bytes_copy(data, len, &bytes, &err) < 0)
		return 0;
	if (manifest_parse_untrusted(&bytes, &manifest, &err) == 0)
		check_stable(manifest);
	return 0;
}
