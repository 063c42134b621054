#include "image/pack.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/chunker.h"
#include "image/pool.h"
#include "updater/fs.h"
#include "updater/index.h"

struct packer {
	const char *path;
	const struct pack_options *options;
	int spool;
	int fd;
	struct chunker chunker;
	struct pool *pool;
	struct hasher *whole; /* of the image */
	struct index_builder *index;
	/* What was read and not cut yet: too near to the end of what was read. */
	uint8_t *tail;
	size_t tail_len;
	bool ended;
	/* The store's records, growing. */
	enum store_encoding *encodings;
	uint32_t *lengths;
	uint32_t count;
	uint32_t cap;
	uint64_t size;
	struct pack_stats stats;
};

static void packer_finish(struct packer *packer)
{
	pool_free(&packer->pool);
	hasher_free(&packer->whole);
	index_builder_free(&packer->index);
	cleanup_fd(&packer->fd);
	free(packer->tail);
	free(packer->encodings);
	free(packer->lengths);
}

unsigned int pack_threads(unsigned int asked)
{
	cpu_set_t set;
	unsigned int n = asked;

	if (n == 0 && sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned int)CPU_COUNT(&set);
	if (n == 0)
		n = 1;
	return n < PACK_THREADS_MAX ? n : PACK_THREADS_MAX;
}

static int open_image(struct packer *packer, struct err *err)
{
	struct stat st;

	if (fs_open(packer->path, O_RDONLY, 0, &packer->fd, err) < 0)
		return -1;
	if (fstat(packer->fd, &st) < 0)
		return err_errno(err, "stat '%s'", packer->path);
	if (S_ISDIR(st.st_mode))
		return err_set(
			err, FAIL_USAGE, "'%s' is a directory, not an image file", packer->path);
	(void)posix_fadvise(packer->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* a hint */
	return 0;
}

static int packer_start(struct packer *packer, struct err *err)
{
	void *p = NULL;

	if (open_image(packer, err) < 0 || mem_alloc(POOL_JOB_BYTES, &p, err) < 0)
		return -1;
	packer->tail = p;
	chunker_init(&packer->chunker);
	if (hasher_new(&packer->whole, err) < 0 || hasher_reset(packer->whole, err) < 0 ||
		index_builder_new(&packer->index, err) < 0)
		return -1;
	return pool_new(
		pack_threads(packer->options->threads), packer->options->level, &packer->pool, err);
}

/* Cuts the first `len` bytes of the job as far as they can be cut yet. Returns how many that are.
 */
static size_t cut_job(const struct packer *packer, struct pool_job *job, size_t len)
{
	size_t at = 0;

	job->count = 0;
	while (at < len && job->count < POOL_JOB_CHUNKS &&
		(packer->ended || len - at >= CHUNKER_WINDOW)) {
		uint32_t cut =
			chunker_cut(&packer->chunker, job->in + at, len - at, packer->size + at);

		job->chunks[job->count++] = (struct pool_chunk){.length = cut};
		at += cut;
	}
	return at;
}

static int fill_job(struct packer *packer, struct pool_job *job, struct err *err)
{
	size_t room = POOL_JOB_BYTES - packer->tail_len;
	size_t len = packer->tail_len;
	size_t got = 0;
	size_t used;

	memcpy(job->in, packer->tail, len);
	if (!packer->ended) {
		if (fs_read_full(packer->fd, packer->path, job->in + len, room, &got, err) < 0)
			return -1;
		packer->ended = got < room;
	}
	len += got;
	used = cut_job(packer, job, len);
	packer->tail_len = len - used;
	memcpy(packer->tail, job->in + used, packer->tail_len);
	packer->size += used;
	return hasher_update(packer->whole, job->in, used, err);
}

static int append_record(
	struct packer *packer, enum store_encoding encoding, uint32_t length, struct err *err)
{
	if (packer->count == packer->cap) {
		uint32_t cap = packer->cap ? 2 * packer->cap : 4096;
		void *encodings = reallocarray(packer->encodings, cap, sizeof(*packer->encodings));
		void *lengths = NULL;

		if (encodings) {
			packer->encodings = encodings;
			lengths = reallocarray(packer->lengths, cap, sizeof(*packer->lengths));
		}
		if (!lengths)
			return err_memory(err);
		packer->lengths = lengths;
		packer->cap = cap;
	}
	packer->encodings[packer->count] = encoding;
	packer->lengths[packer->count++] = length;
	return 0;
}

static int collect_chunk(struct packer *packer, const struct pool_chunk *chunk, struct err *err)
{
	enum store_encoding encoding = chunk->encoding;
	uint32_t length = chunk->stored_length;
	bool known = false;

	/* The index first: it also says when an image has too many chunks. */
	if (index_builder_add(packer->index, chunk->length, &chunk->digest, err) < 0)
		return -1;
	if (encoding != STORE_ZERO && pool_learn(packer->pool, chunk, &known, err) < 0)
		return -1;
	if (known) {
		encoding = STORE_SAME;
		length = 0;
	}
	if (length && fs_write_full(packer->spool, "spool file", chunk->stored, length, err) < 0)
		return -1;
	packer->stats.chunks[encoding]++;
	packer->stats.plain[encoding] += chunk->length;
	packer->stats.kept[encoding] += length;
	packer->stats.stored += length;
	return append_record(packer, encoding, length, err);
}

static int collect_job(struct packer *packer, struct pool_job *job, struct err *err)
{
	if (job->failed) {
		*err = job->err;
		return -1;
	}
	for (uint32_t i = 0; i < job->count; i++)
		if (collect_chunk(packer, &job->chunks[i], err) < 0)
			return -1;
	pool_release(packer->pool);
	return 0;
}

static int packer_run(struct packer *packer, struct err *err)
{
	struct pool_job *job;

	for (;;) {
		const volatile sig_atomic_t *interrupted = packer->options->interrupted;

		if (interrupted && *interrupted)
			return err_set(err, FAIL_INTERRUPTED, "stopped by a signal");
		job = pool_next_free(packer->pool);
		if (job && !(packer->ended && packer->tail_len == 0)) {
			if (fill_job(packer, job, err) < 0)
				return -1;
			if (job->count > 0)
				pool_submit(packer->pool);
			continue;
		}
		job = pool_next_done(packer->pool);
		if (!job)
			return 0;
		if (collect_job(packer, job, err) < 0)
			return -1;
	}
}

int pack_image(const char *path, const struct pack_options *options, int spool, struct packed *ret,
	struct err *err)
{
	CLEANUP(packer_finish)
	struct packer packer = {.path = path, .options = options, .spool = spool, .fd = -1};
	CLEANUP(packed_finish) struct packed packed = {0};

	if (packer_start(&packer, err) < 0 || packer_run(&packer, err) < 0)
		return -1;
	if (packer.size == 0)
		return err_set(err, FAIL_USAGE, "'%s' is empty", path);
	packed.size = packer.size;
	packed.stats = packer.stats;
	if (hasher_final(packer.whole, &packed.sha256, err) < 0 ||
		index_builder_finish(packer.index, &packed.index, err) < 0 ||
		store_encode(packer.encodings, packer.lengths, packer.count, &packed.store, err) <
			0)
		return -1;
	*ret = packed;
	packed = (struct packed){0};
	return 0;
}

void packed_finish(struct packed *packed)
{
	if (!packed)
		return;
	bytes_finish(&packed->index);
	bytes_finish(&packed->store);
}
