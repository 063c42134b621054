#include "updater/carrier/source.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

bool source_is_url(const char *name)
{
	return strncasecmp(name, "http://", 7) == 0 || strncasecmp(name, "https://", 8) == 0;
}

void source_url_display(const char *url, char *ret, size_t cap)
{
	const char *host = strstr(url, "://");
	char plain[2048];
	size_t authority;
	const char *at = NULL;

	host = host ? host + 3 : url;
	authority = strcspn(host, "/?#");
	for (size_t i = 0; i < authority; i++)
		if (host[i] == '@')
			at = host + i;
	if (at)
		(void)snprintf(plain, sizeof(plain), "%.*s%s", (int)(host - url), url, at + 1);
	else
		(void)snprintf(plain, sizeof(plain), "%s", url);
	/* A query often carries a signature or a token: not for logs either. */
	plain[strcspn(plain, "?#")] = '\0';
	mem_printable(plain, strlen(plain), ret, cap);
}

int source_read(struct source *source, void *buf, size_t cap, size_t *ret_len, struct err *err)
{
	if (source->ops->read(source, buf, cap, ret_len, err) < 0) {
		source->failed = true;
		return -1;
	}
	source->offset += *ret_len;
	return 0;
}

int source_skip(struct source *source, uint64_t len, uint64_t *ret_len, struct err *err)
{
	*ret_len = 0;
	if (source->ops->skip && source->ops->skip(source, len, ret_len, err) < 0) {
		source->failed = true;
		return -1;
	}
	source->offset += *ret_len;
	return 0;
}

void source_want(struct source *source, const struct source_wants *wants)
{
	if (source->ops->want)
		source->ops->want(source, wants);
}

static bool next_expected(void *arg, uint64_t from, uint64_t gap, struct source_range *ret)
{
	const struct source_range *expected = arg;

	(void)gap; /* there is only one */
	if (from >= expected->end)
		return false;
	ret->start = from > expected->start ? from : expected->start;
	ret->end = expected->end;
	return true;
}

void source_expect(struct source *source, uint64_t len)
{
	struct source_wants wants = {next_expected, &source->expected};

	source->expected.start = source->offset;
	if (__builtin_add_overflow(source->offset, len, &source->expected.end))
		source->expected.end = UINT64_MAX;
	source_want(source, &wants);
}

void source_free(struct source **source)
{
	struct source *taken = steal_ptr(source);

	if (taken)
		taken->ops->free(taken);
}
