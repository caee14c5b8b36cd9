/* SPDX-License-Identifier: Apache-2.0 */
/* The bounded reader of SSH's own encoding (RFC 4251 §5), for what comes from agents and in certificates. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fields {
  const uint8_t *at;
  size_t left;
} fields_t;

/* A number of so many bytes, at most 8. False: there are fewer, and nothing is taken. */
bool fields_number(fields_t *f, size_t bytes, uint64_t *out);
/* A string with its length before it, within f's memory. False: it would reach beyond. */
bool fields_string(fields_t *f, fields_t *out);
bool fields_is(fields_t f, const char *text);
/* The bytes of a base64 word of len characters, at most most, in malloc'ed memory; NULL when it is none. */
uint8_t *fields_decode(const char *text, size_t len, size_t most, size_t *out_len);
