#include "updater/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int mem_alloc(size_t len, void **ret, struct err *err)
{
	void *p = calloc(1, len ? len : 1);

	if (!p)
		return err_memory(err);
	*ret = p;
	return 0;
}

int mem_alloc_aligned(size_t len, void **ret, struct err *err)
{
	void *p = NULL;

	if (posix_memalign(&p, MEM_BLOCK, len ? len : MEM_BLOCK) != 0)
		return err_memory(err);
	memset(p, 0, len);
	*ret = p;
	return 0;
}

int mem_strdup(const char *s, char **ret, struct err *err)
{
	char *copy = strdup(s);

	if (!copy)
		return err_memory(err);
	*ret = copy;
	return 0;
}

int bytes_copy(const void *data, size_t len, struct bytes *ret, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(len, &p, err) < 0)
		return -1;
	if (len)
		memcpy(p, data, len);
	*ret = (struct bytes){.data = p, .len = len};
	return 0;
}

void bytes_finish(struct bytes *bytes)
{
	if (!bytes)
		return;
	free(bytes->data);
	*bytes = (struct bytes){0};
}

struct bytes steal_bytes(struct bytes *bytes)
{
	struct bytes taken = *bytes;

	*bytes = (struct bytes){0};
	return taken;
}

void *steal_ptr(void *p)
{
	void *taken;

	memcpy(&taken, p, sizeof(taken));
	memset(p, 0, sizeof(taken));
	return taken;
}

bool mem_is_zero(const void *data, size_t len)
{
	const uint8_t *p = data;

	if (len == 0)
		return true;
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

uint16_t le16_get(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t le32_get(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t le64_get(const uint8_t *p)
{
	return (uint64_t)le32_get(p) | (uint64_t)le32_get(p + 4) << 32;
}

void le16_put(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

void le32_put(uint8_t *p, uint32_t v)
{
	le16_put(p, (uint16_t)v);
	le16_put(p + 2, (uint16_t)(v >> 16));
}

void le64_put(uint8_t *p, uint64_t v)
{
	le32_put(p, (uint32_t)v);
	le32_put(p + 4, (uint32_t)(v >> 32));
}

void hex_encode(const uint8_t *data, size_t len, char *ret)
{
	static const char DIGITS[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		ret[2 * i] = DIGITS[data[i] >> 4];
		ret[2 * i + 1] = DIGITS[data[i] & 15];
	}
	ret[2 * len] = '\0';
}

static unsigned int digit_value(char c)
{
	return (unsigned int)(c <= '9' ? c - '0' : c - 'a' + 10);
}

bool hex_decode(const char *hex, uint8_t *ret, size_t len)
{
	if (strlen(hex) != 2 * len || strspn(hex, "0123456789abcdef") != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++)
		ret[i] = (uint8_t)(digit_value(hex[2 * i]) << 4 | digit_value(hex[2 * i + 1]));
	return true;
}

void mem_printable(const void *data, size_t len, char *ret, size_t cap)
{
	const uint8_t *p = data;
	size_t n = len < cap - 1 ? len : cap - 1;

	for (size_t i = 0; i < n; i++)
		ret[i] = p[i] >= 0x20 && p[i] < 0x7f ? (char)p[i] : '?';
	ret[n] = '\0';
}

uint64_t round_up(uint64_t v, uint64_t unit)
{
	uint64_t up;

	if (__builtin_add_overflow(v, unit - 1, &up))
		return UINT64_MAX;
	return up & ~(unit - 1);
}

void cleanup_free(void *p)
{
	free(steal_ptr(p));
}

void cleanup_fd(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing durable hangs on it: writers fsync first */
}
