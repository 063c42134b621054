#include "updater/carrier/http_patience.h"

#include <time.h>

#define PROGRESS_MIN   (1u << 20) /* bytes after which retries count anew */
#define BACKOFF_MS     250 /* doubled each time */
#define BACKOFF_MAX_MS 30000
#define SLICE_MS       250

int64_t http_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void http_patience_gain(struct http_patience *patience, uint64_t bytes)
{
	patience->gained += bytes;
	patience->window_bytes += bytes;
}

bool http_patience_retry(struct http_patience *patience)
{
	if (patience->gained >= PROGRESS_MIN) {
		patience->attempts = 0;
		patience->gained = 0;
	}
	if (patience->attempts == patience->options->retries)
		return false;
	patience->attempts++;
	return true;
}

void http_patience_back_off(const struct http_patience *patience)
{
	const struct source_listener *listener = &patience->options->listener;
	int64_t delay = BACKOFF_MS;
	int64_t until;

	for (unsigned int i = 1; i < patience->attempts && delay < BACKOFF_MAX_MS; i++)
		delay *= 2;
	until = http_now_ms() + (delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS);
	for (int64_t now = http_now_ms(); now < until; now = http_now_ms()) {
		int64_t left = until - now < SLICE_MS ? until - now : SLICE_MS;
		struct timespec slice = {.tv_nsec = (long)left * 1000000};

		if (listener->alive)
			listener->alive(listener->arg);
		(void)nanosleep(&slice, NULL); /* a shorter one is fine */
	}
}

/* A slow drip may go on for days. */
bool http_patience_too_slow(struct http_patience *patience, int64_t waited_ms, uint64_t *ret_bytes)
{
	unsigned int seconds = patience->options->stall_timeout;

	patience->window_ms += waited_ms;
	if (patience->window_ms < (int64_t)seconds * 1000)
		return false;
	*ret_bytes = patience->window_bytes;
	patience->window_ms = 0;
	patience->window_bytes = 0;
	/* None at all is silence, which a new connection may cure. */
	return *ret_bytes > 0 && *ret_bytes < (uint64_t)seconds * patience->options->min_rate;
}
