/*
 * worker - a thread that does one job at a time for its owner, so that a disk and a processor are
 * busy at the same time.
 *
 *	worker_new -> { worker_start -> worker_wait }* -> worker_free
 *
 * Between start and wait a job's data is the thread's alone. What the owner wrote before start the
 * job sees, and what the job wrote the owner sees after wait. A job must end by itself: nothing
 * interrupts it. Signals are never delivered to the thread, so that they interrupt the owner's
 * system calls as they would without it.
 *
 * Not to be alive across a fork().
 */
#ifndef ABIDE_UPDATER_WORKER_H
#define ABIDE_UPDATER_WORKER_H

#include <stdbool.h>

#include "updater/err.h"

struct worker;

int worker_new(struct worker **ret, struct err *err);
/* Waits for a job that runs; what it returns is lost. */
void worker_free(struct worker **worker);

/* The one before must have been waited for. */
void worker_start(struct worker *worker, int (*job)(void *arg, struct err *err), void *arg);
/* What the job returned, with its error; 0 if there is none. */
int worker_wait(struct worker *worker, struct err *err);
/* A job was started and not waited for. */
bool worker_busy(const struct worker *worker);

#endif
