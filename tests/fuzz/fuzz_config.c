/* The configuration's parser: any text is read or refused, and what is read is whole. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "updater/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(config_free) struct config *config = NULL;
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct err err;

	if (bytes_copy(data, len, &bytes, &err) < 0 ||
		config_parse("fuzz.conf", &bytes, &config, &err) < 0)
		return 0;
	if (!config->compatible[0] || !config->roots || !config->boot.grubenv ||
		!config->slot_count)
		abort();
	for (size_t i = 0; i < config->slot_count; i++)
		if (!config->slots[i].device || !config->slots[i].device[0])
			abort();
	return 0;
}
