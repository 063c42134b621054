/* carrier: the real child over files and pipes; and children that crash, hang, lie, or flood. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/scratch.h"
#include "tests/tars.h"
#include "updater/carrier.h"
#include "updater/carrier/message.h"
#include "updater/carrier/ring.h"
#include "updater/carrier/store.h"
#include "updater/fs.h"

static struct sample sample;

static int group_setup(void **state)
{
	(void)state;
	sample_init(&sample);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	sample_finish(&sample);
	return 0;
}

/* After each test: no child is left, running or dead. */
static int teardown(void **state)
{
	if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
		return -1;
	return scratch_teardown(state);
}

static const char *write_file(struct scratch *scratch, const char *name, const struct tars *tar)
{
	const char *path = scratch_path(scratch, name);
	struct err err;

	assert_int_equal(fs_replace_file(path, tar->data, tar->len, 0600, &err), 0);
	return path;
}

static const char *write_sample(struct scratch *scratch)
{
	struct tars tar = {0};
	const char *path;

	sample_tar(&sample, &tar);
	path = write_file(scratch, "os.abide", &tar);
	tars_finish(&tar);
	return path;
}

/* ---- a whole session ---- */

/* What its store says of the wanted chunks. */
static uint64_t weight_of(size_t image, const uint8_t *wanted)
{
	CLEANUP(bytes_finish) struct bytes copy = {0};
	CLEANUP(store_free) struct store *store = NULL;
	uint64_t weight = 0;
	struct err err;

	assert_int_equal(
		bytes_copy(sample.store[image].data, sample.store[image].len, &copy, &err), 0);
	assert_int_equal(store_parse(&copy, sample.index[image], &store, &err), 0);
	for (uint32_t i = 0; i < SAMPLE_CHUNKS; i++)
		if (wanted[0] >> i & 1)
			weight += store_length(store, i);
	return weight;
}

/* The wanted chunks of one image, compared with the image. */
static int take_image(struct carrier *carrier, size_t image, const uint8_t *wanted, struct err *err)
{
	static uint8_t buf[INDEX_CHUNK_MAX];
	uint64_t weight = 0;

	if (carrier_weigh(carrier, sample.class[image], sample.index[image], wanted, &weight, err) <
		0)
		return -1;
	assert_int_equal(weight, weight_of(image, wanted));
	if (carrier_want(carrier, sample.class[image], sample.index[image], wanted, NULL, err) < 0)
		return -1;
	for (uint32_t i = 0; i < SAMPLE_CHUNKS; i++) {
		uint32_t len = index_length(sample.index[image], i);

		if (!(wanted[i / 8] >> (i % 8) & 1))
			continue;
		if (carrier_chunk(carrier, i, buf, len, err) < 0)
			return -1;
		assert_memory_equal(
			buf, sample.plain[image] + sample_offset(&sample, image, i), len);
	}
	return 0;
}

static int take_header(struct carrier *carrier, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes manifest = {0};
	CLEANUP(bytes_finish) struct bytes signature = {0};

	if (carrier_manifest(carrier, &manifest, &signature, err) < 0)
		return -1;
	assert_int_equal(manifest.len, strlen(SAMPLE_MANIFEST));
	assert_memory_equal(manifest.data, SAMPLE_MANIFEST, manifest.len);
	assert_int_equal(signature.len, strlen(SAMPLE_SIGNATURE));
	for (size_t i = 0; i < SAMPLE_IMAGES; i++) {
		CLEANUP(bytes_finish) struct bytes raw = {0};

		if (carrier_index(carrier, sample.class[i], sample.index_raw[i].len, &raw, err) < 0)
			return -1;
		assert_memory_equal(raw.data, sample.index_raw[i].data, raw.len);
	}
	return 0;
}

static int session(const char *source, const struct carrier_options *options, struct err *err)
{
	struct carrier *carrier = NULL;
	struct carrier_stats stats;
	int status;

	if (carrier_open(source, options, &carrier, err) < 0)
		return -1;
	status = take_header(carrier, err);
	for (size_t i = 0; status == 0 && i < SAMPLE_IMAGES; i++)
		status = take_image(carrier, i, &sample.wanted[i], err);
	if (status == 0)
		status = carrier_end(carrier, &stats, err);
	carrier_close(&carrier);
	return status;
}

static void expect_failure(const char *source, enum err_code code, const char *text)
{
	struct carrier_options options = {0};
	struct err err = {0};

	assert_int_equal(session(source, &options, &err), -1);
	if (err.code != code || !strstr(err.msg, text))
		fail_msg("expected %s '%s', got %s: %s", err_code_name(code), text,
			err_code_name(err.code), err.msg);
}

