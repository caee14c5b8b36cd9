/* SPDX-License-Identifier: Apache-2.0 */
/* Command line, environment and tunnel.yaml: which one wins, and how faults are named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/conf/reference.h"
#include "tunnel/cli/commands.h"
#include "tunnel/cli/config.h"
#include "tunnel/cli/options.h"

static char folder[] = "/tmp/smpl-options-XXXXXX";
static char file[64];

static int group_setup(void **state)
{
  (void)state;
  if (!mkdtemp(folder))
    return -1;
  snprintf(file, sizeof file, "%s/tunnel.yaml", folder);
  return 0;
}

static int group_teardown(void **state)
{
  (void)state;
  unlink(file);
  return rmdir(folder);
}

static int setup(void **state)
{
  (void)state;
  unlink(file);
  unsetenv("SMPL_BASTION");
  unsetenv("SMPL_TUNNEL_CONFIG");
  setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
  setenv("HOME", "/home/nobody", 1);
  return 0;
}

static void write_file(const char *text)
{
  FILE *f = fopen(file, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  setenv("SMPL_TUNNEL_CONFIG", file, 1);
}

static int read_all(options_t *o, bool *in_file, diag_t *diag, ...)
{
  char *argv[FORWARDS_MAX + 8] = {"smpl-tunnel"};
  int argc = 1;
  va_list args;
  va_start(args, diag);
  while ((argv[argc] = va_arg(args, char *)))
    argc++;
  va_end(args);
  return options_read(argc, argv, &commands, o, in_file, diag);
}

static void test_bastion_in_every_form(void **state)
{
  (void)state;
  static const struct {
    const char *text, *user, *host;
    unsigned port;
  } good[] = {
      {"host", "", "host", 0},
      {"HOST.Example", "", "HOST.Example", 0},
      {"host:2222", "", "host", 2222},
      {"dev@host", "dev", "host", 0},
      {"ssh://dev@host:2222", "dev", "host", 2222},
      {"ssh://host/", "", "host", 0},
      {"ssh://dev@[::1]:65535/", "dev", "::1", 65535},
      {"[fe80::1%eth0]", "", "fe80::1%eth0", 0},
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    char user[USER_MAX];
    char host[HOST_MAX];
    uint16_t port;
    assert_int_equal(destination_parse(good[i].text, user, host, &port, NULL), SMPL_OK);
    assert_string_equal(user, good[i].user);
    assert_string_equal(host, good[i].host);
    assert_int_equal(port, good[i].port);
  }
}

static void test_bastion_in_no_form(void **state)
{
  (void)state;
  static const char *const bad[] = {"",           "@host",        "dev@",   "host:",   "host:0",
                                    "host:65536", "host:x",       "ssh://", "[::1",    "[]",
                                    "host/path",  "host:22/path", "a b",    "[::1]22", "a,b"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char user[USER_MAX];
    char host[HOST_MAX];
    uint16_t port;
    diag_t diag = {0};
    if (destination_parse(bad[i], user, host, &port, &diag) != SMPL_EINVAL)
      fail_msg("'%s' is taken", bad[i]);
    assert_non_null(strstr(diag.text, "bastion '"));
  }
}

static void test_the_command_line_stands_above_environment_and_file(void **state)
{
  (void)state;
  options_t o;
  bool in_file;
  diag_t diag = {0};
  write_file("bastion: filehost:1\nuser: fileuser\nidentity: key\nknown_hosts: ~/kh\n");
  setenv("SMPL_BASTION", "envhost:2", 1);
  assert_int_equal(read_all(&o, &in_file, &diag, "--bastion", "arghost", "-l", "arguser", "-i", "argkey",
                            "--known-hosts", "argkh", "80:x", NULL),
                   SMPL_OK);
  assert_string_equal(o.task.to.host, "arghost");
  assert_int_equal(o.task.to.port, 22);
  assert_string_equal(o.task.to.user, "arguser");
  assert_int_equal(o.task.to.identity_count, 1);
  assert_string_equal(o.task.to.identities[0], "argkey");
  assert_string_equal(o.task.to.known_hosts[0], "argkh");
  options_free(&o);
}

static void test_the_environment_stands_above_the_file(void **state)
{
  (void)state;
  options_t o;
  bool in_file;
  diag_t diag = {0};
  write_file("bastion: filehost:1\nuser: fileuser\nidentity: [a, b]\nknown_hosts: ~/kh\n");
  setenv("SMPL_BASTION", "envhost:2", 1);
  assert_int_equal(read_all(&o, &in_file, &diag, "80:x", NULL), SMPL_OK);
  assert_string_equal(o.task.to.host, "envhost");
  assert_int_equal(o.task.to.port, 2);
  assert_string_equal(o.task.to.user, "fileuser");
  assert_int_equal(o.task.to.identity_count, 2);
  char want[64];
  snprintf(want, sizeof want, "%s/b", folder);
  assert_string_equal(o.task.to.identities[1], want);
  assert_string_equal(o.task.to.known_hosts[0], "/home/nobody/kh");
  options_free(&o);
}

static void test_l_stands_above_the_user_in_the_bastions_name(void **state)
{
  (void)state;
  options_t o;
  bool in_file;
  diag_t diag = {0};
  assert_int_equal(read_all(&o, &in_file, &diag, "-l", "x", "--bastion", "dev@h", "80:x", NULL), SMPL_OK);
  assert_string_equal(o.task.to.user, "x");
  options_free(&o);
  assert_int_equal(read_all(&o, &in_file, &diag, "--bastion", "dev@h", "80:x", NULL), SMPL_OK);
  assert_string_equal(o.task.to.user, "dev");
  options_free(&o);
}

static void test_the_usual_files_are_the_default(void **state)
{
  (void)state;
  options_t o;
  bool in_file;
  diag_t diag = {0};
  assert_int_equal(read_all(&o, &in_file, &diag, "--bastion", "h", "80:x", NULL), SMPL_OK);
  assert_false(o.task.to.identities_given);
  assert_string_equal(o.task.to.identities[0], "/home/nobody/.ssh/id_ed25519");
  assert_string_equal(o.task.to.known_hosts[0], "/home/nobody/.ssh/known_hosts");
  options_free(&o);
}

static void test_reading_ahead_can_be_turned_off(void **state)
{
  (void)state;
  options_t o;
  bool in_file;
  diag_t diag = {0};
  static const struct {
    const char *text;
    bool on;
  } cases[] = {{"bastion: h\n", true}, {"bastion: h\nread_ahead: false\n", false}};
  for (size_t i = 0; i < 2; i++) {
    write_file(cases[i].text);
    assert_int_equal(read_all(&o, &in_file, &diag, "80:x", NULL), SMPL_OK);
    assert_int_equal(o.task.read_ahead, cases[i].on);
    options_free(&o);
  }
  write_file("bastion: h\nread_ahead: maybe\n");
  assert_int_not_equal(read_all(&o, &in_file, &diag, "80:x", NULL), SMPL_OK);
  assert_non_null(strstr(diag.text, "tunnel.yaml:2:13"));
  options_free(&o);
  unsetenv("SMPL_TUNNEL_CONFIG");
  assert_int_equal(read_all(&o, &in_file, &diag, "--bastion", "h", "80:x", NULL), SMPL_OK);
  assert_true(o.task.read_ahead);
  options_free(&o);
}

static void test_faults_in_the_file_are_told_from_faults_of_the_command_line(void **state)
{
  (void)state;
  options_t o;
  bool in_file;
  diag_t diag = {0};
  write_file("bastion: h\nport: 3\n");
  assert_int_not_equal(read_all(&o, &in_file, &diag, "80:x", NULL), SMPL_OK);
  assert_true(in_file);
  assert_non_null(strstr(diag.text, "tunnel.yaml:2:1"));
  options_free(&o);
  diag = (diag_t){0};
  assert_int_not_equal(read_all(&o, &in_file, &diag, "--what", "80:x", NULL), SMPL_OK);
  assert_false(in_file);
  assert_non_null(strstr(diag.text, "--what"));
  options_free(&o);
  unsetenv("SMPL_TUNNEL_CONFIG");
  diag = (diag_t){0};
  assert_int_not_equal(read_all(&o, &in_file, &diag, "80:x", NULL), SMPL_OK);
  assert_non_null(strstr(diag.text, "no bastion is known"));
  options_free(&o);
}

static void test_an_empty_file_says_nothing(void **state)
{
  (void)state;
  static const char *const texts[] = {"", "# bastion: dev@bastion.example\n"};
  for (size_t i = 0; i < 2; i++) {
    options_t o;
    bool in_file;
    diag_t diag = {0};
    write_file(texts[i]);
    if (read_all(&o, &in_file, &diag, "--bastion", "me@host", "8080:a.b", NULL) != SMPL_OK)
      fail_msg("%s", diag.text);
    assert_string_equal(o.task.to.host, "host");
    assert_true(o.task.read_ahead); /* the defaults */
    options_free(&o);
  }
}

