#include "updater/worker.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "updater/mem.h"

enum phase {
	IDLE, /* nothing to do; also: done, and `status` says how */
	WORKING,
	ENDING,
};

struct worker {
	pthread_t thread;
	pthread_mutex_t lock; /* over phase, and with it over what it says is whose */
	pthread_cond_t changed;
	enum phase phase;
	int (*job)(void *arg, struct err *err);
	void *arg;
	int status;
	struct err err;
	bool started; /* the owner's alone: not waited for yet */
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	(void)pthread_mutex_lock(&worker->lock); /* fails only where it is used wrongly */
	for (;;) {
		while (worker->phase == IDLE)
			(void)pthread_cond_wait(&worker->changed, &worker->lock);
		if (worker->phase == ENDING)
			break;
		(void)pthread_mutex_unlock(&worker->lock);
		worker->status = worker->job(worker->arg, &worker->err);
		(void)pthread_mutex_lock(&worker->lock);
		worker->phase = IDLE;
		(void)pthread_cond_signal(&worker->changed);
	}
	(void)pthread_mutex_unlock(&worker->lock);
	return NULL;
}

/* The thread inherits the mask: it has to be in place before it is there. */
static int start_thread(struct worker *worker)
{
	sigset_t all, before;
	int failed;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	failed = pthread_create(&worker->thread, NULL, work, worker);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}

int worker_new(struct worker **ret, struct err *err)
{
	struct worker *worker;
	void *p = NULL;
	int failed;

	if (mem_alloc(sizeof(*worker), &p, err) < 0)
		return -1;
	worker = p;
	(void)pthread_mutex_init(&worker->lock, NULL); /* cannot fail with default attributes */
	(void)pthread_cond_init(&worker->changed, NULL);
	failed = start_thread(worker);
	if (failed) {
		free(worker);
		errno = failed;
		return err_errno(err, "start a thread");
	}
	*ret = worker;
	return 0;
}

static void wait_until_idle(struct worker *worker)
{
	while (worker->phase == WORKING)
		(void)pthread_cond_wait(&worker->changed, &worker->lock);
}

void worker_free(struct worker **worker)
{
	struct worker *taken;

	if (!worker || !*worker)
		return;
	taken = steal_ptr(worker);
	(void)pthread_mutex_lock(&taken->lock);
	wait_until_idle(taken);
	taken->phase = ENDING;
	(void)pthread_cond_signal(&taken->changed);
	(void)pthread_mutex_unlock(&taken->lock);
	(void)pthread_join(taken->thread, NULL);
	(void)pthread_cond_destroy(&taken->changed);
	(void)pthread_mutex_destroy(&taken->lock);
	free(taken);
}

void worker_start(struct worker *worker, int (*job)(void *arg, struct err *err), void *arg)
{
	assert(!worker->started);
	(void)pthread_mutex_lock(&worker->lock);
	worker->job = job;
	worker->arg = arg;
	worker->phase = WORKING;
	worker->started = true;
	(void)pthread_cond_signal(&worker->changed);
	(void)pthread_mutex_unlock(&worker->lock);
}

int worker_wait(struct worker *worker, struct err *err)
{
	if (!worker->started)
		return 0;
	worker->started = false;
	(void)pthread_mutex_lock(&worker->lock);
	wait_until_idle(worker);
	(void)pthread_mutex_unlock(&worker->lock);
	if (worker->status < 0)
		*err = worker->err;
	return worker->status;
}

bool worker_busy(const struct worker *worker)
{
	return worker->started;
}
