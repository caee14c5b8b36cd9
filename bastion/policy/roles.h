/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what over the control socket: `read` looks, `terminate` ends sessions, reloads and blocks too.
 * Accounts and groups of the system, whose numbers are learned when the configuration is loaded, by the
 * peer's credentials (SO_PEERCRED and SO_PEERGROUPS): no name service is asked for a request. root and the
 * bastion's own account may everything; without roles in the configuration so may everybody else whom the
 * socket's mode lets in. An account that has left the system, or the lists, may do nothing. */
#pragma once

#include <stdbool.h>

#include "common/conf/conf.h"
#include "common/net/control.h"

typedef enum role { ROLE_NONE, ROLE_READ, ROLE_TERMINATE } role_t;

typedef struct role_member {
  bool is_group;
  unsigned id;
  bool missing; /* no such account or group on this system: nobody */
} role_member_t;

typedef struct roles {
  conf_list_t read;      /* role_member_t */
  conf_list_t terminate; /* role_member_t */
  bool given; /* the configuration has `roles`; lists in which nobody is left are not for everybody */
} roles_t;

/* "alice", "1000", or "@adm" for a group. */
extern const conf_scalar_t roles_scalar;

/* Whether accounts and groups by name are behind the walls: at the start the configuration named none. */
bool roles_are_hidden(void);
role_t roles_of(const roles_t *roles, const control_peer_t *peer);
/* Pure: the decision, with the groups that the peer is in. */
role_t roles_decide(const roles_t *roles, unsigned uid, const unsigned *groups, size_t group_count);
/* For a command_set_t: ROLE_NONE has no name there, and may nothing. */
extern const char *const role_names[ROLE_TERMINATE + 1];
/* "none", "read", "terminate". */
const char *role_name(role_t role);
