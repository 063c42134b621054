/*
 * A server's header lines, and whether they answer what was asked. Input: the ranges that are asked
 * for (1 byte: how many, 2 for each: its length and the gap in front), then lines; an empty line ends
 * an answer, and the next one is compared with it. An answer that is taken is about bytes that were
 * asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "updater/carrier/http_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RANGES_MAX 4

/* As a caller may count on. */
static void check_fields(const struct http_response *response)
{
	const char *validator = http_response_validator(response);

	if (!memchr(response->etag, '\0', sizeof(response->etag)) ||
		!memchr(response->modified, '\0', sizeof(response->modified)) ||
		!memchr(response->boundary, '\0', sizeof(response->boundary)))
		abort();
	for (; validator && *validator; validator++)
		if (*validator < ' ' || *validator > '~')
			abort(); /* it goes into a request */
	if (response->has_range && !response->malformed &&
		(response->range_end <= response->range_start ||
			(response->has_range_total && response->range_end > response->range_total)))
		abort();
}

static void check_taken(const struct http_question *question, const struct http_response *response)
{
	if (response->status == 200 && (question->count > 1 || question->ranges[0].start > 0))
		abort();
	if (response->status == 206 && question->count == 1 &&
		(response->range_start != question->ranges[0].start ||
			response->range_end > question->ranges[0].end))
		abort();
	if (response->encoded || response->malformed)
		abort();
}

static void judge(struct http_file *file, const struct http_question *question,
	const struct http_response *response)
{
	char text[HTTP_TEXT_MAX + 1] = "";
	enum http_verdict verdict = http_answer_judge(file, question, response, text);

	check_fields(response);
	if ((verdict == HTTP_REFUSE || verdict == HTTP_BUSY) && !text[0])
		abort();
	if (verdict != HTTP_TAKE)
		return;
	check_taken(question, response);
	http_answer_learn(file, question, response);
}

static void read_answers(const struct http_question *question, const char *text, size_t size)
{
	struct http_response response = {0};
	struct http_file file = {0};

	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t len = end ? (size_t)(end - text) + 1 : size;

		http_response_line(&response, text, len);
		if (response.complete) {
			judge(&file, question, &response);
			response = (struct http_response){0};
		}
		text += len;
		size -= len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source_range ranges[RANGES_MAX] = {{0}};
	struct http_question question = {.ranges = ranges};
	uint64_t at = 0;

	if (size < 1 + 2 * RANGES_MAX)
		return 0;
	question.count = data[0] % RANGES_MAX + 1;
	for (size_t i = 0; i < question.count; i++) {
		ranges[i].start = at + data[1 + 2 * i];
		ranges[i].end = ranges[i].start + data[2 + 2 * i] + 1;
		at = ranges[i].end + 1;
	}
	if (data[0] & 0x80)
		ranges[question.count - 1].end = HTTP_OPEN;
	read_answers(&question, (const char *)data + 1 + 2 * RANGES_MAX, size - 1 - 2 * RANGES_MAX);
	return 0;
}
