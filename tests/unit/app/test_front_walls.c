/* SPDX-License-Identifier: Apache-2.0 */
/* The port of a sister's URL, which is all that Landlock can be told of her. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "app/program/walls.h"
#include "common/base/error.h"

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

/* What a reload brings is called only where the walls of the start let it. */
static void a_port_that_was_not_named_at_the_start_needs_a_restart(void **state)
{
  static const char *sisters[] = {"http://a.internal:8000", "http://b.internal:8001"};
  endpoint_t resolver = {.port = 53};
  walls_t walls = {.fenced = true, .count = 2, .ports = {8000, 53}};
  settings_file_t file = {.sisters = {sisters, 1}, .resolver = {.servers = {&resolver, 1}}};
  settings_t s = {.file = &file};
  diag_t diag = {""};
  (void)state;
  assert_int_equal(walls_reach(&walls, &s, &diag), SMPL_OK);
  file.sisters.count = 2;
  assert_int_equal(walls_reach(&walls, &s, &diag), SMPL_EDENIED);
  assert_non_null(strstr(diag.text, "TCP port 8001 of a sister or resolver"));
  file.sisters.count = 1;
  file.accounts.url = "http://app.internal";
  diag.text[0] = '\0';
  assert_int_equal(walls_reach(&walls, &s, &diag), SMPL_EDENIED);
  assert_non_null(strstr(diag.text, "a sister's URL without a port"));
  file.accounts.url = NULL;
  resolver.port = 5353;
  assert_int_equal(walls_reach(&walls, &s, &diag), SMPL_EDENIED);
  walls.fenced = false; /* no Landlock, or one that knows no ports */
  assert_int_equal(walls_reach(&walls, &s, &diag), SMPL_OK);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_port_is_what_the_url_names),
      cmocka_unit_test(without_a_port_it_is_looked_up),
      cmocka_unit_test(a_port_that_was_not_named_at_the_start_needs_a_restart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
