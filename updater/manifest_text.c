/* manifest: the forms of its names and times, and the one canonical text of the whole. */
#include "updater/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIME_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

bool manifest_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (len < 1 || len > MANIFEST_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (name[i] < 0x20 || name[i] > 0x7e)
			return false;
	return true;
}

bool manifest_class_valid(const char *class)
{
	size_t len = strlen(class);

	if (len < 1 || len > MANIFEST_CLASS_MAX || class[0] < 'a' || class[0] > 'z')
		return false;
	return strspn(class, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static bool read_digits(const char *text, size_t len, int *ret)
{
	*ret = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*ret = 10 * *ret + (text[i] - '0');
	}
	return true;
}

bool manifest_time_parse(const char *text, time_t *ret)
{
	struct tm tm = {0};
	char again[21];
	time_t t;

	if (strlen(text) != 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
		text[13] != ':' || text[16] != ':' || text[19] != 'Z')
		return false;
	if (!read_digits(text, 4, &tm.tm_year) || !read_digits(text + 5, 2, &tm.tm_mon) ||
		!read_digits(text + 8, 2, &tm.tm_mday) || !read_digits(text + 11, 2, &tm.tm_hour) ||
		!read_digits(text + 14, 2, &tm.tm_min) || !read_digits(text + 17, 2, &tm.tm_sec))
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	t = timegm(&tm);
	/* timegm() makes a 30th of February the 2nd of March: only what comes back is a date. */
	manifest_time_format(t, again);
	if (t < 0 || strcmp(text, again) != 0)
		return false;
	*ret = t;
	return true;
}

void manifest_time_format(time_t t, char ret[static 21])
{
	struct tm tm;

	if (t < 0)
		t = 0;
	if (t > TIME_MAX)
		t = TIME_MAX;
	(void)gmtime_r(&t, &tm); /* cannot fail within these bounds */
	(void)strftime(ret, 21, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void write_string(FILE *out, const char *s)
{
	(void)putc('"', out); /* errors are sticky: manifest_encode() looks at the end */
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			(void)fprintf(out, "\\%c", *s);
		else if (*s == '\n')
			(void)fputs("\\n", out);
		else if (*s == '\t')
			(void)fputs("\\t", out);
		else
			(void)putc(*s, out);
	}
	(void)putc('"', out);
}

static void write_hex(FILE *out, const uint8_t *data, size_t len)
{
	(void)putc('"', out);
	for (size_t i = 0; i < len; i++)
		(void)fprintf(out, "%02x", data[i]);
	(void)putc('"', out);
}

static void write_member(FILE *out, const char *name, const char *value)
{
	(void)fprintf(out, "  \"%s\": ", name);
	write_string(out, value);
	(void)fputs(",\n", out);
}

static void write_hardware(FILE *out, const struct manifest *manifest)
{
	if (manifest->hardware_count == 0)
		return;
	(void)fputs("  \"hardware\": [", out);
	for (size_t i = 0; i < manifest->hardware_count; i++) {
		(void)fputs(i ? ", " : "", out);
		write_string(out, manifest->hardware[i]);
	}
	(void)fputs("],\n", out);
}

static void write_provenance(FILE *out, const struct manifest *manifest)
{
	const struct {
		const char *name, *value;
	} members[] = {
		{"source", manifest->source},
		{"builder", manifest->builder},
		{"sbom", manifest->sbom},
	};
	bool any = false;

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		if (!*members[i].value)
			continue;
		(void)fprintf(out, "%s\n    \"%s\": ", any ? "," : "  \"provenance\": {",
			members[i].name);
		write_string(out, members[i].value);
		any = true;
	}
	if (any)
		(void)fputs("\n  },\n", out);
}

static void write_verity(FILE *out, const struct manifest_verity *verity)
{
	(void)fputs(",\n      \"verity\": {\n        \"root\": ", out);
	write_hex(out, verity->root.b, DIGEST_LEN);
	(void)fputs(",\n        \"salt\": ", out);
	write_hex(out, verity->salt, verity->salt_len);
	(void)fprintf(out,
		",\n        \"data_blocks\": %" PRIu64 ",\n        \"hash_offset\": %" PRIu64
		"\n      }",
		verity->data_blocks, verity->hash_offset);
}

static void write_image(FILE *out, const struct manifest_image *image)
{
	(void)fputs("    {\n      \"class\": ", out);
	write_string(out, image->class);
	(void)fprintf(out, ",\n      \"size\": %" PRIu64 ",\n      \"sha256\": ", image->size);
	write_hex(out, image->sha256.b, DIGEST_LEN);
	(void)fprintf(out,
		",\n      \"index\": {\n        \"size\": %" PRIu64 ",\n        \"sha256\": ",
		image->index_size);
	write_hex(out, image->index_sha256.b, DIGEST_LEN);
	(void)fputs("\n      }", out);
	if (image->has_verity)
		write_verity(out, &image->verity);
	(void)fputs("\n    }", out);
}

static void write_manifest(FILE *out, const struct manifest *manifest)
{
	(void)fprintf(out, "{\n  \"format\": %u,\n", MANIFEST_FORMAT);
	write_member(out, "compatible", manifest->compatible);
	write_hardware(out, manifest);
	write_member(out, "version", manifest->version);
	(void)fprintf(out, "  \"security_version\": %" PRIu64 ",\n", manifest->security_version);
	write_member(out, "created", manifest->created);
	if (*manifest->description)
		write_member(out, "description", manifest->description);
	write_provenance(out, manifest);
	(void)fputs("  \"images\": [\n", out);
	for (size_t i = 0; i < manifest->image_count; i++) {
		(void)fputs(i ? ",\n" : "", out);
		write_image(out, &manifest->images[i]);
	}
	(void)fputs("\n  ]\n}\n", out);
}

int manifest_encode(const struct manifest *manifest, struct bytes *ret, struct err *err)
{
	CLEANUP(manifest_free) struct manifest *again = NULL;
	CLEANUP(bytes_finish) struct bytes text = {0};
	char *buf = NULL;
	bool failed;
	FILE *out = open_memstream(&buf, &text.len);

	if (!out)
		return err_memory(err);
	write_manifest(out, manifest);
	failed = ferror(out);
	failed |= fclose(out) != 0;
	text.data = (uint8_t *)buf;
	if (failed)
		return err_memory(err);
	/* Whatever the caller filled in, only what every abide can read is signed. */
	if (manifest_parse_untrusted(&text, &again, err) < 0) {
		err->code = FAIL_USAGE;
		return -1;
	}
	*ret = steal_bytes(&text);
	return 0;
}
