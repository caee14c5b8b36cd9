/* SPDX-License-Identifier: Apache-2.0 */
/* A message being written into a buffer of fixed size. Whole rrsets or nothing. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "resolver/answer/query.h"
#include "resolver/zone/zone.h"

typedef enum reply_section {
  REPLY_ANSWER,
  REPLY_AUTHORITY,
  REPLY_ADDITIONAL,
  REPLY_SECTIONS
} reply_section_t;

typedef struct reply {
  uint8_t *out;
  size_t at;  /* bytes written; always at most cap */
  size_t cap; /* without what the OPT needs */
  uint16_t flags;
  uint16_t rcode;   /* all twelve bits */
  uint16_t ede;     /* RFC 8914; 0: none */
  size_t cookie_at; /* where the server's part of the COOKIE stands once the message is whole; 0: nowhere */
  uint16_t counts[REPLY_SECTIONS];
} reply_t;

enum { REPLY_CAP_MIN = 512 };

enum { EDE_NOT_READY = 14, EDE_NOT_AUTHORITATIVE = 20, EDE_NO_REACHABLE_AUTHORITY = 22 };

/* Starts with header and question. cap is at least REPLY_CAP_MIN. */
void reply_begin(reply_t *r, const query_t *q, uint8_t *out, size_t cap);

/* Adds an rrset. Its owner stands at offset owner_at of the message, its zone's origin at origin_at. Names
 * that a pointer does not reach are written out. False and nothing written when it does not fit. */
bool reply_put(reply_t *r, reply_section_t section, const zone_rrset_t *set, size_t owner_at,
               size_t origin_at);

/* Where the name at `at` goes on after its first `skip` bytes, which are whole labels. It follows pointers,
 * so the result is never in the midst of one. */
size_t reply_name_at(const reply_t *r, size_t at, size_t skip);

/* Adds a CNAME of a name of ours: RFC 6672 section 3.4. Returns the offset of the target in the message, 0
 * if it does not fit. owner_at is within reach of a pointer: CHAIN_MAX aliases always are. */
size_t reply_put_cname(reply_t *r, size_t owner_at, uint32_t ttl, const dns_name_t *target);

/* Header and OPT; room for the server cookie is left for who knows the client's address. Returns the
 * message's length. */
size_t reply_end(reply_t *r, const query_t *q);

/* An answer without question to a message of which only the header could be read. out has REPLY_CAP_MIN
 * bytes. */
size_t reply_bare(const query_t *q, uint16_t rcode, uint8_t *out);
