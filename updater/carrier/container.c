#include "updater/carrier/container.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <iconv.h>
#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAR_BLOCK 512u
/* Zeros after the end-of-archive mark: writers fill up to their record size. */
#define CONTAINER_TAIL_MAX (1u << 20)
#define CONTAINER_NEXT     (8u << 10) /* a usual header of a member */

struct container {
	struct source *source;
	uint8_t *buf; /* CONTAINER_BUFFER bytes; the unread ones are [at, end) */
	size_t at;
	size_t end;
	bool source_ended;
	struct member member; /* the current one */
	uint64_t left; /* bytes of its content not consumed */
	uint32_t padding; /* zero bytes that follow it */
	uint64_t start; /* of its content in the source */
	struct source_wants wants; /* in its content */
	bool begun; /* there is a current member */
	struct member_order order;
	size_t header_len; /* bytes libarchive took for the header it is decoding */
	struct err read_err; /* why the source failed inside a libarchive call */
	uint8_t header[TAR_BLOCK]; /* the last block it took */
};

int container_new(struct source *source, struct container **ret, struct err *err)
{
	void *p = NULL;
	void *buf = NULL;
	struct container *container;

	if (mem_alloc(CONTAINER_BUFFER, &buf, err) < 0)
		return -1;
	if (mem_alloc(sizeof(*container), &p, err) < 0) {
		free(buf);
		return -1;
	}
	container = p;
	container->source = source;
	container->buf = buf;
	*ret = container;
	return 0;
}

void container_free(struct container **container)
{
	struct container *taken = steal_ptr(container);

	if (!taken)
		return;
	free(taken->buf);
	free(taken);
}

void container_prepare(void)
{
	/* libarchive converts the names in pax records. The C library would then look for its
	 * table of conversions; after the first use it does not look again. */
	iconv_t cd = iconv_open(nl_langinfo(CODESET), "UTF-8");

	if (cd != (iconv_t)-1)
		(void)iconv_close(cd); /* opened only to be there */
}

/* ---- the stream ---- */

static size_t buffered(const struct container *container)
{
	return container->end - container->at;
}

/* At least len bytes at `at`, or fewer if the source ends before. */
static int fill(struct container *container, size_t len, struct err *err)
{
	if (buffered(container) >= len || container->source_ended)
		return 0;
	memmove(container->buf, container->buf + container->at, buffered(container));
	container->end -= container->at;
	container->at = 0;
	while (container->end < len && !container->source_ended) {
		size_t got = 0;

		/* As much as fits: fewer and larger reads. */
		if (source_read(container->source, container->buf + container->end,
			    CONTAINER_BUFFER - container->end, &got, err) < 0)
			return -1;
		container->end += got;
		container->source_ended = got == 0;
	}
	return 0;
}

static int truncated(const struct container *container, struct err *err)
{
	const char *name = container->source->name;
	uint64_t missing = container->left - buffered(container);

	if (!container->begun)
		return err_set(err, FAIL_UNTRUSTED,
			"'%s' is not a bundle, or truncated: it ends before '%s'", name,
			MEMBER_MANIFEST);
	if (container->left)
		return err_set(err, FAIL_UNTRUSTED,
			"'%s' is truncated: %llu of the %llu bytes of '%s' are missing", name,
			(unsigned long long)missing, (unsigned long long)container->member.size,
			container->member.name);
	return err_set(err, FAIL_UNTRUSTED, "'%s' is truncated: it ends after '%s'", name,
		container->member.name);
}

static int overrun(const struct container *container, uint64_t len, struct err *err)
{
	return err_set(err, FAIL_UNTRUSTED, "'%s': '%s' has %llu bytes left, %llu are wanted",
		container->source->name, container->member.name,
		(unsigned long long)container->left, (unsigned long long)len);
}

void container_expect(struct container *container, uint64_t len)
{
	source_expect(container->source, len > buffered(container) ? len - buffered(container) : 0);
}

static bool next_wanted(void *arg, uint64_t from, uint64_t gap, struct source_range *ret)
{
	const struct container *container = arg;
	uint64_t start = container->start;

	if (!container->wants.next(container->wants.arg, from > start ? from - start : 0, gap, ret))
		return false;
	ret->start += start;
	ret->end += start;
	return true;
}

