#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "image/commands.h"
#include "image/disk.h"
#include "updater/mem.h"

static const char HELP[] =
	"usage: abide-image disk -o DISK|DEVICE --layout FILE --bundle BUNDLE --trust PEM\n"
	"\n"
	"Makes a factory disk: partition table, the bootloader's partition, group a sealed with\n"
	"the bundle's images, group b empty, an empty data partition. ALL of DISK is brought to\n"
	"that state; what is right already is not written, so run again it writes nothing.\n"
	"The same inputs give the same bytes.\n"
	"\n"
	"  -o DISK|DEVICE     a file, made or grown to the layout's size, or a block device\n"
	"                     that is not in use\n"
	"  --layout FILE      partitions and bootloader: the layout-*.ini explain the keys\n"
	"  --bundle BUNDLE    path or URL; its signature is verified\n"
	"  --trust PEM        the roots to verify it against\n"
	"\n"
	"Times on the disk are SOURCE_DATE_EPOCH, or when the bundle was created.\n";

/* -1: go on with *ret; else the exit code. */
static int parse(int argc, char **argv, struct disk_options *ret)
{
	const struct command_option table[] = {
		{"output", .text = &ret->target, .needed = true},
		{"layout", .text = &ret->layout, .needed = true},
		{"bundle", .text = &ret->bundle, .needed = true},
		{"trust", .text = &ret->trust, .needed = true},
	};
	int code = command_parse(argc, argv, HELP, table, ARRAY_LEN(table));

	if (code >= 0)
		return code;
	if (optind != argc)
		return command_usage(argv, "'%s': no operands are expected", argv[optind]);
	return -1;
}

int cmd_disk(int argc, char **argv)
{
	struct disk_options options = {0};
	struct disk_result result;
	struct err err = {0};
	int code = parse(argc, argv, &options);

	if (code >= 0)
		return code;
	if (getenv("SOURCE_DATE_EPOCH") && command_now(&options.time, &err) < 0)
		return command_fail(argv, &err);
	options.interrupted = command_interruptible();
	if (disk_make(&options, &result, &err) < 0)
		return command_fail(argv, &err);
	(void)printf("%s: %" PRIu64 " bytes, release %s in group a, %" PRIu64 " bytes written\n",
		options.target, result.size, result.version, result.written);
	return command_done(argv);
}