/* ---- the real child ---- */

static void test_carrier__file_gives_the_images(void **state)
{
	struct carrier_options options = {0};
	struct err err = {0};

	if (session(write_sample(*state), &options, &err) < 0)
		fail_msg("%s", err.msg);
}

static void with_stdin(int fd, const char *path)
{
	struct carrier_options options = {0};
	struct err err = {0};
	int saved = dup(STDIN_FILENO);
	int status;

	assert_true(fd >= 0 && dup2(fd, STDIN_FILENO) == STDIN_FILENO);
	(void)close(fd);
	status = session(path, &options, &err);
	(void)dup2(saved, STDIN_FILENO);
	(void)close(saved);
	if (status < 0)
		fail_msg("%s", err.msg);
}

static void test_carrier__standard_input_may_be_a_pipe_or_a_file(void **state)
{
	struct tars tar = {0};
	struct err err;
	int fds[2];
	pid_t pid;

	with_stdin(open(write_sample(*state), O_RDONLY), "-");
	sample_tar(&sample, &tar);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		_exit(fs_write_full(fds[1], "pipe", tar.data, tar.len, &err) < 0);
	}
	(void)close(fds[1]);
	with_stdin(fds[0], "-");
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	tars_finish(&tar);
}

static void test_carrier__only_wanted_chunks_come(void **state)
{
	const char *path = write_sample(*state);
	struct carrier_options options = {0};
	struct carrier_stats stats = {0};
	struct err err = {0};

	for (unsigned int wanted = 0; wanted < 256; wanted += 5) {
		struct carrier *carrier = NULL;
		uint8_t bitmap = (uint8_t)(wanted & sample.wanted[0]);

		assert_int_equal(carrier_open(path, &options, &carrier, &err), 0);
		assert_int_equal(take_header(carrier, &err), 0);
		assert_int_equal(take_image(carrier, 0, &bitmap, &err), 0);
		assert_int_equal(take_image(carrier, 1, &bitmap, &err), 0);
		assert_int_equal(carrier_end(carrier, &stats, &err), 0);
		assert_true(stats.fetched > 0);
		carrier_close(&carrier);
	}
}

static void test_carrier__images_may_be_left_out(void **state)
{
	const char *path = write_sample(*state);
	struct carrier_options options = {0};
	struct err err = {0};

	for (int which = 0; which < 3; which++) {
		struct carrier *carrier = NULL;

		assert_int_equal(carrier_open(path, &options, &carrier, &err), 0);
		assert_int_equal(take_header(carrier, &err), 0);
		if (which < 2)
			assert_int_equal(
				take_image(carrier, (size_t)which, &sample.wanted[which], &err), 0);
		assert_int_equal(carrier_end(carrier, NULL, &err), 0);
		carrier_close(&carrier);
	}
}

static void test_carrier__may_be_closed_at_any_point(void **state)
{
	const char *path = write_sample(*state);
	struct carrier_options options = {0};
	struct err err = {0};

	for (int step = 0; step < 4; step++) {
		struct carrier *carrier = NULL;

		assert_int_equal(carrier_open(path, &options, &carrier, &err), 0);
		if (step > 0)
			assert_int_equal(take_header(carrier, &err), 0);
		if (step > 1)
			assert_int_equal(carrier_want(carrier, sample.class[0], sample.index[0],
						 &sample.wanted[0], NULL, &err),
				0);
		if (step > 2)
			assert_int_equal(carrier_want(carrier, sample.class[0], sample.index[0],
						 (const uint8_t[]){0}, NULL, &err),
				0);
		carrier_close(&carrier);
		assert_null(carrier);
	}
}

static void test_carrier__pax_records_are_read_in_the_sandbox(void **state)
{
	struct tars tar = {0};
	struct tars rest = {0};

	/* Decoding them converts text, for which a library would open files. */
	tars_pax(&tar, "path", MEMBER_MANIFEST);
	sample_tar(&sample, &rest);
	tars_bytes(&tar, rest.data, rest.len);
	(void)write_file(*state, "pax.abide", &tar);
	{
		struct carrier_options options = {0};
		struct err err = {0};

		if (session(scratch_path(*state, "pax.abide"), &options, &err) < 0)
			fail_msg("%s", err.msg);
	}
	tars_finish(&tar);
	tars_finish(&rest);
}