/* What a message says to write instead, the word behind these, is accepted in its turn. */
static void test_advice_is_accepted_itself(void **state)
{
  (void)state;
  static const struct {
    const char *word, *before; /* NULL: there is none, since nothing that could be said would do */
  } cases[] = {
      {"config.internal", "as in "},
      {"config.internal:80", "as in "},
      {"[::1]", "as in "},
      {"[::1]:80", "as in "},
      {"8080", "as in "},
      {"99999", NULL},
      {"config.internal/docs", NULL},
      {"dev@bastion:22", "--bastion "},
      {"a@b,c", NULL},
      {"8080:::1:80", "brackets, as in "},
      {"8080:fd00::1", "brackets, as in "},
      {"fd00:1:2:3:4:5:6:7", "brackets, as in "},
      {"http://x.y", "as in "},
      {"x", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    options_t o;
    bool in_file;
    diag_t diag = {0};
    assert_int_not_equal(read_all(&o, &in_file, &diag, "--bastion", "me@host", cases[i].word, NULL), SMPL_OK);
    options_free(&o);
    const char *at = cases[i].before ? strstr(diag.text, cases[i].before) : NULL;
    if (!cases[i].before && (strstr(diag.text, "as in") || strstr(diag.text, "--bastion")))
      fail_msg("%s: %s", cases[i].word, diag.text);
    if (!cases[i].before)
      continue;
    if (!at)
      fail_msg("%s: %s", cases[i].word, diag.text);
    char advice[256];
    at += strlen(cases[i].before);
    snprintf(advice, sizeof advice, "%.*s", (int)strcspn(at, " ;,"), at);
    diag_t why = {0};
    char user[USER_MAX], host[HOST_MAX];
    uint16_t port;
    forward_t f;
    int err = cases[i].before[0] == '-'   ? destination_parse(advice, user, host, &port, &why)
              : cases[i].before[0] == 'b' ? forward_parse_target(advice, &f, &why)
                                          : forward_parse(advice, &f, &why);
    if (err)
      fail_msg("%s: %s: %s", cases[i].word, advice, why.text);
  }
  diag_t diag = {0};
  char user[USER_MAX], host[HOST_MAX];
  uint16_t port;
  assert_int_equal(destination_parse("dev@fd00::1", user, host, &port, &diag), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, "brackets, as in [fd00::1]"));
}

