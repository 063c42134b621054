/* Power cuts at exact writes. An update that was confirmed and one that was reverted are recorded;
 * the log is replayed offline, prefix by prefix, and a few of the states are booted. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "qemu/checker.h"
#include "qemu/scenario.h"
#include "updater/fs.h"
#include "updater/mem.h"

static const struct crash_limits LIMITS = {.seed = 2026, .tears = 48, .shuffles = 48};
/* For logs that are broken on purpose: nothing random is needed to see it. */
static const struct crash_limits PLAIN = {.seed = 2026};

struct replay {
	char factory[PATH_MAX];
	char images[PATH_MAX];
	struct write_log log;
	size_t flushes; /* that are in the log */
	struct checker *checker;
};

/* Where in the log, by number of an entry, the first update does what. */
struct milestones {
	size_t begin; /* its first write to the slot, */
	size_t seal; /* and the last one before the flip */
	size_t flip, count, confirm;
	struct rawspan slot; /* which it writes */
};

static void replay_close(struct replay *replay)
{
	checker_close(&replay->checker);
	write_log_close(&replay->log);
}

static int new_checker(const struct rig *rig, struct replay *replay, struct err *err)
{
	checker_close(&replay->checker);
	return checker_open(rig->device->view, replay->images, replay->factory, rig->device->slots,
		&replay->log, &replay->checker, err);
}

static int flash_is_durable(struct replay *replay, uint64_t flash, struct err *err)
{
	struct stat st;

	if (stat(replay->factory, &st) < 0)
		return err_errno(err, "'%s'", replay->factory);
	write_log_flash(&replay->log, (uint64_t)st.st_size - flash);
	return 0;
}

static int replay_open(struct rig *rig, struct replay *ret, struct err *err)
{
	char log[PATH_MAX];

	if (scenario_record(rig, err) < 0 ||
		fs_join(rig->out, "factory.img", ret->factory, sizeof(ret->factory), err) < 0 ||
		fs_join(rig->out, "images", ret->images, sizeof(ret->images), err) < 0 ||
		rig_write_log(rig, log, err) < 0 || write_log_open(log, &ret->log, err) < 0)
		return -1;
	for (size_t i = 0; i < ret->log.count; i++)
		ret->flushes += ret->log.entries[i].flags & WRITE_LOG_FLUSH ? 1 : 0;
	if (rig->device->view->flash && flash_is_durable(ret, rig->device->view->flash, err) < 0)
		return -1;
	if (rig->device->no_cache)
		write_log_no_cache(&ret->log);
	return new_checker(rig, ret, err);
}

static int walk(struct replay *replay, const struct crash_limits *limits, size_t *ret_states,
	struct err *err)
{
	return crash_walk(replay->factory, &replay->log, limits, checker_check, replay->checker,
		ret_states, err);
}

/* ---- every prefix ---- */

int scenario_every_prefix(struct rig *rig, struct err *err)
{
	CLEANUP(replay_close) struct replay replay = {.checker = NULL};
	const struct checker_result *result;
	size_t states = 0;
	uint64_t bytes = 0;

	if (replay_open(rig, &replay, err) < 0 || walk(&replay, &LIMITS, &states, err) < 0)
		return -1;
	for (size_t i = 0; i < replay.log.count; i++)
		bytes += replay.log.entries[i].len;
	result = checker_result(replay.checker);
	(void)printf("%s: %zu entries (%zu flushes, %" PRIu64 " MiB), %zu changes of the "
		     "bootloader's state\n%s: %zu states (a starts in %zu, b in %zu; %zu different "
		     "FATs), 0 without a known group to boot\n",
		rig->device->name, replay.log.count, replay.flushes, bytes >> 20,
		result->change_count, rig->device->name, states, result->starts[GROUP_A],
		result->starts[GROUP_B], result->mended);
	if (result->starts[GROUP_A] == 0 || result->starts[GROUP_B] == 0)
		return err_set(err, FAIL_STATE, "one group never starts: that was no update");
	return 0;
}

/* ---- milestones ---- */

/* The first write to a slot of group b, and the last one before the flip. */
static int find_slot_writes(const struct replay *replay, const struct checker_slot *where,
	struct milestones *at, struct err *err)
{
	const struct rawspan *slot = &at->slot;
	bool found = false;

	if (checker_find(replay->checker, where, GROUP_B, &at->slot, err) < 0)
		return -1;
	for (size_t i = 0; i < at->flip; i++) {
		const struct write_log_entry *entry = &replay->log.entries[i];

		if (!entry->data || entry->off < slot->start ||
			entry->off - slot->start >= slot->size)
			continue;
		if (!found)
			at->begin = i;
		at->seal = i;
		found = true;
	}
	if (found)
		return 0;
	return err_set(
		err, FAIL_STATE, "nothing was written to slot '%s' of group b", where->class);
}

