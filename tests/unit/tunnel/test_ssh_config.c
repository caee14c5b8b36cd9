/* SPDX-License-Identifier: Apache-2.0 */
/* What ssh -G reports is taken where the user has said nothing, within its limits; which ssh_config is worth
 * asking about; whose certificate it is; which of an agent's keys are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tunnel/session/agent.h"
#include "tunnel/session/certificate.h"
#include "tunnel/session/ssh_config.h"

static void take(const destination_t *o, ssh_config_t *s, const char *const *lines)
{
  for (; *lines; lines++)
    ssh_config_take_line(o, s, *lines);
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
  const destination_t o = {0};
  ssh_config_t s = {0};
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
  ssh_config_free(&s);
}

static void test_what_the_user_said_stands_above(void **state)
{
  (void)state;
  const destination_t o = {.port_given = true,
                           .user_given = true,
                           .identities_given = true,
                           .known_hosts_given = true};
  ssh_config_t s = {.port = 1, .user = "i"};
  take(&o, &s, report);
  assert_int_equal(s.port, 1);
  assert_string_equal(s.user, "i");
  assert_int_equal(s.identity_count, 0);
  assert_int_equal(s.known_hosts_count, 0);
  ssh_config_free(&s);
}

static void test_lists_keep_their_limits(void **state)
{
  (void)state;
  const destination_t o = {0};
  ssh_config_t s = {0};
  for (int i = 0; i < 100; i++) {
    ssh_config_take_line(&o, &s, "identityfile /k");
    ssh_config_take_line(&o, &s, "certificatefile /c");
    ssh_config_take_line(&o, &s, "userknownhostsfile /a /b /c /d /e");
    ssh_config_take_line(&o, &s, "proxycommand x");
  }
  assert_int_equal(s.identity_count, IDENTITIES_MAX);
  assert_int_equal(s.certificate_count, IDENTITIES_MAX);
  assert_int_equal(s.known_hosts_count, KNOWN_HOSTS_MAX);
  assert_int_equal(s.string_count, SSH_CONFIG_STRINGS_MAX);
  ssh_config_free(&s);
}

static void test_which_files_matter(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    unsigned matters;
  } cases[] = {
      {"", 0},
      {"# Port 22\nHost *\n  SendEnv LANG\n  HashKnownHosts yes\n", 0},
      {"Include /nonexistent/*.conf\n", 0},
      {"Include relative\n", SSH_CONFIG_MATTERS | SSH_CONFIG_DIFFERS},
      {"Host x\n\tpOrT=22\n", SSH_CONFIG_MATTERS},
      {"Host x\n  ProxyJump y\n", SSH_CONFIG_MATTERS},
      {"match all\n", SSH_CONFIG_MATTERS},
      {"StrictHostKeyChecking accept-new\n", SSH_CONFIG_MATTERS},
      {"KnownHostsCommand /bin/cat x\nBindAddress ::1", SSH_CONFIG_MATTERS},
      {"AddressFamily inet\n", SSH_CONFIG_MATTERS},
      {"Port 22\nHost x\n  Ciphers=aes256-ctr\n", SSH_CONFIG_MATTERS | SSH_CONFIG_DIFFERS},
      {"hostKeyAlgorithms -ssh-rsa\n", SSH_CONFIG_MATTERS | SSH_CONFIG_DIFFERS},
  };
  char path[] = "/tmp/smpl-config-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, cases[i].text, strlen(cases[i].text), 0), strlen(cases[i].text));
    if (ssh_config_file_matters(path) != cases[i].matters)
      fail_msg("'%s'", cases[i].text);
  }
  close(fd);
  unlink(path);
  assert_int_equal(ssh_config_file_matters(path), 0);
}

static void test_only_what_differs_from_the_defaults_counts(void **state)
{
  (void)state;
  const destination_t o = {0};
  ssh_config_t s = {0};
  static const char *const theirs[] = {
      "kexalgorithms a,b", "ciphers c",           "macs d",         "hostkeyalgorithms e",
      "compression yes",   "verifyhostkeydns no", "rekeylimit 0 0", NULL};
  static const char *const defaults[] = {"kexalgorithms a,b",
                                         "ciphers c,f",
                                         "macs d",
                                         "hostkeyalgorithms e,f",
                                         "compression no",
                                         "verifyhostkeydns yes",
                                         "rekeylimit 0 0",
                                         "x",
                                         "",
                                         NULL};
  take(&o, &s, theirs);
  for (size_t i = 0; defaults[i]; i++)
    ssh_config_compare_line(&s, defaults[i]);
  ssh_config_name_ignored(&s);
  assert_null(s.compared[SSH_CONFIG_KEX]);
  assert_null(s.compared[SSH_CONFIG_MACS]);
  assert_string_equal(s.compared[SSH_CONFIG_CIPHERS], "c");
  assert_string_equal(s.compared[SSH_CONFIG_HOST_KEYS], "e");
  assert_string_equal(s.ignored, "VerifyHostKeyDNS, Compression");
  ssh_config_free(&s);
}

static void test_what_is_said_of_addresses_and_unknown_hosts_is_taken(void **state)
{
  (void)state;
  const destination_t o = {0};
  static const struct {
    const char *value;
    ssh_config_strict_t strict;
  } cases[] = {{"ask", SSH_CONFIG_ASK},          {"true", SSH_CONFIG_STRICT},
               {"yes", SSH_CONFIG_STRICT},       {"accept-new", SSH_CONFIG_ACCEPT_NEW},
               {"false", SSH_CONFIG_ACCEPT_NEW}, {"off", SSH_CONFIG_ACCEPT_NEW}};
  ssh_config_t s = {0};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char line[64];
    snprintf(line, sizeof line, "stricthostkeychecking %s", cases[i].value);
    ssh_config_take_line(&o, &s, line);
    assert_int_equal(s.strict, cases[i].strict);
  }
  static const char *const lines[] = {"addressfamily inet6",
                                      "bindaddress ::1",
                                      "bindinterface lo",
                                      "connecttimeout 7",
                                      "knownhostscommand /x %H",
                                      "revokedhostkeys /list",
                                      NULL};
  take(&o, &s, lines);
  assert_int_equal(s.dial.family, AF_INET6);
  assert_string_equal(s.dial.bind_address, "::1");
  assert_string_equal(s.dial.bind_interface, "lo");
  assert_int_equal(s.dial.timeout_s, 7);
  assert_string_equal(s.known_hosts_command, "/x %H");
  assert_string_equal(s.revoked_host_keys, "/list");
  static const char *const none[] = {"addressfamily any", "connecttimeout none", NULL};
  take(&o, &s, none);
  assert_int_equal(s.dial.family, AF_UNSPEC);
  assert_int_equal(s.dial.timeout_s, 0);
  ssh_config_free(&s);
}

static void test_tokens_and_variables_of_a_path_are_replaced(void **state)
{
  (void)state;
  const destination_t o = {.host = "Bast"};
  ssh_config_t s = {.host = "192.0.2.1", .user = "me", .port = 2200, .key_name = "alias", .key_alias = true};
  setenv("SMPL_TEST_FOLDER", "/some where", 1);
  setenv("HOME", "/home/me", 1);
  unsetenv("SMPL_TEST_NONE");
  static const struct {
    const char *text, *full;
  } cases[] = {
      {"/k_%h_%n_%p_%r_%k", "/k_192.0.2.1_Bast_2200_me_alias"},
      {"${SMPL_TEST_FOLDER}/%d/100%%", "/some where//home/me/100%"},
      {"/$HOME/${", NULL},
      {"/$HOME/x", "/$HOME/x"},
      {"/%q", NULL},
      {"/%", NULL},
      {"${SMPL_TEST_NONE}/x", NULL},
      {"/%x%K", "/one%K"},
  };
  const token_t extra[] = {{'x', "one"}, {'K', "%K"}, {0, NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    diag_t diag = {0};
    const char *full = ssh_config_expand(&s, &o, "IdentityFile", cases[i].text, extra, &diag);
    if (cases[i].full && (!full || strcmp(full, cases[i].full) != 0))
      fail_msg("%s: %s %s", cases[i].text, full ? full : "nothing", diag.text);
    if (!cases[i].full && (full || !strstr(diag.text, "IdentityFile") || !strstr(diag.text, cases[i].text)))
      fail_msg("%s: %s %s", cases[i].text, full ? full : "nothing", diag.text);
  }
  ssh_config_free(&s);
}

static void test_paths_with_spaces_are_told_apart_by_what_is_there(void **state)
{
  (void)state;
  const destination_t o = {0};
  ssh_config_t s = {0};
  char folder[] = "/tmp/smpl-config-XXXXXX", spaced[64], line[512];
  assert_non_null(mkdtemp(folder));
  snprintf(spaced, sizeof spaced, "%s/known hosts of mine", folder);
  fclose(fopen(spaced, "w"));
  snprintf(line, sizeof line, "userknownhostsfile /absent/one %s /absent/two", spaced);
  ssh_config_take_line(&o, &s, line);
  assert_int_equal(s.known_hosts_count, 3);
  assert_string_equal(s.known_hosts[0], "/absent/one");
  assert_string_equal(s.known_hosts[1], spaced);
  assert_string_equal(s.known_hosts[2], "/absent/two");
  unlink(spaced);
  rmdir(folder);
  ssh_config_free(&s);
  ssh_config_take_line(&o, &s, "globalknownhostsfile /g /h"); /* ssh -G names it first */
  ssh_config_take_line(&o, &s, "userknownhostsfile /a");
  assert_int_equal(s.known_hosts_count, 3);
  assert_string_equal(s.known_hosts[0], "/a"); /* which is the one that is written to */
  assert_string_equal(s.known_hosts[2], "/h");
  ssh_config_free(&s);
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
  assert_ptr_equal(keys[0].entry.data, two + 5);
  assert_int_equal(keys[0].entry.len, 11);
  assert_int_equal(keys[1].entry.len, 9);
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
      cmocka_unit_test(test_only_what_differs_from_the_defaults_counts),
      cmocka_unit_test(test_what_is_said_of_addresses_and_unknown_hosts_is_taken),
      cmocka_unit_test(test_tokens_and_variables_of_a_path_are_replaced),
      cmocka_unit_test(test_paths_with_spaces_are_told_apart_by_what_is_there),
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
