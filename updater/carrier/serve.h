/*
 * serve - the carrier's loop: answers the installer's messages (message.h) from a source.
 *
 * Runs behind the sandbox (sandbox.h) in a process of its own; knows nothing of slots, keys or
 * boot. Memory: the indexes and stores, a container's buffer, a message buffer.
 */
#ifndef ABIDE_UPDATER_CARRIER_SERVE_H
#define ABIDE_UPDATER_CARRIER_SERVE_H

#include "updater/carrier/ring.h"
#include "updater/carrier/source.h"
#include "updater/err.h"

/* Until END is answered or the installer closes: 0. What goes wrong is told to the installer in an
 * ERROR message first, then returned. source_fd: what OPEN without a URL reads. fetcher: for OPEN
 * with one, or NULL. ring: where chunks go; borrowed. */
int serve(int in_fd, int out_fd, int source_fd, const struct source_fetcher *fetcher,
	struct ring_room *ring, struct err *err);

/* Tells the installer about an error from before the loop. */
void serve_error(int out_fd, const struct err *err);

#endif
