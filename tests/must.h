/* must - what has to succeed: the test that calls it fails otherwise, and says why. */
#ifndef ABIDE_TESTS_MUST_H
#define ABIDE_TESTS_MUST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "updater/err.h"

static inline void must(int result, const struct err *err)
{
	if (result < 0)
		fail_msg("%s", err->msg);
}

#endif
