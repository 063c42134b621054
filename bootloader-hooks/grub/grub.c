/* The two copies of the environment block on their devices; its text is env.c's. */
#include "bootloader-hooks/grub/grub.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

/* grubenv and grubenv.spare. */
#define COPY_COUNT 2

struct copy {
	char *path; /* NULL: there is no second copy */
	struct blockdev *dev; /* NULL: `why` says why; a commit puts a new file in its place */
	bool read_only; /* `why` says why */
	struct err why;
};

struct grub {
	struct bootloader bl;
	struct copy copies[COPY_COUNT];
};

static struct grub *grub(struct bootloader *bl)
{
	return (struct grub *)bl;
}

static int copy_block(const struct copy *copy, uint8_t *ret, struct err *err)
{
	if (!copy->dev) {
		*err = copy->why;
		return -1;
	}
	return blockdev_pread(copy->dev, ret, GRUB_ENV_LEN, 0, err);
}

static int copy_read(const struct copy *copy, struct boot_state *ret, struct err *err)
{
	uint8_t block[GRUB_ENV_LEN];

	if (copy_block(copy, block, err) < 0)
		return -1;
	if (grub_env_parse(block, ret, err) < 0)
		return err_wrap(err, "'%s'", copy->path);
	return 0;
}

/* `set` works on a block only; `create` would throw the other variables of one away. */
static int no_environment(
	const struct err *why, const struct err *spare_why, const struct copy *env, struct err *err)
{
	uint8_t block[GRUB_ENV_LEN];
	struct err none;
	bool is_block = copy_block(env, block, &none) == 0 && grub_env_is_block(block);

	return err_set(err, FAIL_BOOT,
		"no valid GRUB environment: %.160s%s%.160s; if group a runs and is good, repair "
		"'%s' with grub-editenv: %sset ORDER=A A_OK=1",
		why->msg, spare_why->msg[0] ? "; " : "", spare_why->msg, env->path,
		is_block ? "" : "create, then ");
}

static int grub_read(struct bootloader *bl, struct boot_state *ret, struct err *err)
{
	const struct copy *env = &grub(bl)->copies[0];
	const struct copy *spare = &grub(bl)->copies[1];
	struct err why = {0};
	struct err spare_why = {0};

	if (copy_read(env, ret, &why) == 0)
		return 0;
	if (!spare->path || copy_read(spare, ret, &spare_why) < 0)
		return no_environment(&why, &spare_why, env, err);
	(void)snprintf(bl->note, sizeof(bl->note), "read '%.50s' because %.90s", spare->path,
		why.msg); /* a long reason is cut */
	return 0;
}

static int copy_write(const struct copy *copy, const uint8_t *block, struct err *err)
{
	if (copy->read_only) {
		*err = copy->why;
		return -1;
	}
	/* Missing, or not the length of a block: nothing that could be written in place. A cut
	 * leaves what was there, which GRUB passes over, or the new file. */
	if (!copy->dev)
		return fs_replace_file(copy->path, block, GRUB_ENV_LEN, 0644, err);
	/* A cut before the flush leaves the old variables or the new ones: they are in the first
	 * sector, all of them. Behind it may be a mix of others' variables. */
	if (blockdev_pwrite(copy->dev, block, GRUB_ENV_LEN, 0, err) < 0)
		return -1;
	return blockdev_flush(copy->dev, err);
}

/* A copy that has these bytes already is not written, but flushed all the same: whoever wrote it
 * may have died before its flush. */
static int copy_commit(const struct copy *copy, const uint8_t *block, struct err *err)
{
	uint8_t found[GRUB_ENV_LEN];
	struct err why;

	if (copy_block(copy, found, &why) == 0 && memcmp(found, block, GRUB_ENV_LEN) == 0)
		return blockdev_flush(copy->dev, err);
	return copy_write(copy, block, err);
}

/* The block whose other variables are to be kept: the first that is one. False: none is. */
static bool previous_block(const struct grub *env, uint8_t *ret)
{
	for (unsigned int i = 0; i < COPY_COUNT; i++) {
		struct err why;

		if (env->copies[i].path && copy_block(&env->copies[i], ret, &why) == 0 &&
			grub_env_is_block(ret))
			return true;
	}
	return false;
}

