#include "updater/config.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bootloader-hooks/bootloader.h"
#include "updater/fs.h"

#define FILE_MAX       (64u << 10)
#define HOOK_NAMES_MAX 128u
#define USER_MAX       32u
#define THRESHOLD_MAX  16u /* more signers than a signature may have */
#define SLOT_PREFIX    "slot "

static const char *const PLACES[] = {
	"/etc/abide/system.conf",
	"/run/abide/system.conf",
	"/usr/lib/abide/system.conf",
};

/* Where a key's value goes, and what may be in it. */
struct key {
	const char *section, *name;
	int (*set)(const struct key *key, const char *value, void *ret, struct err *err);
	size_t offset; /* of the member in struct config */
	unsigned int min, max; /* of a number */
};

struct parser {
	const char *path;
	const char *at, *end; /* the text not yet read */
	unsigned int line; /* the one just given to inih */
	struct config *config;
	struct config_slot *slot; /* while in a [slot] section */
	uint32_t seen; /* bit i: KEYS[i] */
	struct err *err;
	unsigned int failed_line; /* 0: nothing failed yet */
};

static int set_name(const struct key *key, const char *value, void *ret, struct err *err)
{
	(void)key;
	if (!manifest_name_valid(value))
		return err_set(err, FAIL_USAGE, "'%s' is not 1..%u characters of printable ASCII",
			value, MANIFEST_NAME_MAX);
	memcpy(ret, value, strlen(value) + 1);
	return 0;
}

static int set_path(const struct key *key, const char *value, void *ret, struct err *err)
{
	(void)key;
	if (value[0] != '/')
		return err_set(err, FAIL_USAGE, "'%s' is not an absolute path", value);
	return mem_strdup(value, ret, err);
}

static int set_device(const struct key *key, const char *value, void *ret, struct err *err)
{
	static const char *const TAGS[] = {"LABEL=", "PARTLABEL=", "UUID=", "PARTUUID="};

	(void)key;
	for (size_t i = 0; i < ARRAY_LEN(TAGS); i++)
		if (strncmp(value, TAGS[i], strlen(TAGS[i])) == 0 && value[strlen(TAGS[i])])
			return mem_strdup(value, ret, err);
	if (value[0] != '/')
		return err_set(err, FAIL_USAGE,
			"'%s' is neither an absolute path nor LABEL=, PARTLABEL=, UUID= or"
			" PARTUUID= with a value",
			value);
	return mem_strdup(value, ret, err);
}

