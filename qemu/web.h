/*
 * web - a real web server (nginx) on the host's loopback, for the virtual devices to fetch from.
 *
 * They reach it at http://10.0.2.2:PORT/. Below /slow/ it serves the same files at 3 MiB/s, so that
 * there is time to cut an install off. The server dies with this process, however it ends.
 */
#ifndef ABIDE_QEMU_WEB_H
#define ABIDE_QEMU_WEB_H

#include <stdint.h>

#include "updater/err.h"

struct web;

/* root: absolute path of the folder to serve. work: a folder for configuration and logs. */
int web_start(const char *root, const char *work, struct web **ret, struct err *err);
uint16_t web_port(const struct web *web);
void web_stop(struct web **web);

#endif
