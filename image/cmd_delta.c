#include <inttypes.h>
#include <stdio.h>

#include "image/commands.h"
#include "image/delta.h"
#include "updater/mem.h"

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

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct delta_options *options)
{
	uint64_t level = 0, threads = 0; /* the defaults */
	const struct command_option table[] = {
		{"output", .text = &options->output, .needed = true},
		{"level", .number = &level, .min = COMPRESS_LEVEL_MIN, .max = COMPRESS_LEVEL_MAX},
		{"threads", .number = &threads, .min = 1, .max = PACK_THREADS_MAX},
	};
	int code = command_parse(argc, argv, HELP, table, ARRAY_LEN(table));

	if (code >= 0)
		return code;
	if (optind != argc - 2)
		return command_usage(argv, "two bundles are expected, %d given", argc - optind);
	options->level = (int)level;
	options->threads = (unsigned int)threads;
	options->base = argv[optind];
	options->bundle = argv[optind + 1];
	return -1;
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
