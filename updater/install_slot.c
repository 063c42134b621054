#include "updater/install_slot.h"

#include <string.h>

#include "updater/base.h"
#include "updater/fill.h"
#include "updater/mem.h"

static void tell(const struct install *in, enum install_phase phase, uint64_t done, uint64_t total)
{
	const struct install_progress progress = {
		.phase = phase, .class = in->class, .done = done, .total = total};

	if (in->options->progress)
		in->options->progress(in->options->arg, &progress);
}

static void on_fill(void *arg, bool checking, uint64_t done, uint64_t total)
{
	tell(arg, checking ? INSTALL_CHECK : INSTALL_WRITE, done, total);
}

static void on_read_back(void *arg, uint64_t done, uint64_t total)
{
	tell(arg, INSTALL_READ_BACK, done, total);
}

const struct manifest_image *install_image(const struct install *in, size_t class, size_t *ret_i)
{
	const struct manifest *manifest = in->artifact.manifest;
	const struct manifest_image *image =
		manifest_image(manifest, in->device->classes[class].name);

	if (ret_i)
		*ret_i = (size_t)(image - manifest->images);
	return image;
}

bool install_holds(const struct install *in, const struct seal *seal)
{
	return seal->state != SEAL_NONE && digest_equal(&seal->artifact, &in->result.artifact) &&
	       strcmp(seal->class, in->class) == 0;
}

int install_plan_slot(const struct install *in, size_t class, const struct seal *seal,
	struct plan_image **ret, struct err *err)
{
	CLEANUP(index_free) struct index *old = NULL;
	CLEANUP(plan_image_free) struct plan_image *plan = NULL;
	struct plan_seed seed = {0};
	const struct index *index;
	size_t i;

	(void)install_image(in, class, &i);
	index = in->artifact.indexes[i];
	if (seal->state == SEAL_SEALED)
		seed.old_index = old = seeds_index(in->device, in->slots[class], seal, in->class);
	if (seal->state == SEAL_WRITING && install_holds(in, seal))
		seed.resume = seal->mark + 1; /* a mark of 0 is a beginning, too */
	if (plan_image_make(index, &seed, &plan, err) < 0 ||
		seeds_add(&in->seeds, in->device, &in->view, class, index, old, plan, err) < 0)
		return -1;
	*ret = steal_ptr(&plan);
	return 0;
}

static int on_flushed(void *arg, const uint8_t *first, uint64_t mark, struct err *err)
{
	struct install *in = arg;

	return readback_ahead(in->readback, first, mark, err);
}

static struct readback_watch watch_of(struct install *in)
{
	return (struct readback_watch){
		.progress = on_read_back, .arg = in, .interrupted = in->options->interrupted};
}

int install_read_back(struct install *in, size_t class, struct err *err)
{
	const struct readback_watch watch = watch_of(in);

	/* One from before the slot was written again proves nothing any more. */
	readback_proof_free(&in->proofs[class]);
	return readback_run(in->slots[class], in->artifact.trusted, install_image(in, class, NULL),
		&watch, &in->proofs[class], err);
}

static void count_bytes(struct install *in, const struct fill *fill)
{
	struct plan_totals totals = plan_totals(fill->plan, fill->index);

	in->result.bytes.zero += totals.zero;
	in->result.bytes.repeat += totals.repeat;
	in->result.bytes.in_place += totals.in_place;
	in->result.bytes.seed += totals.seed;
	in->result.bytes.moved += totals.moved;
	in->result.bytes.fetch += totals.fetch;
	in->result.written += fill->written;
}

static int fill_slot(struct install *in, size_t class, const struct seal *old, struct seal *seal,
	struct err *err)
{
	CLEANUP(plan_image_free) struct plan_image *plan = NULL;
	CLEANUP(base_close) struct base *base = NULL;
	size_t i;
	int result;

	(void)install_image(in, class, &i);
	if (install_plan_slot(in, class, old, &plan, err) < 0)
		return -1;
	if (in->artifact.delta &&
		seeds_base(&in->seeds, in->device, &in->view, class, &base, err) < 0)
		return -1;
	struct fill fill = {
		.slot = in->slots[class],
		.class = in->class,
		.index = in->artifact.indexes[i],
		.plan = plan,
		.seeds = in->seeds.slots,
		.carrier = in->artifact.carrier,
		.base = base_carrier(base),
		.seal = seal,
		.mark_interval = in->options->mark_interval,
		.flushed = on_flushed,
		.progress = on_fill,
		.arg = in,
		.interrupted = in->options->interrupted,
	};
	result = fill_check(&fill, err) < 0 || fill_write(&fill, err) < 0 ? -1 : 0;
	in->source_failed = fill.source_failed;
	count_bytes(in, &fill);
	return result;
}

int install_bring_slot(struct install *in, size_t class, const struct seal *old, struct seal *seal,
	struct err *err)
{
	const struct readback_watch watch = watch_of(in);
	size_t i;
	const struct manifest_image *image = install_image(in, class, &i);

	in->class = in->device->classes[class].name;
	readback_free(&in->readback);
	/* One from before the slot is written again proves nothing any more. */
	readback_proof_free(&in->proofs[class]);
	if (readback_new(in->slots[class], in->artifact.trusted, image, in->artifact.indexes[i],
		    &watch, &in->readback, err) < 0)
		return -1;
	if (fill_slot(in, class, old, seal, err) < 0)
		return -1;
	/* Power cut anywhere up to the seal: the slot says `writing`; the next install looks at
	 * what is there, writes what is not right, and comes here again. */
	if (readback_finish(in->readback, &in->proofs[class], err) < 0)
		return -1;
	readback_free(&in->readback);
	return readback_seal(in->slots[class], in->proofs[class], &in->header, seal, err);
}
