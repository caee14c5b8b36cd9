/* SPDX-License-Identifier: Apache-2.0 */
/* known_hosts: what is believed, and what is not although it is nearly right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "tunnel/trust/trust.h"

typedef struct fixture {
  char folder[32];
  char file[64];
  ssh_key ours;
  ssh_key other;
  ssh_key ecdsa;
  char *ours_text;
  char *other_text;
  char *ecdsa_text;
} fixture_t;

static ssh_key make_key(enum ssh_keytypes_e type, int bits, char **text)
{
  ssh_key key = NULL;
  ssh_key public = NULL;
  assert_int_equal(ssh_pki_generate(type, bits, &key), SSH_OK);
  assert_int_equal(ssh_pki_export_privkey_to_pubkey(key, &public), SSH_OK);
  ssh_key_free(key);
  char *base64 = NULL;
  assert_int_equal(ssh_pki_export_pubkey_base64(public, &base64), SSH_OK);
  assert_true(asprintf(text, "%s %s", ssh_key_type_to_char(ssh_key_type(public)), base64) > 0);
  ssh_string_free_char(base64);
  return public;
}

static int setup(void **state)
{
  fixture_t *f = calloc(1, sizeof *f);
  ssh_init();
  snprintf(f->folder, sizeof f->folder, "/tmp/smpl-trust-XXXXXX");
  if (!mkdtemp(f->folder))
    return -1;
  snprintf(f->file, sizeof f->file, "%s/known_hosts", f->folder);
  f->ours = make_key(SSH_KEYTYPE_ED25519, 0, &f->ours_text);
  f->other = make_key(SSH_KEYTYPE_ED25519, 0, &f->other_text);
  f->ecdsa = make_key(SSH_KEYTYPE_ECDSA, 256, &f->ecdsa_text);
  *state = f;
  return 0;
}

static int teardown(void **state)
{
  fixture_t *f = *state;
  unlink(f->file);
  rmdir(f->folder);
  ssh_key_free(f->ours);
  ssh_key_free(f->other);
  ssh_key_free(f->ecdsa);
  free(f->ours_text);
  free(f->other_text);
  free(f->ecdsa_text);
  free(f);
  return 0;
}

static void write_lines(const fixture_t *f, const char *text)
{
  FILE *out = fopen(f->file, "w");
  assert_non_null(out);
  fputs(text, out);
  fclose(out);
}

static trust_t *load(const fixture_t *f, const char *host, uint16_t port)
{
  const char *files[] = {f->file};
  trust_t *trust = NULL;
  diag_t diag = {0};
  assert_int_equal(trust_load(files, 1, host, port, &trust, &diag), SMPL_OK);
  return trust;
}

/* What is said of our key by one line, in which %s stands for the key. */
static trust_verdict_t judge_line(const fixture_t *f, const char *format, const char *key, const char *host,
                                  uint16_t port)
{
  char text[2048];
  char *place = strstr(format, "KEY");
  assert_non_null(place);
  snprintf(text, sizeof text, "%.*s%s%s\n", (int)(place - format), format, key, place + 3);
  write_lines(f, text);
  trust_t *trust = load(f, host, port);
  trust_verdict_t verdict = trust_judge(trust, f->ours);
  trust_free(trust);
  return verdict;
}

static void test_names_ports_and_patterns(void **state)
{
  const fixture_t *f = *state;
  static const struct {
    const char *line;
    trust_verdict_t verdict;
  } cases[] = {
      {"[bastion]:2222 KEY", TRUST_KNOWN},
      {"[bastion]:2222 KEY a comment", TRUST_KNOWN},
      {"other,[bastion]:2222 KEY", TRUST_KNOWN},
      {"\t[bastion]:2222\tKEY\r", TRUST_KNOWN},
      {"[*]:2222 KEY", TRUST_KNOWN},
      {"* KEY", TRUST_KNOWN},
      {"bastion KEY", TRUST_KNOWN}, /* without a port: for every one */
      {"BASTION KEY", TRUST_KNOWN},
      {"[BASTION]:2222 KEY", TRUST_KNOWN},
      {"[bastion]:22 KEY", TRUST_UNKNOWN},
      {"[bastion]:22222 KEY", TRUST_UNKNOWN},
      {"bastion2 KEY", TRUST_UNKNOWN},
      {"#[bastion]:2222 KEY", TRUST_UNKNOWN},
      {"*,![bastion]:2222 KEY", TRUST_UNKNOWN},
      {"@cert-authority * KEY", TRUST_UNKNOWN},
      {"@revoked * KEY", TRUST_REVOKED},
      {"@revoked bastion KEY", TRUST_REVOKED},
      {"\t@revoked\t*\tKEY\r", TRUST_REVOKED},
      {"@revoked *,!other KEY", TRUST_REVOKED},
      {"@revoked !other,[bastion]:2222 KEY", TRUST_REVOKED},
      {"@revoked ![bastion]:2222 KEY",
       TRUST_REVOKED}, /* patterns with ! are not evaluated: it counts everywhere */
      {"@what * KEY", TRUST_UNKNOWN},
      {"* ssh-nonsense KEY", TRUST_UNKNOWN},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    trust_verdict_t got = judge_line(f, cases[i].line, f->ours_text, "bastion", 2222);
    if (got != cases[i].verdict)
      fail_msg("'%s' gives %d", cases[i].line, (int)got);
  }
  assert_int_equal(judge_line(f, "bastion KEY", f->ours_text, "bastion", 22), TRUST_KNOWN);
  assert_int_equal(judge_line(f, "127.0.0.1 KEY", f->ours_text, "127.0.0.1", 22), TRUST_KNOWN);
}

