/*
 * signers - a small PKI and signatures made by the real `openssl` command, in a directory of its
 * own: what abide must agree with.
 *
 *	signers_new -> signers_cert / signers_run* -> signers_free
 *
 * Every failure of the command is a failed assertion that shows what it said.
 */
#ifndef ABIDE_TESTS_SIGNERS_H
#define ABIDE_TESTS_SIGNERS_H

#include "updater/mem.h"

struct signers {
	char dir[64];
};

/* The directory with ROOT_NAME.pem and .key for each root: "root" and "stranger" (ECDSA P-256). */
void signers_new(struct signers *ret);
void signers_free(struct signers *signers);

/* `openssl ARGS` in the directory; arguments are split at spaces. Returns its exit status. */
int signers_try(const struct signers *signers, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The same, and it must succeed. */
void signers_run(const struct signers *signers, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* NAME.key and NAME.pem: key is a -newkey argument such as "ec -pkeyopt ec_paramgen_curve:P-256",
 * issuer a name made before, kind a section of the extensions in signers.c. */
void signers_cert(const struct signers *signers, const char *name, const char *key,
	const char *issuer, const char *kind);
/* The same with dates such as 20200101000000Z. */
void signers_cert_dated(const struct signers *signers, const char *name, const char *issuer,
	const char *start, const char *end);
/* NAME.p7s over the file `content`, by the signer (-signer NAME.pem -inkey NAME.key OPTIONS). */
void signers_sign(const struct signers *signers, const char *content, const char *name,
	const char *options, const char *out);

void signers_write(const struct signers *signers, const char *file, const void *data, size_t len);
struct bytes signers_read(const struct signers *signers, const char *file);
/* "DIR/FILE", valid until the program ends. */
const char *signers_path(const struct signers *signers, const char *file);

#define SIGNERS_EC "ec -pkeyopt ec_paramgen_curve:P-256"

#endif
