/* What ssh -G reports is taken where the user has said nothing, within its limits; which ssh_config is worth asking about;
 * whose certificate it is; which of an agent's keys are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tunnel/agent.h"
#include "tunnel/certificate.h"
#include "tunnel/settings.h"

static void take(const options_t *o, settings_t *s, const char *const *lines)
{
  for (; *lines; lines++)
    settings_take_line(o, s, *lines);
}

static const char *const report[] = {"hostname 192.0.2.1",
                                     "port 2200",
                                     "user me",
                                     "identityfile /k",
                                     "identitiesonly yes",
                                     "certificatefile /c",
                                     "userknownhostsfile /a /b",
                                     "globalknownhostsfile /g",
                                     "serveraliveinterval 7",
                                     "serveralivecountmax 2",
                                     "proxycommand none",
                                     "proxyjump jump",
                                     "identityagent none",
                                     "hostkeyalias alias",
                                     "unknown thing",
                                     NULL};

static void test_what_is_reported_is_taken(void **state)
{
  (void)state;
  const options_t o = {0};
  settings_t s = {0};
  take(&o, &s, report);
  assert_string_equal(s.host, "192.0.2.1");
  assert_int_equal(s.port, 2200);
  assert_string_equal(s.user, "me");
  assert_string_equal(s.identities[0], "/k");
  assert_true(s.identities_only);
  assert_string_equal(s.certificates[0], "/c");
  assert_int_equal(s.known_hosts_count, 3);
  assert_string_equal(s.known_hosts[2], "/g");
  assert_int_equal(s.alive_interval_s, 7);
  assert_int_equal(s.alive_count, 2);
  assert_null(s.proxy_command);
  assert_string_equal(s.proxy_jump, "jump");
  assert_string_equal(s.agent, "none");
  assert_string_equal(s.key_name, "alias");
  settings_free(&s);
}

static void test_what_the_user_said_stands_above(void **state)
{
  (void)state;
  const options_t o = {.port_given = true,
                       .user_given = true,
                       .identities_given = true,
                       .known_hosts_given = true};
  settings_t s = {.port = 1, .user = "i"};
  take(&o, &s, report);
  assert_int_equal(s.port, 1);
  assert_string_equal(s.user, "i");
  assert_int_equal(s.identity_count, 0);
  assert_int_equal(s.known_hosts_count, 0);
  settings_free(&s);
}

static void test_lists_keep_their_limits(void **state)
{
  (void)state;
  const options_t o = {0};
  settings_t s = {0};
  for (int i = 0; i < 100; i++) {
    settings_take_line(&o, &s, "identityfile /k");
    settings_take_line(&o, &s, "certificatefile /c");
    settings_take_line(&o, &s, "userknownhostsfile /a /b /c /d /e");
    settings_take_line(&o, &s, "proxycommand x");
  }
  assert_int_equal(s.identity_count, OPTIONS_IDENTITIES_MAX);
  assert_int_equal(s.certificate_count, OPTIONS_IDENTITIES_MAX);
  assert_int_equal(s.known_hosts_count, OPTIONS_KNOWN_HOSTS_MAX);
  assert_int_equal(s.string_count, SETTINGS_STRINGS_MAX);
  settings_free(&s);
}

static void test_which_files_matter(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    bool matters;
  } cases[] = {
      {"", false},
      {"# Port 22\nHost *\n  SendEnv LANG\n  HashKnownHosts yes\n", false},
      {"Include /nonexistent/*.conf\n", false},
      {"Include relative\n", true},
      {"Host x\n\tpOrT=22\n", true},
      {"Host x\n  ProxyJump y\n", true},
      {"match all\n", true},
  };
  char path[] = "/tmp/smpl-settings-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0), strlen(cases[i].text));
    if (settings_file_matters(path) != cases[i].matters)
      fail_msg("'%s'", cases[i].text);
  }
  close(fd);
  unlink(path);
  assert_false(settings_file_matters(path));
}

static void test_whose_certificate_it_is(void **state)
{
  (void)state;
  /* type "t", nonce "n", then the key's fields; behind them the certificate's own. */
  static const char key[] = "AAAAAXQAAAABaw==";                              /* "t" "k" */
  static const char other[] = "AAAAAXQAAAABag==";                            /* "t" "j" */
  static const char certificate[] = "t AAAAAXQAAAABbgAAAAFrAAAAAAAAAAA= me"; /* "t" "n" "k" and 8 bytes */
  assert_true(certificate_is_for(certificate, strlen(certificate), key));
  assert_false(certificate_is_for(certificate, strlen(certificate), other));
  assert_false(certificate_is_for("t", 1, key));
  assert_false(certificate_is_for("t !!!!", 6, key));
  assert_false(certificate_is_for("t AAAA//8A", 10, key)); /* a string that goes beyond its end */
}

static void test_answers_of_an_agent(void **state)
{
  (void)state;
  static const uint8_t two[] = {12, 0,   0,   0, 2, 0, 0, 0,   1, 'k', 0, 0, 0,
                                2,  'h', 'i', 0, 0, 0, 1, 'j', 0, 0,   0, 0};
  static agent_key_t keys[AGENT_KEYS_MAX];
  size_t count;
  assert_true(agent_read_keys(two, sizeof two, keys, &count));
  assert_int_equal(count, 2);
  assert_ptr_equal(keys[0].entry.at, two + 5);
  assert_int_equal(keys[0].entry.left, 11);
  assert_int_equal(keys[1].entry.left, 9);
  assert_non_null(strstr(keys[0].name, "(hi)"));
  for (size_t len = 0; len < sizeof two; len++) /* cut anywhere */
    assert_false(agent_read_keys(two, len, keys, &count));
}

static void test_of_an_agents_keys_no_more_are_read_than_there_is_room_for(void **state)
{
  (void)state;
  static agent_key_t keys[AGENT_KEYS_MAX];
  static uint8_t many[5 + 8 * (AGENT_KEYS_MAX + 1)] = {12, 0, 0, 1, 1}; /* empty ones */
  size_t count;
  assert_true(agent_read_keys(many, sizeof many, keys, &count));
  assert_int_equal(count, AGENT_KEYS_MAX);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_reported_is_taken),
      cmocka_unit_test(test_what_the_user_said_stands_above),
      cmocka_unit_test(test_lists_keep_their_limits),
      cmocka_unit_test(test_which_files_matter),
      cmocka_unit_test(test_whose_certificate_it_is),
      cmocka_unit_test(test_answers_of_an_agent),
      cmocka_unit_test(test_of_an_agents_keys_no_more_are_read_than_there_is_room_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
