#include "tests/bad_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "updater/mem.h"

#define REQUEST_MAX 8192
#define RANGES_MAX  128u

enum flaw {
	RESET = 1, /* cut the first answer half-way */
	ALWAYS = 2, /* each answer, after a tenth */
	NO_RANGES = 4, /* not announced, not served */
	REFUSED = 8, /* "none" announced */
	CHANGED = 16, /* another ETag from the second answer on */
	WRONG = 32, /* another range */
	BUSY = 64, /* 503 to the second request */
	SHORT = 128, /* closes half-way */
	LONGER = 256,
	DRIP = 512,
	HANG = 1024, /* at once */
	HANG_BODY = 2048, /* half-way */
	ONCE = 4096, /* only the first answer hangs */
	ENCODED = 8192,
	GARBAGE = 16384,
	REDIRECT = 32768,
	CHUNKED = 65536,
	CUT = 131072, /* no last chunk */
	CLOSE = 262144, /* no length */
	EXACT = 524288, /* no more than the range asked for */
	WHOLE = 1048576, /* from the second answer on, these: 200 */
	PARTS = 2097152, /* multipart */
	ENDLESS = 4194304, /* more than the range */
	LATE = 8388608, /* the others of this mode, too */
	NOT_RANGES = 16777216, /* 416 */
	ONE_LESS = 33554432, /* Content-Length */
	LAST = 67108864, /* of Content-Range */
};

/* What is done with several ranges. */
enum parts {
	PARTS_NONE, /* only the first is served */
	PARTS_GOOD,
	PARTS_WHOLE,
	PARTS_REFUSED,
	PARTS_SWAPPED,
	PARTS_JOINED,
	PARTS_FEWER,
	PARTS_MORE,
	PARTS_WRONG,
	PARTS_TOTAL,
	PARTS_CHANGED,
	PARTS_MALFORMED,
	PARTS_ENDLESS,
	PARTS_ENCODED,
	PARTS_CUT,
	PARTS_EMPTY,
};

static const struct mode {
	const char *name;
	unsigned int flaws;
	enum parts parts;
} MODES[] = {
	{"good", 0, PARTS_NONE},
	{"reset-once", RESET, PARTS_NONE},
	{"reset-always", ALWAYS, PARTS_NONE},
	{"reset-no-ranges", RESET | NO_RANGES, PARTS_NONE},
	{"reset-refused", RESET | NO_RANGES | REFUSED, PARTS_NONE},
	{"reset-changed", RESET | CHANGED, PARTS_NONE},
	{"reset-wrong", RESET | WRONG, PARTS_NONE},
	{"reset-busy", RESET | BUSY, PARTS_NONE},
	{"short", SHORT | NO_RANGES, PARTS_NONE},
	{"longer", LONGER, PARTS_NONE},
	{"drip", DRIP, PARTS_NONE},
	{"hang", HANG, PARTS_NONE},
	{"hang-body", HANG_BODY | NO_RANGES, PARTS_NONE},
	{"hang-once", HANG_BODY | ONCE, PARTS_NONE},
	{"encoded", ENCODED, PARTS_NONE},
	{"garbage", GARBAGE, PARTS_NONE},
	{"redirect", REDIRECT, PARTS_NONE},
	{"chunked", CHUNKED | NO_RANGES, PARTS_NONE},
	{"chunked-cut", CHUNKED | CUT | NO_RANGES, PARTS_NONE},
	{"close", CLOSE | NO_RANGES, PARTS_NONE},
	{"range", EXACT, PARTS_NONE},
	{"range-wrong", EXACT | LATE | WRONG, PARTS_NONE},
	{"range-whole", EXACT | WHOLE, PARTS_NONE},
	{"range-changed", EXACT | CHANGED, PARTS_NONE},
	{"range-parts", EXACT | PARTS, PARTS_NONE},
	{"range-endless", EXACT | ENDLESS, PARTS_NONE},
	{"range-encoded", EXACT | LATE | ENCODED, PARTS_NONE},
	{"range-refused", EXACT | NOT_RANGES, PARTS_NONE},
	{"range-gone", EXACT | LATE | NOT_RANGES, PARTS_NONE},
	{"range-short", EXACT | LATE | ONE_LESS, PARTS_NONE},
	{"range-late", EXACT | LATE | LAST, PARTS_NONE},
	{"parts", EXACT, PARTS_GOOD},
	{"parts-whole", EXACT, PARTS_WHOLE},
	{"parts-refused", EXACT, PARTS_REFUSED},
	{"parts-swapped", EXACT, PARTS_SWAPPED},
	{"parts-joined", EXACT, PARTS_JOINED},
	{"parts-fewer", EXACT, PARTS_FEWER},
	{"parts-more", EXACT, PARTS_MORE},
	{"parts-wrong", EXACT, PARTS_WRONG},
	{"parts-total", EXACT, PARTS_TOTAL},
	{"parts-changed", EXACT, PARTS_CHANGED},
	{"parts-malformed", EXACT, PARTS_MALFORMED},
	{"parts-endless", EXACT, PARTS_ENDLESS},
	{"parts-encoded", EXACT, PARTS_ENCODED},
	{"parts-cut", EXACT, PARTS_CUT},
	{"parts-empty", EXACT, PARTS_EMPTY},
};

