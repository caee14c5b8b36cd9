/* What the user wants: command line, then environment, then tunnel.yaml, then the defaults. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/conf.h"
#include "common/diag.h"
#include "tunnel/forward.h"

enum {
  OPTIONS_IDENTITIES_MAX = 16,
  OPTIONS_KNOWN_HOSTS_MAX = 4,
  OPTIONS_HOST_MAX = 254, /* bytes, with NUL */
  OPTIONS_USER_MAX = 64,
  OPTIONS_PATH_MAX = 4096,
};

typedef struct options {
  forward_t forwards[FORWARDS_MAX];
  size_t forward_count;
  char host[OPTIONS_HOST_MAX]; /* the bastion's; lower case */
  uint16_t port;
  char user[OPTIONS_USER_MAX];
  const char *identities[OPTIONS_IDENTITIES_MAX];
  size_t identity_count;
  bool identities_given;                            /* else the usual ones under ~/.ssh */
  const char *known_hosts[OPTIONS_KNOWN_HOSTS_MAX]; /* the first is the one that is written to */
  size_t known_hosts_count;
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
