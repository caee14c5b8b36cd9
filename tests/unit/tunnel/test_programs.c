/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel/session/host_key.h, tunnel/trust/revoked.h: what KnownHostsCommand and ssh-keygen are given and may
 * take. capture_run stands here instead of the real one (test_capture.c), so that a limit is looked at and
 * not waited for. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "tunnel/base/capture.h"
#include "tunnel/session/host_key.h"
#include "tunnel/session/identity.h"
#include "tunnel/trust/revoked.h"

static struct {
  int count; /* of the programs run */
  size_t most;
  int ms;
  size_t words;
  char command[512]; /* its words, joined by spaces */
  char input[512];
  char variable[64];
  bool alone;
  const char *prints; /* NULL: too much, or too late */
  bool fine;
} ran;

int capture_run(const capture_t *c, char **text, bool *fine)
{
  ran.count++;
  ran.most = c->most;
  ran.ms = c->ms;
  ran.alone = c->alone;
  ran.command[0] = '\0';
  ran.words = 0;
  for (size_t used = 0; c->argv[ran.words]; ran.words++) {
    int n = snprintf(ran.command + used, sizeof ran.command - used, " %s", c->argv[ran.words]);
    assert_true(n > 0);
    used += (size_t)n;
    assert_true(used < sizeof ran.command);
  }
  ssize_t n = c->in >= 0 ? read(c->in, ran.input, sizeof ran.input - 1) : 0;
  assert_true(n >= 0);
  ran.input[n] = '\0';
  snprintf(ran.variable, sizeof ran.variable, "%s", c->variable ? c->variable : "");
  *text = ran.prints ? strdup(ran.prints) : NULL;
  *fine = ran.fine;
  return 0;
}

/* ---- KnownHostsCommand ---- */

/* A command of so many words, of which the first is given. */
static int ask(const char *first, size_t words, diag_t *diag)
{
  static const destination_t to = {.host = "bastion"};
  char command[512];
  ssh_config_t s = {.port = 22, .key_name = "bastion"};
  trust_t *trust = NULL;
  size_t used = (size_t)snprintf(command, sizeof command, "%s", first);
  for (size_t i = 1; i < words; i++)
    used += (size_t)snprintf(command + used, sizeof command - used, " w");
  s.known_hosts_command = command;
  ran.count = 0;
  int err = host_key_load(&s, &to, NULL, &trust, diag);
  assert_non_null(trust); /* the files have said what they say */
  trust_free(trust);
  ssh_config_free(&s);
  return err;
}

static void test_a_command_has_its_limits_of_time_and_output(void **state)
{
  (void)state;
  diag_t diag = {0};
  ran.prints = "";
  ran.fine = true;
  assert_int_equal(ask("/bin/x", 3, &diag), SMPL_OK);
  assert_int_equal(ran.ms, KNOWN_COMMAND_MS);
  assert_int_equal(ran.most, KNOWN_COMMAND_MOST);
  ran.prints = NULL;
  ran.fine = false;
  assert_int_equal(ask("/bin/x", 3, &diag), SMPL_ETIMEOUT);
  assert_string_equal(diag.text,
                      "KnownHostsCommand /bin/x takes longer than 10 s, or prints more than 1 MiB");
  ran.prints = "";
  diag = (diag_t){0};
  assert_int_equal(ask("/bin/x", 3, &diag), SMPL_ESYS);
  assert_string_equal(diag.text, "KnownHostsCommand /bin/x failed");
}

static void test_a_command_has_so_many_words_and_no_more(void **state)
{
  (void)state;
  diag_t diag = {0};
  ran.prints = "";
  ran.fine = true;
  assert_int_equal(ask("/bin/x", KNOWN_COMMAND_WORDS_MAX, &diag), SMPL_OK);
  assert_int_equal(ran.words, KNOWN_COMMAND_WORDS_MAX);
  assert_int_equal(ask("/bin/x", KNOWN_COMMAND_WORDS_MAX + 1, &diag), SMPL_ELIMIT);
  assert_int_equal(ran.count, 0);
  assert_string_equal(diag.text, "KnownHostsCommand: more than 32 words");
}

static void test_what_is_no_command_is_not_run(void **state)
{
  (void)state;
  static const char *const bad[] = {"x",         "./x",
                                    "\"/bin/x",  "/bin/x 'a",
                                    "/bin/x '",  "/bin/x a \"b c",
                                    "/bin/x %Z", "/bin/x ${SMPL_NOT_SET}",
                                    "/bin/x %"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    diag_t diag = {0};
    assert_int_equal(ask(bad[i], 1, &diag), SMPL_EINVAL);
    assert_int_equal(ran.count, 0);
    assert_non_null(strstr(diag.text, "KnownHostsCommand"));
  }
}

