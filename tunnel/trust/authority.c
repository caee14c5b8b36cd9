/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/trust/authority.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/base/error.h"
#include "tunnel/base/capture.h"
#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"
#include "tunnel/trust/revoked.h"

enum { HOST_CERTIFICATE = 2 };

/* ---- what it says ---- */

/* "ssh-ed25519" has the certificates "ssh-ed25519-cert-v01@openssh.com". */
static bool is_certificate_of(cursor_t type, cursor_t plain)
{
  static const char suffix[] = "-cert-v01@openssh.com";
  size_t len = sizeof suffix - 1;
  return type.len == plain.len + len && memcmp(type.data, plain.data, plain.len) == 0 &&
         memcmp(type.data + plain.len, suffix, len) == 0;
}

/* The names as they are written, host names in whatever case. */
static bool has_principal(cursor_t names, const char *name)
{
  cursor_t one;
  size_t len = strlen(name);
  for (int i = 0; i < AUTHORITY_PRINCIPALS_MAX && !cursor_string(&names, &one); i++) {
    if (one.len == len && len > 0 && strncasecmp((const char *)one.data, name, len) == 0)
      return true;
  }
  return false;
}

/* As OpenSSH's CASignatureAlgorithms: no SHA-1. */
static bool is_sound(cursor_t signature)
{
  static const char *const sound[] = {"ssh-ed25519",
                                      "ecdsa-sha2-nistp256",
                                      "ecdsa-sha2-nistp384",
                                      "ecdsa-sha2-nistp521",
                                      "rsa-sha2-512",
                                      "rsa-sha2-256",
                                      "sk-ssh-ed25519@openssh.com",
                                      "sk-ecdsa-sha2-nistp256@openssh.com"};
  cursor_t algorithm;
  if (cursor_string(&signature, &algorithm))
    return false;
  for (size_t i = 0; i < sizeof sound / sizeof *sound; i++) {
    if (cursor_is(algorithm, sound[i]))
      return true;
  }
  return false;
}

const char *authority_read(const uint8_t *cert, size_t cert_len, const uint8_t *key, size_t key_len,
                           const char *name, uint64_t now_s, const uint8_t **signer, size_t *signer_len)
{
  static const char malformed[] = "its certificate is malformed";
  cursor_t c = {cert, cert_len};
  cursor_t k = {key, key_len};
  cursor_t type, plain, nonce, id, names, critical, extensions, reserved, by, signature;
  uint64_t serial, after, before;
  uint32_t kind;
  *signer = NULL;
  *signer_len = 0;
  if (cursor_string(&c, &type) || cursor_string(&k, &plain) || cursor_string(&c, &nonce) || k.len == 0)
    return malformed;
  /* Behind the nonce the key's own fields stand as in its plain form. */
  if (!is_certificate_of(type, plain) || c.len < k.len || memcmp(c.data, k.data, k.len) != 0)
    return "its certificate is for another key";
  c.data += k.len;
  c.len -= k.len;
  if (cursor_u64(&c, &serial) || cursor_u32(&c, &kind) || cursor_string(&c, &id) ||
      cursor_string(&c, &names) || cursor_u64(&c, &after) || cursor_u64(&c, &before) ||
      cursor_string(&c, &critical) || cursor_string(&c, &extensions) || cursor_string(&c, &reserved) ||
      cursor_string(&c, &by) || cursor_string(&c, &signature) || c.len != 0)
    return malformed;
  if (kind != HOST_CERTIFICATE)
    return "its certificate is no host's";
  if (!is_sound(signature))
    return "its certificate is signed in a way that is not trusted any more";
  if (critical.len != 0)
    return "its certificate has conditions that are not known here";
  if (now_s < after)
    return "its certificate is not valid yet";
  if (now_s >= before)
    return "its certificate has expired";
  if (!has_principal(names, name))
    return "its certificate is for other names";
  *signer = by.data;
  *signer_len = by.len;
  return NULL;
}

/* ---- asking for it ---- */