static void test_carrier__repeats_are_refused(void **state)
{
	static const uint8_t ALL = 0xff;
	struct carrier_options options = {0};
	struct carrier *carrier = NULL;
	struct err err = {0};

	assert_int_equal(carrier_open(write_sample(*state), &options, &carrier, &err), 0);
	assert_int_equal(take_header(carrier, &err), 0);
	assert_int_equal(take_image(carrier, 0, &ALL, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "'rootfs.data': chunk 5"));
	carrier_close(&carrier);
}

static void test_carrier__missing_source(void **state)
{
	expect_failure(scratch_path(*state, "none"), FAIL_IO, "No such file");
	expect_failure(((struct scratch *)*state)->dir, FAIL_IO, "is a directory");
	expect_failure("/dev/null", FAIL_UNTRUSTED, "not a bundle");
}

static void test_carrier__truncated_bundle(void **state)
{
	struct tars tar = {0};

	sample_tar(&sample, &tar);
	for (size_t cut = 700; cut < tar.len; cut += 50021) {
		struct tars part = {.data = tar.data, .len = tar.len - cut};

		expect_failure(write_file(*state, "cut.abide", &part), FAIL_UNTRUSTED, "truncated");
	}
	tars_finish(&tar);
}

static void test_carrier__flipped_data_is_named(void **state)
{
	struct tars tar = {0};

	/* Chunk 2 is the first that is compressed; its frame begins behind the raw one. */
	sample.data[0].data[5000] ^= 0xff;
	sample_tar(&sample, &tar);
	expect_failure(write_file(*state, "bad.abide", &tar), FAIL_UNTRUSTED,
		"'rootfs.data': chunk 2: not a zstd frame");
	sample.data[0].data[5000] ^= 0xff;
	tars_finish(&tar);
}

static void test_carrier__store_that_does_not_fit(void **state)
{
	struct tars tar = {0};

	sample.store[1].data[12]++;
	sample_tar(&sample, &tar);
	expect_failure(write_file(*state, "bad.abide", &tar), FAIL_UNTRUSTED,
		"'app.store': the store has");
	sample.store[1].data[12]--;
	tars_finish(&tar);

	/* A stored length more than the data has. */
	sample.store[0].data[STORE_HEADER_LEN + 2 * STORE_RECORD_LEN]++;
	sample_tar(&sample, &tar);
	expect_failure(write_file(*state, "bad.abide", &tar), FAIL_UNTRUSTED, "'rootfs.data' has");
	sample.store[0].data[STORE_HEADER_LEN + 2 * STORE_RECORD_LEN]--;
	tars_finish(&tar);
}

static void test_carrier__index_of_another_length(void **state)
{
	struct carrier_options options = {0};
	struct carrier *carrier = NULL;
	struct bytes manifest = {0};
	struct bytes signature = {0};
	struct bytes raw = {0};
	struct err err = {0};

	assert_int_equal(carrier_open(write_sample(*state), &options, &carrier, &err), 0);
	assert_int_equal(carrier_manifest(carrier, &manifest, &signature, &err), 0);
	assert_int_equal(carrier_index(carrier, "rootfs", 4000, &raw, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "the manifest says 4000"));
	carrier_close(&carrier);
	bytes_finish(&manifest);
	bytes_finish(&signature);
}

static void fewer_images(void **state, bool late)
{
	struct carrier_options options = {0};
	struct carrier *carrier = NULL;
	struct bytes manifest = {0};
	struct bytes signature = {0};
	struct bytes raw = {0};
	struct err err = {0};

	assert_int_equal(carrier_open(write_sample(*state), &options, &carrier, &err), 0);
	assert_int_equal(carrier_manifest(carrier, &manifest, &signature, &err), 0);
	assert_int_equal(carrier_index(carrier, "rootfs", sample.index_raw[0].len, &raw, &err), 0);
	assert_int_equal(
		carrier_want(carrier, "rootfs", sample.index[0], &sample.wanted[0], NULL, &err), 0);
	/* What the child said last is told, also when it is gone before it is asked again. */
	if (late)
		(void)nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
	assert_int_equal(carrier_end(carrier, NULL, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "'app.index' is where the manifest has no image"));
	carrier_close(&carrier);
	bytes_finish(&manifest);
	bytes_finish(&signature);
	bytes_finish(&raw);
}

static void test_carrier__fewer_images_than_the_container(void **state)
{
	fewer_images(state, false);
	fewer_images(state, true);
}

