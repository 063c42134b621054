/*
 * message - what installer and carrier say to each other; shared by both ends.
 *
 * A message is a head of 8 bytes (type, payload length; both 32 bits, little-endian) and a payload.
 * The installer asks, the carrier answers, in this order; `*` may repeat, `?` may be left out:
 *
 *	from         type         payload                                  payload bytes
 *	installer    OPEN         stall timeout 4, min rate 4, retries 4,  25..MESSAGE_OPEN_MAX
 *	                          is a URL 4, length of name 4, of CA 4,
 *	                          name, CA (PEM)
 *	installer    MANIFEST     nothing                                  0
 *	  carrier    MANIFEST     the member's bytes                       1..MANIFEST_SIZE_MAX
 *	  carrier    SIGNATURE    the member's bytes                       1..MEMBER_SIGNATURE_MAX
 *	installer    INDEX *      size 8, class                            9..8+MANIFEST_CLASS_MAX
 *	  carrier    INDEX        the member's bytes, as many as asked     24..INDEX_SIZE_MAX
 *	installer    STORES ?     nothing                                  0
 *	  carrier    STORES       of a delta: its base's artifact id       0 or 32
 *	installer    WEIGH *      class and bitmap as in WANT              33..32+MESSAGE_BITMAP_MAX
 *	  carrier    WEIGH        stored bytes that WANT would read 8      8
 *	installer    WANT *       class, zeros up to 32 bytes, bitmap      33..32+MESSAGE_BITMAP_MAX
 *	  carrier    BASE ?       runs of the base's chunks (patch.h)      6..6*PATCH_RUNS_MAX
 *	  installer  BASE         these chunks' bytes, end to end          1..PATCH_PREFIX_MAX
 *	  carrier    CHUNK *      number 4, where in the ring 4, length 4: 12
 *	                          each wanted one, ascending (ring.h)
 *	installer    TAKEN *      nothing: a batch of the ring may be      0
 *	                          filled again; at any time after WANT
 *	installer    END          nothing                                  0
 *	  carrier    END          bytes fetched 8, reconnects 4            12
 *
 *	carrier      NOTE ?       text for a person, within any answer     1..MESSAGE_TEXT_MAX
 *	carrier      ALIVE ?      nothing; once a second while bytes come  0
 *	carrier      ERROR ?      error code 4, text; instead of an        5..4+MESSAGE_TEXT_MAX
 *	                          answer, and the last message
 *
 * BASE is the one question of the carrier's: at most one before each CHUNK, for a delta's patch. It
 * waits for the answer, so that neither side ever waits for the other to read.
 *
 * Lengths are checked against this table on both sides before a byte of payload is read, so that no
 * buffer is sized by the other end. The carrier side trusts the installer; it checks all the same.
 *
 *	reading:  message_reader_init -> { message_next -> message_payload... }*  -> _finish
 *	writing:  message_writer_init -> { message_put | message_put_chunk }* -> message_flush -> _finish
 */
#ifndef ABIDE_UPDATER_CARRIER_MESSAGE_H
#define ABIDE_UPDATER_CARRIER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/carrier/members.h"
#include "updater/carrier/patch.h"
#include "updater/err.h"
#include "updater/index.h"
#include "updater/manifest.h"
#include "updater/mem.h"

#define MESSAGE_HEAD_LEN    8u
#define MESSAGE_TEXT_MAX    500u
#define MESSAGE_NAME_MAX    4096u /* path or URL */
#define MESSAGE_CA_MAX      (2u << 20) /* PEM */
#define MESSAGE_OPEN_LEN    24u /* OPEN without name and CA */
#define MESSAGE_OPEN_MAX    (MESSAGE_OPEN_LEN + MESSAGE_NAME_MAX + MESSAGE_CA_MAX)
#define MESSAGE_CLASS_FIELD 32u
#define MESSAGE_CHUNK_LEN   12u
#define MESSAGE_WEIGH_LEN   8u
#define MESSAGE_END_LEN     12u
#define MESSAGE_BITMAP_MAX  (INDEX_CHUNKS_MAX / 8u)
#define MESSAGE_GATHER      (32u << 10) /* bytes of messages for one write(2) */

enum message_type {
	MESSAGE_OPEN = 1,
	MESSAGE_MANIFEST,
	MESSAGE_SIGNATURE,
	MESSAGE_INDEX,
	MESSAGE_WANT,
	MESSAGE_CHUNK,
	MESSAGE_END,
	MESSAGE_NOTE,
	MESSAGE_ALIVE,
	MESSAGE_ERROR,
	MESSAGE_STORES,
	MESSAGE_BASE,
	MESSAGE_TAKEN,
	MESSAGE_WEIGH,
};
#define MESSAGE_LAST MESSAGE_WEIGH

enum message_from {
	MESSAGE_FROM_INSTALLER,
	MESSAGE_FROM_CARRIER,
};

struct message {
	enum message_type type;
	uint32_t len; /* payload bytes */
};

/* Pure: the head is of a message that side may send, with a length it may have. */
int message_parse_head(const uint8_t head[static MESSAGE_HEAD_LEN], enum message_from from,
	struct message *ret, struct err *err);

struct message_open {
	unsigned int stall_timeout;
	unsigned int min_rate;
	unsigned int retries;
	bool url;
	char *name;
	struct bytes ca;
};
int message_encode_open(const struct message_open *open, struct bytes *ret, struct err *err);
/* ret owns copies: message_open_finish(). */
int message_parse_open(
	const uint8_t *payload, size_t len, struct message_open *ret, struct err *err);
void message_open_finish(struct message_open *open);

/* Sets *ret to what the carrier says went wrong, made printable; only the codes a carrier can
 * rightly have pass. False: malformed. */
bool message_parse_error(const uint8_t *payload, size_t len, struct err *ret);

/* A class name from a field that is filled up with zeros; false if it is not one. */
bool message_parse_class(const uint8_t *field, size_t len, char ret[static MANIFEST_CLASS_MAX + 1]);

/* ---- reading ---- */

struct message_reader {
	int fd;
	enum message_from from; /* the side that writes what is read here */
	uint8_t *buf;
	size_t at;
	size_t end;
	bool ended; /* the other end closed */
	/* Called when a non-blocking fd has nothing yet. NULL: fd blocks. */
	int (*wait)(void *arg, struct err *err);
	void *wait_arg;
};

int message_reader_init(
	struct message_reader *reader, int fd, enum message_from from, struct err *err);
void message_reader_finish(struct message_reader *reader);
/* FAIL_UNTRUSTED if it is not one of the table; with `ended` set, FAIL_IO: closed. */
int message_next(struct message_reader *reader, struct message *ret, struct err *err);
/* Payload bytes; the caller keeps count. */
int message_payload(struct message_reader *reader, void *buf, size_t len, struct err *err);

/* ---- writing ---- */

struct message_writer {
	int fd;
	uint8_t *buf; /* MESSAGE_GATHER bytes */
	size_t len;
};

int message_writer_init(struct message_writer *writer, int fd, struct err *err);
void message_writer_finish(struct message_writer *writer);
/* Head and payload, gathered. */
int message_put(struct message_writer *writer, enum message_type type, const void *payload,
	size_t len, struct err *err);
/* A chunk that lies in the ring. */
int message_put_chunk(struct message_writer *writer, uint32_t number, uint32_t offset, uint32_t len,
	struct err *err);
int message_flush(struct message_writer *writer, struct err *err);

#endif
