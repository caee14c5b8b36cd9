/* SPDX-License-Identifier: Apache-2.0 */
/* What a reload cannot change, and how it is told. */
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

/* first: what the first text says behind its place. */
static size_t restarts(const char *was, const char *is, const char *first)
{
  settings_t a = load(was), b = load(is);
  json_t *list = loaded_restart(&a, &b);
  size_t count = json_array_size(list);
  if (count > 0) {
    char wanted[128];
    snprintf(wanted, sizeof wanted, "%s/a.yaml:%s", folder, first);
    assert_string_equal(json_string_value(json_array_get(list, 0)), wanted);
  }
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
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:81", ""), ""),
                            "4:25: address of http listener p"),
                   1);
  assert_int_equal(restarts(was, FILE_OF("  - {name: p, address: \"127.0.0.1:80\", rules: [\"/x\"]}\n", ""),
                            "4:40: rules of http listener p"),
                   1);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ", tls: {certificate: a, key: b}"), ""),
                            "4:81: tls of http listener p"),
                   1);
  assert_int_equal(restarts(was, FILE_OF(ONE("q", "127.0.0.1:80", ""), ""),
                            "3:1: the end of http listener p"),
                   2);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ""), "control: x.sock\n"), "5:10: control"),
                   1);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ""), "free_bind: false\n"),
                            "5:12: free_bind"),
                   1);
  assert_int_equal(restarts(was, FILE_OF(ONE("p", "127.0.0.1:80", ""), "core_dumps: true\n"),
                            "5:13: core_dumps"),
                   1);
  assert_int_equal(restarts(FILE_OF(ONE("p", "127.0.0.1:80", ""), "control: x.sock\n"), was, " control"), 1);
  assert_int_equal(restarts(FILE_OF(ONE("p", "127.0.0.1:80", ""), "revocations: r\n"), was, " revocations"),
                   1);
}

/* By name, wherever it stands; and not where it is another one. */
static void a_listener_is_found_again_by_its_name(void **state)
{
  settings_t was = load(FILE_OF(ONE("p", "127.0.0.1:80", "") ONE("q", "127.0.0.1:81", ""), ""));
  settings_t is = load(FILE_OF(ONE("q", "127.0.0.1:81", "") ONE("p", "127.0.0.1:80", ""), ""));
  settings_t other = load(FILE_OF(ONE("q", "127.0.0.1:80", "") ONE("p", "127.0.0.1:81", ""), ""));
  const listener_settings_t *listeners = was.file->listeners.items;
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
      cmocka_unit_test(what_differs_is_named_and_what_is_live_is_not),
      cmocka_unit_test(a_listener_is_found_again_by_its_name),
      cmocka_unit_test(another_service_is_refused_with_its_place),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
