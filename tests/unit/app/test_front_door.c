/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/door.h: who is taken in, and who gives way to a newcomer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/app/small_front.h"

static void connections_are_bounded_and_the_longest_idle_gives_way(void **state)
{
  fixture_t *f = *state;
  int fds[CONNECTIONS + 1];
  for (size_t i = 0; i < CONNECTIONS; i++)
    fds[i] = dial(f);
  assert_int_equal(front_connections(f->front), CONNECTIONS);
  fds[CONNECTIONS] = dial(f);
  assert_int_equal(front_connections(f->front), CONNECTIONS);
  assert_true(closed_after(f, fds[0]) < WAIT_MS / 2);
  for (size_t i = 0; i <= CONNECTIONS; i++)
    close(fds[i]);
}

static void with_nobody_idle_the_newcomer_is_closed(void **state)
{
  fixture_t *f = *state;
  int fds[CONNECTIONS + 1];
  for (size_t i = 0; i < CONNECTIONS; i++) {
    fds[i] = dial(f);
    say(f, fds[i], "GET /api/v1/echo/later?ms=300 HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  fds[CONNECTIONS] = dial(f);
  assert_true(closed_after(f, fds[CONNECTIONS]) < WAIT_MS / 2);
  assert_int_equal(front_connections(f->front), CONNECTIONS);
  for (size_t i = 0; i <= CONNECTIONS; i++)
    close(fds[i]);
  turn(f, 400);
}

static const char half_head[] = "GET /";
static const char half_body[] = "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                                "Content-Length: 9\r\n\r\n{";

static void the_source_with_most_connections_gives_way(fixture_t *f, const char *half)
{
  int modest = dial_from(f, "127.0.0.3:0");
  say(f, modest, half);
  int many[CONNECTIONS - 1];
  for (size_t i = 0; i < CONNECTIONS - 1; i++) {
    many[i] = dial_from(f, "127.0.0.2:0");
    say(f, many[i], half);
  }
  int newcomer = dial_from(f, "127.0.0.4:0");
  assert_true(gets_closed(f, many[0]));
  assert_false(is_closed(many[1]) || is_closed(many[2]) || is_closed(modest) || is_closed(newcomer));
  for (size_t i = 0; i < CONNECTIONS - 1; i++)
    close(many[i]);
  close(modest);
  close(newcomer);
}

static void when_nobody_is_idle_the_source_with_most_connections_gives_way(void **state)
{
  the_source_with_most_connections_gives_way(*state, half_body);
}

/* Of a head that has not come whole nobody knows yet whose it is, behind a balancer. */
static void when_only_heads_are_coming_the_source_with_most_connections_gives_way(void **state)
{
  the_source_with_most_connections_gives_way(*state, half_head);
}

static void idle_connections_of_one_source_do_not_drive_out_those_of_others(void **state)
{
  fixture_t *f = *state;
  int modest = dial_from(f, "127.0.0.3:0");
  int many[CONNECTIONS];
  for (size_t i = 0; i < CONNECTIONS; i++) /* the last one is one more than there are places */
    many[i] = dial_from(f, "127.0.0.2:0");
  assert_true(is_closed(many[0]));
  assert_false(is_closed(modest));
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(many[i]);
  close(modest);
}

/* With no place left, whoever's requests hold most of them gives way, and the balancer's kept connections
 * stay. */
static void a_balancers_kept_connections_are_nobodys(void **state)
{
  fixture_t *f = *state;
  int kept[2], many[CONNECTIONS - 2];
  for (size_t i = 0; i < 2; i++) {
    kept[i] = dial_from(f, "127.0.0.3:0");
    say(f, kept[i], "GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  for (size_t i = 0; i < CONNECTIONS - 2; i++) {
    many[i] = dial_from(f, "127.0.0.2:0");
    say(f, many[i], half_body);
  }
  int newcomer = dial_from(f, "127.0.0.4:0");
  assert_true(is_closed(many[0]));
  assert_false(is_closed(kept[0]) || is_closed(kept[1]) || is_closed(many[1]) || is_closed(newcomer));
  say(f, many[1], "       }");
  int last = dial_from(f, "127.0.0.4:0"); /* now all are kept: the one that is idle for longest goes */
  assert_true(is_closed(kept[0]));
  assert_false(is_closed(kept[1]) || is_closed(newcomer) || is_closed(last));
  for (size_t i = 0; i < 2; i++)
    close(kept[i]);
  for (size_t i = 0; i < CONNECTIONS - 2; i++)
    close(many[i]);
  close(newcomer);
  close(last);
}

static void a_newcomer_drives_nobody_out_who_holds_less(void **state)
{
  fixture_t *f = *state;
  int modest = dial_from(f, "127.0.0.3:0");
  say(f, modest, "GET /");
  int many[CONNECTIONS];
  for (size_t i = 0; i < CONNECTIONS; i++) {
    many[i] = dial_from(f, "127.0.0.2:0");
    if (i < CONNECTIONS - 1)
      say(f, many[i], "GET /api/v1/echo/later?ms=300 HTTP/1.1\r\nHost: h\r\n\r\n");
  }
  assert_true(gets_closed(f, many[CONNECTIONS - 1]));
  assert_false(is_closed(modest));
  for (size_t i = 0; i < CONNECTIONS; i++)
    close(many[i]);
  close(modest);
  turn(f, 400);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      WITH(set_up, connections_are_bounded_and_the_longest_idle_gives_way),
      WITH(set_up, with_nobody_idle_the_newcomer_is_closed),
      WITH(set_up_patient, when_nobody_is_idle_the_source_with_most_connections_gives_way),
      BALANCED(when_nobody_is_idle_the_source_with_most_connections_gives_way),
      WITH(set_up_patient, when_only_heads_are_coming_the_source_with_most_connections_gives_way),
      WITH(set_up_patient, idle_connections_of_one_source_do_not_drive_out_those_of_others),
      WITH(set_up_balanced, a_balancers_kept_connections_are_nobodys),
      WITH(set_up_patient, a_newcomer_drives_nobody_out_who_holds_less),
  };
  return cmocka_run_group_tests_name("front door", tests, NULL, NULL);
}
