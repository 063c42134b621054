#include "tests/recorder.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "updater/mem.h"

#define OP_COUNT 4

struct medium {
	char *name;
	size_t size;
	bool direct;
	bool cannot_zero;
	uint8_t *start; /* flushed, when the log was empty; NULL: no write since, so `content` */
	uint8_t *content; /* with every write of the log */
};

/* A flush if data is NULL. */
struct event {
	unsigned int device;
	uint64_t off;
	size_t len;
	uint8_t *data;
};

struct fault {
	enum recorder_op op;
	unsigned int device;
	size_t left; /* 0: none */
};

struct recorder {
	struct medium media[RECORDER_DEVICES_MAX];
	unsigned int count;
	struct event *events;
	size_t event_count;
	size_t event_cap;
	size_t ops[OP_COUNT][RECORDER_DEVICES_MAX];
	struct fault fault;
	pthread_mutex_t lock; /* held by one operation at a time: devices are used by threads */
};

struct recorded_dev {
	struct blockdev dev;
	struct recorder *rec;
	unsigned int device;
};

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static uint8_t *copy_of(const void *data, size_t len)
{
	uint8_t *p = must(malloc(len ? len : 1));

	memcpy(p, data, len);
	return p;
}

struct recorder *recorder_new(void)
{
	struct recorder *rec = must(calloc(1, sizeof(*rec)));

	if (pthread_mutex_init(&rec->lock, NULL) != 0)
		abort();
	return rec;
}

static void drop_events(struct recorder *rec)
{
	for (size_t i = 0; i < rec->event_count; i++)
		free(rec->events[i].data);
	free(rec->events);
	rec->events = NULL;
	rec->event_count = 0;
	rec->event_cap = 0;
}

void recorder_free(struct recorder **rec)
{
	if (!rec || !*rec)
		return;
	drop_events(*rec);
	for (unsigned int i = 0; i < (*rec)->count; i++) {
		free((*rec)->media[i].name);
		free((*rec)->media[i].start);
		free((*rec)->media[i].content);
	}
	(void)pthread_mutex_destroy(&(*rec)->lock);
	free(*rec);
	*rec = NULL;
}

unsigned int recorder_add(
	struct recorder *rec, const char *name, size_t size, const void *content, bool direct)
{
	struct medium *medium = &rec->media[rec->count];

	if (rec->count == RECORDER_DEVICES_MAX)
		abort();
	medium->name = must(strdup(name));
	medium->size = size;
	medium->direct = direct;
	medium->content = content ? copy_of(content, size) : must(calloc(1, size ? size : 1));
	return rec->count++;
}

struct recorder *recorder_copy(const struct recorder *rec)
{
	struct recorder *copy = recorder_new();

	for (unsigned int i = 0; i < rec->count; i++) {
		const struct medium *medium = &rec->media[i];

		(void)recorder_add(
			copy, medium->name, medium->size, medium->content, medium->direct);
		copy->media[i].cannot_zero = medium->cannot_zero;
	}
	return copy;
}

uint8_t *recorder_content(struct recorder *rec, unsigned int device)
{
	return rec->media[device].content;
}

size_t recorder_size(const struct recorder *rec, unsigned int device)
{
	return rec->media[device].size;
}

size_t recorder_count(const struct recorder *rec, enum recorder_op op, unsigned int device)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < rec->count; i++) {
		if (device == RECORDER_ANY || device == i)
			sum += rec->ops[op][i];
	}
	return sum;
}

size_t recorder_events(const struct recorder *rec)
{
	return rec->event_count;
}

void recorder_forget(struct recorder *rec)
{
	drop_events(rec);
	memset(rec->ops, 0, sizeof(rec->ops));
	for (unsigned int i = 0; i < rec->count; i++) {
		free(rec->media[i].start);
		rec->media[i].start = NULL;
	}
}

void recorder_cannot_zero(struct recorder *rec, unsigned int device)
{
	rec->media[device].cannot_zero = true;
}

void recorder_fail(struct recorder *rec, enum recorder_op op, unsigned int device, size_t n)
{
	rec->fault = (struct fault){.op = op, .device = device, .left = n};
}

