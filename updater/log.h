/*
 * log - notes for a person who debugs; off unless asked for.
 *
 * Only programs set the level (abide -v). Library files log at debug only; what an operator must
 * know is returned: as an err, a value, or a journal line.
 */
#ifndef ABIDE_UPDATER_LOG_H
#define ABIDE_UPDATER_LOG_H

#include <stdbool.h>

void log_set_debug(bool on);
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
