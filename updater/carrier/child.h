/*
 * child - a process that is only a carrier: sandbox, then serve. Started by spawn.c.
 *
 * Two programs are that: CHILD_FILE_NAME for files and standard input, CHILD_HTTP_NAME for URLs.
 *
 *	argv: the program, user id, group id, id of the installer's process; "-" for both ids where
 *	      the user stays
 *	fds:  0 messages in, 1 messages out, 2 nothing, 3 the source (of a file), 4 the ring
 */
#ifndef ABIDE_UPDATER_CARRIER_CHILD_H
#define ABIDE_UPDATER_CARRIER_CHILD_H

#include "updater/carrier/source.h"

#define CHILD_FILE_NAME "abide-carrier"
#define CHILD_HTTP_NAME "abide-carrier-http"
#define CHILD_ARGS      4
#define CHILD_SOURCE_FD 3
#define CHILD_RING_FD   4

/* fetcher: NULL for files. Returns the exit status: 0 after END, or when the installer closed. */
int child_main(int argc, char **argv, const struct source_fetcher *fetcher);

#endif
