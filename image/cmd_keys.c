#include <stdio.h>
#include <string.h>

#include "image/commands.h"
#include "image/pki.h"
#include "updater/mem.h"

static const char HELP[] =
	"usage: abide-image keys [OPTION]... DIR\n"
	"\n"
	"Makes keys for DEVELOPMENT in DIR: root.pem (what devices trust) with root.key,\n"
	"and signer.pem with signer.key (what 'abide-image bundle' signs with).\n"
	"Existing files are never overwritten.\n"
	"\n"
	"  --type rsa|ecdsa   rsa (the default): 3072 bits, deterministic signatures, so that\n"
	"                     the same inputs give the same bundle; ecdsa: P-256\n"
	"  --add NAME         under the root that is in DIR, make another signer only:\n"
	"                     NAME.pem and NAME.key\n";

static const char WARNING[] =
	"\n"
	"  *************************************************************************\n"
	"  **  THESE KEYS ARE FOR DEVELOPMENT. They are not encrypted, the root's **\n"
	"  **  key lies next to the signer's, and nothing records who used them.  **\n"
	"  **  Do not put this root into devices that leave your desk.            **\n"
	"  *************************************************************************\n"
	"\n";

struct arguments {
	enum pki_type type;
	const char *add;
	const char *dir;
};

static int set_type(void *arg, char *value, struct err *err)
{
	enum pki_type *type = arg;

	if (strcmp(value, "rsa") != 0 && strcmp(value, "ecdsa") != 0)
		return err_set(err, FAIL_USAGE, "--type '%s' is neither rsa nor ecdsa", value);
	*type = strcmp(value, "rsa") == 0 ? PKI_RSA : PKI_ECDSA;
	return 0;
}

static int show(char **argv, const struct arguments *a)
{
	const char *name = a->add ? a->add : PKI_SIGNER_DEFAULT;

	if (!a->add)
		(void)printf("%s/root.pem: what devices trust ([trust] roots)\n"
			     "%s/root.key: its key\n",
			a->dir, a->dir);
	(void)printf("%s/%s.pem: the signer's certificate (bundle --cert)\n"
		     "%s/%s.key: its key (bundle --key)\n",
		a->dir, name, a->dir, name);
	(void)fputs(WARNING, stderr);
	return command_done(argv);
}

int cmd_keys(int argc, char **argv)
{
	struct arguments a = {.type = PKI_RSA};
	const struct command_option table[] = {
		{"type", .set = set_type, .arg = &a.type},
		{"add", .text = &a.add},
	};
	int code = command_parse(argc, argv, HELP, table, ARRAY_LEN(table));
	struct err err = {0};
	int made;

	if (code >= 0)
		return code;
	if (optind != argc - 1)
		return command_usage(argv, "one directory is expected, %d given", argc - optind);
	a.dir = argv[optind];
	made = a.add ? pki_add_signer(a.dir, a.type, a.add, &err)
		     : pki_make(a.dir, a.type, PKI_SIGNER_DEFAULT, &err);
	if (made < 0)
		return command_fail(argv, &err);
	return show(argv, &a);
}
