#include <inttypes.h>
#include <stdio.h>

#include "image/commands.h"
#include "image/delta.h"

static const char HELP[] =
	"usage: abide-image delta [OPTION]... -o DELTA.abide OLD.abide NEW.abide\n"
	"\n"
	"Makes a bundle of the same artifact as NEW, signature and all, that holds only what OLD "
	"does\n"
	"not have. It installs where OLD runs. No key is needed. OLD and NEW are full bundles.\n"
	"\n"
	"  -o, --output FILE  the delta\n"
	"  --level N          zstd level, 1 to 22; default 19\n"
	"  --threads N        default: as many as there are processors\n";

static int bad_number(char **argv, const char *option, const char *text)
{
	return command_usage(argv, "%s is '%s', not a number in its range", option, text);
}

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct delta_options *options)
{
	enum { LEVEL = 256, THREADS };
	static const struct option OPTIONS[] = {
		{"output", required_argument, NULL, 'o'},
		{"level", required_argument, NULL, LEVEL},
		{"threads", required_argument, NULL, THREADS},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	uint64_t number;
	int code;

	while ((code = command_option(argc, argv, "o:h", OPTIONS)) != -1) {
		switch (code) {
		case 'o':
			options->output = optarg;
			break;
		case LEVEL:
			if (!command_number(optarg, COMPRESS_LEVEL_MAX, &number) ||
				number < COMPRESS_LEVEL_MIN)
				return bad_number(argv, "--level", optarg);
			options->level = (int)number;
			break;
		case THREADS:
			if (!command_number(optarg, PACK_THREADS_MAX, &number) || number < 1)
				return bad_number(argv, "--threads", optarg);
			options->threads = (unsigned int)number;
			break;
		case 'h':
			(void)fputs(HELP, stdout);
			return command_done(argv);
		default:
			return command_usage(argv, NULL);
		}
	}
	if (optind != argc - 2)
		return command_usage(argv, "two bundles are expected, %d given", argc - optind);
	options->base = argv[optind];
	options->bundle = argv[optind + 1];
	return options->output ? -1 : command_usage(argv, "--output is missing");
}

static void show(const struct delta_options *options, const struct delta_result *result)
{
	char id[DIGEST_HEX_LEN + 1];

	digest_to_hex(&result->id, id);
	(void)printf("%s: artifact %s, %" PRIu64 " bytes of %" PRIu64 "\n", options->output, id,
		result->size, result->full);
	digest_to_hex(&result->base, id);
	(void)printf("  delta for artifact %s\n", id);
	for (size_t i = 0; i < result->image_count; i++) {
		const struct pack_stats *s = &result->stats[i];

		(void)printf("  %s: %" PRIu64 " bytes are in the base, %" PRIu64
			     " patched in %" PRIu64 ", %" PRIu64 " stored in %" PRIu64 "\n",
			result->class[i], s -> plain[STORE_BASE], s -> plain[STORE_PATCH],
			s -> kept[STORE_PATCH], s -> plain[STORE_RAW] + s -> plain[STORE_ZSTD],
			s -> kept[STORE_RAW] + s -> kept[STORE_ZSTD]);
	}
}

int cmd_delta(int argc, char **argv)
{
	struct delta_options options = {0};
	struct delta_result result;
	struct err err = {0};
	int code = parse(argc, argv, &options);

	if (code >= 0)
		return code;
	options.interrupted = command_interruptible();
	if (delta_create(&options, &result, &err) < 0)
		return command_fail(argv, &err);
	show(&options, &result);
	return command_done(argv);
}
