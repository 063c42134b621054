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

/* The numbers of "10-99/100"; the total may be "*". */
static bool parse_range(struct http_response *response, struct text value)
{
	const char *dash = memchr(value.at, '-', value.len);
	const char *slash = memchr(value.at, '/', value.len);
	struct text total;
	uint64_t last = 0;

	if (!dash || !slash || slash < dash)
		return false;
	total = (struct text){slash + 1, value.len - (size_t)(slash - value.at) - 1};
	response->has_range_total = !is(total, "*");
	if (!parse_number(
		    (struct text){value.at, (size_t)(dash - value.at)}, &response->range_start) ||
		!parse_number((struct text){dash + 1, (size_t)(slash - dash) - 1}, &last) ||
		(response->has_range_total && !parse_number(total, &response->range_total)))
		return false;
	response->range_end = last + 1;
	return last >= response->range_start &&
	       (!response->has_range_total || last < response->range_total);
}

static void take_range(struct http_response *response, struct text value)
{
	static const char UNIT[] = "bytes ";
	size_t unit = strlen(UNIT);

	if (value.len < unit || strncasecmp(value.at, UNIT, unit) != 0 ||
		!parse_range(response, (struct text){value.at + unit, value.len - unit}))
		response->malformed = true;
	response->has_range = true;
}

/* "multipart/byteranges; boundary=x", with or without quotes. */
static void take_type(struct http_response *response, struct text value)
{
	static const char TYPE[] = "multipart/byteranges";
	static const char NAME[] = "boundary=";
	const char *semicolon = memchr(value.at, ';', value.len);
	struct text boundary;

	if (!semicolon || !is(trim((struct text){value.at, (size_t)(semicolon - value.at)}), TYPE))
		return;
	boundary =
		trim((struct text){semicolon + 1, value.len - (size_t)(semicolon - value.at) - 1});
	if (boundary.len <= strlen(NAME) || strncasecmp(boundary.at, NAME, strlen(NAME)) != 0)
		return;
	boundary.at += strlen(NAME);
	boundary.len -= strlen(NAME);
	if (boundary.len > 2 && boundary.at[0] == '"' && boundary.at[boundary.len - 1] == '"') {
		boundary.at++;
		boundary.len -= 2;
	}
	if (boundary.len > HTTP_BOUNDARY_MAX || memchr(boundary.at, '"', boundary.len) ||
		memchr(boundary.at, ';', boundary.len) || memchr(boundary.at, '\0', boundary.len))
		return;
	memcpy(response->boundary, boundary.at, boundary.len);
	response->boundary[boundary.len] = '\0';
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
	else if (is(name, "Content-Type"))
		take_type(response, value);
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

void http_response_field(struct http_response *response, const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);

	if (colon)
		take_field(response, (struct text){text, (size_t)(colon - text)},
			trim((struct text){colon + 1, len - (size_t)(colon - text) - 1}));
}

void http_response_line(struct http_response *response, const char *text, size_t len)
{
	struct text line = trim((struct text){text, len});

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
	if (!response->complete) /* else a trailer: nothing that matters */
		http_response_field(response, line.at, line.len);
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
