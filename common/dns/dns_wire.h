/* SPDX-License-Identifier: Apache-2.0 */
/* The one reader of DNS messages from the network (RFC 1035 §4): a bounded cursor, a name reader that follows
 * compression pointers strictly backwards, and a record iterator. Pure: no allocation, no I/O; never reads
 * outside the message and always ends. Used by the resolver for queries and by lookup.h for answers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  DNS_NAME_MAX = 255,      /* bytes of a name on the wire, root label included */
  DNS_LABEL_MAX = 63,      /* bytes of a label */
  DNS_NAME_HOPS_MAX = 127, /* compression pointers followed in one name */
  DNS_NAME_TEXT_MAX = 1012 /* presentation form with every byte as \DDD, final dot and NUL */
};

enum {
  DNS_TYPE_A = 1,
  DNS_TYPE_NS = 2,
  DNS_TYPE_CNAME = 5,
  DNS_TYPE_SOA = 6,
  DNS_TYPE_PTR = 12,
  DNS_TYPE_MX = 15,
  DNS_TYPE_TXT = 16,
  DNS_TYPE_AAAA = 28,
  DNS_TYPE_SRV = 33,
  DNS_TYPE_DNAME = 39,
  DNS_TYPE_OPT = 41,
  DNS_TYPE_DS = 43,
  DNS_TYPE_SVCB = 64,
  DNS_TYPE_HTTPS = 65,
  DNS_TYPE_IXFR = 251,
  DNS_TYPE_AXFR = 252,
  DNS_TYPE_ANY = 255,
  DNS_CLASS_IN = 1,
  DNS_CLASS_ANY = 255,
};

enum {
  DNS_RCODE_NOERROR = 0,
  DNS_RCODE_FORMERR = 1,
  DNS_RCODE_SERVFAIL = 2,
  DNS_RCODE_NXDOMAIN = 3,
  DNS_RCODE_NOTIMP = 4,
  DNS_RCODE_REFUSED = 5,
  DNS_RCODE_BADVERS = 16,
  DNS_RCODE_BADCOOKIE = 23,
};

/* A cursor over bytes: at <= len always. */
typedef struct dns_wire {
  const uint8_t *data;
  size_t len;
  size_t at;
} dns_wire_t;

/* A name on the wire, uncompressed, as sent (case kept) until dns_name_lower. len counts the root
 * label: 1..255. */
typedef struct dns_name {
  uint8_t len;
  uint8_t wire[DNS_NAME_MAX];
} dns_name_t;

static inline dns_wire_t dns_wire_of(const void *data, size_t len)
{
  return (dns_wire_t){data, len, 0};
}

static inline size_t dns_wire_left(const dns_wire_t *w)
{
  return w->len - w->at;
}

/* Each moves the cursor on success and returns 0; SMPL_ETRUNC past the end leaves it. */
int dns_wire_u8(dns_wire_t *w, uint8_t *out);
int dns_wire_u16(dns_wire_t *w, uint16_t *out);
int dns_wire_u32(dns_wire_t *w, uint32_t *out);
int dns_wire_skip(dns_wire_t *w, size_t n);

/* Reads a name and leaves the cursor after it as it stands in the message. A pointer must point before the
 * label sequence it ends and behind the message's header, so every hop goes backwards. SMPL_ETRUNC,
 * SMPL_EINVAL (bad label type, bad pointer or too many), SMPL_ELIMIT (over 255 bytes). On error *out is not a
 * name. */
int dns_wire_name(dns_wire_t *w, dns_name_t *out);

typedef struct dns_header {
  uint16_t id;
  uint16_t flags;
  uint16_t qdcount, ancount, nscount, arcount;
} dns_header_t;

enum {
  DNS_FLAG_QR = 0x8000,
  DNS_FLAG_AA = 0x0400,
  DNS_FLAG_TC = 0x0200,
  DNS_FLAG_RD = 0x0100,
  DNS_FLAG_RA = 0x0080,
  DNS_FLAG_AD = 0x0020,
  DNS_FLAG_CD = 0x0010,
  DNS_HEADER_LEN = 12,
};

static inline unsigned dns_opcode(uint16_t flags)
{
  return (flags >> 11) & 15u;
}

int dns_wire_header(dns_wire_t *w, dns_header_t *out);
/* Name, type and class of a question. */
int dns_wire_question(dns_wire_t *w, dns_name_t *name, uint16_t *type, uint16_t *klass);

typedef struct dns_rr {
  dns_name_t owner;
  uint16_t type;
  uint16_t klass;
  uint32_t ttl;
  size_t rdata;   /* offset in the message, for names in rdata that are compressed */
  uint16_t rdlen; /* rdata..rdata+rdlen lies within the message */
} dns_rr_t;

/* Reads one record, cursor after it. Its rdata is not looked into. */
int dns_wire_rr(dns_wire_t *w, dns_rr_t *out);

/* ASCII to lower case, in place (RFC 4343). */
void dns_name_lower(dns_name_t *name);
bool dns_name_equal(const dns_name_t *a, const dns_name_t *b); /* case counts: lower both first */
/* True when name is at or below parent; both lower-case. */
bool dns_name_under(const dns_name_t *name, const dns_name_t *parent);
unsigned dns_name_labels(const dns_name_t *name); /* the root label not counted */

/* Presentation format, RFC 1035 §5.1: text without final dot is taken as absolute too. Escapes \. and \DDD
 * are read. SMPL_EINVAL (empty label, bad escape), SMPL_ELIMIT (label over 63, name over 255). */
int dns_name_from_text(const char *text, dns_name_t *out);
/* With final dot. buf of DNS_NAME_TEXT_MAX bytes. Returns buf. */
char *dns_name_to_text(const dns_name_t *name, char *buf);
