/* SPDX-License-Identifier: Apache-2.0 */
/* What one connection to the bastion is made with: the options, and what ssh_config says where they say
 * nothing (as `ssh -G` reports it). Read anew for each connection, so that a changed file counts at the next
 * one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/diag.h"
#include "tunnel/session/dial.h"
#include "tunnel/cli/options.h"

enum {
  SETTINGS_REPORT_MAX = 256 << 10, /* bytes of ssh -G's output */
  SETTINGS_REPORT_MS = 10000,      /* for it: Match exec may run programs */
  SETTINGS_FILES_MAX = 32,         /* ssh_config files looked at for keys that matter, includes counted */
  SETTINGS_STRINGS_MAX = 96,
  SETTINGS_ALIVE_MAX_S = 3600,
  SETTINGS_CONNECT_MAX_S = 600,
};

enum {                       /* what settings_file_matters tells */
       SETTINGS_MATTERS = 1, /* ssh -G knows something that concerns us */
       SETTINGS_DIFFERS = 2, /* something whose default has to be known too */
};

/* Values that count only where ssh_config says something else than ssh's default: our own defaults are
 * others. */
typedef enum settings_compared {
  SETTINGS_KEX,
  SETTINGS_HOST_KEYS,
  SETTINGS_CIPHERS,
  SETTINGS_MACS,
  SETTINGS_RSA_SIZE,
  SETTINGS_OBEYED, /* those before it are obeyed, the others named as not heeded */
  SETTINGS_SIGNATURES = SETTINGS_OBEYED,
  SETTINGS_CA_SIGNATURES,
  SETTINGS_HOST_KEY_DNS,
  SETTINGS_REKEY,
  SETTINGS_COMPRESSION,
  SETTINGS_COMPARED
} settings_compared_t;

/* StrictHostKeyChecking: what becomes of a host key that is not on file. A changed one is always refused. */
typedef enum settings_strict { SETTINGS_ASK, SETTINGS_STRICT, SETTINGS_ACCEPT_NEW } settings_strict_t;

typedef struct settings {
  char host[OPTIONS_HOST_MAX];     /* to connect to */
  char key_name[OPTIONS_HOST_MAX]; /* under which its keys are on file: HostKeyAlias, or host */
  bool key_alias;                  /* the former: the port does not count */
  settings_strict_t strict;
  uint16_t port;
  char user[OPTIONS_USER_MAX];
  const char *identities[OPTIONS_IDENTITIES_MAX];
  size_t identity_count;
  bool identities_given; /* by the user, in whatever way: a missing one is told */
  bool identities_only;  /* of the agent's keys, only those of the files */
  const char *certificates[OPTIONS_IDENTITIES_MAX];
  size_t certificate_count;
  const char *known_hosts[OPTIONS_KNOWN_HOSTS_MAX];
  size_t known_hosts_count;
  bool user_known_hosts;     /* UserKnownHostsFile has been read: it comes first */
  const char *agent;         /* its socket; NULL: $SSH_AUTH_SOCK; "none": none */
  const char *proxy_jump;    /* as ssh_config has it */
  const char *proxy_command; /* percent signs expanded; NULL: none */
  dial_from_t dial;
  const char *known_hosts_command;         /* as ssh_config has it; NULL: none */
  const char *revoked_host_keys;           /* a file; NULL: none */
  const char *compared[SETTINGS_COMPARED]; /* NULL: ssh_config says nothing */
  char ignored[256];                       /* what ssh_config says and is not heeded, joined by ", " */
  unsigned alive_interval_s;               /* 0: ours */
  unsigned alive_count;
  char *strings[SETTINGS_STRINGS_MAX]; /* owned */
  size_t string_count;
} settings_t;

/* settings_free afterwards in any case. SMPL_EINVAL, SMPL_ESYS, SMPL_ETIMEOUT with a message. options must
 * live as long. Any thread. */
int settings_load(const options_t *options, settings_t *out, diag_t *diag);
void settings_free(settings_t *settings);

/* One line of ssh -G's report ("key value"), without its newline. For tests and the fuzzer; pure. */
void settings_take_line(const options_t *options, settings_t *out, const char *line);

/* One line of the report that has ssh's defaults: what is the same in settings counts as not said. Then the
 * rest of what is not heeded is named in settings->ignored. Pure. */
void settings_compare_line(settings_t *settings, const char *line);
void settings_name_ignored(settings_t *settings);

/* One more of what may stand behind a percent sign. */
typedef struct settings_token {
  char letter; /* 0: the end of a list */
  const char *value;
} settings_token_t;

/* A word of ssh_config with its tokens (%h and so on; extra may be NULL) and ${VARIABLES} replaced, owned by
 * settings. NULL and a message that names `what`: one is not known, or not set. */
const char *settings_expand(settings_t *settings, const options_t *options, const char *what,
                            const char *text, const settings_token_t *extra, diag_t *diag);

/* Whether an ssh_config says anything that concerns us (SETTINGS_MATTERS and SETTINGS_DIFFERS), so that `ssh
 * -G` need not be run in vain. path may be missing. */
unsigned settings_file_matters(const char *path);
