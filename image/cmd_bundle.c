#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/bundle.h"
#include "image/commands.h"
#include "updater/mem.h"

static const char HELP[] =
	"usage: abide-image bundle -o OUT.abide --key KEY --cert PEM --compatible NAME\n"
	"                          --version V --image CLASS=FILE... [OPTION]...\n"
	"\n"
	"Packs images into a signed bundle. The same inputs give the same bytes (with an RSA\n"
	"key, and --created or SOURCE_DATE_EPOCH), with any number of threads.\n"
	"\n"
	"  -o, --output FILE        the bundle; replaced in one step if it exists\n"
	"  --key FILE               the signer's private key, PEM, not encrypted\n"
	"  --cert FILE              its certificate, PEM, for code signing\n"
	"  --chain FILE             intermediate certificates, PEM\n"
	"  --compatible NAME        the kind of device this is for\n"
	"  --version TEXT           the release, for people\n"
	"  --security-version N     devices take none lower than what they run; default 0\n"
	"  --hardware NAME          only for this hardware; may be repeated\n"
	"  --image CLASS=FILE       an image and the class of slots it is for; repeat for more\n"
	"  --description TEXT, --source TEXT, --builder TEXT, --sbom TEXT\n"
	"                           free text, signed with the rest\n"
	"  --created TIME           as 2026-11-20T09:00:00Z; default SOURCE_DATE_EPOCH, else now\n"
	"  --level N                zstd level, 1 to 22; default 15\n"
	"  --threads N              default: all processors\n";

static int add_image(void *arg, char *text, struct err *err)
{
	struct bundle_options *options = arg;
	char *equals = strchr(text, '=');

	if (!equals || equals == text || equals[1] == '\0')
		return err_set(err, FAIL_USAGE, "--image '%s' is not CLASS=FILE", text);
	if (options->image_count == MANIFEST_IMAGES_MAX)
		return err_set(err, FAIL_USAGE, "--image is given more than %u times",
			MANIFEST_IMAGES_MAX);
	*equals = '\0';
	options->images[options->image_count++] =
		(struct bundle_image){.class = text, .path = equals + 1};
	return 0;
}

static int add_hardware(void *arg, char *name, struct err *err)
{
	struct bundle_options *options = arg;

	if (options->hardware_count == MANIFEST_HARDWARE_MAX)
		return err_set(err, FAIL_USAGE, "--hardware is given more than %u times",
			MANIFEST_HARDWARE_MAX);
	options->hardware[options->hardware_count++] = name;
	return 0;
}

static int set_created(void *arg, char *text, struct err *err)
{
	if (!manifest_time_parse(text, arg))
		return err_set(err, FAIL_USAGE,
			"--created '%s' is not a time as 2026-11-20T09:00:00Z", text);
	return 0;
}

static void show(const struct bundle_options *options, const struct bundle_result *result)
{
	char id[DIGEST_HEX_LEN + 1];

	digest_to_hex(&result->id, id);
	(void)printf("%s: artifact %s, %" PRIu64 " bytes\n", options->output, id, result->size);
	for (size_t i = 0; i < options->image_count; i++) {
		const struct pack_stats *s = &result->stats[i];
		uint64_t plain = 0;
		uint32_t chunks = 0;

		for (size_t e = 0; e < ARRAY_LEN(s->plain); e++) {
			plain += s->plain[e];
			chunks += s->chunks[e];
		}
		(void)printf("  %s: %" PRIu64 " bytes in %" PRIu32 " chunks, stored in %" PRIu64
			     " bytes (%" PRIu64 " %%); %" PRIu64 " zero, %" PRIu64 " repeated\n",
			options->images[i].class, plain, chunks, s->stored, s->stored * 100 / plain,
			s->plain[STORE_ZERO], s->plain[STORE_SAME]);
	}
}

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct bundle_options *options)
{
	uint64_t level = 0, threads = 0; /* the defaults */
	const struct command_option table[] = {
		{"output", .text = &options->output, .needed = true},
		{"key", .text = &options->key, .needed = true},
		{"cert", .text = &options->cert, .needed = true},
		{"chain", .text = &options->chain},
		{"compatible", .text = &options->compatible, .needed = true},
		{"version", .text = &options->version, .needed = true},
		{"security-version", .number = &options->security_version,
			.max = MANIFEST_NUMBER_MAX},
		{"hardware", .set = add_hardware, .arg = options},
		{"image", .set = add_image, .arg = options, .needed = true},
		{"description", .text = &options->description},
		{"source", .text = &options->source},
		{"builder", .text = &options->builder},
		{"sbom", .text = &options->sbom},
		{"created", .set = set_created, .arg = &options->created},
		{"level", .number = &level, .min = COMPRESS_LEVEL_MIN, .max = COMPRESS_LEVEL_MAX},
		{"threads", .number = &threads, .min = 1, .max = PACK_THREADS_MAX},
	};
	int code = command_parse(argc, argv, HELP, table, ARRAY_LEN(table));

	if (code >= 0)
		return code;
	if (optind < argc)
		return command_usage(argv, "'%s' is not an option", argv[optind]);
	options->level = (int)level;
	options->threads = (unsigned int)threads;
	return -1;
}

int cmd_bundle(int argc, char **argv)
{
	struct bundle_options options = {0};
	struct bundle_result result;
	struct err err = {0};
	int code;

	if (command_now(&options.created, &err) < 0)
		return command_fail(argv, &err);
	code = parse(argc, argv, &options);
	if (code >= 0)
		return code;
	options.interrupted = command_interruptible();
	if (bundle_create(&options, &result, &err) < 0)
		return command_fail(argv, &err);
	show(&options, &result);
	return command_done(argv);
}
