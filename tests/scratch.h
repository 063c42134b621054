/*
 * scratch - a directory of its own for each test, and loop devices; gone afterwards, also when the
 * test failed, if scratch_setup and scratch_teardown are the test's fixtures:
 *
 *	cmocka_unit_test_setup_teardown(test_x__y, scratch_setup, scratch_teardown)
 *
 * *state is then a `struct scratch`.
 */
#ifndef ABIDE_TESTS_SCRATCH_H
#define ABIDE_TESTS_SCRATCH_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define SCRATCH_LOOPS 4

struct scratch {
	char dir[PATH_MAX / 4];
	char loop[SCRATCH_LOOPS][32]; /* "/dev/loopN", or "" */
};

/* ABIDE_TEST_EVERY=N in the environment: a test that goes through thousands of cases looks at each Nth of
 * them. 1 where it is not set: every one. */
unsigned int scratch_every(void);

int scratch_setup(void **state);
int scratch_teardown(void **state);

/* dir/name. Good until the test's end; at most a handful are kept. */
const char *scratch_path(struct scratch *scratch, const char *name);
/* The same, in the directory of the test that runs. */
const char *scratch_here(const char *name);
/* Makes dir/name with `size` bytes of a pattern that differs from block to block. */
const char *scratch_file(struct scratch *scratch, const char *name, size_t size);
/* A loop device over a file, removed at the end. Skips the test where there are none. */
const char *scratch_loop(struct scratch *scratch, const char *path);

#endif
