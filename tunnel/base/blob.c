/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/base/blob.h"

#include <stdlib.h>
#include <string.h>

#include "common/ssh/base64.h"

typedef int (*import_t)(const char *text, enum ssh_keytypes_e type, ssh_key *key);

static ssh_key import(cursor_t blob, import_t by)
{
  cursor_t rest = blob;
  cursor_t type;
  char name[64];
  ssh_key key = NULL;
  if (cursor_string(&rest, &type) || type.len >= sizeof name)
    return NULL;
  memcpy(name, type.data, type.len);
  name[type.len] = '\0';
  char *text = malloc(BASE64_TEXT(blob.len));
  if (text)
    base64_encode(blob.data, blob.len, text);
  if (text && by(text, ssh_key_type_from_name(name), &key) != SSH_OK)
    key = NULL;
  free(text);
  return key;
}

ssh_key blob_key(cursor_t blob)
{
  return import(blob, ssh_pki_import_pubkey_base64);
}

ssh_key blob_certificate(cursor_t blob)
{
  return import(blob, ssh_pki_import_cert_base64);
}

uint8_t *blob_of(ssh_key key, size_t *len)
{
  char *text = NULL;
  *len = 0;
  if (!key || ssh_pki_export_pubkey_base64(key, &text) != SSH_OK)
    return NULL;
  uint8_t *blob = base64_decode_new(text, strlen(text), strlen(text), len);
  ssh_string_free_char(text);
  return blob;
}
