/* SPDX-License-Identifier: Apache-2.0 */
/* The contract between broker, template and workers: what msg_check lets through, and descriptors on their
 * way. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bastion/contract/msg.h"
#include "common/base/error.h"

static const struct {
  msg_type_t type;
  msg_from_t from;
} all_types[] = {
    {MSG_HOST_KEY, MSG_FROM_BROKER_TO_TEMPLATE},
    {MSG_SPAWN, MSG_FROM_BROKER_TO_TEMPLATE},
    {MSG_SPAWN_PAIR, MSG_FROM_BROKER_TO_TEMPLATE},
    {MSG_KILL, MSG_FROM_BROKER_TO_TEMPLATE},
    {MSG_TEMPLATE_READY, MSG_FROM_TEMPLATE},
    {MSG_SPAWNED, MSG_FROM_TEMPLATE},
    {MSG_EXITED, MSG_FROM_TEMPLATE},
    {MSG_HELLO, MSG_FROM_WORKER},
    {MSG_SIGN, MSG_FROM_WORKER},
    {MSG_VERIFY, MSG_FROM_WORKER},
    {MSG_PROBE, MSG_FROM_WORKER},
    {MSG_LOGIN, MSG_FROM_WORKER},
    {MSG_OPEN, MSG_FROM_WORKER},
    {MSG_CHANNEL_END, MSG_FROM_WORKER},
    {MSG_TRAFFIC, MSG_FROM_WORKER},
    {MSG_CONTROL, MSG_FROM_WORKER},
    {MSG_NOTE, MSG_FROM_WORKER},
    {MSG_BYE, MSG_FROM_WORKER},
    {MSG_CRASHED, MSG_FROM_WORKER},
    {MSG_START, MSG_FROM_BROKER_TO_WORKER},
    {MSG_SIGNED, MSG_FROM_BROKER_TO_WORKER},
    {MSG_VERIFIED, MSG_FROM_BROKER_TO_WORKER},
    {MSG_PROBED, MSG_FROM_BROKER_TO_WORKER},
    {MSG_WELCOME, MSG_FROM_BROKER_TO_WORKER},
    {MSG_OPENED, MSG_FROM_BROKER_TO_WORKER},
    {MSG_REFUSED, MSG_FROM_BROKER_TO_WORKER},
    {MSG_CONTROL_REPLY, MSG_FROM_BROKER_TO_WORKER},
    {MSG_EVENT, MSG_FROM_BROKER_TO_WORKER},
    {MSG_END, MSG_FROM_BROKER_TO_WORKER},
    {MSG_SAY, MSG_FROM_BROKER_TO_WORKER},
};
enum { TYPES = sizeof all_types / sizeof *all_types };

static void make(msg_t *m, msg_type_t type)
{
  memset(m, 0xff, sizeof *m);
  msg_init(m, type, 7, 9);
  if (type == MSG_HOST_KEY)
    m->host_key.base64[0] = 'A';
  if (type == MSG_START)
    m->start.id[0] = 's';
}

static void accepts_each_type_in_its_direction_only(void **state)
{
  (void)state;
  static msg_t m;
  for (size_t i = 0; i < TYPES; i++) {
    make(&m, all_types[i].type);
    size_t len = msg_length(&m);
    for (msg_from_t from = MSG_FROM_BROKER_TO_TEMPLATE; from <= MSG_FROM_BROKER_TO_WORKER; from++)
      assert_int_equal(msg_check(&m, len, from), from == all_types[i].from ? SMPL_OK : SMPL_EPROTO);
  }
}

static void accepts_no_other_length(void **state)
{
  (void)state;
  static msg_t m;
  for (size_t i = 0; i < TYPES; i++) {
    make(&m, all_types[i].type);
    size_t right = msg_length(&m);
    for (size_t len = 0; len <= sizeof m + 1; len++)
      if (len != right)
        assert_int_equal(msg_check(&m, len, all_types[i].from), SMPL_EPROTO);
  }
}

static void refuses_unknown_types_and_versions(void **state)
{
  (void)state;
  static msg_t m;
  for (unsigned type = 0; type <= 200; type++) {
    bool known = false;
    for (size_t i = 0; i < TYPES; i++)
      known = known || all_types[i].type == type;
    memset(&m, 0, sizeof m);
    m.h = (msg_header_t){MSG_VERSION, (uint16_t)type, 0, 0};
    assert_int_equal(msg_length(&m) != 0, known);
  }
  m.h.type = 65535;
  assert_int_equal(msg_length(&m), 0);
  make(&m, MSG_NOTE);
  m.h.version = MSG_VERSION + 1;
  assert_int_equal(msg_check(&m, msg_length(&m), MSG_FROM_WORKER), SMPL_EPROTO);
}

static void check_text(msg_type_t type, size_t offset, size_t cap, msg_from_t from)
{
  static msg_t m;
  make(&m, type);
  char *text = (char *)&m + offset;
  memset(text, 'x', cap - 1);
  text[cap - 1] = '\0';
  assert_int_equal(msg_check(&m, msg_length(&m), from), SMPL_OK);
  text[cap - 1] = 'x';
  assert_int_equal(msg_check(&m, msg_length(&m), from), SMPL_EPROTO);
}

static void refuses_text_without_end(void **state)
{
  (void)state;
  check_text(MSG_HOST_KEY, offsetof(msg_host_key_t, base64), MSG_HOST_KEY_MAX, MSG_FROM_BROKER_TO_TEMPLATE);
  check_text(MSG_LOGIN, offsetof(msg_login_t, user), MSG_USER_MAX, MSG_FROM_WORKER);
  check_text(MSG_PROBE, offsetof(msg_login_t, client_version), MSG_VERSION_MAX, MSG_FROM_WORKER);
  check_text(MSG_OPEN, offsetof(msg_open_t, host), MSG_HOST_MAX, MSG_FROM_WORKER);
  check_text(MSG_OPEN, offsetof(msg_open_t, originator), MSG_HOST_MAX, MSG_FROM_WORKER);
  check_text(MSG_NOTE, offsetof(msg_text_t, text), MSG_TEXT_MAX, MSG_FROM_WORKER);
  check_text(MSG_BYE, offsetof(msg_text_t, text), MSG_TEXT_MAX, MSG_FROM_WORKER);
  check_text(MSG_CRASHED, offsetof(msg_text_t, text), MSG_TEXT_MAX, MSG_FROM_WORKER);
  check_text(MSG_SAY, offsetof(msg_text_t, text), MSG_TEXT_MAX, MSG_FROM_BROKER_TO_WORKER);
  check_text(MSG_END, offsetof(msg_text_t, text), MSG_TEXT_MAX, MSG_FROM_BROKER_TO_WORKER);
  check_text(MSG_START, offsetof(msg_start_t, id), MSG_SESSION_ID_MAX, MSG_FROM_BROKER_TO_WORKER);
  check_text(MSG_WELCOME, offsetof(msg_welcome_t, banner), MSG_TEXT_MAX, MSG_FROM_BROKER_TO_WORKER);
}

static void check_number(msg_type_t type, size_t offset, uint32_t max, msg_from_t from)
{
  static msg_t m;
  make(&m, type);
  memcpy((char *)&m + offset, &max, sizeof max);
  assert_int_equal(msg_check(&m, msg_length(&m), from), SMPL_OK);
  max++;
  memcpy((char *)&m + offset, &max, sizeof max);
  assert_int_equal(msg_check(&m, msg_length(&m), from), SMPL_EPROTO);
}

static void refuses_numbers_above_their_limits(void **state)
{
  (void)state;
  const msg_from_t w = MSG_FROM_WORKER, b = MSG_FROM_BROKER_TO_WORKER;
  check_number(MSG_SIGN, offsetof(msg_sign_t, key), MSG_HOST_KEYS_MAX - 1, w);
  check_number(MSG_SIGN, offsetof(msg_sign_t, len), 128, w);
  check_number(MSG_START, offsetof(msg_start_t, algorithms), MSG_ALGORITHMS_COUNT - 1, b);
  check_number(MSG_SIGN, offsetof(msg_sign_t, digest), 0, w);
  check_number(MSG_SIGN, offsetof(msg_sign_t, digest), 256, w);
  check_number(MSG_SIGN, offsetof(msg_sign_t, digest), 512, w);
  check_number(MSG_VERIFY, offsetof(msg_verify_t, signature_len), MSG_SIGNATURE_MAX, w);
  check_number(MSG_VERIFY, offsetof(msg_verify_t, data_len), MSG_SIGNED_MAX, w);
  check_number(MSG_LOGIN, offsetof(msg_login_t, key_len), MSG_KEY_MAX, w);
  check_number(MSG_OPEN, offsetof(msg_open_t, port), 65535, w);
  check_number(MSG_OPEN, offsetof(msg_open_t, originator_port), 65535, w);
  check_number(MSG_OPEN, offsetof(msg_open_t, turned_away), REASON_COUNT - 1, w);
  check_number(MSG_CHANNEL_END, offsetof(msg_traffic_t, reason), REASON_COUNT - 1, w);
  check_number(MSG_BYE, offsetof(msg_text_t, reason), REASON_COUNT - 1, w);
  check_number(MSG_HELLO, offsetof(msg_walls_t, walls), 255, w);
  check_number(MSG_TEMPLATE_READY, offsetof(msg_walls_t, walls), 255, MSG_FROM_TEMPLATE);
  check_number(MSG_SIGNED, offsetof(msg_signed_t, len), MSG_SIGNATURE_MAX, b);
  check_number(MSG_VERIFIED, offsetof(msg_verified_t, ok), 1, b);
  check_number(MSG_PROBED, offsetof(msg_probed_t, ok), 1, b);
  check_number(MSG_REFUSED, offsetof(msg_refused_t, reason), REASON_COUNT - 1, b);
}

static void json_is_exactly_as_long_as_it_says(void **state)
{
  (void)state;
  static msg_t m;
  make(&m, MSG_CONTROL);
  m.json.len = MSG_JSON_MAX - 1;
  memset(m.json.json, ' ', MSG_JSON_MAX - 1);
  m.json.json[MSG_JSON_MAX - 1] = '\0';
  assert_int_equal(msg_length(&m),
                   sizeof(msg_json_t) - (sizeof(msg_json_t) - offsetof(msg_json_t, json) - MSG_JSON_MAX));
  assert_int_equal(msg_check(&m, msg_length(&m), MSG_FROM_WORKER), SMPL_OK);
  m.json.json[100] = '\0'; /* a NUL inside */
  assert_int_equal(msg_check(&m, msg_length(&m), MSG_FROM_WORKER), SMPL_EPROTO);
  m.json.json[100] = ' ';
  m.json.json[MSG_JSON_MAX - 1] = ' '; /* none after */
  assert_int_equal(msg_check(&m, msg_length(&m), MSG_FROM_WORKER), SMPL_EPROTO);
  m.json.len = MSG_JSON_MAX; /* longer than its buffer */
  assert_int_equal(msg_length(&m), 0);
  m.json.len = UINT32_MAX;
  assert_int_equal(msg_length(&m), 0);
  assert_int_equal(msg_check(&m, sizeof(msg_json_t), MSG_FROM_WORKER), SMPL_EPROTO);
}