/* Counts the operation; true if it is the one that is to fail. */
static bool operate(struct recorder *rec, enum recorder_op op, unsigned int device)
{
	struct fault *fault = &rec->fault;

	rec->ops[op][device]++;
	if (fault->left == 0 || fault->op != op ||
		(fault->device != RECORDER_ANY && fault->device != device))
		return false;
	return --fault->left == 0;
}

static int fail(const char *verb, const struct blockdev *dev, uint64_t off, struct err *err)
{
	errno = EIO;
	return err_errno(err, "%s '%s' at %" PRIu64, verb, dev->name, off);
}

static struct event *add_event(struct recorder *rec)
{
	if (rec->event_count == rec->event_cap) {
		rec->event_cap = rec->event_cap ? 2 * rec->event_cap : 64;
		rec->events = must(realloc(rec->events, rec->event_cap * sizeof(rec->events[0])));
	}
	return &rec->events[rec->event_count++];
}

static int check_aligned(
	const struct recorded_dev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	if (!dev->rec->media[dev->device].direct)
		return 0;
	if ((uintptr_t)buf % MEM_BLOCK == 0 && len % MEM_BLOCK == 0 && off % MEM_BLOCK == 0)
		return 0;
	errno = EINVAL;
	return err_errno(
		err, "unaligned access to '%s' at %" PRIu64 ", %zu bytes", dev->dev.name, off, len);
}

/* Takes the data. */
static void change(
	struct recorder *rec, unsigned int device, uint8_t *data, size_t len, uint64_t off)
{
	struct medium *medium = &rec->media[device];

	*add_event(rec) = (struct event){.device = device, .off = off, .len = len, .data = data};
	if (!medium->start)
		medium->start = copy_of(medium->content, medium->size);
	memcpy(medium->content + off, data, len);
}

static size_t half(size_t len)
{
	return len / 2 / RECORDER_SECTOR * RECORDER_SECTOR;
}

static int pread_alone(struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	struct recorded_dev *recorded = (struct recorded_dev *)dev;

	if (check_aligned(recorded, buf, len, off, err) < 0)
		return -1;
	if (operate(recorded->rec, RECORDER_READ, recorded->device))
		return fail("read", dev, off, err);
	memcpy(buf, recorded->rec->media[recorded->device].content + off, len);
	return 0;
}

static int pwrite_alone(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	struct recorded_dev *recorded = (struct recorded_dev *)dev;
	struct recorder *rec = recorded->rec;
	bool fails;

	if (check_aligned(recorded, buf, len, off, err) < 0)
		return -1;
	fails = operate(rec, RECORDER_WRITE, recorded->device);
	if (fails)
		len = half(len);
	change(rec, recorded->device, copy_of(buf, len), len, off);
	return fails ? fail("write", dev, off, err) : 0;
}

/* To what a power cut leaves it is a write of zeros. */
static int zero_alone(
	struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err)
{
	struct recorded_dev *recorded = (struct recorded_dev *)dev;
	struct recorder *rec = recorded->rec;
	size_t size = (size_t)len;
	bool fails;

	if (check_aligned(recorded, NULL, size, off, err) < 0)
		return -1;
	*ret_done = !rec->media[recorded->device].cannot_zero;
	if (!*ret_done)
		return 0;
	fails = operate(rec, RECORDER_ZERO, recorded->device);
	if (fails)
		size = half(size);
	change(rec, recorded->device, must(calloc(1, size ? size : 1)), size, off);
	return fails ? fail("zero", dev, off, err) : 0;
}

static int flush_alone(struct blockdev *dev, struct err *err)
{
	struct recorded_dev *recorded = (struct recorded_dev *)dev;

	if (operate(recorded->rec, RECORDER_FLUSH, recorded->device))
		return fail("flush", dev, 0, err);
	*add_event(recorded->rec) = (struct event){.device = recorded->device};
	return 0;
}

static int recorded_pread(
	struct blockdev *dev, void *buf, size_t len, uint64_t off, struct err *err)
{
	struct recorder *rec = ((struct recorded_dev *)dev)->rec;
	int status;

