/*
 * resign - the same artifact with another signature: manifest, indexes, stores and data go over
 * byte for byte, so the artifact id stays.
 */
#ifndef ABIDE_IMAGE_RESIGN_H
#define ABIDE_IMAGE_RESIGN_H

#include <signal.h>
#include <stdbool.h>

#include "updater/digest.h"
#include "updater/err.h"

struct resign_options {
	const char *bundle;
	const char *output; /* NULL: in place */
	const char *key; /* PEM */
	const char *cert; /* PEM */
	const char *chain; /* PEM, or NULL */
	bool replace; /* drop the signatures that are there */
	const volatile sig_atomic_t *interrupted; /* or NULL */
};

/* FAIL_UNTRUSTED if the bundle is not whole or, without `replace`, has a wrong signature;
 * FAIL_STATE if this signer has signed it already. */
int resign_run(const struct resign_options *options, struct digest *ret_id, struct err *err);

#endif