static void open_pair(int *pair)
{
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
}

static void close_pair(const int *pair)
{
  close(pair[0]);
  close(pair[1]);
}

static void tells_an_empty_packet_from_the_end(void **state)
{
  (void)state;
  static msg_t got;
  int pair[2], fd;
  open_pair(pair);
  assert_int_equal(send(pair[0], "", 0, 0), 0);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_EPROTO);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_EAGAIN);
  close(pair[0]);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_ECLOSED);
  close(pair[1]);
}

static void carries_a_message_and_its_descriptor(void **state)
{
  (void)state;
  static msg_t m, got;
  int pair[2], fd;
  open_pair(pair);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_EAGAIN);
  make(&m, MSG_NOTE);
  assert_int_equal(msg_send(pair[0], &m, -1), SMPL_OK);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_OK);
  assert_int_equal(fd, -1);
  assert_memory_equal(&m, &got, sizeof(msg_text_t));
  make(&m, MSG_OPENED);
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  assert_int_equal(msg_send(pair[0], &m, null), SMPL_OK);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_BROKER_TO_WORKER, &fd), SMPL_OK);
  assert_true(fd >= 0);
  assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
  close(fd);
  close(null);
  close(pair[0]);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_ECLOSED);
  assert_int_equal(msg_send(pair[1], &m, -1), SMPL_ECLOSED);
  close(pair[1]);
}

