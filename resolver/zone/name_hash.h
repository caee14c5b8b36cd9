/* SPDX-License-Identifier: Apache-2.0 */
/* The hash of a lower-cased wire name or a part of one. Not keyed: tables are built from the operator's
 * zones and are read-only, so whoever asks cannot fill them. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t name_hash_mix(uint64_t a, uint64_t b)
{
  unsigned __int128 r = (unsigned __int128)a * b;
  return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static inline uint64_t name_hash(const uint8_t *p, size_t len)
{
  uint64_t h = 0x9e3779b97f4a7c15ULL ^ len;
  uint64_t v = 0;
  const uint8_t *end = p + len;
  for (size_t left = len; left > 8; left -= 8, p += 8) {
    memcpy(&v, p, 8);
    h = name_hash_mix(h ^ v, 0xa0761d6478bd642fULL);
  }
  if (len >= 8) { /* the last eight bytes, overlapping what was read */
    memcpy(&v, end - 8, 8);
  } else if (len >= 4) {
    uint32_t a;
    uint32_t b;
    memcpy(&a, p, 4);
    memcpy(&b, end - 4, 4);
    v = (uint64_t)a << 32 | b;
  } else if (len > 0) {
    v = (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | end[-1];
  }
  return name_hash_mix(h ^ v, 0xe7037ed1a0b428dbULL);
}
