/* SPDX-License-Identifier: Apache-2.0 */
/* What libssh says of a failure, and what of it is passed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel/session/words.h"

static void test_words_that_say_nothing_are_not_passed_on(void **state)
{
  (void)state;
  static const char *const empty[] = {"", "Socket error: Success", "Invalid argument in ssh_options_set"};
  for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
    assert_string_equal(words_of_error(empty[i]), "the connection broke");
  assert_string_equal(words_of_error("Socket error: Connection reset by peer"),
                      "Socket error: Connection reset by peer");
}

static void test_what_a_server_said_stands_behind_its_code(void **state)
{
  (void)state;
  assert_string_equal(words_of_server("Received SSH_MSG_DISCONNECT: 11:good bye: all"), "good bye: all");
  assert_string_equal(words_of_server("Received SSH_MSG_DISCONNECT: 11"), "");
  assert_string_equal(words_of_server("Socket error: disconnected"), "");
  assert_string_equal(words_of_server(""), "");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_a_server_said_stands_behind_its_code),
      cmocka_unit_test(test_words_that_say_nothing_are_not_passed_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
