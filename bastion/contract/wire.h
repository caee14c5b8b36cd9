/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's one reader of SSH's data types (RFC 4251 §5), a bounded cursor, and its counterpart that
 * writes them. Pure; never reads or writes outside its buffer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wire {
  const uint8_t *data;
  size_t len;
  size_t at; /* <= len always */
} wire_t;

/* A string inside the bytes that were read. */
typedef struct wire_slice {
  const uint8_t *data;
  size_t len;
} wire_slice_t;

static inline wire_t wire_of(const void *data, size_t len)
{
  return (wire_t){data, len, 0};
}

static inline size_t wire_left(const wire_t *w)
{
  return w->len - w->at;
}

/* Each moves the cursor on success and returns 0; SMPL_ETRUNC past the end leaves it. */
int wire_u8(wire_t *w, uint8_t *out);
int wire_u32(wire_t *w, uint32_t *out);
int wire_bytes(wire_t *w, size_t n, wire_slice_t *out);
int wire_string(wire_t *w, wire_slice_t *out);

/* Whether the slice is exactly this text. */
bool wire_is(wire_slice_t s, const char *text);
/* As NUL-terminated text: SMPL_EINVAL if a NUL is inside, SMPL_ELIMIT if it does not fit in cap. */
int wire_text(wire_slice_t s, char *out, size_t cap);

/* Writing: once something did not fit, full stays set and nothing more is written. */
typedef struct wire_out {
  uint8_t *data;
  size_t cap;
  size_t len;
  bool full;
} wire_out_t;

static inline wire_out_t wire_into(void *data, size_t cap)
{
  return (wire_out_t){data, cap, 0, false};
}

void wire_put_u8(wire_out_t *w, uint8_t v);
void wire_put_u32(wire_out_t *w, uint32_t v);
void wire_put_bytes(wire_out_t *w, const void *data, size_t len);
void wire_put_string(wire_out_t *w, const void *data, size_t len);
void wire_put_text(wire_out_t *w, const char *text);