static void test_so_many_forwards_and_no_more(void **state)
{
  (void)state;
  char *argv[FORWARDS_MAX + 4] = {"smpl-tunnel", "--bastion=h"};
  for (int i = 0; i <= FORWARDS_MAX; i++)
    argv[2 + i] = "0:x:1";
  options_t o;
  bool in_file;
  diag_t diag = {0};
  assert_int_equal(options_read(2 + FORWARDS_MAX, argv, &commands, &o, &in_file, &diag), SMPL_OK);
  assert_int_equal(o.task.forward_count, FORWARDS_MAX);
  options_free(&o);
  assert_int_equal(options_read(3 + FORWARDS_MAX, argv, &commands, &o, &in_file, &diag), SMPL_ELIMIT);
  options_free(&o);
}

static void test_so_many_identities_and_no_more(void **state)
{
  (void)state;
  char *argv[IDENTITIES_MAX + 4] = {"smpl-tunnel", "80:x"};
  for (int i = 0; i <= IDENTITIES_MAX; i++)
    argv[2 + i] = "-ik";
  options_t o;
  bool in_file;
  diag_t diag = {0};
  setenv("SMPL_BASTION", "h", 1);
  assert_int_equal(options_read(2 + IDENTITIES_MAX, argv, &commands, &o, &in_file, &diag), SMPL_OK);
  options_free(&o);
  assert_int_equal(options_read(3 + IDENTITIES_MAX, argv, &commands, &o, &in_file, &diag), SMPL_ELIMIT);
  options_free(&o);
}

