#include "image/pki.h"

#include <fcntl.h>
#include <limits.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "updater/fs.h"
#include "updater/mem.h"

#define NOT_BEFORE "20000101000000Z"
/* RFC 5280, 4.1.2.5: no well-defined expiration. These keys are thrown away, not renewed. */
#define NOT_AFTER "99991231235959Z"

#define FILE_MAX_BYTES (64u << 10)

struct identity {
	X509 *cert;
	EVP_PKEY *key;
};

static void identity_finish(struct identity *identity)
{
	X509_free(identity->cert);
	EVP_PKEY_free(identity->key);
}

static void bio_free(BIO **bio)
{
	BIO_free(*bio);
}

static int openssl_failed(const char *what, struct err *err)
{
	char reason[160];

	ERR_error_string_n(ERR_peek_last_error(), reason, sizeof(reason));
	ERR_clear_error();
	return err_set(err, FAIL_IO, "%s: %s", what, reason);
}

static int make_key(enum pki_type type, EVP_PKEY **ret, struct err *err)
{
	EVP_PKEY *key = NULL;

	switch (type) {
	case PKI_RSA:
		key = EVP_RSA_gen(3072);
		break;
	case PKI_ECDSA:
		key = EVP_EC_gen("P-256");
		break;
	}
	if (!key)
		return openssl_failed("make a key", err);
	*ret = key;
	return 0;
}

static int set_serial(X509 *cert)
{
	unsigned char bytes[16];
	BIGNUM *number;
	int ok;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return 0;
	bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, always 16 bytes long */
	number = BN_bin2bn(bytes, sizeof(bytes), NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
	BN_free(number);
	return ok;
}

static int set_name(X509 *cert, const char *name)
{
	X509_NAME *subject = X509_get_subject_name(cert);

	return X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
}

static int add_extension(X509 *cert, X509V3_CTX *ctx, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, ctx, nid, value);
	int ok = ext && X509_add_ext(cert, ext, -1);

	X509_EXTENSION_free(ext);
	return ok;
}

struct extension {
	int nid;
	const char *value;
};

static const struct extension ROOT_EXTENSIONS[] = {
	{NID_basic_constraints, "critical,CA:TRUE"},
	{NID_key_usage, "critical,keyCertSign,cRLSign"},
	{NID_subject_key_identifier, "hash"},
	{0, NULL},
};

static const struct extension SIGNER_EXTENSIONS[] = {
	{NID_basic_constraints, "critical,CA:FALSE"},
	{NID_key_usage, "critical,digitalSignature"},
	{NID_ext_key_usage, "codeSigning"},
	{NID_subject_key_identifier, "hash"},
	{NID_authority_key_identifier, "keyid:always"},
	{0, NULL},
};

static int add_extensions(X509 *cert, X509 *issuer, const struct extension *extensions)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	for (const struct extension *e = extensions; e->value; e++)
		if (!add_extension(cert, &ctx, e->nid, e->value))
			return 0;
	return 1;
}

/* issuer NULL: signed by itself. */
static int make_identity(const char *name, enum pki_type type, const struct identity *issuer,
	const struct extension *extensions, struct identity *ret, struct err *err)
{
	CLEANUP(identity_finish) struct identity made = {0};
	const struct identity *by = issuer ? issuer : &made;

	if (make_key(type, &made.key, err) < 0)
		return -1;
	made.cert = X509_new();
	if (!made.cert || !X509_set_version(made.cert, X509_VERSION_3) || !set_serial(made.cert) ||
		!ASN1_TIME_set_string_X509(X509_getm_notBefore(made.cert), NOT_BEFORE) ||
		!ASN1_TIME_set_string_X509(X509_getm_notAfter(made.cert), NOT_AFTER) ||
		!set_name(made.cert, name) || !X509_set_pubkey(made.cert, made.key) ||
		!X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert)) ||
		!add_extensions(made.cert, by->cert, extensions) ||
		!X509_sign(made.cert, by->key, EVP_sha256()))
		return openssl_failed("make a certificate", err);
	*ret = made;
	made = (struct identity){0};
	return 0;
}

/* The paths of one identity, and which of them this call has made. */
struct files {
	char key[PATH_MAX];
	char cert[PATH_MAX];
	bool made_key;
	bool made_cert;
};

static int name_files(const char *dir, const char *name, struct files *ret, struct err *err)
{
	char file[NAME_MAX + 1];

	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') ||
		strlen(name) + sizeof(".key") > sizeof(file))
		return err_set(err, FAIL_USAGE, "'%s' cannot be a signer's file name", name);
	*ret = (struct files){0};
	(void)snprintf(file, sizeof(file), "%s.key", name); /* fits */
	if (fs_join(dir, file, ret->key, sizeof(ret->key), err) < 0)
		return -1;
	(void)snprintf(file, sizeof(file), "%s.pem", name); /* fits */
	return fs_join(dir, file, ret->cert, sizeof(ret->cert), err);
}

