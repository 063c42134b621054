/* journal: the chain, its repair, and every way to break it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "updater/fs.h"
#include "updater/journal.h"

#define FILE_LIMIT (4u << 20)

struct fixture {
	char dir[64];
	char state_dir[96];
	char file[128];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/abide-journal-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->state_dir, sizeof(f->state_dir), "%s/var/lib", f->dir);
	(void)snprintf(f->file, sizeof(f->file), "%s/journal.jsonl", f->state_dir);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void append(const struct fixture *f, const char *event, const char *why)
{
	struct journal_entry entry = {.event = event, .why = why};
	struct err err = {0};

	if (journal_append(f->state_dir, &entry, &err) < 0)
		fail_msg("%s", err.msg);
}

static struct journal_check verify(const struct fixture *f)
{
	struct journal_check check;
	struct err err = {0};

	if (journal_verify(f->state_dir, &check, &err) < 0)
		fail_msg("%s", err.msg);
	return check;
}

static struct bytes load(const struct fixture *f)
{
	struct bytes b = {0};
	struct err err = {0};

	if (fs_read_file(f->file, FILE_LIMIT, &b, &err) < 0)
		fail_msg("%s", err.msg);
	return b;
}

static void store(const struct fixture *f, const void *data, size_t len)
{
	int fd = open(f->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	assert_true(fd >= 0);
	assert_true(write(fd, data, len) == (ssize_t)len);
	assert_int_equal(close(fd), 0);
}

/* The offset at which line `number` (from 1) begins. */
static size_t line_start(const struct bytes *b, unsigned int number)
{
	size_t off = 0;

	while (--number) {
		const uint8_t *newline = memchr(b->data + off, '\n', b->len - off);

		assert_non_null(newline);
		off = (size_t)(newline - b->data) + 1;
	}
	return off;
}

static void test_append__chain_holds_and_directory_is_made(void **state)
{
	const struct fixture *f = *state;
	struct journal_check check;
	struct digest head;
	struct bytes b;
	struct err err;

	append(f, "install", NULL);
	append(f, "activated", "because");
	append(f, "confirmed", NULL);
	check = verify(f);
	assert_true(check.lines == 3);
	assert_true(check.broken_at == 0);
	assert_false(check.torn);
	b = load(f);
	assert_int_equal(
		digest_once(b.data + line_start(&b, 3), b.len - line_start(&b, 3), &head, &err), 0);
	assert_true(digest_equal(&head, &check.head));
	assert_non_null(strstr((char *)b.data, "\"why\":\"because\""));
	assert_null(strstr((char *)b.data, "\"version\""));
	bytes_finish(&b);
}

static void test_read__missing_file_has_no_lines(void **state)
{
	const struct fixture *f = *state;
	struct journal_check check = verify(f);

	assert_true(check.lines == 0 && check.broken_at == 0 && digest_is_zero(&check.head));
}

static void test_append__every_field_is_kept(void **state)
{
	const struct fixture *f = *state;
	const struct journal_entry entry = {
		.event = "reverted",
		.from = "b",
		.to = "a",
		.artifact = &(struct digest){.b = {0xab, 0xcd}},
		.version = "2.0",
		.group = "b",
		.why = "check '10-app' failed: exit status 1",
		.output = "line one\nline \"two\"\t\x1b[2J\xff\n",
	};
	char why[64];
	struct bytes b;
	struct err err;

	assert_int_equal(journal_append(f->state_dir, &entry, &err), 0);
	b = load(f);
	assert_non_null(strstr((char *)b.data, "\"event\":\"reverted\",\"from\":\"b\",\"to\":\"a\","
					       "\"artifact\":\"abcd0000"));
	assert_non_null(strstr((char *)b.data,
		"\"output\":\"line one\\nline \\\"two\\\"\\t?[2J?\\n\",\"prev\":\"0000"));
	bytes_finish(&b);
	assert_true(journal_last_why(f->state_dir, "reverted", entry.artifact, why, sizeof(why)));
	assert_string_equal(why, "check '10-app' failed: exit status 1");
	assert_false(journal_last_why(f->state_dir, "confirmed", entry.artifact, why, sizeof(why)));
}

