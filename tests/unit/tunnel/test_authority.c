/* SPDX-License-Identifier: Apache-2.0 */
/* What a host certificate says, once its signature is known to be right. */
#include "tunnel/trust/authority.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct blob {
  uint8_t bytes[512];
  size_t len;
} blob_t;

static void add_number(blob_t *b, size_t bytes, uint64_t value)
{
  for (size_t i = 0; i < bytes; i++)
    b->bytes[b->len++] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static void add(blob_t *b, const char *text, size_t len)
{
  add_number(b, 4, len);
  memcpy(b->bytes + b->len, text, len);
  b->len += len;
}

typedef struct says {
  const char *type, *key, *signature, *critical;
  const char *names[3];
  unsigned kind;
  uint64_t after, before;
} says_t;

static const says_t good = {.type = "ssh-ed25519-cert-v01@openssh.com",
                            .key = "key.",
                            .signature = "ssh-ed25519",
                            .critical = "",
                            .names = {"other", "host"},
                            .kind = 2,
                            .after = 1000,
                            .before = 2000};

static blob_t write_certificate(const says_t *s)
{
  blob_t b = {0};
  blob_t names = {0};
  blob_t signature = {0};
  for (int i = 0; i < 3 && s->names[i]; i++)
    add(&names, s->names[i], strlen(s->names[i]));
  add(&signature, s->signature, strlen(s->signature));
  add(&signature, "S", 1);
  add(&b, s->type, strlen(s->type));
  add(&b, "nonce", 5);
  add(&b, s->key, strlen(s->key));
  add_number(&b, 8, 7); /* serial */
  add_number(&b, 4, s->kind);
  add(&b, "id", 2);
  add(&b, (char *)names.bytes, names.len);
  add_number(&b, 8, s->after);
  add_number(&b, 8, s->before);
  add(&b, s->critical, strlen(s->critical));
  add(&b, "extensions", 10);
  add(&b, "", 0);
  add(&b, "signer", 6);
  add(&b, (char *)signature.bytes, signature.len);
  return b;
}

static const uint8_t key[] = "\0\0\0\13ssh-ed25519\0\0\0\4key.";

static const char *read_at(const blob_t *b, uint64_t now)
{
  const uint8_t *signer;
  size_t len;
  const char *why = authority_read(b->bytes, b->len, key, sizeof key - 1, "host", now, &signer, &len);
  if (!why) {
    assert_int_equal(len, 6);
    assert_memory_equal(signer, "signer", 6);
  } else {
    assert_null(signer);
  }
  return why;
}

static void test_a_certificate_speaks_for_its_key_under_its_names_in_its_time(void **state)
{
  (void)state;
  blob_t b = write_certificate(&good);
  assert_null(read_at(&b, 1000));
  assert_null(read_at(&b, 1999));
  assert_string_equal(read_at(&b, 999), "its certificate is not valid yet");
  assert_string_equal(read_at(&b, 2000), "its certificate has expired");
  says_t s = good;
  s.names[1] = "HOST";
  b = write_certificate(&s);
  assert_null(read_at(&b, 1500));
}

static void test_what_does_not_speak_for_it_says_why(void **state)
{
  (void)state;
  const struct {
    says_t says;
    const char *why;
  } cases[] = {
      {{"ssh-ed25519-cert-v01@openssh.com", "kex.", "ssh-ed25519", "", {"host"}, 2, 0, ~0ULL},
       "its certificate is for another key"},
      {{"ssh-rsa-cert-v01@openssh.com", "key.", "ssh-ed25519", "", {"host"}, 2, 0, ~0ULL},
       "its certificate is for another key"},
      {{"ssh-ed25519", "key.", "ssh-ed25519", "", {"host"}, 2, 0, ~0ULL},
       "its certificate is for another key"},
      {{"ssh-ed25519-cert-v01@openssh.com", "key.", "ssh-ed25519", "", {"host"}, 1, 0, ~0ULL},
       "its certificate is no host's"},
      {{"ssh-ed25519-cert-v01@openssh.com", "key.", "ssh-rsa", "", {"host"}, 2, 0, ~0ULL},
       "its certificate is signed in a way that is not trusted any more"},
      {{"ssh-ed25519-cert-v01@openssh.com", "key.", "ssh-ed25519", "force", {"host"}, 2, 0, ~0ULL},
       "its certificate has conditions that are not known here"},
      {{"ssh-ed25519-cert-v01@openssh.com", "key.", "ssh-ed25519", "", {"hos", "host.", ""}, 2, 0, ~0ULL},
       "its certificate is for other names"},
      {{"ssh-ed25519-cert-v01@openssh.com", "key.", "ssh-ed25519", "", {NULL}, 2, 0, ~0ULL},
       "its certificate is for other names"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    blob_t b = write_certificate(&cases[i].says);
    assert_string_equal(read_at(&b, 1500), cases[i].why);
  }
}

static void test_what_is_cut_short_or_too_long_says_nothing(void **state)
{
  (void)state;
  blob_t whole = write_certificate(&good);
  for (size_t len = 0; len < whole.len; len++) {
    blob_t b = whole;
    b.len = len;
    assert_non_null(read_at(&b, 1500));
  }
  add_number(&whole, 1, 0);
  assert_string_equal(read_at(&whole, 1500), "its certificate is malformed");
}

static void test_so_many_names_are_looked_at_and_no_more(void **state)
{
  (void)state;
  static uint8_t bytes[16 << 10];
  for (int before = AUTHORITY_PRINCIPALS_MAX - 1; before <= AUTHORITY_PRINCIPALS_MAX; before++) {
    says_t s = good;
    s.names[0] = NULL;
    blob_t b = write_certificate(&s);
    /* The empty list of names stands behind type, nonce, key, serial, kind and id. */
    size_t at = 4 + strlen(s.type) + 4 + 5 + 4 + 4 + 8 + 4 + 4 + 2;
    size_t names = (size_t)before * 5 + 8;
    memcpy(bytes, b.bytes, at);
    size_t len = at;
    for (int i = 3; i >= 0; i--)
      bytes[len++] = (uint8_t)(names >> (8 * i));
    for (int i = 0; i < before; i++, len += 5)
      memcpy(bytes + len, "\0\0\0\1x", 5);
    memcpy(bytes + len, "\0\0\0\4host", 8);
    len += 8;
    memcpy(bytes + len, b.bytes + at + 4, b.len - at - 4);
    len += b.len - at - 4;
    const uint8_t *signer;
    size_t signer_len;
    const char *why = authority_read(bytes, len, key, sizeof key - 1, "host", 1500, &signer, &signer_len);
    if (before < AUTHORITY_PRINCIPALS_MAX)
      assert_null(why);
    else
      assert_string_equal(why, "its certificate is for other names");
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_certificate_speaks_for_its_key_under_its_names_in_its_time),
      cmocka_unit_test(test_what_does_not_speak_for_it_says_why),
      cmocka_unit_test(test_what_is_cut_short_or_too_long_says_nothing),
      cmocka_unit_test(test_so_many_names_are_looked_at_and_no_more),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
