/* SPDX-License-Identifier: Apache-2.0 */
/* A worker that has been taken over: smpl-bastion-worker, object for object, but for three functions, in
 * whose place the linker puts the ones below (--wrap). They run what the client tells them, before the login
 * in the password of a password request, after it in the target of a direct-tcpip channel, and answer in an
 * SSH_MSG_DEBUG. So the test, as the attacker, has the process in its hands after the first bytes of the
 * peer: with all the walls around it and its end of the pair. Built for tests alone; no file of it is linked
 * into the product.
 *
 *   who                          its session's number at the broker and its process id
 *   call NUMBER ARGUMENT...      a system call: integers, @TEXT, or #HEX for a pointer to bytes; result and
 * errno send HEX SIZE FDS TIMES      so many packets on the pair, filled up with zeroes to SIZE bytes, each
 * with so many descriptors; how many were sent hear MS                      the next packet from the broker:
 * descriptor (or -1) and bytes; or `closed`, `silence` crash segv|ill               by a fault in its own
 * code: no answer eat                          memory until there is no more, and gives it back; how many MiB
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#define SSH_SUPPRESS_DEPRECATED
#include "bastion/worker/worker.h"
#include "bastion/worker/worker_state.h"
#include "common/base/error.h"

enum { PACKET_MAX = 1 << 17, REPLY_MAX = 1 << 16, FDS_MAX = 200, SEND_WAIT_MS = 3000 };

void __real_worker_auth_request(worker_t *w, ssh_message message);
void __wrap_worker_auth_request(worker_t *w, ssh_message message);
void __real_worker_open_channel(worker_t *w, ssh_message message);
void __wrap_worker_open_channel(worker_t *w, ssh_message message);
int __real_worker_pair_next(worker_pair_t *pair, msg_t *m, int *fd);
int __wrap_worker_pair_next(worker_pair_t *pair, msg_t *m, int *fd);

static bool taken_over; /* by the first command; what comes from the broker is the attacker's from then on */
static const char prefix[] = "rogue ";

/* Bytes of hex digits; how many. */
static size_t unhex(const char *hex, uint8_t *out, size_t cap)
{
  size_t n = 0;
  unsigned byte = 0;
  while (n < cap && sscanf(hex + 2 * n, "%2x", &byte) == 1)
    out[n++] = (uint8_t)byte;
  return n;
}

static void who(worker_t *w, char *reply)
{
  snprintf(reply, REPLY_MAX, "%llu %d", (unsigned long long)worker_pair_session(w->pair), getpid());
}

static long argument(const char *word, uint8_t *room, size_t cap)
{
  if (!word)
    return 0;
  if (word[0] == '@')
    return (long)(intptr_t)(word + 1);
  if (word[0] == '#') {
    unhex(word + 1, room, cap);
    return (long)(intptr_t)room;
  }
  return strtol(word, NULL, 0);
}

static void call(char **at, char *reply)
{
  static uint8_t room[6][256];
  long a[6];
  const char *number = strtok_r(NULL, " ", at);
  for (int i = 0; i < 6; i++)
    a[i] = argument(strtok_r(NULL, " ", at), room[i], sizeof room[i]);
  errno = 0;
  long rc = syscall(number ? strtol(number, NULL, 0) : -1, a[0], a[1], a[2], a[3], a[4], a[5]);
  snprintf(reply, REPLY_MAX, "%ld %d", rc, errno);
}

static bool send_one(const uint8_t *packet, size_t len, size_t fds)
{
  struct iovec iov = {(void *)(uintptr_t)packet, len};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
  } control = {0};
  struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
  if (fds > 0) {
    mh.msg_control = control.bytes;
    mh.msg_controllen = CMSG_SPACE(fds * sizeof(int));
    struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds * sizeof(int));
    for (size_t i = 0; i < fds; i++)
      ((int *)(void *)CMSG_DATA(c))[i] = WORKER_CLIENT_FD;
  }
  while (sendmsg(WORKER_PAIR_FD, &mh, MSG_NOSIGNAL) < 0) {
    struct pollfd p = {WORKER_PAIR_FD, POLLOUT, 0};
    if (errno != EAGAIN || poll(&p, 1, SEND_WAIT_MS) <= 0)
      return false;
  }
  return true;
}

