/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file of smpl-app as it is written: one row a key, with its decoder, its bounds, whether a
 * reload may change it, and its line of documentation. What is unknown, what needs a restart and what the
 * manual page must say follow from the rows. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "app/http/internal_keys.h"
#include "common/base/ip.h"
#include "common/conf/conf.h"
#include "common/dns/resolver_conf.h"

typedef struct listener_settings {
  const char *name;
  endpoint_t address;
  conf_list_t rules;   /* rule_t */
  conf_list_t clients; /* ip_net_t */
  conf_list_t hosts;   /* const char * */
  struct {
    const char *certificate, *key; /* NULL: plain HTTP */
  } tls;
} listener_settings_t;

typedef struct internal_key_file {
  const char *name;
  uint8_t sha256[KEY_HASH_LEN];
  conf_list_t operations; /* operation_t */
} internal_key_file_t;

typedef struct accounts_file {
  const char *url;
} accounts_file_t;

typedef struct drain_file {
  uint64_t lag;    /* ms served on after SIGTERM */
  uint64_t finish; /* and then for what is under way */
} drain_file_t;

typedef struct rate_file {
  uint64_t requests; /* of one API key a second; 0: no limit */
  uint64_t burst;    /* at once; 0: not given */
} rate_file_t;

/* The file as it is written; borrowed from its conf_t. NULL and no items: not given. */
typedef struct settings_file {
  const char *service;
  conf_list_t listeners; /* listener_settings_t */
  conf_list_t balancers; /* ip_net_t */
  const char *database;
  const char *revocations;
  accounts_file_t accounts;
  conf_list_t sisters; /* const char * */
  resolver_conf_t resolver;
  conf_list_t internal_keys; /* internal_key_file_t */
  const char *internal_key_file;
  const char *access_log; /* NULL: standard output */
  bool free_bind;         /* addresses that are not there yet are bound all the same */
  bool core_dumps;
  const char *control;
  drain_file_t drain;
  rate_file_t rate;
} settings_file_t;

/* Of the whole file: settings_file_t. */
extern const conf_map_t settings_file_map;
/* Of one of its listeners: listener_settings_t. */
extern const conf_map_t settings_listener_map;
