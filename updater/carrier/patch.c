#include "updater/carrier/patch.h"

#include <inttypes.h>
#include <stdlib.h>

#include "updater/mem.h"

int patch_open(const uint8_t *stored, size_t len, struct patch *ret, struct err *err)
{
	struct patch patch = {0};
	struct patch_run run;
	uint32_t count;

	if (len < PATCH_HEAD_LEN)
		return err_set(err, FAIL_UNTRUSTED, "patch: %zu bytes are none", len);
	count = le16_get(stored);
	patch.runs_len = (size_t)count * PATCH_RUN_LEN;
	if (count > PATCH_RUNS_MAX || patch.runs_len > len - PATCH_HEAD_LEN)
		return err_set(err, FAIL_UNTRUSTED,
			"patch: %" PRIu32 " runs of the base in %zu bytes, at most %u expected",
			count, len, PATCH_RUNS_MAX);
	patch.runs = stored + PATCH_HEAD_LEN;
	for (size_t at = 0; at < patch.runs_len; at += PATCH_RUN_LEN)
		if (patch_parse_run(patch.runs + at, &run, err) < 0)
			return -1;
	patch.frame = patch.runs + patch.runs_len;
	patch.frame_len = len - PATCH_HEAD_LEN - patch.runs_len;
	*ret = patch;
	return 0;
}

int patch_room_init(struct patch_room *ret, struct err *err)
{
	CLEANUP(patch_room_finish) struct patch_room room = {0};
	void *p = NULL;

	if (mem_alloc(STORE_PATCH_MAX, &p, err) < 0)
		return -1;
	room.stored = p;
	if (mem_alloc(PATCH_PREFIX_MAX, &p, err) < 0)
		return -1;
	room.prefix = p;
	if (mem_alloc(STORE_PATCH_MAX, &p, err) < 0)
		return -1;
	room.plain = p;
	*ret = room;
	room = (struct patch_room){0};
	return 0;
}

void patch_room_finish(struct patch_room *room)
{
	free(steal_ptr(&room->stored));
	free(steal_ptr(&room->prefix));
	free(steal_ptr(&room->plain));
}

int patch_decode(struct decoder *decoder, const struct patch_room *room, const struct patch *patch,
	size_t prefix_len, size_t plain_len, struct err *err)
{
	if (decoder_zstd_after(decoder, room->prefix, prefix_len, patch->frame, patch->frame_len,
		    room->plain, plain_len, err) < 0)
		return err_wrap(err, "patch");
	return 0;
}
