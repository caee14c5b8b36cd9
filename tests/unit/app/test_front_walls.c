/* The port of a sister's URL, which is all that Landlock can be told of her. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/walls.h"

static void the_port_is_what_the_url_names(void **state)
{
  (void)state;
  assert_int_equal(walls_url_port("http://app.internal.smplkit.local:8000"), 8000);
  assert_int_equal(walls_url_port("http://app.internal.smplkit.local:8000/"), 8000);
  assert_int_equal(walls_url_port("http://127.10.1.10:65535"), 65535);
  assert_int_equal(walls_url_port("http://[fd00::1]:81/"), 81);
}

static void without_a_port_it_is_looked_up(void **state)
{
  (void)state;
  assert_int_equal(walls_url_port("http://app.internal.smplkit.local"), 0);
  assert_int_equal(walls_url_port("http://app.internal.smplkit.local/"), 0);
  assert_int_equal(walls_url_port("http://[fd00::1]"), 0);
  assert_int_equal(walls_url_port("http://host:"), 0);
  assert_int_equal(walls_url_port("http://host:65536"), 0);
  assert_int_equal(walls_url_port("http://host/:80"), 0);
  assert_int_equal(walls_url_port("host:80"), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_port_is_what_the_url_names),
      cmocka_unit_test(without_a_port_it_is_looked_up),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
