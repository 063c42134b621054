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
	enum { TRUST = 256, CRL, THRESHOLD };
	static const struct option OPTIONS[] = {
		{"trust", required_argument, NULL, TRUST},
		{"crl", required_argument, NULL, CRL},
		{"threshold", required_argument, NULL, THRESHOLD},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	uint64_t number;
	int code;

	while ((code = command_option(argc, argv, "h", OPTIONS)) != -1) {
		switch (code) {
		case TRUST:
			options->trust.roots = optarg;
			break;
		case CRL:
			options->trust.crl = optarg;
			break;
		case THRESHOLD:
			if (!command_number(optarg, 16, &number) || number < 1)
				return command_usage(argv,
					"--threshold '%s' is not a number from 1 to 16", optarg);
			options->trust.threshold = (unsigned int)number;
			break;
		case 'h':
			(void)fputs(HELP, stdout);
			return command_done(argv);
		default:
			return command_usage(argv, NULL);
		}
	}
	if (optind != argc - 2)
		return command_usage(
			argv, "a bundle and a directory are expected, %d given", argc - optind);
	if (!options->trust.roots)
		return command_usage(
			argv, "--trust is missing: whose signature should be believed?");
	options->bundle = argv[optind];
	options->dir = argv[optind + 1];
	return -1;
}

int cmd_extract(int argc, char **argv)
{
	struct extract_options options = {.trust.threshold = 1};
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
