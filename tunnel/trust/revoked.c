/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/trust/revoked.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "tunnel/base/capture.h"
#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"

static const char list_magic[] = "SSHKRL\n"; /* with its NUL */

static int is_revoked(const char *file, diag_t *diag)
{
  return diag_fail(diag, SMPL_EDENIED, "the host key is in RevokedHostKeys %s: not connecting", file);
}

/* ssh-keygen ends with 0 only if none of the keys that it is given is revoked. The key's line lies in the
 * pipe before anybody reads. */
static int ask_keygen(const char *file, const char *line, diag_t *diag)
{
  const char *const argv[] = {"ssh-keygen", "-Q", "-f", file, "/dev/stdin", NULL};
  int ends[2];
  char *text = NULL;
  bool fine = false;
  size_t len = strlen(line);
  if (pipe2(ends, O_CLOEXEC) < 0)
    return diag_fail_errno(diag, "RevokedHostKeys %s", file);
  bool whole = write(ends[1], line, len) == (ssize_t)len;
  close(ends[1]);
  if (whole)
    capture_run(&(capture_t){.argv = argv, .in = ends[0], .quiet = true, .most = 4096, .ms = REVOKED_ASK_MS},
                &text, &fine);
  close(ends[0]);
  bool named = text && strstr(text, "REVOKED");
  free(text);
  if (fine)
    return SMPL_OK;
  return named ? is_revoked(file, diag)
               : diag_fail(diag, SMPL_EINVAL,
                           "RevokedHostKeys %s: ssh-keygen cannot read it: no host key is trusted", file);
}

/* "TYPE BASE64 ..." on each line. */
static int search_lines(const char *file, const char *text, const char *type, const char *base64,
                        diag_t *diag)
{
  size_t type_len = strlen(type), len = strlen(base64);
  for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
    const char *at = line + strspn(line, " \t");
    if (strncmp(at, type, type_len) != 0)
      continue;
    at += type_len;
    at += strspn(at, " \t");
    if (strncmp(at, base64, len) == 0 && (at[len] == '\0' || strchr(" \t\r\n", at[len])))
      return is_revoked(file, diag);
  }
  return SMPL_OK;
}

/* line: what ssh-keygen is asked about; type and base64: the key that a list of keys has to have. */
static int judge(const char *file, const char *line, const char *type, const char *base64, diag_t *diag)
{
  char *data = NULL;
  size_t len;
  diag_t why = {0};
  int err;
  if (file_read(file, REVOKED_FILE_MAX, &data, &len, &why) != SMPL_OK)
    return diag_fail(diag, SMPL_EINVAL, "RevokedHostKeys %s: no host key is trusted", why.text);
  if (len >= sizeof list_magic && memcmp(data, list_magic, sizeof list_magic) == 0)
    err = ask_keygen(file, line, diag);
  else if (strlen(data) != len)
    err =
        diag_fail(diag, SMPL_EINVAL,
                  "RevokedHostKeys %s: a NUL byte stands in it, so that it is neither a list of keys nor one "
                  "of ssh-keygen -k: no host key is trusted",
                  file);
  else
    err = search_lines(file, data, type, base64, diag);
  free(data);
  return err;
}

int revoked_judge(const char *file, ssh_key key, diag_t *diag)
{
  char *base64 = NULL, line[16384];
  const char *type = ssh_key_type_to_char(ssh_key_type(key));
  if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int n = snprintf(line, sizeof line, "%s %s\n", type, base64);
  int err = n > 0 && (size_t)n < sizeof line
                ? judge(file, line, type, base64, diag)
                : diag_fail(diag, SMPL_ELIMIT, "the host key is too long for RevokedHostKeys");
  ssh_string_free_char(base64);
  return err;
}

int revoked_judge_certificate(const char *file, const char *certificate, const uint8_t *signer, size_t len,
                              diag_t *diag)
{
  cursor_t rest = {signer, len}, kind;
  char type[64], *base64 = malloc(BASE64_TEXT(len)), *line = NULL;
  int err = SMPL_EINVAL;
  if (base64)
    base64_encode(signer, len, base64);
  if (base64 && !cursor_string(&rest, &kind) && kind.len < sizeof type &&
      asprintf(&line, "%s\n", certificate) > 0) {
    memcpy(type, kind.data, kind.len);
    type[kind.len] = '\0';
    err = judge(file, line, type, base64, diag);
  } else {
    diag_fail(diag, err, "RevokedHostKeys %s: the certificate's authority cannot be read", file);
  }
  free(line);
  free(base64);
  return err;
}