/* ---- ssh-keygen ---- */

static void test_a_passphrase_goes_through_a_pipe_alone(void **state)
{
  (void)state;
  int error = 0;
  size_t len = 0;
  ran.prints = "";
  ran.fine = true;
  char *opened = identity_unseal("the key", 7, "the words", &len, &error);
  assert_int_equal(error, 0);
  assert_string_equal(opened, "the key"); /* as ssh-keygen has left it */
  free(opened);
  assert_string_equal(ran.input, "the words\n");
  assert_null(strstr(ran.command, "the words"));
  assert_string_equal(ran.variable, "SSH_ASKPASS_REQUIRE=never");
  assert_true(ran.alone); /* it can ask nobody */
  assert_int_equal(ran.ms, IDENTITY_UNSEAL_MS);
  assert_int_equal(ran.most, IDENTITY_SAID_MAX);
  ran.prints = NULL; /* too late, or too much */
  ran.fine = false;
  assert_null(identity_unseal("the key", 7, "the words", &len, &error));
  assert_int_equal(error, 0);
}

/* ---- RevokedHostKeys ---- */

/* What is said of a fresh key by a file of len bytes that begins like this and goes on with empty lines. */
static int judge(const char *begin, size_t begin_len, size_t len, diag_t *diag)
{
  char path[] = "/tmp/smpl-revoked.XXXXXX";
  ssh_key key = NULL;
  char *data = malloc(len);
  int fd = mkstemp(path);
  assert_true(fd >= 0 && data && begin_len <= len);
  memset(data, '\n', len);
  memcpy(data, begin, begin_len);
  assert_int_equal(write(fd, data, len), len);
  close(fd);
  free(data);
  assert_int_equal(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key), SSH_OK);
  ran.count = 0;
  int err = revoked_judge(path, key, diag);
  ssh_key_free(key);
  unlink(path);
  return err;
}

static void test_a_list_of_revoked_keys_is_read_up_to_its_limit_or_trusts_nobody(void **state)
{
  (void)state;
  diag_t diag = {0};
  assert_int_equal(judge("", 0, REVOKED_FILE_MAX, &diag), SMPL_OK);
  assert_int_equal(judge("", 0, REVOKED_FILE_MAX + 1, &diag), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, "more than the limit of 16777216"));
  assert_non_null(strstr(diag.text, "no host key is trusted"));
}

static void test_a_list_with_a_nul_byte_trusts_nobody(void **state)
{
  (void)state;
  diag_t diag = {0};
  assert_int_equal(judge("# keys\n\0", 8, 64, &diag), SMPL_EINVAL); /* what is behind it would go unheard */
  assert_non_null(strstr(diag.text, "NUL"));
  assert_non_null(strstr(diag.text, "no host key is trusted"));
}

static void test_ssh_keygen_has_its_time_for_a_revocation_list(void **state)
{
  (void)state;
  diag_t diag = {0}, late = {0}, named = {0};
  ran.prints = "ok";
  ran.fine = true;
  assert_int_equal(judge("SSHKRL\n\0", 8, 64, &diag), SMPL_OK);
  assert_int_equal(ran.ms, REVOKED_ASK_MS);
  assert_int_equal(strncmp(ran.input, "ssh-ed25519 ", 12), 0);
  ran.prints = NULL;
  ran.fine = false;
  assert_int_equal(judge("SSHKRL\n\0", 8, 64, &late), SMPL_EINVAL);
  assert_non_null(strstr(late.text, "no host key is trusted"));
  ran.prints = "x: REVOKED";
  assert_int_equal(judge("SSHKRL\n\0", 8, 64, &named), SMPL_EDENIED);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_command_has_its_limits_of_time_and_output),
      cmocka_unit_test(test_a_command_has_so_many_words_and_no_more),
      cmocka_unit_test(test_what_is_no_command_is_not_run),
      cmocka_unit_test(test_a_passphrase_goes_through_a_pipe_alone),
      cmocka_unit_test(test_a_list_of_revoked_keys_is_read_up_to_its_limit_or_trusts_nobody),
      cmocka_unit_test(test_a_list_with_a_nul_byte_trusts_nobody),
      cmocka_unit_test(test_ssh_keygen_has_its_time_for_a_revocation_list),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