static void says_when_the_queue_is_full(void **state)
{
  (void)state;
  static msg_t m;
  int pair[2], err = SMPL_OK;
  open_pair(pair);
  make(&m, MSG_NOTE);
  for (int i = 0; i < 100000 && !err; i++)
    err = msg_send(pair[0], &m, -1);
  assert_int_equal(err, SMPL_EAGAIN);
  close_pair(pair);
}

static int lowest_free_fd(void)
{
  int fd = dup(0);
  close(fd);
  return fd;
}

static void send_fds(int sock, const msg_t *m, size_t len, int count)
{
  struct iovec iov = {(void *)(uintptr_t)m, len};
  union {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int) * 16)];
  } control;
  memset(&control, 0, sizeof control);
  struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
  if (count > 0) {
    hdr.msg_control = control.buf;
    hdr.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    for (int i = 0; i < count; i++)
      memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &(int){0}, sizeof(int));
  }
  assert_true(sendmsg(sock, &hdr, 0) >= 0);
}

static void closes_descriptors_that_do_not_belong(void **state)
{
  (void)state;
  static msg_t m, got;
  int pair[2], fd;
  open_pair(pair);
  int free_before = lowest_free_fd();
  make(&m, MSG_NOTE);
  send_fds(pair[0], &m, msg_length(&m), 1); /* a type that carries none */
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_EPROTO);
  assert_int_equal(fd, -1);
  make(&m, MSG_OPENED);
  static const int counts[] = {0, 2, 8, 9, 16}; /* none, too many, more than the buffer holds */
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    send_fds(pair[0], &m, msg_length(&m), counts[i]);
    assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_BROKER_TO_WORKER, &fd), SMPL_EPROTO);
    assert_int_equal(fd, -1);
  }
  m.h.version++; /* malformed, with a descriptor */
  send_fds(pair[0], &m, sizeof m.opened, 1);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_BROKER_TO_WORKER, &fd), SMPL_EPROTO);
  assert_int_equal(lowest_free_fd(), free_before);
  close_pair(pair);
}

