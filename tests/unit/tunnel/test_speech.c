/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/contract/speech.c: form and order of what supervisor and speaker say to each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/process/packet.h"
#include "tunnel/contract/speech.h"

#define TYPES ((speech_type_t)64)

static speech_t m;

static bool exists(speech_type_t type)
{
  m.h.type = (uint16_t)type;
  m.bytes.len = 0;
  return speech_length(&m) > 0;
}

static speech_from_t from_of(speech_type_t type)
{
  return type >= SPEECH_HELLO ? SPEECH_FROM_SPEAKER : SPEECH_FROM_SUPERVISOR;
}

/* A message of this type that is well-formed. */
static void make(speech_type_t type)
{
  speech_init(&m, type, 1);
  if (type == SPEECH_EXCHANGED)
    m.exchanged.key_len = 1;
}

static int check(void)
{
  return speech_check(&m, speech_length(&m), from_of((speech_type_t)m.h.type));
}

static void test_every_message_is_taken_in_its_direction_and_length_alone(void **state)
{
  (void)state;
  for (speech_type_t type = 0; type < TYPES; type++) {
    if (!exists(type))
      continue;
    make(type);
    size_t len = speech_length(&m);
    assert_int_equal(check(), SMPL_OK);
    assert_int_equal(speech_check(&m, len - 1, from_of(type)), SMPL_EPROTO);
    assert_int_equal(speech_check(&m, len + 1, from_of(type)), SMPL_EPROTO);
    assert_int_equal(speech_check(&m, len,
                                  from_of(type) == SPEECH_FROM_SPEAKER ? SPEECH_FROM_SUPERVISOR
                                                                       : SPEECH_FROM_SPEAKER),
                     SMPL_EPROTO);
    m.h.version++;
    assert_int_equal(speech_check(&m, len, from_of(type)), SMPL_EPROTO);
  }
}

static void test_types_that_do_not_exist_are_refused(void **state)
{
  (void)state;
  size_t known = 0;
  for (unsigned type = 0; type <= UINT16_MAX; type++) {
    if (exists((speech_type_t)type)) {
      known++;
      continue;
    }
    m.h = (speech_header_t){SPEECH_VERSION, (uint16_t)type, 0};
    assert_int_equal(speech_check(&m, sizeof m.h, SPEECH_FROM_SPEAKER), SMPL_EPROTO);
    assert_int_equal(speech_check(&m, sizeof m.h, SPEECH_FROM_SUPERVISOR), SMPL_EPROTO);
  }
  assert_int_equal(known, 26);
}

static void test_bytes_have_a_limit_and_texts_an_end(void **state)
{
  (void)state;
  static const uint8_t bytes[SPEECH_BYTES_MAX + 1] = {1};
  static const struct {
    speech_type_t type;
    size_t most;
  } limits[] = {{SPEECH_PROBE, SPEECH_BYTES_MAX},       {SPEECH_OFFER, HOLLOW_TEXT_MAX - 1},
                {SPEECH_CERTIFICATE, SPEECH_BYTES_MAX}, {SPEECH_SIGNED, SPEECH_SIGNATURE_MAX},
                {SPEECH_SIGN, SPEECH_BYTES_MAX},        {SPEECH_LINE, SPEECH_BYTES_MAX},
                {SPEECH_ASK, SPEECH_BYTES_MAX}};
  for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
    assert_int_equal(speech_init_bytes(&m, limits[i].type, bytes, limits[i].most), SMPL_OK);
    assert_int_equal(speech_length(&m), offsetof(speech_bytes_t, bytes) + limits[i].most);
    assert_int_equal(speech_init_bytes(&m, limits[i].type, bytes, limits[i].most + 1), SMPL_ELIMIT);
    m.bytes.len = (uint32_t)limits[i].most + 1;
    assert_int_equal(speech_check(&m, offsetof(speech_bytes_t, bytes) + m.bytes.len, from_of(limits[i].type)),
                     SMPL_EPROTO);
  }
  assert_int_equal(speech_init_bytes(&m, SPEECH_LINE, "a\0b", 3), SMPL_OK);
  assert_int_equal(check(), SMPL_EPROTO);
}

#define FILL(type, field)                                                                                    \
  make(type);                                                                                                \
  memset(field, 'x', sizeof(field));                                                                         \
  assert_int_equal(check(), SMPL_EPROTO)

static void test_texts_without_an_end_are_refused(void **state)
{
  (void)state;
  FILL(SPEECH_START, m.start.host);
  FILL(SPEECH_START, m.start.user);
  FILL(SPEECH_START, m.start.lists[SPEECH_LISTS - 1]);
  FILL(SPEECH_EXCHANGED, m.exchanged.error);
  FILL(SPEECH_EXCHANGED, m.exchanged.preface);
  FILL(SPEECH_EXCHANGED, m.exchanged.kex);
  FILL(SPEECH_EXCHANGED, m.exchanged.cipher);
  FILL(SPEECH_DONE, m.done.error);
  FILL(SPEECH_DONE, m.done.banner);
  FILL(SPEECH_OPEN, m.open.host);
  FILL(SPEECH_OPEN, m.open.originator);
  FILL(SPEECH_REFUSED, m.text.text);
  FILL(SPEECH_OVER, m.text.text);
  FILL(SPEECH_CRASHED, m.text.text);
}

