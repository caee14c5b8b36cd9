/* SPDX-License-Identifier: Apache-2.0 */
/* Who is blocked: kept whole at any instant, and nobody is let in by a file that is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bastion/session/blocks.h"
#include "common/base/error.h"
#include "kit.h"

static const char key_of_eve[] = "SHA256:jO2VXvLMNgO+KdU/PeKf7P7C9rlRhYoi5bQVnYkEZl0";
static char content[8192];

static int setup(void **state)
{
  (void)state;
  kit_folder_new();
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  kit_folder_remove();
  return 0;
}

static size_t slurp(const char *name)
{
  FILE *f = fopen(kit_path(name), "r");
  assert_non_null(f);
  size_t n = fread(content, 1, sizeof content - 1, f);
  content[n] = '\0';
  fclose(f);
  return n;
}

static blocks_t *open_fine(const char *folder)
{
  blocks_t *b;
  diag_t diag = {""};
  if (blocks_open(kit_path(folder), &b, &diag))
    fail_msg("%s", diag.text);
  return b;
}

static block_t block_of(const char *who, const char *reason)
{
  block_t block = {.since = "2026-11-29T22:00:00.000Z", .by_uid = 7};
  snprintf(block.who, sizeof block.who, "%s", who);
  snprintf(block.reason, sizeof block.reason, "%s", reason);
  return block;
}

static void add(blocks_t *b, const char *who)
{
  block_t block = block_of(who, "left \\ \"today\"");
  assert_int_equal(blocks_add(b, &block), SMPL_OK);
}

static void refuses(const char *folder, int want, const char *saying)
{
  blocks_t *b;
  diag_t diag = {""};
  assert_int_equal(blocks_open(kit_path(folder), &b, &diag), want);
  assert_null(b);
  if (strstr(diag.text, saying) == NULL)
    fail_msg("says: %s\nexpected: %s", diag.text, saying);
  size_t count;
  if (want != SMPL_EBUSY) /* looking is free */
    assert_int_equal(blocks_check(kit_path(folder), &count, NULL), want);
}

