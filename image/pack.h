/*
 * pack - an image file to its index, its store and its stored chunks.
 *
 * The calling thread reads, cuts and hashes; worker threads digest and compress; results are
 * collected in image order. So the output is the same with any number of threads. Memory: a few
 * MiB a thread, and about 45 bytes a chunk.
 *
 *	pack_image (each image, the same spool) -> packed_finish
 */
#ifndef ABIDE_IMAGE_PACK_H
#define ABIDE_IMAGE_PACK_H

#include <signal.h>
#include <stdint.h>

#include "updater/carrier/store.h"
#include "updater/digest.h"
#include "updater/err.h"
#include "updater/mem.h"

#define PACK_THREADS_MAX 256u

struct pack_options {
	unsigned int threads; /* 0: as many as there are processors for this process */
	int level; /* of zstd */
	const volatile sig_atomic_t *interrupted; /* or NULL; then FAIL_INTERRUPTED */
};

struct pack_stats {
	uint32_t chunks[STORE_ENCODINGS]; /* by enum store_encoding */
	uint64_t plain[STORE_ENCODINGS]; /* bytes of the image */
	uint64_t kept[STORE_ENCODINGS]; /* bytes of CLASS.data for them */
	uint64_t stored; /* bytes of CLASS.data */
};

struct packed {
	uint64_t size; /* bytes of the image */
	struct digest sha256;
	struct bytes index;
	struct bytes store;
	struct pack_stats stats;
};

/* Reads the image at `path` to its end (a file, a block device, a pipe) and appends its stored
 * chunks to `spool`. FAIL_USAGE if it is empty or a directory. */
int pack_image(const char *path, const struct pack_options *options, int spool, struct packed *ret,
	struct err *err);
void packed_finish(struct packed *packed);
/* `asked`, or if it is 0 as many as this process may use: in a container fewer than there are. */
unsigned int pack_threads(unsigned int asked);

#endif
