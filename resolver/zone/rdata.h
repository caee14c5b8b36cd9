/* SPDX-License-Identifier: Apache-2.0 */
/* Record data: from the words of a master file to wire, and where the names lie in it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/diag.h"
#include "common/dns/dns_wire.h"
#include "resolver/zone/scan.h"

enum {
  RDATA_MAX = 65535,
  RDATA_NAMES_MAX = 2,
};

typedef struct rdata_reader rdata_reader_t;

/* Holds the buffers that reading needs. One thread. SMPL_ENOMEM. */
int rdata_reader_new(rdata_reader_t **out);
void rdata_reader_free(rdata_reader_t *reader);

/* Reads `words` as the data of a record of `type`; relative names are under origin. out has RDATA_MAX
 * bytes. RFC 3597's \# form is read for any type. The message in diag has no place in it. */
int rdata_read(rdata_reader_t *reader, uint16_t type, const scan_word_t *words, size_t count,
               const dns_name_t *origin, uint8_t *out, size_t *len, diag_t *diag);

/* The record type a word names ("SRV", "TYPE65280"); 0 if none, or one that cannot be data (OPT, AXFR, ANY
 * ...). */
uint16_t rdata_type(const scan_word_t *word);
/* "SRV" or "TYPE65280". buf of RDATA_TYPE_TEXT_MAX bytes; returns buf. */
enum { RDATA_TYPE_TEXT_MAX = 32 };
char *rdata_type_text(uint16_t type, char *buf);

/* Where names stand in the data, for the types whose names we look into; false when the data is malformed. */
typedef struct rdata_names {
  size_t count;
  uint16_t at[RDATA_NAMES_MAX];
  uint8_t len[RDATA_NAMES_MAX];
  bool compress; /* RFC 3597 section 4: names of this type may be compressed */
} rdata_names_t;
bool rdata_names(uint16_t type, const uint8_t *rdata, size_t len, rdata_names_t *out);

/* A name as a word of a master file: "@", relative or with its final dot. out is not origin. SMPL_EINVAL,
 * SMPL_ELIMIT as dns_name_from_text. */
int rdata_name(const scan_word_t *word, const dns_name_t *origin, dns_name_t *out);

/* Seconds: "3600", "1h30m", "1W". SMPL_EINVAL; SMPL_ELIMIT above max. */
int rdata_seconds(const scan_word_t *word, uint32_t max, uint32_t *out);