static void test_carrier__user_must_exist_and_be_nobody_important(void **state)
{
	const char *path = write_sample(*state);
	struct carrier_options options = {.user = "no-such-user"};
	struct carrier *carrier = NULL;
	struct err err = {0};

	if (geteuid() != 0)
		skip();
	assert_int_equal(carrier_open(path, &options, &carrier, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
	assert_non_null(strstr(err.msg, "'no-such-user'"));
	options.user = "root";
	assert_int_equal(carrier_open(path, &options, &carrier, &err), -1);
	assert_int_equal(err.code, FAIL_USAGE);
}

static void test_carrier__silent_standard_input_is_given_up(void **state)
{
	struct carrier_options options = {.stall_timeout = 1};
	struct err err = {0};
	int saved = dup(STDIN_FILENO);
	int fds[2];
	int status;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	(void)dup2(fds[0], STDIN_FILENO);
	status = session("-", &options, &err);
	(void)dup2(saved, STDIN_FILENO);
	(void)close(saved);
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_int_equal(status, -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "'standard input': not a byte for 1 seconds"));
}

static void test_carrier__interruption_ends_a_wait(void **state)
{
	static volatile sig_atomic_t interrupted;
	struct carrier_options options = {.interrupted = &interrupted};
	struct err err = {0};
	time_t start = time(NULL);
	int saved = dup(STDIN_FILENO);
	int fds[2];
	int status;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	(void)dup2(fds[0], STDIN_FILENO);
	interrupted = 1;
	status = session("-", &options, &err);
	(void)dup2(saved, STDIN_FILENO);
	(void)close(saved);
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_int_equal(status, -1);
	assert_int_equal(err.code, FAIL_INTERRUPTED);
	assert_true(time(NULL) - start < 10);
}

static void test_carrier__works_without_root(void **state)
{
	const char *path = write_sample(*state);
	struct carrier_options options = {0};
	struct err err = {0};
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip(); /* then all the other tests have shown it */
	(void)chmod(((struct scratch *)*state)->dir, 0755);
	(void)chmod(path, 0644);
	pid = fork();
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
			setresuid(65534, 65534, 65534) < 0)
			_exit(3);
		if (session(path, &options, &err) == 0)
			_exit(0);
		_exit(strstr(err.msg, "there is no 'abide-carrier'") ? 77 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* a build directory that nobody else may look into */
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The only child of a process; 0 if it has none yet. */
static pid_t child_of(pid_t parent)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	char path[64];
	struct err err;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	if (fs_read_file(path, 4096, &text, &err) < 0)
		return 0;
	return (pid_t)strtol((char *)text.data, NULL, 10);
}

/* Or dead, and not yet reaped by whoever inherited it. */
static bool is_gone(pid_t pid)
{
	CLEANUP(bytes_finish) struct bytes text = {0};
	const char *name_end;
	char path[64];
	struct err err;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fs_read_file(path, 4096, &text, &err) < 0)
		return true;
	name_end = strrchr((char *)text.data, ')');
	return !name_end || name_end[2] == 'Z';
}

static void test_carrier__does_not_outlive_the_installer(void **state)
{
	const struct timespec slice = {.tv_nsec = 20 * 1000 * 1000};
	struct carrier_options options = {0};
	struct err err = {0};
	pid_t carrier = 0;
	pid_t installer;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	installer = fork();
	if (installer == 0) {
		(void)dup2(fds[0], STDIN_FILENO);
		_exit(session("-", &options, &err) == 0);
	}
	for (int i = 0; i < 250 && carrier == 0; i++) {
		carrier = child_of(installer);
		(void)nanosleep(&slice, NULL);
	}
	assert_true(carrier > 0);
	/* Time to get behind its sandbox, and to wait for bytes that never come. */
	for (int i = 0; i < 10; i++)
		(void)nanosleep(&slice, NULL);
	assert_false(is_gone(carrier));
	assert_int_equal(kill(installer, SIGKILL), 0);
	assert_int_equal(waitpid(installer, NULL, 0), installer);
	for (int i = 0; i < 250 && !is_gone(carrier); i++)
		(void)nanosleep(&slice, NULL);
	assert_true(is_gone(carrier));
	(void)close(fds[0]);
	(void)close(fds[1]);
}

/* ---- impostors ---- */

enum step {
	AT_START, /* before a message is read */
	AT_MANIFEST,
	AT_SIGNATURE, /* after the manifest was sent */
	AT_INDEX,
	AT_WEIGH,
	AT_CHUNK, /* the second wanted one */
	WITHIN_CHUNK, /* half of it is sent */
	AT_END,
	STEPS,
};

struct script {
	enum step step;
	void (*deed)(int in_fd, int out_fd);
};

