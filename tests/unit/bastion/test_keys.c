/* SPDX-License-Identifier: Apache-2.0 */
/* bastion/policy/hostkey.h, authkeys.h: host keys, users' keys, authorized_keys, and the one decision who has
 * signed in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <libssh/libssh.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bastion/policy/authkeys.h"
#include "common/ssh/base64.h"
#include "bastion/policy/hostkey.h"
#include "common/ssh/signedreq.h"
#include "bastion/contract/userkey.h"
#include "bastion/session/identity.h"
#include "bastion/session/verify.h"
#include "common/base/error.h"
#include "kit.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

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

/* ---- host keys ---- */

static const char *const ed25519_args[] = {"-t", "ed25519", "-N", "", "-C", "a comment", NULL};

static void host_key_of_ssh_keygen_signs(void **state)
{
  (void)state;
  hostkey_t *key;
  diag_t diag = {""};
  kit_keygen("host", ed25519_args);
  assert_int_equal(hostkey_load(kit_path("host"), &key, &diag), SMPL_OK);
  uint8_t data[32] = {1, 2, 3}, signature[MSG_SIGNATURE_MAX], blob[256];
  size_t signature_len;
  assert_int_equal(hostkey_sign(key, 0, data, sizeof data, signature, &signature_len), SMPL_OK);
  /* checked with the public half as ssh-keygen wrote it */
  char line[512];
  FILE *f = fopen(kit_path("host.pub"), "r");
  assert_non_null(f);
  assert_non_null(fgets(line, sizeof line, f));
  fclose(f);
  assert_int_equal(strncmp(line, hostkey_public(key), strlen(hostkey_public(key))), 0);
  const char *body = line + sizeof "ssh-ed25519";
  size_t blob_len;
  assert_int_equal(base64_decode(body, strcspn(body, " \n"), blob, sizeof blob, &blob_len), SMPL_OK);
  userkey_t *pub;
  assert_int_equal(userkey_parse(blob, blob_len, &pub, &diag), SMPL_OK);
  assert_int_equal(userkey_verify(pub, "ssh-ed25519", 11, signature, signature_len, data, sizeof data),
                   SMPL_OK);
  signature[5] ^= 1;
  assert_int_equal(userkey_verify(pub, "ssh-ed25519", 11, signature, signature_len, data, sizeof data),
                   SMPL_EDENIED);
  userkey_free(pub);
  hostkey_free(key);
}

/* Each kind that a bastion can have, as ssh-keygen makes it. */
static const struct host_kind {
  const char *name, *kind, *algorithm;
  const char *args[10];
  unsigned digest, cost;
} host_kinds[] = {
    {"h256",
     "ecdsa-sha2-nistp256",
     "ecdsa-sha2-nistp256",
     {"-t", "ecdsa", "-b", "256", "-N", "", "-C", "x", NULL},
     0,
     1},
    {"h384",
     "ecdsa-sha2-nistp384",
     "ecdsa-sha2-nistp384",
     {"-t", "ecdsa", "-b", "384", "-N", "", "-C", "x", NULL},
     0,
     4},
    {"h521",
     "ecdsa-sha2-nistp521",
     "ecdsa-sha2-nistp521",
     {"-t", "ecdsa", "-b", "521", "-N", "", "-C", "x", NULL},
     0,
     4},
    {"h2048", "ssh-rsa", "rsa-sha2-256", {"-t", "rsa", "-b", "2048", "-N", "", "-C", "x", NULL}, 256, 8},
    {"h4096", "ssh-rsa", "rsa-sha2-512", {"-t", "rsa", "-b", "4096", "-N", "", "-C", "x", NULL}, 512, 8},
    {"h25519", "ssh-ed25519", "ssh-ed25519", {"-t", "ed25519", "-N", "", "-C", "x", NULL}, 0, 1},
};

/* Made once: RSA takes its time. */
static const char *host_key_of(const struct host_kind *h)
{
  if (access(kit_path(h->name), F_OK) != 0)
    kit_keygen(h->name, h->args);
  return kit_path(h->name);
}

static void host_keys_of_every_kind_sign_and_hide_their_private_half(void **state)
{
  (void)state;
  static const unsigned digests[] = {0, 256, 512, 1, 128};
  for (size_t i = 0; i < COUNT(host_kinds); i++) {
    const struct host_kind *h = &host_kinds[i];
    hostkey_t *key;
    diag_t diag = {""};
    if (hostkey_load(host_key_of(h), &key, &diag) != SMPL_OK)
      fail_msg("%s: %s", h->name, diag.text);
    assert_string_equal(hostkey_kind(key), h->kind);
    assert_int_equal(hostkey_cost(key), h->cost);
    uint8_t data[64] = {9, 8, 7}, signature[MSG_SIGNATURE_MAX], blob[1024];
    size_t len, blob_len;
    const char *base64 = strchr(hostkey_public(key), ' ') + 1;
    assert_int_equal(base64_decode(base64, strlen(base64), blob, sizeof blob, &blob_len), SMPL_OK);
    userkey_t *pub;
    assert_int_equal(userkey_parse(blob, blob_len, &pub, &diag), SMPL_OK);
    assert_int_equal(hostkey_sign(key, h->digest, data, sizeof data, signature, &len), SMPL_OK);
    assert_int_equal(userkey_verify(pub, h->algorithm, strlen(h->algorithm), signature, len, data,
                                    sizeof data),
                     SMPL_OK);
    for (size_t d = 0; d < COUNT(digests);
         d++) { /* the digest is the key's own, or one of SHA-2 that RSA takes */
      bool rsa = strcmp(h->kind, "ssh-rsa") == 0;
      bool takes = rsa ? digests[d] == 256 || digests[d] == 512 : digests[d] == 0;
      assert_int_equal(hostkey_sign(key, digests[d], data, sizeof data, signature, &len),
                       takes ? SMPL_OK : SMPL_EINVAL);
    }
    userkey_free(pub);
    hostkey_free(key);
  }
}

