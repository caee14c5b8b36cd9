/* SPDX-License-Identifier: Apache-2.0 */
/* Which bastion, as whom, and with which keys: what the user has said of it. ssh_config has its say later. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/diag.h"
#include "tunnel/limits.h"

/* The strings are borrowed. */
typedef struct destination {
  char host[HOST_MAX]; /* as it was written: ssh_config's Host is told capitals apart */
  uint16_t port;
  char user[USER_MAX];
  const char *identities[IDENTITIES_MAX];
  size_t identity_count;
  const char *known_hosts[KNOWN_HOSTS_MAX]; /* the first is the one that is written to */
  size_t known_hosts_count;
  /* The user's own words stand above ssh_config. */
  bool port_given;
  bool user_given;
  bool identities_given; /* else the usual ones under ~/.ssh */
  bool known_hosts_given;
  const char *ssh_config; /* NULL: the usual ones, "none": none */
} destination_t;

/* Splits [ssh://][USER@]HOST[:PORT] (an IPv6 address in brackets) into user of USER_MAX and host of HOST_MAX
 * bytes. user "" and port 0 when absent. SMPL_EINVAL. Pure. */
int destination_parse(const char *text, char *user, char *host, uint16_t *port, diag_t *diag);
