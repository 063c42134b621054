/*
 * slowlink PORT SERVER-PORT RATE DELAY PPM SEED - a line between a client and a server on loopback.
 *
 * Passes at most RATE bytes a second to the client, over all connections together, each byte DELAY ms
 * late in each direction; a new connection waits a round trip more, as a handshake would. Of the new
 * connections PPM in a million are reset at once, and so is each connection with that probability for
 * every MiB that it passes. The same SEED cuts at the same bytes. What it leaves out: TCP's slow start
 * and its reaction to loss; for measuring, not for security.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 32u
#define SEGMENTS    64u
#define SEGMENT_LEN 8192u
#define MIB         1048576.0
#define AHEAD       0.02 /* s of the line's time that are read from the server in advance */

struct segment {
	double due;
	size_t len, done;
	uint8_t bytes[SEGMENT_LEN];
};

/* One direction of a connection: what was read and is not due yet. */
struct flow {
	int from, to;
	size_t first, count;
	bool ended;
	struct segment segments[SEGMENTS];
};

struct connection {
	bool used;
	double opened;
	struct flow up, down;
};

struct line {
	double rate, delay, chance; /* bytes/s, s, per MiB */
	double free_at; /* when the last byte that was put on it has left */
	uint64_t random;
	uint16_t server;
	int listener;
	struct connection connections[CONNECTIONS];
};

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t); /* it cannot fail */
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Vigna's xorshift64*, "An experimental exploration of Marsaglia's xorshift generators", 2016. */
static bool falls(struct line *line, double chance)
{
	line->random ^= line->random >> 12;
	line->random ^= line->random << 25;
	line->random ^= line->random >> 27;
	return (double)((line->random * UINT64_C(2685821657736338717)) >> 11) / 9007199254740992.0 <
	       chance;
}

/* ---- sockets ---- */

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
		return -1;
	return fd;
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 131072;

	/* Else the server has sent, and logged, megabytes that never get onto the line. */
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0 &&
		connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd); /* nothing was sent */
	return -1;
}

/* With a reset: what is in flight is lost, as on a line that is cut. */
static void cut(int fd)
{
	const struct linger at_once = {.l_onoff = 1};

	(void)setsockopt(
		fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* else it ends softly */
	(void)close(fd);
}

static void connection_cut(struct connection *connection)
{
	cut(connection->down.to);
	cut(connection->up.to);
	connection->used = false;
}

/* The server has closed it, and all is passed on. */
static void connection_end(struct connection *connection)
{
	(void)close(connection->down.to); /* what is in its buffer still arrives */
	(void)close(connection->up.to);
	connection->used = false;
}

static void line_accept(struct line *line)
{
	int client = accept4(line->listener, NULL, NULL, SOCK_CLOEXEC), server;
	struct connection *connection = NULL;

	if (client < 0)
		return;
	for (size_t i = 0; i < CONNECTIONS && !connection; i++)
		if (!line->connections[i].used)
			connection = &line->connections[i];
	server = !connection || falls(line, line->chance) ? -1 : connect_to(line->server);
	if (server < 0) {
		cut(client);
		return;
	}
	*connection = (struct connection){.used = true,
		.opened = now(),
		.up = {.from = client, .to = server},
		.down = {.from = server, .to = client}};
}

/* ---- one direction ---- */

static bool flow_wants(const struct line *line, const struct connection *connection, bool down)
{
	const struct flow *flow = down ? &connection->down : &connection->up;

	return !flow->ended && flow->count < SEGMENTS && (!down || line->free_at < now() + AHEAD);
}

/* When a segment that is read now comes out at the other end. */
static double due(struct line *line, const struct connection *connection, size_t len, bool down)
{
	double leaves = now();

	if (!down)
		return (leaves > connection->opened + 2 * line->delay
				       ? leaves
				       : connection->opened + 2 * line->delay) +
		       line->delay;
	if (line->free_at > leaves)
		leaves = line->free_at;
	line->free_at = leaves + (double)len / line->rate;
	return line->free_at + line->delay;
}

static void flow_read(struct line *line, struct connection *connection, bool down)
{
	struct flow *flow = down ? &connection->down : &connection->up;
	struct segment *segment = &flow->segments[(flow->first + flow->count) % SEGMENTS];
	ssize_t len = recv(flow->from, segment->bytes, sizeof(segment->bytes), MSG_DONTWAIT);

	if (len <= 0) {
		flow->ended = true;
		return;
	}
	segment->len = (size_t)len;
	segment->done = 0;
	segment->due = due(line, connection, segment->len, down);
	flow->count++;
}

/* False if the connection was cut. */
static bool flow_write(struct line *line, struct connection *connection, bool down)
{
	struct flow *flow = down ? &connection->down : &connection->up;

	while (flow->count > 0 && flow->segments[flow->first].due <= now()) {
		struct segment *segment = &flow->segments[flow->first];
		ssize_t len;

		if (down && segment->done == 0 &&
			falls(line, line->chance * (double)segment->len / MIB))
			return false;
		len = send(flow->to, segment->bytes + segment->done, segment->len - segment->done,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (len < 0)
			break; /* it is full, or gone: the reading end finds out */
		segment->done += (size_t)len;
		if (segment->done < segment->len)
			break;
		flow->first = (flow->first + 1) % SEGMENTS;
		flow->count--;
	}
	return true;
}

/* ---- all of it ---- */

static void connection_step(struct line *line, struct connection *connection, short up, short down)
{
	if (up)
		flow_read(line, connection, false);
	if (down)
		flow_read(line, connection, true);
	if (!flow_write(line, connection, false) || !flow_write(line, connection, true) ||
		connection->up.ended)
		connection_cut(connection);
	else if (connection->down.ended && connection->down.count == 0)
		connection_end(connection);
}

static void line_step(struct line *line)
{
	struct pollfd polled[1 + 2 * CONNECTIONS];

	polled[0] = (struct pollfd){.fd = line->listener, .events = POLLIN};
	for (size_t i = 0; i < CONNECTIONS; i++) {
		const struct connection *c = &line->connections[i];
		bool up = c->used && flow_wants(line, c, false);
		bool down = c->used && flow_wants(line, c, true);

		polled[1 + 2 * i] = (struct pollfd){.fd = up ? c->up.from : -1, .events = POLLIN};
		polled[2 + 2 * i] =
			(struct pollfd){.fd = down ? c->down.from : -1, .events = POLLIN};
	}
	if (poll(polled, 1 + 2 * CONNECTIONS, 2) < 0)
		return;
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (line->connections[i].used)
			connection_step(line, &line->connections[i], polled[1 + 2 * i].revents,
				polled[2 + 2 * i].revents);
	if (polled[0].revents)
		line_accept(line);
}

int main(int argc, char **argv)
{
	static struct line line; /* megabytes */

	if (argc != 7)
		return 2;
	line.listener = listen_on((uint16_t)strtoul(argv[1], NULL, 10));
	line.server = (uint16_t)strtoul(argv[2], NULL, 10);
	line.rate = strtod(argv[3], NULL);
	line.delay = strtod(argv[4], NULL) / 1000;
	line.chance = strtod(argv[5], NULL) / 1e6;
	line.random = strtoull(argv[6], NULL, 10) * 2 + 1;
	if (line.listener < 0 || line.rate <= 0) {
		perror("slowlink");
		return 1;
	}
	(void)signal(SIGPIPE, SIG_IGN); /* send says it too */
	for (;;)
		line_step(&line);
}