enum { WINDOW = 16 };

static size_t unarmoured(const char *text, uint8_t *out, size_t cap)
{
  char body[8192];
  size_t used = 0, len;
  for (const char *c = strchr(text, '\n'); c[1] != '-'; c = strchr(c + 1, '\n'))
    for (const char *k = c + 1; *k != '\n'; k++)
      body[used++] = *k;
  assert_int_equal(base64_decode(body, used, out, cap, &len), SMPL_OK);
  return len;
}

/* Nothing that stands behind the public half in the true file stands anywhere in the hollow one. */
static void holds_no_secret(const char *path, const char *hollow, const uint8_t *blob, size_t blob_len)
{
  static char text[8192];
  uint8_t whole[8192], seen[8192];
  FILE *f = fopen(path, "r");
  text[fread(text, 1, sizeof text - 1, f)] = '\0';
  fclose(f);
  size_t len = unarmoured(text, whole, sizeof whole), seen_len = unarmoured(hollow, seen, sizeof seen);
  const uint8_t *tail = blob + blob_len - WINDOW, *at = whole;
  for (int i = 0; i < 2; i++) { /* the second time: in the secret part */
    at = memmem(at, (size_t)(whole + len - at), tail, WINDOW);
    assert_non_null(at);
    at += WINDOW;
  }
  assert_true(whole + len - at > 40);
  for (; at + WINDOW <= whole + len; at++)
    assert_true(memmem(seen, seen_len, at, WINDOW) == NULL ||
                memmem(blob, blob_len, at, WINDOW / 2) != NULL || /* ed25519: the public half again */
                memmem(blob, blob_len, at + WINDOW / 2, WINDOW / 2) != NULL);
}

static void hollow_keys_of_every_kind_are_the_public_half_for_libssh(void **state)
{
  (void)state;
  for (size_t i = 0; i < COUNT(host_kinds); i++) {
    const struct host_kind *h = &host_kinds[i];
    hostkey_t *key;
    static char text[MSG_HOST_KEY_MAX];
    assert_int_equal(hostkey_load(host_key_of(h), &key, NULL), SMPL_OK);
    assert_int_equal(hostkey_hollow(key, text), SMPL_OK);
    ssh_key imported = NULL, pub = NULL;
    char *base64 = NULL;
    if (ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &imported) != SSH_OK)
      fail_msg("%s: libssh does not take the hollow key", h->name);
    assert_int_equal(ssh_pki_export_privkey_to_pubkey(imported, &pub), SSH_OK);
    assert_int_equal(ssh_pki_export_pubkey_base64(pub, &base64), SSH_OK);
    assert_string_equal(base64, strchr(hostkey_public(key), ' ') + 1);
    uint8_t blob[1024];
    size_t blob_len;
    assert_int_equal(base64_decode(base64, strlen(base64), blob, sizeof blob, &blob_len), SMPL_OK);
    holds_no_secret(host_key_of(h), text, blob, blob_len);
    ssh_string_free_char(base64);
    ssh_key_free(pub);
    ssh_key_free(imported);
    hostkey_free(key);
  }
}

static void a_second_host_key_of_a_family_is_refused_and_named(void **state)
{
  (void)state;
  hostkeys_t *all;
  diag_t diag = {""};
  size_t at;
  char first[256], second[256], third[256], text[HOSTKEY_TEXT_MAX];
  snprintf(first, sizeof first, "%s", host_key_of(&host_kinds[0]));
  snprintf(second, sizeof second, "%s", host_key_of(&host_kinds[5]));
  snprintf(third, sizeof third, "%s", host_key_of(&host_kinds[1]));
  const char *const same[] = {first, second, third};
  assert_int_equal(hostkeys_load(same, 3, &all, &at, &diag), SMPL_EINVAL);
  assert_null(all);
  assert_int_equal(at, 2);
  assert_non_null(strstr(diag.text, "h384: there is a host key of kind ecdsa already"));
  snprintf(third, sizeof third, "%s", host_key_of(&host_kinds[3]));
  assert_int_equal(hostkeys_load(same, 3, &all, &at, &diag), SMPL_OK);
  assert_int_equal(hostkeys_count(all), 3);
  assert_string_equal(hostkey_kind(hostkeys_get(all, 0)), "ecdsa-sha2-nistp256");
  assert_null(hostkeys_get(all, 3));
  hostkeys_describe(all, text, sizeof text);
  assert_ptr_equal(strstr(text, "ecdsa-sha2-nistp256 SHA256:"), text);
  assert_non_null(strstr(text, ", ssh-rsa SHA256:"));
  hostkeys_t *other;
  assert_int_equal(hostkeys_load(same, 2, &other, &at, &diag), SMPL_OK);
  assert_true(hostkeys_same(all, all));
  assert_false(hostkeys_same(all, other));
  hostkeys_t *again = hostkeys_share(all);
  hostkeys_free(all);
  assert_int_equal(hostkeys_count(again), 3); /* the other owner's */
  hostkeys_free(again);
  hostkeys_free(other);
}

