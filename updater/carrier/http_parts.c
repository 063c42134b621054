#include "updater/carrier/http_parts.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

void http_parts_init(struct http_parts *parts, const char *boundary)
{
	*parts = (struct http_parts){.boundary = boundary};
}

/* Takes bytes up to a line's end. *ret_line: one is complete, in parts->line without its end. */
static bool take_line(struct http_parts *parts, const char **data, size_t *len, bool *ret_line)
{
	const char *end = memchr(*data, '\n', *len);
	size_t n = end ? (size_t)(end - *data) + 1 : *len;

	if (n > HTTP_PARTS_LINE_MAX - parts->line_len)
		return false;
	memcpy(parts->line + parts->line_len, *data, n);
	parts->line_len += n;
	*data += n;
	*len -= n;
	*ret_line = end;
	if (!end)
		return true;
	if (parts->line_len < 2 || parts->line[parts->line_len - 2] != '\r')
		return false;
	parts->line_len -= 2;
	return !memchr(parts->line, '\0', parts->line_len);
}

static bool is_boundary(const struct http_parts *parts, bool *ret_last)
{
	size_t len = strlen(parts->boundary);

	if (parts->line_len < 2 + len || memcmp(parts->line, "--", 2) != 0 ||
		memcmp(parts->line + 2, parts->boundary, len) != 0)
		return false;
	*ret_last = parts->line_len == len + 4 && memcmp(parts->line + 2 + len, "--", 2) == 0;
	return *ret_last || parts->line_len == len + 2;
}

static enum http_parts_event on_boundary(struct http_parts *parts)
{
	bool last = false;

	if (!is_boundary(parts, &last))
		return HTTP_PARTS_MALFORMED;
	parts->state = last ? HTTP_PARTS_TAIL : HTTP_PARTS_HEAD;
	parts->head_len = 0;
	parts->part = (struct http_response){.status = 206};
	return last ? HTTP_PARTS_END : HTTP_PARTS_MORE;
}

static enum http_parts_event on_head(struct http_parts *parts)
{
	struct http_response *part = &parts->part;

	parts->head_len += parts->line_len;
	if (parts->head_len > HTTP_PARTS_HEAD_MAX ||
		(part->has_range && parts->line_len &&
			strncasecmp(parts->line, "Content-Range:", 14) == 0))
		return HTTP_PARTS_MALFORMED;
	if (parts->line_len) {
		http_response_field(part, parts->line, parts->line_len);
		return part->malformed || part->encoded ? HTTP_PARTS_MALFORMED : HTTP_PARTS_MORE;
	}
	if (!part->has_range || !part->has_range_total)
		return HTTP_PARTS_MALFORMED;
	parts->left =
		part->range_end - part->range_start; /* checked: not empty, within the total */
	parts->state = HTTP_PARTS_BODY;
	return HTTP_PARTS_RANGE;
}

/* A whole line. */
static enum http_parts_event on_line(struct http_parts *parts)
{
	switch (parts->state) {
	case HTTP_PARTS_BEFORE:
		if (parts->line_len)
			return on_boundary(parts);
		parts->state = HTTP_PARTS_BOUNDARY;
		return HTTP_PARTS_MORE;
	case HTTP_PARTS_BETWEEN:
		parts->state = HTTP_PARTS_BOUNDARY;
		return parts->line_len ? HTTP_PARTS_MALFORMED : HTTP_PARTS_MORE;
	case HTTP_PARTS_BOUNDARY:
		return on_boundary(parts);
	case HTTP_PARTS_HEAD:
		return on_head(parts);
	case HTTP_PARTS_BODY:
	case HTTP_PARTS_TAIL:
		break;
	}
	return HTTP_PARTS_MALFORMED;
}

static enum http_parts_event take_body(struct http_parts *parts, const char **data, size_t *len,
	const char **ret_data, size_t *ret_len)
{
	size_t n = *len < parts->left ? *len : (size_t)parts->left;

	*ret_data = *data;
	*ret_len = n;
	*data += n;
	*len -= n;
	parts->left -= n;
	if (parts->left == 0)
		parts->state = HTTP_PARTS_BETWEEN;
	return HTTP_PARTS_DATA;
}

enum http_parts_event http_parts_next(struct http_parts *parts, const char **data, size_t *len,
	const char **ret_data, size_t *ret_len)
{
	enum http_parts_event event = HTTP_PARTS_MORE;

	while (*len > 0 && event == HTTP_PARTS_MORE) {
		bool line = false;

		if (parts->state == HTTP_PARTS_BODY)
			return take_body(parts, data, len, ret_data, ret_len);
		if (parts->state == HTTP_PARTS_TAIL || !take_line(parts, data, len, &line))
			return HTTP_PARTS_MALFORMED;
		if (!line)
			return HTTP_PARTS_MORE;
		event = on_line(parts);
		parts->line_len = 0;
	}
	return event;
}