static void test_a_named_file_stands_above_the_environments(void **state)
{
  (void)state;
  static const char *const ways[] = {"-c", "--config"};
  write_file("bastion: here\n");
  setenv("SMPL_TUNNEL_CONFIG", "/nonexistent/tunnel.yaml", 1);
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    options_t o;
    bool in_file;
    diag_t diag = {0};
    assert_int_equal(read_all(&o, &in_file, &diag, ways[i], file, "1:x", NULL), SMPL_OK);
    assert_string_equal(o.task.to.host, "here");
    options_free(&o);
    assert_int_not_equal(read_all(&o, &in_file, &diag, ways[i], "/nonexistent/x.yaml", "1:x", NULL), SMPL_OK);
    assert_true(in_file);
    assert_non_null(strstr(diag.text, "--config names /nonexistent/x.yaml"));
    options_free(&o);
  }
}

static void test_the_table_of_commands_has_no_flaw(void **state)
{
  (void)state;
  char flaw[256];
  assert_null(command_flaw(&commands, flaw, sizeof flaw));
  assert_null(option_flaw(&option_rows, flaw, sizeof flaw));
  assert_null(conf_reference_flaw(&config_map, flaw, sizeof flaw));
  for (size_t i = 0; i < commands.count; i++) {
    const cli_command_t *c = (const cli_command_t *)command_at(&commands, i);
    assert_non_null(c->run);
    assert_non_null(c->wants);
    assert_true(c->row.max == 0 || c->row.completes || c->local);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_an_empty_file_says_nothing, setup),
      cmocka_unit_test_setup(test_advice_is_accepted_itself, setup),
      cmocka_unit_test_setup(test_bastion_in_every_form, setup),
      cmocka_unit_test_setup(test_bastion_in_no_form, setup),
      cmocka_unit_test_setup(test_the_command_line_stands_above_environment_and_file, setup),
      cmocka_unit_test_setup(test_the_environment_stands_above_the_file, setup),
      cmocka_unit_test_setup(test_l_stands_above_the_user_in_the_bastions_name, setup),
      cmocka_unit_test_setup(test_the_usual_files_are_the_default, setup),
      cmocka_unit_test_setup(test_reading_ahead_can_be_turned_off, setup),
      cmocka_unit_test_setup(test_faults_in_the_file_are_told_from_faults_of_the_command_line, setup),
      cmocka_unit_test_setup(test_so_many_forwards_and_no_more, setup),
      cmocka_unit_test_setup(test_so_many_identities_and_no_more, setup),
      cmocka_unit_test_setup(test_a_named_file_stands_above_the_environments, setup),
      cmocka_unit_test(test_the_table_of_commands_has_no_flaw),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
