/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/base64.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"

/* EVP_DecodeBlock skips white space and ignores where padding stands: look first. */
static int check_alphabet(const char *text, size_t len, size_t *padding)
{
  *padding = 0;
  if (len == 0 || len % 4 != 0)
    return SMPL_EINVAL;
  while (*padding < 2 && text[len - 1 - *padding] == '=')
    (*padding)++;
  for (size_t i = 0; i < len - *padding; i++) {
    char c = text[i];
    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'))
      return SMPL_EINVAL;
  }
  return SMPL_OK;
}

int base64_decode(const char *text, size_t len, uint8_t *out, size_t cap, size_t *out_len)
{
  size_t padding;
  if (check_alphabet(text, len, &padding))
    return SMPL_EINVAL;
  size_t n = len / 4 * 3; /* EVP_DecodeBlock writes the padding's zeros too */
  if (len > INT_MAX || n > cap)
    return SMPL_ELIMIT;
  if (EVP_DecodeBlock(out, (const unsigned char *)text, (int)len) != (int)n)
    return SMPL_EINVAL;
  *out_len = n - padding;
  return SMPL_OK;
}

void base64_encode(const uint8_t *data, size_t len, char *out)
{
  out[0] = '\0';
  if (len > 0 && len < INT_MAX / 2)
    EVP_EncodeBlock((unsigned char *)out, data, (int)len);
}

uint8_t *base64_decode_new(const char *text, size_t len, size_t most, size_t *out_len)
{
  size_t cap = len / 4 * 3;
  uint8_t *data = len > 0 && len <= most ? malloc(cap + 1) : NULL;
  if (data == NULL || base64_decode(text, len, data, cap, out_len) == SMPL_OK)
    return data;
  free(data);
  return NULL;
}
