#include <inttypes.h>
#include <stdio.h>

#include "image/commands.h"
#include "image/extract.h"
#include "updater/mem.h"

static const char HELP[] =
	"usage: abide-image extract [OPTION]... --trust PEM BUNDLE DIR\n"
	"\n"
	"Verifies a bundle - signature, indexes, every chunk, every image - and writes its\n"
	"images to DIR/CLASS.img. If anything is wrong, nothing is written.\n"
	"\n"
	"  --trust FILE   the trusted roots, PEM\n"
	"  --crl FILE     revocation lists, PEM\n"
	"  --threshold N  how many signers are needed; default 1\n";

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct extract_options *options)
{
	uint64_t threshold = 1;
	const struct command_option table[] = {
		{"trust", .text = &options->trust.roots, .needed = true},
		{"crl", .text = &options->trust.crl},
		{"threshold", .number = &threshold, .min = 1, .max = 16},
	};
	int code = command_parse(argc, argv, HELP, table, ARRAY_LEN(table));

	if (code >= 0)
		return code;
	if (optind != argc - 2)
		return command_usage(
			argv, "a bundle and a directory are expected, %d given", argc - optind);
	options->trust.threshold = (unsigned int)threshold;
	options->bundle = argv[optind];
	options->dir = argv[optind + 1];
	return -1;
}

int cmd_extract(int argc, char **argv)
{
	struct extract_options options = {0};
	CLEANUP(manifest_free) struct manifest *manifest = NULL;
	struct err err = {0};
	int code = parse(argc, argv, &options);

	if (code >= 0)
		return code;
	options.interrupted = command_interruptible();
	if (extract_run(&options, &manifest, &err) < 0)
		return command_fail(argv, &err);
	for (size_t i = 0; i < manifest->image_count; i++)
		(void)printf("%s/%s.img: %" PRIu64 " bytes, verified\n", options.dir,
			manifest->images[i].class, manifest->images[i].size);
	return command_done(argv);
}
