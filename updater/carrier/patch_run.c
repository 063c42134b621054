/* patch_run - the part of a patch that the installer looks at, too: without a decoder, so that it is
 * linked with none. */
#include <inttypes.h>

#include "updater/carrier/patch.h"
#include "updater/mem.h"

int patch_parse_run(const uint8_t *bytes, struct patch_run *ret, struct err *err)
{
	const struct patch_run run = {.first = le32_get(bytes), .count = le16_get(bytes + 4)};
	uint32_t end;

	if (run.count == 0 || __builtin_add_overflow(run.first, run.count, &end))
		return err_set(err, FAIL_UNTRUSTED,
			"patch: %" PRIu32 " chunks from %" PRIu32 " of the base on are no run",
			run.count, run.first);
	*ret = run;
	return 0;
}

void patch_put_run(uint8_t *to, const struct patch_run *run)
{
	le32_put(to, run->first);
	le16_put(to + 4, (uint16_t)run->count);
}
