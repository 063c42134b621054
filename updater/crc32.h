/*
 * crc32 - CRC-32 as of zlib, Ethernet and IEEE 802.3: reflected, polynomial 0xedb88320. What U-Boot's
 * environment and a GPT are checked with; of use against accidents, not against people.
 */
#ifndef ABIDE_UPDATER_CRC32_H
#define ABIDE_UPDATER_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of all before, which is 0 for nothing, and of these bytes. */
uint32_t crc32_add(uint32_t crc, const void *data, size_t len);

#endif
