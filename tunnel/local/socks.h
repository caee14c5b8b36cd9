/* SPDX-License-Identifier: Apache-2.0 */
/* SOCKS5 (RFC 1928), the server's side up to the target's name: no authentication, CONNECT alone. The one
 * bounded reader of what a local program sends to -D; it says how many bytes it wants next, so that nothing
 * behind the request is taken out of the socket. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "tunnel/local/forward.h"

/* RFC 1928 §6 */
typedef enum socks_code {
  SOCKS_GRANTED = 0,
  SOCKS_FAILED = 1,
  SOCKS_NOT_ALLOWED = 2,
  SOCKS_HOST_UNREACHABLE = 4,
  SOCKS_REFUSED = 5,
  SOCKS_NO_COMMAND = 7,
  SOCKS_NO_ADDRESS_TYPE = 8,
} socks_code_t;

typedef enum socks_step {
  SOCKS_MORE,   /* go on reading; send the reply, if there is one */
  SOCKS_TARGET, /* host and port are known */
  SOCKS_BAD,    /* send the reply, if there is one, and close */
} socks_step_t;

typedef struct socks {
  enum { SOCKS_AT_GREETING, SOCKS_AT_METHODS, SOCKS_AT_REQUEST, SOCKS_AT_ADDRESS } at;
  size_t want;  /* bytes to read next; never 0 before the end */
  uint8_t kind; /* of address */
  uint8_t first;
  uint8_t data[SOCKS_WANT_MAX];
  size_t have;
  char host[FORWARD_TARGET_MAX];
  uint16_t port;
  const char *fault; /* what is wrong with SOCKS_BAD */
  uint8_t reply[SOCKS_REPLY_SIZE];
  size_t reply_len;
} socks_t;

void socks_start(socks_t *socks);
/* len bytes, at most want. reply and reply_len hold what is to be sent now. */
socks_step_t socks_take(socks_t *socks, const uint8_t *data, size_t len);
/* The answer to the request into out of SOCKS_REPLY_SIZE bytes. */
void socks_answer(socks_code_t code, uint8_t *out);
