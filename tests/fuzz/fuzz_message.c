/* Input: a mode (1 byte), then
 *	even  a length (2 bytes), an installer's messages of that length, and a container: the whole
 *	      loop of serve.c answers them
 *	odd   a carrier's messages, read as the installer reads them: no payload longer than the
 *	      table of message.h, no text that is not printable */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "updater/carrier/message.h"
#include "updater/carrier/serve.h"
#include "updater/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_of(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct err err;

	if (fd < 0 || fs_write_full(fd, "memory", data, size, &err) < 0 ||
		lseek(fd, 0, SEEK_SET) < 0)
		abort();
	return fd;
}

static void serve_installer(const uint8_t *data, size_t size)
{
	CLEANUP(cleanup_fd) int requests = -1;
	CLEANUP(cleanup_fd) int answers = -1;
	CLEANUP(cleanup_fd) int source = -1;
	static uint8_t ring[RING_SIZE];
	struct ring_room room = ring_room(ring);
	size_t len;
	struct err err;

	if (size < 2)
		return;
	len = le16_get(data);
	if (len > size - 2)
		return;
	requests = file_of(data + 2, len);
	source = file_of(data + 2 + len, size - 2 - len);
	answers = file_of(data, 0);
	(void)serve(requests, answers, source, NULL, &room, &err);
}

static void check_error(const uint8_t *payload, size_t len)
{
	struct err err;

	if (!message_parse_error(payload, len, &err))
		return;
	for (const char *c = err.msg; *c; c++)
		if (*c < ' ' || *c > '~')
			abort();
}

static void read_carrier(const uint8_t *data, size_t size)
{
	CLEANUP(cleanup_fd) int fd = file_of(data, size);
	struct message_reader reader;
	struct message message;
	struct err err;

	if (message_reader_init(&reader, fd, MESSAGE_FROM_CARRIER, &err) < 0)
		return;
	while (message_next(&reader, &message, &err) == 0) {
		CLEANUP(cleanup_free) uint8_t *payload = NULL;

		if (message.len > size)
			break; /* cannot be there: do not allocate for it */
		payload = malloc(message.len + 1u);
		if (!payload || message_payload(&reader, payload, message.len, &err) < 0)
			break;
		if (message.type == MESSAGE_ERROR)
			check_error(payload, message.len);
		if (message.type == MESSAGE_OPEN || message.type == MESSAGE_WANT)
			abort(); /* never a carrier's */
	}
	message_reader_finish(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message_open open;
	struct err err;

	if (size < 1)
		return 0;
	if (message_parse_open(data + 1, size - 1, &open, &err) == 0)
		message_open_finish(&open);
	if (data[0] % 2 == 0)
		serve_installer(data + 1, size - 1);
	else
		read_carrier(data + 1, size - 1);
	return 0;
}
