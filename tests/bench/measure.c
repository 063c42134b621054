/*
 * measure -o FILE [-d DEVICE] [-p PID] COMMAND... - runs the command and adds one line to FILE:
 *
 *	wall s, user and system s, peak RSS KiB, peak anonymous KiB, bytes read, bytes written, context
 *	switches
 *
 * CPU, memory and context switches are those of the command and all it started, and, with -p, of a service that works
 * for it. Memory is a sum over these processes, looked at every 10 ms: shared pages count once for
 * each. Bytes are those of the block device of -d, as the kernel counted them; 0 without.
 * Exits as the command did, and then writes nothing if that is a failure.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAMPLE_MS     10
#define SECTOR        512u /* what /sys counts in, whatever the device's own size */
#define PROCESSES_MAX 256u

struct figures {
	double wall, cpu;
	uint64_t rss, anonymous; /* pages */
	uint64_t read, written; /* sectors */
	uint64_t switches;
};

struct job {
	const char *output, *device; /* "loop0" */
	pid_t service;
	pid_t child;
};

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* it cannot fail */
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t read_file(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	size_t len = 0;

	if (file) {
		len = fread(text, 1, size - 1, file);
		(void)fclose(file); /* it was read only */
	}
	text[len] = '\0';
	return len;
}

/* ---- memory ---- */

static void add_memory(pid_t pid, uint64_t *rss, uint64_t *anonymous)
{
	char path[64], text[128];
	uint64_t size, resident, shared;

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	(void)read_file(path, text, sizeof(text)); /* empty if it has ended */
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &size, &resident, &shared) != 3)
		return;
	*rss += resident;
	*anonymous += resident - shared;
}

/* Adds the children of each thread of 'pid' to the list. */
static size_t add_children(pid_t pid, pid_t *list, size_t count)
{
	char path[64], text[4096];
	char *at = text;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	(void)read_file(path, text, sizeof(text));
	while (count < PROCESSES_MAX) {
		char *end;
		long child = strtol(at, &end, 10);

		if (end == at)
			break;
		list[count++] = (pid_t)child;
		at = end;
	}
	return count;
}

static void sample(const struct job *job, struct figures *figures)
{
	pid_t list[PROCESSES_MAX] = {job->child, job->service};
	size_t count = job->service ? 2 : 1;
	uint64_t rss = 0, anonymous = 0;

	for (size_t i = 0; i < count; i++) {
		add_memory(list[i], &rss, &anonymous);
		count = add_children(list[i], list, count);
	}
	if (rss > figures->rss)
		figures->rss = rss;
	if (anonymous > figures->anonymous)
		figures->anonymous = anonymous;
}

/* ---- time and bytes ---- */

/* What the service and its children that have ended have used. */
static double service_cpu(pid_t pid)
{
	char path[64], text[1024];
	const char *after;
	unsigned long ticks[4];

	if (!pid)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	(void)read_file(path, text, sizeof(text));
	after = strrchr(text, ')'); /* a name may hold anything */
	if (!after ||
		sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %lu %lu",
			&ticks[0], &ticks[1], &ticks[2], &ticks[3]) != 4)
		return 0;
	return (double)(ticks[0] + ticks[1] + ticks[2] + ticks[3]) / (double)sysconf(_SC_CLK_TCK);
}

static double children_cpu(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_CHILDREN, &usage); /* fails for a wrong pointer only */
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t children_switches(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_CHILDREN, &usage); /* as above */
	return (uint64_t)(usage.ru_nvcsw + usage.ru_nivcsw);
}

static void device_sectors(const char *device, uint64_t *read, uint64_t *written)
{
	char path[128], text[512];

	*read = *written = 0;
	if (!device)
		return;
	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/stat", device);
	(void)read_file(path, text, sizeof(text));
	if (sscanf(text, "%*u %*u %" SCNu64 " %*u %*u %*u %" SCNu64, read, written) != 2)
		(void)fprintf(stderr, "measure: '%s' has no counters\n", path);
}

/* ---- one run ---- */

static void count(const struct job *job, struct figures *figures, double sign)
{
	uint64_t read, written;

	device_sectors(job->device, &read, &written);
	figures->read = sign > 0 ? read - figures->read : read;
	figures->written = sign > 0 ? written - figures->written : written;
	figures->switches = children_switches() - (sign > 0 ? figures->switches : 0);
	figures->wall += sign * now();
	figures->cpu += sign * (service_cpu(job->service) + children_cpu());
}

static int run(struct job *job, char **argv, struct figures *figures)
{
	struct pollfd ended = {.events = POLLIN};
	int status;

	count(job, figures, -1);
	job->child = fork();
	if (job->child == 0) {
		(void)execvp(argv[0], argv); /* returns only if it failed */
		_exit(127);
	}
	if (job->child < 0)
		return 125;
	ended.fd = (int)syscall(SYS_pidfd_open, job->child, 0);
	if (ended.fd < 0)
		return 125;
	do
		sample(job, figures);
	while (poll(&ended, 1, SAMPLE_MS) == 0);
	if (waitpid(job->child, &status, 0) != job->child)
		return 125;
	count(job, figures, 1);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int report(const struct job *job, const struct figures *figures)
{
	FILE *file = fopen(job->output, "ae");
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
	int len;

	if (!file)
		return -1;
	len = fprintf(file,
		"%.3f\t%.3f\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n",
		figures->wall, figures->cpu, figures->rss * page, figures->anonymous * page,
		figures->read * SECTOR, figures->written * SECTOR, figures->switches);
	if (fclose(file) != 0)
		return -1;
	return len < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct job job = {0};
	struct figures figures = {0};
	int option, status;

	while ((option = getopt(argc, argv, "+o:d:p:")) != -1) {
		if (option == 'o')
			job.output = optarg;
		else if (option == 'd')
			job.device = strrchr(optarg, '/') ? strrchr(optarg, '/') + 1 : optarg;
		else if (option == 'p')
			job.service = (pid_t)strtol(optarg, NULL, 10);
		else
			return 2;
	}
	if (!job.output || optind == argc)
		return 2;
	status = run(&job, argv + optind, &figures);
	if (status == 0 && report(&job, &figures) < 0) {
		perror(job.output);
		return 125;
	}
	return status;
}
