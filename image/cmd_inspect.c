#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/commands.h"
#include "image/contents.h"
#include "updater/mem.h"

static const char HELP[] =
	"usage: abide-image inspect [--json] BUNDLE\n"
	"\n"
	"Shows what a bundle says about itself. NOTHING IS VERIFIED but that its parts fit\n"
	"together; 'abide-image extract' and 'abide info' verify.\n";

/* Text from the bundle may hold anything but NUL: nothing of it may reach a terminal as it is. */
static void show(const char *label, const char *text)
{
	char clean[MANIFEST_TEXT_MAX + 1];

	if (*text == '\0')
		return;
	mem_printable(text, strlen(text), clean, sizeof(clean));
	(void)printf("%-17s %s\n", label, clean);
}

static void show_manifest(const struct contents *contents)
{
	const struct manifest *m = contents->manifest;
	char id[DIGEST_HEX_LEN + 1];

	digest_to_hex(&contents->id, id);
	show("artifact", id);
	if (contents->delta) {
		digest_to_hex(&contents->base, id);
		show("delta for", id);
	}
	show("compatible", m->compatible);
	for (size_t i = 0; i < m->hardware_count; i++)
		show("hardware", m->hardware[i]);
	show("version", m->version);
	(void)printf("%-17s %" PRIu64 "\n", "security version", m->security_version);
	show("created", m->created);
	show("description", m->description);
	show("source", m->source);
	show("builder", m->builder);
	show("sbom", m->sbom);
	for (size_t i = 0; i < contents->signers.count; i++)
		show("claims to be by", contents->signers.name[i]);
}

static void show_image(const struct contents *contents, size_t i)
{
	static const char *const NAMES[] = {
		[STORE_ZERO] = "zero",
		[STORE_SAME] = "repeated",
		[STORE_RAW] = "raw",
		[STORE_ZSTD] = "zstd",
		[STORE_BASE] = "base",
		[STORE_PATCH] = "patch",
	};
	const struct manifest_image *image = &contents->manifest->images[i];
	const struct pack_stats *stats = &contents->images[i].stats;
	char hex[DIGEST_HEX_LEN + 1];

	digest_to_hex(&image->sha256, hex);
	(void)printf(
		"\nimage %s: %" PRIu64 " bytes\n  sha256    %s\n", image->class, image->size, hex);
	(void)printf("  index     %" PRIu64 " bytes, %" PRIu32 " chunks\n  store     %" PRIu64
		     " bytes\n  data      %" PRIu64 " bytes\n",
		image->index_size, contents->images[i].chunks, contents->images[i].store_size,
		stats->stored);
	for (size_t e = 0; e < ARRAY_LEN(NAMES); e++)
		if (e < STORE_BASE || contents->delta)
			(void)printf("  %-9s %" PRIu32 " chunks, %" PRIu64 " bytes in %" PRIu64
				     "\n",
				NAMES[e], stats->chunks[e], stats->plain[e], stats->kept[e]);
}

static int show_json(char **argv, const struct contents *contents)
{
	CLEANUP(cleanup_free) char *text = NULL;
	struct err err = {0};

	if (contents_json(contents, &text, &err) < 0)
		return command_fail(argv, &err);
	(void)puts(text);
	return command_done(argv);
}

static int inspect(char **argv, const char *path, bool json)
{
	CLEANUP(contents_free) struct contents *contents = NULL;
	struct err err = {0};

	if (contents_read(path, &contents, &err) < 0)
		return command_fail(argv, &err);
	if (json)
		return show_json(argv, contents);
	(void)printf("NOT VERIFIED: this is what the bundle says, whoever wrote it.\n\n");
	show_manifest(contents);
	for (size_t i = 0; i < contents->manifest->image_count; i++)
		show_image(contents, i);
	return command_done(argv);
}

int cmd_inspect(int argc, char **argv)
{
	bool json = false;
	const struct command_option table[] = {
		{"json", .flag = &json},
	};
	int code = command_parse(argc, argv, HELP, table, ARRAY_LEN(table));

	if (code >= 0)
		return code;
	if (optind != argc - 1)
		return command_usage(argv, "one bundle is expected, %d given", argc - optind);
	return inspect(argv, argv[optind], json);
}
