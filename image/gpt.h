/*
 * gpt - the partition table of a factory disk (wraps libfdisk).
 */
#ifndef ABIDE_IMAGE_GPT_H
#define ABIDE_IMAGE_GPT_H

#include "image/layout.h"
#include "updater/err.h"

/* Writes a GPT with the layout's UUIDs, names and places, and a protective MBR, into the plain
 * file `path` of layout->size bytes. Every byte follows from the layout. */
int gpt_write(const char *path, const struct layout *layout, struct err *err);

#endif
