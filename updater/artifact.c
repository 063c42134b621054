#include "updater/artifact.h"

#include "updater/header.h"

int artifact_open(const char *source, const struct carrier_options *options,
	const struct trust *trust, struct artifact *ret, struct err *err)
{
	CLEANUP(artifact_close) struct artifact artifact = {0};
	CLEANUP(bytes_finish) struct bytes manifest = {0};

	if (carrier_open(source, options, &artifact.carrier, err) < 0 ||
		carrier_manifest(artifact.carrier, &manifest, &artifact.signature, err) < 0 ||
		signature_verify(trust, &manifest, &artifact.signature, &artifact.trusted, err) <
			0 ||
		manifest_parse(artifact.trusted, &artifact.manifest, err) < 0)
		return -1;
	*ret = artifact;
	artifact = (struct artifact){0};
	return 0;
}

static int read_index(struct artifact *artifact, const struct manifest_image *image,
	struct index **ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes bytes = {0};
	struct digest digest;

	if (carrier_index(artifact->carrier, image->class, image->index_size, &bytes, err) < 0 ||
		digest_once(bytes.data, bytes.len, &digest, err) < 0)
		return -1;
	if (!digest_equal(&digest, &image->index_sha256))
		return err_set(err, FAIL_UNTRUSTED,
			"'%s.index' is not the one the manifest signs for (sha256 differs)",
			image->class);
	return index_parse(&bytes, image->size, ret, err);
}

int artifact_read_indexes(struct artifact *artifact, struct err *err)
{
	const struct manifest *manifest = artifact->manifest;

	for (size_t i = 0; i < manifest->image_count; i++)
		if (read_index(artifact, &manifest->images[i], &artifact->indexes[i], err) < 0)
			return -1;
	return carrier_stores(artifact->carrier, &artifact->delta, &artifact->base, err);
}

int artifact_header(const struct artifact *artifact, struct bytes *ret, struct err *err)
{
	const struct bytes *indexes[MANIFEST_IMAGES_MAX];

	for (size_t i = 0; i < artifact->manifest->image_count; i++)
		indexes[i] = index_bytes(artifact->indexes[i]);
	return header_encode(trusted_manifest(artifact->trusted), &artifact->signature, indexes,
		artifact->manifest->image_count, ret, err);
}

uint64_t artifact_header_len(const struct artifact *artifact)
{
	const struct manifest *manifest = artifact->manifest;
	uint64_t lengths[MANIFEST_IMAGES_MAX];

	for (size_t i = 0; i < manifest->image_count; i++)
		lengths[i] = manifest->images[i].index_size;
	return header_size(trusted_manifest(artifact->trusted)->len, artifact->signature.len,
		lengths, manifest->image_count);
}

void artifact_close(struct artifact *artifact)
{
	for (size_t i = 0; i < MANIFEST_IMAGES_MAX; i++)
		index_free(&artifact->indexes[i]);
	manifest_free(&artifact->manifest);
	bytes_finish(&artifact->signature);
	trusted_free(&artifact->trusted);
	carrier_close(&artifact->carrier);
}
