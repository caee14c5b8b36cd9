/* SPDX-License-Identifier: Apache-2.0 */
/* common/process/packet.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/process/packet.h"

static int ends[2];

static int open_pair(void **state)
{
  (void)state;
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
}

static int close_pair(void **state)
{
  (void)state;
  for (int i = 0; i < 2; i++)
    if (ends[i] >= 0)
      close(ends[i]);
  return 0;
}

static int receive(char *text, size_t cap, size_t *len, int *fd, bool *lost)
{
  return packet_receive(ends[1], text, cap, len, fd, lost);
}

static void test_a_packet_comes_with_its_descriptor_or_without(void **state)
{
  (void)state;
  char text[8];
  size_t len;
  int fd;
  bool lost;
  assert_int_equal(packet_send(ends[0], "one", 3, -1), SMPL_OK);
  assert_int_equal(packet_send(ends[0], "second!!", 8, 0), SMPL_OK);
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_OK);
  assert_int_equal(len, 3);
  assert_int_equal(fd, -1);
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_OK);
  assert_int_equal(len, 8);
  assert_memory_equal(text, "second!!", 8);
  assert_true(fd > 2 && !lost);
  close(fd);
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_EAGAIN);
}

static void test_what_a_peer_said_before_it_went_is_read_whatever_it_left_unread(void **state)
{
  (void)state;
  char text[8];
  size_t len;
  int fd;
  bool lost;
  assert_int_equal(packet_send(ends[1], "unread", 6, -1), SMPL_OK);
  assert_int_equal(packet_send(ends[0], "bye", 3, -1), SMPL_OK);
  close(ends[0]);
  ends[0] = -1;
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_OK);
  assert_int_equal(len, 3);
  assert_memory_equal(text, "bye", 3);
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_ECLOSED);
}

static void test_a_packet_that_is_longer_is_refused_with_its_descriptor(void **state)
{
  (void)state;
  char text[8];
  size_t len;
  int fd, before = dup(0);
  bool lost;
  close(before);
  assert_int_equal(packet_send(ends[0], "nine byte", 9, 0), SMPL_OK);
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_EPROTO);
  assert_int_equal(fd, -1);
  int after = dup(0);
  assert_int_equal(after, before);
  close(after);
}

static void send_descriptors(size_t count)
{
  int fds[16] = {0};
  char control[CMSG_SPACE(sizeof fds)] = {0};
  struct iovec iov = {(void *)"x", 1};
  struct msghdr hdr = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
  struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int) * count);
  memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
  assert_int_equal(sendmsg(ends[0], &hdr, 0), 1);
}

static void test_more_descriptors_than_one_are_all_closed(void **state)
{
  (void)state;
  static const size_t counts[] = {2, 8, 9, 16};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    char text[8];
    size_t len;
    int fd, before = dup(0);
    bool lost;
    close(before);
    send_descriptors(counts[i]);
    assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_EPROTO);
    int after = dup(0);
    assert_int_equal(after, before);
    close(after);
  }
}

static void test_a_descriptor_without_room_is_told(void **state)
{
  (void)state;
  struct rlimit was, none;
  char text[8];
  size_t len;
  int fd;
  bool lost;
  assert_int_equal(packet_send(ends[0], "x", 1, 0), SMPL_OK);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
  none = (struct rlimit){0, was.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  int err = receive(text, sizeof text, &len, &fd, &lost);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
  assert_int_equal(err, SMPL_OK);
  assert_true(lost);
  assert_int_equal(fd, -1);
}

static void test_a_full_queue_and_an_end_are_told_apart(void **state)
{
  (void)state;
  static const char block[1024];
  char text[2048];
  size_t len = 1;
  int fd, err;
  bool lost;
  do
    err = packet_send(ends[0], block, sizeof block, -1);
  while (err == SMPL_OK);
  assert_int_equal(err, SMPL_EAGAIN);
  while ((err = receive(text, sizeof text, &len, &fd, &lost)) == SMPL_OK)
    assert_int_equal(len, sizeof block);
  assert_int_equal(err, SMPL_EAGAIN);
  assert_int_equal(packet_send(ends[0], "", 0, -1), SMPL_OK);
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_OK);
  assert_int_equal(len, 0);
  close(ends[0]);
  ends[0] = -1;
  assert_int_equal(receive(text, sizeof text, &len, &fd, &lost), SMPL_ECLOSED);
  assert_int_equal(packet_send(ends[1], "x", 1, -1), SMPL_ECLOSED);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_packet_comes_with_its_descriptor_or_without, open_pair,
                                      close_pair),
      cmocka_unit_test_setup_teardown(test_what_a_peer_said_before_it_went_is_read_whatever_it_left_unread,
                                      open_pair, close_pair),
      cmocka_unit_test_setup_teardown(test_a_packet_that_is_longer_is_refused_with_its_descriptor, open_pair,
                                      close_pair),
      cmocka_unit_test_setup_teardown(test_more_descriptors_than_one_are_all_closed, open_pair, close_pair),
      cmocka_unit_test_setup_teardown(test_a_descriptor_without_room_is_told, open_pair, close_pair),
      cmocka_unit_test_setup_teardown(test_a_full_queue_and_an_end_are_told_apart, open_pair, close_pair),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
