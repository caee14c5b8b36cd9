/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "tunnel/base/capture.h"
#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"
#include "tunnel/session/pkcs8.h"

/* libssh asks for a passphrase: the file is locked. Told by the flag; none is given here. */
static int on_passphrase_wanted(const char *prompt, char *buf, size_t len, int echo, int verify, void *locked)
{
  (void)prompt;
  (void)buf;
  (void)len;
  (void)echo;
  (void)verify;
  *(bool *)locked = true;
  return -1;
}

/* ---- seals ---- */

/* The body of OpenSSH's own format (PROTOCOL.key), decoded. NULL: another format, or a broken one. */
static uint8_t *openssh_body(const char *pem, size_t *len)
{
  static const char head[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
  const char *at = strstr(pem, head);
  const char *end = at ? strstr(at, "-----END OPENSSH PRIVATE KEY-----") : NULL;
  char *word = end ? malloc((size_t)(end - at)) : NULL;
  size_t used = 0;
  if (!word)
    return NULL;
  for (at += sizeof head - 1; at < end; at++) {
    if (!strchr(" \t\r\n", *at))
      word[used++] = *at;
  }
  uint8_t *body = base64_decode_new(word, used, IDENTITY_FILE_MAX, len);
  free(word);
  return body;
}

/* Before AEAD ciphers libssh calls functions that they do not have. */
static bool libssh_opens(cursor_t cipher)
{
  static const char *const ciphers[] = {"none",       "aes128-cbc", "aes192-cbc", "aes256-cbc",
                                        "aes128-ctr", "aes192-ctr", "aes256-ctr"};
  for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++) {
    if (cursor_is(cipher, ciphers[i]))
      return true;
  }
  return false;
}

bool identity_seal_is_foreign(const char *pem)
{
  static const char magic[] = "openssh-key-v1"; /* with its NUL */
  size_t len = 0;
  uint8_t *body = openssh_body(pem, &len);
  bool foreign = false;
  if (body && len > sizeof magic && memcmp(body, magic, sizeof magic) == 0) {
    cursor_t rest = {body + sizeof magic, len - sizeof magic};
    cursor_t cipher;
    foreign = !cursor_string(&rest, &cipher) && !libssh_opens(cipher);
  }
  free(body);
  return foreign;
}

/* A file without a name, in memory. */
static int nameless_file(const char *text, size_t len)
{
  int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 && write(fd, text, len) != (ssize_t)len) {
    close(fd);
    return -1;
  }
  return fd;
}

/* The reading end of a pipe that holds the passphrase. */
static int passphrase_pipe(const char *passphrase)
{
  int ends[2];
  size_t len = strlen(passphrase);
  if (pipe2(ends, O_CLOEXEC) < 0)
    return -1;
  bool written = write(ends[1], passphrase, len) == (ssize_t)len && write(ends[1], "\n", 1) == 1;
  close(ends[1]);
  if (written)
    return ends[0];
  close(ends[0]);
  return -1;
}

static char *read_back(int fd, size_t *len)
{
  char *text = calloc(1, IDENTITY_FILE_MAX + 1);
  ssize_t n = text ? pread(fd, text, IDENTITY_FILE_MAX, 0) : -1;
  *len = n > 0 ? (size_t)n : 0;
  if (n > 0)
    return text;
  free(text);
  return NULL;
}

/* Takes the passphrase off a copy that has no name and stands in memory alone. It is given over a pipe: a
 * command line could be read by everybody. */
char *identity_unseal(const char *pem, size_t len, const char *passphrase, size_t *out_len, int *error)
{
  static const char *const argv[] = {"ssh-keygen", "-p", "-N", "", "-f", "/proc/self/fd/3", NULL};
  int copy = nameless_file(pem, len);
  int word = passphrase_pipe(passphrase);
  char *said = NULL;
  char *opened = NULL;
  bool fine = false;
  *error = copy < 0 || word < 0 ? errno : 0;
  if (!*error) {
    capture_t c = {.argv = argv,
                   .in = word,
                   .third = copy,
                   .variable = "SSH_ASKPASS_REQUIRE=never",
                   .alone = true,
                   .quiet = true,
                   .most = IDENTITY_SAID_MAX,
                   .ms = IDENTITY_UNSEAL_MS};
    *error = capture_run(&c, &said, &fine);
    if (fine)
      opened = read_back(copy, out_len);
  }
  free(said);
  if (copy >= 0)
    close(copy);
  if (word >= 0)
    close(word);
  return opened;
}

