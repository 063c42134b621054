/*
 * The signature: the one thing that the privileged process parses before it is authenticated. The
 * seeds are right signatures over MANIFEST under ROOT, so that what lies behind the first checks
 * is reached; a key that nobody has any more made them.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "updater/signature.h"

#define SEEN 1800000000 /* 2027: judged at the same time wherever and whenever this runs */

static const char MANIFEST[] = "{\"a\": 1}\n";
static const char ROOT[] = "-----BEGIN CERTIFICATE-----\n"
			   "MIIBZTCCAQqgAwIBAgIUZqGOpN0TwJG70KI3pgwPqYO/hrQwCgYIKoZIzj0EAwIw\n"
			   "DzENMAsGA1UEAwwEcm9vdDAgFw0yNjExMjMwNTE1NThaGA8yMTI2MTAzMDA1MTU1\n"
			   "OFowDzENMAsGA1UEAwwEcm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCIo\n"
			   "18AV4sndLcAQTuzvjsZTI2XQ+KBhdPWw9xXrpDoMju6m0928/kFnOGBVY7f01OuB\n"
			   "LfoyjkeBHcPF5hw33jqjQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQD\n"
			   "AgIEMB0GA1UdDgQWBBTfjxsMZg+N/beQj8gSI4cvLRvNxDAKBggqhkjOPQQDAgNJ\n"
			   "ADBGAiEA0SsLOlwbRpeMpefGlL0nCdq7anc8xTKs/X884eCK1xUCIQCIgj382WU8\n"
			   "ClFLdMSCa2ZhwV8aF68nIvsO4Hu19HXnyA==\n"
			   "-----END CERTIFICATE-----\n";

static char root_path[] = "/tmp/abide-fuzz-XXXXXX";

int LLVMFuzzerInitialize(const int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void remove_root(void)
{
	(void)unlink(root_path); /* at exit: nobody is left to tell */
}

int LLVMFuzzerInitialize(const int *argc, char ***argv)
{
	int fd = mkstemp(root_path);

	(void)argc;
	(void)argv;
	if (fd < 0 || write(fd, ROOT, strlen(ROOT)) != (ssize_t)strlen(ROOT) || close(fd) != 0 ||
		atexit(remove_root) != 0)
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct trust trust = {.roots = root_path, .threshold = 1, .seen = SEEN};
	CLEANUP(trusted_free) struct trusted *trusted = NULL;
	CLEANUP(bytes_finish) struct bytes manifest = {0};
	CLEANUP(bytes_finish) struct bytes signature = {0};
	struct err err = {0};

	if (bytes_copy(MANIFEST, strlen(MANIFEST), &manifest, &err) < 0 ||
		bytes_copy(data, len, &signature, &err) < 0)
		return 0;
	if (signature_verify(&trust, &manifest, &signature, &trusted, &err) < 0) {
		if (err.code != FAIL_UNTRUSTED || trusted || !manifest.data)
			abort();
		return 0;
	}
	if (manifest.data || trusted_signer_count(trusted) < 1)
		abort();
	return 0;
}
