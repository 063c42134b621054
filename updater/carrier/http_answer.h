/*
 * http_answer - whether a server's answer is what was asked for. Pure.
 *
 * Two answers about one file must agree: the same validator, the same length. A range must be the one
 * that was asked for. What a server may do and what it may not is in README.md, "Servers".
 */
#ifndef ABIDE_UPDATER_CARRIER_HTTP_ANSWER_H
#define ABIDE_UPDATER_CARRIER_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/http_response.h"

#define HTTP_TEXT_MAX 300u

/* The file, as far as answers have told. */
struct http_file {
	bool begun; /* `first` is the first answer with its bytes */
	struct http_response first;
	bool has_total;
	uint64_t total;
};

/* What was asked for: from byte `from` up to, not including, `to` (0: the end). */
struct http_question {
	uint64_t from;
	uint64_t to;
};

enum http_verdict {
	HTTP_TAKE, /* its body is what was asked for, or (status 200) the whole file from byte 0 */
	HTTP_REDIRECT,
	HTTP_BUSY, /* may be otherwise later */
	HTTP_WITHOUT_RANGE, /* refused, maybe only because a range was asked for */
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
