/*
 * policy - whether an artifact may be installed on this device, and why. Pure: values in, a list
 * of checks out, all of them, so that `abide plan` can show each.
 */
#ifndef ABIDE_UPDATER_POLICY_H
#define ABIDE_UPDATER_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "updater/digest.h"
#include "updater/err.h"
#include "updater/manifest.h"
#include "updater/state.h"

#define POLICY_CHECKS_MAX (8u + 3u * MANIFEST_IMAGES_MAX)

struct policy_check {
	const char *name; /* "compatible", "hardware", "security-version", ... */
	bool ok;
	enum err_code code; /* if not ok */
	char detail[256]; /* what was expected and found, also when ok */
};

struct policy_verdict {
	size_t count;
	struct policy_check checks[POLICY_CHECKS_MAX];
};

/* One slot of the target group. */
struct policy_slot {
	const char *class;
	char name[MANIFEST_CLASS_MAX + 3]; /* "rootfs.b" */
	uint64_t size; /* bytes; 0 if it could not be opened: */
	const char *problem; /* why, or NULL */
	enum err_code problem_code;
};

struct policy_input {
	const char *compatible;
	const char *hardware;
	const struct state *state;
	const struct group_facts *target; /* of the target group */
	const struct group_facts *running; /* its seals remember what failed in its slots before */
	const struct policy_slot *slots;
	size_t slot_count;
	uint64_t header_len; /* bytes of the header copy */
	/* Installs a rejected build again; also from a reverted group that came back because the
	 * other does not boot. Overrides nothing else. */
	bool force;
};

void policy_judge(const struct manifest *manifest, const struct digest *artifact,
	const struct policy_input *input, struct policy_verdict *ret);
/* Adds whether a delta's base is what runs: the one place where it cannot change under the install. */
void policy_judge_base(const struct digest *base, const struct state *state,
	const struct group_facts *running, struct policy_verdict *verdict);
/* The first check that is not ok as an error; 0 if all are. */
int policy_enforce(const struct policy_verdict *verdict, struct err *err);

#endif