struct stage {
	const struct script *script;
	struct message_reader reader;
	struct message_writer writer;
	int in_fd;
	int out_fd;
	struct ring_room *room;
	size_t indexes;
};

/* At the script's step: do the deed, with all that was said so far on its way. */
static void reach(struct stage *stage, enum step step)
{
	struct err err;

	if (stage->script->step != step)
		return;
	(void)message_flush(&stage->writer, &err);
	stage->script->deed(stage->in_fd, stage->out_fd);
}

static void say(struct stage *stage, enum message_type type, const void *payload, size_t len)
{
	struct err err;

	if (message_put(&stage->writer, type, payload, len, &err) < 0)
		_exit(99);
}

static void say_chunk(struct stage *stage, size_t image, uint32_t i)
{
	uint32_t len = index_length(sample.index[image], i);
	struct message message;
	uint32_t offset = 0;
	struct err err;

	if (i == 1)
		reach(stage, AT_CHUNK);
	if (i == 1 && stage->script->step == WITHIN_CHUNK) {
		uint8_t start[10] = {0};

		(void)message_flush(&stage->writer, &err);
		le32_put(start, MESSAGE_CHUNK);
		le32_put(start + 4, MESSAGE_CHUNK_LEN);
		(void)fs_write_full(stage->out_fd, "pipe", start, sizeof(start), &err);
		reach(stage, WITHIN_CHUNK);
	}
	while (!ring_give(stage->room, len, &offset))
		if (message_flush(&stage->writer, &err) < 0 ||
			message_next(&stage->reader, &message, &err) < 0 ||
			message.type != MESSAGE_TAKEN || !ring_taken(stage->room))
			_exit(99);
	memcpy(stage->room->bytes + offset, sample.plain[image] + sample_offset(&sample, image, i),
		len);
	ring_given(stage->room, len);
	if (message_put_chunk(&stage->writer, i, offset, len, &err) < 0)
		_exit(99);
}

static void play(struct stage *stage, const struct message *message)
{
	uint8_t *payload = calloc(1, message->len + 1u);
	uint8_t end[MESSAGE_END_LEN] = {0};
	size_t image;
	struct err err;

	if (!payload || message_payload(&stage->reader, payload, message->len, &err) < 0)
		_exit(99);
	switch ((int)message->type) {
	case MESSAGE_MANIFEST:
		reach(stage, AT_MANIFEST);
		say(stage, MESSAGE_MANIFEST, SAMPLE_MANIFEST, strlen(SAMPLE_MANIFEST));
		reach(stage, AT_SIGNATURE);
		say(stage, MESSAGE_SIGNATURE, SAMPLE_SIGNATURE, strlen(SAMPLE_SIGNATURE));
		break;
	case MESSAGE_INDEX:
		reach(stage, AT_INDEX);
		image = stage->indexes++;
		say(stage, MESSAGE_INDEX, sample.index_raw[image].data,
			sample.index_raw[image].len);
		break;
	case MESSAGE_WEIGH:
		reach(stage, AT_WEIGH);
		image = strcmp((char *)payload, sample.class[0]) == 0 ? 0 : 1;
		le64_put(end, weight_of(image, payload + MESSAGE_CLASS_FIELD));
		say(stage, MESSAGE_WEIGH, end, MESSAGE_WEIGH_LEN);
		break;
	case MESSAGE_WANT:
		image = strcmp((char *)payload, sample.class[0]) == 0 ? 0 : 1;
		for (uint32_t i = 0; i < SAMPLE_CHUNKS; i++)
			if (payload[MESSAGE_CLASS_FIELD] >> i & 1)
				say_chunk(stage, image, i);
		break;
	case MESSAGE_TAKEN:
		(void)ring_taken(stage->room);
		break;
	case MESSAGE_END:
		reach(stage, AT_END);
		say(stage, MESSAGE_END, end, sizeof(end));
		break;
	}
	(void)message_flush(&stage->writer, &err);
	free(payload);
}

static int impostor(int in_fd, int out_fd, struct ring_room *room, void *arg)
{
	struct stage stage = {.script = arg, .in_fd = in_fd, .out_fd = out_fd, .room = room};
	struct message message;
	struct err err;

	if (message_writer_init(&stage.writer, out_fd, &err) < 0 ||
		message_reader_init(&stage.reader, in_fd, MESSAGE_FROM_INSTALLER, &err) < 0)
		return 99;
	reach(&stage, AT_START);
	while (message_next(&stage.reader, &message, &err) == 0)
		play(&stage, &message);
	return 0;
}