static void test_append__longest_line_fits(void **state)
{
	const struct fixture *f = *state;
	struct journal_entry entry = {0};
	struct err err = {0};
	struct bytes b;
	char big[20001];

	memset(big, '"', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	entry.event = entry.from = entry.to = entry.version = big;
	entry.group = entry.why = entry.output = big;
	entry.artifact = &(struct digest){0};
	assert_int_equal(journal_append(f->state_dir, &entry, &err), 0);
	append(f, "next", NULL);
	b = load(f);
	assert_true(line_start(&b, 2) <= JOURNAL_LINE_MAX);
	bytes_finish(&b);
	assert_true(verify(f).broken_at == 0);
}

static void test_append__torn_line_is_repaired_at_every_offset(void **state)
{
	const struct fixture *f = *state;
	struct bytes whole;
	size_t start;

	append(f, "first", NULL);
	append(f, "second", NULL);
	append(f, "third", "a reason");
	whole = load(f);
	start = line_start(&whole, 3);
	for (size_t cut = start; cut < whole.len; cut++) {
		size_t torn = cut - start;
		struct journal_check check;
		struct bytes after;
		char said[64];

		store(f, whole.data, cut);
		check = verify(f);
		assert_true(check.torn == (torn > 0) && check.broken_at == 0 && check.lines == 2);
		append(f, "fourth", NULL);
		check = verify(f);
		assert_true(!check.torn && check.broken_at == 0);
		assert_true(check.lines == (torn ? 4 : 3));
		after = load(f);
		assert_memory_equal(after.data, whole.data, start);
		(void)snprintf(said, sizeof(said), "last line of %zu bytes was cut", torn);
		assert_true(!!strstr((char *)after.data, said) == (torn > 0));
		bytes_finish(&after);
	}
	bytes_finish(&whole);
}

static void test_append__torn_only_line_and_zeros_are_repaired(void **state)
{
	const struct fixture *f = *state;
	static const char ZEROS[9000];

	append(f, "first", NULL);
	store(f, "{\"seq\":1,", 9);
	append(f, "second", NULL);
	assert_true(verify(f).lines == 2 && verify(f).broken_at == 0);
	/* Some file systems leave a hole where a line was to be. */
	store(f, ZEROS, sizeof(ZEROS));
	assert_true(verify(f).torn);
	append(f, "third", NULL);
	assert_true(verify(f).lines == 2 && verify(f).broken_at == 0 && !verify(f).torn);
}

static void test_verify__every_edited_byte_shows(void **state)
{
	const struct fixture *f = *state;
	struct bytes whole;
	size_t start, end;

	append(f, "first", "one");
	append(f, "second", "two");
	append(f, "third", "three");
	whole = load(f);
	start = line_start(&whole, 2);
	end = line_start(&whole, 3);
	for (size_t i = start; i < end; i++) {
		struct journal_check check;

		whole.data[i] ^= 1;
		store(f, whole.data, whole.len);
		whole.data[i] ^= 1;
		check = verify(f);
		assert_true(check.broken_at == 2 || check.broken_at == 3);
		assert_true(check.why[0] != '\0');
	}
	bytes_finish(&whole);
}

static void test_verify__deleted_reordered_and_doubled_lines_show(void **state)
{
	const struct fixture *f = *state;
	struct bytes whole;
	char *text;
	size_t two, three, four;

	for (unsigned int i = 0; i < 4; i++)
		append(f, "event", NULL);
	whole = load(f);
	two = line_start(&whole, 2);
	three = line_start(&whole, 3);
	four = line_start(&whole, 4);
	text = calloc(2, whole.len);
	assert_non_null(text);

	memcpy(text, whole.data, two);
	memcpy(text + two, whole.data + three, whole.len - three);
	store(f, text, whole.len - (three - two));
	assert_true(verify(f).broken_at == 2 && verify(f).lines == 3);

	/* The first line is held by its number and its zeros. */
	store(f, whole.data + two, whole.len - two);
	assert_true(verify(f).broken_at == 1);

	memcpy(text, whole.data, two);
	memcpy(text + two, whole.data + three, four - three);
	memcpy(text + two + (four - three), whole.data + two, three - two);
	memcpy(text + four, whole.data + four, whole.len - four);
	store(f, text, whole.len);
	assert_true(verify(f).broken_at == 2);

	memcpy(text, whole.data, three);
	memcpy(text + three, whole.data + two, whole.len - two);
	store(f, text, whole.len + (three - two));
	assert_true(verify(f).broken_at == 3);
	free(text);
	bytes_finish(&whole);
}

static void test_append__goes_on_after_a_foreign_line(void **state)
{
	const struct fixture *f = *state;
	struct bytes b;

	append(f, "first", NULL);
	b = load(f);
	b.data[2] = 'X';
	store(f, b.data, b.len);
	bytes_finish(&b);
	append(f, "second", NULL);
	assert_true(verify(f).broken_at == 1 && verify(f).lines == 2);
	b = load(f);
	assert_non_null(strstr((char *)b.data, "{\"seq\":2,"));
	bytes_finish(&b);
}

static void test_verify__endless_line_is_broken_not_memory(void **state)
{
	const struct fixture *f = *state;
	size_t len = 3 * JOURNAL_LINE_MAX;
	char *text = malloc(len);

	assert_non_null(text);
	append(f, "first", NULL);
	memset(text, 'x', len);
	text[len - 1] = '\n';
	store(f, text, len);
	free(text);
	assert_true(verify(f).broken_at == 1);
	append(f, "second", NULL);
	assert_true(verify(f).lines == 2);
}

static void test_append__place_that_cannot_be_written_is_an_error(void **state)
{
	const struct fixture *f = *state;
	const struct journal_entry entry = {.event = "install"};
	struct err err = {0};

	/* A file where the directory should be: refused for root, too. */
	assert_int_equal(journal_append("/dev/null/abide", &entry, &err), -1);
	assert_non_null(strstr(err.msg, "journal: "));
	assert_non_null(strstr(err.msg, "'/dev/null"));
	if (geteuid() == 0) {
		pid_t pid;
		int status;

		append(f, "first", NULL);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) /* a read-only directory stops everybody but root */
			_exit(setuid(65534) == 0 &&
						journal_append(f->state_dir, &entry, &err) < 0 &&
						err.code == FAIL_IO
					? 0
					: 1);
		assert_true(waitpid(pid, &status, 0) == pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		assert_true(verify(f).lines == 1);
	}
}

/* RLIMIT_FSIZE stands for a full disk: the write stops in the middle of the line. */
static void test_append__full_disk_leaves_whole_lines(void **state)
{
	const struct fixture *f = *state;
	const struct journal_entry entry = {.event = "install", .why = "does not fit"};
	struct rlimit saved, limit;
	struct err err = {0};
	struct bytes before, after;
	int result;

	append(f, "first", NULL);
	before = load(f);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
	limit = (struct rlimit){.rlim_cur = before.len + 50, .rlim_max = saved.rlim_max};
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	result = journal_append(f->state_dir, &entry, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
	(void)signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(result, -1);
	assert_non_null(strstr(err.msg, "journal.jsonl"));
	after = load(f);
	assert_true(after.len == before.len);
	assert_memory_equal(after.data, before.data, before.len);
	bytes_finish(&before);
	bytes_finish(&after);
	append(f, "second", NULL);
	assert_true(verify(f).lines == 2 && verify(f).broken_at == 0);
}

static void test_append__two_processes_share_one_chain(void **state)
{
	const struct fixture *f = *state;
	pid_t pid[2];
	int status;

	for (unsigned int i = 0; i < 2; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (pid[i] != 0)
			continue;
		for (unsigned int n = 0; n < 30; n++) {
			const struct journal_entry entry = {.event = i ? "one" : "other"};
			struct err err;

			if (journal_append(f->state_dir, &entry, &err) < 0)
				_exit(1);
		}
		_exit(0);
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(waitpid(pid[i], &status, 0) == pid[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
	assert_true(verify(f).lines == 60 && verify(f).broken_at == 0);
}

static int stop_at_two(void *arg, uint64_t number, const char *line)
{
	assert_true(line[0] == '{' && line[strlen(line) - 1] == '}');
	*(uint64_t *)arg = number;
	return number == 2;
}

static void test_read__stops_when_told(void **state)
{
	const struct fixture *f = *state;
	uint64_t last = 0;
	struct err err;

	for (unsigned int i = 0; i < 4; i++)
		append(f, "event", NULL);
	assert_int_equal(journal_read(f->state_dir, stop_at_two, &last, &err), 0);
	assert_true(last == 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_append__chain_holds_and_directory_is_made),
		TEST(test_read__missing_file_has_no_lines),
		TEST(test_append__every_field_is_kept),
		TEST(test_append__longest_line_fits),
		TEST(test_append__torn_line_is_repaired_at_every_offset),
		TEST(test_append__torn_only_line_and_zeros_are_repaired),
		TEST(test_verify__every_edited_byte_shows),
		TEST(test_verify__deleted_reordered_and_doubled_lines_show),
		TEST(test_append__goes_on_after_a_foreign_line),
		TEST(test_verify__endless_line_is_broken_not_memory),
		TEST(test_append__place_that_cannot_be_written_is_an_error),
		TEST(test_append__full_disk_leaves_whole_lines),
		TEST(test_append__two_processes_share_one_chain),
		TEST(test_read__stops_when_told),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