/*
 * The first copy's write is the commit: GRUB reads the spare only where the first is no valid
 * block, which a torn write cannot make it. Cut points:
 *	before or during the first write   both copies, or the one that counts, say the old state
 *	after it, before the spare's flush  the new state counts; the spare may say the old one
 *	after the spare's flush            both say the new state
 * A stale spare is at most one commit behind. It is not harmless for ever: after a disarm it would
 * name a group that is being written. So a commit has succeeded only when both are flushed, and
 * no slot is written before that.
 */
static int grub_commit(struct bootloader *bl, const struct boot_state *state, struct err *err)
{
	const struct copy *env = &grub(bl)->copies[0];
	const struct copy *spare = &grub(bl)->copies[1];
	uint8_t previous[GRUB_ENV_LEN];
	uint8_t block[GRUB_ENV_LEN];
	bool has_previous = previous_block(grub(bl), previous);

	if (grub_env_format(state, has_previous ? previous : NULL, block, err) < 0 ||
		copy_commit(env, block, err) < 0)
		return err_wrap_as(err, FAIL_BOOT, "GRUB environment '%s'", env->path);
	if (spare->path && copy_commit(spare, block, err) < 0)
		return err_wrap_as(err, FAIL_BOOT,
			"the change is made in '%s', but not in its copy '%s'", env->path,
			spare->path);
	return 0;
}

static void grub_free(struct bootloader *bl)
{
	for (unsigned int i = 0; i < COPY_COUNT; i++) {
		free(grub(bl)->copies[i].path);
		blockdev_close(&grub(bl)->copies[i].dev);
	}
	free(grub(bl));
}

static const struct bootloader_ops OPS = {
	.name = "grub",
	.read = grub_read,
	.commit = grub_commit,
	.free = grub_free,
};

static int grub_new(struct bootloader **ret, struct err *err)
{
	void *p = NULL;

	if (mem_alloc(sizeof(struct grub), &p, err) < 0)
		return -1;
	((struct grub *)p)->bl.ops = &OPS;
	*ret = p;
	return 0;
}

/* Another length than a block's: GRUB would read it otherwise than we do. */
static void check_length(struct copy *copy)
{
	if (copy->dev->size == GRUB_ENV_LEN)
		return;
	(void)err_set(&copy->why, FAIL_BOOT, "'%s' has %" PRIu64 " bytes, expected %u", copy->path,
		copy->dev->size, GRUB_ENV_LEN);
	blockdev_close(&copy->dev);
}

/* Opens what can be opened; `why` tells the rest. Only memory can run out here. */
static int copy_open(struct copy *copy, const char *path, struct err *err)
{
	struct err why;

	if (mem_strdup(path, &copy->path, err) < 0)
		return -1;
	if (blockdev_open(path, BLOCKDEV_WRITE, &copy->dev, &copy->why) < 0) {
		/* A read-only mount, or not root: good enough to tell the state. */
		if (blockdev_open(path, 0, &copy->dev, &why) < 0)
			return 0;
		copy->read_only = true;
	}
	check_length(copy);
	return 0;
}

int grub_open(const char *path, struct bootloader **ret, struct err *err)
{
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	char spare[PATH_MAX];

	if (snprintf(spare, sizeof(spare), "%s.spare", path) >= (int)sizeof(spare))
		return err_set(err, FAIL_USAGE, "path '%s' is too long", path);
	if (grub_new(&bl, err) < 0 || copy_open(&grub(bl)->copies[0], path, err) < 0)
		return -1;
	if (access(spare, F_OK) == 0 && copy_open(&grub(bl)->copies[1], spare, err) < 0)
		return -1;
	*ret = steal_ptr(&bl);
	return 0;
}

int grub_open_on(
	struct blockdev **env, struct blockdev **spare, struct bootloader **ret, struct err *err)
{
	CLEANUP(bootloader_close) struct bootloader *bl = NULL;
	bool has_spare = spare && *spare;

	if (grub_new(&bl, err) < 0 ||
		mem_strdup((*env)->name, &grub(bl)->copies[0].path, err) < 0 ||
		(has_spare && mem_strdup((*spare)->name, &grub(bl)->copies[1].path, err) < 0))
		return -1;
	grub(bl)->copies[0].dev = steal_ptr(env);
	if (has_spare)
		grub(bl)->copies[1].dev = steal_ptr(spare);
	*ret = steal_ptr(&bl);
	return 0;
}
