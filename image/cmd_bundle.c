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

enum option_code {
	OUTPUT = 'o',
	HELP_OPTION = 'h',
	FIRST = 256, /* above all characters */
	KEY,
	CERT,
	CHAIN,
	COMPATIBLE,
	VERSION,
	SECURITY_VERSION,
	HARDWARE,
	IMAGE,
	DESCRIPTION,
	SOURCE,
	BUILDER,
	SBOM,
	CREATED,
	LEVEL,
	THREADS,
};

static const struct option OPTIONS[] = {
	{"output", required_argument, NULL, OUTPUT},
	{"key", required_argument, NULL, KEY},
	{"cert", required_argument, NULL, CERT},
	{"chain", required_argument, NULL, CHAIN},
	{"compatible", required_argument, NULL, COMPATIBLE},
	{"version", required_argument, NULL, VERSION},
	{"security-version", required_argument, NULL, SECURITY_VERSION},
	{"hardware", required_argument, NULL, HARDWARE},
	{"image", required_argument, NULL, IMAGE},
	{"description", required_argument, NULL, DESCRIPTION},
	{"source", required_argument, NULL, SOURCE},
	{"builder", required_argument, NULL, BUILDER},
	{"sbom", required_argument, NULL, SBOM},
	{"created", required_argument, NULL, CREATED},
	{"level", required_argument, NULL, LEVEL},
	{"threads", required_argument, NULL, THREADS},
	{"help", no_argument, NULL, HELP_OPTION},
	{0},
};

/* A text option, or NULL if the code is another. */
static const char **text_option(struct bundle_options *options, int code)
{
	const struct {
		int code;
		const char **text;
	} texts[] = {
		{OUTPUT, &options->output},
		{KEY, &options->key},
		{CERT, &options->cert},
		{CHAIN, &options->chain},
		{COMPATIBLE, &options->compatible},
		{VERSION, &options->version},
		{DESCRIPTION, &options->description},
		{SOURCE, &options->source},
		{BUILDER, &options->builder},
		{SBOM, &options->sbom},
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (texts[i].code == code)
			return texts[i].text;
	return NULL;
}

static int add_image(struct bundle_options *options, char *text, struct err *err)
{
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

static int add_hardware(struct bundle_options *options, const char *name, struct err *err)
{
	if (options->hardware_count == MANIFEST_HARDWARE_MAX)
		return err_set(err, FAIL_USAGE, "--hardware is given more than %u times",
			MANIFEST_HARDWARE_MAX);
	options->hardware[options->hardware_count++] = name;
	return 0;
}

static int set_number(const char *option, const char *text, uint64_t min, uint64_t max,
	uint64_t *ret, struct err *err)
{
	uint64_t value;

	if (!command_number(text, max, &value) || value < min)
		return err_set(err, FAIL_USAGE,
			"%s '%s' is not a number from %" PRIu64 " to %" PRIu64, option, text, min,
			max);
	*ret = value;
	return 0;
}

/* The options that are not plain text. */
static int set_option(struct bundle_options *options, int code, char *text, struct err *err)
{
	uint64_t number = 0;

	switch (code) {
	case IMAGE:
		return add_image(options, text, err);
	case HARDWARE:
		return add_hardware(options, text, err);
	case SECURITY_VERSION:
		return set_number("--security-version", text, 0, MANIFEST_NUMBER_MAX,
			&options->security_version, err);
	case CREATED:
		if (manifest_time_parse(text, &options->created))
			return 0;
		return err_set(err, FAIL_USAGE,
			"--created '%s' is not a time as 2026-11-20T09:00:00Z", text);
	case LEVEL:
		if (set_number("--level", text, COMPRESS_LEVEL_MIN, COMPRESS_LEVEL_MAX, &number,
			    err) < 0)
			return -1;
		options->level = (int)number;
		return 0;
	default:
		if (set_number("--threads", text, 1, PACK_THREADS_MAX, &number, err) < 0)
			return -1;
		options->threads = (unsigned int)number;
		return 0;
	}
}

static int check_required(const struct bundle_options *options, struct err *err)
{
	const struct {
		const char *option;
		bool given;
	} required[] = {
		{"--output", options->output},
		{"--key", options->key},
		{"--cert", options->cert},
		{"--compatible", options->compatible},
		{"--version", options->version},
		{"--image", options->image_count > 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(required); i++)
		if (!required[i].given)
			return err_set(err, FAIL_USAGE, "%s is missing", required[i].option);
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
	struct err err = {0};
	int code;

	while ((code = command_option(argc, argv, "o:h", OPTIONS)) != -1) {
		const char **text = text_option(options, code);

		if (code == '?')
			return command_usage(argv, NULL);
		if (code == HELP_OPTION) {
			(void)fputs(HELP, stdout);
			return command_done(argv);
		}
		if (text)
			*text = optarg;
		else if (set_option(options, code, optarg, &err) < 0)
			return command_usage(argv, "%s", err.msg);
	}
	if (optind < argc)
		return command_usage(argv, "'%s' is not an option", argv[optind]);
	if (check_required(options, &err) < 0)
		return command_usage(argv, "%s", err.msg);
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
