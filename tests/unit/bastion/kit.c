/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "kit.h"

#include <fcntl.h>
#include <ftw.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/rsa.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"

extern char **environ;

static void put_mpint(cursor_out_t *w, const EVP_PKEY *pkey, const char *name)
{
  BIGNUM *bn = NULL;
  uint8_t bytes[2048];
  assert_int_equal(EVP_PKEY_get_bn_param(pkey, name, &bn), 1);
  bytes[0] = 0; /* a leading zero keeps it positive (RFC 4251 §5) */
  int n = BN_bn2bin(bn, bytes + 1);
  bool high = (bytes[1] & 0x80) != 0;
  cursor_put_string(w, high ? bytes : bytes + 1, (size_t)n + (high ? 1 : 0));
  BN_free(bn);
}

static void put_point(cursor_out_t *w, const EVP_PKEY *pkey, const char *curve)
{
  uint8_t point[256];
  size_t len;
  assert_int_equal(EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point,
                                                   sizeof point, &len),
                   1);
  cursor_put_text(w, curve);
  cursor_put_string(w, point, len);
}

static void put_ed25519(cursor_out_t *w, const EVP_PKEY *pkey)
{
  uint8_t pub[32];
  size_t len = sizeof pub;
  assert_int_equal(EVP_PKEY_get_raw_public_key(pkey, pub, &len), 1);
  cursor_put_string(w, pub, len);
}

void kit_key_new(kit_key_t *key, const char *kind, unsigned rsa_bits)
{
  memset(key, 0, sizeof *key);
  cursor_out_t w = cursor_into(key->blob, sizeof key->blob);
  key->kind = key->algorithm = kind;
  cursor_put_text(&w, kind);
  if (strstr(kind, "ed25519") != NULL) {
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    put_ed25519(&w, key->pkey);
  } else if (strcmp(kind, "ssh-rsa") == 0) {
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)rsa_bits);
    key->algorithm = "rsa-sha2-512";
    key->digest = "SHA512";
    put_mpint(&w, key->pkey, OSSL_PKEY_PARAM_RSA_E);
    put_mpint(&w, key->pkey, OSSL_PKEY_PARAM_RSA_N);
  } else {
    const char *bits = strstr(kind, "521") ? "521" : strstr(kind, "384") ? "384" : "256";
    char group[8], curve[16];
    snprintf(group, sizeof group, "P-%s", bits);
    snprintf(curve, sizeof curve, "nistp%s", bits);
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", group);
    key->digest = strcmp(bits, "521") == 0 ? "SHA512" : strcmp(bits, "384") == 0 ? "SHA384" : "SHA256";
    put_point(&w, key->pkey, curve);
  }
  if (strncmp(kind, "sk-", 3) == 0)
    cursor_put_text(&w, "ssh:");
  assert_false(w.full);
  key->blob_len = w.len;
  char text[BASE64_TEXT(sizeof key->blob)];
  base64_encode(key->blob, w.len, text);
  snprintf(key->line, sizeof key->line, "%s %s", kind, text);
}

void kit_key_free(kit_key_t *key)
{
  EVP_PKEY_free(key->pkey);
}

size_t kit_sign(const kit_key_t *key, const char *digest, const uint8_t *data, size_t len, uint8_t *out,
                size_t cap)
{
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  size_t out_len = cap;
  assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, key->pkey, NULL), 1);
  assert_int_equal(EVP_DigestSign(ctx, out, &out_len, data, len), 1);
  EVP_MD_CTX_free(ctx);
  return out_len;
}

static char folder[64];

void kit_folder_new(void)
{
  snprintf(folder, sizeof folder, "bastion-test-XXXXXX");
  assert_non_null(mkdtemp(folder));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
  (void)st;
  (void)flag;
  (void)ftw;
  return remove(path);
}

void kit_folder_remove(void)
{
  nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *kit_path(const char *name)
{
  static char paths[4][256];
  static unsigned turn;
  char *path = paths[turn++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

void kit_write(const char *name, const char *text, int mode)
{
  int fd = open(kit_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  assert_int_equal(fchmod(fd, (mode_t)mode), 0);
  close(fd);
}

void kit_keygen(const char *name, const char *const *args)
{
  char *argv[16] = {(char *)(uintptr_t) "ssh-keygen", (char *)(uintptr_t) "-q", (char *)(uintptr_t) "-f",
                    (char *)(uintptr_t)kit_path(name)};
  size_t n = 4;
  for (size_t i = 0; args[i] != NULL && n < 15; i++)
    argv[n++] = (char *)(uintptr_t)args[i];
  pid_t pid;
  int status;
  assert_int_equal(posix_spawnp(&pid, "ssh-keygen", NULL, NULL, argv, environ), 0);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}
