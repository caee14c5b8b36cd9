/* SPDX-License-Identifier: Apache-2.0 */
/* The one reader of SSH's data types (RFC 4251 §5), a bounded cursor, and its counterpart that writes them.
 * All that arrives as SSH's encoding goes through it: keys, certificates, signed requests, an agent's
 * answers. Pure; never reads or writes outside its buffer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes that are left to be read. A string that was read is one too, within the same memory. */
typedef struct cursor {
  const uint8_t *data;
  size_t len;
} cursor_t;

/* Each takes bytes off the front and returns 0. SMPL_ETRUNC if there are fewer: then nothing is taken. */
int cursor_u8(cursor_t *c, uint8_t *out);
int cursor_u32(cursor_t *c, uint32_t *out);
int cursor_u64(cursor_t *c, uint64_t *out);
int cursor_bytes(cursor_t *c, size_t n, cursor_t *out);
/* The bytes behind their length. */
int cursor_string(cursor_t *c, cursor_t *out);

/* Whether what is left is exactly this text. */
bool cursor_is(cursor_t c, const char *text);
/* What is left as NUL-terminated text: SMPL_EINVAL if a NUL is inside, SMPL_ELIMIT if it does not fit in cap.
 */
int cursor_text(cursor_t c, char *out, size_t cap);

/* Writing: once something did not fit, full stays set and nothing more is written. */
typedef struct cursor_out {
  uint8_t *data;
  size_t cap;
  size_t len;
  bool full;
} cursor_out_t;

static inline cursor_out_t cursor_into(void *data, size_t cap)
{
  return (cursor_out_t){data, cap, 0, false};
}

void cursor_put_u8(cursor_out_t *w, uint8_t v);
void cursor_put_u32(cursor_out_t *w, uint32_t v);
void cursor_put_bytes(cursor_out_t *w, const void *data, size_t len);
void cursor_put_string(cursor_out_t *w, const void *data, size_t len);
void cursor_put_text(cursor_out_t *w, const char *text);
