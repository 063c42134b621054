/*
 * child - a process that is only a carrier: sandbox, then serve. Started by updater/carrier.c.
 *
 *	argv: CHILD_NAME, "file" or "url", user id, group id, id of the installer's process;
 *	      "-" for both ids where the user stays
 *	fds:  0 messages in, 1 messages out, 2 nothing, 3 the source (of a "file"), 4 the ring
 */
#ifndef ABIDE_UPDATER_CARRIER_CHILD_H
#define ABIDE_UPDATER_CARRIER_CHILD_H

#define CHILD_NAME      "abide-carrier"
#define CHILD_ARGS      5
#define CHILD_SOURCE_FD 3
#define CHILD_RING_FD   4

/* Returns the exit status: 0 after END, or when the installer closed. */
int child_main(int argc, char **argv);

#endif
