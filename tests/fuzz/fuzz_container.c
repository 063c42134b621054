/* Input: a container. Every member is entered; of its content a part is borrowed, a part skipped,
 * and small ones are read whole, as serve.c does. Looks for reads past the buffer, for members where
 * none may be, and for ends that are not the end.
 *
 * The checksums of headers are put right first: else hardly a mutation would get past them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "updater/carrier/container.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	struct source base;
	const uint8_t *data;
	size_t len;
	size_t at;
};

static int input_read(
	struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	struct input *input = (struct input *)source;
	size_t n = input->len - input->at < cap ? input->len - input->at : cap;

	(void)err;
	memcpy(buf, input->data + input->at, n);
	input->at += n;
	*ret_len = n;
	return 0;
}

static void input_free(struct source *source)
{
	(void)source;
}

static const struct source_ops OPS = {.read = input_read, .free = input_free};

static volatile uint8_t sink; /* so that the bytes are really read */

static int take_content(struct container *container, const struct member *member, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes all = {0};
	const uint8_t *borrowed = NULL;
	size_t part = member->size < 1000 ? (size_t)member->size / 2 : 700;

	if (member->kind != MEMBER_KIND_DATA)
		return container_read_all(container, member, 1u << 20, &all, err);
	if (container_borrow(container, part, &borrowed, err) < 0)
		return -1;
	for (size_t i = 0; i < part; i++)
		sink ^= borrowed[i];
	return container_skip(container, (member->size - part) / 2, err);
}

static void fix_checksums(uint8_t *data, size_t size)
{
	for (; size >= 512; data += 512, size -= 512) {
		unsigned int sum = 0;

		if (memcmp(data + 257, "ustar", 5) != 0)
			continue;
		memset(data + 148, ' ', 8);
		for (size_t i = 0; i < 512; i++)
			sum += data[i];
		(void)snprintf((char *)data + 148, 8, "%06o", sum & 0777777);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(bytes_finish) struct bytes copy = {0};
	CLEANUP(container_free) struct container *container = NULL;
	struct input input = {.base = {.ops = &OPS, .name = "input"}, .len = size};
	struct member member = {0};
	struct err err;

	if (bytes_copy(data, size, &copy, &err) < 0)
		return 0;
	fix_checksums(copy.data, copy.len);
	input.data = copy.data;
	if (container_new(&input.base, &container, &err) < 0)
		return 0;
	for (unsigned int members = 0;; members++) {
		/* Eight images of three members each, the manifest and its signature. */
		if (members > 2 + 3 * MANIFEST_IMAGES_MAX)
			abort();
		if (container_next(container, &member, &err) < 0)
			return 0;
		if (member.kind == MEMBER_KIND_END)
			break;
		if (take_content(container, &member, &err) < 0)
			return 0;
	}
	if (input.at != size)
		abort(); /* said to be whole with bytes unread */
	return 0;
}
