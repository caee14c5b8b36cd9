/* SPDX-License-Identifier: Apache-2.0 */
/* The audit's head, told to a second place: somebody who cuts or rewrites the end of the file would have to
 * change that too. One message at most a second, and one at the end. A sink that does not take it holds
 * nobody up. The loop's thread. */
#pragma once

#include <stdbool.h>

#include "bastion/limits.h"
#include "bastion/audit/audit.h"
#include "common/conf/conf.h"

typedef enum headsink_kind { HEADSINK_NONE, HEADSINK_SYSLOG, HEADSINK_JOURNALD } headsink_kind_t;

typedef struct headsink_conf {
  headsink_kind_t kind;
  char path[HEADSINK_PATH_MAX]; /* the sink's datagram socket */
} headsink_conf_t;

/* "syslog" (/dev/log) or "journald" (/run/systemd/journal/socket), with ":PATH" for another socket.
 * SMPL_EINVAL. */
int headsink_parse(const char *text, size_t len, headsink_conf_t *out);

typedef struct headsink headsink_t;

/* NULL for HEADSINK_NONE, or when out of memory. */
headsink_t *headsink_new(const headsink_conf_t *conf, const char *audit_path);
void headsink_free(headsink_t *sink);
/* Tells the head if it has changed since it was told, at most every HEADSINK_MS unless last. NULL allowed. */
void headsink_tell(headsink_t *sink, audit_t *audit, bool last);
/* Whether the last message was taken. */
bool headsink_works(const headsink_t *sink);
