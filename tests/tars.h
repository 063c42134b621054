/*
 * tars - test support: tar archives in memory, good ones and any bad one, and a small good bundle
 * whose every byte is known. Failures are failed assertions (cmocka).
 *
 *	struct tars tar = {0};
 *	tars_add(&tar, "manifest.json", "{}", 2); ... tars_end(&tar); ... tars_finish(&tar);
 */
#ifndef ABIDE_TESTS_TARS_H
#define ABIDE_TESTS_TARS_H

#include <stddef.h>
#include <stdint.h>

#include "updater/index.h"
#include "updater/mem.h"

#define TARS_BLOCK 512u

struct tars {
	uint8_t *data;
	size_t len;
};

/* A regular file with its padding. */
void tars_add(struct tars *tar, const char *name, const void *data, size_t len);
/* Only a ustar header: any type, any size, whatever follows. */
void tars_header(struct tars *tar, const char *name, char type, uint64_t size, const char *link);
/* A pax header: for the next file. */
void tars_pax(struct tars *tar, const char *key, const char *value);
void tars_bytes(struct tars *tar, const void *data, size_t len);
void tars_end(struct tars *tar); /* the mark: two zero blocks */
void tars_finish(struct tars *tar);

#define SAMPLE_IMAGES 2
#define SAMPLE_CHUNKS 8

/* Two images, each with chunks raw, zero, zstd, one byte long, as long as may be, repeated. */
struct sample {
	const char *class[SAMPLE_IMAGES];
	uint8_t *plain[SAMPLE_IMAGES]; /* the images */
	size_t plain_len[SAMPLE_IMAGES];
	struct bytes index_raw[SAMPLE_IMAGES];
	struct bytes store[SAMPLE_IMAGES];
	struct bytes data[SAMPLE_IMAGES];
	struct index *index[SAMPLE_IMAGES];
	uint8_t wanted[SAMPLE_IMAGES]; /* bitmap: all but the repeated chunk */
};

#define SAMPLE_MANIFEST  "{\"any\": \"bytes will do: the carrier does not look\"}\n"
#define SAMPLE_SIGNATURE "signature"

void sample_init(struct sample *sample);
void sample_finish(struct sample *sample);
/* All members in their order, and the end. */
void sample_tar(const struct sample *sample, struct tars *tar);
/* Where chunk i of an image begins. */
size_t sample_offset(const struct sample *sample, size_t image, uint32_t i);

#endif
