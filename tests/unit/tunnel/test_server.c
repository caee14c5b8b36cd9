/* SPDX-License-Identifier: Apache-2.0 */
/* What libssh says of a failure, and what of it is passed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel/session/server.h"

static void test_words_that_say_nothing_are_not_passed_on(void **state)
{
  (void)state;
  static const char *const empty[] = {"", "Socket error: Success", "Invalid argument in ssh_options_set"};
  for (size_t i = 0; i < sizeof empty / sizeof *empty; i++)
    assert_string_equal(server_error_of(empty[i]), "the connection broke");
  assert_string_equal(server_error_of("Socket error: Connection reset by peer"),
                      "Socket error: Connection reset by peer");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_words_that_say_nothing_are_not_passed_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