static int set_user(const struct key *key, const char *value, void *ret, struct err *err)
{
	size_t len = strlen(value);

	(void)key;
	if (len > USER_MAX || value[0] == '-' ||
		strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_-") != len)
		return err_set(err, FAIL_USAGE, "'%s' is not a user's name", value);
	return mem_strdup(value, ret, err);
}

static int set_number(const struct key *key, const char *value, void *ret, struct err *err)
{
	uint64_t v = 0;
	const char *p = value;

	for (; *p >= '0' && *p <= '9' && v <= key->max; p++)
		v = 10 * v + (uint64_t)(*p - '0');
	if (*p || v < key->min || v > key->max)
		return err_set(err, FAIL_USAGE, "'%s' is not a number from %u to %u", value,
			key->min, key->max);
	*(unsigned int *)ret = (unsigned int)v;
	return 0;
}

static int set_bootloader(const struct key *key, const char *value, void *ret, struct err *err)
{
	const struct hook *hook = hook_find(value);
	char known[HOOK_NAMES_MAX];

	(void)key;
	if (strcmp(value, "auto") == 0)
		return 0; /* NULL */
	if (!hook) {
		hook_names(known, sizeof(known));
		return err_set(err, FAIL_USAGE,
			"'%s' is not a bootloader this abide knows; known: auto, %s", value, known);
	}
	*(const struct hook **)ret = hook;
	return 0;
}

static int set_booted(const struct key *key, const char *value, void *ret, struct err *err)
{
	struct config *config = ret;

	(void)key;
	if (!group_parse(value, &config->booted))
		return err_set(err, FAIL_USAGE, "'%s' is not a group; allowed: a, b", value);
	config->booted_set = true;
	return 0;
}

#define AT(member) offsetof(struct config, member)

static const struct key KEYS[] = {
	{"system", "compatible", set_name, AT(compatible), 0, 0},
	{"system", "hardware", set_name, AT(hardware), 0, 0},
	{"system", "bootloader", set_bootloader, AT(hook), 0, 0},
	{"system", "state-dir", set_path, AT(state_dir), 0, 0},
	{"system", "run-dir", set_path, AT(run_dir), 0, 0},
	{"system", "carrier-user", set_user, AT(carrier_user), 0, 0},
	{"trust", "roots", set_path, AT(roots), 0, 0},
	{"trust", "crl", set_path, AT(crl), 0, 0},
	{"trust", "threshold", set_number, AT(threshold), 1, THRESHOLD_MAX},
	{"source", "ca-file", set_path, AT(ca_file), 0, 0},
	{"source", "stall-timeout", set_number, AT(stall_timeout), 1, 3600},
	{"source", "min-rate", set_number, AT(min_rate), 1, 1000000000},
	{"source", "retries", set_number, AT(retries), 0, 1000},
	{"boot", "trial-attempts", set_number, AT(trial_attempts), 1, BOOT_TRIES_MAX},
	{"boot", "grubenv", set_path, AT(boot.grubenv), 0, 0},
	{"boot", "esp", set_path, AT(boot.esp), 0, 0},
	{"boot", "efivars", set_path, AT(boot.efivars), 0, 0},
	{"boot", "fw-env-config", set_path, AT(boot.fw_env_config), 0, 0},
	{"boot", "program", set_path, AT(boot.program), 0, 0},
	{"boot", "booted", set_booted, 0, 0, 0},
	{"health", "directory", set_path, AT(health_dir), 0, 0},
	{"health", "timeout", set_number, AT(health_timeout), 1, 86400},
};

static const struct key DEVICE_KEY = {"slot", "device", set_device, 0, 0, 0};

_Static_assert(ARRAY_LEN(KEYS) <= 32, "parser.seen has a bit for each");

static const char *const SECTIONS = "[system], [trust], [source], [slot CLASS.GROUP], [boot],"
				    " [health]";

/* Puts file and line in front. The first failure is the one to tell. */
static void fail(struct parser *p, const char *section, const char *name)
{
	p->failed_line = p->line;
	if (name)
		(void)err_wrap(p->err, "'%s:%u': [%s] %s", p->path, p->line, section, name);
	else
		(void)err_wrap(p->err, "'%s:%u'", p->path, p->line);
}

static struct config_slot *find_slot(struct config *config, const char *class, enum group group)
{
	for (size_t i = 0; i < config->slot_count; i++)
		if (config->slots[i].group == group && strcmp(config->slots[i].class, class) == 0)
			return &config->slots[i];
	return NULL;
}

/* "rootfs.a", from within [slot rootfs.a]. */
static int open_slot(struct parser *p, const char *name)
{
	struct config *config = p->config;
	char class[MANIFEST_CLASS_MAX + 1];
	const char *dot = strrchr(name, '.');
	enum group group;

	if (!dot || (size_t)(dot - name) > MANIFEST_CLASS_MAX || !group_parse(dot + 1, &group))
		return err_set(p->err, FAIL_USAGE,
			"[slot %s]: expected [slot CLASS.GROUP], the group a or b", name);
	memcpy(class, name, (size_t)(dot - name));
	class[dot - name] = '\0';
	if (!manifest_class_valid(class))
		return err_set(p->err, FAIL_USAGE,
			"[slot %s]: a class is made of a-z, 0-9 and '-', and begins with a letter",
			name);
	if (find_slot(config, class, group))
		return err_set(p->err, FAIL_USAGE, "[slot %s] is there twice", name);
	if (config->slot_count == CONFIG_SLOTS_MAX)
		return err_set(p->err, FAIL_USAGE, "[slot %s]: at most %u slots are allowed", name,
			CONFIG_SLOTS_MAX);
	p->slot = &config->slots[config->slot_count++];
	memcpy(p->slot->class, class, sizeof(class));
	p->slot->group = group;
	return 0;
}

/* A section is judged where it begins: inih tells only of sections that have keys. */
static int open_section(struct parser *p, const char *line)
{
	char section[64];
	const char *end = strchr(line, ']');

	p->slot = NULL;
	if (!end)
		return 0; /* inih says so */
	if (snprintf(section, sizeof(section), "%.*s", (int)(end - line - 1), line + 1) >=
		(int)sizeof(section))
		return err_set(p->err, FAIL_USAGE, "[%s...]: unknown section; known: %s", section,
			SECTIONS);
	if (strncmp(section, SLOT_PREFIX, strlen(SLOT_PREFIX)) == 0)
		return open_slot(p, section + strlen(SLOT_PREFIX));
	for (size_t i = 0; i < ARRAY_LEN(KEYS); i++)
		if (strcmp(KEYS[i].section, section) == 0)
			return 0;
	return err_set(p->err, FAIL_USAGE, "[%s]: unknown section; known: %s", section, SECTIONS);
}

static int check_line(struct parser *p, const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			return err_set(p->err, FAIL_USAGE, "has a control character");
	}
	return line[0] == '[' ? open_section(p, line) : 0;
}

