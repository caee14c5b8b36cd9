/* SPDX-License-Identifier: Apache-2.0 */
/* What a key of the configuration file does at a reload: one table, in which each has its row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/program/loaded.h"
#include "common/base/error.h"

static const service_t accounts = {.name = "accounts", .title = "A"},
                       config = {.name = "config", .title = "C"};
static const service_t *const services[] = {&accounts, &config, NULL};

static char folder[] = "/tmp/smpl-reload-XXXXXX";

static int make_folder(void **state)
{
  (void)state;
  return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
  (void)state;
  return rmdir(folder);
}

static settings_t load(const char *text)
{
  char path[64];
  settings_t settings;
  diag_t diag = {.text = ""};
  snprintf(path, sizeof path, "%s/a.yaml", folder);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  chmod(path, 0600);
  if (settings_load(path, services, &settings, &diag))
    fail_msg("%s", diag.text);
  unlink(path);
  return settings;
}

#define ONE(name, address, rest)                                                                             \
  "  - {name: " name ", address: \"" address "\", rules: [\"/api/v1/*\"]" rest "}\n"
#define FILE_OF(listeners, rest) "service: accounts\ndatabase: a.db\nlisteners:\n" listeners rest

static void every_key_of_the_file_has_its_row(void **state)
{
  size_t count = 0;
  (void)state;
  for (; settings_key(count) != NULL; count++)
    if (loaded_change_of(settings_key(count)) < 0)
      fail_msg("%s: whether a reload changes it is not said", settings_key(count));
  assert_true(count > 10);
  assert_int_equal(loaded_change_of("nonsense"), -1);
  assert_int_equal(loaded_change_of("sisters"), CHANGE_LIVE);
  assert_int_equal(loaded_change_of("database"), CHANGE_RESTART);
}

static size_t restarts(const char *was, const char *is, const char *first)
{
  settings_t a = load(was), b = load(is);
  json_t *list = loaded_restart(&a, &b);
  size_t count = json_array_size(list);
  if (count > 0)
    assert_string_equal(json_string_value(json_array_get(list, 0)), first);
  json_decref(list);
  settings_free(&a);
  settings_free(&b);
  return count;
}

static void what_differs_is_named_and_what_is_live_is_not(void **state)
{
  static const char was[] = FILE_OF(ONE("p", "127.0.0.1:80", ", hosts: [a]"), "");
  (void)state;
  assert_int_equal(restarts(was, was, ""), 0);
  assert_int_equal(
      restarts(was,
               FILE_OF(ONE("p", "127.0.0.1:80", ", hosts: [b], clients: [10.0.0.0/8]"),
                       "drain: {lag: 1s}\nrate_limit: 0\naccess_log: x\nbalancers: [10.0.0.1]\n"),
               ""),
      0);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:81", ""), ""), "address of http listener p"), 1);
  assert_int_equal(restarts(was, FILE_OF("  - {name: p, address: \"127.0.0.1:80\", rules: [\"/x\"]}\n", ""),
                            "rules of http listener p"),
                   1);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ", tls: {certificate: a, key: b}"), ""),
                            "tls of http listener p"),
                   1);
  assert_int_equal(restarts(was, FILE_OF(ONE("q", "127.0.0.1:80", ""), ""), "the end of http listener p"), 2);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ""), "control: x.sock\n"), "control"), 1);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ""), "free_bind: false\n"), "free_bind"),
                   1);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ""), "core_dumps: true\n"), "core_dumps"),
                   1);
}

/* By name, wherever it stands; and not where it is another one. */
static void a_listener_is_found_again_by_its_name(void **state)
{
  settings_t was = load(FILE_OF(ONE("p", "127.0.0.1:80", "") ONE("q", "127.0.0.1:81", ""), ""));
  settings_t is = load(FILE_OF(ONE("q", "127.0.0.1:81", "") ONE("p", "127.0.0.1:80", ""), ""));
  settings_t other = load(FILE_OF(ONE("q", "127.0.0.1:80", "") ONE("p", "127.0.0.1:81", ""), ""));
  const listener_settings_t *listeners = was.listeners.items;
  (void)state;
  assert_int_equal(loaded_listener(&listeners[0], &is), 1);
  assert_int_equal(loaded_listener(&listeners[1], &is), 0);
  assert_int_equal(loaded_listener(&listeners[0], &other), -1);
  settings_free(&was);
  settings_free(&is);
  settings_free(&other);
}

static void another_service_is_refused_with_its_place(void **state)
{
  settings_t was = load(FILE_OF(ONE("p", "127.0.0.1:80", ""), ""));
  settings_t is =
      load("service: config\naccounts: {url: \"http://127.0.0.1\"}\nresolver: {servers: [\"127.0.0.1:53\"]}\n"
           "database: a.db\nlisteners:\n" ONE("p", "127.0.0.1:80", ""));
  diag_t diag = {.text = ""};
  (void)state;
  assert_int_equal(loaded_check(&was, &was, &diag), SMPL_OK);
  assert_int_equal(loaded_check(&was, &is, &diag), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, ":1:10: this process is the accounts service"));
  settings_free(&was);
  settings_free(&is);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_key_of_the_file_has_its_row),
      cmocka_unit_test(what_differs_is_named_and_what_is_live_is_not),
      cmocka_unit_test(a_listener_is_found_again_by_its_name),
      cmocka_unit_test(another_service_is_refused_with_its_place),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