static void load_fails(const char *name, int want, const char *saying)
{
  hostkey_t *key;
  diag_t diag = {""};
  int err = hostkey_load(kit_path(name), &key, &diag);
  if (err != want || strstr(diag.text, saying) == NULL)
    fail_msg("%s: %d %s", name, err, diag.text);
  assert_null(key);
}

static void host_keys_that_will_not_do_are_refused_with_the_reason(void **state)
{
  (void)state;
  static const char *const locked[] = {"-t", "ed25519", "-N", "secret", NULL};
  static const char *const sealed[] = {"-t", "ed25519", "-N", "secret", "-Z", "aes256-gcm@openssh.com", NULL};
  static const char *const small[] = {"-t", "rsa", "-b", "1024", "-N", "", NULL};
  static const char *const large[] = {"-t", "rsa", "-b", "4104", "-N", "", NULL};
  static const char *const pem[] = {"-t", "ecdsa", "-m", "PEM", "-N", "", NULL};
  kit_keygen("locked", locked);
  load_fails("locked", SMPL_EDENIED, "passphrase");
  kit_keygen("sealed", sealed);
  load_fails("sealed", SMPL_EDENIED, "passphrase");
  kit_keygen("small", small);
  load_fails("small", SMPL_ELIMIT, "an RSA host key has 2048 to 4096 bits");
  kit_keygen("large", large);
  load_fails("large", SMPL_ELIMIT, "an RSA host key has 2048 to 4096 bits");
  kit_keygen("pem", pem);
  load_fails("pem", SMPL_EINVAL, "not an OpenSSH private key");
  kit_write("open", "x", 0644);
  load_fails("open", SMPL_EDENIED, "chmod 600");
  kit_write("junk", "hello", 0600);
  load_fails("junk", SMPL_EINVAL, "not an OpenSSH private key");
  load_fails("absent", SMPL_ENOENT, "absent");
}

/* Nearly every single damaged byte of the body is noticed: of what is not, the check numbers agree still, or
 * the comment is another. */
static void damage(const char *path, size_t step)
{
  static char text[8192], copy[8192];
  FILE *f = fopen(path, "r");
  size_t len = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[len] = '\0';
  size_t start = (size_t)(strchr(text, '\n') - text) + 1, refused = 0, accepted = 0;
  size_t end = (size_t)(strstr(text, "-----END") - text);
  for (size_t i = start; i < end; i += step) {
    hostkey_t *key;
    memcpy(copy, text, len + 1);
    if (copy[i] == '\n')
      continue;
    copy[i] = copy[i] == 'A' ? 'Z' : 'A';
    if (hostkey_parse("x", copy, len, &key, NULL))
      refused++;
    else
      accepted++;
    hostkey_free(key);
    assert_true(hostkey_parse("x", text, i, &key, NULL) != SMPL_OK); /* cut off */
  }
  assert_true(refused > accepted * 5);
}

static void damaged_host_keys_are_refused(void **state)
{
  (void)state;
  damage(host_key_of(&host_kinds[5]), 1);
  damage(host_key_of(&host_kinds[0]), 1);
  damage(host_key_of(&host_kinds[3]), 7);
}

/* ---- authorized_keys ---- */

static const char *const all_kinds[] = {"ssh-ed25519",
                                        "ecdsa-sha2-nistp256",
                                        "ecdsa-sha2-nistp384",
                                        "ecdsa-sha2-nistp521",
                                        "ssh-rsa",
                                        "sk-ssh-ed25519@openssh.com",
                                        "sk-ecdsa-sha2-nistp256@openssh.com"};

static void parse_fine(const char *text, size_t len, authkeys_t *file)
{
  faults_t faults = {0};
  assert_int_equal(authkeys_parse("keys", text, len, file, &faults), SMPL_OK);
  if (faults.count > 0)
    fail_msg("%s", faults.list[0].text);
  faults_free(&faults);
}

static void every_kind_of_key_is_read(void **state)
{
  (void)state;
  char text[16384] = "# a comment\n\n   \n";
  kit_key_t keys[COUNT(all_kinds)];
  for (size_t i = 0; i < COUNT(all_kinds); i++) {
    kit_key_new(&keys[i], all_kinds[i], 2048);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s%s%s", i % 2 ? "restrict,no-pty " : "  ", keys[i].line,
             i % 3 ? " somebody@somewhere\r\n" : "\n");
  }
  authkeys_t file;
  parse_fine(text, strlen(text), &file);
  assert_int_equal(file.count, COUNT(all_kinds));
  for (size_t i = 0; i < COUNT(all_kinds); i++) {
    const authkey_t *found = authkeys_find(&file, keys[i].blob, keys[i].blob_len);
    assert_non_null(found);
    assert_string_equal(userkey_kind(found->key), all_kinds[i]);
    assert_int_equal(found->line, i + 4);
    assert_string_equal(found->comment, i % 3 ? "somebody@somewhere" : "");
    assert_null(authkeys_find(&file, keys[i].blob, keys[i].blob_len - 1));
    kit_key_free(&keys[i]);
  }
  authkeys_free(&file);
}

