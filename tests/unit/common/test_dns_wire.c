/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/dns/dns_wire.h"
#include "common/base/error.h"

/* The message in memory of its exact size, so that a sanitizer sees a read past the end. */
static uint8_t *exact(const void *data, size_t len)
{
  uint8_t *p = malloc(len > 0 ? len : 1);
  assert_non_null(p);
  memcpy(p, data, len);
  return p;
}

static int read_name(const void *msg, size_t len, size_t at, dns_name_t *name, size_t *after)
{
  uint8_t *copy = exact(msg, len);
  dns_wire_t w = dns_wire_of(copy, len);
  w.at = at;
  int err = dns_wire_name(&w, name);
  *after = w.at;
  free(copy);
  return err;
}

static void integers_move_the_cursor_and_stop_at_the_end(void **state)
{
  (void)state;
  const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8};
  dns_wire_t w = dns_wire_of(data, sizeof data);
  uint8_t u8;
  uint16_t u16;
  uint32_t u32;
  assert_int_equal(dns_wire_u8(&w, &u8), 0);
  assert_int_equal(u8, 1);
  assert_int_equal(dns_wire_u16(&w, &u16), 0);
  assert_int_equal(u16, 0x0203);
  assert_int_equal(dns_wire_u32(&w, &u32), 0);
  assert_int_equal(u32, 0x04050607);
  assert_int_equal(dns_wire_left(&w), 1);
  assert_int_equal(dns_wire_u16(&w, &u16), SMPL_ETRUNC);
  assert_int_equal(dns_wire_u32(&w, &u32), SMPL_ETRUNC);
  assert_int_equal(dns_wire_skip(&w, 2), SMPL_ETRUNC);
  assert_int_equal(dns_wire_skip(&w, SIZE_MAX), SMPL_ETRUNC);
  assert_int_equal(w.at, 7);
  assert_int_equal(dns_wire_skip(&w, 1), 0);
  assert_int_equal(dns_wire_u8(&w, &u8), SMPL_ETRUNC);
}

static void name_keeps_case_and_leaves_cursor_behind(void **state)
{
  (void)state;
  dns_name_t n;
  size_t after;
  assert_int_equal(read_name("\3wWw\2Ex\0zz", 10, 0, &n, &after), 0);
  assert_int_equal(n.len, 8);
  assert_memory_equal(n.wire, "\3wWw\2Ex\0", 8);
  assert_int_equal(after, 8);
  dns_name_lower(&n);
  assert_memory_equal(n.wire, "\3www\2ex\0", 8);
}

static void pointer_goes_backwards_and_cursor_stays_after_it(void **state)
{
  (void)state;
  /* 12: b.c   17: a -> 12   21: -> 17 */
  const char msg[] = "HHHHHHHHHHHH\1b\1c\0\1a\xc0\x0c\xc0\x11";
  dns_name_t n;
  size_t after;
  assert_int_equal(read_name(msg, sizeof msg - 1, 17, &n, &after), 0);
  assert_int_equal(n.len, 7);
  assert_memory_equal(n.wire, "\1a\1b\1c\0", 7);
  assert_int_equal(after, 21);
  assert_int_equal(read_name(msg, sizeof msg - 1, 21, &n, &after), 0);
  assert_memory_equal(n.wire, "\1a\1b\1c\0", 7);
  assert_int_equal(after, 23);
}

static void pointer_to_itself_forward_or_into_the_header_is_refused(void **state)
{
  (void)state;
  dns_name_t n;
  size_t after;
  assert_int_equal(read_name("HHHHHHHHHHHH\xc0\x0c", 14, 12, &n, &after), SMPL_EINVAL);
  assert_int_equal(after, 12);
  assert_int_equal(read_name("HHHHHHHHHHHH\xc0\x0e\0", 15, 12, &n, &after), SMPL_EINVAL);
  assert_int_equal(read_name("\0HHHHHHHHHHH\xc0\x00", 14, 12, &n, &after), SMPL_EINVAL);
  /* a label, then a pointer to the start of the same sequence */
  assert_int_equal(read_name("HHHHHHHHHHHH\1a\xc0\x0c", 16, 12, &n, &after), SMPL_EINVAL);
}

static void reserved_label_types_are_refused(void **state)
{
  (void)state;
  dns_name_t n;
  size_t after;
  uint8_t msg[80] = {0};
  for (unsigned b = 64; b < 192; b++) {
    msg[0] = (uint8_t)b;
    assert_int_equal(read_name(msg, sizeof msg, 0, &n, &after), SMPL_EINVAL);
  }
}