enum step {
	STEP_FLIP, /* group b is to be tried */
	STEP_COUNT, /* and has a try less; where there was one, none */
	STEP_CONFIRM, /* is good */
};

/* The entry of the first change from number *at on that is this step of group b. */
static size_t find_step(const struct checker_result *result, size_t *at, enum step step)
{
	const struct boot_group none = {0};

	while (*at < result->change_count) {
		const struct checker_change *change = &result->changes[*at];
		const struct boot_group *b = &change->choice.state.group[GROUP_B];
		const struct boot_group *before =
			*at > 0 ? &change[-1].choice.state.group[GROUP_B] : &none;
		const bool is_step[] = {
			[STEP_FLIP] = !b->good && b->tries > 0,
			[STEP_COUNT] = !b->good && b->tries < before->tries,
			[STEP_CONFIRM] = b->good,
		};

		(*at)++;
		if (is_step[step])
			return change->entry;
	}
	return 0;
}

static int find_milestones(
	struct rig *rig, struct replay *replay, struct milestones *ret, struct err *err)
{
	const struct checker_result *result;
	size_t states, at = 0;

	if (walk(replay, &PLAIN, &states, err) < 0)
		return -1;
	result = checker_result(replay->checker);
	ret->flip = find_step(result, &at, STEP_FLIP);
	ret->count = find_step(result, &at, STEP_COUNT);
	ret->confirm = find_step(result, &at, STEP_CONFIRM);
	if (find_slot_writes(replay, &rig->device->slots[0], ret, err) < 0)
		return -1;
	if (ret->begin < ret->seal && ret->flip < ret->count && ret->count < ret->confirm)
		return 0;
	return err_set(err, FAIL_STATE,
		"no order: first write %zu, flip %zu, count %zu, confirmation %zu", ret->begin,
		ret->flip, ret->count, ret->confirm);
}

/* ---- logs that are broken on purpose: the checker has to notice ---- */

/* With all that was written for it since the seal: a name of systemd-boot's without its text starts
 * nothing. */
static void move_flip_before_seal(struct write_log *log, const struct milestones *at)
{
	for (size_t from = at->seal + 1, to = at->begin + 1; from <= at->flip; from++, to++) {
		const struct write_log_entry entry = log->entries[from];

		for (size_t i = from; i > to; i--)
			log->entries[i] = log->entries[i - 1];
		log->entries[to] = entry;
	}
}

/* With the one that comes with entry `to`, before it. */
static void drop_flushes(struct write_log *log, size_t from, size_t to)
{
	for (size_t i = from; i <= to; i++)
		log->entries[i].flags &= ~(uint64_t)WRITE_LOG_FLUSH;
}

static void drop_all_flushes(struct write_log *log, const struct milestones *at)
{
	drop_flushes(log, at->begin, at->flip);
}

/* Of the whole block, where a device writes it by the sector. */
static void drop_last_flush(struct write_log *log, const struct milestones *at)
{
	const struct write_log_entry *entries = log->entries;
	size_t from = at->seal;

	while (from > at->begin && (entries[from].off - at->slot.start) % MEM_BLOCK != 0 &&
		entries[from - 1].off + entries[from - 1].len == entries[from].off)
		from--;
	/* A flush before the first sector is one of what came before the seal. */
	drop_flushes(log, from < at->seal ? from + 1 : from, at->flip);
}

/* Whether it writes a piece of the image, and not zeros, which a slot from the factory has: in the
 * first quarter of the slot there is nothing else, and the first block is written twice. */
static bool is_piece(const struct write_log_entry *entry, const struct rawspan *slot)
{
	uint64_t first = slot->start + MEM_BLOCK, end = slot->start + slot->size / 4;

	return entry->data && entry->off >= first && entry->off < end &&
	       (entry->data[0] || memcmp(entry->data, entry->data + 1, entry->len - 1) != 0);
}

/* The longest there is: a device may write by the sector. */
static void lose_write(struct write_log *log, const struct milestones *at)
{
	struct write_log_entry *longest = NULL;

	for (size_t i = at->begin; i < at->flip; i++)
		if (is_piece(&log->entries[i], &at->slot) &&
			(!longest || log->entries[i].len > longest->len))
			longest = &log->entries[i];
	if (!longest)
		return;
	longest->len = 0;
	longest->data = NULL;
}

