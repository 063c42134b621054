#include <jansson.h>
#include <stdlib.h>

#include "image/contents.h"
#include "updater/mem.h"

static const char *const ENCODINGS[] = {
	[STORE_ZERO] = "zero",
	[STORE_SAME] = "same",
	[STORE_RAW] = "raw",
	[STORE_ZSTD] = "zstd",
	[STORE_BASE] = "base",
	[STORE_PATCH] = "patch",
};

static void json_free(json_t **json)
{
	json_decref(*json);
}

static json_t *hex(const struct digest *digest)
{
	char text[DIGEST_HEX_LEN + 1];

	digest_to_hex(digest, text);
	return json_string(text);
}

/* Sizes here are of members in a file, or bounded by the manifest: below 2^63. */
static json_t *number(uint64_t value)
{
	return json_integer((json_int_t)value);
}

static int put_text(json_t *object, const char *key, const char *text)
{
	return *text ? json_object_set_new(object, key, json_string(text)) : 0;
}

static json_t *hardware_json(const struct manifest *manifest)
{
	json_t *array = json_array();

	for (size_t i = 0; i < manifest->hardware_count; i++)
		if (json_array_append_new(array, json_string(manifest->hardware[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *signers_json(const struct signer_names *signers)
{
	json_t *array = json_array();

	for (size_t i = 0; i < signers->count; i++)
		if (json_array_append_new(array, json_string(signers->name[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *stats_json(const struct pack_stats *stats)
{
	CLEANUP(json_free) json_t *object = json_object();
	json_t *done;

	for (size_t e = 0; e < ARRAY_LEN(ENCODINGS); e++)
		if (json_object_set_new(object, ENCODINGS[e],
			    json_pack("{s:o?, s:o?, s:o?}", "chunks", number(stats->chunks[e]),
				    "bytes", number(stats->plain[e]), "stored",
				    number(stats->kept[e]))) < 0)
			return NULL;
	done = object;
	object = NULL;
	return done;
}

static json_t *image_json(const struct contents *contents, size_t i)
{
	const struct manifest_image *image = &contents->manifest->images[i];

	return json_pack("{s:s, s:o, s:o, s:{s:o, s:o}, s:o, s:o, s:o, s:o}", "class", image->class,
		"size", number(image->size), "sha256", hex(&image->sha256), "index", "size",
		number(image->index_size), "sha256", hex(&image->index_sha256), "chunks",
		number(contents->images[i].chunks), "store_size",
		number(contents->images[i].store_size), "stored",
		number(contents->images[i].stats.stored), "encodings",
		stats_json(&contents->images[i].stats));
}

static json_t *images_json(const struct contents *contents)
{
	json_t *array = json_array();

	for (size_t i = 0; i < contents->manifest->image_count; i++)
		if (json_array_append_new(array, image_json(contents, i)) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *contents_object(const struct contents *contents)
{
	const struct manifest *manifest = contents->manifest;
	CLEANUP(json_free)
	json_t *object = json_pack("{s:b, s:o, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o}",
		"verified", 0, "artifact", hex(&contents->id), "compatible", manifest->compatible,
		"version", manifest->version, "security_version",
		number(manifest->security_version), "created", manifest->created, "hardware",
		hardware_json(manifest), "signers_unverified", signers_json(&contents->signers),
		"manifest_size", number(contents->manifest_size), "signature_size",
		number(contents->signature_size), "images", images_json(contents));
	json_t *done = object;

	if (!object ||
		(contents->delta &&
			json_object_set_new(object, "base", hex(&contents->base)) < 0) ||
		put_text(object, "description", manifest->description) < 0 ||
		put_text(object, "source", manifest->source) < 0 ||
		put_text(object, "builder", manifest->builder) < 0 ||
		put_text(object, "sbom", manifest->sbom) < 0)
		return NULL;
	object = NULL;
	return done;
}

int contents_json(const struct contents *contents, char **ret, struct err *err)
{
	CLEANUP(json_free) json_t *object = contents_object(contents);
	char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;

	if (!text)
		return err_memory(err);
	*ret = text;
	return 0;
}