static void users_and_keys_are_told_apart(void **state)
{
  (void)state;
  bool is_key;
  assert_true(blocks_can_be("eve", &is_key) && !is_key);
  assert_true(blocks_can_be(key_of_eve, &is_key) && is_key);
  static const char *const bad[] = {"",          "-eve", "eve smith", "SHA256:", "SHA256:short",
                                    "MD5:00:11", "a/b",  "a\nb"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(blocks_can_be(bad[i], &is_key));
}

static void who_is_blocked_stays_so_over_a_restart(void **state)
{
  (void)state;
  mkdir(kit_path("kept"), 0700);
  blocks_t *b = open_fine("kept");
  assert_false(blocks_hold(b, "eve", key_of_eve));
  add(b, "eve");
  add(b, "ann");
  assert_true(blocks_hold(b, "eve", "")); /* before anything is written */
  assert_false(blocks_saved(b));
  assert_int_equal(blocks_save(b, NULL), SMPL_OK);
  assert_true(blocks_saved(b));
  block_t again = block_of("eve", "x");
  assert_int_equal(blocks_add(b, &again), SMPL_EEXIST);
  blocks_close(b);
  b = open_fine("kept");
  assert_int_equal(blocks_count(b), 2);
  assert_string_equal(blocks_find(b, "eve")->reason, "left \\ \"today\"");
  assert_int_equal(blocks_at(b, 1)->by_uid, 7);
  blocks_remove(b, "ann");
  add(b, key_of_eve);
  assert_true(blocks_hold(b, "somebody", key_of_eve));
  assert_false(blocks_hold(b, "ann", ""));
  blocks_close(b); /* not saved: as it was */
  b = open_fine("kept");
  assert_true(blocks_hold(b, "ann", "") && !blocks_hold(b, "x", key_of_eve));
  blocks_close(b);
  assert_false(blocks_hold(NULL, "eve", key_of_eve));
}

/* Whatever became of it: cut at any byte, or one line less. */
static void a_file_that_is_not_whole_lets_nobody_in(void **state)
{
  (void)state;
  mkdir(kit_path("cut"), 0700);
  blocks_t *b = open_fine("cut");
  add(b, "eve");
  add(b, "ann");
  assert_int_equal(blocks_save(b, NULL), SMPL_OK);
  blocks_close(b);
  size_t len = slurp("cut/blocks");
  for (size_t at = 0; at < len; at++) {
    assert_int_equal(truncate(kit_path("cut/blocks"), (off_t)at), 0);
    refuses("cut", SMPL_EINVAL, "cut/blocks:");
    kit_write("cut/blocks", content, 0600);
  }
  static const char *const bad[][2] = {
      {"", "blocks:1: the file is empty"},
      {"{}\n", "blocks:1: expected {\"version\":1,\"blocks\":N}"},
      {"{\"version\":2,\"blocks\":0}\n", "blocks:1: expected"},
      {"{\"version\":1,\"blocks\":5000}\n", "blocks:1: expected"},
      {"{\"version\":1,\"blocks\":1}\n", "blocks:1: not as many lines"},
      {"{\"version\":1,\"blocks\":0}\n{\"who\":\"a\",\"since\":\"x\",\"by_uid\":0,\"reason\":\"\"}\n",
       "not as many lines"},
      {"{\"version\":1,\"blocks\":1}\nnothing\n", "blocks:2: is no JSON object"},
      {"{\"version\":1,\"blocks\":1}\n{\"who\":\"a b\",\"since\":\"x\",\"by_uid\":0,\"reason\":\"\"}\n",
       "blocks:2: \"who\""},
      {"{\"version\":1,\"blocks\":1}\n{\"who\":\"a\",\"who\":\"b\",\"since\":\"x\",\"by_uid\":0,\"reason\":"
       "\"\"}\n",
       "blocks:2: is no"},
      {"{\"version\":1,\"blocks\":1}\n{\"who\":\"a\",\"since\":\"x\",\"by_uid\":-1,\"reason\":\"\"}\n",
       "blocks:2: \"since\""},
      {"{\"version\":1,\"blocks\":2}\n{\"who\":\"a\",\"since\":\"x\",\"by_uid\":0,\"reason\":\"\"}\n"
       "{\"who\":\"a\",\"since\":\"x\",\"by_uid\":0,\"reason\":\"\"}\n",
       "blocks:3: the same as in a line before"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    kit_write("cut/blocks", bad[i][0], 0600);
    refuses("cut", SMPL_EINVAL, bad[i][1]);
  }
  kit_write("cut/blocks", content, 0666);
  refuses("cut", SMPL_EDENIED, "others can write it");
  kit_write("cut/blocks", content, 0600);
  b = open_fine("cut");
  assert_int_equal(blocks_count(b), 2);
  blocks_close(b);
}

static void what_a_crash_left_of_a_new_file_counts_for_nothing(void **state)
{
  (void)state;
  mkdir(kit_path("crash"), 0700);
  blocks_t *b = open_fine("crash");
  add(b, "eve");
  assert_int_equal(blocks_save(b, NULL), SMPL_OK);
  kit_write("crash/blocks.new", "{\"version\":1,\"blo", 0600);
  blocks_close(b);
  b = open_fine("crash");
  assert_true(blocks_hold(b, "eve", ""));
  add(b, "ann");
  assert_int_equal(blocks_save(b, NULL), SMPL_OK); /* and is in nobody's way */
  blocks_close(b);
  b = open_fine("crash");
  assert_int_equal(blocks_count(b), 2);
  blocks_close(b);
}

static void a_folder_that_is_not_ours_alone_is_refused(void **state)
{
  (void)state;
  refuses("nowhere", SMPL_ENOENT, "does not exist; try: install -d -m 700");
  kit_write("plain", "", 0600);
  refuses("plain", SMPL_EINVAL, "is no folder");
  mkdir(kit_path("open"), 0755);
  refuses("open", SMPL_EDENIED, "must not be open to others (mode 755); try: chmod 700");
  mkdir(kit_path("one"), 0700);
  blocks_t *b = open_fine("one");
  refuses("one", SMPL_EBUSY, "is in use by another process");
  size_t count;
  assert_int_equal(blocks_check(kit_path("one"), &count, NULL), SMPL_OK); /* looking is free */
  blocks_close(b);
  blocks_close(open_fine("one"));
}

static void what_the_disk_refuses_holds_and_is_tried_again(void **state)
{
  (void)state;
  struct rlimit limit;
  mkdir(kit_path("full"), 0700);
  blocks_t *b = open_fine("full");
  add(b, "eve");
  assert_int_equal(blocks_save(b, NULL), SMPL_OK);
  add(b, "ann");
  getrlimit(RLIMIT_FSIZE, &limit);
  rlim_t was = limit.rlim_cur;
  limit.rlim_cur = 60;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  diag_t diag = {""};
  assert_int_equal(blocks_save(b, &diag), SMPL_ESYS);
  assert_non_null(strstr(diag.text, "full/blocks cannot be written"));
  assert_true(blocks_hold(b, "ann", "") && !blocks_saved(b));
  limit.rlim_cur = was;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
  uint64_t now = clock_mono_ms();
  blocks_retry(b, now);
  assert_false(blocks_saved(b)); /* not at once */
  blocks_retry(b, now + BLOCKS_RETRY_MS);
  assert_true(blocks_saved(b));
  blocks_close(b);
  b = open_fine("full");
  assert_int_equal(blocks_count(b), 2);
  blocks_close(b);
}

static void at_the_limit_no_more_are_taken_and_all_are_kept(void **state)
{
  (void)state;
  char name[32];
  mkdir(kit_path("many"), 0700);
  blocks_t *b = open_fine("many");
  for (int i = 0; i < BLOCKS_MAX; i++) {
    snprintf(name, sizeof name, "u%d", i);
    add(b, name);
  }
  block_t more = block_of("more", "");
  assert_int_equal(blocks_add(b, &more), SMPL_ELIMIT);
  assert_int_equal(blocks_save(b, NULL), SMPL_OK);
  blocks_close(b);
  b = open_fine("many");
  assert_int_equal(blocks_count(b), BLOCKS_MAX);
  assert_true(blocks_hold(b, name, ""));
  blocks_remove(b, "u0");
  assert_int_equal(blocks_add(b, &more), SMPL_OK);
  blocks_close(b);
}

int main(void)
{
  signal(SIGXFSZ, SIG_IGN);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(users_and_keys_are_told_apart),
      cmocka_unit_test(who_is_blocked_stays_so_over_a_restart),
      cmocka_unit_test(a_file_that_is_not_whole_lets_nobody_in),
      cmocka_unit_test(what_a_crash_left_of_a_new_file_counts_for_nothing),
      cmocka_unit_test(a_folder_that_is_not_ours_alone_is_refused),
      cmocka_unit_test(what_the_disk_refuses_holds_and_is_tried_again),
      cmocka_unit_test(at_the_limit_no_more_are_taken_and_all_are_kept),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
