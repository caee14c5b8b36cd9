#include "tunnel/certificate.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "common/file.h"

/* Bytes of a base64 word into malloc'ed memory; NULL when it is none. */
static uint8_t *decode(const char *text, size_t len, size_t *out_len)
{
  uint8_t *data = len > 0 && len % 4 == 0 && len < CERTIFICATE_FILE_MAX ? malloc(len / 4 * 3) : NULL;
  int n = data ? EVP_DecodeBlock(data, (const unsigned char *)text, (int)len) : -1;
  if (n < 0) {
    free(data);
    return NULL;
  }
  for (size_t i = len; i > 0 && text[i - 1] == '=' && n > 0; i--)
    n--;
  *out_len = (size_t)n;
  return data;
}

/* Where the string at `at` ends; 0 when it goes beyond the data. */
static size_t skip_string(const uint8_t *data, size_t len, size_t at)
{
  if (len - at < 4)
    return 0;
  uint32_t n =
      (uint32_t)data[at] << 24 | (uint32_t)data[at + 1] << 16 | (uint32_t)data[at + 2] << 8 | data[at + 3];
  return n <= len - at - 4 ? at + 4 + n : 0;
}

bool certificate_is_for(const char *certificate, size_t len, const char *public_key)
{
  const char *word = memchr(certificate, ' ', len);
  const char *end = word ? word + 1 + strcspn(word + 1, " \r\n") : NULL;
  size_t cert_len = 0;
  size_t key_len = 0;
  uint8_t *cert = word ? decode(word + 1, (size_t)(end - word - 1), &cert_len) : NULL;
  uint8_t *key = decode(public_key, strlen(public_key), &key_len);
  bool same = false;
  if (cert && key) {
    /* PROTOCOL.certkeys: type, nonce, then the key's own fields as they stand in its plain form behind the type. */
    size_t at = skip_string(cert, cert_len, 0);
    at = at ? skip_string(cert, cert_len, at) : 0;
    size_t from = skip_string(key, key_len, 0);
    same = at && from && key_len > from && cert_len - at > key_len - from &&
           memcmp(cert + at, key + from, key_len - from) == 0;
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

ssh_key certificate_find(const settings_t *settings, const char *path, ssh_key key)
{
  char beside[OPTIONS_PATH_MAX];
  char *public_key = NULL;
  ssh_key cert = NULL;
  if (ssh_pki_export_pubkey_base64(key, &public_key) != SSH_OK)
    return NULL;
  for (size_t i = 0; i < settings->certificate_count && !cert; i++)
    cert = load(settings->certificates[i], public_key);
  int n = snprintf(beside, sizeof beside, "%s-cert.pub", path);
  if (!cert && n > 0 && (size_t)n < sizeof beside && access(beside, F_OK) == 0)
    cert = load(beside, public_key);
  ssh_string_free_char(public_key);
  return cert;
}
