/*
 * spawn - start the carrier's process, and end it.
 *
 * The carrier is a program of its own: `abide-carrier`, or for a URL `abide-carrier-http`. It shares
 * with the installer the memory that chunks pass through (ring.h) and no other, and the installer's
 * process holds no code that parses what is untrusted (HTTP, TLS, tar, zstd).
 */
#ifndef ABIDE_UPDATER_CARRIER_SPAWN_H
#define ABIDE_UPDATER_CARRIER_SPAWN_H

#include <sys/types.h>

#include "updater/carrier/ring.h"
#include "updater/carrier/sandbox.h"
#include "updater/err.h"

struct spawned {
	pid_t pid; /* -1: reaped */
	int requests; /* a socket, so that writing to a dead child raises no SIGPIPE; non-blocking
		       */
	int answers; /* a pipe; non-blocking */
	struct ring ring;
};

struct spawn {
	const char *user; /* see sandbox_find_user() */
	int source; /* borrowed; -1: a URL */
	/* tests: instead of the program */
	int (*impostor)(int in_fd, int out_fd, struct ring_room *room, void *arg);
	void *impostor_arg;
};

int spawn_carrier(const struct spawn *spawn, struct spawned *ret, struct err *err);
/* Gives a child that closed its pipe a moment to be gone, says how it ended, and reaps it. Always
 * returns -1 with FAIL_IO. */
int spawned_explain(struct spawned *spawned, struct err *err);
/* Closes the pipes, kills the child if it is still there, reaps it. */
void spawned_finish(struct spawned *spawned);

#endif