/* For inih: one line at a time, as fgets() would. Indentation is taken off, because inih would
 * take an indented line for the rest of the value before it; a line too long for inih's buffer is
 * refused, because it would be read as two. */
static char *next_line(char *buf, int cap, void *stream)
{
	struct parser *p = stream;
	const char *end;
	size_t len;

	if (p->at == p->end || p->failed_line)
		return NULL;
	p->line++;
	end = memchr(p->at, '\n', (size_t)(p->end - p->at));
	if (!end)
		end = p->end;
	while (p->at < end && (*p->at == ' ' || *p->at == '\t'))
		p->at++;
	len = (size_t)(end - p->at);
	if (len >= (size_t)cap) {
		(void)err_set(p->err, FAIL_USAGE, "the line is longer than %d bytes", cap - 1);
		fail(p, NULL, NULL);
		return NULL;
	}
	for (size_t i = 0; i < len; i++)
		buf[i] = p->at[i] == '\t' ? ' ' : p->at[i];
	while (len && (buf[len - 1] == ' ' || buf[len - 1] == '\r'))
		len--;
	buf[len] = '\0';
	p->at = end == p->end ? end : end + 1;
	if (check_line(p, buf, len) < 0) {
		fail(p, NULL, NULL);
		return NULL;
	}
	return buf;
}

static int set_value(struct parser *p, const struct key *key, const char *value, void *ret)
{
	if (!*value)
		return err_set(p->err, FAIL_USAGE, "is empty");
	return key->set(key, value, ret, p->err);
}

static int set_slot_key(struct parser *p, const char *name, const char *value)
{
	if (strcmp(name, DEVICE_KEY.name) != 0)
		return err_set(p->err, FAIL_USAGE, "unknown key; known: device");
	if (p->slot->device)
		return err_set(p->err, FAIL_USAGE, "is there twice");
	return set_value(p, &DEVICE_KEY, value, &p->slot->device);
}

static int unknown_key(struct parser *p, const char *section)
{
	char known[160] = "";

	for (size_t i = 0; i < ARRAY_LEN(KEYS); i++) {
		size_t used = strlen(known);

		if (strcmp(KEYS[i].section, section) == 0)
			(void)snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
				KEYS[i].name); /* fits, see KEYS */
	}
	return err_set(p->err, FAIL_USAGE, "unknown key; known: %s", known);
}

static int set_key(struct parser *p, const char *section, const char *name, const char *value)
{
	if (!*section)
		return err_set(p->err, FAIL_USAGE, "stands before the first section");
	if (p->slot)
		return set_slot_key(p, name, value);
	for (size_t i = 0; i < ARRAY_LEN(KEYS); i++) {
		const struct key *key = &KEYS[i];

		if (strcmp(key->section, section) != 0 || strcmp(key->name, name) != 0)
			continue;
		if (p->seen & UINT32_C(1) << i)
			return err_set(p->err, FAIL_USAGE, "is there twice");
		p->seen |= UINT32_C(1) << i;
		return set_value(p, key, value, (char *)p->config + key->offset);
	}
	return unknown_key(p, section);
}

/* For inih: 1 is success. */
static int handle(void *arg, const char *section, const char *name, const char *value)
{
	struct parser *p = arg;

	if (p->failed_line)
		return 0;
	if (set_key(p, section, name, value) == 0)
		return 1;
	fail(p, section, name);
	return 0;
}

static int set_default(char **member, const char *value, struct err *err)
{
	return *member ? 0 : mem_strdup(value, member, err);
}

static int set_defaults(struct config *config, struct err *err)
{
	if (set_default(&config->state_dir, "/var/lib/abide", err) < 0 ||
		set_default(&config->run_dir, "/run/abide", err) < 0)
		return -1;
	return set_default(&config->health_dir, "/usr/lib/abide/health.d", err);
}

static int missing(const struct config *config, const char *what, struct err *err)
{
	return err_set(err, FAIL_USAGE, "'%s': %s is missing, see abide-system.conf(5)",
		config->path, what);
}

static bool seen(const struct parser *p, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(KEYS); i++)
		if (strcmp(KEYS[i].name, name) == 0)
			return (p->seen & UINT32_C(1) << i) != 0;
	return false;
}

static int check_boot(const struct config *config, struct err *err)
{
	const char *key = config->hook ? config->hook->missing(&config->boot) : NULL;
	char what[128];

	if (!key)
		return 0;
	(void)snprintf(what, sizeof(what), "[boot] %s (for bootloader = %s)", key,
		config->hook->name); /* fits */
	return missing(config, what, err);
}

