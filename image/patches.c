#include "image/patches.h"

#include <stdlib.h>
#include <string.h>

#include "image/compress.h"
#include "updater/mem.h"
#include "updater/worker.h"

/* Jobs in one round for each thread: the more, the less a thread waits at the round's end. */
#define JOBS_PER_THREAD 4u

struct job {
	uint32_t count;
	uint32_t chunks[PATCHES_CHUNKS_MAX];
	uint32_t lengths[PATCHES_CHUNKS_MAX];
	uint32_t hints[PATCHES_CHUNKS_MAX][PATCHES_HINTS_MAX];
	uint8_t *plain; /* STORE_PATCH_MAX */
	size_t plain_len;
	uint8_t *stored; /* STORE_PATCH_MAX: never more than the plain bytes */
	size_t stored_len;
	uint8_t *patch; /* STORE_PATCH_MAX */
	size_t patch_len;
};

struct thread {
	struct patches *patches;
	struct worker *worker;
	struct compressor *compressor;
	struct similar_room *room; /* NULL without a base */
	uint8_t *prefix; /* PATCH_PREFIX_MAX */
	uint32_t chosen[PATCH_RUNS_MAX];
};

struct patches {
	struct patches_options options;
	struct thread *threads;
	struct job *jobs;
	size_t job_count; /* that there is room for */
	size_t filling; /* the job that chunks are added to */
	size_t next; /* the job that the next free thread takes */
};

static int alloc_job(struct job *job, struct err *err)
{
	uint8_t **const buffers[] = {&job->plain, &job->stored, &job->patch};
	void *p = NULL;

	for (size_t i = 0; i < ARRAY_LEN(buffers); i++) {
		if (mem_alloc(STORE_PATCH_MAX, &p, err) < 0)
			return -1;
		*buffers[i] = p;
	}
	return 0;
}

static int init_thread(struct thread *thread, struct patches *patches, struct err *err)
{
	void *p = NULL;

	thread->patches = patches;
	if (mem_alloc(PATCH_PREFIX_MAX, &p, err) < 0)
		return -1;
	thread->prefix = p;
	if (worker_new(&thread->worker, err) < 0 ||
		compressor_new(patches->options.level, &thread->compressor, err) < 0)
		return -1;
	if (!patches->options.similar)
		return 0;
	return similar_room_new(patches->options.similar, &thread->room, err);
}

int patches_new(const struct patches_options *options, struct patches **ret, struct err *err)
{
	CLEANUP(patches_free) struct patches *patches = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*patches), &p, err) < 0)
		return -1;
	patches = p;
	patches->options = *options;
	if (mem_alloc(options->threads * sizeof(*patches->threads), &p, err) < 0)
		return -1;
	patches->threads = p;
	if (mem_alloc((size_t)options->threads * JOBS_PER_THREAD * sizeof(*patches->jobs), &p,
		    err) < 0)
		return -1;
	patches->jobs = p;
	patches->job_count = (size_t)options->threads * JOBS_PER_THREAD;
	for (size_t i = 0; i < patches->job_count; i++)
		if (alloc_job(&patches->jobs[i], err) < 0)
			return -1;
	for (size_t i = 0; i < options->threads; i++)
		if (init_thread(&patches->threads[i], patches, err) < 0)
			return -1;
	*ret = steal_ptr(&patches);
	return 0;
}

void patches_free(struct patches **patches)
{
	struct patches *taken = steal_ptr(patches);

	if (!taken)
		return;
	for (size_t i = 0; taken->threads && i < taken->options.threads; i++) {
		worker_free(&taken->threads[i].worker);
		compressor_free(&taken->threads[i].compressor);
		similar_room_free(&taken->threads[i].room);
		free(taken->threads[i].prefix);
	}
	for (size_t i = 0; i < taken->job_count; i++) {
		free(taken->jobs[i].plain);
		free(taken->jobs[i].stored);
		free(taken->jobs[i].patch);
	}
	free(taken->threads);
	free(taken->jobs);
	free(taken);
}

/* ---- one patch ---- */

static size_t choose(struct thread *thread, const struct job *job)
{
	if (!thread->room)
		return 0;
	for (uint32_t i = 0; i < job->count; i++)
		for (unsigned int k = 0; k < PATCHES_HINTS_MAX; k++)
			similar_hint(thread->room, job->hints[i][k]); /* NO_HINT is past the end */
	return similar_choose(thread->room, job->plain, job->plain_len, PATCH_PREFIX_MAX,
		thread->chosen, PATCH_RUNS_MAX);
}

