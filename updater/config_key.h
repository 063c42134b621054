/*
 * config_key - the keys of the configuration: what each is called, what may be in it, and where in
 * struct config it goes. A key more is a row more in config_key.c.
 *
 * For config.c, which knows lines and sections, and what the whole has to have.
 */
#ifndef ABIDE_UPDATER_CONFIG_KEY_H
#define ABIDE_UPDATER_CONFIG_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "updater/err.h"

#define CONFIG_KEYS_MAX 32u

struct config_key {
	const char *section, *name;
	/* FAIL_USAGE: what is wrong with the value. */
	int (*set)(const struct config_key *key, const char *value, void *ret, struct err *err);
	size_t offset; /* of the member in struct config */
	unsigned int min, max; /* of a number */
};

/* The only key of a [slot CLASS.GROUP]; into a char *. */
extern const struct config_key CONFIG_SLOT_DEVICE;

/* NULL: there is none. *ret_number is below CONFIG_KEYS_MAX. */
const struct config_key *config_key_find(
	const char *section, const char *name, unsigned int *ret_number);
/* Whether a section has keys. */
bool config_key_section(const char *section);
/* All of a section's, for a person. */
void config_key_names(const char *section, char *ret, size_t cap);

#endif
