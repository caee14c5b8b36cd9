/* SPDX-License-Identifier: Apache-2.0 */
/* Appending text to a fixed buffer without snprintf: for the few places that run once a request. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct text_out {
  char *buf;
  size_t cap;
  size_t len;
  bool over; /* something did not fit; nothing was written from then on */
} text_out_t;

static inline void out_bytes(text_out_t *out, const void *bytes, size_t len)
{
  if (out->over || len > out->cap - out->len) {
    out->over = true;
    return;
  }
  if (len > 0)
    memcpy(out->buf + out->len, bytes, len);
  out->len += len;
}

static inline void out_text(text_out_t *out, const char *text)
{
  out_bytes(out, text, strlen(text));
}

#define OUT_LITERAL(out, literal) out_bytes(out, literal, sizeof(literal) - 1)

static inline void out_u64(text_out_t *out, uint64_t value)
{
  char digits[20];
  size_t at = sizeof digits;
  do {
    digits[--at] = (char)('0' + value % 10);
    value /= 10;
  } while (value > 0);
  out_bytes(out, digits + at, sizeof digits - at);
}
