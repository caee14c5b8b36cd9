/* SPDX-License-Identifier: Apache-2.0 */
/* bastion.yaml, decoded and checked, with the key files that it names. Immutable once loaded; a reload makes
 * another. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bastion/limits.h"
#include "bastion/policy/authkeys.h"
#include "bastion/policy/faults.h"
#include "bastion/policy/grant.h"
#include "bastion/audit/headsink.h"
#include "bastion/policy/hostkey.h"
#include "bastion/policy/penalty.h"
#include "bastion/policy/roles.h"
#include "common/conf/conf.h"
#include "common/ssh/libssh.h"
#include "common/base/ip.h"
#include "common/net/metrics_conf.h"
#include "common/dns/resolver_conf.h"

/* MaxStartups of sshd: from `begin` connections that have not signed in yet, a new one strikes with `rate`
 * percent, rising linearly to all of them at `full`. Who has to go then, door.h says. */
typedef struct startups {
  uint32_t begin, rate, full;
} startups_t;

/* Pure. random is uniform in 0..99. */
bool startups_strike(const startups_t *s, size_t waiting, unsigned random);

typedef struct user_conf {
  const char *name;
  const char *keys_path;
  conf_list_t groups; /* const char * */
  authkeys_t keys;
} user_conf_t;

typedef struct grant_conf {
  conf_list_t groups;   /* const char * */
  conf_list_t users;    /* const char * */
  conf_list_t targets;  /* target_conf_t */
  conf_list_t networks; /* ip_net_t */
  conf_list_t hours;    /* hours_conf_t */
  uint64_t idle_ms;
  uint64_t session_ms;
  uint64_t max_sessions;
  const char *description; /* NULL without */
} grant_conf_t;

typedef struct hours_conf {
  hours_window_t window;
  const char *text; /* as written */
} hours_conf_t;

typedef struct target_conf {
  grant_pattern_t pattern;
  const char *text; /* as written */
} target_conf_t;

/* New connections and logins of one user, over all sessions. */
typedef struct connection_rate {
  uint64_t connections; /* a second; 0: no limit */
  uint64_t burst;       /* at once */
} connection_rate_t;

typedef struct limits_conf {
  uint64_t login_grace_ms;
  startups_t startups;
  uint64_t startups_per_source; /* connections that have not signed in, from one source (source.h) */
  uint64_t connections;
  uint64_t sessions_per_user;
  uint64_t channels;
  uint64_t drain_ms; /* that SIGTERM leaves open connections */
  connection_rate_t connection_rate;
} limits_conf_t;

typedef struct penalties_conf {
  bool enabled;
  conf_list_t exempt;      /* ip_net_t */
  penalty_silent_t silent; /* connections that went without trying to sign in, of one source */
} penalties_conf_t;

typedef struct config {
  conf_t *conf;
  conf_list_t listen;    /* endpoint_t */
  conf_list_t host_keys; /* const char *, paths */
  msg_algorithms_t algorithms;
  resolver_conf_t resolver;
  conf_list_t connect_from; /* ip_t; empty: the system's choice */
  conf_list_t search;       /* const char *, lower-case, no final dot */
  conf_list_t users;        /* user_conf_t */
  conf_list_t grant_confs;  /* grant_conf_t */
  limits_conf_t limits;
  penalties_conf_t penalties;
  roles_t roles;
  const char *user; /* to become once started as root; NULL: stays who it is */
  libssh_conf_t libssh;
  const char *audit;
  bool free_bind;         /* addresses that this machine does not have yet are bound all the same */
  bool core_dumps;        /* of the broker: harden_core_dumps */
  uint64_t audit_reserve; /* bytes that shall stay free on its disk; 0: none */
  headsink_conf_t audit_sink;
  const char *control;
  metrics_conf_t metrics; /* port 0: none */
  const char *state;      /* folder of what outlives the process beside the audit (blocks.h); NULL: none */
  /* what follows from it */
  faults_t faults; /* what counts as absent */
  grant_t *grants; /* in the order of grant_confs */
  hostkeys_t *keys;
  endpoint_t own[CONFIG_OWN_MAX]; /* where the ssh listeners can be reached: never a target */
  size_t own_count;
} config_t;

/* diag says file:line:column. On error *out is NULL. A fault of a keys file, and a user who has left a group
 * or the list of users, is no error. It counts as absent, and stands in faults. */
int config_load(const char *path, config_t **out, diag_t *diag);
/* The file alone, without the keys that it names: enough to find control socket and audit. */
int config_load_paths(const char *path, config_t **out, diag_t *diag);
/* The table that decodes it, for the reference. */
extern const conf_map_t config_map;
/* Whether a reload may take over next. diag says file:line:column of the first key that needs a restart:
 * SMPL_EINVAL. */
int config_check_fixed(const config_t *now, const config_t *next, diag_t *diag);
/* Wipes the host keys. NULL allowed. */
void config_free(config_t *config);

/* Whether text can be a user's name. */
bool config_is_name(const char *text);
/* NULL if there is no such user. */
const user_conf_t *config_user(const config_t *config, const char *name);
/* Whether one of our own ssh listeners stands there. */
bool config_is_own(const config_t *config, const ip_t *ip, uint16_t port);
/* Whether a source is never penalised. */
bool config_is_exempt(const config_t *config, const ip_t *source);
/* The user now, on the machine's clock. */
grant_subject_t config_subject(const user_conf_t *user);
/* "modern" or "compatible". */
const char *config_algorithms(const config_t *config);
size_t config_grant_count(const config_t *config);
/* A grant's pattern as it was written. */
const char *config_target_text(const config_t *config, const grant_decision_t *decision);
/* NULL without a description. */
const char *config_grant_description(const config_t *config, size_t grant);
/* "Mon-Fri 08:00-18:00, Sat 10:00-12:00"; "" for a grant without hours. buf of CONFIG_HOURS_TEXT_MAX bytes.
 * Returns buf. */
char *config_grant_hours(const config_t *config, size_t grant, char *buf);
/* "bastion.yaml:12:5" of a grant. buf of cap bytes; returns buf. */
char *config_grant_place(const config_t *config, size_t grant, char *buf, size_t cap);