static void test_another_key_is_a_change_and_another_kind_is_not_trusted(void **state)
{
  const fixture_t *f = *state;
  assert_int_equal(judge_line(f, "bastion KEY", f->other_text, "bastion", 22), TRUST_CHANGED);
  assert_int_equal(judge_line(f, "bastion KEY", f->ecdsa_text, "bastion", 22), TRUST_OTHER_KIND);
  char text[2048];
  snprintf(text, sizeof text, "bastion %s\nbastion %s\nbastion %s\n", f->other_text, f->ecdsa_text,
           f->ours_text);
  write_lines(f, text);
  trust_t *trust = load(f, "bastion", 22);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_KNOWN);
  trust_free(trust);
}

static void test_a_revoked_key_stands_above_a_known_one(void **state)
{
  const fixture_t *f = *state;
  char text[2048];
  snprintf(text, sizeof text, "bastion %s\n@revoked * %s\n", f->ours_text, f->ours_text);
  write_lines(f, text);
  trust_t *trust = load(f, "bastion", 22);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_REVOKED);
  assert_int_equal(trust_judge(trust, f->other), TRUST_CHANGED);
  trust_free(trust);
}

static void test_kinds_on_file_are_asked_for_first(void **state)
{
  const fixture_t *f = *state;
  trust_t *trust = load(f, "bastion", 22);
  assert_int_equal(strncmp(trust_algorithms(trust), "ssh-ed25519,", 12), 0);
  trust_free(trust);
  judge_line(f, "bastion KEY", f->ecdsa_text, "bastion", 22);
  trust = load(f, "bastion", 22);
  assert_int_equal(strncmp(trust_algorithms(trust), "ecdsa-sha2-nistp256,ssh-ed25519,", 32), 0);
  assert_non_null(strstr(trust_algorithms(trust), "rsa-sha2-512"));
  trust_free(trust);
}

static void test_what_is_remembered_is_known_and_spoils_nothing(void **state)
{
  const fixture_t *f = *state;
  write_lines(f, "# no newline at the end");
  trust_t *trust = load(f, "bastion", 2222);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_UNKNOWN);
  assert_int_equal(trust_remember(trust, f->file, f->ours, NULL), SMPL_OK);
  trust_free(trust);
  trust = load(f, "bastion", 2222);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_KNOWN);
  char known[512];
  char print[TRUST_FINGERPRINT_MAX];
  trust_describe_known(trust, known, sizeof known);
  assert_non_null(strstr(known, trust_fingerprint(f->ours, print)));
  assert_int_equal(strncmp(print, "SHA256:", 7), 0);
  trust_free(trust);
}

static void test_limits_of_lines_and_keys(void **state)
{
  const fixture_t *f = *state;
  FILE *out = fopen(f->file, "w");
  /* A line that is too long is passed over, the one after it is read. */
  for (int i = 0; i < TRUST_LINE_MAX; i++)
    fputc('x', out);
  fprintf(out, "\nbastion %s\n", f->ours_text);
  fclose(out);
  trust_t *trust = load(f, "bastion", 22);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_KNOWN);
  trust_free(trust);
  out = fopen(f->file, "w");
  for (int i = 0; i < TRUST_KEYS_MAX - 1; i++)
    fprintf(out, "bastion %s\n", f->other_text);
  fprintf(out, "bastion %s\n", f->ours_text);
  fclose(out);
  trust = load(f, "bastion", 22);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_KNOWN);
  trust_free(trust);
  out = fopen(f->file, "w");
  for (int i = 0; i < TRUST_KEYS_MAX; i++)
    fprintf(out, "bastion %s\n", f->other_text);
  fprintf(out, "bastion %s\n", f->ours_text);
  fclose(out);
  trust = load(f, "bastion", 22);
  assert_int_equal(trust_judge(trust, f->ours),
                   TRUST_CHANGED); /* too many keys: not believed rather than guessed */
  trust_free(trust);
}

