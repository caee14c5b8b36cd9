/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/spawn/peer.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/fifo.h"

typedef struct waiting {
  fifo_link_t next;
  msg_t *m;
  int fd;
} waiting_t;

struct peer {
  uv_poll_t poll;
  int sock;
  msg_from_t from;
  peer_handlers_t handlers;
  fifo_t queue;
  size_t queued, queued_bytes;
  bool gone;
  bool closing;
  msg_t m; /* what is being received */
};

static waiting_t *first_waiting(const peer_t *p)
{
  return FIFO_FIRST(&p->queue, waiting_t, next);
}

static void drop_first(peer_t *p)
{
  waiting_t *w = FIFO_TAKE(&p->queue, waiting_t, next);
  p->queued--;
  p->queued_bytes -= msg_length(w->m);
  if (w->fd >= 0)
    close(w->fd);
  free(w->m);
  free(w);
}

static void on_event(uv_poll_t *poll, int status, int events);

static void watch(peer_t *p)
{
  uv_poll_start(&p->poll, UV_READABLE | (fifo_empty(&p->queue) ? 0 : UV_WRITABLE), on_event);
}

static void set_gone(peer_t *p, int err)
{
  if (p->gone || p->closing)
    return;
  p->gone = true;
  uv_poll_stop(&p->poll);
  p->handlers.on_gone(p->handlers.ctx, err);
}

static int flush(peer_t *p)
{
  for (const waiting_t *w; (w = first_waiting(p)) != NULL;) {
    int err = msg_send(p->sock, w->m, w->fd);
    if (err == SMPL_EAGAIN)
      return SMPL_OK;
    if (err)
      return err;
    drop_first(p);
  }
  return SMPL_OK;
}

static int receive(peer_t *p, int batch)
{
  for (int i = 0; i < batch && !p->closing && !p->gone; i++) {
    int fd;
    int err = msg_receive(p->sock, &p->m, p->from, &fd);
    if (err == SMPL_EAGAIN)
      return SMPL_OK;
    if (err)
      return err;
    if (fd >= 0) { /* nobody sends us descriptors */
      close(fd);
      return SMPL_EPROTO;
    }
    p->handlers.on_message(p->handlers.ctx, &p->m);
  }
  return SMPL_OK;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
  peer_t *p = poll->data;
  int err = SMPL_OK;
  if (status < 0) { /* nothing more comes than what is here, and no other event */
    err = receive(p, INT_MAX);
    set_gone(p, err ? err : SMPL_ECLOSED);
    return;
  }
  if ((events & UV_WRITABLE) != 0) {
    err = flush(p);
    if (err == SMPL_ECLOSED) /* its last words may still be here */
      err = SMPL_OK;
    if (!err)
      watch(p);
  }
  if (!err)
    err = receive(p, PEER_BATCH);
  if (err)
    set_gone(p, err);
}

int peer_new(uv_loop_t *loop, int sock, msg_from_t from, const peer_handlers_t *handlers, peer_t **out)
{
  *out = NULL;
  peer_t *p = calloc(1, sizeof *p);
  if (p == NULL || uv_poll_init(loop, &p->poll, sock) != 0) {
    free(p);
    close(sock);
    return SMPL_ENOMEM;
  }
  p->poll.data = p;
  p->sock = sock;
  p->from = from;
  p->handlers = *handlers;
  fifo_init(&p->queue);
  watch(p);
  *out = p;
  return SMPL_OK;
}

static int enqueue(peer_t *p, const msg_t *m, int fd)
{
  size_t len = msg_length(m);
  if (p->queued == PEER_QUEUE_MAX || len > PEER_QUEUE_BYTES_MAX - p->queued_bytes)
    return SMPL_ELIMIT;
  waiting_t *w = calloc(1, sizeof *w);
  msg_t *copy = w != NULL ? malloc(len) : NULL;
  int dup_fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
  if (copy == NULL || (fd >= 0 && dup_fd < 0)) {
    free(copy);
    free(w);
    if (dup_fd >= 0)
      close(dup_fd);
    return SMPL_ENOMEM;
  }
  memcpy(copy, m, len);
  *w = (waiting_t){.m = copy, .fd = dup_fd};
  fifo_add(&p->queue, &w->next);
  p->queued++;
  p->queued_bytes += len;
  return SMPL_OK;
}

int peer_send(peer_t *p, const msg_t *m, int fd)
{
  if (p->gone || p->closing)
    return SMPL_ECLOSED;
  int err = fifo_empty(&p->queue) ? msg_send(p->sock, m, fd) : SMPL_EAGAIN;
  if (err != SMPL_EAGAIN)
    return err;
  err = enqueue(p, m, fd);
  if (!err)
    watch(p);
  return err;
}

static void on_closed(uv_handle_t *handle)
{
  peer_t *p = handle->data;
  free(p);
}

void peer_close(peer_t *p)
{
  if (p == NULL || p->closing)
    return;
  p->closing = true;
  uv_poll_stop(&p->poll);
  close(p->sock);
  while (!fifo_empty(&p->queue))
    drop_first(p);
  uv_close((uv_handle_t *)&p->poll, on_closed);
}
