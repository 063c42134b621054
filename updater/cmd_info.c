#include "updater/cmd.h"

#include <inttypes.h>

#include "updater/artifact.h"
#include "updater/ui_json.h"

static void print_info(const struct artifact *artifact)
{
	const struct trusted *trusted = artifact->trusted;
	const struct manifest *manifest = artifact->manifest;
	char id[DIGEST_HEX_LEN + 1], size[UI_SIZE_MAX];

	digest_to_hex(trusted_id(trusted), id);
	ui_say("artifact    %s\n", id);
	if (artifact->delta) {
		digest_to_hex(&artifact->base, id);
		ui_say("delta for   %s\n", id);
	}
	ui_say("version     %s\n", manifest->version);
	ui_say("compatible  %s\n", manifest->compatible);
	for (size_t i = 0; i < manifest->hardware_count; i++)
		ui_say("hardware    %s\n", manifest->hardware[i]);
	ui_say("security    version %" PRIu64 "\n", manifest->security_version);
	ui_say("created     %s\n", manifest->created);
	for (size_t i = 0; i < manifest->image_count; i++) {
		const struct manifest_image *image = &manifest->images[i];

		digest_to_hex(&image->sha256, id);
		ui_say("image       %s, %s, sha256 %s%s\n", image->class,
			ui_size(image->size, size), id, image->has_verity ? ", dm-verity" : "");
	}
	for (size_t i = 0; i < trusted_signer_count(trusted); i++)
		ui_say("signed by   %s\n", trusted_signer(trusted, i));
	if (manifest->source[0])
		ui_block("source      ", manifest->source, false);
	if (manifest->builder[0])
		ui_block("builder     ", manifest->builder, false);
	if (manifest->sbom[0])
		ui_block("sbom        ", manifest->sbom, false);
	if (manifest->description[0])
		ui_block("            ", manifest->description, false);
}

/* Needs a configuration and a bundle, no device: it works on a workstation as well. */
static int run(struct cmd *cmd, struct err *err)
{
	CLEANUP(artifact_close) struct artifact artifact = {0};

	if (cmd_config(cmd, err) < 0)
		return -1;
	const struct trust trust = {.roots = cmd->config->roots,
		.crl = cmd->config->crl,
		.threshold = cmd->config->threshold};
	const struct carrier_options options = {.user = cmd->config->carrier_user,
		.ca_file = cmd->config->ca_file,
		.stall_timeout = cmd->config->stall_timeout,
		.min_rate = cmd->config->min_rate,
		.retries = cmd->config->retries,
		.interrupted = cmd->interrupted};
	if (artifact_open(cmd->operands[0], &options, &trust, &artifact, err) < 0 ||
		artifact_read_indexes(&artifact, err) < 0)
		return -1;
	if (cmd->ui.json)
		return ui_json_info(&artifact, err);
	print_info(&artifact);
	return 0;
}

const struct command CMD_INFO_COMMAND = {
	.name = "info",
	.operands = "SOURCE",
	.summary = "what a bundle is, once its signature is verified",
	.help = "SOURCE: a path, '-' for standard input, http://... or https://... Only what "
		"comes "
		"before\nthe data is fetched. Changes nothing.\n",
	.options = CMD_JSON,
	.operands_min = 1,
	.operands_max = 1,
	.run = run,
};
