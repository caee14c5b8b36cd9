/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel.yaml, the user's own configuration file. */
#pragma once

#include <stdbool.h>

#include "common/base/diag.h"
#include "common/conf/conf.h"
#include "common/ssh/libssh.h"

/* Forwards under one name, for `up`. */
typedef struct config_set {
  const char *name;
  conf_list_t forwards; /* const char * */
  conf_list_t socks;    /* const char * */
} config_set_t;

typedef struct config {
  const char *bastion;
  const char *user;
  conf_list_t identities; /* const char * */
  const char *known_hosts;
  const char *ssh_config;
  bool read_ahead;
  bool core_dumps;
  libssh_conf_t libssh;
  conf_list_t sets; /* config_set_t */
} config_t;

/* What tunnel.yaml may say: a config_t. */
extern const conf_map_t config_map;

/* Where it lies: given (-c; NULL: not given), else $SMPL_TUNNEL_CONFIG, else the usual place. *named tells
 * that the user named it: then it must be there. SMPL_ENOENT: there is no place for it; SMPL_ELIMIT: path is
 * too short. */
int config_path(const char *given, char *path, size_t cap, bool *named);

/* Decodes the file. *conf owns what out points to, and is the caller's to free, also after a failure.
 * SMPL_EINVAL and others, with file, line and column in diag. */
int config_load(const char *path, config_t *out, conf_t **conf, diag_t *diag);

/* The user's home folder; NULL: there is none. Borrowed. */
const char *config_home(void);
