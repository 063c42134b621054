#include "updater/health.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "updater/fs.h"
#include "updater/log.h"
#include "updater/mem.h"

struct checks {
	struct dirent **entries;
	int count;
};

static void checks_finish(struct checks *checks)
{
	for (int i = 0; i < checks->count; i++)
		free(checks->entries[i]);
	free(checks->entries);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Bytes, not a locale's idea of order: 10-net comes before 20-app everywhere. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Finds the directory's names in order. A missing directory has none. */
static int checks_list(const char *directory, struct checks *ret, struct err *err)
{
	int count = scandir(directory, &ret->entries, not_hidden, by_name);

	if (count < 0 && errno == ENOENT)
		return 0;
	if (count < 0)
		return err_errno(err, "health checks in '%s'", directory);
	ret->count = count;
	return 0;
}

static bool is_executable_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111);
}

static void describe(
	const struct process_result *result, unsigned int timeout, struct health_report *report)
{
	if (result->timed_out)
		(void)snprintf(report->why, sizeof(report->why), "no end after %u s", timeout);
	else if (result->signal)
		(void)snprintf(
			report->why, sizeof(report->why), "killed by signal %d", result->signal);
	else
		(void)snprintf(
			report->why, sizeof(report->why), "exit status %d", result->exit_status);
	memcpy(report->output, result->output, result->output_len);
	report->output[result->output_len] = '\0';
}

/* True if the check passed; else the report says why not. */
static bool run_check(const char *path, unsigned int timeout, struct health_report *report)
{
	char program[PATH_MAX];
	char *const argv[] = {program, NULL};
	struct process_result result;
	struct err err;

	(void)snprintf(program, sizeof(program), "%s", path); /* as long as path */
	log_debug("health check '%s'", program);
	if (process_run(argv, timeout, &result, &err) < 0) {
		/* A check that cannot run has not shown that the system works. */
		mem_printable(err.msg, strlen(err.msg), report->why, sizeof(report->why));
		return false;
	}
	if (!result.timed_out && result.signal == 0 && result.exit_status == 0)
		return true;
	describe(&result, timeout, report);
	return false;
}

int health_run(
	const char *directory, unsigned int timeout, struct health_report *ret, struct err *err)
{
	CLEANUP(checks_finish) struct checks checks = {0};
	struct health_report report = {.passed = true};

	if (checks_list(directory, &checks, err) < 0)
		return -1;
	for (int i = 0; i < checks.count && report.passed; i++) {
		const char *name = checks.entries[i]->d_name;
		char path[PATH_MAX];

		if (fs_join(directory, name, path, sizeof(path), err) < 0)
			return -1;
		if (!is_executable_file(path))
			continue;
		report.run++;
		report.passed = run_check(path, timeout, &report);
		if (!report.passed)
			mem_printable(name, strlen(name), report.failed, sizeof(report.failed));
	}
	*ret = report;
	return 0;
}
