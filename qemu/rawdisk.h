/*
 * rawdisk - a disk's bytes in memory, read as firmware and bootloaders read them: GPT partitions,
 * and files on a FAT file system. Nothing is cached and nothing is changed, so that it can be asked
 * about one crash state after the other.
 */
#ifndef ABIDE_QEMU_RAWDISK_H
#define ABIDE_QEMU_RAWDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/err.h"

#define RAWDISK_SECTOR 512u

struct rawdisk {
	const uint8_t *bytes;
	uint64_t size;
};

/* A part of a disk; never past its end. */
struct rawspan {
	const uint8_t *bytes;
	uint64_t size;
	uint64_t start; /* on the disk */
};

/* The partition of this GPT name, by the first table whose checksums are right: the one at the
 * disk's begin, else the one at its end. FAIL_DRIFT: no table, or no such partition. */
int rawdisk_partition(
	const struct rawdisk *disk, const char *name, struct rawspan *ret, struct err *err);

/* A file of a FAT12, FAT16 or FAT32 file system by its path ("/grub/grubenv"; long names, upper and
 * lower case are the same). FAIL_DRIFT: not there, longer than `cap`, or the file system is
 * damaged in a way that matters to it. */
int fat_read_file(const struct rawspan *fat, const char *path, void *ret, size_t cap,
	size_t *ret_len, struct err *err);

/* Whether both have the file, with the same bytes. FAIL_DRIFT says why not. */
int fat_compare_file(
	const struct rawspan *fat, const struct rawspan *other, const char *path, struct err *err);

/* Where on the disk a file lies, if it lies there in one piece. FAIL_DRIFT: it does not. */
int fat_place(const struct rawspan *fat, const char *path, struct rawspan *ret, struct err *err);

struct fat_entry {
	char name[256];
	uint32_t size;
	bool is_directory;
};

/* Calls `each` for every entry of a directory; one that returns false ends the walk. */
typedef bool fat_each(const struct fat_entry *entry, void *arg);
int fat_list(
	const struct rawspan *fat, const char *path, fat_each *each, void *arg, struct err *err);

#endif
