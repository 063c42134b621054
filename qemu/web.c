#include "qemu/web.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

#define START_TRIES 100
#define START_WAIT  50000000L /* ns */

struct web {
	pid_t pid;
	uint16_t port;
};

/* One process, so that the child we know is all there is to end. */
static const char CONFIG[] = "daemon off;\n"
			     "master_process off;\n"
			     "pid nginx.pid;\n"
			     "events {}\n"
			     "http {\n"
			     "  access_log access.log;\n"
			     "  client_body_temp_path temp;\n"
			     "  proxy_temp_path temp;\n"
			     "  fastcgi_temp_path temp;\n"
			     "  uwsgi_temp_path temp;\n"
			     "  scgi_temp_path temp;\n"
			     "  server {\n"
			     "    listen 127.0.0.1:%u;\n"
			     "    root %s;\n"
			     "    location /slow/ { alias %s/; limit_rate 3m; }\n"
			     "  }\n"
			     "}\n";

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
	};
}

/* The kernel's choice; free again when nginx takes it, unless somebody is faster. */
static int choose_port(uint16_t *ret, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = loopback(0);
	socklen_t len = sizeof(address);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, len) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		return err_errno(err, "find a free port");
	*ret = ntohs(address.sin_port);
	return 0;
}

static bool answers(uint16_t port)
{
	CLEANUP(cleanup_fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = loopback(port);

	return fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

static int wait_until_it_answers(const struct web *web, const char *work, struct err *err)
{
	const struct timespec pause = {.tv_nsec = START_WAIT};

	for (int i = 0; i < START_TRIES; i++) {
		if (waitpid(web->pid, NULL, WNOHANG) != 0)
			break;
		if (answers(web->port))
			return 0;
		(void)nanosleep(&pause, NULL); /* cut short by a signal: asks sooner */
	}
	return err_set(err, FAIL_IO, "nginx does not answer: see '%s/error.log'", work);
}

static int spawn(struct web *web, const char *work, struct err *err)
{
	web->pid = fork();
	if (web->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* cannot fail with a valid signal */
		(void)execlp("nginx", "nginx", "-e", "error.log", "-p", work, "-c", "nginx.conf",
			(char *)NULL);
		_exit(127);
	}
	if (web->pid < 0)
		return err_errno(err, "start nginx");
	return wait_until_it_answers(web, work, err);
}

int web_start(const char *root, const char *work, struct web **ret, struct err *err)
{
	CLEANUP(web_stop) struct web *web = NULL;
	char config[sizeof(CONFIG) + 2 * PATH_MAX + 16], path[PATH_MAX];
	void *p = NULL;
	int len;

	if (mem_alloc(sizeof(*web), &p, err) < 0)
		return -1;
	web = p;
	web->pid = -1;
	if (choose_port(&web->port, err) < 0 || fs_make_dirs(work, 0755, err) < 0 ||
		fs_join(work, "nginx.conf", path, sizeof(path), err) < 0)
		return -1;
	len = snprintf(config, sizeof(config), CONFIG, (unsigned int)web->port, root, root);
	if (fs_replace_file(path, config, (size_t)len, 0644, err) < 0 || spawn(web, work, err) < 0)
		return -1;
	*ret = steal_ptr(&web);
	return 0;
}

uint16_t web_port(const struct web *web)
{
	return web->port;
}

void web_stop(struct web **web)
{
	if (!web || !*web)
		return;
	if ((*web)->pid > 0) {
		(void)kill((*web)->pid, SIGKILL); /* our own child */
		(void)waitpid((*web)->pid, NULL, 0);
	}
	free(*web);
	*web = NULL;
}