struct range {
	size_t start;
	size_t end; /* exclusive */
};

struct request {
	bool ranged;
	size_t start;
	size_t end; /* exclusive; 0: not said */
	struct range ranges[RANGES_MAX]; /* where there are several */
	size_t count;
	char if_range[64];
};

static void nap(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)nanosleep(&t, NULL);
}

static bool send_bytes(int fd, const void *data, size_t len)
{
	const char *from = data;

	while (len > 0) {
		ssize_t n = send(fd, from, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		from += n;
		len -= (size_t)n;
	}
	return true;
}

static void read_ranges(const char *text, struct request *ret)
{
	char *end = NULL;

	while (ret->count < RANGES_MAX) {
		struct range *range = &ret->ranges[ret->count++];

		range->start = strtoul(text, &end, 10);
		if (end[0] != '-')
			break;
		range->end = strtoul(end + 1, &end, 10) + 1;
		if (end[0] != ',')
			break;
		text = end + 1;
	}
}

static bool read_request(int fd, struct request *ret)
{
	char text[REQUEST_MAX + 1] = "";
	size_t len = 0;
	const char *field;

	*ret = (struct request){0};
	while (!strstr(text, "\r\n\r\n")) {
		ssize_t n = recv(fd, text + len, REQUEST_MAX - len, 0);

		if (n <= 0)
			return false;
		len += (size_t)n;
		text[len] = '\0';
	}
	field = strstr(text, "\r\nRange: bytes=");
	if (field) {
		ret->ranged = true;
		char *dash = NULL;

		ret->start = strtoul(field + strlen("\r\nRange: bytes="), &dash, 10);
		ret->end = dash[0] == '-' && dash[1] != '\r' ? strtoul(dash + 1, NULL, 10) + 1 : 0;
		read_ranges(field + strlen("\r\nRange: bytes="), ret);
	}
	field = strstr(text, "\r\nIf-Range: ");
	if (field)
		(void)sscanf(field + strlen("\r\nIf-Range: "), "%63[^\r]", ret->if_range);
	return true;
}

/* Until the client gives up. */
static void wait_for_close(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};

	while (poll(&poll_fd, 1, 1000) == 0)
		;
}

static void reset(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	nap(100); /* what was sent should arrive: the reset takes what is still on its way */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static bool send_drip(int fd, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len; at += 10) {
		if (!send_bytes(fd, data + at, len - at < 10 ? len - at : 10))
			return false;
		nap(100);
	}
	return true;
}

static void send_chunked(int fd, const uint8_t *data, size_t len, bool cut)
{
	char head[32];

	for (size_t at = 0; at < len; at += 4000) {
		size_t n = len - at < 4000 ? len - at : 4000;

		(void)snprintf(head, sizeof(head), "%zx\r\n", n);
		if (!send_bytes(fd, head, strlen(head)) || !send_bytes(fd, data + at, n) ||
			!send_bytes(fd, "\r\n", 2))
			return;
	}
	if (!cut)
		(void)send_bytes(fd, "0\r\n\r\n", 5);
}

static void send_body(
	const struct bad_server *server, unsigned int flaws, bool first, size_t start, int fd)
{
	const uint8_t *data = server->data + start;
	size_t len = server->len - start;
	size_t half = server->len / 2;

	if (flaws & ALWAYS || (first && flaws & RESET)) {
		size_t part = flaws & ALWAYS ? server->len / 10 : half;

		(void)send_bytes(fd, data, part < len ? part : len);
		reset(fd);
	} else if (flaws & SHORT) {
		(void)send_bytes(fd, data, len / 2);
	} else if (flaws & HANG_BODY && (first || !(flaws & ONCE))) {
		if (send_bytes(fd, data, half < len ? half : len))
			wait_for_close(fd);
	} else if (flaws & DRIP) {
		(void)send_drip(fd, data, len);
	} else if (flaws & CHUNKED) {
		send_chunked(fd, data, len, flaws & CUT);
	} else if (send_bytes(fd, data, len) && flaws & LONGER) {
		(void)send_bytes(fd, server->data, server->len < 1000 ? server->len : 1000);
	}
}

