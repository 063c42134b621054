#include "updater/carrier/http_response.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "updater/manifest.h"
#include "updater/mem.h"

struct text {
	const char *at;
	size_t len;
};

static struct text trim(struct text t)
{
	while (t.len && strchr(" \t", t.at[0])) {
		t.at++;
		t.len--;
	}
	while (t.len && strchr(" \t\r\n", t.at[t.len - 1]))
		t.len--;
	return t;
}

static bool is(struct text t, const char *word)
{
	return t.len == strlen(word) && strncasecmp(t.at, word, t.len) == 0;
}

/* Digits only, and no more than a bundle can have. */
static bool parse_number(struct text t, uint64_t *ret)
{
	uint64_t value = 0;

	if (t.len < 1 || t.len > 18)
		return false;
	for (size_t i = 0; i < t.len; i++) {
		if (t.at[i] < '0' || t.at[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(t.at[i] - '0');
	}
	*ret = value;
	return value <= MANIFEST_NUMBER_MAX;
}

static void take_length(struct http_response *response, struct text value)
{
	uint64_t length = 0;

	if (!parse_number(value, &length) || (response->has_length && response->length != length))
		response->malformed = true;
	response->has_length = true;
	response->length = length;
}

/* "bytes 10-99/100"; the total may be "*". */
static void take_range(struct http_response *response, struct text value)
{
	const char *dash = memchr(value.at, '-', value.len);
	const char *slash = memchr(value.at, '/', value.len);
	const char *end = value.at + value.len;
	struct text total;

	response->malformed = true;
	if (!dash || !slash || slash < dash || value.len < 6 ||
		strncasecmp(value.at, "bytes ", 6) != 0 || dash < value.at + 6)
		return;
	if (!parse_number((struct text){value.at + 6, (size_t)(dash - value.at) - 6},
		    &response->range_start))
		return;
	total = (struct text){slash + 1, (size_t)(end - slash) - 1};
	if (!is(total, "*")) {
		if (!parse_number(total, &response->range_total))
			return;
		response->has_range_total = true;
	}
	response->has_range = true;
	response->malformed = false;
}

static void keep(struct text value, char ret[static HTTP_VALIDATOR_MAX + 1])
{
	ret[0] = '\0';
	if (value.len > HTTP_VALIDATOR_MAX)
		return;
	for (size_t i = 0; i < value.len; i++)
		if (value.at[i] < ' ' || value.at[i] > '~')
			return; /* it goes back into a request: nothing odd may */
	memcpy(ret, value.at, value.len);
	ret[value.len] = '\0';
}

static void take_field(struct http_response *response, struct text name, struct text value)
{
	if (is(name, "Content-Length"))
		take_length(response, value);
	else if (is(name, "Content-Range"))
		take_range(response, value);
	else if (is(name, "Transfer-Encoding"))
		response->chunked = response->chunked || !is(value, "identity");
	else if (is(name, "Content-Encoding"))
		response->encoded = response->encoded || !is(value, "identity");
	else if (is(name, "Accept-Ranges")) {
		response->takes_ranges = is(value, "bytes");
		response->refuses_ranges = is(value, "none");
	} else if (is(name, "ETag"))
		keep(value, response->etag);
	else if (is(name, "Last-Modified"))
		keep(value, response->modified);
}

/* "HTTP/1.1 200 OK": the three digits. */
static unsigned int parse_status(struct text line)
{
	const char *space = memchr(line.at, ' ', line.len);
	size_t left = space ? line.len - (size_t)(space - line.at) - 1 : 0;
	uint64_t status = 0;

	if (left < 3 || !parse_number((struct text){space + 1, 3}, &status))
		return 0;
	return (unsigned int)status;
}

void http_response_line(struct http_response *response, const char *text, size_t len)
{
	struct text line = trim((struct text){text, len});
	const char *colon;

	if (line.len >= 5 && strncmp(line.at, "HTTP/", 5) == 0) {
		*response = (struct http_response){.status = parse_status(line)};
		return;
	}
	if (line.len == 0) {
		/* After a 1xx the real answer follows. */
		response->complete = response->status >= 200;
		if (response->chunked)
			response->has_length = false;
		return;
	}
	colon = memchr(line.at, ':', line.len);
	if (!colon || response->complete)
		return; /* not a field, or a trailer: nothing that matters */
	take_field(response, (struct text){line.at, (size_t)(colon - line.at)},
		trim((struct text){colon + 1, line.len - (size_t)(colon - line.at) - 1}));
}

bool http_response_same(const struct http_response *a, const struct http_response *b)
{
	if (a->etag[0] && b->etag[0])
		return strcmp(a->etag, b->etag) == 0;
	if (a->modified[0] && b->modified[0])
		return strcmp(a->modified, b->modified) == 0;
	return true;
}

const char *http_response_validator(const struct http_response *response)
{
	if (response->etag[0] == '"')
		return response->etag;
	return response->modified[0] ? response->modified : NULL;
}

const char *http_status_text(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *text;
	} TEXTS[] = {
		{401, "Unauthorized"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{407, "Proxy Authentication Required"},
		{408, "Request Timeout"},
		{410, "Gone"},
		{416, "Range Not Satisfiable"},
		{429, "Too Many Requests"},
		{500, "Internal Server Error"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
	};

	for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
		if (TEXTS[i].status == status)
			return TEXTS[i].text;
	return "";
}
