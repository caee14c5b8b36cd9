/* What one connection to the bastion is made with: the options, and what ssh_config says where they say nothing
 * (as `ssh -G` reports it). Read anew for each connection, so that a changed file counts at the next one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/diag.h"
#include "tunnel/options.h"

enum {
  SETTINGS_REPORT_MAX = 256 << 10, /* bytes of ssh -G's output */
  SETTINGS_REPORT_MS = 10000,      /* for it: Match exec may run programs */
  SETTINGS_FILES_MAX = 32,         /* ssh_config files looked at for keys that matter, includes counted */
  SETTINGS_STRINGS_MAX = 64,
  SETTINGS_ALIVE_MAX_S = 3600,
};

typedef struct settings {
  char host[OPTIONS_HOST_MAX];     /* to connect to */
  char key_name[OPTIONS_HOST_MAX]; /* under which its keys are on file: HostKeyAlias, or host */
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
  const char *agent;         /* its socket; NULL: $SSH_AUTH_SOCK; "none": none */
  const char *proxy_jump;    /* as ssh_config has it */
  const char *proxy_command; /* percent signs expanded; NULL: none */
  unsigned alive_interval_s; /* 0: ours */
  unsigned alive_count;
  char *strings[SETTINGS_STRINGS_MAX]; /* owned */
  size_t string_count;
} settings_t;

/* settings_free afterwards in any case. SMPL_EINVAL, SMPL_ESYS, SMPL_ETIMEOUT with a message. options must live
 * as long. Any thread. */
int settings_load(const options_t *options, settings_t *out, diag_t *diag);
void settings_free(settings_t *settings);

/* One line of ssh -G's report ("key value"), without its newline. For tests and the fuzzer; pure. */
void settings_take_line(const options_t *options, settings_t *out, const char *line);

/* Whether an ssh_config says anything that concerns us, so that `ssh -G` need not be run in vain. path may be
 * missing. */
bool settings_file_matters(const char *path);
