/*
 * carrier_talk - the installer's end of the conversation with the carrier: sending, waiting with a
 * limit, and answers, with the asides between them. For carrier.c, which knows what is asked when.
 *
 *	talk_ask -> talk_next -> talk_receive or talk_receive_bytes
 *
 * Whatever the child does wrong is told as its doing: that it broke the protocol (FAIL_UNTRUSTED), went
 * silent, or ended.
 */
#ifndef ABIDE_UPDATER_CARRIER_TALK_H
#define ABIDE_UPDATER_CARRIER_TALK_H

#include "updater/carrier.h"
#include "updater/carrier/message.h"
#include "updater/carrier/spawn.h"

struct carrier {
	struct spawned child;
	struct message_reader reader;
	struct carrier_options options;
	unsigned int patience; /* seconds without a byte until the child counts as hung */
	unsigned int notes;
	const struct carrier_base *base; /* of the image being asked for, or NULL */
};

int talk_ask(struct carrier *carrier, enum message_type type, const void *payload, size_t len,
	struct err *err);
int talk_send(struct carrier *carrier, const void *buf, size_t len, struct err *err);
/* *ret_gone: nobody reads it any more. */
int talk_try_send(
	struct carrier *carrier, const void *buf, size_t len, bool *ret_gone, struct err *err);

/* The next message that is an answer; it has to be of that type. Of MESSAGE_ERROR there is none
 * that succeeds: always -1, with what the child said. Notes are passed on, and parts of the base given
 * where a chunk is awaited. */
int talk_next(struct carrier *carrier, enum message_type type, uint32_t *ret_len, struct err *err);
/* Its payload. */
int talk_receive(struct carrier *carrier, void *buf, size_t len, struct err *err);
int talk_receive_bytes(struct carrier *carrier, uint32_t len, struct bytes *ret, struct err *err);
/* Waits for the answer's next bytes: for the message reader. `arg` is the carrier. */
int talk_wait(void *arg, struct err *err);

/* It broke the protocol. */
int talk_lie(struct err *err, const char *what);

#endif
