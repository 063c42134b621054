/* badserver MODE FILE [LOCATION] - serves FILE on a free port of 127.0.0.1 in one of the bad ways of
 * tests/bad_server.h, whatever path is asked for. Prints the port in one line; ends when killed, or
 * with the program that started it. */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "tests/bad_server.h"
#include "updater/fs.h"

int main(int argc, char **argv)
{
	CLEANUP(bytes_finish) struct bytes file = {0};
	struct bad_server server = {0};
	struct err err = {0};
	unsigned int port = 0;
	int fd;

	if (argc < 3) {
		(void)fprintf(stderr, "usage: badserver MODE FILE [LOCATION]\n");
		return 2;
	}
	if (fs_read_file(argv[2], SIZE_MAX / 4, &file, &err) < 0) {
		(void)fprintf(stderr, "badserver: %s\n", err.msg);
		return 1;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	server.mode = argv[1];
	server.argument = argc > 3 ? argv[3] : "/";
	server.data = file.data;
	server.len = file.len;
	fd = bad_server_listen(&port);
	if (fd < 0) {
		perror("badserver");
		return 1;
	}
	(void)printf("%u\n", port);
	(void)fflush(stdout);
	bad_server_run(&server, fd);
	(void)fprintf(stderr, "badserver: no mode '%s'\n", argv[1]);
	return 2;
}
