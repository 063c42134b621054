#include <stdio.h>

#include "image/commands.h"
#include "image/resign.h"

static const char HELP[] =
	"usage: abide-image sign [OPTION]... --key KEY --cert PEM BUNDLE\n"
	"\n"
	"Adds a signature to a bundle: for devices that want two, or to replace a development\n"
	"key's by a release key's. What is signed does not change, nor does its artifact id.\n"
	"\n"
	"  --key FILE         the signer's private key, PEM, not encrypted\n"
	"  --cert FILE        its certificate, PEM, for code signing\n"
	"  --chain FILE       intermediate certificates, PEM\n"
	"  -o, --output FILE  write the result there; default: replace BUNDLE in one step\n"
	"  --replace          drop the signatures that are there\n";

static int missing(char **argv, const struct resign_options *options)
{
	if (!options->key)
		return command_usage(argv, "--key is missing");
	if (!options->cert)
		return command_usage(argv, "--cert is missing");
	return -1;
}

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct resign_options *options)
{
	enum { KEY = 256, CERT, CHAIN, REPLACE };
	static const struct option OPTIONS[] = {
		{"key", required_argument, NULL, KEY},
		{"cert", required_argument, NULL, CERT},
		{"chain", required_argument, NULL, CHAIN},
		{"output", required_argument, NULL, 'o'},
		{"replace", no_argument, NULL, REPLACE},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int code;

	while ((code = command_option(argc, argv, "o:h", OPTIONS)) != -1) {
		switch (code) {
		case KEY:
			options->key = optarg;
			break;
		case CERT:
			options->cert = optarg;
			break;
		case CHAIN:
			options->chain = optarg;
			break;
		case REPLACE:
			options->replace = true;
			break;
		case 'o':
			options->output = optarg;
			break;
		case 'h':
			(void)fputs(HELP, stdout);
			return command_done(argv);
		default:
			return command_usage(argv, NULL);
		}
	}
	if (optind != argc - 1)
		return command_usage(argv, "one bundle is expected, %d given", argc - optind);
	options->bundle = argv[optind];
	return missing(argv, options);
}

int cmd_sign(int argc, char **argv)
{
	struct resign_options options = {0};
	char id[DIGEST_HEX_LEN + 1];
	struct digest digest;
	struct err err = {0};
	int code = parse(argc, argv, &options);

	if (code >= 0)
		return code;
	options.interrupted = command_interruptible();
	if (resign_run(&options, &digest, &err) < 0)
		return command_fail(argv, &err);
	digest_to_hex(&digest, id);
	(void)printf(
		"%s: artifact %s, signed\n", options.output ? options.output : options.bundle, id);
	return command_done(argv);
}