/* ---- several ranges ---- */

static void spoil_ranges(enum parts parts, struct request *request)
{
	struct range first = request->ranges[0];

	if (parts == PARTS_SWAPPED) {
		request->ranges[0] = request->ranges[1];
		request->ranges[1] = first;
	} else if (parts == PARTS_JOINED) {
		request->ranges[0].end = request->ranges[1].end;
		request->count--;
		memmove(request->ranges + 1, request->ranges + 2,
			(request->count - 1) * sizeof(request->ranges[0]));
	} else if (parts == PARTS_FEWER) {
		request->count--;
	} else if (parts == PARTS_MORE && request->count < RANGES_MAX) {
		request->ranges[request->count] = request->ranges[request->count - 1];
		request->count++;
	} else if (parts == PARTS_WRONG) {
		request->ranges[1].start++;
	}
}

static bool send_part(
	const struct bad_server *server, enum parts parts, const struct range *range, int fd)
{
	const char *boundary = parts == PARTS_MALFORMED ? "other" : "part";
	size_t len = range->end - range->start;
	char head[256];

	(void)snprintf(head, sizeof(head),
		"\r\n--%s\r\nContent-Type: a/b\r\n%sContent-Range: bytes %zu-%zu/%zu\r\n\r\n",
		boundary, parts == PARTS_ENCODED ? "Content-Encoding: gzip\r\n" : "", range->start,
		range->end - 1, server->len + (parts == PARTS_TOTAL));
	if (!send_bytes(fd, head, strlen(head)))
		return false;
	return send_bytes(fd, server->data + range->start, parts == PARTS_CUT ? len / 2 : len);
}

/* Without a length: the connection's end is the body's. */
static void answer_parts(
	const struct bad_server *server, enum parts parts, struct request *request, int fd)
{
	static const char ANSWER_416[] = "HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n";
	char head[256];

	if (parts == PARTS_REFUSED) {
		(void)send_bytes(fd, ANSWER_416, strlen(ANSWER_416));
		return;
	}
	(void)snprintf(head, sizeof(head),
		"HTTP/1.1 206 Partial Content\r\nETag: %s\r\nConnection: close\r\n"
		"Content-Type: multipart/byteranges; boundary=part\r\n\r\n",
		parts == PARTS_CHANGED ? "\"two\"" : "\"one\"");
	if (!send_bytes(fd, head, strlen(head)) || parts == PARTS_EMPTY)
		return;
	spoil_ranges(parts, request);
	for (size_t i = 0; i < request->count; i++) {
		if (!send_part(server, parts, &request->ranges[i], fd))
			return;
		while (parts == PARTS_ENDLESS)
			if (!send_bytes(fd, "more", 4))
				return;
		if (parts == PARTS_CUT) {
			reset(fd);
			return;
		}
	}
	(void)send_bytes(fd, "\r\n--part--\r\n", 12);
}

/* As asked, in the second answer with the flaw of the mode. */
static void answer_exactly(const struct bad_server *server, unsigned int flaws, unsigned int number,
	const struct request *request, int fd)
{
	unsigned int now = number > 1 ? flaws : EXACT;
	size_t end = request->end && request->end < server->len ? request->end : server->len;
	size_t start = request->ranged ? request->start : 0;
	bool whole = !request->ranged || now & WHOLE;
	char head[1024];
	char range[96] = "";

	if (whole)
		start = 0;
	if (whole || now & ENDLESS)
		end = server->len;
	if (!whole && !(now & PARTS))
		(void)snprintf(range, sizeof(range), "Content-Range: bytes %zu-%zu/%zu\r\n",
			start + (now & WRONG ? 1 : 0), end - (now & LAST ? 2 : 1), server->len);
	(void)snprintf(head, sizeof(head),
		"HTTP/1.1 %s\r\nETag: %s\r\nConnection: close\r\nContent-Length: %zu\r\n%s%s%s\r\n",
		whole ? "200 OK" : "206 Partial Content", now & CHANGED ? "\"two\"" : "\"one\"",
		end - start - (now & ONE_LESS ? 1 : 0), range,
		now & PARTS ? "Content-Type: multipart/byteranges; boundary=x\r\n" : "",
		now & ENCODED ? "Content-Encoding: gzip\r\n" : "");
	if (send_bytes(fd, head, strlen(head)))
		(void)send_bytes(fd, server->data + start, end - start);
}

