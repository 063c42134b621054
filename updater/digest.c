#include "updater/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "updater/mem.h"

struct hasher {
	EVP_MD *md; /* fetched once: an implicit fetch per message costs more than a small message
		     */
	EVP_MD_CTX *ctx;
};

int hasher_new(struct hasher **ret, struct err *err)
{
	struct hasher *hasher;
	void *p = NULL;

	if (mem_alloc(sizeof(*hasher), &p, err) < 0)
		return -1;
	hasher = p;
	hasher->md = EVP_MD_fetch(NULL, "SHA256", NULL);
	hasher->ctx = EVP_MD_CTX_new();
	if (!hasher->md || !hasher->ctx) {
		hasher_free(&hasher);
		return err_set(err, FAIL_IO, "no SHA-256 in this OpenSSL");
	}
	*ret = hasher;
	return 0;
}

void hasher_free(struct hasher **hasher)
{
	if (!hasher || !*hasher)
		return;
	EVP_MD_CTX_free((*hasher)->ctx);
	EVP_MD_free((*hasher)->md);
	free(*hasher);
	*hasher = NULL;
}

int hasher_reset(struct hasher *hasher, struct err *err)
{
	if (EVP_DigestInit_ex2(hasher->ctx, hasher->md, NULL) != 1)
		return err_set(err, FAIL_IO, "SHA-256 failed to start");
	return 0;
}

int hasher_update(struct hasher *hasher, const void *data, size_t len, struct err *err)
{
	if (EVP_DigestUpdate(hasher->ctx, data, len) != 1)
		return err_set(err, FAIL_IO, "SHA-256 failed");
	return 0;
}

int hasher_final(struct hasher *hasher, struct digest *ret, struct err *err)
{
	struct digest digest;

	if (EVP_DigestFinal_ex(hasher->ctx, digest.b, NULL) != 1)
		return err_set(err, FAIL_IO, "SHA-256 failed to finish");
	*ret = digest;
	return 0;
}

int digest_of(
	struct hasher *hasher, const void *data, size_t len, struct digest *ret, struct err *err)
{
	if (hasher_reset(hasher, err) < 0 || hasher_update(hasher, data, len, err) < 0)
		return -1;
	return hasher_final(hasher, ret, err);
}

int digest_once(const void *data, size_t len, struct digest *ret, struct err *err)
{
	CLEANUP(hasher_free) struct hasher *hasher = NULL;

	if (hasher_new(&hasher, err) < 0)
		return -1;
	return digest_of(hasher, data, len, ret, err);
}
