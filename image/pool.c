#include "image/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "image/compress.h"
#include "updater/mem.h"

struct worker {
	struct pool *pool;
	pthread_t thread;
	struct compressor *compressor;
	struct hasher *hasher;
};

struct pool {
	pthread_mutex_t lock; /* guards all below but the jobs a thread has taken */
	pthread_cond_t submitted_more;
	pthread_cond_t done_more;
	bool stop;
	struct dedup *known;
	/* A ring; the counters only grow: released <= taken <= submitted <= released + count. */
	struct pool_job *jobs;
	size_t job_count;
	uint64_t submitted;
	uint64_t taken;
	uint64_t released;
	size_t started;
	struct worker *workers;
	size_t worker_count;
};

static struct pool_job *job_at(const struct pool *pool, uint64_t number)
{
	return &pool->jobs[number % pool->job_count];
}

static bool is_known(struct pool *pool, const struct pool_chunk *chunk)
{
	uint64_t place;
	bool known;

	(void)pthread_mutex_lock(&pool->lock); /* a plain mutex: cannot fail */
	known = dedup_find(pool->known, chunk->length, chunk->digest.b, &place);
	(void)pthread_mutex_unlock(&pool->lock);
	return known;
}

/* Whether a chunk counts as known here depends on timing, and only spares work: what is not known
 * yet but repeats is found by pool_learn(), in image order. */
static int pack_chunk(struct worker *worker, const uint8_t *data, struct pool_chunk *chunk,
	uint8_t *out, struct err *err)
{
	size_t frame = 0;

	if (digest_of(worker->hasher, data, chunk->length, &chunk->digest, err) < 0)
		return -1;
	chunk->stored = NULL;
	chunk->stored_length = 0;
	if (mem_is_zero(data, chunk->length)) {
		chunk->encoding = STORE_ZERO;
		return 0;
	}
	if (is_known(worker->pool, chunk)) {
		chunk->encoding = STORE_SAME;
		return 0;
	}
	if (compressor_run(worker->compressor, data, chunk->length, out, &frame, err) < 0)
		return -1;
	chunk->encoding = frame ? STORE_ZSTD : STORE_RAW;
	chunk->stored = frame ? out : data;
	chunk->stored_length = frame ? (uint32_t)frame : chunk->length;
	return 0;
}

static int run_job(struct worker *worker, struct pool_job *job)
{
	size_t at = 0;

	/* A frame is shorter than its chunk, so it fits where the chunk lies in the input. */
	for (uint32_t i = 0; i < job->count; i++) {
		if (pack_chunk(worker, job->in + at, &job->chunks[i], job->out + at, &job->err) < 0)
			return -1;
		at += job->chunks[i].length;
	}
	return 0;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct pool *pool = worker->pool;

	(void)pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct pool_job *job;

		while (!pool->stop && pool->taken == pool->submitted)
			(void)pthread_cond_wait(&pool->submitted_more, &pool->lock);
		if (pool->stop)
			break;
		job = job_at(pool, pool->taken++);
		(void)pthread_mutex_unlock(&pool->lock);
		job->failed = run_job(worker, job) < 0;
		(void)pthread_mutex_lock(&pool->lock);
		job->done = true;
		(void)pthread_cond_signal(&pool->done_more);
	}
	(void)pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static int alloc_jobs(struct pool *pool, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(pool->job_count * sizeof(*pool->jobs), &p, err) < 0)
		return -1;
	pool->jobs = p;
	for (size_t i = 0; i < pool->job_count; i++) {
		if (mem_alloc(POOL_JOB_BYTES, &p, err) < 0)
			return -1;
		pool->jobs[i].in = p;
		if (mem_alloc(POOL_JOB_BYTES, &p, err) < 0)
			return -1;
		pool->jobs[i].out = p;
	}
	return 0;
}

