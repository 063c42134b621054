#include "updater/carrier/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "updater/carrier/container.h"
#include "updater/carrier/sandbox.h"
#include "updater/carrier/serve.h"
#include "updater/carrier/source.h"

static bool parse_id(const char *text, unsigned int *ret)
{
	char *end = NULL;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || value >= 0xffffffffu)
		return false;
	*ret = (unsigned int)value;
	return true;
}

static int parse_args(char **argv, struct sandbox *ret, struct err *err)
{
	unsigned int parent = 0;

	if (!parse_id(argv[3], &parent))
		return err_set(err, FAIL_USAGE, "carrier: not for people to start");
	ret->parent = (pid_t)parent;
	ret->change_user = strcmp(argv[1], "-") != 0;
	if (ret->change_user && (!parse_id(argv[1], &ret->uid) || !parse_id(argv[2], &ret->gid)))
		return err_set(err, FAIL_USAGE, "carrier: no such user");
	return 0;
}

int child_main(int argc, char **argv, const struct source_fetcher *fetcher)
{
	struct sandbox sandbox = {.network = fetcher != NULL};
	struct ring_room room = {0};
	struct err err = {0};
	int source = CHILD_SOURCE_FD;

	if (argc != CHILD_ARGS) {
		(void)fprintf(stderr, "%s: started by abide, not by people\n", argv[0]);
		return 2;
	}
	if (parse_args(argv, &sandbox, &err) == 0 && ring_map(CHILD_RING_FD, &room, &err) == 0 &&
		sandbox_drop(&sandbox, &err) == 0) {
		/* Without rights already; but files can still be opened, for the last time. */
		container_prepare();
		if ((!fetcher || fetcher->prepare(&err) == 0) && sandbox_close(&sandbox, &err) == 0)
			return serve(STDIN_FILENO, STDOUT_FILENO, source, fetcher, &room, &err) < 0;
	}
	serve_error(STDOUT_FILENO, &err);
	return 1;
}