static int load_error(const fixture_t *f, const char *words)
{
  const char *files[] = {f->file};
  trust_t *trust = NULL;
  diag_t diag = {0};
  int err = trust_load(files, 1, "bastion", 22, &trust, &diag);
  if (err && !strstr(diag.text, words))
    fail_msg("'%s' is not in '%s'", words, diag.text);
  trust_free(trust);
  return err;
}

static void test_a_revocation_beyond_a_limit_is_an_error_and_not_unheard(void **state)
{
  const fixture_t *f = *state;
  for (int more = 0; more < 2; more++) {
    FILE *out = fopen(f->file, "w");
    int n = fprintf(out, "bastion %s\n@revoked bastion %s ", f->ours_text, f->ours_text);
    n -= (int)strlen(f->ours_text) + 9;
    for (; n < TRUST_LINE_MAX - 1 + more; n++)
      fputc('x', out);
    fclose(out);
    assert_int_equal(load_error(f, "line 2"), more ? SMPL_ELIMIT : SMPL_OK);
  }
  for (int more = 0; more < 2; more++) {
    FILE *out = fopen(f->file, "w");
    for (int i = 0; i < TRUST_KEYS_MAX - 1 + more; i++)
      fprintf(out, "bastion %s\n", f->ours_text);
    fprintf(out, "@revoked elsewhere %s\n@revoked bastion %s\n", f->ours_text, f->ours_text);
    fclose(out);
    assert_int_equal(load_error(f, "line 66"), more ? SMPL_ELIMIT : SMPL_OK);
    if (more)
      continue;
    trust_t *trust = load(f, "bastion", 22);
    assert_int_equal(trust_judge(trust, f->ours), TRUST_REVOKED);
    trust_free(trust);
  }
}

static void test_a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_not(void **state)
{
  const fixture_t *f = *state;
  const char *files[] = {f->folder, "/nonexistent/known_hosts"};
  trust_t *trust = NULL;
  diag_t diag = {0};
  assert_int_not_equal(trust_load(files, 1, "h", 22, &trust, &diag), SMPL_OK);
  assert_null(trust);
  assert_non_null(strstr(diag.text, f->folder));
  assert_int_equal(trust_load(files + 1, 1, "h", 22, &trust, &diag), SMPL_OK);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_UNKNOWN);
  trust_free(trust);
}

/* As ssh judges the same files (measured with OpenSSH 9.2), but for what is revoked without a port. */
static void test_a_line_without_a_port_counts_where_the_port_has_no_key(void **state)
{
  const fixture_t *f = *state;
  static const struct {
    const char *first, *second; /* names before our key, and before the other one (of our kind, or ECDSA) */
    bool ecdsa;
    trust_verdict_t verdict;
  } cases[] = {
      {"bastion", NULL, false, TRUST_KNOWN},
      {"bastion", "[bastion]:2222", false, TRUST_CHANGED},
      {"bastion", "[bastion]:2222", true, TRUST_OTHER_KIND},
      {"[bastion]:2222", "bastion", false, TRUST_KNOWN},
      {NULL, "bastion", false, TRUST_UNKNOWN}, /* another port may well have another key */
      {NULL, "bastion", true, TRUST_UNKNOWN},
      {"bastion", "[bastion]:22", false, TRUST_KNOWN},
      {"bastion", "@revoked [bastion]:2222", false, TRUST_KNOWN},
      {"@revoked bastion", NULL, false, TRUST_REVOKED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    FILE *out = fopen(f->file, "w");
    if (cases[i].first)
      fprintf(out, "%s %s\n", cases[i].first, f->ours_text);
    if (cases[i].second)
      fprintf(out, "%s %s\n", cases[i].second, cases[i].ecdsa ? f->ecdsa_text : f->other_text);
    fclose(out);
    trust_t *trust = load(f, "bastion", 2222);
    if (trust_judge(trust, f->ours) != cases[i].verdict)
      fail_msg("case %zu: %d", i, trust_judge(trust, f->ours));
    trust_free(trust);
  }
  char text[4096];
  snprintf(text, sizeof text, "[bastion]:2222 %s\n@revoked bastion %s\n", f->ours_text, f->ours_text);
  write_lines(f, text);
  trust_t *trust = load(f, "bastion", 2222);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_REVOKED); /* ssh connects */
  trust_free(trust);
  snprintf(text, sizeof text, "bastion %s\n", f->ecdsa_text);
  write_lines(f, text);
  trust = load(f, "bastion", 2222);
  assert_int_equal(strncmp(trust_algorithms(trust), "ecdsa-sha2-nistp256,", 20), 0);
  trust_free(trust);
  snprintf(text, sizeof text, "bastion %s\n[bastion]:2222 %s\n", f->ecdsa_text, f->ours_text);
  write_lines(f, text);
  trust = load(f, "bastion", 2222);
  assert_int_equal(strncmp(trust_algorithms(trust), "ssh-ed25519,", 12), 0);
  trust_free(trust);
}

