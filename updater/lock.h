/*
 * lock - one change at a time. An flock(2) on RUN_DIR/lock: the kernel drops it when the holder
 * dies, however it dies, so there is no stale lock. The file's text says who holds it.
 */
#ifndef ABIDE_UPDATER_LOCK_H
#define ABIDE_UPDATER_LOCK_H

#include "updater/err.h"

struct lock {
	int fd; /* -1 if not held */
};

/* FAIL_STATE naming the holder's command and process id if it is held. `what`: "install", ... */
int lock_take(const char *run_dir, const char *what, struct lock *ret, struct err *err);
void lock_release(struct lock *lock);

#endif