/* The chosen chunks' bytes into the prefix, their runs into the patch. Returns the prefix's length. */
static size_t put_base(struct thread *thread, struct job *job, size_t chosen)
{
	const struct patches_options *options = &thread->patches->options;
	struct patch_run run = {0};
	size_t prefix = 0, runs = 0, next = 0;
	uint64_t offset = 0;

	for (uint32_t i = 0; next < chosen; offset += index_length(options->base, i++)) {
		if (i != thread->chosen[next])
			continue;
		memcpy(thread->prefix + prefix, options->base_image + offset,
			index_length(options->base, i));
		prefix += index_length(options->base, i);
		if (runs > 0 && run.first + run.count == i)
			run.count++; /* no more than PATCH_RUNS_MAX chunks are chosen */
		else {
			run = (struct patch_run){.first = i, .count = 1};
			runs++;
		}
		patch_put_run(job->patch + PATCH_HEAD_LEN + (runs - 1) * PATCH_RUN_LEN, &run);
		next++;
	}
	le16_put(job->patch, (uint16_t)runs);
	job->patch_len = PATCH_HEAD_LEN + runs * PATCH_RUN_LEN;
	return prefix;
}

static int make_patch(struct thread *thread, struct job *job, struct err *err)
{
	const uint8_t *frame;
	size_t prefix = put_base(thread, job, choose(thread, job));
	size_t len;

	if (compressor_run_after(thread->compressor, thread->prefix, prefix, job->plain,
		    job->plain_len, &frame, &len, err) < 0)
		return -1;
	if (len >= job->stored_len || job->patch_len + len >= job->stored_len) {
		job->patch_len = 0;
		return 0;
	}
	memcpy(job->patch + job->patch_len, frame, len);
	job->patch_len += len;
	return 0;
}

/* ---- rounds ---- */

static int run_thread(void *arg, struct err *err)
{
	struct thread *thread = arg;
	struct patches *patches = thread->patches;

	for (;;) {
		size_t i = __atomic_fetch_add(&patches->next, 1, __ATOMIC_RELAXED);

		if (i >= patches->filling)
			return 0;
		if (make_patch(thread, &patches->jobs[i], err) < 0)
			return -1;
	}
}

/* All jobs that are filled, then their results in order. */
static int run_round(struct patches *patches, struct err *err)
{
	struct err later;
	int failed = 0;

	patches->next = 0;
	for (size_t i = 0; i < patches->options.threads; i++)
		worker_start(patches->threads[i].worker, run_thread, &patches->threads[i]);
	for (size_t i = 0; i < patches->options.threads; i++)
		if (worker_wait(patches->threads[i].worker, failed ? &later : err) < 0)
			failed = -1;
	for (size_t i = 0; !failed && i < patches->filling; i++) {
		struct job *job = &patches->jobs[i];
		const struct patches_result result = {
			.count = job->count,
			.chunks = job->chunks,
			.lengths = job->lengths,
			.stored = job->stored,
			.stored_len = job->stored_len,
			.patch = job->patch,
			.patch_len = job->patch_len,
		};

		failed = patches->options.done(patches->options.arg, &result, err);
		job->count = 0;
		job->plain_len = 0;
		job->stored_len = 0;
	}
	patches->filling = 0;
	return failed;
}

int patches_add(struct patches *patches, uint32_t chunk, const uint8_t *plain, uint32_t len,
	const uint8_t *stored, uint32_t stored_len, const uint32_t hints[static PATCHES_HINTS_MAX],
	struct err *err)
{
	struct job *job = &patches->jobs[patches->filling];

	if (job->count == PATCHES_CHUNKS_MAX || job->plain_len + len > STORE_PATCH_MAX) {
		patches->filling++;
		if (patches->filling == patches->job_count && run_round(patches, err) < 0)
			return -1;
		job = &patches->jobs[patches->filling];
	}
	job->chunks[job->count] = chunk;
	job->lengths[job->count] = stored_len;
	memcpy(job->hints[job->count], hints, sizeof(job->hints[0]));
	job->count++;
	memcpy(job->plain + job->plain_len, plain, len);
	job->plain_len += len;
	memcpy(job->stored + job->stored_len, stored, stored_len);
	job->stored_len += stored_len;
	return 0;
}

int patches_end(struct patches *patches, struct err *err)
{
	patches->filling += patches->jobs[patches->filling].count > 0;
	return patches->filling ? run_round(patches, err) : 0;
}
