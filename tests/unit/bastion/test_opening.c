/* SPDX-License-Identifier: Apache-2.0 */
/* In which order the addresses of a target are tried. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bastion/policy/opening.h"

/* in and want: addresses separated by spaces. */
static void expect(const char *in, const char *want)
{
  char words[512], got[512] = "", text[IP_TEXT_MAX];
  ip_t addrs[LOOKUP_ADDRS_MAX], out[LOOKUP_ADDRS_MAX];
  size_t count = 0;
  strncpy(words, in, sizeof words - 1);
  words[sizeof words - 1] = '\0';
  char *rest = words;
  for (char *word; (word = strsep(&rest, " ")) != NULL && *word != '\0';)
    assert_int_equal(ip_parse(word, &addrs[count++]), 0);
  opening_order(addrs, count, out);
  for (size_t i = 0; i < count; i++) {
    strncat(got, i > 0 ? " " : "", sizeof got - strlen(got) - 1);
    strncat(got, ip_format(&out[i], text), sizeof got - strlen(got) - 1);
  }
  assert_string_equal(got, want);
}

static void families_take_turns_and_keep_their_own_order(void **state)
{
  (void)state;
  expect("", "");
  expect("10.0.0.1", "10.0.0.1");
  expect("fd00::1 fd00::2", "fd00::1 fd00::2");
  expect("10.0.0.1 10.0.0.2 fd00::1 fd00::2", "10.0.0.1 fd00::1 10.0.0.2 fd00::2");
  expect("10.0.0.1 10.0.0.2 10.0.0.3 fd00::1", "10.0.0.1 fd00::1 10.0.0.2 10.0.0.3");
  expect("fd00::1 10.0.0.1 10.0.0.2 10.0.0.3", "fd00::1 10.0.0.1 10.0.0.2 10.0.0.3");
  expect("fd00::1 fd00::2 10.0.0.1", "fd00::1 10.0.0.1 fd00::2");
}

/* Every way to fill an answer with two families. */
static void every_address_is_tried_exactly_once(void **state)
{
  (void)state;
  for (unsigned families = 0; families < 1u << LOOKUP_ADDRS_MAX; families += 37) {
    ip_t in[LOOKUP_ADDRS_MAX], out[LOOKUP_ADDRS_MAX];
    for (unsigned i = 0; i < LOOKUP_ADDRS_MAX; i++) {
      char text[32];
      snprintf(text, sizeof text, (families >> i & 1) != 0 ? "10.0.0.%u" : "fd00::%u", i);
      assert_int_equal(ip_parse(text, &in[i]), 0);
    }
    opening_order(in, LOOKUP_ADDRS_MAX, out);
    unsigned seen = 0;
    for (unsigned i = 0; i < LOOKUP_ADDRS_MAX; i++)
      for (unsigned k = 0; k < LOOKUP_ADDRS_MAX; k++)
        if (ip_equal(&out[i], &in[k]))
          seen |= 1u << k;
    assert_int_equal(seen, (1u << LOOKUP_ADDRS_MAX) - 1);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(families_take_turns_and_keep_their_own_order),
      cmocka_unit_test(every_address_is_tried_exactly_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