static void take(const char *options, const kit_key_t *key, authkeys_t *file)
{
  char text[8192];
  snprintf(text, sizeof text, "%s %s c\n", options, key->line);
  parse_fine(text, strlen(text), file);
}

static void a_key_may_end_and_be_bound_to_sources(void **state)
{
  (void)state;
  kit_key_t ed;
  authkeys_t file;
  ip_t inside, taken_out, outside;
  kit_key_new(&ed, "ssh-ed25519", 0);
  ip_parse("10.2.3.4", &inside);
  ip_parse("10.1.3.4", &taken_out);
  ip_parse("192.0.2.1", &outside);
  take("restrict,from=\"10.0.0.0/8,!10.1.0.0/16,fd00::/8\",Expiry-Time=\"20270102030405Z\"", &ed, &file);
  const authkey_t *key = &file.keys[0];
  assert_int_equal(key->expires, 1798859045);
  assert_int_equal(verify_usable(key, &inside, 1798859044), REASON_NONE);
  assert_int_equal(verify_usable(key, &inside, 1798859045), REASON_KEY_EXPIRED);
  assert_int_equal(verify_usable(key, &taken_out, 1), REASON_SOURCE_NOT_ALLOWED);
  assert_int_equal(verify_usable(key, &outside, 1), REASON_SOURCE_NOT_ALLOWED);
  authkeys_free(&file);
  take("expiry-time=20270102Z,expiry-time=20280102Z", &ed, &file);
  assert_int_equal(file.keys[0].expires, 1798848000);
  assert_int_equal(verify_usable(&file.keys[0], &outside, 1), REASON_NONE);
  authkeys_free(&file);
  take("expiry-time=\"202701020304Z\"", &ed, &file);
  assert_int_equal(file.keys[0].expires, 1798859040);
  authkeys_free(&file);
  char options[AUTHKEYS_FROM_MAX * 16] = "from=\"10.0.0.1", many[sizeof options + 16];
  for (size_t i = 1; i < AUTHKEYS_FROM_MAX; i++)
    snprintf(options + strlen(options), sizeof options - strlen(options), ",10.0.0.1");
  snprintf(many, sizeof many, "%s\"", options);
  take(many, &ed, &file);
  assert_int_equal(file.keys[0].from_count, AUTHKEYS_FROM_MAX);
  authkeys_free(&file);
  kit_key_free(&ed);
}

static kit_key_t before_it, behind_it;

/* The line counts as absent, is named, and takes nothing else of the file away. */
static void refuses_line(const char *line, const char *saying)
{
  authkeys_t file;
  faults_t faults = {0};
  char text[16384];
  snprintf(text, sizeof text, "%s\n%s\n%s\n", before_it.line, line, behind_it.line);
  assert_int_equal(authkeys_parse("keys", text, strlen(text), &file, &faults), SMPL_OK);
  if (faults.errors != 1)
    fail_msg("accepted: %s", line);
  if (strstr(faults.list[0].text, saying) == NULL || strncmp(faults.list[0].text, "keys:2: ", 8) != 0)
    fail_msg("%s\n  says: %s", line, faults.list[0].text);
  assert_int_equal(file.count, 2);
  assert_non_null(authkeys_find(&file, before_it.blob, before_it.blob_len));
  assert_non_null(authkeys_find(&file, behind_it.blob, behind_it.blob_len));
  authkeys_free(&file);
  faults_free(&faults);
}

static void a_line_that_holds_no_key_of_ours_counts_as_absent_and_the_others_stay(void **state)
{
  (void)state;
  kit_key_t ed, weak;
  char line[8192];
  kit_key_new(&ed, "ssh-ed25519", 0);
  kit_key_new(&before_it, "ssh-ed25519", 0);
  kit_key_new(&behind_it, "ssh-ed25519", 0);
  kit_key_new(&weak, "ssh-rsa", 1024);
  static const char *const before[][2] = {{"from=\"*.example.com\"", "from= takes addresses"},
                                          {"from=\"10.0.0.1/8\"", "from= takes addresses"},
                                          {"from=\"\"", "from= takes addresses"},
                                          {"from=\"!10.0.0.1\"", "nobody could use the key"},
                                          {"from=\"10.0.0.1\",from=\"10.0.0.2\"", "twice"},
                                          {"expiry-time=\"20261301\"", "expiry-time= is"},
                                          {"expiry-time=\"20260230\"", "expiry-time= is"},
                                          {"expiry-time=2026010", "expiry-time= is"},
                                          {"expiry-time=\"2026010112\"", "expiry-time= is"},
                                          {"expiry-time=\"202601012460Z\"", "expiry-time= is"},
                                          {"expiry-time=\"tomorrow\"", "expiry-time= is"},
                                          {"expiry-time", "option \"expiry-time"},
                                          {"command=\"a b\",restrict", "option \"command="},
                                          {"cert-authority", "certificates are not accepted"},
                                          {"restrict,,no-pty", "option \"\""},
                                          {"no-touch-required", "sk- keys only"},
                                          {"environment=\"A=B", "quote"}};
  for (size_t i = 0; i < COUNT(before); i++) {
    snprintf(line, sizeof line, "%s %s", before[i][0], ed.line);
    refuses_line(line, before[i][1]);
  }
  refuses_line(weak.line, "too weak");
  snprintf(line, sizeof line, "\xef\xbb\xbf%s", ed.line); /* an editor's byte order mark */
  refuses_line(line, "expected a key or its options, got neither");
  refuses_line("ssh-ed25519", "not base64");
  refuses_line("ssh-ed25519 AAAA", "malformed");
  refuses_line("ssh-ed25519 !!!!", "not base64");
  refuses_line("ssh-dss AAAAB3NzaC1kc3M=", "expected a key of kind");
  refuses_line("ssh-ed25519-cert-v01@openssh.com AAAA", "certificates are not accepted");
  snprintf(line, sizeof line, "ecdsa-sha2-nistp256 %s", ed.line + sizeof "ssh-ed25519");
  refuses_line(line, "but the key is of kind ssh-ed25519");
  snprintf(line, sizeof line, "%.60s", ed.line);
  refuses_line(line, "");
  kit_key_free(&ed);
  kit_key_free(&weak);
}

