/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an http request to one of the small servers in here: a bounded, strict reader. A head that it
 * does not understand wholly is an error; nothing is repaired. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ip.h"

/* A piece of the head; no NUL at its end. */
typedef struct http_text {
  const char *at;
  size_t len;
} http_text_t;

typedef struct http_head {
  http_text_t method, target;
  bool has_host;    /* only HTTP/1.0 may lack it */
  http_text_t host; /* the header's value */
} http_head_t;

/* How long the head at the beginning of data is, with its empty line; 0 while that has not come. */
size_t http_head_end(const char *data, size_t len);

/* Takes the head data[0, len) apart (len from http_head_end). SMPL_EINVAL unless it is one request line of
 * HTTP/1.0 or 1.1 and header lines (RFC 9112 sections 3 and 5: no folding, no space before the colon, CRLF
 * alone ends a line, no control characters) with exactly one Host; HTTP/1.0 may have none. */
int http_head_read(const char *data, size_t len, http_head_t *out);

bool http_text_is(http_text_t text, const char *word);

/* A Host's two halves: "name", "name:80", "192.0.2.1", "[::1]:80". *port is 0 if none is given. SMPL_EINVAL.
 */
int http_host_split(http_text_t host, http_text_t *name, uint16_t *port);
/* The address that a name from http_host_split is, brackets and all. False if it is none. */
bool http_host_address(http_text_t name, ip_t *out);
/* Letter case and a final dot aside. */
bool http_host_same(http_text_t name, const char *other);