/* ---- files ---- */

static ssh_key import(const char *pem, const char *passphrase, bool *locked)
{
  ssh_key key = NULL;
  if (ssh_pki_import_privkey_base64(pem, passphrase, passphrase ? NULL : on_passphrase_wanted, locked,
                                    &key) != SSH_OK)
    key = NULL;
  bool openssh = strstr(pem, "BEGIN OPENSSH PRIVATE KEY") != NULL;
  if (openssh || *locked || (key && ssh_key_type(key) != SSH_KEYTYPE_ED25519))
    return key;
  ssh_key mended = pkcs8_ed25519(pem, passphrase);
  if (!mended)
    return key;
  ssh_key_free(key);
  return mended;
}

static ssh_key import_foreign(const char *path, const char *pem, size_t len, const char *passphrase,
                              bool *locked, diag_t *diag)
{
  size_t opened_len = 0;
  int error = 0;
  *locked = true;
  char *opened = passphrase ? identity_unseal(pem, len, passphrase, &opened_len, &error) : NULL;
  ssh_key key = opened && !identity_seal_is_foreign(opened) ? import(opened, NULL, locked) : NULL;
  if (opened)
    explicit_bzero(opened, opened_len);
  free(opened);
  if (error) {
    *locked = false;
    diag_fail(diag, SMPL_ESYS,
              "%s is sealed in a way that only OpenSSH opens, and ssh-keygen cannot be run (%s): load it "
              "into an agent "
              "(ssh-add %s)",
              path, strerror(error), path);
  }
  return key;
}

ssh_key identity_load(const char *path, const char *passphrase, bool *locked, diag_t *diag)
{
  char *pem = NULL;
  size_t len = 0;
  *locked = false;
  if (file_read_secret(path, IDENTITY_FILE_MAX, &pem, &len, diag) != SMPL_OK)
    return NULL;
  ssh_key key = NULL;
  if (identity_seal_is_foreign(pem)) {
    key = import_foreign(path, pem, len, passphrase, locked, diag);
  } else {
    key = import(pem, passphrase, locked);
    *locked |= !key && passphrase; /* libssh does not tell a wrong passphrase from a broken file */
  }
  explicit_bzero(pem, len);
  free(pem);
  if (!key && !*locked && !diag->text[0])
    diag_fail(diag, SMPL_EINVAL, "%s: not a private key that can be read", path);
  return key;
}

/* libssh opens whatever it is given, and would wait for ever at a FIFO. */
ssh_key identity_read_public(const char *path)
{
  struct stat st;
  ssh_key key = NULL;
  if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || ssh_pki_import_pubkey_file(path, &key) != SSH_OK)
    return NULL;
  return key;
}

bool identity_is_public(const char *path)
{
  size_t len = strlen(path);
  ssh_key key = len >= 5 && strcmp(path + len - 4, ".pub") == 0 ? identity_read_public(path) : NULL;
  bool is = key != NULL;
  ssh_key_free(key);
  return is;
}

ssh_key identity_public_half(const char *path)
{
  char pub[PATH_TEXT_MAX];
  ssh_key key = NULL;
  int n = snprintf(pub, sizeof pub, "%s.pub", path);
  if (n > 0 && (size_t)n < sizeof pub && (key = identity_read_public(pub)))
    return key;
  if ((key = identity_read_public(path)))
    return key;
  bool locked;
  diag_t diag = {0};
  ssh_key private = access(path, F_OK) == 0 ? identity_load(path, NULL, &locked, &diag) : NULL;
  if (private && ssh_pki_export_privkey_to_pubkey(private, &key) != SSH_OK)
    key = NULL;
  ssh_key_free(private);
  return key;
}