/* What is left of a text, and what is said of it first; "" if nothing is. */
static size_t kept_of(const char *text, char *said, size_t cap)
{
  authkeys_t file;
  faults_t faults = {0};
  assert_int_equal(authkeys_parse("keys", text, strlen(text), &file, &faults), SMPL_OK);
  snprintf(said, cap, "%s", faults.count > 0 ? faults.list[0].text : "");
  size_t kept = file.count;
  authkeys_free(&file);
  faults_free(&faults);
  return kept;
}

static void a_key_that_is_there_twice_counts_once_or_if_its_options_differ_not_at_all(void **state)
{
  (void)state;
  kit_key_t ed;
  char text[16384], said[512];
  kit_key_new(&ed, "ssh-ed25519", 0);
  snprintf(text, sizeof text, "%s\n%s again\n", ed.line, ed.line);
  assert_int_equal(kept_of(text, said, sizeof said), 1);
  assert_string_equal(said, "keys:2: the key of line 1 again; it counts once");
  static const char *const options[] = {"expiry-time=\"20200101Z\"", "from=\"10.0.0.0/8\"",
                                        "from=\"!10.1.0.0/16,10.0.0.0/8\""};
  for (size_t i = 0; i < COUNT(options); i++) {
    snprintf(text, sizeof text, "%s\n%s %s\n%s\n", ed.line, options[i], ed.line, ed.line);
    assert_int_equal(kept_of(text, said, sizeof said), 0);
    assert_string_equal(said, "keys:2: the key of line 1 again, with other options: neither line counts");
    snprintf(text, sizeof text, "%s %s\n%s\n", options[i], ed.line, ed.line);
    assert_int_equal(kept_of(text, said, sizeof said), 0);
    snprintf(text, sizeof text, "%s %s\n%s %s\n", options[i], ed.line, options[i], ed.line);
    assert_int_equal(kept_of(text, said, sizeof said), 1);
  }
  kit_key_free(&ed);
}

static void of_a_private_key_no_line_is_told(void **state)
{
  (void)state;
  kit_key_t ed;
  char text[16384], said[512];
  kit_key_new(&ed, "ssh-ed25519", 0);
  snprintf(text, sizeof text, "%s\n-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n%s\n", ed.line, ed.line);
  authkeys_t file;
  faults_t faults = {0};
  assert_int_equal(authkeys_parse("keys", text, strlen(text), &file, &faults), SMPL_OK);
  assert_int_equal(file.count, 1);
  assert_int_equal(faults.count, 1);
  assert_non_null(strstr(faults.list[0].text, "keys:2: begins what is no public key"));
  authkeys_free(&file);
  faults_free(&faults);
  assert_int_equal(kept_of("root:$6$c2VjcmV0:1:0:99999:7:::\n", said, sizeof said), 0);
  assert_null(strstr(said, "c2VjcmV0"));
  assert_int_equal(kept_of("# none\n", said, sizeof said), 0);
  assert_string_equal(said, "");
  kit_key_free(&ed);
}

static void a_file_stops_at_its_limit_of_keys(void **state)
{
  (void)state;
  static char text[(AUTHKEYS_KEYS_MAX + 2) * 128];
  size_t used = 0, at_limit = 0;
  kit_key_t k;
  for (int i = 0; i <= AUTHKEYS_KEYS_MAX + 1; i++) {
    if (i == AUTHKEYS_KEYS_MAX)
      at_limit = used;
    kit_key_new(&k, "ssh-ed25519", 0);
    used += (size_t)snprintf(text + used, sizeof text - used, "%s\n", k.line);
    kit_key_free(&k);
  }
  authkeys_t file;
  faults_t faults = {0};
  parse_fine(text, at_limit, &file);
  assert_int_equal(file.count, AUTHKEYS_KEYS_MAX);
  authkeys_free(&file);
  assert_int_equal(authkeys_parse("k", text, used, &file, &faults), SMPL_OK);
  assert_int_equal(file.count, AUTHKEYS_KEYS_MAX);
  assert_int_equal(faults.errors, 1);
  assert_non_null(strstr(faults.list[0].text, "k:257: more than 256 keys"));
  authkeys_free(&file);
  faults_free(&faults);
}

