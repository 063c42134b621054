#include <stdio.h>

#include "image/commands.h"
#include "image/resign.h"
#include "updater/mem.h"

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

/* Returns the exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct resign_options *options)
{
	const struct command_option table[] = {
		{"key", .text = &options->key, .needed = true},
		{"cert", .text = &options->cert, .needed = true},
		{"chain", .text = &options->chain},
		{"output", .text = &options->output},
		{"replace", .flag = &options->replace},
	};
	int code = command_parse(argc, argv, HELP, table, ARRAY_LEN(table));

	if (code >= 0)
		return code;
	if (optind != argc - 1)
		return command_usage(argv, "one bundle is expected, %d given", argc - optind);
	options->bundle = argv[optind];
	return -1;
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
