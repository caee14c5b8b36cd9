/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/base/fields.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

bool fields_number(fields_t *f, size_t bytes, uint64_t *out)
{
  if (f->left < bytes)
    return false;
  *out = 0;
  for (size_t i = 0; i < bytes; i++)
    *out = *out << 8 | f->at[i];
  f->at += bytes;
  f->left -= bytes;
  return true;
}

bool fields_string(fields_t *f, fields_t *out)
{
  fields_t rest = *f;
  uint64_t len;
  if (!fields_number(&rest, 4, &len) || len > rest.left)
    return false;
  *out = (fields_t){rest.at, (size_t)len};
  *f = (fields_t){rest.at + len, rest.left - (size_t)len};
  return true;
}

bool fields_is(fields_t f, const char *text)
{
  return f.left == strlen(text) && memcmp(f.at, text, f.left) == 0;
}

uint8_t *fields_decode(const char *text, size_t len, size_t most, size_t *out_len)
{
  uint8_t *data = len > 0 && len % 4 == 0 && len <= most ? malloc(len / 4 * 3) : NULL;
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
