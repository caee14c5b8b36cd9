/* SPDX-License-Identifier: Apache-2.0 */
/* The user's ssh-agent behind a relay of our own, for the process that speaks with the bastion: it has one
 * key at a time shown, and its own login signed by that, and nothing else. The relay sets a time for each
 * answer, tells the agent which server it signs for, and knows whether it was the agent that said no. The
 * agent's answers go through one bounded reader. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/ssh/cursor.h"
#include "tunnel/session/permit.h"

typedef struct agent agent_t;

/* For whom it is asked. All of it is borrowed for as long as the agent is open. */
typedef struct agent_for {
  const char *path;    /* its socket; NULL: $SSH_AUTH_SOCK */
  const ssh_key *mine; /* keys that come before its others */
  size_t mine_count;
  bool only_mine;   /* and no others */
  int session;      /* the socket of the session: its end ends a wait for a signature; -1: none */
  permit_t *permit; /* what may be signed, and for which server; the relay's until it is closed */
} agent_for_t;

/* What came of the last signature that libssh asked for. */
typedef enum agent_said {
  AGENT_NOTHING, /* it was not asked */
  AGENT_SIGNED,
  AGENT_REFUSED,      /* the agent says no: declined, locked, or not for this server; or it was not asked,
                         because another thing was to be signed than may be */
  AGENT_SILENT,       /* not in time, or not at all: it is not asked again */
  AGENT_SESSION_ENDED /* the server did not wait for it */
} agent_said_t;

/* NULL when there is no agent, or one that has none of those keys or does not answer; *why then says which,
 * or is NULL when there is simply none; *failed tells that it might have had keys. */
agent_t *agent_open(const agent_for_t *whom, const char **why, bool *failed);
/* For ssh_set_agent_socket in the speaker; the caller's. */
int agent_take_fd(agent_t *agent);
/* The keys that may be offered, those that come first first. */
size_t agent_count(const agent_t *agent);
/* "agent key ssh-ed25519 SHA256:... (comment)" */
const char *agent_name(const agent_t *agent, size_t i);
bool agent_has(const agent_t *agent, ssh_key key);
/* From now on libssh sees this key alone. */
void agent_show(agent_t *agent, size_t i);
agent_said_t agent_said(const agent_t *agent);
/* Stops the relay. NULL allowed. */
void agent_close(agent_t *agent);

/* A key of the agent's. */
typedef struct agent_key {
  cursor_t entry; /* blob and comment as they came, with their lengths */
  ssh_key key;    /* NULL: of a kind that libssh does not know */
  char name[AGENT_NAME_MAX];
} agent_key_t;

/* The reader: an answer to "which keys" (without its length), up to AGENT_KEYS_MAX of them. They point into
 * it; their keys are freed by the caller, also of what is malformed, for which it returns false. */
bool agent_read_keys(const uint8_t *answer, size_t len, agent_key_t *keys, size_t *count);
