#include "updater/signature.h"

#include <stdlib.h>

struct trusted {
	struct bytes manifest;
	struct digest id;
	size_t signer_count;
	char **signers;
};

void trusted_free(struct trusted **trusted)
{
	if (!trusted || !*trusted)
		return;
	for (size_t i = 0; i < (*trusted)->signer_count; i++)
		free((*trusted)->signers[i]);
	free((*trusted)->signers);
	bytes_finish(&(*trusted)->manifest);
	free(*trusted);
	*trusted = NULL;
}

const struct bytes *trusted_manifest(const struct trusted *trusted)
{
	return &trusted->manifest;
}

const struct digest *trusted_id(const struct trusted *trusted)
{
	return &trusted->id;
}

size_t trusted_signer_count(const struct trusted *trusted)
{
	return trusted->signer_count;
}

const char *trusted_signer(const struct trusted *trusted, size_t i)
{
	return trusted->signers[i];
}
