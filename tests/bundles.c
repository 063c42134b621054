#include "tests/bundles.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/must.h"
#include "updater/fs.h"
#include "updater/mem.h"

void bundles_init(struct bundles *bundles, enum pki_type type)
{
	const char *tmp = getenv("TMPDIR");
	struct err err = {0};

	memset(bundles, 0, sizeof(*bundles));
	(void)snprintf(bundles->dir, sizeof(bundles->dir), "%s/abide-test.XXXXXX",
		tmp && *tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(bundles->dir));
	must(fs_join(bundles->dir, "root.pem", bundles->root, sizeof(bundles->root), &err), &err);
	must(fs_join(bundles->dir, "signer.pem", bundles->cert, sizeof(bundles->cert), &err), &err);
	must(fs_join(bundles->dir, "signer.key", bundles->key, sizeof(bundles->key), &err), &err);
	must(pki_make(bundles->dir, type, PKI_SIGNER_DEFAULT, &err), &err);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	(void)remove(path); /* what stays is seen in /tmp */
	return 0;
}

void bundles_finish(struct bundles *bundles)
{
	if (bundles->dir[0])
		(void)nftw(bundles->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	bundles->dir[0] = '\0';
}

const char *bundles_path(const struct bundles *bundles, const char *name)
{
	static char buffers[8][PATH_MAX];
	static unsigned int turn;
	char *path = buffers[turn++ % 8];
	struct err err = {0};

	must(fs_join(bundles->dir, name, path, PATH_MAX, &err), &err);
	return path;
}

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

#define PART ((size_t)64 << 10)

static void noise(uint8_t *part, uint32_t x)
{
	for (size_t i = 0; i < PART; i++)
		part[i] = (uint8_t)(next_random(&x) >> 24);
}

/* Compresses, but not to nothing. */
static void text(uint8_t *part, uint32_t x)
{
	static const char WORDS[] = "abide keeps ";

	for (size_t i = 0; i < PART; i++)
		part[i] = (uint8_t)WORDS[i % (sizeof(WORDS) - 1)];
	for (size_t i = 0; i < PART; i += 97)
		part[i] = (uint8_t)(next_random(&x) >> 24);
}

/* 64 KiB of one kind or another. */
static void fill_part(uint8_t *part, uint32_t kind, uint32_t seed)
{
	uint32_t x = seed * 2654435761u + 1;

	switch (kind % 8) {
	case 0: /* zeros, joining the next part's if that is zeros too */
	case 1:
		memset(part, 0, PART);
		break;
	case 2: /* the same everywhere */
		noise(part, 42);
		break;
	case 3: /* with a short run of zeros */
		noise(part, x);
		memset(part + 30000, 0, 5000);
		break;
	case 4:
		noise(part, x);
		break;
	default:
		text(part, x);
		break;
	}
}

void bundles_image(const struct bundles *bundles, const char *name, size_t size, unsigned int seed)
{
	CLEANUP(cleanup_fd) int fd = -1;
	const char *path = bundles_path(bundles, name);
	uint8_t *part = malloc(PART);
	uint32_t kinds = 7;
	struct err err = {0};

	assert_non_null(part);
	must(fs_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644, &fd, &err), &err);
	for (size_t at = 0, n = 0; at < size; at += PART, n++) {
		size_t len = size - at < PART ? size - at : PART;

		/* One part in sixteen depends on the seed. */
		fill_part(part, next_random(&kinds) >> 8,
			(uint32_t)n + (n % 16 == 5 ? 1000 * seed : 0));
		if (at == 0) {
			memcpy(part, "abide test image", 16);
			le32_put(part + 16, seed);
		}
		must(fs_write_full(fd, path, part, len, &err), &err);
	}
	free(part);
}

struct bundle_options bundles_options(const struct bundles *bundles)
{
	return (struct bundle_options){
		.key = bundles->key,
		.cert = bundles->cert,
		.compatible = BUNDLES_COMPATIBLE,
		.version = "1.0",
		.created = BUNDLES_CREATED,
		.level = 3,
		.threads = 1,
	};
}

struct bundle_result bundles_make(const struct bundles *bundles, const char *name,
	const char *version, uint64_t security_version, const char *image)
{
	struct bundle_options options = bundles_options(bundles);
	struct bundle_result result = {0};
	struct err err = {0};

	options.output = bundles_path(bundles, name);
	options.version = version;
	options.security_version = security_version;
	options.image_count = 1;
	options.images[0].class = "rootfs";
	options.images[0].path = bundles_path(bundles, image);
	must(bundle_create(&options, &result, &err), &err);
	return result;
}
