/*
 * http_answer - whether a server's answer is what was asked for. Pure.
 *
 * Two answers about one file must agree: the same validator, the same length. A range must be the one
 * that was asked for; the parts of a multipart answer are http_transfer.c's to compare. What a server may do and what it may not is in README.md, "Servers".
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_ANSWER_H
#define ABIDE_UPDATER_CARRIER_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_response.h"
#include "updater/carrier/source.h"

#define HTTP_TEXT_MAX 300u
#define HTTP_OPEN     UINT64_MAX

/* The file, as far as answers have told. */
struct http_file {
	bool begun; /* `first` is the first answer with its bytes */
	struct http_response first;
	bool has_total;
	uint64_t total;
};

/* What was asked for: ranges that ascend; HTTP_OPEN: to the end of the file. */
struct http_question {
	const struct source_range *ranges;
	size_t count;
};

enum http_verdict {
	HTTP_TAKE, /* its body is what was asked for, or (status 200) the whole file from byte 0 */
	HTTP_REDIRECT,
	HTTP_BUSY, /* may be otherwise later */
	HTTP_FEWER_RANGES, /* refused, maybe only because a range or several were asked for */
	HTTP_REFUSE, /* for good */
};

/* ret_text, HTTP_TEXT_MAX + 1 bytes: for BUSY and REFUSE, why. */
enum http_verdict http_answer_judge(const struct http_file *file,
	const struct http_question *question, const struct http_response *response, char *ret_text);
/* For an answer that is taken: what it tells of the file. */
void http_answer_learn(struct http_file *file, const struct http_question *question,
	const struct http_response *response);
bool http_is_redirect(unsigned int status);
bool http_file_takes_ranges(const struct http_file *file);

#endif
