/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/contract/wire.h"

#include <string.h>

#include "common/base/error.h"

int wire_bytes(wire_t *w, size_t n, wire_slice_t *out)
{
  if (n > wire_left(w))
    return SMPL_ETRUNC;
  *out = (wire_slice_t){w->data + w->at, n};
  w->at += n;
  return SMPL_OK;
}

int wire_u8(wire_t *w, uint8_t *out)
{
  wire_slice_t s;
  int err = wire_bytes(w, 1, &s);
  if (!err)
    *out = s.data[0];
  return err;
}

int wire_u32(wire_t *w, uint32_t *out)
{
  wire_slice_t s;
  int err = wire_bytes(w, 4, &s);
  if (!err)
    *out = (uint32_t)s.data[0] << 24 | (uint32_t)s.data[1] << 16 | (uint32_t)s.data[2] << 8 | s.data[3];
  return err;
}

int wire_string(wire_t *w, wire_slice_t *out)
{
  size_t start = w->at;
  uint32_t n;
  int err = wire_u32(w, &n);
  if (!err)
    err = wire_bytes(w, n, out);
  if (err)
    w->at = start;
  return err;
}

bool wire_is(wire_slice_t s, const char *text)
{
  return s.len == strlen(text) && (s.len == 0 || memcmp(s.data, text, s.len) == 0);
}

int wire_text(wire_slice_t s, char *out, size_t cap)
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

void wire_put_bytes(wire_out_t *w, const void *data, size_t len)
{
  if (w->full || len > w->cap - w->len) {
    w->full = true;
    return;
  }
  if (len > 0)
    memcpy(w->data + w->len, data, len);
  w->len += len;
}

void wire_put_u8(wire_out_t *w, uint8_t v)
{
  wire_put_bytes(w, &v, 1);
}

void wire_put_u32(wire_out_t *w, uint32_t v)
{
  uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
  wire_put_bytes(w, b, sizeof b);
}

void wire_put_string(wire_out_t *w, const void *data, size_t len)
{
  if (len > UINT32_MAX) {
    w->full = true;
    return;
  }
  wire_put_u32(w, (uint32_t)len);
  wire_put_bytes(w, data, len);
}

void wire_put_text(wire_out_t *w, const char *text)
{
  wire_put_string(w, text, strlen(text));
}
