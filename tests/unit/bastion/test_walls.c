/* SPDX-License-Identifier: Apache-2.0 */
/* Where accounts come from, as /etc/nsswitch.conf says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "bastion/spawn/walls.h"

static void files_alone_need_no_service(void **state)
{
  (void)state;
  assert_false(walls_accounts_elsewhere(NULL));
  assert_false(walls_accounts_elsewhere(""));
  assert_false(walls_accounts_elsewhere("passwd: files\ngroup: files systemd\n"));
  assert_false(walls_accounts_elsewhere("passwd:\tcompat [NOTFOUND=return] files\ngroup:files"));
  assert_false(walls_accounts_elsewhere("hosts: files dns\nnetgroup: nis\n#passwd: sss\n"));
  assert_false(walls_accounts_elsewhere("passwd: files # sss\n"));
}

static void any_other_source_is_a_service(void **state)
{
  (void)state;
  assert_true(walls_accounts_elsewhere("passwd: files sss\n"));
  assert_true(walls_accounts_elsewhere("passwd: files\n  group: files [SUCCESS=merge] ldap"));
  assert_true(walls_accounts_elsewhere("group:winbind\n"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_alone_need_no_service),
      cmocka_unit_test(any_other_source_is_a_service),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
