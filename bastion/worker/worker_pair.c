/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/worker/worker_pair.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/fifo.h"

typedef struct kept {
  fifo_link_t next;
  int fd;
  msg_t m; /* allocated with the bytes it has */
} kept_t;

struct worker_pair {
  int fd;
  uint64_t session;
  uint32_t number;
  fifo_t kept;
  unsigned count;
};

worker_pair_t *worker_pair_new(int fd, uint64_t session)
{
  worker_pair_t *pair = calloc(1, sizeof *pair);
  if (pair == NULL)
    return NULL;
  pair->fd = fd;
  pair->session = session;
  fifo_init(&pair->kept);
  return pair;
}

uint64_t worker_pair_session(const worker_pair_t *pair)
{
  return pair->session;
}

int worker_pair_fd(const worker_pair_t *pair)
{
  return pair->fd;
}

uint32_t worker_pair_number(worker_pair_t *pair)
{
  if (++pair->number == 0)
    pair->number = 1;
  return pair->number;
}

/* One message from the socket. Does not return when the broker is gone. */
static int receive(worker_pair_t *pair, msg_t *m, int *fd)
{
  int err = msg_receive(pair->fd, m, MSG_FROM_BROKER_TO_WORKER, fd);
  if (err && err != SMPL_EAGAIN)
    _exit(err == SMPL_ECLOSED ? WORKER_EXIT_OK : WORKER_EXIT_BROKEN);
  return err;
}

static void keep(worker_pair_t *pair, const msg_t *m, int fd)
{
  size_t len = msg_length(m);
  kept_t *k = pair->count < WORKER_PAIR_QUEUE_MAX ? malloc(offsetof(kept_t, m) + len) : NULL;
  if (k == NULL)
    _exit(WORKER_EXIT_BROKEN);
  k->fd = fd;
  memcpy(&k->m, m, len);
  fifo_add(&pair->kept, &k->next);
  pair->count++;
}

static bool take_kept(worker_pair_t *pair, msg_t *m, int *fd)
{
  kept_t *k = FIFO_TAKE(&pair->kept, kept_t, next);
  if (k == NULL)
    return false;
  memcpy(m, &k->m, msg_length(&k->m));
  *fd = k->fd;
  pair->count--;
  free(k);
  return true;
}

static void wait_for(worker_pair_t *pair, short events, uint64_t until)
{
  uint64_t now = clock_mono_ms();
  struct pollfd p = {pair->fd, events, 0};
  int n = now < until ? poll(&p, 1, (int)(until - now)) : 0;
  if (n == 0 || (n < 0 && errno != EINTR))
    _exit(WORKER_EXIT_BROKEN);
}

void worker_pair_send(worker_pair_t *pair, const msg_t *m)
{
  uint64_t until = clock_mono_ms() + WORKER_PAIR_WAIT_MS;
  msg_t arrived;
  for (;;) {
    int err = msg_send(pair->fd, m, -1);
    if (err == SMPL_OK)
      return;
    if (err != SMPL_EAGAIN)
      _exit(err == SMPL_ECLOSED ? WORKER_EXIT_OK : WORKER_EXIT_BROKEN);
    /* The broker may be waiting for us just as we wait for it: take what it sends. */
    wait_for(pair, POLLIN | POLLOUT, until);
    int fd;
    if (receive(pair, &arrived, &fd) == SMPL_OK)
      keep(pair, &arrived, fd);
  }
}

void worker_pair_ask(worker_pair_t *pair, msg_t *m, msg_type_t answer)
{
  uint64_t until = clock_mono_ms() + WORKER_PAIR_WAIT_MS;
  uint32_t request = m->h.request;
  worker_pair_send(pair, m);
  for (;;) {
    int fd;
    if (receive(pair, m, &fd) == SMPL_EAGAIN) {
      wait_for(pair, POLLIN, until);
      continue;
    }
    if (m->h.type == answer && m->h.request == request)
      return;
    keep(pair, m, fd);
  }
}

int worker_pair_next(worker_pair_t *pair, msg_t *m, int *fd)
{
  if (take_kept(pair, m, fd))
    return SMPL_OK;
  return receive(pair, m, fd);
}

int worker_pair_wait(worker_pair_t *pair, msg_t *m, int *fd, int timeout_ms)
{
  struct pollfd p = {pair->fd, POLLIN, 0};
  uint64_t until = clock_mono_ms() + (uint64_t)timeout_ms;
  for (;;) {
    if (worker_pair_next(pair, m, fd) == SMPL_OK)
      return SMPL_OK;
    uint64_t now = clock_mono_ms();
    if (now >= until)
      return SMPL_ETIMEOUT;
    if (poll(&p, 1, (int)(until - now)) < 0 && errno != EINTR)
      return SMPL_ESYS;
  }
}