static int run_impostor(enum step step, void (*deed)(int, int), struct err *err)
{
	struct script script = {step, deed};
	struct carrier_options options = {
		.stall_timeout = 1,
		.impostor = impostor,
		.impostor_arg = &script,
	};

	*err = (struct err){0};
	return session("/dev/null", &options, err);
}

static void nothing(int in_fd, int out_fd)
{
	(void)in_fd;
	(void)out_fd;
}

static void raw(int out_fd, uint32_t type, uint32_t len, const void *payload, size_t sent)
{
	uint8_t head[8];
	struct err err;

	le32_put(head, type);
	le32_put(head + 4, len);
	if (fs_write_full(out_fd, "pipe", head, sizeof(head), &err) < 0 ||
		fs_write_full(out_fd, "pipe", payload, sent, &err) < 0)
		_exit(98);
}

static void test_carrier__honest_impostor_passes(void **state)
{
	struct err err;

	(void)state; /* else the tests below prove nothing */
	if (run_impostor(STEPS, nothing, &err) < 0)
		fail_msg("%s", err.msg);
}

static void crash(int in_fd, int out_fd)
{
	(void)in_fd;
	(void)out_fd;
	(void)raise(SIGKILL);
}

static void leave(int in_fd, int out_fd)
{
	(void)in_fd;
	(void)out_fd;
	_exit(0);
}

static void test_carrier__death_at_each_step(void **state)
{
	struct err err;

	(void)state;
	for (enum step step = 0; step < STEPS; step++) {
		assert_int_equal(run_impostor(step, crash, &err), -1);
		assert_int_equal(err.code, FAIL_IO);
		assert_non_null(strstr(err.msg, "killed by signal 9"));
		assert_int_equal(run_impostor(step, leave, &err), -1);
		assert_int_equal(err.code, FAIL_IO);
		assert_non_null(strstr(err.msg, "ended too early, with status 0"));
	}
}

static void hang(int in_fd, int out_fd)
{
	(void)in_fd;
	(void)out_fd;
	for (;;)
		(void)pause();
}

