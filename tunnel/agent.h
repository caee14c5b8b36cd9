/* The user's ssh-agent behind a relay of our own: libssh waits for an agent without a limit and offers all its keys;
 * the relay sets a time for each answer and lists only the keys that are wanted. Its answers go through one bounded
 * reader. */
#pragma once

#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  AGENT_LIST_MS = 2000,          /* to say which keys it has */
  AGENT_SIGN_MS = 60000,         /* for a signature: somebody may have to touch a token */
  AGENT_MESSAGE_MAX = 256 << 10, /* bytes of a message, as OpenSSH's own */
  AGENT_KEYS_MAX = 256,
  AGENT_NAMES_MAX = 1024,
};

typedef struct agent agent_t;

/* path: its socket; NULL: $SSH_AUTH_SOCK. only: keys that may be offered (borrowed for the call); NULL: all. NULL when
 * there is no agent, or one that has none of those keys or does not answer; *why then says which, or is NULL when there
 * is simply none; *failed tells that it might have had keys. */
agent_t *agent_open(const char *path, const ssh_key *only, size_t only_count, const char **why, bool *failed);
/* For ssh_set_agent_socket, which takes it over. */
int agent_take_fd(agent_t *agent);
/* "agent key ED25519 SHA256:... (comment)" of each key offered, joined by ", ". */
const char *agent_names(const agent_t *agent);
/* Whether a signature was not given in time, or not at all. */
bool agent_failed(const agent_t *agent);
/* Stops the relay. NULL allowed. */
void agent_close(agent_t *agent);

/* The reader: an answer to "which keys" (without its length) with the keys kept that are wanted, written to out (of len
 * bytes; never longer), names of AGENT_NAMES_MAX bytes. Returns the length, 0 when it is malformed; *count are the keys
 * kept. */
size_t agent_filter(const uint8_t *answer, size_t len, const ssh_key *only, size_t only_count, uint8_t *out,
                    char *names, uint32_t *count);
