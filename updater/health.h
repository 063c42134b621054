/*
 * health - whether the running system does its work: the executables of health.d, in name order.
 *
 * Each must exit 0 within the time limit. Names beginning with '.' and files that are not
 * executable are skipped. A missing or empty directory is healthy: the boot itself was the check.
 */
#ifndef ABIDE_UPDATER_HEALTH_H
#define ABIDE_UPDATER_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

#include "updater/err.h"
#include "updater/process.h"

struct health_report {
	size_t run; /* checks that were run, the failed one included */
	bool passed;
	char failed[256]; /* the name of the check that failed */
	char why[128]; /* "exit status 3", "killed by signal 9", "no end after 120 s" */
	char output[PROCESS_OUTPUT_MAX + 1]; /* of the check that failed */
};

/* Stops at the first that fails. A failing check is a success of this call, with passed false. */
int health_run(
	const char *directory, unsigned int timeout, struct health_report *ret, struct err *err);

#endif