static void test_carrier__hang_is_noticed(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(run_impostor(AT_START, hang, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
	assert_non_null(strstr(err.msg, "silent for 3 seconds"));
	assert_int_equal(run_impostor(WITHIN_CHUNK, hang, &err), -1);
	assert_non_null(strstr(err.msg, "silent for"));
}

static void garbage(int in_fd, int out_fd)
{
	char text[100];

	(void)in_fd;
	memset(text, 'A', sizeof(text));
	raw(out_fd, 0x41414141, 0x41414141, text, sizeof(text));
}

static void wrong_type(int in_fd, int out_fd)
{
	uint8_t end[MESSAGE_END_LEN] = {0};

	(void)in_fd;
	/* Rightly formed, but never the next answer; at the end an old one. */
	raw(out_fd, MESSAGE_SIGNATURE, 5, "again", 5);
	raw(out_fd, MESSAGE_END, sizeof(end), end, sizeof(end));
}

static void installers_type(int in_fd, int out_fd)
{
	(void)in_fd;
	raw(out_fd, MESSAGE_WANT, 40, "0123456789012345678901234567890123456789", 40);
}

static void huge_length(int in_fd, int out_fd)
{
	(void)in_fd;
	raw(out_fd, MESSAGE_CHUNK, UINT32_MAX, "x", 1);
}

static void huge_manifest(int in_fd, int out_fd)
{
	(void)in_fd;
	raw(out_fd, MESSAGE_MANIFEST, (64u << 10) + 1, "x", 1);
}

static void strange_error(int in_fd, int out_fd)
{
	uint8_t payload[10] = {0};

	(void)in_fd;
	le32_put(payload, 77);
	raw(out_fd, MESSAGE_ERROR, sizeof(payload), payload, sizeof(payload));
}

static void refusing_error(int in_fd, int out_fd)
{
	uint8_t payload[10] = {0};

	(void)in_fd;
	le32_put(payload, FAIL_REFUSED); /* policy is not the carrier's business */
	raw(out_fd, MESSAGE_ERROR, sizeof(payload), payload, sizeof(payload));
}

static void test_carrier__lies_at_each_step(void **state)
{
	static void (*const DEEDS[])(int, int) = {garbage, wrong_type, installers_type, huge_length,
		huge_manifest, strange_error, refusing_error};
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(DEEDS); i++)
		for (enum step step = 0; step < STEPS; step++) {
			/* In the middle of a chunk anything is data, until its end. */
			if (step == WITHIN_CHUNK ||
				(step == AT_SIGNATURE && DEEDS[i] == wrong_type))
				continue;
			assert_int_equal(run_impostor(step, DEEDS[i], &err), -1);
			if (err.code != FAIL_UNTRUSTED || !strstr(err.msg, "broke the protocol"))
				fail_msg("deed %zu at step %d: %s: %s", i, (int)step,
					err_code_name(err.code), err.msg);
		}
}

/* Says that chunk `number` with `len` bytes lies there. */
static void place(int out_fd, uint32_t number, uint32_t offset, uint32_t len)
{
	uint8_t chunk[MESSAGE_CHUNK_LEN];

	le32_put(chunk, number);
	le32_put(chunk + 4, offset);
	le32_put(chunk + 8, len);
	raw(out_fd, MESSAGE_CHUNK, sizeof(chunk), chunk, sizeof(chunk));
}

static void other_number(int in_fd, int out_fd)
{
	(void)in_fd;
	place(out_fd, 2, 4096, 4096);
}

static void other_length(int in_fd, int out_fd)
{
	(void)in_fd;
	place(out_fd, 1, 4096, 4095);
}

static void past_the_end(int in_fd, int out_fd)
{
	(void)in_fd;
	place(out_fd, 1, RING_SIZE - 4095, 4096);
}

static void far_away(int in_fd, int out_fd)
{
	(void)in_fd;
	place(out_fd, 1, UINT32_MAX - 4095, 4096);
}

static void across_batches(int in_fd, int out_fd)
{
	(void)in_fd;
	place(out_fd, 1, RING_BATCH - 1, 4096);
}

static void in_a_later_batch(int in_fd, int out_fd)
{
	(void)in_fd;
	place(out_fd, 1, 2 * RING_BATCH, 4096);
}

static void heavy(int in_fd, int out_fd)
{
	uint8_t weight[MESSAGE_WEIGH_LEN];

	(void)in_fd;
	le64_put(weight, sample.plain_len[0] + 1);
	raw(out_fd, MESSAGE_WEIGH, sizeof(weight), weight, sizeof(weight));
}

static void other_index(int in_fd, int out_fd)
{
	static uint8_t index[100];

	(void)in_fd;
	raw(out_fd, MESSAGE_INDEX, sizeof(index), index, sizeof(index));
}

static void test_carrier__chunks_must_be_the_wanted_ones(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(run_impostor(AT_CHUNK, other_number, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "another chunk"));
	assert_int_equal(run_impostor(AT_CHUNK, past_the_end, &err), -1);
	assert_non_null(strstr(err.msg, "a chunk where none can be"));
	assert_int_equal(run_impostor(AT_CHUNK, far_away, &err), -1);
	assert_non_null(strstr(err.msg, "a chunk where none can be"));
	assert_int_equal(run_impostor(AT_CHUNK, across_batches, &err), -1);
	assert_non_null(strstr(err.msg, "a chunk where none can be"));
	assert_int_equal(run_impostor(AT_CHUNK, in_a_later_batch, &err), -1);
	assert_non_null(strstr(err.msg, "a chunk where none can be"));
	assert_int_equal(run_impostor(AT_CHUNK, other_length, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "another length"));
	assert_int_equal(run_impostor(AT_INDEX, other_index, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_int_equal(run_impostor(AT_WEIGH, heavy, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "more bytes are stored than the image has"));
}

static void endless_alive(int in_fd, int out_fd)
{
	(void)in_fd;
	for (;;) {
		uint8_t many[8 * 4096] = {0};
		struct err err;

		for (size_t i = 0; i < sizeof(many); i += 8)
			le32_put(many + i, MESSAGE_ALIVE);
		if (fs_write_full(out_fd, "pipe", many, sizeof(many), &err) < 0)
			_exit(98);
	}
}

static void endless_notes(int in_fd, int out_fd)
{
	(void)in_fd;
	for (;;)
		raw(out_fd, MESSAGE_NOTE, 5, "hello", 5);
}

static void test_carrier__floods_end(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(run_impostor(AT_MANIFEST, endless_alive, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_int_equal(run_impostor(AT_CHUNK, endless_notes, &err), -1);
	assert_int_equal(err.code, FAIL_UNTRUSTED);
	assert_non_null(strstr(err.msg, "too many notes"));
}

static void colourful_error(int in_fd, int out_fd)
{
	static const char TEXT[] = "\x1b[2J\x1b]0;title\x07"
				   "all is well\r\n\x9b";
	uint8_t payload[4 + sizeof(TEXT)];

	(void)in_fd;
	le32_put(payload, FAIL_NETWORK);
	memcpy(payload + 4, TEXT, sizeof(TEXT));
	raw(out_fd, MESSAGE_NOTE, sizeof(TEXT), TEXT, sizeof(TEXT));
	raw(out_fd, MESSAGE_ERROR, sizeof(payload), payload, sizeof(payload));
}

static void check_printable(void *arg, const char *text)
{
	(*(int *)arg)++;
	for (const char *c = text; *c; c++)
		assert_true(*c >= ' ' && *c <= '~');
}

static void test_carrier__texts_are_printable(void **state)
{
	struct script script = {AT_MANIFEST, colourful_error};
	int notes = 0;
	struct carrier_options options = {
		.impostor = impostor,
		.impostor_arg = &script,
		.note = check_printable,
		.note_arg = &notes,
	};
	struct err err = {0};

	(void)state;
	assert_int_equal(session("/dev/null", &options, &err), -1);
	assert_int_equal(err.code, FAIL_NETWORK);
	assert_string_equal(err.msg, "?[2J?]0;title?all is well????");
	assert_int_equal(notes, 1);
	check_printable(&notes, err.msg);
}

static void deaf(int in_fd, int out_fd)
{
	(void)in_fd;
	(void)out_fd;
	(void)shutdown(in_fd, 0);
	(void)close(in_fd);
	for (;;)
		(void)pause();
}

static void test_carrier__deaf_child_raises_no_sigpipe(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(run_impostor(AT_START, deaf, &err), -1);
	assert_int_equal(err.code, FAIL_IO);
}

static void last_words(int in_fd, int out_fd)
{
	static const char TEXT[] = "the server hung up";
	uint8_t payload[4 + sizeof(TEXT) - 1];

	(void)shutdown(in_fd, SHUT_RDWR);
	le32_put(payload, FAIL_NETWORK);
	memcpy(payload + 4, TEXT, sizeof(TEXT) - 1);
	raw(out_fd, MESSAGE_ERROR, sizeof(payload), payload, sizeof(payload));
	_exit(1);
}

/* The next request cannot be sent any more; why is in the pipe already. */
static void test_carrier__last_words_of_a_child_that_is_gone_are_heard(void **state)
{
	struct script script = {AT_START, last_words};
	struct carrier_options options = {.impostor = impostor, .impostor_arg = &script};
	struct carrier *carrier = NULL;
	struct bytes manifest = {0};
	struct bytes signature = {0};
	struct err err = {0};

	(void)state;
	if (carrier_open("/dev/null", &options, &carrier, &err) == 0) {
		(void)usleep(200000); /* until it is gone */
		assert_int_equal(carrier_manifest(carrier, &manifest, &signature, &err), -1);
	}
	assert_int_equal(err.code, FAIL_NETWORK);
	assert_string_equal(err.msg, "the server hung up");
	carrier_close(&carrier);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_carrier__file_gives_the_images),
		TEST(test_carrier__standard_input_may_be_a_pipe_or_a_file),
		TEST(test_carrier__only_wanted_chunks_come),
		TEST(test_carrier__images_may_be_left_out),
		TEST(test_carrier__may_be_closed_at_any_point),
		TEST(test_carrier__pax_records_are_read_in_the_sandbox),
		TEST(test_carrier__repeats_are_refused),
		TEST(test_carrier__missing_source),
		TEST(test_carrier__truncated_bundle),
		TEST(test_carrier__flipped_data_is_named),
		TEST(test_carrier__store_that_does_not_fit),
		TEST(test_carrier__index_of_another_length),
		TEST(test_carrier__fewer_images_than_the_container),
		TEST(test_carrier__user_must_exist_and_be_nobody_important),
		TEST(test_carrier__silent_standard_input_is_given_up),
		TEST(test_carrier__interruption_ends_a_wait),
		TEST(test_carrier__works_without_root),
		TEST(test_carrier__does_not_outlive_the_installer),
		TEST(test_carrier__honest_impostor_passes),
		TEST(test_carrier__death_at_each_step),
		TEST(test_carrier__hang_is_noticed),
		TEST(test_carrier__lies_at_each_step),
		TEST(test_carrier__chunks_must_be_the_wanted_ones),
		TEST(test_carrier__floods_end),
		TEST(test_carrier__texts_are_printable),
		TEST(test_carrier__deaf_child_raises_no_sigpipe),
		TEST(test_carrier__last_words_of_a_child_that_is_gone_are_heard),
	};

	return cmocka_run_group_tests_name("carrier", tests, group_setup, group_teardown);
}
