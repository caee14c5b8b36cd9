/* The user's ssh-agent, with a limit on how long it may take: libssh waits for it without one. */
#pragma once

enum {
  AGENT_LIST_MS = 2000,  /* to say that it has keys */
  AGENT_SIGN_MS = 60000, /* for all signatures together: somebody may have to touch a token */
};

typedef struct agent agent_t;

/* NULL when $SSH_AUTH_SOCK leads to no agent, or to one that has no keys or does not answer; *why then says
 * which, or is NULL when there is simply none. */
agent_t *agent_open(const char **why);
/* For ssh_set_agent_socket, which takes it over. Requests that take longer than AGENT_SIGN_MS from now on
 * fail. */
int agent_take_fd(agent_t *agent);
/* Stops the watch. NULL allowed. */
void agent_close(agent_t *agent);
