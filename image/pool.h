/*
 * pool - pieces of an image, digested and compressed by worker threads (pthreads).
 *
 *	pool_new -> { pool_next_free -> fill in and cut -> pool_submit |
 *		      pool_next_done -> use -> pool_release }* -> pool_free
 *
 * Jobs come back in the order in which they were submitted. All functions are for the one thread
 * that made the pool. pool_free() may come at any point: it waits for the jobs that run.
 */
#ifndef ABIDE_IMAGE_POOL_H
#define ABIDE_IMAGE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/dedup.h"
#include "updater/carrier/store.h"
#include "updater/digest.h"
#include "updater/err.h"

#define POOL_JOB_BYTES  (2u << 20)
#define POOL_JOB_CHUNKS 1024u

struct pool_chunk {
	uint32_t length;
	/* by the worker: */
	enum store_encoding encoding; /* SAME if it was known already, else never */
	uint32_t stored_length;
	const uint8_t *stored; /* in the job's buffers */
	struct digest digest;
};

struct pool_job {
	uint8_t *in; /* POOL_JOB_BYTES: the chunks, end to end */
	uint8_t *out; /* POOL_JOB_BYTES: the frames */
	uint32_t count;
	struct pool_chunk chunks[POOL_JOB_CHUNKS];
	bool done;
	bool failed;
	struct err err;
};

struct pool;

/* threads >= 1. Workers skip what `known` has; only pool_learn() adds to it. */
int pool_new(unsigned int threads, int level, struct pool **ret, struct err *err);
void pool_free(struct pool **pool);

/* NULL if all jobs are under way: collect one. */
struct pool_job *pool_next_free(struct pool *pool);
void pool_submit(struct pool *pool);
/* Waits for the oldest job; NULL if none is under way. */
struct pool_job *pool_next_done(struct pool *pool);
void pool_release(struct pool *pool);

/* Whether the chunk was there before; if not, it is from now on. */
int pool_learn(struct pool *pool, const struct pool_chunk *chunk, bool *ret_known, struct err *err);

#endif
