#include "tunnel/agent.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct agent {
  int fd;
  int watched; /* a duplicate: libssh closes the other one when it likes */
  bool running;
  bool done;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
};

static int connect_agent(const char *path)
{
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof sa.sun_path)
    return -1;
  memcpy(sa.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct timeval limit = {AGENT_LIST_MS / 1000, AGENT_LIST_MS % 1000 * 1000};
  if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
                  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
                  connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)) {
    close(fd);
    return -1;
  }
  return fd;
}

/* SSH_AGENTC_REQUEST_IDENTITIES (11), answered by SSH_AGENT_IDENTITIES_ANSWER (12) and their number: the
 * number of keys, or -1 when the agent does not answer so. The rest of the answer stays unread; the
 * connection is not used again. */
static int64_t count_keys(int fd)
{
  static const uint8_t question[] = {0, 0, 0, 1, 11};
  uint8_t answer[9];
  if (send(fd, question, sizeof question, MSG_NOSIGNAL) != (ssize_t)sizeof question ||
      recv(fd, answer, sizeof answer, MSG_WAITALL) != (ssize_t)sizeof answer || answer[4] != 12)
    return -1;
  return (int64_t)answer[5] << 24 | answer[6] << 16 | answer[7] << 8 | answer[8];
}

agent_t *agent_open(const char **why)
{
  *why = NULL;
  const char *path = getenv("SSH_AUTH_SOCK");
  if (!path || !path[0])
    return NULL;
  int fd = connect_agent(path);
  if (fd < 0) {
    *why = "the agent at $SSH_AUTH_SOCK cannot be reached";
    return NULL;
  }
  int64_t keys = count_keys(fd);
  close(fd);
  if (keys <= 0) {
    *why = keys == 0 ? "the agent has no keys" : "the agent at $SSH_AUTH_SOCK does not answer";
    return NULL;
  }
  agent_t *agent = calloc(1, sizeof *agent);
  if (!agent)
    return NULL;
  agent->fd = connect_agent(path);
  agent->watched = agent->fd < 0 ? -1 : dup(agent->fd);
  if (agent->watched < 0) {
    if (agent->fd >= 0)
      close(agent->fd);
    free(agent);
    return NULL;
  }
  return agent;
}

/* Ends the connection when the time is over: whoever waits for an answer gets its end. */
static void *watch(void *arg)
{
  agent_t *agent = arg;
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += AGENT_SIGN_MS / 1000;
  pthread_mutex_lock(&agent->lock);
  int rc = 0;
  while (!agent->done && rc == 0)
    rc = pthread_cond_timedwait(&agent->changed, &agent->lock, &until);
  if (!agent->done)
    shutdown(agent->watched, SHUT_RDWR);
  pthread_mutex_unlock(&agent->lock);
  return NULL;
}

int agent_take_fd(agent_t *agent)
{
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  pthread_mutex_init(&agent->lock, NULL);
  pthread_cond_init(&agent->changed, &attr);
  pthread_condattr_destroy(&attr);
  agent->running = pthread_create(&agent->thread, NULL, watch, agent) == 0;
  int fd = agent->fd;
  agent->fd = -1;
  return fd;
}

void agent_close(agent_t *agent)
{
  if (!agent)
    return;
  if (agent->running) {
    pthread_mutex_lock(&agent->lock);
    agent->done = true;
    pthread_cond_signal(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
    pthread_join(agent->thread, NULL);
  }
  if (agent->fd >= 0)
    close(agent->fd);
  close(agent->watched);
  free(agent);
}
