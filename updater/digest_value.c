/* digest_value - digests that are there already: what needs no OpenSSL, so that a carrier of files does
 * not either. */
#include <string.h>

#include "updater/digest.h"
#include "updater/mem.h"

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, DIGEST_LEN) == 0;
}

bool digest_is_zero(const struct digest *d)
{
	return mem_is_zero(d->b, DIGEST_LEN);
}

void digest_to_hex(const struct digest *d, char ret[static DIGEST_HEX_LEN + 1])
{
	hex_encode(d->b, DIGEST_LEN, ret);
}

bool digest_from_hex(const char *hex, struct digest *ret)
{
	return hex_decode(hex, ret->b, DIGEST_LEN);
}
