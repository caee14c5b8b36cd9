/* SPDX-License-Identifier: Apache-2.0 */
/* What the user wants: command line, then environment, then tunnel.yaml, then the defaults. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf/conf.h"
#include "common/base/diag.h"
#include "common/ssh/libssh.h"
#include "tunnel/session/forward.h"

enum {
  OPTIONS_IDENTITIES_MAX = 16,
  OPTIONS_KNOWN_HOSTS_MAX = 4,
  OPTIONS_HOST_MAX = 254, /* bytes, with NUL */
  OPTIONS_USER_MAX = 64,
  OPTIONS_PATH_MAX = 4096,
};

enum {
  OPTIONS_WORDS_MAX = 16, /* behind a command */
  OPTIONS_SETS_MAX = 64,  /* in tunnel.yaml */
};

/* The first word, when it has no colon. */
typedef enum command {
  COMMAND_FORWARD, /* none: forwards follow */
  COMMAND_UP,      /* the same, with forwards of tunnel.yaml */
  COMMAND_LS,
  COMMAND_WHOAMI,
  COMMAND_WHY,
  COMMAND_STATUS,
  COMMAND_STOP,
  COMMAND_COMPLETION,
} command_t;

typedef struct options {
  command_t command;
  const char *words[OPTIONS_WORDS_MAX]; /* what follows the command */
  size_t word_count;
  const char *sets[OPTIONS_SETS_MAX]; /* the names of those in tunnel.yaml */
  size_t set_count;
  forward_t forwards[FORWARDS_MAX];
  size_t forward_count;
  char
      host[OPTIONS_HOST_MAX]; /* the bastion's, as it was written: ssh_config's Host is told capitals apart */
  uint16_t port;
  char user[OPTIONS_USER_MAX];
  const char *identities[OPTIONS_IDENTITIES_MAX];
  size_t identity_count;
  bool identities_given;                            /* else the usual ones under ~/.ssh */
  const char *known_hosts[OPTIONS_KNOWN_HOSTS_MAX]; /* the first is the one that is written to */
  size_t known_hosts_count;
  bool port_given; /* these stand above ssh_config */
  bool user_given;
  bool known_hosts_given;
  const char *ssh_config; /* -F; NULL: the usual ones, "none": none */
  libssh_conf_t libssh;
  bool core_dumps;  /* harden_core_dumps */
  bool read_ahead;  /* the session's socket is read in large pieces */
  bool any_user;    /* local connections of other users are served too */
  bool gateway;     /* listeners may be reached from other machines */
  bool stdio;       /* one connection over standard input and output; forwards[0] is its target */
  const char *open; /* the path to open in a browser; NULL: none */
  char **exec;      /* a program to run and its arguments, NULL at the end; NULL: none */
  bool quiet;
  unsigned verbose;
  bool json;
  bool help;
  bool version;
  conf_t *conf;                                                  /* owns strings that come from tunnel.yaml */
  char *paths[OPTIONS_IDENTITIES_MAX + OPTIONS_KNOWN_HOSTS_MAX]; /* owned */
  size_t path_count;
} options_t;

/* Splits [ssh://][USER@]HOST[:PORT] (an IPv6 address in brackets). user "" and port 0 when absent.
 * SMPL_EINVAL. Pure. */
int options_parse_bastion(const char *text, char *user, char *host, uint16_t *port, diag_t *diag);

/* Reads all sources. SMPL_EINVAL (SMPL_EDENIED) is a fault of the command line; *in_file tells that it is one
 * of tunnel.yaml instead. options_free afterwards in any case. */
int options_read(int argc, char **argv, options_t *out, bool *in_file, diag_t *diag);
void options_free(options_t *options);

const char *options_usage(void);
/* The words that are commands, NULL at the end. */
const char *const *options_commands(void);