static void what_is_kept_of_faults_has_a_limit_and_all_are_counted(void **state)
{
  (void)state;
  faults_t faults = {0};
  for (int i = 0; i < FAULTS_MAX + 5; i++)
    faults_add(&faults, i % 2 == 0 ? FAULT_ERROR : FAULT_WARNING, "f:%d: x\n", i);
  assert_int_equal(faults.count, FAULTS_MAX);
  assert_int_equal(faults.errors + faults.warnings, FAULTS_MAX + 5);
  assert_string_equal(faults.list[0].text, "f:0: x\\x0a");
  json_t *told = faults_json(&faults);
  assert_int_equal(json_array_size(json_object_get(told, "lines")), FAULTS_SHOWN_MAX);
  assert_int_equal(json_integer_value(json_object_get(told, "absent")), FAULTS_MAX / 2 + 3);
  json_decref(told);
  faults_free(&faults);
  assert_int_equal(faults.errors, 0);
}

/* ---- who has signed in ---- */

typedef struct world {
  config_t config;
  user_conf_t users[2];
  uint8_t hash[32];
} world_t;

static void world_new(world_t *w, const kit_key_t *key, const char *options)
{
  memset(w, 0, sizeof *w);
  char text[8192];
  snprintf(text, sizeof text, "%s%s\n", options, key->line);
  w->users[0].name = "other";
  w->users[1].name = "dev";
  kit_key_t unrelated;
  kit_key_new(&unrelated, "ssh-ed25519", 0);
  parse_fine(unrelated.line, strlen(unrelated.line), &w->users[0].keys);
  kit_key_free(&unrelated);
  parse_fine(text, strlen(text), &w->users[1].keys);
  w->config.users = (conf_list_t){w->users, 2};
  memset(w->hash, 7, sizeof w->hash);
}

static void world_free(world_t *w)
{
  authkeys_free(&w->users[0].keys);
  authkeys_free(&w->users[1].keys);
}

static cursor_t hash_of(const world_t *w)
{
  return (cursor_t){w->hash, sizeof w->hash};
}

static size_t request(const world_t *w, const char *user, const char *algorithm, const kit_key_t *key,
                      uint8_t *out)
{
  size_t len;
  cursor_t blob = {key->blob, key->blob_len};
  assert_int_equal(signedreq_build(hash_of(w), user, algorithm, blob, out, MSG_SIGNED_MAX, &len), SMPL_OK);
  return len;
}

static reason_t judge(const world_t *w, const kit_key_t *key, const char *digest, const uint8_t *data,
                      size_t len)
{
  uint8_t signature[MSG_SIGNATURE_MAX];
  size_t signature_len = kit_sign(key, digest, data, len, signature, sizeof signature);
  verify_result_t r = verify_login(&w->config, hash_of(w), signature, signature_len, data, len);
  if (r.reason == REASON_NONE) {
    assert_string_equal(r.user, "dev");
    assert_int_equal(r.blob.len, key->blob_len);
    assert_memory_equal(r.blob.data, key->blob, key->blob_len);
    signature[signature_len / 2] ^= 0x10; /* and not with another signature */
    assert_int_equal(verify_login(&w->config, hash_of(w), signature, signature_len, data, len).reason,
                     REASON_BAD_SIGNATURE);
    assert_int_equal(verify_login(&w->config, hash_of(w), signature, 0, data, len).reason,
                     REASON_BAD_SIGNATURE);
  }
  return r.reason;
}

static void a_signature_of_each_plain_kind_signs_in(void **state)
{
  (void)state;
  uint8_t data[MSG_SIGNED_MAX];
  for (size_t i = 0; i < 5; i++) {
    kit_key_t key;
    world_t w;
    kit_key_new(&key, all_kinds[i], 3072);
    world_new(&w, &key, "");
    size_t len = request(&w, "dev", key.algorithm, &key, data);
    assert_int_equal(judge(&w, &key, key.digest, data, len), REASON_NONE);
    world_free(&w);
    kit_key_free(&key);
  }
}

static void rsa_signs_with_sha2_only(void **state)
{
  (void)state;
  uint8_t data[MSG_SIGNED_MAX];
  kit_key_t key;
  world_t w;
  kit_key_new(&key, "ssh-rsa", 2048);
  world_new(&w, &key, "");
  size_t len = request(&w, "dev", "rsa-sha2-256", &key, data);
  assert_int_equal(judge(&w, &key, "SHA256", data, len), REASON_NONE);
  assert_int_equal(judge(&w, &key, "SHA512", data, len), REASON_BAD_SIGNATURE);
  len = request(&w, "dev", "ssh-rsa", &key, data);
  assert_int_equal(judge(&w, &key, "SHA1", data, len), REASON_BAD_SIGNATURE);
  assert_int_equal(judge(&w, &key, "SHA256", data, len), REASON_BAD_SIGNATURE);
  world_free(&w);
  kit_key_free(&key);
}