static void chain_of_pointers_is_followed_up_to_the_limit(void **state)
{
  (void)state;
  uint8_t msg[DNS_HEADER_LEN + 2 + 2 * (DNS_NAME_HOPS_MAX + 1)] = {0};
  for (unsigned i = 0; i <= DNS_NAME_HOPS_MAX; i++) {
    unsigned at = DNS_HEADER_LEN + 2 + 2 * i;
    msg[at] = 0xc0 | (uint8_t)((at - 2) >> 8);
    msg[at + 1] = (uint8_t)(at - 2);
  }
  dns_name_t n;
  size_t after;
  assert_int_equal(read_name(msg, sizeof msg, sizeof msg - 4, &n, &after), 0);
  assert_int_equal(n.len, 1);
  assert_int_equal(read_name(msg, sizeof msg, sizeof msg - 2, &n, &after), SMPL_EINVAL);
}

static void name_of_255_bytes_is_read_and_256_refused(void **state)
{
  (void)state;
  uint8_t msg[300];
  size_t used = 0;
  for (int i = 0; i < 127; i++) {
    msg[used++] = 1;
    msg[used++] = 'a';
  }
  msg[used++] = 0;
  dns_name_t n;
  size_t after;
  assert_int_equal(used, DNS_NAME_MAX);
  assert_int_equal(read_name(msg, used, 0, &n, &after), 0);
  assert_int_equal(n.len, 255);
  assert_int_equal(dns_name_labels(&n), 127);
  msg[252] = 2;
  msg[254] = 'a';
  msg[255] = 0;
  assert_int_equal(read_name(msg, 256, 0, &n, &after), SMPL_ELIMIT);
}

static void every_cut_of_a_record_is_truncation(void **state)
{
  (void)state;
  static const char msg[] = "HHHHHHHHHHHH\1b\1c\0\1a\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1";
  size_t whole = sizeof msg - 1;
  for (size_t len = 17; len <= whole; len++) {
    uint8_t *copy = exact(msg, len);
    dns_wire_t w = dns_wire_of(copy, len);
    w.at = 17;
    dns_rr_t rr;
    int err = dns_wire_rr(&w, &rr);
    if (len < whole) {
      assert_int_equal(err, SMPL_ETRUNC);
      assert_int_equal(w.at, 17);
    } else {
      assert_int_equal(err, 0);
      assert_int_equal(rr.type, DNS_TYPE_A);
      assert_int_equal(rr.klass, DNS_CLASS_IN);
      assert_int_equal(rr.ttl, 60);
      assert_int_equal(rr.rdlen, 4);
      assert_int_equal(rr.rdata, whole - 4);
      assert_int_equal(w.at, whole);
    }
    free(copy);
  }
}

static void header_and_question_are_read(void **state)
{
  (void)state;
  static const char msg[] = "\x12\x34\x29\x00\0\1\0\2\0\3\0\4\1x\0\0\x21\0\1";
  dns_wire_t w = dns_wire_of(msg, sizeof msg - 1);
  dns_header_t h;
  assert_int_equal(dns_wire_header(&w, &h), 0);
  assert_int_equal(h.id, 0x1234);
  assert_int_equal(dns_opcode(h.flags), 5);
  assert_int_equal(h.qdcount, 1);
  assert_int_equal(h.ancount, 2);
  assert_int_equal(h.nscount, 3);
  assert_int_equal(h.arcount, 4);
  dns_name_t n;
  uint16_t type;
  uint16_t klass;
  assert_int_equal(dns_wire_question(&w, &n, &type, &klass), 0);
  assert_int_equal(type, DNS_TYPE_SRV);
  assert_int_equal(klass, DNS_CLASS_IN);
  assert_int_equal(dns_wire_left(&w), 0);
  dns_wire_t cut = dns_wire_of(msg, sizeof msg - 2);
  cut.at = DNS_HEADER_LEN;
  assert_int_equal(dns_wire_question(&cut, &n, &type, &klass), SMPL_ETRUNC);
  assert_int_equal(cut.at, DNS_HEADER_LEN);
  cut = dns_wire_of(msg, DNS_HEADER_LEN - 1);
  assert_int_equal(dns_wire_header(&cut, &h), SMPL_ETRUNC);
}

