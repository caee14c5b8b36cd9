#include "tunnel/agent.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/error.h"
#include "common/text.h"
#include "tunnel/fields.h"
#include "tunnel/trust.h"

/* draft-miller-ssh-agent, section 5.1 */
enum { MESSAGE_FAILURE = 5, MESSAGE_LIST = 11, MESSAGE_KEYS = 12, COMMENT_MAX = 64 };

struct agent {
  int fd;      /* to the agent */
  int ours;    /* the relay's end */
  int libsshs; /* the other; -1 once taken */
  bool running;
  pthread_t thread;
  uint8_t *keys; /* the list that is shown to libssh */
  size_t keys_len;
  char names[AGENT_NAMES_MAX];
  atomic_bool failed;
};

/* ---- the reader ---- */

static void put_u32(uint8_t *out, uint32_t value)
{
  for (int i = 0; i < 4; i++)
    out[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* NULL for a kind that libssh does not know. */
static ssh_key import(fields_t blob)
{
  fields_t rest = blob;
  fields_t type;
  char name[64];
  ssh_key key = NULL;
  if (!fields_string(&rest, &type) || type.left >= sizeof name)
    return NULL;
  memcpy(name, type.at, type.left);
  name[type.left] = '\0';
  char *text = malloc(blob.left / 3 * 4 + 8);
  if (text && EVP_EncodeBlock((unsigned char *)text, blob.at, (int)blob.left) > 0 &&
      ssh_pki_import_pubkey_base64(text, ssh_key_type_from_name(name), &key) != SSH_OK)
    key = NULL;
  free(text);
  return key;
}

static bool is_wanted(ssh_key key, const ssh_key *only, size_t only_count)
{
  for (size_t i = 0; key && i < only_count; i++) {
    if (ssh_key_cmp(key, only[i], SSH_KEY_CMP_PUBLIC) == 0)
      return true;
  }
  return only == NULL;
}

static void add_name(char *names, ssh_key key, fields_t comment)
{
  char print[TRUST_FINGERPRINT_MAX] = "";
  char shown[COMMENT_MAX];
  size_t used = strlen(names);
  const char *kind = key ? ssh_key_type_to_char(ssh_key_type(key)) : NULL;
  if (key)
    trust_fingerprint(key, print);
  text_escape(shown, sizeof shown, comment.at, comment.left);
  snprintf(names + used, AGENT_NAMES_MAX - used, "%sagent key %s%s%s%s%s%s", used ? ", " : "",
           kind ? kind : "", kind ? " " : "", print, shown[0] ? " (" : "", shown, shown[0] ? ")" : "");
}

size_t agent_filter(const uint8_t *answer, size_t len, const ssh_key *only, size_t only_count, uint8_t *out,
                    char *names, uint32_t *count)
{
  fields_t c = {answer, len};
  uint64_t all;
  *count = 0;
  names[0] = '\0';
  if (c.left < 1 || c.at[0] != MESSAGE_KEYS)
    return 0;
  c.at++;
  c.left--;
  if (!fields_number(&c, 4, &all))
    return 0;
  size_t used = 5;
  for (uint64_t i = 0; i < all && *count < AGENT_KEYS_MAX; i++) {
    const uint8_t *start = c.at;
    fields_t blob;
    fields_t comment;
    if (!fields_string(&c, &blob) || !fields_string(&c, &comment))
      return 0;
    ssh_key key = import(blob);
    if (is_wanted(key, only, only_count)) {
      memcpy(out + used, start, (size_t)(c.at - start));
      used += (size_t)(c.at - start);
      add_name(names, key, comment);
      ++*count;
    }
    ssh_key_free(key);
  }
  out[0] = MESSAGE_KEYS;
  put_u32(out + 1, *count);
  return used;
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

/* Into body of AGENT_MESSAGE_MAX bytes. Returns its length, 0 when there is none. */
static size_t receive_message(int fd, uint8_t *body)
{
  uint8_t head[4];
  uint64_t len;
  if (recv(fd, head, sizeof head, MSG_WAITALL) != (ssize_t)sizeof head)
    return 0;
  fields_t c = {head, sizeof head};
  fields_number(&c, 4, &len);
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

/* False when there is nothing more to answer. */
static bool answer_one(agent_t *a, uint8_t *body)
{
  size_t len = receive_message(a->ours, body);
  if (len == 0)
    return false;
  if (body[0] == MESSAGE_LIST)
    return send_message(a->ours, a->keys, a->keys_len);
  static const uint8_t failure = MESSAGE_FAILURE;
  size_t got = !a->failed && send_message(a->fd, body, len) ? receive_message(a->fd, body) : 0;
  if (got > 0)
    return send_message(a->ours, body, got);
  a->failed = true; /* what it answers later would be taken for the answer to something else */
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

static const char *list_keys(agent_t *a, const ssh_key *only, size_t only_count, bool *failed)
{
  static const uint8_t question = MESSAGE_LIST;
  uint8_t *body = malloc(AGENT_MESSAGE_MAX);
  uint32_t count = 0;
  size_t len = body && send_message(a->fd, &question, 1) ? receive_message(a->fd, body) : 0;
  a->keys = len ? malloc(len + 5) : NULL;
  if (a->keys)
    a->keys_len = agent_filter(body, len, only, only_count, a->keys, a->names, &count);
  free(body);
  *failed = a->keys_len == 0;
  if (a->keys_len == 0)
    return "the agent does not answer";
  if (count == 0)
    return only ? "the agent has none of the keys of the identity files, and IdentitiesOnly leaves out the "
                  "others"
                : "the agent has no keys";
  return NULL;
}

agent_t *agent_open(const char *path, const ssh_key *only, size_t only_count, const char **why, bool *failed)
{
  *why = NULL;
  *failed = false;
  if (!path)
    path = getenv("SSH_AUTH_SOCK");
  if (!path || !path[0] || strcmp(path, "none") == 0)
    return NULL;
  agent_t *a = calloc(1, sizeof *a);
  int ends[2] = {-1, -1};
  if (!a)
    return NULL;
  a->ours = a->libsshs = -1;
  a->fd = connect_agent(path);
  if (a->fd < 0)
    *why = "the agent cannot be reached";
  else
    *why = list_keys(a, only, only_count, failed);
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

const char *agent_names(const agent_t *a)
{
  return a->names;
}

bool agent_failed(const agent_t *a)
{
  return a->failed;
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
  for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
    if (fds[i] >= 0)
      close(fds[i]);
  }
  free(a->keys);
  free(a);
}