/* What ssh-keyscan calls the key's kind. */
static const char *scan_type(ssh_key key)
{
  switch (ssh_key_type(key)) {
  case SSH_KEYTYPE_ED25519:
    return "ed25519";
  case SSH_KEYTYPE_RSA:
    return "rsa";
  case SSH_KEYTYPE_ECDSA_P256:
  case SSH_KEYTYPE_ECDSA_P384:
  case SSH_KEYTYPE_ECDSA_P521:
    return "ecdsa";
  default:
    return NULL;
  }
}

/* The line's two words from the type on, ended behind the second; NULL when there is no certificate. */
static char *find_certificate(char *text)
{
  char *mark = strstr(text, "-cert-v01@openssh.com ");
  if (!mark)
    return NULL;
  char *start = mark;
  while (start > text && start[-1] != ' ' && start[-1] != '\n')
    start--;
  char *blob = strchr(mark, ' ') + 1;
  blob[strcspn(blob, " \r\n")] = '\0';
  return start;
}

/* ssh-keygen reads no certificate whose signature is wrong. The line lies in the pipe, which takes it whole,
 * before anybody reads it. */
static bool is_signed(const char *line)
{
  static const char *const argv[] = {"ssh-keygen", "-L", "-f", "-", NULL};
  int ends[2];
  char *text = NULL;
  bool fine = false;
  size_t len = strlen(line);
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
    return false;
  bool whole = write(ends[1], line, len) == (ssize_t)len && write(ends[1], "\n", 1) == 1 &&
               fcntl(ends[0], F_SETFL, 0) == 0;
  close(ends[1]);
  if (whole)
    capture_run(&(capture_t){.argv = argv,
                             .in = ends[0],
                             .quiet = true,
                             .most = AUTHORITY_MOST,
                             .ms = AUTHORITY_ASK_MS},
                &text, &fine);
  close(ends[0]);
  fine = fine && text;
  free(text);
  return fine;
}

static const char *judge(const trust_t *trust, const char *revoked, const char *line, const char *name,
                         ssh_key key)
{
  char *plain = NULL;
  size_t cert_len = 0, key_len = 0, signer_len = 0;
  const uint8_t *signer;
  const char *text = strchr(line, ' ') + 1;
  if (ssh_pki_export_pubkey_base64(key, &plain) != SSH_OK)
    return "out of memory";
  uint8_t *cert = base64_decode_new(text, strlen(text), AUTHORITY_MOST, &cert_len);
  uint8_t *blob = base64_decode_new(plain, strlen(plain), AUTHORITY_MOST, &key_len);
  ssh_string_free_char(plain);
  const char *why = cert && blob ? authority_read(cert, cert_len, blob, key_len, name, (uint64_t)time(NULL),
                                                  &signer, &signer_len)
                                 : "its certificate is malformed";
  if (!why && !trust_is_authority(trust, signer, signer_len))
    why = "its certificate is signed by another authority";
  if (!why && !is_signed(line))
    why = "its certificate's signature is wrong, or ssh-keygen is not there to check it";
  diag_t diag = {0};
  if (!why && revoked && revoked_judge_certificate(revoked, line, signer, signer_len, &diag) != SMPL_OK)
    why = "its certificate, or the authority that signed it, is in RevokedHostKeys";
  free(cert);
  free(blob);
  return why;
}

const char *authority_ask(const trust_t *trust, const char *revoked, const char *host, uint16_t port,
                          const char *name, ssh_key key)
{
  char number[8];
  char *text;
  bool fine;
  const char *type = scan_type(key);
  if (!type)
    return "its key is of a kind that has no certificates";
  snprintf(number, sizeof number, "%u", port);
  const char *const argv[] = {"ssh-keyscan", "-c", "-T", "5", "-t", type, "-p", number, "--", host, NULL};
  int error = capture_run(
      &(capture_t){.argv = argv, .in = -1, .quiet = true, .most = AUTHORITY_MOST, .ms = AUTHORITY_ASK_MS},
      &text, &fine);
  if (error)
    return error == ENOENT ? "ssh-keyscan, which asks for certificates, is not installed"
                           : "ssh-keyscan, which asks for certificates, cannot be run";
  char *line = text ? find_certificate(text) : NULL;
  const char *why = line ? judge(trust, revoked, line, name, key)
                         : "it shows no certificate, or did not answer in time"; /* ssh-keyscan ends alike */
  free(text);
  return why;
}
