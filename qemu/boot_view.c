#include "qemu/boot_view.h"

int boot_view_check_files(const struct rawspan *fat, const struct rawdisk *factory,
	const char *partition, const char *const files[], size_t count, struct err *err)
{
	struct rawspan before;

	if (rawdisk_partition(factory, partition, &before, err) < 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (fat_compare_file(fat, &before, files[i], err) < 0)
			return -1;
	return 0;
}
