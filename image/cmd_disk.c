#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "image/commands.h"
#include "image/disk.h"

static const char HELP[] =
	"usage: abide-image disk -o DISK|DEVICE --layout FILE --bundle BUNDLE --trust PEM\n"
	"\n"
	"Makes a factory disk: partition table, ESP with GRUB, group a sealed with the\n"
	"bundle's images, group b empty, an empty data partition. ALL of DISK is brought to\n"
	"that state; what is right already is not written, so run again it writes nothing.\n"
	"The same inputs give the same bytes.\n"
	"\n"
	"  -o DISK|DEVICE     a file, made or grown to the layout's size, or a block device\n"
	"                     that is not in use\n"
	"  --layout FILE      partitions: layout-x86_64-grub.ini explains the keys\n"
	"  --bundle BUNDLE    path or URL; its signature is verified\n"
	"  --trust PEM        the roots to verify it against\n"
	"\n"
	"Times on the disk are SOURCE_DATE_EPOCH, or when the bundle was created.\n";

enum { LAYOUT = 256, BUNDLE, TRUST };

/* -1: go on with *ret; else the exit code. */
static int parse(int argc, char **argv, struct disk_options *ret)
{
	static const struct option OPTIONS[] = {
		{"output", required_argument, NULL, 'o'},
		{"layout", required_argument, NULL, LAYOUT},
		{"bundle", required_argument, NULL, BUNDLE},
		{"trust", required_argument, NULL, TRUST},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = command_option(argc, argv, "o:h", OPTIONS)) != -1) {
		switch (option) {
		case 'o':
			ret->target = optarg;
			break;
		case LAYOUT:
			ret->layout = optarg;
			break;
		case BUNDLE:
			ret->bundle = optarg;
			break;
		case TRUST:
			ret->trust = optarg;
			break;
		case 'h':
			(void)fputs(HELP, stdout);
			return command_done(argv);
		default:
			return command_usage(argv, NULL);
		}
	}
	if (optind != argc)
		return command_usage(argv, "'%s': no operands are expected", argv[optind]);
	if (!ret->target || !ret->layout || !ret->bundle || !ret->trust)
		return command_usage(argv, "-o, --layout, --bundle and --trust are needed");
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