static int check_required(const struct parser *p, struct err *err)
{
	const struct config *config = p->config;

	if (!seen(p, "compatible"))
		return missing(config, "[system] compatible", err);
	if (!seen(p, "bootloader"))
		return missing(config, "[system] bootloader", err);
	if (!config->roots)
		return missing(config, "[trust] roots", err);
	if (config->slot_count == 0)
		return missing(config, "[slot CLASS.GROUP]", err);
	return check_boot(config, err);
}

static int check_slots(struct config *config, struct err *err)
{
	for (size_t i = 0; i < config->slot_count; i++) {
		const struct config_slot *slot = &config->slots[i];
		const char *group = group_name(slot->group);
		const char *other = group_name(group_other(slot->group));

		if (!slot->device)
			return err_set(err, FAIL_USAGE, "'%s': [slot %s.%s] has no device",
				config->path, slot->class, group);
		if (!find_slot(config, slot->class, group_other(slot->group)))
			return err_set(err, FAIL_USAGE,
				"'%s': there is a [slot %s.%s] but no [slot %s.%s]", config->path,
				slot->class, group, slot->class, other);
		for (size_t j = 0; j < i; j++)
			if (strcmp(config->slots[j].device, slot->device) == 0)
				return err_set(err, FAIL_USAGE,
					"'%s': [slot %s.%s] and [slot %s.%s] have the same device"
					" '%s'",
					config->path, config->slots[j].class,
					group_name(config->slots[j].group), slot->class, group,
					slot->device);
	}
	return 0;
}

static int parse_lines(struct parser *p, struct err *err)
{
	int line = ini_parse_stream(next_line, p, handle, p);

	/* inih goes on after a line it does not understand: what it met first counts. */
	if (p->failed_line && (line <= 0 || (unsigned int)line >= p->failed_line))
		return -1;
	if (line > 0)
		return err_set(err, FAIL_USAGE, "'%s:%d': expected [section] or key = value",
			p->path, line);
	return line == 0 ? 0 : err_memory(err);
}

int config_parse(const char *path, const struct bytes *text, struct config **ret, struct err *err)
{
	CLEANUP(config_free) struct config *config = NULL;
	struct parser parser = {.path = path, .err = err};
	void *p = NULL;

	if (mem_alloc(sizeof(*config), &p, err) < 0)
		return -1;
	config = p;
	config->threshold = 1;
	config->stall_timeout = 60;
	config->min_rate = 1024;
	config->retries = 5;
	config->trial_attempts = 3;
	config->health_timeout = 120;
	parser.config = config;
	parser.at = text->len ? (const char *)text->data : "";
	parser.end = parser.at + text->len;
	if (text->len >= 3 && memcmp(parser.at, "\xef\xbb\xbf", 3) == 0)
		parser.at += 3; /* the byte order mark of some editors */
	if (mem_strdup(path, &config->path, err) < 0 || parse_lines(&parser, err) < 0)
		return -1;
	if (set_defaults(config, err) < 0 || check_required(&parser, err) < 0 ||
		check_slots(config, err) < 0)
		return -1;
	*ret = steal_ptr(&config);
	return 0;
}

static const char *find_file(void)
{
	for (size_t i = 0; i < ARRAY_LEN(PLACES); i++)
		if (access(PLACES[i], F_OK) == 0)
			return PLACES[i];
	return NULL;
}

int config_read(const char *path, struct config **ret, struct err *err)
{
	CLEANUP(bytes_finish) struct bytes text = {0};

	if (!path)
		path = find_file();
	if (!path)
		return err_set(err, FAIL_USAGE,
			"no configuration: looked for '%s', '%s' and '%s'; write one (see"
			" abide-system.conf(5)) or name it with -c FILE",
			PLACES[0], PLACES[1], PLACES[2]);
	if (fs_read_file(path, FILE_MAX, &text, err) < 0)
		return err_wrap_as(err, FAIL_USAGE, "configuration");
	return config_parse(path, &text, ret, err);
}

void config_free(struct config **config)
{
	struct config *c = config ? *config : NULL;

	if (!c)
		return;
	for (size_t i = 0; i < c->slot_count; i++)
		free(c->slots[i].device);
	free(c->path);
	free(c->state_dir);
	free(c->run_dir);
	free(c->carrier_user);
	free(c->roots);
	free(c->crl);
	free(c->ca_file);
	hook_settings_finish(&c->boot);
	free(c->health_dir);
	free(c);
	*config = NULL;
}