void container_want(struct container *container, const struct source_wants *wants)
{
	struct source_wants shifted = {next_wanted, container};

	container->wants = *wants;
	source_want(container->source, &shifted);
}

int container_borrow(struct container *container, size_t len, const uint8_t **ret, struct err *err)
{
	if (len > container->left || len > CONTAINER_BORROW_MAX)
		return overrun(container, len, err);
	if (fill(container, len, err) < 0)
		return -1;
	if (buffered(container) < len)
		return truncated(container, err);
	*ret = container->buf + container->at;
	container->at += len;
	container->left -= len;
	return 0;
}

int container_read(struct container *container, void *buf, size_t len, struct err *err)
{
	uint8_t *to = buf;

	if (len > container->left)
		return overrun(container, len, err);
	while (len > 0) {
		size_t n = len < CONTAINER_BORROW_MAX ? len : CONTAINER_BORROW_MAX;
		const uint8_t *from = NULL;

		if (container_borrow(container, n, &from, err) < 0)
			return -1;
		memcpy(to, from, n);
		to += n;
		len -= n;
	}
	return 0;
}

int container_skip(struct container *container, uint64_t len, struct err *err)
{
	uint64_t ready = len < buffered(container) ? len : buffered(container);
	uint64_t jumped = 0;

	if (len > container->left)
		return overrun(container, len, err);
	container->at += (size_t)ready;
	container->left -= ready;
	len -= ready;
	if (len > 0 && source_skip(container->source, len, &jumped, err) < 0)
		return -1;
	container->left -= jumped;
	len -= jumped;
	while (len > 0) {
		size_t n = len < CONTAINER_BORROW_MAX ? (size_t)len : CONTAINER_BORROW_MAX;
		const uint8_t *unused = NULL;

		if (container_borrow(container, n, &unused, err) < 0)
			return -1;
		len -= n;
	}
	return 0;
}

int container_read_all(struct container *container, const struct member *member, uint64_t limit,
	struct bytes *ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes all = {0};
	void *p = NULL;

	if (member->size > limit)
		return err_set(err, FAIL_UNTRUSTED,
			"'%s': '%s' has %llu bytes, at most %llu may be", container->source->name,
			member->name, (unsigned long long)member->size, (unsigned long long)limit);
	if (mem_alloc((size_t)member->size, &p, err) < 0)
		return -1;
	all.data = p;
	all.len = (size_t)member->size;
	/* The next member's header comes with it. */
	container_expect(container, member->size + container->padding + CONTAINER_NEXT);
	if (container_read(container, all.data, all.len, err) < 0)
		return -1;
	*ret = steal_bytes(&all);
	return 0;
}

/* ---- the headers between the members ---- */

static la_ssize_t give_block(struct archive *archive, void *arg, const void **ret)
{
	struct container *container = arg;

	if (container->header_len >= CONTAINER_HEADER_MAX) {
		archive_set_error(
			archive, EFBIG, "it is longer than %u bytes", CONTAINER_HEADER_MAX);
		return -1;
	}
	if (fill(container, TAR_BLOCK, &container->read_err) < 0)
		return -1;
	if (buffered(container) < TAR_BLOCK)
		return 0;
	memcpy(container->header, container->buf + container->at, TAR_BLOCK);
	container->at += TAR_BLOCK;
	container->header_len += TAR_BLOCK;
	*ret = container->header;
	return TAR_BLOCK;
}

static void cleanup_archive(struct archive **archive)
{
	(void)archive_read_free(*archive); /* nothing of it is used any more */
}

/* What libarchive would take as well, but no writer of bundles makes. */
static int check_entry(
	const struct container *container, struct archive_entry *entry, int format, struct err *err)
{
	const char *source = container->source->name;
	const char *name = archive_entry_pathname(entry);

	if (!name)
		return err_set(err, FAIL_UNTRUSTED, "'%s': a member's name is not text", source);
	if (format != ARCHIVE_FORMAT_TAR_USTAR && format != ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE)
		return err_set(err, FAIL_UNTRUSTED,
			"'%s' is not a bundle: neither a ustar nor a pax archive", source);
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) ||
		archive_entry_symlink(entry) || archive_entry_sparse_count(entry) > 0 ||
		memcmp(container->header + 257, "ustar", 5) != 0 || container->header[156] != '0')
		return err_set(err, FAIL_UNTRUSTED,
			"'%s': a member is not a regular, plainly stored file", source);
	if (!archive_entry_size_is_set(entry) || archive_entry_size(entry) < 0)
		return err_set(err, FAIL_UNTRUSTED, "'%s': a member has no valid size", source);
	return 0;
}

