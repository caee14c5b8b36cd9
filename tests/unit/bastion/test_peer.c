/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer keeps for the other side that does not read: so many messages, so many bytes, and all of them
 * in order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bastion/spawn/peer.h"
#include "common/base/error.h"

static void on_message(void *ctx, const msg_t *m)
{
  (void)ctx;
  (void)m;
}

static void on_gone(void *ctx, int err)
{
  (void)ctx;
  (void)err;
}

/* Sends m until no more is taken; *queued is how many were kept here, past what the kernel took. */
static void fill(msg_t *m, size_t *queued)
{
  static const peer_handlers_t handlers = {on_message, on_gone, NULL};
  uv_loop_t loop;
  int pair[2], fd, err;
  peer_t *p;
  size_t sent = 0, received = 0;
  msg_t got;
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
  assert_int_equal(peer_new(&loop, pair[0], MSG_FROM_WORKER, &handlers, &p), SMPL_OK);
  while ((err = peer_send(p, m, -1)) == SMPL_OK)
    m->h.request = (uint32_t)++sent;
  assert_int_equal(err, SMPL_ELIMIT);
  while (msg_receive(pair[1], &got, MSG_FROM_BROKER_TO_WORKER, &fd) == SMPL_OK)
    assert_int_equal(got.h.request, received++);
  *queued = sent - received;
  for (int i = 0; i < 10000 && received < sent; i++) { /* once it is read, the rest follows */
    uv_run(&loop, UV_RUN_NOWAIT);
    while (msg_receive(pair[1], &got, MSG_FROM_BROKER_TO_WORKER, &fd) == SMPL_OK)
      assert_int_equal(got.h.request, received++);
  }
  assert_int_equal(received, sent);
  assert_int_equal(peer_send(p, m, -1), SMPL_OK);
  peer_close(p);
  close(pair[1]);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
}

static void short_messages_are_bounded_by_their_number(void **state)
{
  (void)state;
  msg_t m;
  size_t queued;
  msg_init(&m, MSG_REFUSED, 0, 1);
  fill(&m, &queued);
  assert_int_equal(queued, PEER_QUEUE_MAX);
}

static void long_messages_are_bounded_by_their_bytes(void **state)
{
  (void)state;
  msg_t m;
  size_t queued;
  msg_init(&m, MSG_CONTROL_REPLY, 0, 1);
  m.json.len = MSG_JSON_MAX - 1;
  memset(m.json.json, ' ', m.json.len);
  m.json.json[m.json.len] = '\0';
  fill(&m, &queued);
  assert_int_equal(queued, PEER_QUEUE_BYTES_MAX / msg_length(&m));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(short_messages_are_bounded_by_their_number),
      cmocka_unit_test(long_messages_are_bounded_by_their_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