static void nothing_but_this_session_user_and_key_signs_in(void **state)
{
  (void)state;
  uint8_t data[MSG_SIGNED_MAX];
  kit_key_t key, stranger;
  world_t w;
  kit_key_new(&key, "ssh-ed25519", 0);
  kit_key_new(&stranger, "ssh-ed25519", 0);
  world_new(&w, &key, "");
  size_t len = request(&w, "dev", "ssh-ed25519", &key, data);
  w.hash[0] ^= 1; /* a signature for another session */
  assert_int_equal(judge(&w, &key, NULL, data, len), REASON_BAD_SIGNATURE);
  w.hash[0] ^= 1;
  assert_int_equal(judge(&w, &stranger, NULL, data, len), REASON_BAD_SIGNATURE); /* by another key */
  cursor_t none = {w.hash, 0};
  uint8_t signature[64];
  kit_sign(&key, NULL, data, len, signature, sizeof signature);
  assert_int_equal(verify_login(&w.config, none, signature, 64, data, len).reason, REASON_BAD_SIGNATURE);
  len = request(&w, "dev", "ssh-ed25519", &stranger, data);
  assert_int_equal(judge(&w, &stranger, NULL, data, len), REASON_UNKNOWN_KEY);
  len = request(&w, "other", "ssh-ed25519", &key, data);
  assert_int_equal(judge(&w, &key, NULL, data, len), REASON_UNKNOWN_KEY);
  len = request(&w, "nobody", "ssh-ed25519", &key, data);
  assert_int_equal(judge(&w, &key, NULL, data, len), REASON_UNKNOWN_USER);
  len = request(&w, "dev", "ecdsa-sha2-nistp256", &key, data);
  assert_int_equal(judge(&w, &key, NULL, data, len), REASON_BAD_SIGNATURE);
  world_free(&w);
  kit_key_free(&key);
  kit_key_free(&stranger);
}

/* Each byte of the signed data counts: changed or cut, the request says something else or nothing. */
static void no_other_form_of_the_signed_data_signs_in(void **state)
{
  (void)state;
  uint8_t data[MSG_SIGNED_MAX + 1];
  kit_key_t key;
  world_t w;
  kit_key_new(&key, "ssh-ed25519", 0);
  world_new(&w, &key, "");
  size_t len = request(&w, "dev", "ssh-ed25519", &key, data);
  for (size_t i = 0; i < len; i++) {
    data[i] ^= 0x01;
    assert_int_not_equal(judge(&w, &key, NULL, data, len), REASON_NONE);
    data[i] ^= 0x01;
    assert_int_not_equal(judge(&w, &key, NULL, data, i), REASON_NONE);
  }
  data[len] = 0;
  assert_int_not_equal(judge(&w, &key, NULL, data, len + 1), REASON_NONE);
  assert_int_equal(judge(&w, &key, NULL, data, len), REASON_NONE);
  world_free(&w);
  kit_key_free(&key);
}

static size_t sk_data(const world_t *w, const char *user, const kit_key_t *key, uint8_t flags, uint8_t *out)
{
  uint8_t data[MSG_SIGNED_MAX];
  size_t len = request(w, user, key->kind, key, data);
  SHA256((const uint8_t *)"ssh:", 4, out);
  out[32] = flags;
  memcpy(out + 33, "\0\0\0\5", 4);
  SHA256(data, len, out + 37);
  return USERKEY_SK_SIGNED_LEN;
}

static void security_keys_sign_in_when_touched(void **state)
{
  (void)state;
  uint8_t data[USERKEY_SK_SIGNED_LEN];
  for (size_t i = 5; i < COUNT(all_kinds); i++) {
    kit_key_t key;
    world_t w;
    kit_key_new(&key, all_kinds[i], 0);
    world_new(&w, &key, "");
    size_t len = sk_data(&w, "dev", &key, USERKEY_SK_TOUCHED, data);
    assert_int_equal(judge(&w, &key, key.digest, data, len), REASON_NONE);
    len = sk_data(&w, "dev", &key, 0, data);
    assert_int_equal(judge(&w, &key, key.digest, data, len), REASON_BAD_SIGNATURE);
    len = sk_data(&w, "other", &key, USERKEY_SK_TOUCHED, data); /* not on that user's file */
    assert_int_equal(judge(&w, &key, key.digest, data, len), REASON_BAD_SIGNATURE);
    uint8_t plain[MSG_SIGNED_MAX]; /* the request itself, signed as by a plain key */
    len = request(&w, "dev", key.kind, &key, plain);
    assert_int_equal(judge(&w, &key, key.digest, plain, len), REASON_BAD_SIGNATURE);
    world_free(&w);
    world_new(&w, &key, "no-touch-required ");
    len = sk_data(&w, "dev", &key, 0, data);
    assert_int_equal(judge(&w, &key, key.digest, data, len), REASON_NONE);
    world_free(&w);
    world_new(&w, &key, "verify-required ");
    len = sk_data(&w, "dev", &key, USERKEY_SK_TOUCHED, data);
    assert_int_equal(judge(&w, &key, key.digest, data, len), REASON_BAD_SIGNATURE);
    len = sk_data(&w, "dev", &key, USERKEY_SK_TOUCHED | USERKEY_SK_VERIFIED, data);
    assert_int_equal(judge(&w, &key, key.digest, data, len), REASON_NONE);
    world_free(&w);
    kit_key_free(&key);
  }
}

/* What signed in, made of a signature. */
static identity_t identify(const world_t *w, const kit_key_t *key, const uint8_t *data, size_t len)
{
  uint8_t signature[MSG_SIGNATURE_MAX];
  identity_t id;
  size_t signature_len = kit_sign(key, key->digest, data, len, signature, sizeof signature);
  verify_result_t r = verify_login(&w->config, hash_of(w), signature, signature_len, data, len);
  assert_int_equal(r.reason, REASON_NONE);
  assert_int_equal(identity_make(&r, &id), SMPL_OK);
  assert_true(identity_is(&id, "dev", key->blob, key->blob_len));
  assert_false(identity_is(&id, "other", key->blob, key->blob_len));
  assert_false(identity_is(&id, "dev", key->blob, key->blob_len - 1));
  return id;
}

