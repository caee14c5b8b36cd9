/* SPDX-License-Identifier: Apache-2.0 */
/* One message and what becomes of it, from the socket to the answer. The transport fills in who asks and
 * what, the answer path the rest. It borrows everything that it points to. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ip.h"
#include "resolver/view/snapshot.h"

typedef enum exchange_transport { EXCHANGE_UDP, EXCHANGE_TCP } exchange_transport_t;

/* What became of a message, for the counters and for who fills in the cookie. */
typedef struct exchange_note {
  const zone_t *zone; /* that the question's name is of; NULL: the view has none */
  uint16_t rcode;
  bool truncated;
  /* The view has no zone for the name, and the client would have it looked for elsewhere: the answer is a
   * refusal unless somebody knows of more (elsewhere.h). */
  bool missing;
  /* In the answer: room for the server cookie, still zero. 0: the client sent no cookie. */
  uint16_t cookie_at;
  uint8_t server_cookie_len; /* what the client says is ours: 0 if it sent its own part alone */
  const uint8_t *cookie;     /* in the message: the client's part, behind it the server's */
} exchange_note_t;

typedef struct exchange {
  exchange_transport_t transport;
  size_t listener; /* its number in the snapshot */
  const ip_t *peer;
  snapshot_view_t chosen; /* by snapshot_choose, from these two and nothing else (invariant 1) */
  const uint8_t *msg;
  size_t len;
  /* Room for the answer: at least REPLY_CAP_MIN, over UDP UDP_REPLY_MAX and over TCP MESSAGE_MAX. */
  uint8_t *out;
  size_t cap;

  size_t out_len; /* of the answer; 0: nothing is to be sent */
  exchange_note_t note;
} exchange_t;

/* What is to be done now. */
typedef enum exchange_verdict {
  EXCHANGE_SEND,  /* out has the answer */
  EXCHANGE_DROP,  /* nothing is sent */
  EXCHANGE_LATER, /* the answer comes from elsewhere: the question is to wait for it (io/later.h) */
} exchange_verdict_t;
