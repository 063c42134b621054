#include "image/reader.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "updater/fs.h"

struct reader {
	char *path;
	int fd;
	struct source *source;
	struct container *container;
	struct bytes manifest;
	struct bytes signature;
};

/* The container looks after order, and after names that are no member's. What is left to check is
 * whether the classes are the manifest's. */
static int next(struct reader *reader, enum member_kind kind, const char *class, const char *what,
	struct member *ret, struct err *err)
{
	if (container_next(reader->container, ret, err) < 0)
		return -1;
	if (ret->kind != kind || strcmp(ret->class, class) != 0)
		return err_set(err, FAIL_UNTRUSTED, "bundle '%s': %s%s expected where '%s' stands",
			reader->path, class, what,
			ret->kind == MEMBER_KIND_END ? "the end" : ret->name);
	return 0;
}

static int read_signed(struct reader *reader, struct err *err)
{
	struct member member;

	if (next(reader, MEMBER_KIND_MANIFEST, "", MEMBER_MANIFEST, &member, err) < 0 ||
		container_read_all(
			reader->container, &member, MANIFEST_SIZE_MAX, &reader->manifest, err) < 0)
		return -1;
	if (next(reader, MEMBER_KIND_SIGNATURE, "", MEMBER_SIGNATURE, &member, err) < 0)
		return -1;
	return container_read_all(
		reader->container, &member, MEMBER_SIGNATURE_MAX, &reader->signature, err);
}

int reader_open(const char *path, struct reader **ret, struct err *err)
{
	static const struct source_options OPTIONS = {.stall_timeout = 600};
	CLEANUP(reader_free) struct reader *reader = NULL;
	void *p = NULL;

	if (mem_alloc(sizeof(*reader), &p, err) < 0)
		return -1;
	reader = p;
	reader->fd = -1;
	if (mem_strdup(path, &reader->path, err) < 0 ||
		fs_open(path, O_RDONLY, 0, &reader->fd, err) < 0 ||
		source_file_new(reader->fd, path, &OPTIONS, &reader->source, err) < 0 ||
		container_new(reader->source, &reader->container, err) < 0 ||
		read_signed(reader, err) < 0)
		return -1;
	*ret = steal_ptr(&reader);
	return 0;
}

void reader_free(struct reader **reader)
{
	if (!reader || !*reader)
		return;
	container_free(&(*reader)->container);
	source_free(&(*reader)->source);
	cleanup_fd(&(*reader)->fd);
	bytes_finish(&(*reader)->manifest);
	bytes_finish(&(*reader)->signature);
	free((*reader)->path);
	free(*reader);
	*reader = NULL;
}

const struct bytes *reader_manifest(const struct reader *reader)
{
	return &reader->manifest;
}

const struct bytes *reader_signature(const struct reader *reader)
{
	return &reader->signature;
}

struct container *reader_container(struct reader *reader)
{
	return reader->container;
}

int reader_index(struct reader *reader, const struct manifest_image *image, struct index **ret,
	struct err *err)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct digest digest;
	struct member member;

	if (next(reader, MEMBER_KIND_INDEX, image->class, MEMBER_INDEX_SUFFIX, &member, err) < 0)
		return -1;
	if (member.size != image->index_size)
		return err_set(err, FAIL_UNTRUSTED,
			"bundle '%s': '%s' has %" PRIu64 " bytes, the manifest says %" PRIu64,
			reader->path, member.name, member.size, image->index_size);
	if (container_read_all(reader->container, &member, INDEX_SIZE_MAX, &bytes, err) < 0 ||
		digest_once(bytes.data, bytes.len, &digest, err) < 0)
		return -1;
	if (!digest_equal(&digest, &image->index_sha256))
		return err_set(err, FAIL_UNTRUSTED,
			"bundle '%s': '%s' does not have the digest that the manifest says",
			reader->path, member.name);
	if (index_parse(&bytes, image->size, ret, err) < 0)
		return err_wrap(err, "bundle '%s': '%s'", reader->path, member.name);
	return 0;
}

int reader_store(struct reader *reader, const struct manifest_image *image,
	const struct index *index, struct store **ret, struct bytes *ret_bytes, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	CLEANUP(bytes_finish) struct bytes copy = {0};
	struct member member;

	if (next(reader, MEMBER_KIND_STORE, image->class, MEMBER_STORE_SUFFIX, &member, err) < 0 ||
		container_read_all(reader->container, &member, MEMBER_STORE_MAX, &bytes, err) < 0)
		return -1;
	if (ret_bytes && bytes_copy(bytes.data, bytes.len, &copy, err) < 0)
		return -1;
	if (store_parse(&bytes, index, ret, err) < 0)
		return err_wrap(err, "bundle '%s': '%s'", reader->path, member.name);
	if (ret_bytes)
		*ret_bytes = steal_bytes(&copy);
	return 0;
}

int reader_data(
	struct reader *reader, const struct manifest_image *image, uint64_t size, struct err *err)
{
	struct member member;

	if (next(reader, MEMBER_KIND_DATA, image->class, MEMBER_DATA_SUFFIX, &member, err) < 0)
		return -1;
	if (member.size != size)
		return err_set(err, FAIL_UNTRUSTED,
			"bundle '%s': '%s' has %" PRIu64 " bytes, the store says %" PRIu64,
			reader->path, member.name, member.size, size);
	return 0;
}

int reader_end(struct reader *reader, struct err *err)
{
	struct member member;

	return next(reader, MEMBER_KIND_END, "", "the end", &member, err);
}