	(void)pthread_mutex_lock(&rec->lock);
	status = pread_alone(dev, buf, len, off, err);
	(void)pthread_mutex_unlock(&rec->lock);
	return status;
}

static int recorded_pwrite(
	struct blockdev *dev, const void *buf, size_t len, uint64_t off, struct err *err)
{
	struct recorder *rec = ((struct recorded_dev *)dev)->rec;
	int status;

	(void)pthread_mutex_lock(&rec->lock);
	status = pwrite_alone(dev, buf, len, off, err);
	(void)pthread_mutex_unlock(&rec->lock);
	return status;
}

static int recorded_zero(
	struct blockdev *dev, uint64_t len, uint64_t off, bool *ret_done, struct err *err)
{
	struct recorder *rec = ((struct recorded_dev *)dev)->rec;
	int status;

	(void)pthread_mutex_lock(&rec->lock);
	status = zero_alone(dev, len, off, ret_done, err);
	(void)pthread_mutex_unlock(&rec->lock);
	return status;
}

static int recorded_flush(struct blockdev *dev, struct err *err)
{
	struct recorder *rec = ((struct recorded_dev *)dev)->rec;
	int status;

	(void)pthread_mutex_lock(&rec->lock);
	status = flush_alone(dev, err);
	(void)pthread_mutex_unlock(&rec->lock);
	return status;
}

static void recorded_free(struct blockdev *dev)
{
	free(dev);
}

static const struct blockdev_ops OPS = {
	.pread = recorded_pread,
	.pwrite = recorded_pwrite,
	.flush = recorded_flush,
	.zero = recorded_zero,
	.free = recorded_free,
};

struct blockdev *recorder_open(struct recorder *rec, unsigned int device)
{
	struct recorded_dev *recorded = must(calloc(1, sizeof(*recorded)));

	recorded->dev = (struct blockdev){
		.ops = &OPS, .name = rec->media[device].name, .size = rec->media[device].size};
	recorded->rec = rec;
	recorded->device = device;
	return &recorded->dev;
}

/* The walk over the crash states of one log. */
struct replay {
	const struct recorder *rec;
	const struct recorder_limits *limits;
	recorder_check *check;
	void *arg;
	struct recorder *durable; /* content: what was flushed */
	const struct event **pending; /* written, not flushed, in order */
	size_t pending_count;
	size_t at; /* events that happened */
	size_t visited;
	uint64_t random;
};

/* xorshift64*: the same states for the same seed on every machine. */
static uint64_t next_random(struct replay *replay)
{
	replay->random ^= replay->random >> 12;
	replay->random ^= replay->random << 25;
	replay->random ^= replay->random >> 27;
	return replay->random * UINT64_C(2685821657736338717);
}

static void apply(struct recorder *rec, const struct event *event, size_t from, size_t to)
{
	if (to > event->len)
		to = event->len;
	if (from < to)
		memcpy(rec->media[event->device].content + event->off + from, event->data + from,
			to - from);
}

static void apply_pending(const struct replay *replay, struct recorder *rec, size_t count)
{
	for (size_t i = 0; i < count; i++)
		apply(rec, replay->pending[i], 0, SIZE_MAX);
}

/* Gives `after` to the check and frees it. */
static void visit(struct replay *replay, struct recorder *after, const char *how, size_t detail)
{
	char what[256] = "before anything was written";
	const struct event *event = NULL;

	if (replay->at > 0)
		event = &replay->rec->events[replay->at - 1];
	if (event)
		(void)snprintf(what, sizeof(what),
			"event %zu of %zu (%s of '%s', %zu bytes at %" PRIu64 "), %s %zu",
			replay->at, replay->rec->event_count, event->data ? "write" : "flush",
			replay->rec->media[event->device].name, event->len, event->off, how,
			detail);
	recorder_forget(after);
	replay->visited++;
	replay->check(after, what, replay->arg);
	recorder_free(&after);
}

static void visit_whole(struct replay *replay)
{
	struct recorder *after = recorder_copy(replay->durable);

	apply_pending(replay, after, replay->pending_count);
	visit(replay, after, "whole", 0);
}

