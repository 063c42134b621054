#include "updater/seeds.h"

#include <string.h>

#include "updater/header.h"
#include "updater/log.h"

/* The plan's numbers: PLAN_SELF, then the classes. */
static unsigned int number_of(size_t class)
{
	return (unsigned int)class + 1;
}

_Static_assert(MANIFEST_IMAGES_MAX < PLAN_SEEDS_MAX, "every class has a number");

void seeds_open(const struct device *device, const struct device_view *view, struct seeds *ret)
{
	struct seeds seeds = {0};
	struct err err;

	for (size_t i = 0; i < device->class_count; i++) {
		if (view->seals[device->booted][i].state != SEAL_SEALED)
			continue;
		if (device->open_slot(
			    device, i, device->booted, false, &seeds.slots[number_of(i)], &err) < 0)
			log_debug("no seed: %s", err.msg);
	}
	*ret = seeds;
}

void seeds_close(struct seeds *seeds)
{
	for (size_t i = 0; i < PLAN_SEEDS_MAX; i++)
		blockdev_close(&seeds->slots[i]);
}

struct index *seeds_index(const struct device *device, struct blockdev *slot,
	const struct seal *seal, const char *class)
{
	CLEANUP(header_finish) struct header header = {0};
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	struct index *index = NULL;
	struct err err = {0};

	if (device_read_header(device, slot, seal, &header, NULL, &manifest, &err) < 0) {
		log_debug("no seed: '%s': %s", slot->name, err.msg);
		return NULL;
	}
	for (size_t i = 0; i < manifest->image_count; i++) {
		const struct manifest_image *image = &manifest->images[i];
		struct digest digest;

		if (strcmp(image->class, class) != 0 ||
			digest_once(header.index[i].data, header.index[i].len, &digest, &err) < 0 ||
			!digest_equal(&digest, &image->index_sha256))
			continue;
		if (index_parse(&header.index[i], image->size, &index, &err) < 0)
			log_debug("no seed: '%s': %s", slot->name, err.msg);
	}
	return index;
}

static int add_running(const struct seeds *seeds, const struct device *device,
	const struct device_view *view, size_t class, const struct index *index,
	struct plan_image *plan, struct err *err)
{
	CLEANUP(index_free) struct index *seed = NULL;
	unsigned int number = number_of(class);

	if (!seeds->slots[number])
		return 0;
	seed = seeds_index(device, seeds->slots[number], &view->seals[device->booted][class],
		device->classes[class].name);
	return seed ? plan_image_add_seed(plan, index, seed, number, err) : 0;
}

int seeds_add(const struct seeds *seeds, const struct device *device,
	const struct device_view *view, size_t class, const struct index *index,
	const struct index *old, struct plan_image *plan, struct err *err)
{
	if (add_running(seeds, device, view, class, index, plan, err) < 0)
		return -1;
	for (size_t i = 0; i < device->class_count; i++)
		if (i != class && add_running(seeds, device, view, i, index, plan, err) < 0)
			return -1;
	if (old && plan_image_add_seed(plan, index, old, PLAN_SELF, err) < 0)
		return -1;
	plan_image_end_seeds(plan);
	return 0;
}

int seeds_base(const struct seeds *seeds, const struct device *device,
	const struct device_view *view, size_t class, struct base **ret, struct err *err)
{
	CLEANUP(index_free) struct index *index = NULL;
	struct blockdev *slot = seeds->slots[number_of(class)];

	if (slot)
		index = seeds_index(device, slot, &view->seals[device->booted][class],
			device->classes[class].name);
	if (!index) {
		*ret = NULL;
		return 0;
	}
	return base_open(slot, &index, ret, err);
}