static int refuse_existing(const struct files *files, struct err *err)
{
	if (access(files->key, F_OK) == 0 || access(files->cert, F_OK) == 0)
		return err_set(err, FAIL_USAGE,
			"'%s' exists: keys are never overwritten, choose another directory",
			access(files->key, F_OK) == 0 ? files->key : files->cert);
	return 0;
}

static void remove_made(const struct files *files)
{
	if (files->made_key)
		(void)unlink(files->key); /* the first error is the one to tell */
	if (files->made_cert)
		(void)unlink(files->cert);
}

static int write_new(const char *path, mode_t mode, BIO *bio, bool *ret_made, struct err *err)
{
	CLEANUP(cleanup_fd) int fd = -1;
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	/* O_EXCL: a key that appeared since the check stays. */
	if (fs_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode, &fd, err) < 0)
		return -1;
	*ret_made = true;
	if (fs_write_full(fd, path, data, (size_t)len, err) < 0)
		return -1;
	if (fsync(fd) < 0)
		return err_errno(err, "fsync '%s'", path);
	return fs_sync_parent(path, err);
}

static int write_identity(struct files *files, const struct identity *identity, struct err *err)
{
	/* Secure memory BIO: its pages are cleared when it is freed. */
	CLEANUP(bio_free) BIO *key = BIO_new(BIO_s_secmem());
	CLEANUP(bio_free) BIO *cert = BIO_new(BIO_s_mem());

	if (!key || !cert ||
		!PEM_write_bio_PrivateKey(key, identity->key, NULL, NULL, 0, NULL, NULL) ||
		!PEM_write_bio_X509(cert, identity->cert))
		return openssl_failed("encode a key", err);
	if (write_new(files->key, 0600, key, &files->made_key, err) < 0)
		return -1;
	return write_new(files->cert, 0644, cert, &files->made_cert, err);
}

static int make_signer(const char *name, enum pki_type type, const struct identity *root,
	struct files *files, struct err *err)
{
	CLEANUP(identity_finish) struct identity signer = {0};
	char subject[64];

	(void)snprintf(subject, sizeof(subject), "abide development %s", name); /* cut is fine */
	if (make_identity(subject, type, root, SIGNER_EXTENSIONS, &signer, err) < 0)
		return -1;
	return write_identity(files, &signer, err);
}

int pki_make(const char *dir, enum pki_type type, const char *signer, struct err *err)
{
	CLEANUP(identity_finish) struct identity root = {0};
	struct files root_files;
	struct files signer_files;

	if (strcmp(signer, "root") == 0)
		return err_set(err, FAIL_USAGE, "the signer cannot be named 'root'");
	if (name_files(dir, "root", &root_files, err) < 0 ||
		name_files(dir, signer, &signer_files, err) < 0 ||
		fs_make_dirs(dir, 0755, err) < 0 || refuse_existing(&root_files, err) < 0 ||
		refuse_existing(&signer_files, err) < 0)
		return -1;
	if (make_identity("abide development root", type, NULL, ROOT_EXTENSIONS, &root, err) < 0)
		return -1;
	if (write_identity(&root_files, &root, err) < 0 ||
		make_signer(signer, type, &root, &signer_files, err) < 0) {
		remove_made(&signer_files);
		remove_made(&root_files);
		return -1;
	}
	return 0;
}

static int read_root(const struct files *files, struct identity *ret, struct err *err)
{
	CLEANUP(identity_finish) struct identity root = {0};
	CLEANUP(bytes_finish) struct bytes key = {0};
	CLEANUP(bytes_finish) struct bytes cert = {0};
	CLEANUP(bio_free) BIO *key_bio = NULL;
	CLEANUP(bio_free) BIO *cert_bio = NULL;

	if (fs_read_file(files->key, FILE_MAX_BYTES, &key, err) < 0 ||
		fs_read_file(files->cert, FILE_MAX_BYTES, &cert, err) < 0)
		return -1;
	key_bio = BIO_new_mem_buf(key.data, (int)key.len);
	cert_bio = BIO_new_mem_buf(cert.data, (int)cert.len);
	if (!key_bio || !cert_bio)
		return err_memory(err);
	/* The user argument is a passphrase; without it OpenSSL would ask on the terminal. */
	root.key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, (void *)(uintptr_t) "");
	root.cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
	ERR_clear_error();
	if (!root.key || !root.cert || X509_check_private_key(root.cert, root.key) != 1)
		return err_set(err, FAIL_USAGE,
			"'%s' and '%s' are not a certificate and its unencrypted key", files->cert,
			files->key);
	*ret = root;
	root = (struct identity){0};
	return 0;
}

int pki_add_signer(const char *dir, enum pki_type type, const char *signer, struct err *err)
{
	CLEANUP(identity_finish) struct identity root = {0};
	struct files root_files;
	struct files signer_files;

	if (name_files(dir, "root", &root_files, err) < 0 ||
		name_files(dir, signer, &signer_files, err) < 0 ||
		refuse_existing(&signer_files, err) < 0 || read_root(&root_files, &root, err) < 0)
		return -1;
	if (make_signer(signer, type, &root, &signer_files, err) < 0) {
		remove_made(&signer_files);
		return -1;
	}
	return 0;
}
