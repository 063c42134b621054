/* worker: what a job says is what its owner hears, and nothing outlives worker_free(). */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "updater/worker.h"

struct task {
	unsigned int runs;
	int status;
	bool slow;
	sigset_t mask;
};

static int run(void *arg, struct err *err)
{
	const struct timespec nap = {.tv_nsec = 30 * 1000 * 1000};
	struct task *task = arg;

	if (task->slow)
		(void)nanosleep(&nap, NULL);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &task->mask);
	task->runs++;
	return task->status < 0 ? err_set(err, FAIL_IO, "job %u", task->runs) : 0;
}

static void test_worker__each_job_is_done_once(void **state)
{
	struct task task = {0};
	struct worker *worker = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(worker_new(&worker, &err), 0);
	assert_int_equal(worker_wait(worker, &err), 0); /* nothing to wait for */
	for (unsigned int i = 1; i <= 1000; i++) {
		worker_start(worker, run, &task);
		assert_true(worker_busy(worker));
		assert_int_equal(worker_wait(worker, &err), 0);
		assert_false(worker_busy(worker));
		assert_int_equal(task.runs, i);
	}
	worker_free(&worker);
	assert_null(worker);
	worker_free(&worker);
}

static void test_worker__an_error_is_told_once(void **state)
{
	struct task task = {.status = -1};
	struct worker *worker = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(worker_new(&worker, &err), 0);
	worker_start(worker, run, &task);
	assert_int_equal(worker_wait(worker, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_string_equal(err.msg, "job 1");
	assert_int_equal(worker_wait(worker, &err), 0);
	task.status = 0;
	worker_start(worker, run, &task);
	assert_int_equal(worker_wait(worker, &err), 0);
	worker_free(&worker);
}

static void test_worker__free_waits_for_the_job(void **state)
{
	struct task task = {.slow = true, .status = -1};
	struct worker *worker = NULL;
	struct err err = {0};

	(void)state;
	assert_int_equal(worker_new(&worker, &err), 0);
	worker_start(worker, run, &task);
	worker_free(&worker);
	assert_int_equal(task.runs, 1);
}

static void test_worker__signals_are_the_owners(void **state)
{
	struct task task = {0};
	struct worker *worker = NULL;
	struct err err = {0};
	sigset_t mine;

	(void)state;
	assert_int_equal(worker_new(&worker, &err), 0);
	worker_start(worker, run, &task);
	assert_int_equal(worker_wait(worker, &err), 0);
	assert_int_equal(sigismember(&task.mask, SIGINT), 1);
	assert_int_equal(sigismember(&task.mask, SIGTERM), 1);
	assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
	assert_int_equal(sigismember(&mine, SIGINT), 0);
	worker_free(&worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worker__each_job_is_done_once),
		cmocka_unit_test(test_worker__an_error_is_told_once),
		cmocka_unit_test(test_worker__free_waits_for_the_job),
		cmocka_unit_test(test_worker__signals_are_the_owners),
	};

	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