static void send_many(char **at, char *reply)
{
  static uint8_t packet[PACKET_MAX];
  const char *hex = strtok_r(NULL, " ", at), *size = strtok_r(NULL, " ", at);
  const char *fds = strtok_r(NULL, " ", at), *times = strtok_r(NULL, " ", at);
  if (!times)
    return;
  memset(packet, 0, sizeof packet);
  size_t len = unhex(hex, packet, sizeof packet);
  size_t want = strtoul(size, NULL, 0), count = strtoul(fds, NULL, 0), most = strtoul(times, NULL, 0),
         done = 0;
  if (want > len)
    len = want < sizeof packet ? want : sizeof packet;
  while (done < most && send_one(packet, len, count < FDS_MAX ? count : FDS_MAX))
    done++;
  snprintf(reply, REPLY_MAX, "%zu", done);
}

static void hear(char **at, char *reply)
{
  static uint8_t packet[PACKET_MAX];
  const char *ms = strtok_r(NULL, " ", at);
  struct pollfd p = {WORKER_PAIR_FD, POLLIN, 0};
  struct iovec iov = {packet, sizeof packet};
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr mh = {.msg_iov = &iov,
                      .msg_iovlen = 1,
                      .msg_control = control.bytes,
                      .msg_controllen = sizeof control};
  if (poll(&p, 1, ms ? (int)strtol(ms, NULL, 0) : 0) <= 0) {
    snprintf(reply, REPLY_MAX, "silence");
    return;
  }
  ssize_t len = recvmsg(WORKER_PAIR_FD, &mh, 0);
  if (len <= 0) {
    snprintf(reply, REPLY_MAX, "closed");
    return;
  }
  int fd = -1;
  const struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
  if (c)
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
  int used = snprintf(reply, REPLY_MAX, "%d ", fd);
  for (ssize_t i = 0; i < len && used + 3 < REPLY_MAX; i++)
    used += snprintf(reply + used, (size_t)(REPLY_MAX - used), "%02x", packet[i]);
}

static void eat(char *reply)
{
  unsigned mib = 0;
  char *kept = NULL, *block;
  while ((block = malloc(1 << 20))) {
    for (size_t i = 0; i < 1 << 20; i += 4096)
      block[i] = 1;
    *(char **)(void *)block = kept;
    kept = block;
    mib++;
  }
  while ((block = kept)) {
    kept = *(char **)(void *)block;
    free(block);
  }
  snprintf(reply, REPLY_MAX, "%u", mib);
}

static void crash(const char *how)
{
  volatile int *volatile nowhere = NULL;
  if (how && strcmp(how, "ill") == 0)
    __builtin_trap();
  *nowhere = 1;
}

static void obey(worker_t *w, const char *command)
{
  static char words[2 * PACKET_MAX], reply[REPLY_MAX];
  snprintf(words, sizeof words, "%s", command);
  snprintf(reply, sizeof reply, "what?");
  taken_over = true;
  char *at = NULL;
  const char *verb = strtok_r(words, " ", &at);
  if (verb && strcmp(verb, "who") == 0)
    who(w, reply);
  else if (verb && strcmp(verb, "call") == 0)
    call(&at, reply);
  else if (verb && strcmp(verb, "send") == 0)
    send_many(&at, reply);
  else if (verb && strcmp(verb, "hear") == 0)
    hear(&at, reply);
  else if (verb && strcmp(verb, "crash") == 0)
    crash(strtok_r(NULL, " ", &at));
  else if (verb && strcmp(verb, "eat") == 0)
    eat(reply);
  ssh_send_debug(w->session, reply, 0);
}

static const char *told(const char *text)
{
  return text && strncmp(text, prefix, sizeof prefix - 1) == 0 ? text + sizeof prefix - 1 : NULL;
}

void __wrap_worker_auth_request(worker_t *w, ssh_message message)
{
  const char *command = ssh_message_subtype(message) == SSH_AUTH_METHOD_PASSWORD
                            ? told(ssh_message_auth_password(message))
                            : NULL;
  if (!command) {
    __real_worker_auth_request(w, message);
    return;
  }
  obey(w, command);
  ssh_message_free(message);
}

void __wrap_worker_open_channel(worker_t *w, ssh_message message)
{
  const char *command = ssh_message_subtype(message) == SSH_CHANNEL_DIRECT_TCPIP
                            ? told(ssh_message_channel_request_open_destination(message))
                            : NULL;
  if (!command) {
    __real_worker_open_channel(w, message);
    return;
  }
  obey(w, command);
  ssh_message_reply_default(message);
  ssh_message_free(message);
}

int __wrap_worker_pair_next(worker_pair_t *pair, msg_t *m, int *fd)
{
  return taken_over ? SMPL_EAGAIN : __real_worker_pair_next(pair, m, fd);
}

#ifdef ROGUE_UNFILTERED
/* For the test of what stands behind the filter of system calls. */
int __wrap_seccomp_load(const scmp_filter_ctx filter);
int __wrap_seccomp_load(const scmp_filter_ctx filter)
{
  (void)filter;
  return 0;
}
#endif