/* The answers that are no file and no part of one. False: it is to be one. */
static bool answer_without_file(const struct bad_server *server, unsigned int flaws,
	unsigned int number, const struct request *request, int fd)
{
	char head[1024];

	if (flaws & NOT_RANGES && request->ranged && !(number == 1 && flaws & LATE))
		(void)snprintf(head, sizeof(head),
			"HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	else if (flaws & GARBAGE)
		(void)snprintf(head, sizeof(head), "220 mail.example.com ESMTP\r\n");
	else if (flaws & REDIRECT || (number == 2 && flaws & BUSY))
		(void)snprintf(head, sizeof(head),
			"HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 0\r\n"
			"Connection: close\r\n\r\n",
			flaws & REDIRECT ? "302 Found" : "503 Busy", server->argument);
	else
		return false;
	(void)send_bytes(fd, head, strlen(head));
	return true;
}

/* The file from where it was asked for. */
static void answer_file(const struct bad_server *server, unsigned int flaws, unsigned int number,
	const struct request *request, int fd)
{
	const char *etag = number > 1 && flaws & CHANGED ? "\"two\"" : "\"one\"";
	size_t start = 0;
	char head[1024];
	int n;

	if (request->ranged && !(flaws & NO_RANGES) && request->start < server->len &&
		(!request->if_range[0] || strcmp(request->if_range, etag) == 0))
		start = request->start;
	n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nETag: %s\r\nConnection: close\r\n%s%s%s",
		start ? "206 Partial Content" : "200 OK", etag,
		flaws & REFUSED ? "Accept-Ranges: none\r\n" : "",
		flaws & NO_RANGES ? "" : "Accept-Ranges: bytes\r\n",
		flaws & ENCODED ? "Content-Encoding: gzip\r\n" : "");
	if (start)
		n += snprintf(head + n, sizeof(head) - (size_t)n,
			"Content-Range: bytes %zu-%zu/%zu\r\n", start + (flaws & WRONG ? 1 : 0),
			server->len - 1, server->len);
	if (flaws & CHUNKED)
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Transfer-Encoding: chunked\r\n");
	else if (!(flaws & CLOSE))
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n",
			server->len - start);
	n += snprintf(head + n, sizeof(head) - (size_t)n, "\r\n");
	if (send_bytes(fd, head, (size_t)n))
		send_body(server, flaws, number == 1, start, fd);
}

static void answer(const struct bad_server *server, const struct mode *mode, unsigned int number,
	int fd, bool *spoilt)
{
	unsigned int flaws = mode->flaws;
	struct request request;

	if (!read_request(fd, &request) || answer_without_file(server, flaws, number, &request, fd))
		return;
	if (request.count > 1 && mode->parts != PARTS_NONE && mode->parts != PARTS_WHOLE) {
		bool good = mode->parts == PARTS_CUT && *spoilt;

		*spoilt = true;
		answer_parts(server, good ? PARTS_GOOD : mode->parts, &request, fd);
		return;
	}
	if (request.count > 1 && mode->parts == PARTS_WHOLE)
		flaws |= WHOLE;
	if (flaws & EXACT)
		answer_exactly(server, flaws, number, &request, fd);
	else if (flaws & HANG)
		wait_for_close(fd);
	else
		answer_file(server, flaws, number, &request, fd);
}

int bad_server_listen(unsigned int *ret_port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 8) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
		(void)close(fd);
		return -1;
	}
	*ret_port = ntohs(address.sin_port);
	return fd;
}

void bad_server_run(const struct bad_server *server, int fd)
{
	size_t mode = 0;
	bool spoilt = false;

	while (mode < ARRAY_LEN(MODES) && strcmp(MODES[mode].name, server->mode) != 0)
		mode++;
	if (mode == ARRAY_LEN(MODES))
		return;
	for (unsigned int number = 1;; number++) {
		int connection = accept(fd, NULL, NULL);

		if (connection < 0)
			continue;
		answer(server, &MODES[mode], number, connection, &spoilt);
		(void)close(connection);
	}
}