static void what_signed_in_is_known_by_how_and_how_strongly(void **state)
{
  (void)state;
  uint8_t data[MSG_SIGNED_MAX];
  grant_subject_t subject;
  ip_t source;
  for (size_t i = 0; i < COUNT(all_kinds); i++) {
    kit_key_t key;
    world_t w;
    bool touched = i >= 5;
    kit_key_new(&key, all_kinds[i], 2048);
    world_new(&w, &key, "expiry-time=\"20400101Z\" ");
    size_t len = touched ? sk_data(&w, "dev", &key, USERKEY_SK_TOUCHED, data)
                         : request(&w, "dev", key.algorithm, &key, data);
    identity_t id = identify(&w, &key, data, len);
    assert_int_equal(id.how, touched ? VERIFY_SECURITY_KEY : VERIFY_KEY);
    assert_int_equal(id.strength, touched ? VERIFY_TOUCHED : 0);
    assert_true(id.until > 0);
    assert_int_equal(ip_parse("192.0.2.1", &source), SMPL_OK);
    assert_int_equal(identity_judge(&id, &w.config, &source, id.until - 1), REASON_NONE);
    assert_int_equal(identity_judge(&id, &w.config, &source, id.until), REASON_KEY_EXPIRED);
    assert_true(identity_subject(&id, &w.config, &subject));
    assert_string_equal(subject.user, "dev");
    w.users[1].name = "gone";
    assert_int_equal(identity_judge(&id, &w.config, &source, 0), REASON_UNKNOWN_KEY);
    assert_false(identity_subject(&id, &w.config, &subject));
    world_free(&w);
    kit_key_free(&key);
  }
}

static void points_off_their_curve_are_refused(void **state)
{
  (void)state;
  kit_key_t key;
  userkey_t *read;
  diag_t diag = {""};
  kit_key_new(&key, "ecdsa-sha2-nistp256", 0);
  key.blob[key.blob_len - 1] ^= 1;
  assert_int_equal(userkey_parse(key.blob, key.blob_len, &read, &diag), SMPL_EINVAL);
  key.blob[key.blob_len - 1] ^= 1;
  assert_int_equal(userkey_parse(key.blob, key.blob_len, &read, NULL), SMPL_OK);
  userkey_free(read);
  for (size_t len = 0; len < key.blob_len; len++)
    assert_int_not_equal(userkey_parse(key.blob, len, &read, NULL), SMPL_OK);
  kit_key_free(&key);
}

static void base64_is_strict(void **state)
{
  (void)state;
  static const char *const bad[] = {"",
                                    "A",
                                    "AA",
                                    "AAA",
                                    "A===",
                                    "AA=A",
                                    "AAAA=",
                                    "AA A",
                                    "AA\nA",
                                    "AAA*",
                                    "=AAA",
                                    "AA=="
                                    "AAAA"};
  uint8_t out[64];
  size_t len;
  for (size_t i = 0; i < COUNT(bad); i++)
    if (base64_decode(bad[i], strlen(bad[i]), out, sizeof out, &len) == SMPL_OK)
      fail_msg("accepted: %s", bad[i]);
  assert_int_equal(base64_decode("TWFu", 4, out, 3, &len), SMPL_OK);
  assert_int_equal(len, 3);
  assert_int_equal(base64_decode("TWE=", 4, out, 3, &len), SMPL_OK);
  assert_int_equal(len, 2);
  assert_int_equal(base64_decode("TWFuTWFu", 8, out, 5, &len), SMPL_ELIMIT);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(host_key_of_ssh_keygen_signs),
      cmocka_unit_test(host_keys_of_every_kind_sign_and_hide_their_private_half),
      cmocka_unit_test(hollow_keys_of_every_kind_are_the_public_half_for_libssh),
      cmocka_unit_test(a_second_host_key_of_a_family_is_refused_and_named),
      cmocka_unit_test(host_keys_that_will_not_do_are_refused_with_the_reason),
      cmocka_unit_test(damaged_host_keys_are_refused),
      cmocka_unit_test(every_kind_of_key_is_read),
      cmocka_unit_test(a_key_may_end_and_be_bound_to_sources),
      cmocka_unit_test(a_line_that_holds_no_key_of_ours_counts_as_absent_and_the_others_stay),
      cmocka_unit_test(a_key_that_is_there_twice_counts_once_or_if_its_options_differ_not_at_all),
      cmocka_unit_test(of_a_private_key_no_line_is_told),
      cmocka_unit_test(what_is_kept_of_faults_has_a_limit_and_all_are_counted),
      cmocka_unit_test(a_file_stops_at_its_limit_of_keys),
      cmocka_unit_test(a_signature_of_each_plain_kind_signs_in),
      cmocka_unit_test(rsa_signs_with_sha2_only),
      cmocka_unit_test(nothing_but_this_session_user_and_key_signs_in),
      cmocka_unit_test(no_other_form_of_the_signed_data_signs_in),
      cmocka_unit_test(security_keys_sign_in_when_touched),
      cmocka_unit_test(what_signed_in_is_known_by_how_and_how_strongly),
      cmocka_unit_test(points_off_their_curve_are_refused),
      cmocka_unit_test(base64_is_strict),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
