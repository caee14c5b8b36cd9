/* SPDX-License-Identifier: Apache-2.0 */
/* Roles at the control socket: every combination of a small universe. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <unistd.h>

#include "bastion/policy/roles.h"

static void every_peer_gets_the_highest_role_that_names_it(void **state)
{
  (void)state;
  for (unsigned read_user = 0; read_user < 2; read_user++)
    for (unsigned read_group = 0; read_group < 2; read_group++)
      for (unsigned end_user = 0; end_user < 2; end_user++)
        for (unsigned end_group = 0; end_group < 2; end_group++)
          for (unsigned uid = 10; uid < 12; uid++)
            for (unsigned gid = 10; gid < 12; gid++) {
              role_member_t read[2], end[2];
              bool none = read_user + read_group + end_user + end_group == 0;
              roles_t roles = {{read, 0}, {end, 0}, !none};
              if (read_user)
                read[roles.read.count++] = (role_member_t){false, 10, false};
              if (read_group)
                read[roles.read.count++] = (role_member_t){true, 10, false};
              if (end_user)
                end[roles.terminate.count++] = (role_member_t){false, 10, false};
              if (end_group)
                end[roles.terminate.count++] = (role_member_t){true, 10, false};
              bool ends = (end_user && uid == 10) || (end_group && gid == 10);
              bool reads = (read_user && uid == 10) || (read_group && gid == 10);
              role_t want = none || ends ? ROLE_TERMINATE : reads ? ROLE_READ : ROLE_NONE;
              unsigned groups[2] = {99, gid};
              assert_int_equal(roles_decide(&roles, uid, groups, 2), want);
            }
}

static void root_and_the_bastions_own_account_may_everything(void **state)
{
  (void)state;
  role_member_t somebody = {false, 4242, false};
  roles_t roles = {{&somebody, 1}, {NULL, 0}, true};
  assert_int_equal(roles_of(&roles, &(control_peer_t){.uid = 0, .gid = 0}), ROLE_TERMINATE);
  assert_int_equal(roles_of(&roles, &(control_peer_t){.uid = geteuid(), .gid = getegid()}), ROLE_TERMINATE);
  assert_int_equal(roles_of(&roles, &(control_peer_t){.uid = 4242, .gid = 4242}), ROLE_READ);
  assert_int_equal(roles_of(&roles, &(control_peer_t){.uid = 4243, .gid = 4243}), ROLE_NONE);
}

static void the_main_group_and_every_other_one_count(void **state)
{
  (void)state;
  role_member_t readers = {true, 4300, false}, enders = {true, 4400, false};
  roles_t roles = {{&readers, 1}, {&enders, 1}, true};
  static const gid_t none[] = {1, 2}, reads[] = {1, 4300}, ends[] = {4300, 4400};
  control_peer_t peer = {.uid = 4242, .gid = 7, .groups = none, .group_count = 2};
  assert_int_equal(roles_of(&roles, &peer), ROLE_NONE);
  peer.groups = reads;
  assert_int_equal(roles_of(&roles, &peer), ROLE_READ);
  peer.groups = ends;
  assert_int_equal(roles_of(&roles, &peer), ROLE_TERMINATE);
  peer.group_count = 0;
  assert_int_equal(roles_of(&roles, &peer), ROLE_NONE);
  peer.gid = 4400;
  assert_int_equal(roles_of(&roles, &peer), ROLE_TERMINATE);
}

static void accounts_are_named_or_numbered(void **state)
{
  (void)state;
  role_member_t m;
  assert_int_equal(roles_scalar.parse(NULL, "root", 4, &m), 0);
  assert_true(!m.is_group && m.id == 0);
  assert_int_equal(roles_scalar.parse(NULL, "@root", 5, &m), 0);
  assert_true(m.is_group && m.id == 0);
  assert_int_equal(roles_scalar.parse(NULL, "@1234", 5, &m), 0);
  assert_true(m.is_group && m.id == 1234);
  assert_true(roles_scalar.parse(NULL, "no such account", 15, &m) < 0);
  assert_true(roles_scalar.parse(NULL, "@", 1, &m) < 0);
  assert_true(roles_scalar.parse(NULL, "-1", 2, &m) < 0);
}

static void who_has_left_the_roles_or_the_system_may_nothing(void **state)
{
  (void)state;
  roles_t empty = {{NULL, 0}, {NULL, 0}, true};
  control_peer_t peer = {.uid = 4242, .gid = 0};
  assert_int_equal(roles_of(&empty, &peer), ROLE_NONE);
  role_member_t gone[2];
  assert_int_equal(roles_scalar.parse(NULL, "no-such-account", 15, &gone[0]), 0);
  assert_int_equal(roles_scalar.parse(NULL, "@no-such-group", 14, &gone[1]), 0);
  assert_true(gone[0].missing && gone[1].missing && gone[1].is_group);
  roles_t roles = {{gone, 2}, {gone, 2}, true};
  assert_int_equal(roles_of(&roles, &peer), ROLE_NONE);
  unsigned zero[] = {0};
  assert_int_equal(roles_decide(&roles, 4242, zero, 1), ROLE_NONE); /* a number is not made up for it */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_peer_gets_the_highest_role_that_names_it),
      cmocka_unit_test(root_and_the_bastions_own_account_may_everything),
      cmocka_unit_test(the_main_group_and_every_other_one_count),
      cmocka_unit_test(accounts_are_named_or_numbered),
      cmocka_unit_test(who_has_left_the_roles_or_the_system_may_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
