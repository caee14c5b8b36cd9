/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/certificate.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "common/ssh/base64.h"
#include "common/ssh/cursor.h"

bool certificate_is_for(const char *certificate, size_t len, const char *public_key)
{
  const char *word = memchr(certificate, ' ', len);
  const char *end = word ? word + 1 + strcspn(word + 1, " \r\n") : NULL;
  size_t cert_len = 0;
  size_t key_len = 0;
  uint8_t *cert =
      word ? base64_decode_new(word + 1, (size_t)(end - word - 1), CERTIFICATE_FILE_MAX, &cert_len) : NULL;
  uint8_t *key = base64_decode_new(public_key, strlen(public_key), CERTIFICATE_FILE_MAX, &key_len);
  bool same = false;
  if (cert && key) {
    /* PROTOCOL.certkeys: type, nonce, then the key's own fields as they stand in its plain form behind the
     * type. */
    cursor_t c = {cert, cert_len};
    cursor_t k = {key, key_len};
    cursor_t skipped;
    same = !cursor_string(&c, &skipped) && !cursor_string(&c, &skipped) && !cursor_string(&k, &skipped) &&
           k.len > 0 && c.len > k.len && memcmp(c.data, k.data, k.len) == 0;
  }
  free(cert);
  free(key);
  return same;
}

static ssh_key load(const char *path, const char *public_key)
{
  char *text = NULL;
  size_t len = 0;
  diag_t diag = {0};
  ssh_key cert = NULL;
  if (file_read(path, CERTIFICATE_FILE_MAX, &text, &len, &diag) != SMPL_OK)
    return NULL;
  if (certificate_is_for(text, len, public_key) && ssh_pki_import_cert_file(path, &cert) != SSH_OK)
    cert = NULL;
  free(text);
  return cert;
}

ssh_key certificate_find(const ssh_config_t *config, const char *path, ssh_key key)
{
  char beside[PATH_TEXT_MAX];
  char *public_key = NULL;
  ssh_key cert = NULL;
  if (ssh_pki_export_pubkey_base64(key, &public_key) != SSH_OK)
    return NULL;
  for (size_t i = 0; i < config->certificate_count && !cert; i++)
    cert = load(config->certificates[i], public_key);
  int n = snprintf(beside, sizeof beside, "%s-cert.pub", path);
  if (!cert && n > 0 && (size_t)n < sizeof beside && access(beside, F_OK) == 0)
    cert = load(beside, public_key);
  ssh_string_free_char(public_key);
  return cert;
}
