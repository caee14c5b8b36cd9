/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/cursor.h"

#include <string.h>

#include "common/base/error.h"

int cursor_bytes(cursor_t *c, size_t n, cursor_t *out)
{
  if (n > c->len)
    return SMPL_ETRUNC;
  *out = (cursor_t){c->data, n};
  if (n > 0)
    *c = (cursor_t){c->data + n, c->len - n};
  return SMPL_OK;
}

/* A number of so many bytes, the highest first. */
static int take_number(cursor_t *c, size_t bytes, uint64_t *out)
{
  cursor_t s;
  int err = cursor_bytes(c, bytes, &s);
  *out = 0;
  for (size_t i = 0; !err && i < bytes; i++)
    *out = *out << 8 | s.data[i];
  return err;
}

int cursor_u8(cursor_t *c, uint8_t *out)
{
  uint64_t v;
  int err = take_number(c, sizeof *out, &v);
  if (!err)
    *out = (uint8_t)v;
  return err;
}

int cursor_u32(cursor_t *c, uint32_t *out)
{
  uint64_t v;
  int err = take_number(c, sizeof *out, &v);
  if (!err)
    *out = (uint32_t)v;
  return err;
}

int cursor_u64(cursor_t *c, uint64_t *out)
{
  uint64_t v;
  int err = take_number(c, sizeof *out, &v);
  if (!err)
    *out = v;
  return err;
}

int cursor_string(cursor_t *c, cursor_t *out)
{
  cursor_t rest = *c;
  uint32_t n;
  int err = cursor_u32(&rest, &n);
  if (!err)
    err = cursor_bytes(&rest, n, out);
  if (!err)
    *c = rest;
  return err;
}

bool cursor_is(cursor_t s, const char *text)
{
  return s.len == strlen(text) && (s.len == 0 || memcmp(s.data, text, s.len) == 0);
}

int cursor_text(cursor_t s, char *out, size_t cap)
{
  if (s.len >= cap)
    return SMPL_ELIMIT;
  if (s.len > 0 && memchr(s.data, '\0', s.len) != NULL)
    return SMPL_EINVAL;
  if (s.len > 0)
    memcpy(out, s.data, s.len);
  out[s.len] = '\0';
  return SMPL_OK;
}

void cursor_put_bytes(cursor_out_t *w, const void *data, size_t len)
{
  if (w->full || len > w->cap - w->len) {
    w->full = true;
    return;
  }
  if (len > 0)
    memcpy(w->data + w->len, data, len);
  w->len += len;
}

void cursor_put_u8(cursor_out_t *w, uint8_t v)
{
  cursor_put_bytes(w, &v, 1);
}

void cursor_put_u32(cursor_out_t *w, uint32_t v)
{
  uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
  cursor_put_bytes(w, b, sizeof b);
}

void cursor_put_string(cursor_out_t *w, const void *data, size_t len)
{
  if (len > UINT32_MAX) {
    w->full = true;
    return;
  }
  cursor_put_u32(w, (uint32_t)len);
  cursor_put_bytes(w, data, len);
}

void cursor_put_text(cursor_out_t *w, const char *text)
{
  cursor_put_string(w, text, strlen(text));
}