/* The last pending write up to `cut` bytes, with what was pending before it and without. */
static void visit_torn(struct replay *replay, size_t cut)
{
	const struct event *last = replay->pending[replay->pending_count - 1];
	struct recorder *after = recorder_copy(replay->durable);

	apply(after, last, 0, cut);
	visit(replay, after, "alone, torn at", cut);
	if (replay->pending_count == 1)
		return;
	after = recorder_copy(replay->durable);
	apply_pending(replay, after, replay->pending_count - 1);
	apply(after, last, 0, cut);
	visit(replay, after, "torn at", cut);
}

static void visit_tears(struct replay *replay)
{
	const struct event *last = replay->pending[replay->pending_count - 1];
	size_t inner = (last->len - 1) / RECORDER_SECTOR; /* boundaries within it */
	unsigned int tears = replay->limits->tears;

	if (inner <= tears) {
		for (size_t i = 1; i <= inner; i++)
			visit_torn(replay, i * RECORDER_SECTOR);
		return;
	}
	for (unsigned int i = 0; i < tears; i++) {
		size_t cut = 1 + (size_t)(next_random(replay) % inner);

		if (i < 2)
			cut = i == 0 ? 1 : inner;
		visit_torn(replay, cut * RECORDER_SECTOR);
	}
}

/* Three in four writes of the set, in random order, half of those with each sector new or old. */
static void visit_shuffled(struct replay *replay, size_t number)
{
	struct recorder *after = recorder_copy(replay->durable);
	const struct event **order = must(calloc(replay->pending_count, sizeof(order[0])));

	memcpy(order, replay->pending, replay->pending_count * sizeof(order[0]));
	for (size_t i = replay->pending_count; i > 0; i--) {
		size_t pick = (size_t)(next_random(replay) % i);
		const struct event *event = order[pick];
		uint64_t fate = next_random(replay) >> 32;

		order[pick] = order[i - 1];
		if (fate % 4 == 0)
			continue;
		for (size_t off = 0; off < event->len; off += RECORDER_SECTOR) {
			if (fate % 4 == 1 || next_random(replay) >> 63)
				apply(after, event, off, off + RECORDER_SECTOR);
		}
	}
	free(order);
	visit(replay, after, "shuffled", number);
}

/* Moves what the device has pending to the durable content. */
static void make_durable(struct replay *replay, unsigned int device)
{
	size_t kept = 0;

	for (size_t i = 0; i < replay->pending_count; i++) {
		if (replay->pending[i]->device == device)
			apply(replay->durable, replay->pending[i], 0, SIZE_MAX);
		else
			replay->pending[kept++] = replay->pending[i];
	}
	replay->pending_count = kept;
}

/* One event happened. Only states that no earlier event had: a flush changes what can be dropped,
 * a write what is whole. */
static void step(struct replay *replay, const struct event *event)
{
	if (event->data) {
		replay->pending[replay->pending_count++] = event;
		visit_whole(replay);
		visit_tears(replay);
	} else {
		make_durable(replay, event->device);
		if (replay->pending_count > 0)
			visit(replay, recorder_copy(replay->durable), "dropped", 0);
	}
	for (unsigned int i = 0; replay->pending_count > 0 && i < replay->limits->shuffles; i++)
		visit_shuffled(replay, i);
}

size_t recorder_crashes(const struct recorder *rec, const struct recorder_limits *limits,
	recorder_check *check, void *arg)
{
	struct replay replay = {.rec = rec,
		.limits = limits,
		.check = check,
		.arg = arg,
		.random = limits->seed * UINT64_C(2) + 1};

	replay.durable = recorder_copy(rec);
	for (unsigned int i = 0; i < rec->count; i++) {
		if (rec->media[i].start)
			memcpy(replay.durable->media[i].content, rec->media[i].start,
				rec->media[i].size);
	}
	replay.pending = must(calloc(rec->event_count + 1, sizeof(replay.pending[0])));
	visit_whole(&replay);
	for (size_t i = 0; i < rec->event_count; i++) {
		replay.at = i + 1;
		if (rec->events[i].data && rec->events[i].len == 0)
			continue;
		step(&replay, &rec->events[i]);
	}
	free(replay.pending);
	recorder_free(&replay.durable);
	return replay.visited;
}