static const struct {
	const char *name;
	void (*break_it)(struct write_log *log, const struct milestones *at);
	const char *noticed;
} BROKEN[] = {
	{"the flip comes before the seal", move_flip_before_seal, "half written"},
	{"nothing is flushed before the flip", drop_all_flushes, "its image is not whole"},
	{"the seal is not flushed before the flip", drop_last_flush, "half written"},
	{"a write is lost", lose_write, "its image is not whole"},
};

static int expect_noticed(struct rig *rig, struct replay *replay, const struct milestones *at,
	size_t number, struct err *err)
{
	CLEANUP(cleanup_free) void *entries = NULL;
	struct write_log_entry *whole = replay->log.entries;
	size_t states, len = at->confirm * sizeof(*whole);
	struct replay broken = *replay;
	struct err why = {0};
	int rc;

	if (mem_alloc(len, &entries, err) < 0)
		return -1;
	memcpy(entries, whole, len);
	broken.log.entries = entries;
	broken.log.count = at->confirm;
	BROKEN[number].break_it(&broken.log, at);
	broken.checker = NULL;
	if (new_checker(rig, &broken, err) < 0)
		return -1;
	rc = walk(&broken, &PLAIN, &states, &why);
	checker_close(&broken.checker);
	if (rc == 0 || why.code != FAIL_DRIFT || !strstr(why.msg, BROKEN[number].noticed))
		return err_set(err, FAIL_STATE, "%s: not noticed: %.150s", BROKEN[number].name,
			rc == 0 ? "" : why.msg);
	(void)printf("%s: %s: %s\n", rig->device->name, BROKEN[number].name, why.msg);
	return 0;
}

int scenario_broken_logs(struct rig *rig, struct err *err)
{
	CLEANUP(replay_close) struct replay replay = {.checker = NULL};
	struct milestones at;

	if (replay_open(rig, &replay, err) < 0 || find_milestones(rig, &replay, &at, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(BROKEN); i++)
		if (expect_noticed(rig, &replay, &at, i, err) < 0)
			return -1;
	return 0;
}

/* ---- some of the states, booted ---- */

struct cut {
	const char *what;
	size_t entries; /* so many reached the disk, */
	uint64_t sectors; /* the last one only so far; 0: whole */
	bool updated; /* release 2 runs then, else release 1 */
	bool tried; /* the trial has begun: where it has one try, that is used up, and release 1 runs */
};

static bool is_used_up(const struct rig *rig, const struct cut *cut)
{
	return cut->tried && rig->device->tries_max == 1;
}

static bool comes_up_updated(const struct rig *rig, const struct cut *cut)
{
	return cut->updated && !is_used_up(rig, cut);
}

static int boot_cut(
	struct rig *rig, const struct replay *replay, const struct cut *cut, struct err *err)
{
	bool updated = comes_up_updated(rig, cut);

	rig_cut_power(rig);
	rig->write_log[0] = '\0';
	if (crash_write_image(replay->factory, &replay->log, cut->entries, cut->sectors, rig->disk,
		    err) < 0 ||
		rig_power_on(rig, updated ? "2.0.0" : "1.0.0", err) < 0)
		return -1;
	return rig_run(rig, 0, err, "abide verify %s", updated ? "b" : "a");
}

/* What was cut is done again, to its end. */
static int second_try(struct rig *rig, const struct cut *cut, struct err *err)
{
	/* The device cannot know that it was not the release's fault. */
	if (is_used_up(rig, cut) && rig_install(rig, "", "release-2", 4, err) < 0)
		return -1;
	if (rig_install(rig, is_used_up(rig, cut) ? "--force" : "", "release-2", 0, err) < 0 ||
		rig_order_reboot(rig, err) < 0)
		return -1;
	return rig_wait_up(rig, "2.0.0", err);
}

int scenario_cut_states_boot(struct rig *rig, struct err *err)
{
	CLEANUP(replay_close) struct replay replay = {.checker = NULL};
	struct milestones at;

	if (replay_open(rig, &replay, err) < 0 || find_milestones(rig, &replay, &at, err) < 0)
		return -1;
	const struct cut cuts[] = {
		{"in the install", at.begin + (at.flip - at.begin) / 2, 0, false, false},
		{"right before the flip", at.flip, 0, false, false},
		{"in the flip's write", at.flip + 1, 1, true, false},
		{"right after the bootloader counted", at.count + 1, 0, true, true},
		{"right before the confirmation", at.confirm, 0, true, true},
		{"in the confirmation's write", at.confirm + 1, 1, true, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
		if (boot_cut(rig, &replay, &cuts[i], err) < 0)
			return err_wrap(err, "cut %s", cuts[i].what);
		if (!comes_up_updated(rig, &cuts[i]) && second_try(rig, &cuts[i], err) < 0)
			return err_wrap(err, "cut %s, and again", cuts[i].what);
	}
	return 0;
}
