/*
 * folder - a directory in which a fuzzer's input lies as files, for what reads files by name.
 *
 *	{ folder_clear -> folder_put* -> what is fuzzed }*
 *
 * Below TMPDIR, which explore.sh and replay.sh take in memory and remove at the end.
 */
#ifndef ABIDE_TESTS_FUZZ_FOLDER_H
#define ABIDE_TESTS_FUZZ_FOLDER_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "updater/fs.h"

/* Its path, made at the first call. */
static inline const char *folder_path(void)
{
	static char path[PATH_MAX / 2];
	const char *parent = getenv("TMPDIR");

	if (path[0])
		return path;
	(void)snprintf(path, sizeof(path), "%s/fuzz.XXXXXX", parent ? parent : "/tmp");
	if (!mkdtemp(path))
		abort();
	return path;
}

static inline void folder_join(const char *name, char ret[static PATH_MAX])
{
	struct err err;

	if (fs_join(folder_path(), name, ret, PATH_MAX, &err) < 0)
		abort();
}

/* Makes the directory `name` in it, and leaves no file there. */
static inline void folder_clear(const char *name)
{
	const struct dirent *dirent;
	char path[PATH_MAX];
	DIR *dir;

	folder_join(name, path);
	(void)mkdir(path, 0755); /* there already but at the first time */
	dir = opendir(path);
	if (!dir)
		abort();
	while ((dirent = readdir(dir)))
		(void)unlinkat(dirfd(dir), dirent->d_name, 0); /* not the directories in it */
	(void)closedir(dir);
}

/* False: no file can have that name. */
static inline bool folder_put(const char *name, const void *data, size_t len)
{
	char path[PATH_MAX];
	FILE *file;

	if (strlen(name) > NAME_MAX)
		return false;
	folder_join(name, path);
	file = fopen(path, "we");
	if (!file)
		return false;
	if (fwrite(data, 1, len, file) != len)
		abort();
	return fclose(file) == 0;
}

#endif
