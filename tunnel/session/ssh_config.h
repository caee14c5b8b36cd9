/* SPDX-License-Identifier: Apache-2.0 */
/* What one connection to the bastion is made with: the options, and what ssh_config says where they say
 * nothing (as `ssh -G` reports it). Read anew for each connection, so that a changed file counts at the next
 * one. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"
#include "tunnel/base/token.h"
#include "tunnel/session/dial.h"
#include "tunnel/session/destination.h"

enum {                         /* what ssh_config_file_matters tells */
       SSH_CONFIG_MATTERS = 1, /* ssh -G knows something that concerns us */
       SSH_CONFIG_DIFFERS = 2, /* something whose default has to be known too */
};

/* Values that count only where ssh_config says something else than ssh's default: our own defaults are
 * others. */
typedef enum ssh_config_compared {
  SSH_CONFIG_KEX,
  SSH_CONFIG_HOST_KEYS,
  SSH_CONFIG_CIPHERS,
  SSH_CONFIG_MACS,
  SSH_CONFIG_RSA_SIZE,
  SSH_CONFIG_OBEYED, /* those before it are obeyed, the others named as not heeded */
  SSH_CONFIG_SIGNATURES = SSH_CONFIG_OBEYED,
  SSH_CONFIG_CA_SIGNATURES,
  SSH_CONFIG_HOST_KEY_DNS,
  SSH_CONFIG_REKEY,
  SSH_CONFIG_COMPRESSION,
  SSH_CONFIG_COMPARED
} ssh_config_compared_t;

/* StrictHostKeyChecking: what becomes of a host key that is not on file. A changed one is always refused. */
typedef enum ssh_config_strict {
  SSH_CONFIG_ASK,
  SSH_CONFIG_STRICT,
  SSH_CONFIG_ACCEPT_NEW
} ssh_config_strict_t;

typedef struct ssh_config {
  char host[HOST_MAX];     /* to connect to */
  char key_name[HOST_MAX]; /* under which its keys are on file: HostKeyAlias, or host */
  bool key_alias;          /* the former: the port does not count */
  ssh_config_strict_t strict;
  uint16_t port;
  char user[USER_MAX];
  const char *identities[IDENTITIES_MAX];
  size_t identity_count;
  bool identities_given; /* by the user, in whatever way: a missing one is told */
  bool identities_only;  /* of the agent's keys, only those of the files */
  const char *certificates[IDENTITIES_MAX];
  size_t certificate_count;
  const char *known_hosts[KNOWN_HOSTS_MAX];
  size_t known_hosts_count;
  bool user_known_hosts;     /* UserKnownHostsFile has been read: it comes first */
  const char *agent;         /* its socket; NULL: $SSH_AUTH_SOCK; "none": none */
  const char *proxy_jump;    /* as ssh_config has it */
  const char *proxy_command; /* percent signs expanded; NULL: none */
  dial_from_t dial;
  const char *known_hosts_command;           /* as ssh_config has it; NULL: none */
  const char *revoked_host_keys;             /* a file; NULL: none */
  const char *compared[SSH_CONFIG_COMPARED]; /* NULL: ssh_config says nothing */
  char ignored[256];                         /* what ssh_config says and is not heeded, joined by ", " */
  unsigned alive_interval_s;                 /* 0: ours */
  unsigned alive_count;
  atomic_int *group;                     /* of the programs that it has us run; NULL: they stay in ours */
  char *strings[SSH_CONFIG_STRINGS_MAX]; /* owned */
  size_t string_count;
} ssh_config_t;

/* group: as in capture.h. ssh_config_free afterwards in any case. SMPL_EINVAL, SMPL_ESYS, SMPL_ETIMEOUT with
 * a message. options must live as long. Any thread. */
int ssh_config_load(const destination_t *to, atomic_int *group, ssh_config_t *out, diag_t *diag);
void ssh_config_free(ssh_config_t *config);

/* One line of ssh -G's report ("key value"), without its newline. For tests and the fuzzer; pure. */
void ssh_config_take_line(const destination_t *to, ssh_config_t *out, const char *line);

/* One line of the report that has ssh's defaults: the same line in config counts as not said. Then the rest
 * of what is not heeded is named in config->ignored. Pure. */
void ssh_config_compare_line(ssh_config_t *config, const char *line);
void ssh_config_name_ignored(ssh_config_t *config);

/* A word of ssh_config with its tokens (%h and so on; extra may be NULL) and ${VARIABLES} replaced, owned by
 * config. NULL and a message that names `what`: one is not known, or not set. */
const char *ssh_config_expand(ssh_config_t *config, const destination_t *to, const char *what,
                              const char *text, const token_t *extra, diag_t *diag);

/* Whether an ssh_config says anything that concerns us (SSH_CONFIG_MATTERS and SSH_CONFIG_DIFFERS), so that
 * `ssh -G` need not be run in vain. path may be missing. */
unsigned ssh_config_file_matters(const char *path);