static int start_workers(struct pool *pool, int level, struct err *err)
{
	sigset_t all;
	sigset_t before;
	int failed = 0;

	for (size_t i = 0; i < pool->worker_count; i++) {
		struct worker *worker = &pool->workers[i];

		worker->pool = pool;
		if (compressor_new(level, &worker->compressor, err) < 0 ||
			hasher_new(&worker->hasher, err) < 0)
			return -1;
	}
	/* Signals are for the calling thread: it is the one that looks at its flag. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; pool->started < pool->worker_count && !failed; pool->started += !failed)
		failed = pthread_create(&pool->workers[pool->started].thread, NULL, work,
			&pool->workers[pool->started]);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		return err_set(err, FAIL_IO, "start a thread: %s", strerror(failed));
	return 0;
}

int pool_new(unsigned int threads, int level, struct pool **ret, struct err *err)
{
	CLEANUP(pool_free) struct pool *pool = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*pool), &p, err) < 0)
		return -1;
	pool = p;
	(void)pthread_mutex_init(&pool->lock, NULL); /* default attributes: cannot fail */
	(void)pthread_cond_init(&pool->submitted_more, NULL);
	(void)pthread_cond_init(&pool->done_more, NULL);
	if (mem_alloc(threads * sizeof(*pool->workers), &p, err) < 0)
		return -1;
	pool->workers = p;
	pool->worker_count = threads;
	/* One job in each worker's hands, one waiting for each, one being filled. */
	pool->job_count = 2 * (size_t)threads + 1;
	if (dedup_new(&pool->known, err) < 0 || alloc_jobs(pool, err) < 0 ||
		start_workers(pool, level, err) < 0)
		return -1;
	*ret = steal_ptr(&pool);
	return 0;
}

static void stop_workers(struct pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	(void)pthread_cond_broadcast(&pool->submitted_more);
	(void)pthread_mutex_unlock(&pool->lock);
	for (size_t i = 0; i < pool->started; i++)
		(void)pthread_join(pool->workers[i].thread, NULL);
}

void pool_free(struct pool **p)
{
	struct pool *pool = p ? *p : NULL;

	if (!pool)
		return;
	stop_workers(pool);
	for (size_t i = 0; i < pool->worker_count; i++) {
		compressor_free(&pool->workers[i].compressor);
		hasher_free(&pool->workers[i].hasher);
	}
	for (size_t i = 0; pool->jobs && i < pool->job_count; i++) {
		free(pool->jobs[i].in);
		free(pool->jobs[i].out);
	}
	dedup_free(&pool->known);
	free(pool->workers);
	free(pool->jobs);
	(void)pthread_cond_destroy(&pool->done_more);
	(void)pthread_cond_destroy(&pool->submitted_more);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
	*p = NULL;
}

/* `submitted` and `released` are written by this thread only, so it may read them without the
 * lock. */
struct pool_job *pool_next_free(struct pool *pool)
{
	if (pool->submitted - pool->released == pool->job_count)
		return NULL;
	return job_at(pool, pool->submitted);
}

void pool_submit(struct pool *pool)
{
	(void)pthread_mutex_lock(&pool->lock);
	job_at(pool, pool->submitted)->done = false;
	pool->submitted++;
	(void)pthread_cond_signal(&pool->submitted_more);
	(void)pthread_mutex_unlock(&pool->lock);
}

struct pool_job *pool_next_done(struct pool *pool)
{
	struct pool_job *job = job_at(pool, pool->released);

	if (pool->released == pool->submitted)
		return NULL;
	(void)pthread_mutex_lock(&pool->lock);
	while (!job->done)
		(void)pthread_cond_wait(&pool->done_more, &pool->lock);
	(void)pthread_mutex_unlock(&pool->lock);
	return job;
}

void pool_release(struct pool *pool)
{
	pool->released++;
}

int pool_learn(struct pool *pool, const struct pool_chunk *chunk, bool *ret_known, struct err *err)
{
	uint64_t place = 0; /* of no interest here: devices find a repeat by its digest */
	int result = 0;

	(void)pthread_mutex_lock(&pool->lock);
	*ret_known = dedup_find(pool->known, chunk->length, chunk->digest.b, &place);
	if (!*ret_known)
		result = dedup_add(pool->known, chunk->length, chunk->digest.b, place, err);
	(void)pthread_mutex_unlock(&pool->lock);
	return result;
}