#define SET(type, field, value)                                                                              \
  make(type);                                                                                                \
  field = value;                                                                                             \
  assert_int_equal(check(), SMPL_EPROTO)

static void test_numbers_beyond_their_bounds_are_refused(void **state)
{
  (void)state;
  SET(SPEECH_EXCHANGED, m.exchanged.result, SPEECH_RESULTS);
  SET(SPEECH_EXCHANGED, m.exchanged.key_len, HOLLOW_BLOB_MAX + 1);
  SET(SPEECH_EXCHANGED, m.exchanged.key_len, 0);
  SET(SPEECH_EXCHANGED, m.exchanged.signature_len, SPEECH_SIGNATURE_MAX + 1);
  SET(SPEECH_DONE, m.done.result, SPEECH_RESULT_FAILED + 1);
  SET(SPEECH_DONE, m.done.connected, 2);
  SET(SPEECH_OVER, m.text.value, SPEECH_OVERS);
  SET(SPEECH_REFUSED, m.text.value, 2);
  SET(SPEECH_REFUSED, m.h.number, 0);
  SET(SPEECH_OPENED, m.h.number, 0);
  SET(SPEECH_CLOSED, m.h.number, 0);
  SET(SPEECH_CONTROL, m.value.value, 2);
  SET(SPEECH_HELLO, m.value.value, SPEECH_WALLS);
  SET(SPEECH_OPEN, m.open.port, UINT16_MAX + 1);
  SET(SPEECH_OPEN, m.open.greeting_len, SPEECH_GREETING_MAX + 1);
}

static void test_what_may_come_when(void **state)
{
  (void)state;
  static const struct {
    speech_state_t state;
    speech_type_t first, last; /* beside SPEECH_CRASHED, which may come always */
  } may[SPEECH_STATES] = {
      {SPEECH_STATE_BORN, SPEECH_HELLO, SPEECH_HELLO},
      {SPEECH_STATE_QUIET, 1, 0},
      {SPEECH_STATE_STARTING, SPEECH_EXCHANGED, SPEECH_EXCHANGED},
      {SPEECH_STATE_ASKED, SPEECH_DONE, SPEECH_DONE},
      {SPEECH_STATE_OFFERING, SPEECH_DONE, SPEECH_SIGN},
      {SPEECH_STATE_SERVING, SPEECH_OPENED, SPEECH_OVER},
      {SPEECH_STATE_OVER, 1, 0},
  };
  for (size_t i = 0; i < SPEECH_STATES; i++) {
    for (speech_type_t type = 0; type < TYPES; type++)
      assert_int_equal(speech_may(may[i].state, type),
                       type == SPEECH_CRASHED || (type >= may[i].first && type <= may[i].last));
  }
  assert_false(speech_may(SPEECH_STATES, SPEECH_CRASHED));
}

/* What comes of sending m with a descriptor or without. */
static int pass(bool with_fd)
{
  int ends[2], fd;
  speech_t heard;
  assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
  assert_int_equal(speech_send(ends[0], &m, with_fd ? ends[1] : -1), SMPL_OK);
  int err = speech_receive(ends[1], &heard, from_of((speech_type_t)m.h.type), &fd);
  if (err)
    assert_int_equal(fd, -1);
  else if (fd >= 0)
    close(fd);
  close(ends[0]);
  close(ends[1]);
  return err;
}

static void test_descriptors_come_with_what_carries_them_alone(void **state)
{
  (void)state;
  for (speech_type_t type = 0; type < TYPES; type++) {
    if (!exists(type))
      continue;
    bool must = type == SPEECH_START || type == SPEECH_AGENT;
    make(type);
    assert_int_equal(pass(true), must || type == SPEECH_OPEN ? SMPL_OK : SMPL_EPROTO);
    make(type);
    assert_int_equal(pass(false), must ? SMPL_EPROTO : SMPL_OK);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_message_is_taken_in_its_direction_and_length_alone),
      cmocka_unit_test(test_types_that_do_not_exist_are_refused),
      cmocka_unit_test(test_bytes_have_a_limit_and_texts_an_end),
      cmocka_unit_test(test_texts_without_an_end_are_refused),
      cmocka_unit_test(test_numbers_beyond_their_bounds_are_refused),
      cmocka_unit_test(test_what_may_come_when),
      cmocka_unit_test(test_descriptors_come_with_what_carries_them_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
