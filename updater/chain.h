/*
 * chain - whether a certificate may sign for this device: the X.509 half of signature.c, its only
 * user.
 *
 * A certificate passes if it leads to one of the trusted roots at the given time, every key and
 * signature on the way is strong (OpenSSL's security level 2: RSA >= 2048, SHA-2; here also
 * ECDSA >= 256 bits on a named curve), and it is for code signing (extended key usage; key usage
 * digitalSignature where there is a key usage). With CRLs, each authority on the way must have one
 * that has not expired; one from the "future" is taken, because it tells of a clock that is slow
 * and can only revoke more. Neither times nor CRLs are looked at for what is installed already.
 *
 *	chain_open -> chain_check* -> chain_close
 *
 * Source: RFC 5280.
 */
#ifndef ABIDE_UPDATER_CHAIN_H
#define ABIDE_UPDATER_CHAIN_H

#include <stddef.h>
#include <time.h>

#include "updater/err.h"
#include "updater/signature.h"

#define CHAIN_SUBJECT_MAX 160

struct x509_st; /* OpenSSL's X509 */
struct stack_st_X509; /* and STACK_OF(X509) */
struct chain;

/* Reads trust->roots and trust->crl. Fails: FAIL_IO, FAIL_USAGE. */
int chain_open(const struct trust *trust, time_t now, struct chain **ret, struct err *err);
void chain_close(struct chain **chain);
/* `others`: certificates that may lie on the way, not trusted. Fails: FAIL_UNTRUSTED, naming the
 * certificate that is the reason. */
int chain_check(
	struct chain *chain, struct x509_st *cert, struct stack_st_X509 *others, struct err *err);
/* Printable, cut to fit. */
void chain_subject(const struct x509_st *cert, char ret[static CHAIN_SUBJECT_MAX]);

#endif
