#include "tests/signers.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/fs.h"

#define ARGS_MAX  64
#define PATHS_MAX 128
#define PATH_CAP  160

static const char CONFIG[] = "[req]\n"
			     "distinguished_name = dn\n"
			     "prompt = no\n"
			     "[dn]\n"
			     "[authority]\n"
			     "basicConstraints = critical, CA:TRUE\n"
			     "keyUsage = critical, keyCertSign, cRLSign\n"
			     "[tls-authority]\n"
			     "basicConstraints = critical, CA:TRUE\n"
			     "extendedKeyUsage = serverAuth\n"
			     "[code]\n"
			     "basicConstraints = CA:FALSE\n"
			     "keyUsage = digitalSignature\n"
			     "extendedKeyUsage = codeSigning\n"
			     "[code-without-key-usage]\n"
			     "extendedKeyUsage = codeSigning\n"
			     "[tls]\n"
			     "keyUsage = digitalSignature\n"
			     "extendedKeyUsage = serverAuth\n"
			     "[no-purpose]\n"
			     "keyUsage = digitalSignature\n"
			     "[encrypts]\n"
			     "keyUsage = keyEncipherment\n"
			     "extendedKeyUsage = codeSigning\n"
			     "[ca]\n"
			     "default_ca = here\n"
			     "[here]\n"
			     "database = index.txt\n"
			     "new_certs_dir = .\n"
			     "rand_serial = yes\n"
			     "unique_subject = no\n"
			     "default_md = sha256\n"
			     "default_days = 365\n"
			     "default_crl_days = 30\n"
			     "policy = any\n"
			     "[any]\n"
			     "commonName = supplied\n";

const char *signers_path(const struct signers *signers, const char *file)
{
	static char paths[PATHS_MAX][PATH_CAP]; /* each path once */
	static size_t count;
	char path[PATH_CAP];

	assert_true(snprintf(path, sizeof(path), "%s/%s", signers->dir, file) < PATH_CAP);
	for (size_t i = 0; i < count; i++)
		if (strcmp(paths[i], path) == 0)
			return paths[i];
	assert_true(count < PATHS_MAX);
	memcpy(paths[count], path, sizeof(path));
	return paths[count++];
}

void signers_write(const struct signers *signers, const char *file, const void *data, size_t len)
{
	int fd = open(signers_path(signers, file), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct err err = {0};

	assert_true(fd >= 0);
	assert_int_equal(fs_write_full(fd, file, data, len, &err), 0);
	assert_int_equal(close(fd), 0);
}

struct bytes signers_read(const struct signers *signers, const char *file)
{
	struct bytes bytes = {0};
	struct err err = {0};

	if (fs_read_file(signers_path(signers, file), 1 << 20, &bytes, &err) < 0)
		fail_msg("%s", err.msg);
	return bytes;
}

static void child(const struct signers *signers, char *args)
{
	char *argv[ARGS_MAX] = {(char *)(uintptr_t) "openssl"};
	size_t n = 1;
	char *save = NULL;
	int log;

	for (char *a = strtok_r(args, " ", &save); a && n + 1 < ARGS_MAX;
		a = strtok_r(NULL, " ", &save))
		argv[n++] = a;
	log = open(signers_path(signers, "log"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (log < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || chdir(signers->dir) < 0)
		_exit(126);
	execvp(argv[0], argv);
	_exit(127);
}

__attribute__((format(printf, 2, 0))) static int run(
	const struct signers *signers, const char *fmt, va_list ap)
{
	char args[1024];
	int status = 0;
	pid_t pid;

	assert_true(vsnprintf(args, sizeof(args), fmt, ap) < (int)sizeof(args));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(signers, args);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) < 126); /* openssl is there */
	return WEXITSTATUS(status);
}

int signers_try(const struct signers *signers, const char *fmt, ...)
{
	va_list ap;
	int status;

	va_start(ap, fmt);
	status = run(signers, fmt, ap);
	va_end(ap);
	return status;
}

void signers_run(const struct signers *signers, const char *fmt, ...)
{
	struct bytes log;
	va_list ap;
	int status;

	va_start(ap, fmt);
	status = run(signers, fmt, ap);
	va_end(ap);
	if (status == 0)
		return;
	log = signers_read(signers, "log");
	fail_msg("openssl %s: exit %d: %s", fmt, status, (const char *)log.data);
}

static void make_root(const struct signers *signers, const char *name)
{
	signers_run(signers,
		"req -x509 -config openssl.cnf -extensions authority -newkey " SIGNERS_EC
		" -nodes -days 3650 -subj /CN=%s -keyout %s.key -out %s.pem",
		name, name, name);
}

void signers_new(struct signers *ret)
{
	const char *tmp = getenv("TMPDIR");

	assert_true(snprintf(ret->dir, sizeof(ret->dir), "%s/abide-signers-XXXXXX",
			    tmp ? tmp : "/tmp") < (int)sizeof(ret->dir));
	assert_non_null(mkdtemp(ret->dir));
	signers_write(ret, "openssl.cnf", CONFIG, sizeof(CONFIG) - 1);
	signers_write(ret, "index.txt", "", 0);
	make_root(ret, "root");
	make_root(ret, "stranger");
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void signers_free(struct signers *signers)
{
	if (signers->dir[0])
		(void)nftw(signers->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* best effort */
	signers->dir[0] = '\0';
}

void signers_cert(const struct signers *signers, const char *name, const char *key,
	const char *issuer, const char *kind)
{
	signers_run(signers,
		"req -x509 -config openssl.cnf -extensions %s -newkey %s -nodes -days 365"
		" -subj /CN=%s -CA %s.pem -CAkey %s.key -keyout %s.key -out %s.pem",
		kind, key, name, issuer, issuer, name, name);
}

void signers_cert_dated(const struct signers *signers, const char *name, const char *issuer,
	const char *start, const char *end)
{
	signers_run(signers,
		"req -new -config openssl.cnf -newkey " SIGNERS_EC
		" -nodes -subj /CN=%s -keyout %s.key -out %s.csr",
		name, name, name);
	signers_run(signers,
		"ca -batch -config openssl.cnf -extensions code -cert %s.pem -keyfile %s.key"
		" -startdate %s -enddate %s -notext -in %s.csr -out %s.pem",
		issuer, issuer, start, end, name, name);
}

void signers_sign(const struct signers *signers, const char *content, const char *name,
	const char *options, const char *out)
{
	signers_run(signers,
		"cms -sign -binary -outform DER -in %s -signer %s.pem -inkey %s.key %s -out %s",
		content, name, name, options, out);
}
