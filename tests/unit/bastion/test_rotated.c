/* SPDX-License-Identifier: Apache-2.0 */
/* How many files of one audit are looked at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "bastion/audit/rotated.h"
#include "common/base/error.h"

struct dirent *__wrap_readdir(DIR *folder);

static int there; /* files of the audit in its folder */
static int next;

struct dirent *__wrap_readdir(DIR *folder)
{
  static struct dirent entry;
  (void)folder;
  if (next == there)
    return NULL;
  snprintf(entry.d_name, sizeof entry.d_name, "audit.jsonl.%d", ++next);
  return &entry;
}

static int find(int files, rotated_t *found, diag_t *diag)
{
  there = files;
  next = 0;
  return rotated_find("/audit.jsonl", found, diag);
}

static void an_audit_has_as_many_files_as_the_limit_says_and_one_more_is_told(void **state)
{
  rotated_t found;
  diag_t diag = {""};
  (void)state;
  assert_int_equal(find(ROTATED_MAX, &found, &diag), SMPL_OK);
  assert_int_equal(found.count, ROTATED_MAX);
  rotated_free(&found);
  assert_int_equal(find(ROTATED_MAX + 1, &found, &diag), SMPL_ELIMIT);
  assert_int_equal(found.count, 0);
  assert_non_null(strstr(diag.text, "more than 4096 files of this audit"));
  rotated_free(&found);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_audit_has_as_many_files_as_the_limit_says_and_one_more_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