static void name_is_under_itself_its_parents_and_the_root(void **state)
{
  (void)state;
  dns_name_t n;
  dns_name_t p;
  static const struct {
    const char *name, *parent;
    bool under;
  } cases[] = {
      {"a.b.c", "a.b.c", true},  {"a.b.c", "b.c", true}, {"a.b.c", ".", true},    {".", ".", true},
      {"b.c", "a.b.c", false},   {"xb.c", "b.c", false}, {"a.b.d", "b.c", false}, {".", "c", false},
      {"a\\.b.c", "b.c", false}, {"x.c", "b.c", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(dns_name_from_text(cases[i].name, &n), 0);
    assert_int_equal(dns_name_from_text(cases[i].parent, &p), 0);
    assert_int_equal(dns_name_under(&n, &p), cases[i].under);
    assert_int_equal(dns_name_equal(&n, &p), strcmp(cases[i].name, cases[i].parent) == 0);
  }
}

static void text_goes_to_wire_and_back(void **state)
{
  (void)state;
  static const struct {
    const char *in, *out;
  } cases[] = {
      {".", "."},
      {"a", "a."},
      {"A.b.", "A.b."},
      {"a\\.b.c", "a\\.b.c."},
      {"\\000x", "\\000x."},
      {"\\032 ", "\\032\\032."},
      {"\\*.x", "*.x."},
      {"a\\\\b", "a\\\\b."},
      {"\\255", "\\255."},
      {"\\@.\\$", "\\@.\\$."},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    dns_name_t n;
    char buf[DNS_NAME_TEXT_MAX];
    assert_int_equal(dns_name_from_text(cases[i].in, &n), 0);
    assert_string_equal(dns_name_to_text(&n, buf), cases[i].out);
  }
}

static void bad_text_is_refused(void **state)
{
  (void)state;
  static const char *const bad[] = {"",    "..",  ".a",   "a..b",  "a..",  "\\",
                                    "a\\", "\\1", "\\12", "\\256", "\\12x"};
  dns_name_t n;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(dns_name_from_text(bad[i], &n), SMPL_EINVAL);
}

static void text_limits_hold_at_the_byte(void **state)
{
  (void)state;
  dns_name_t n;
  char text[600];
  memset(text, 'a', sizeof text);
  text[63] = '\0';
  assert_int_equal(dns_name_from_text(text, &n), 0);
  text[63] = 'a';
  text[64] = '\0';
  assert_int_equal(dns_name_from_text(text, &n), SMPL_ELIMIT);
  /* 63+1 three times, 61+1, root: 255 */
  memset(text, 'a', sizeof text);
  text[63] = text[127] = text[191] = '.';
  text[253] = '\0';
  assert_int_equal(dns_name_from_text(text, &n), 0);
  assert_int_equal(n.len, DNS_NAME_MAX);
  char buf[DNS_NAME_TEXT_MAX];
  dns_name_to_text(&n, buf);
  assert_int_equal(strlen(buf), 254);
  text[253] = '.';
  text[254] = '\0';
  assert_int_equal(dns_name_from_text(text, &n), 0);
  text[253] = 'a';
  assert_int_equal(dns_name_from_text(text, &n), SMPL_ELIMIT);
  text[251] = '.';
  text[252] = 'a';
  text[253] = '\0';
  assert_int_equal(dns_name_from_text(text, &n), 0);
  text[253] = '.';
  text[254] = 'a';
  text[255] = '\0';
  assert_int_equal(dns_name_from_text(text, &n), SMPL_ELIMIT);
}

static void longest_text_form_fits_its_buffer(void **state)
{
  (void)state;
  dns_name_t n = {.len = 0};
  size_t used = 0;
  static const uint8_t labels[] = {63, 63, 63, 61};
  for (size_t i = 0; i < 4; i++) {
    n.wire[used++] = labels[i];
    memset(n.wire + used, 0xff, labels[i]);
    used += labels[i];
  }
  n.wire[used++] = 0;
  n.len = (uint8_t)used;
  assert_int_equal(used, DNS_NAME_MAX);
  char *buf = malloc(DNS_NAME_TEXT_MAX);
  assert_non_null(buf);
  dns_name_to_text(&n, buf);
  assert_int_equal(strlen(buf), 250 * 4 + 4);
  free(buf);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(integers_move_the_cursor_and_stop_at_the_end),
      cmocka_unit_test(name_keeps_case_and_leaves_cursor_behind),
      cmocka_unit_test(pointer_goes_backwards_and_cursor_stays_after_it),
      cmocka_unit_test(pointer_to_itself_forward_or_into_the_header_is_refused),
      cmocka_unit_test(reserved_label_types_are_refused),
      cmocka_unit_test(chain_of_pointers_is_followed_up_to_the_limit),
      cmocka_unit_test(name_of_255_bytes_is_read_and_256_refused),
      cmocka_unit_test(every_cut_of_a_record_is_truncation),
      cmocka_unit_test(header_and_question_are_read),
      cmocka_unit_test(name_is_under_itself_its_parents_and_the_root),
      cmocka_unit_test(text_goes_to_wire_and_back),
      cmocka_unit_test(bad_text_is_refused),
      cmocka_unit_test(text_limits_hold_at_the_byte),
      cmocka_unit_test(longest_text_form_fits_its_buffer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
