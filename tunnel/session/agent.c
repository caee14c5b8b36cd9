/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/agent.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/ssh/cursor.h"
#include "tunnel/base/blob.h"
#include "tunnel/trust/trust.h"

/* draft-miller-ssh-agent, section 5.1 */
enum {
  MESSAGE_FAILURE = 5,
  MESSAGE_LIST = 11,
  MESSAGE_KEYS = 12,
  MESSAGE_SIGN = 13,
  MESSAGE_SIGNED = 14,
  MESSAGE_EXTENSION = 27,
  COMMENT_MAX = 64
};

struct agent {
  int fd;      /* to the agent */
  int ours;    /* the relay's end */
  int libsshs; /* the other; -1 once taken */
  bool running;
  pthread_t thread;
  int session;
  permit_t *permit;
  bool bound;    /* it has been told of the server */
  uint8_t *list; /* its answer, in which the keys stand */
  agent_key_t *keys;
  size_t count;
  atomic_size_t shown;
  atomic_int said;
};

/* ---- the reader ---- */

static void put_u32(uint8_t *out, uint32_t value)
{
  for (int i = 0; i < 4; i++)
    out[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put_name(agent_key_t *k, cursor_t comment)
{
  char print[TRUST_FINGERPRINT_MAX] = "";
  char shown[COMMENT_MAX];
  const char *kind = k->key ? ssh_key_type_to_char(ssh_key_type(k->key)) : NULL;
  if (k->key)
    trust_fingerprint(k->key, print);
  text_escape(shown, sizeof shown, comment.data, comment.len);
  snprintf(k->name, sizeof k->name, "agent key %s%s%s%s%s%s", kind ? kind : "", kind ? " " : "", print,
           shown[0] ? " (" : "", shown, shown[0] ? ")" : "");
}

bool agent_read_keys(const uint8_t *answer, size_t len, agent_key_t *keys, size_t *count)
{
  cursor_t c = {answer, len};
  uint8_t type;
  uint32_t all;
  *count = 0;
  if (cursor_u8(&c, &type) || type != MESSAGE_KEYS || cursor_u32(&c, &all))
    return false;
  for (uint32_t i = 0; i < all && *count < AGENT_KEYS_MAX; i++) {
    agent_key_t *k = &keys[*count];
    cursor_t blob;
    cursor_t comment;
    k->entry = c;
    if (cursor_string(&c, &blob) || cursor_string(&c, &comment))
      return false;
    k->entry.len -= c.len;
    k->key = blob_key(blob);
    put_name(k, comment);
    ++*count;
  }
  return true;
}

/* ---- messages ---- */

static bool send_all(int fd, const void *data, size_t len)
{
  const uint8_t *at = data;
  while (len > 0) {
    ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
    if (n <= 0)
      return false;
    at += n;
    len -= (size_t)n;
  }
  return true;
}

static bool send_message(int fd, const uint8_t *body, size_t len)
{
  uint8_t head[4];
  put_u32(head, (uint32_t)len);
  return send_all(fd, head, sizeof head) && send_all(fd, body, len);
}

/* Into body of AGENT_MESSAGE_MAX bytes. Returns its length, 0 when there is none, or one that is too long,
 * which errno tells (EMSGSIZE). */
static size_t receive_message(int fd, uint8_t *body)
{
  uint8_t head[4];
  uint32_t len;
  errno = 0;
  if (recv(fd, head, sizeof head, MSG_WAITALL) != (ssize_t)sizeof head)
    return 0;
  cursor_t c = {head, sizeof head};
  cursor_u32(&c, &len);
  if (len > AGENT_MESSAGE_MAX)
    errno = EMSGSIZE;
  if (len == 0 || len > AGENT_MESSAGE_MAX || recv(fd, body, len, MSG_WAITALL) != (ssize_t)len)
    return 0;
  return (size_t)len;
}

static void set_limit(int fd, int ms)
{
  struct timeval limit = {ms / 1000, ms % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int connect_agent(const char *path)
{
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof sa.sun_path)
    return -1;
  memcpy(sa.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -1;
  set_limit(fd, AGENT_LIST_MS);
  if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
    close(fd);
    return -1;
  }
  return fd;
}

/* ---- the relay ---- */

/* The server has hung up: nobody waits for a signature any more. */
static bool session_ended(const agent_t *a, short events)
{
  return a->session >= 0 && (events & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

/* The agent's answer to what is in body, into body. 0: none in time, or the session has ended, which *ended
 * tells. */
static size_t talk(const agent_t *a, uint8_t *body, size_t len, int ms, bool *ended)
{
  uint64_t until = clock_mono_ms() + (uint64_t)ms;
  struct pollfd polls[2] = {{a->fd, POLLIN, 0}, {a->session, POLLRDHUP, 0}};
  *ended = false;
  if (!send_message(a->fd, body, len))
    return 0;
  for (;;) {
    uint64_t now = clock_mono_ms();
    int n = now < until ? poll(polls, 2, (int)(until - now)) : 0;
    if (n < 0 && errno == EINTR)
      continue;
    *ended = n > 0 && session_ended(a, polls[1].revents);
    if (n <= 0 || *ended)
      return 0;
    if (polls[0].revents)
      return receive_message(a->fd, body);
  }
}

static size_t put_string(uint8_t *out, cursor_t f)
{
  put_u32(out, (uint32_t)f.len);
  memcpy(out + 4, f.data, f.len);
  return 4 + f.len;
}

/* Tells the agent, once, for which server it is to sign (PROTOCOL.agent, session-bind@openssh.com). The
 * session's number stands in what is to be signed. An agent that does not know the message says no, and that
 * is all there is to it. Returns false when it says nothing. */
static bool bind_session(agent_t *a, cursor_t number, bool *ended)
{
  static const char name[] = "session-bind@openssh.com";
  cursor_t host_key = a->permit->host_key, proof = a->permit->proof;
  if (a->bound || number.len + host_key.len + proof.len > AGENT_MESSAGE_MAX / 2)
    return true;
  a->bound = true;
  uint8_t *message = malloc(AGENT_MESSAGE_MAX);
  if (!message)
    return true;
  size_t used = 0;
  message[used++] = MESSAGE_EXTENSION;
  used += put_string(message + used, (cursor_t){(const uint8_t *)name, sizeof name - 1});
  used += put_string(message + used, host_key);
  used += put_string(message + used, number);
  used += put_string(message + used, proof);
  message[used++] = 0; /* for a login, not to be forwarded */
  bool answered = talk(a, message, used, AGENT_LIST_MS, ended) > 0;
  free(message);
  return answered;
}

/* What the key that is shown is to sign, if that is a login that may be signed. */
static bool may_sign(const agent_t *a, const uint8_t *message, size_t len, signedreq_t *request)
{
  cursor_t rest = {message, len}, shown = a->keys[a->shown].entry;
  cursor_t blob, mine, data;
  uint8_t type;
  uint32_t flags;
  return !cursor_u8(&rest, &type) && !cursor_string(&rest, &blob) && !cursor_string(&rest, &data) &&
         !cursor_u32(&rest, &flags) && rest.len == 0 && !cursor_string(&shown, &mine) &&
         blob.len == mine.len && memcmp(blob.data, mine.data, mine.len) == 0 &&
         permit_allows(a->permit, data, mine, request);
}

/* Whether libssh is to see it: of another thing it would say that memory has run out. */
static bool is_signature(const uint8_t *body, size_t len)
{
  cursor_t rest = {body, len}, signature, kind;
  uint8_t type;
  return !cursor_u8(&rest, &type) && type == MESSAGE_SIGNED && !cursor_string(&rest, &signature) &&
         rest.len == 0 && !cursor_string(&signature, &kind) && signature.len > 0;
}

/* AGENT_SIGNED: body holds the signature. */
static agent_said_t have_signed(agent_t *a, uint8_t *body, size_t len, size_t *got)
{
  signedreq_t request;
  bool ended = false;
  *got = 0;
  if (a->said == AGENT_SILENT)
    return AGENT_SILENT;
  if (!may_sign(a, body, len, &request))
    return AGENT_REFUSED;
  if (bind_session(a, request.session_hash, &ended))
    *got = talk(a, body, len, AGENT_SIGN_MS, &ended);
  if (*got > 0)
    return is_signature(body, *got) ? AGENT_SIGNED : AGENT_REFUSED;
  /* what it answers later would be taken for the answer to something else */
  return ended ? AGENT_SESSION_ENDED : AGENT_SILENT;
}

static bool answer_sign(agent_t *a, uint8_t *body, size_t len)
{
  static const uint8_t failure = MESSAGE_FAILURE;
  size_t got;
  a->said = have_signed(a, body, len, &got);
  return a->said == AGENT_SIGNED ? send_message(a->ours, body, got) : send_message(a->ours, &failure, 1);
}

static bool answer_list(agent_t *a)
{
  const cursor_t *entry = &a->keys[a->shown].entry;
  size_t len = 5 + entry->len;
  uint8_t *body = malloc(len);
  if (!body)
    return false;
  body[0] = MESSAGE_KEYS;
  put_u32(body + 1, 1);
  memcpy(body + 5, entry->data, entry->len);
  bool sent = send_message(a->ours, body, len);
  free(body);
  return sent;
}

/* False when there is nothing more to answer. */
static bool answer_one(agent_t *a, uint8_t *body)
{
  static const uint8_t failure = MESSAGE_FAILURE;
  size_t len = receive_message(a->ours, body);
  if (len == 0)
    return false;
  if (body[0] == MESSAGE_LIST)
    return answer_list(a);
  if (body[0] == MESSAGE_SIGN)
    return answer_sign(a, body, len);
  return send_message(a->ours, &failure, 1);
}

static void *relay(void *arg)
{
  agent_t *a = arg;
  uint8_t *body = malloc(AGENT_MESSAGE_MAX);
  while (body && answer_one(a, body))
    ;
  free(body);
  shutdown(a->ours, SHUT_RDWR);
  return NULL;
}

static bool is_mine(ssh_key key, const agent_for_t *whom)
{
  for (size_t i = 0; key && i < whom->mine_count; i++) {
    if (ssh_key_cmp(key, whom->mine[i], SSH_KEY_CMP_PUBLIC) == 0)
      return true;
  }
  return false;
}

/* Mine first, in the agent's order; the others behind them or not at all. */
static void sort_keys(agent_t *a, const agent_for_t *whom)
{
  size_t first = 0;
  for (size_t i = 0; i < a->count; i++) {
    if (!is_mine(a->keys[i].key, whom))
      continue;
    agent_key_t mine = a->keys[i];
    memmove(&a->keys[first + 1], &a->keys[first], (i - first) * sizeof mine);
    a->keys[first++] = mine;
  }
  while (whom->only_mine && a->count > first)
    ssh_key_free(a->keys[--a->count].key);
}

static const char *list_keys(agent_t *a, const agent_for_t *whom, bool *failed)
{
  static const uint8_t question = MESSAGE_LIST;
  static_assert(AGENT_MESSAGE_MAX == 256 << 10, "as the message says");
  a->list = malloc(AGENT_MESSAGE_MAX);
  a->keys = calloc(AGENT_KEYS_MAX, sizeof *a->keys);
  size_t len = a->list && a->keys && send_message(a->fd, &question, 1) ? receive_message(a->fd, a->list) : 0;
  *failed = len == 0 || !agent_read_keys(a->list, len, a->keys, &a->count);
  if (len == 0)
    return errno == EMSGSIZE ? "the agent's list of keys has more than 256 KiB, which is not read"
                             : "the agent does not answer";
  if (*failed)
    return "the agent answers with something else than its keys (is it locked?)";
  sort_keys(a, whom);
  if (a->count > 0)
    return NULL;
  return whom->only_mine
             ? "the agent has none of the keys of the identity files, and IdentitiesOnly leaves out the "
               "others"
             : "the agent has no keys";
}

agent_t *agent_open(const agent_for_t *whom, const char **why, bool *failed)
{
  *why = NULL;
  *failed = false;
  const char *path = whom->path ? whom->path : getenv("SSH_AUTH_SOCK");
  if (!path || !path[0] || strcmp(path, "none") == 0)
    return NULL;
  agent_t *a = calloc(1, sizeof *a);
  int ends[2] = {-1, -1};
  if (!a)
    return NULL;
  a->ours = a->libsshs = -1;
  a->session = whom->session;
  a->permit = whom->permit;
  a->fd = connect_agent(path);
  if (a->fd < 0)
    *why = "the agent cannot be reached";
  else
    *why = list_keys(a, whom, failed);
  if (!*why && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0) {
    a->ours = ends[0];
    a->libsshs = ends[1];
    set_limit(a->fd, AGENT_SIGN_MS);
    a->running = pthread_create(&a->thread, NULL, relay, a) == 0;
  }
  if (a->running)
    return a;
  agent_close(a);
  return NULL;
}

int agent_take_fd(agent_t *a)
{
  int fd = a->libsshs;
  a->libsshs = -1;
  return fd;
}

size_t agent_count(const agent_t *a)
{
  return a->count;
}

const char *agent_name(const agent_t *a, size_t i)
{
  return a->keys[i].name;
}

bool agent_has(const agent_t *a, ssh_key key)
{
  for (size_t i = 0; i < a->count; i++) {
    if (a->keys[i].key && ssh_key_cmp(a->keys[i].key, key, SSH_KEY_CMP_PUBLIC) == 0)
      return true;
  }
  return false;
}

void agent_show(agent_t *a, size_t i)
{
  a->shown = i;
  if (a->said != AGENT_SILENT)
    a->said = AGENT_NOTHING;
}

agent_said_t agent_said(const agent_t *a)
{
  return (agent_said_t)a->said;
}

void agent_close(agent_t *a)
{
  if (!a)
    return;
  if (a->running) {
    shutdown(a->fd, SHUT_RDWR);
    shutdown(a->ours, SHUT_RDWR);
    pthread_join(a->thread, NULL);
  }
  const int fds[] = {a->fd, a->ours, a->libsshs};
  for (size_t i = 0; i < COUNT_OF(fds); i++) {
    if (fds[i] >= 0)
      close(fds[i]);
  }
  for (size_t i = 0; a->keys && i < a->count; i++)
    ssh_key_free(a->keys[i].key);
  free(a->keys);
  free(a->list);
  free(a);
}
