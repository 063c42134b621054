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

static enum http_verdict check_range(const struct http_file *file,
	const struct http_question *question, const struct http_response *response, char *ret_text)
{
	unsigned long long from = question->from;

	if (question->to &&
		(!response->has_range_total ||
			(response->has_length && response->length > question->to - question->from)))
		return refuse(ret_text,
			"the server sent another range than was asked for (%llu bytes from byte "
			"%llu)",
			(unsigned long long)(question->to - question->from), from);
	if (!response->has_range || response->range_start != question->from ||
		(file->has_total && response->has_range_total &&
			response->range_total != file->total))
		return refuse(ret_text,
			"the server sent another range than was asked for (from byte %llu)", from);
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
	if (response->status == 206)
		return check_range(file, question, response, ret_text);
	if (question->from > 0)
		return refuse(ret_text,
			"the server does not take ranges, so the transfer cannot go on where it "
			"was (at byte %llu)",
			(unsigned long long)question->from);
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

/* Answers to a first request with a range that one without may be spared. */
static bool refuses_ranges(unsigned int status)
{
	return status == 400 || status == 416 || status == 501;
}

enum http_verdict http_answer_judge(const struct http_file *file,
	const struct http_question *question, const struct http_response *response, char *ret_text)
{
	unsigned int status = response->status;

	if (status == 200 || status == 206)
		return check_body(file, question, response, ret_text);
	if (http_is_redirect(status))
		return HTTP_REDIRECT;
	if (!file->begun && question->to && refuses_ranges(status))
		return HTTP_WITHOUT_RANGE;
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
		file->total = response->has_range_total ? response->range_total
							: question->from + response->length;
	}
}