static void test_a_file_may_be_large_and_is_not_cut(void **state)
{
  const fixture_t *f = *state;
  FILE *out = fopen(f->file, "w");
  for (int i = 0; i < 6 << 10; i++)
    fprintf(out, "host%d.example %-1000s\n", i, f->other_text);
  fprintf(out, "bastion %s\n@revoked bastion %s", f->ours_text, f->other_text);
  fclose(out);
  trust_t *trust = load(f, "bastion", 22);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_KNOWN);
  assert_int_equal(trust_judge(trust, f->other), TRUST_REVOKED);
  trust_free(trust);
  for (int more = 0; more < 2; more++) { /* lines that say nothing, up to the limit and beyond it */
    assert_int_equal(truncate(f->file, 0), 0);
    assert_int_equal(truncate(f->file, TRUST_FILE_MAX + more * 2), 0);
    assert_int_equal(load_error(f, "more than 64 MiB"), more ? SMPL_ELIMIT : SMPL_OK);
  }
}

static void test_a_users_list_of_kinds_is_kept_to_with_the_known_ones_first(void **state)
{
  const fixture_t *f = *state;
  char text[2048], chosen[512];
  snprintf(text, sizeof text, "bastion %s\n", f->ecdsa_text);
  write_lines(f, text);
  trust_t *trust = load(f, "bastion", 22);
  static const struct {
    const char *wanted, *chosen;
  } cases[] = {
      {"ssh-ed25519,ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256,ssh-ed25519"},
      {"ssh-ed25519-cert-v01@openssh.com,rsa-sha2-256,ssh-ed25519", "rsa-sha2-256,ssh-ed25519"},
      {"ssh-ed25519", "ssh-ed25519"},
      {"ssh-dss,x", ""},
      {"", ""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_string_equal(trust_choose(trust, cases[i].wanted, chosen, sizeof chosen), cases[i].chosen);
  trust_free(trust);
}

static void test_lines_of_a_command_count_like_those_of_a_file(void **state)
{
  const fixture_t *f = *state;
  write_lines(f, "");
  trust_t *trust = load(f, "bastion", 2222);
  char text[4096], none[] = "";
  snprintf(text, sizeof text, "elsewhere %s\n[bastion]:2222 %s", f->other_text, f->ours_text);
  assert_int_equal(trust_add(trust, none, "KnownHostsCommand", NULL), SMPL_OK);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_UNKNOWN);
  assert_int_equal(trust_add(trust, text, "KnownHostsCommand", NULL), SMPL_OK);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_KNOWN);
  assert_int_equal(trust_judge(trust, f->other), TRUST_CHANGED);
  snprintf(text, sizeof text, "@revoked * %s\n", f->ours_text);
  assert_int_equal(trust_add(trust, text, "KnownHostsCommand", NULL), SMPL_OK);
  assert_int_equal(trust_judge(trust, f->ours), TRUST_REVOKED);
  trust_free(trust);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_line_without_a_port_counts_where_the_port_has_no_key, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(test_a_file_may_be_large_and_is_not_cut, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_users_list_of_kinds_is_kept_to_with_the_known_ones_first, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(test_lines_of_a_command_count_like_those_of_a_file, setup, teardown),
      cmocka_unit_test_setup_teardown(test_names_ports_and_patterns, setup, teardown),
      cmocka_unit_test_setup_teardown(test_another_key_is_a_change_and_another_kind_is_not_trusted, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(test_a_revoked_key_stands_above_a_known_one, setup, teardown),
      cmocka_unit_test_setup_teardown(test_kinds_on_file_are_asked_for_first, setup, teardown),
      cmocka_unit_test_setup_teardown(test_what_is_remembered_is_known_and_spoils_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_limits_of_lines_and_keys, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_revocation_beyond_a_limit_is_an_error_and_not_unheard, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_read_is_an_error_and_a_missing_one_is_not,
                                      setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
