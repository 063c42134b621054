/* libubootenv: the only file that knows it. 0.3.2 is the oldest one that is supported. */
#include <stddef.h> /* libuboot.h lacks it */
#include <stdlib.h>
#include <string.h>

#include <libuboot.h>

#include "bootloader-hooks/uboot/uboot.h"

struct store {
	struct uboot_ctx *ctx;
	bool open;
};

static void store_finish(struct store *store)
{
	/* It lets go of its lock here, and does not allow for a context that was never opened. */
	if (store->open)
		libuboot_close(store->ctx);
	if (store->ctx)
		libuboot_exit(store->ctx);
}

/* Its errors are negative errno values of its own choosing: -EBADF for whatever keeps open() from
 * working. */
static int failed(const char *what, int error, struct err *err)
{
	return err_set(
		err, FAIL_BOOT, "libubootenv cannot %s: %s (%d)", what, strerror(-error), error);
}

static int store_open(struct store *store, const char *config, struct err *err)
{
	int error = libuboot_initialize(&store->ctx, NULL);

	if (error < 0)
		return failed("begin", error, err);
	error = libuboot_read_config(store->ctx, config);
	if (error < 0)
		return failed("read its configuration", error, err);
	store->open = true; /* the lock, whatever comes of it */
	error = libuboot_open(store->ctx);
	/* With neither copy valid it would go on with an environment that has nothing but our
	 * variables: U-Boot would then find no `bootcmd`. */
	if (error < 0)
		return failed("read a valid environment", error, err);
	return 0;
}

int uboot_store_read(const char *config, struct uboot_values *ret, struct err *err)
{
	CLEANUP(store_finish) struct store store = {0};
	struct uboot_values values = {0};

	if (store_open(&store, config, err) < 0)
		return -1;
	for (unsigned int v = 0; v < UBOOT_VARIABLES; v++) {
		/* NULL or "" if it is not set, by version. */
		CLEANUP(cleanup_free) char *text = libuboot_get_env(store.ctx, UBOOT_NAMES[v]);

		if (text)
			mem_printable(text, strlen(text), values.text[v], sizeof(values.text[v]));
	}
	*ret = values;
	return 0;
}

/* An environment that is full to its last byte 0.3.2 writes without its end, and cannot read again. */
static int check_room(const struct store *store, size_t size, struct err *err)
{
	size_t used = 1; /* the NUL that ends them */

	for (void *at = NULL; (at = libuboot_iterator(store->ctx, at));)
		used += strlen(libuboot_getname(at)) + strlen(libuboot_getvalue(at)) + 2;
	if (used > size - UBOOT_COPY_DATA)
		return err_set(err, FAIL_BOOT,
			"the variables need %zu bytes, the environment has room for %zu; remove "
			"some with fw_setenv",
			used, size - UBOOT_COPY_DATA);
	return 0;
}

int uboot_store_write(
	const char *config, size_t size, const struct uboot_values *values, struct err *err)
{
	CLEANUP(store_finish) struct store store = {0};
	int error;

	if (store_open(&store, config, err) < 0)
		return -1;
	for (unsigned int v = 0; v < UBOOT_VARIABLES; v++) {
		error = libuboot_set_env(store.ctx, UBOOT_NAMES[v], values->text[v]);
		if (error < 0)
			return failed("set a variable", error, err);
	}
	if (check_room(&store, size, err) < 0)
		return -1;
	/* A power cut in here leaves the other copy, which says the old state; this one's checksum
	 * fails until all of it is there. */
	error = libuboot_env_store(store.ctx);
	if (error != 0)
		return failed("write the environment", error, err);
	return 0;
}