static void refuses_packets_longer_than_any_message(void **state)
{
  (void)state;
  static msg_t got;
  static char big[sizeof(msg_t) + 1];
  int pair[2], fd;
  open_pair(pair);
  memset(big, 0, sizeof big);
  assert_int_equal(send(pair[0], big, sizeof big, 0), (int)sizeof big);
  assert_int_equal(msg_receive(pair[1], &got, MSG_FROM_WORKER, &fd), SMPL_EPROTO);
  close_pair(pair);
}

static void tells_a_descriptor_lost_to_the_limit_from_none(void **state)
{
  (void)state;
  static msg_t m, got;
  int pair[2], fd;
  open_pair(pair);
  make(&m, MSG_OPENED);
  assert_int_equal(msg_send(pair[0], &m, 0), SMPL_OK);
  struct rlimit old, tight;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  tight = old;
  tight.rlim_cur = (rlim_t)lowest_free_fd();
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
  int err = msg_receive(pair[1], &got, MSG_FROM_BROKER_TO_WORKER, &fd);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
  assert_int_equal(err, SMPL_OK);
  assert_int_equal(fd, -1);
  close_pair(pair);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accepts_each_type_in_its_direction_only),
      cmocka_unit_test(accepts_no_other_length),
      cmocka_unit_test(refuses_unknown_types_and_versions),
      cmocka_unit_test(refuses_text_without_end),
      cmocka_unit_test(refuses_numbers_above_their_limits),
      cmocka_unit_test(json_is_exactly_as_long_as_it_says),
      cmocka_unit_test(tells_an_empty_packet_from_the_end),
      cmocka_unit_test(carries_a_message_and_its_descriptor),
      cmocka_unit_test(says_when_the_queue_is_full),
      cmocka_unit_test(closes_descriptors_that_do_not_belong),
      cmocka_unit_test(refuses_packets_longer_than_any_message),
      cmocka_unit_test(tells_a_descriptor_lost_to_the_limit_from_none),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
