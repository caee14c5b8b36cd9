/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648 §4) by OpenSSL, strict: no spaces, padding as it must be. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Bytes of base64 text for n bytes, with NUL. */
#define BASE64_TEXT(n) (((n) + 2) / 3 * 4 + 1)

/* out holds cap bytes. SMPL_EINVAL (not base64), SMPL_ELIMIT (does not fit). */
int base64_decode(const char *text, size_t len, uint8_t *out, size_t cap, size_t *out_len);
/* out holds BASE64_TEXT(len) bytes. */
void base64_encode(const uint8_t *data, size_t len, char *out);
/* The same in malloc'ed memory, for at most `most` characters; NULL when it is none, too long, or out of
 * memory. */
uint8_t *base64_decode_new(const char *text, size_t len, size_t most, size_t *out_len);
