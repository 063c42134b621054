#include "updater/config.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "updater/config_key.h"
#include "updater/fs.h"

#define FILE_MAX    (64u << 10)
#define SLOT_PREFIX "slot "

static const char *const PLACES[] = {
	"/etc/abide/system.conf",
	"/run/abide/system.conf",
	"/usr/lib/abide/system.conf",
};

struct parser {
	const char *path;
	const char *at, *end; /* the text not yet read */
	unsigned int line; /* the one just given to inih */
	struct config *config;
	struct config_slot *slot; /* while in a [slot] section */
	uint32_t seen; /* bit i: config_key number i */
	struct err *err;
	unsigned int failed_line; /* 0: nothing failed yet */
};

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
	if (config_key_section(section))
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

static int set_value(struct parser *p, const struct config_key *key, const char *value, void *ret)
{
	if (!*value)
		return err_set(p->err, FAIL_USAGE, "is empty");
	return key->set(key, value, ret, p->err);
}

static int set_slot_key(struct parser *p, const char *name, const char *value)
{
	if (strcmp(name, CONFIG_SLOT_DEVICE.name) != 0)
		return err_set(p->err, FAIL_USAGE, "unknown key; known: device");
	if (p->slot->device)
		return err_set(p->err, FAIL_USAGE, "is there twice");
	return set_value(p, &CONFIG_SLOT_DEVICE, value, &p->slot->device);
}

static int set_key(struct parser *p, const char *section, const char *name, const char *value)
{
	const struct config_key *key;
	unsigned int number = 0;
	char known[160];

	if (!*section)
		return err_set(p->err, FAIL_USAGE, "stands before the first section");
	if (p->slot)
		return set_slot_key(p, name, value);
	key = config_key_find(section, name, &number);
	if (!key) {
		config_key_names(section, known, sizeof(known));
		return err_set(p->err, FAIL_USAGE, "unknown key; known: %s", known);
	}
	if (p->seen & UINT32_C(1) << number)
		return err_set(p->err, FAIL_USAGE, "is there twice");
	p->seen |= UINT32_C(1) << number;
	return set_value(p, key, value, (char *)p->config + key->offset);
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

/* Of [system]. */
static bool seen(const struct parser *p, const char *name)
{
	unsigned int number = 0;

	return config_key_find("system", name, &number) && p->seen & UINT32_C(1) << number;
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
