/* SPDX-License-Identifier: Apache-2.0 */
/* A message from a client, taken apart by the one reader (common/dns/dns_wire.h). Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/dns/dns_wire.h"
#include "resolver/answer/cookies.h"

enum {
  OPCODE_QUERY = 0,
  OPCODE_NOTIFY = 4,
  OPCODE_UPDATE = 5,
};

typedef struct query {
  const uint8_t *msg; /* borrowed */
  uint16_t flags;
  uint16_t type, klass;
  uint16_t udp_size; /* of the OPT, 512 at least; 512 without */
  bool has_edns, dnssec_ok;
  uint8_t edns_version;
  uint8_t cookie_len;    /* bytes of the COOKIE option, 0: none */
  const uint8_t *cookie; /* the client's eight bytes, then what it says is ours */
  size_t question_end;   /* the question is msg[DNS_HEADER_LEN, question_end): empty when a cookie alone is
                            asked for */
  dns_name_t name;       /* lower-case */
} query_t;

typedef enum query_result {
  QUERY_READ,    /* all of *out is set */
  QUERY_DROP,    /* not even a header, or an answer: nothing is sent back */
  QUERY_FORMERR, /* only msg and flags are set */
  QUERY_NOTIMP,  /* an opcode that we do not have; only msg and flags are set */
} query_result_t;

/* Exactly one question, or none beside a COOKIE (RFC 7873 section 5.4), and for OPCODE_QUERY no answers and
 * (IXFR aside) no authority; records well formed to the last byte; at most one OPT, in the additional
 * section, at the root; a COOKIE of the lengths that there are. */
query_result_t query_read(const uint8_t *msg, size_t len, query_t *out);

enum {
  QUERY_PACKED_MAX = DNS_HEADER_LEN + DNS_NAME_MAX + 4 + 11 + 4 + COOKIE_CLIENT_LEN + COOKIE_SERVER_MAX
};

/* What an answer needs of a query, as a query of bounded size: reading it gives the same *q, whatever else
 * the client sent. Returns its length. out has QUERY_PACKED_MAX bytes. */
size_t query_pack(const query_t *q, uint8_t *out);