static int enter_member(struct container *container, struct archive_entry *entry, struct err *err)
{
	uint64_t size = (uint64_t)archive_entry_size(entry);
	struct member member;

	if (member_order_place(
		    &container->order, archive_entry_pathname(entry), size, &member, err) < 0)
		return err_wrap(err, "'%s'", container->source->name);
	container->member = member;
	container->left = size;
	container->start = container->source->offset - buffered(container);
	container->padding = (uint32_t)(round_up(size, TAR_BLOCK) - size);
	return 0;
}

static int read_header(struct container *container, struct err *err)
{
	CLEANUP(cleanup_archive) struct archive *archive = archive_read_new();
	struct archive_entry *entry = NULL;
	int status;

	if (!archive || archive_read_support_format_tar(archive) != ARCHIVE_OK)
		return err_memory(err);
	container->header_len = 0;
	container->read_err.code = FAIL_NONE;
	status = archive_read_open(archive, container, NULL, give_block, NULL);
	if (status == ARCHIVE_OK)
		status = archive_read_next_header(archive, &entry);
	if (container->read_err.code != FAIL_NONE) {
		*err = container->read_err;
		return -1;
	}
	if (status != ARCHIVE_OK && container->source_ended && buffered(container) < TAR_BLOCK)
		return truncated(container, err);
	if (status != ARCHIVE_OK) {
		char reason[128] = "it ends at once";
		const char *text = archive_error_string(archive);

		if (text)
			mem_printable(text, strlen(text), reason, sizeof(reason));
		return err_set(err, FAIL_UNTRUSTED, "'%s': %s: %s", container->source->name,
			container->begun ? "a member's tar header is wrong"
					 : "not a bundle, not even a tar archive",
			reason);
	}
	if (check_entry(container, entry, archive_format(archive), err) < 0)
		return -1;
	return enter_member(container, entry, err);
}

/* Only zeros may stand between two members. */
static int pass_padding(struct container *container, struct err *err)
{
	if (fill(container, container->padding, err) < 0)
		return -1;
	if (buffered(container) < container->padding)
		return truncated(container, err);
	if (!mem_is_zero(container->buf + container->at, container->padding))
		return err_set(err, FAIL_UNTRUSTED, "'%s': bytes other than zero after '%s'",
			container->source->name, container->member.name);
	container->at += container->padding;
	container->padding = 0;
	return 0;
}

/* The mark is two zero blocks. Whatever comes after it is nobody's. */
static int pass_end(struct container *container, struct err *err)
{
	uint64_t total = 0;

	if (member_order_end(&container->order, err) < 0)
		return err_wrap(err, "'%s'", container->source->name);
	for (;;) {
		if (fill(container, CONTAINER_BORROW_MAX, err) < 0)
			return -1;
		if (buffered(container) == 0)
			break;
		if (!mem_is_zero(container->buf + container->at, buffered(container)))
			return err_set(err, FAIL_UNTRUSTED,
				"'%s': bytes after the end of the archive",
				container->source->name);
		total += buffered(container);
		container->at = container->end;
		if (total > CONTAINER_TAIL_MAX)
			return err_set(err, FAIL_UNTRUSTED,
				"'%s': more than %u zero bytes at the end", container->source->name,
				CONTAINER_TAIL_MAX);
	}
	if (total < 2 * TAR_BLOCK)
		return truncated(container, err);
	container->member = (struct member){.kind = MEMBER_KIND_END};
	return 0;
}

int container_next(struct container *container, struct member *ret, struct err *err)
{
	if (container->begun && (container_skip(container, container->left, err) < 0 ||
					pass_padding(container, err) < 0))
		return -1;
	container_expect(container, CONTAINER_AHEAD);
	if (fill(container, TAR_BLOCK, err) < 0)
		return -1;
	if (buffered(container) < TAR_BLOCK)
		return truncated(container, err);
	if (mem_is_zero(container->buf + container->at, TAR_BLOCK)) {
		if (pass_end(container, err) < 0)
			return -1;
	} else if (read_header(container, err) < 0) {
		return -1;
	}
	container->begun = true;
	*ret = container->member;
	return 0;
}
