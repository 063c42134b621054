#include "updater/carrier/http_answer.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static enum http_verdict refuse(
	char *ret_text, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(ret_text, HTTP_TEXT_MAX + 1, fmt, args); /* a long text is cut */
	va_end(args);
	return HTTP_REFUSE;
}

bool http_file_takes_ranges(const struct http_file *file)
{
	return file->first.takes_ranges || file->first.status == 206;
}

/* One range; what a server left out is for the total to say. */
static enum http_verdict check_range(const struct http_file *file, const struct source_range *asked,
	const struct http_response *response, char *ret_text)
{
	uint64_t end = asked->end;

	if (response->boundary[0])
		return refuse(ret_text,
			"the server sent several parts where one range was asked for (from byte "
			"%llu)",
			(unsigned long long)asked->start);
	if (response->has_range_total && end > response->range_total)
		end = response->range_total;
	if (!response->has_range || response->range_start != asked->start ||
		(end != HTTP_OPEN && response->range_end != end) ||
		(asked->end != HTTP_OPEN && !response->has_range_total) ||
		(response->has_length &&
			response->length != response->range_end - response->range_start) ||
		(file->has_total && response->has_range_total &&
			response->range_total != file->total))
		return refuse(ret_text,
			"the server sent another range than was asked for (from byte %llu)",
			(unsigned long long)asked->start);
	return HTTP_TAKE;
}

/* An answer that has a body of the file. */
static enum http_verdict check_body(const struct http_file *file,
	const struct http_question *question, const struct http_response *response, char *ret_text)
{
	if (response->malformed)
		return refuse(ret_text, "the server's answer is malformed");
	if (response->encoded)
		return refuse(ret_text,
			"the server sent it with a Content-Encoding, expected the plain file");
	if (file->begun && !http_response_same(&file->first, response))
		return refuse(ret_text, "it changed on the server during the transfer");
	if (question->count > 1)
		return response->status == 206 && response->boundary[0] ? HTTP_TAKE
									: HTTP_FEWER_RANGES;
	if (response->status == 206)
		return check_range(file, &question->ranges[0], response, ret_text);
	if (question->ranges[0].start > 0)
		return refuse(ret_text,
			"the server does not take ranges, so the transfer cannot go on where it "
			"was (at byte %llu)",
			(unsigned long long)question->ranges[0].start);
	return HTTP_TAKE;
}

static bool is_busy(unsigned int status)
{
	return status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

bool http_is_redirect(unsigned int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Answers that a request without a range, or with only one, may be spared. */
static bool may_be_the_ranges(
	const struct http_file *file, const struct http_question *question, unsigned int status)
{
	if (question->count > 1)
		return status >= 400 && !is_busy(status);
	return !file->begun && question->ranges[0].end != HTTP_OPEN &&
	       (status == 400 || status == 416 || status == 501);
}

enum http_verdict http_answer_judge(const struct http_file *file,
	const struct http_question *question, const struct http_response *response, char *ret_text)
{
	unsigned int status = response->status;

	if (status == 200 || status == 206)
		return check_body(file, question, response, ret_text);
	if (http_is_redirect(status))
		return HTTP_REDIRECT;
	if (may_be_the_ranges(file, question, status))
		return HTTP_FEWER_RANGES;
	(void)refuse(ret_text, "the server answered %u %s", status, http_status_text(status));
	return file->begun && is_busy(status) ? HTTP_BUSY : HTTP_REFUSE;
}

void http_answer_learn(struct http_file *file, const struct http_question *question,
	const struct http_response *response)
{
	if (!file->begun)
		file->first = *response;
	file->begun = true;
	/* No overflow: all of them are within MANIFEST_NUMBER_MAX. */
	if (!file->has_total && (response->has_range_total || response->has_length)) {
		file->has_total = true;
		file->total = response->has_range_total
				      ? response->range_total
				      : question->ranges[0].start + response->length;
	}
}
