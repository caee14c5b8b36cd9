/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/zone/rdata.h"

#include <arpa/inet.h>
#include <ldns/ldns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "resolver/limits.h"

enum {
  NAME_WORD_MAX = DNS_NAME_TEXT_MAX, /* a longer word is no name */
  WORD_SHOWN_MAX = 60,               /* bytes of a bad word that a message repeats */
};

struct rdata_reader {
  char *text; /* the words joined for ldns: SCAN_ENTRY_MAX and blanks */
  size_t text_cap;
  ldns_buffer *wire;
};

int rdata_reader_new(rdata_reader_t **out)
{
  *out = NULL;
  rdata_reader_t *r = calloc(1, sizeof *r);
  if (r == NULL)
    return SMPL_ENOMEM;
  r->text_cap = SCAN_ENTRY_MAX + SCAN_TOKENS_MAX + RDATA_TYPE_TEXT_MAX + 64;
  r->text = malloc(r->text_cap);
  r->wire = ldns_buffer_new(RDATA_MAX + 1);
  if (r->text == NULL || r->wire == NULL) {
    rdata_reader_free(r);
    return SMPL_ENOMEM;
  }
  *out = r;
  return SMPL_OK;
}

void rdata_reader_free(rdata_reader_t *reader)
{
  if (reader == NULL)
    return;
  free(reader->text);
  if (reader->wire != NULL)
    ldns_buffer_free(reader->wire);
  free(reader);
}

static int shown(const scan_word_t *w)
{
  return (int)(w->len < WORD_SHOWN_MAX ? w->len : WORD_SHOWN_MAX);
}

/* A final dot that is not escaped. */
static bool is_absolute(const scan_word_t *w)
{
  if (w->len == 0 || w->text[w->len - 1] != '.')
    return false;
  size_t slashes = 0;
  while (slashes + 1 < w->len && w->text[w->len - 2 - slashes] == '\\')
    slashes++;
  return slashes % 2 == 0;
}

static bool has_quote(const scan_word_t *w)
{
  for (size_t i = 0; i < w->len; i++) {
    if (w->text[i] == '"')
      return true;
    if (w->text[i] == '\\')
      i++;
  }
  return false;
}

int rdata_name(const scan_word_t *word, const dns_name_t *origin, dns_name_t *out)
{
  if (word->len == 1 && word->text[0] == '@') {
    *out = *origin;
    return SMPL_OK;
  }
  char text[NAME_WORD_MAX];
  if (word->len >= sizeof text)
    return SMPL_ELIMIT;
  memcpy(text, word->text, word->len);
  text[word->len] = '\0';
  if (has_quote(word))
    return SMPL_EINVAL;
  int err = dns_name_from_text(text, out);
  if (err || is_absolute(word))
    return err;
  size_t head = out->len - 1u;
  if (head + origin->len > DNS_NAME_MAX)
    return SMPL_ELIMIT;
  memcpy(out->wire + head, origin->wire, origin->len);
  out->len = (uint8_t)(head + origin->len);
  return SMPL_OK;
}

static uint64_t unit_of(char c)
{
  switch (text_lower(c)) {
  case 's':
    return 1;
  case 'm':
    return 60;
  case 'h':
    return 3600;
  case 'd':
    return 86400;
  case 'w':
    return 604800;
  default:
    return 0;
  }
}

int rdata_seconds(const scan_word_t *word, uint32_t max, uint32_t *out)
{
  uint64_t sum = 0;
  size_t at = 0;
  if (word->len == 0)
    return SMPL_EINVAL;
  while (at < word->len) {
    size_t digits = 0;
    while (at + digits < word->len && word->text[at + digits] >= '0' && word->text[at + digits] <= '9')
      digits++;
    uint64_t n;
    int err = text_parse_u64(word->text + at, digits, UINT32_MAX, &n);
    if (err)
      return err;
    at += digits;
    uint64_t unit = 1;
    if (at < word->len) {
      unit = unit_of(word->text[at++]);
      if (unit == 0)
        return SMPL_EINVAL;
    }
    sum += n * unit; /* below 2^32 * 604800: no overflow, as sum is bounded below */
    if (sum > max)
      return SMPL_ELIMIT;
  }
  *out = (uint32_t)sum;
  return SMPL_OK;
}

uint16_t rdata_type(const scan_word_t *word)
{
  char text[RDATA_TYPE_TEXT_MAX];
  if (word->len == 0 || word->len >= sizeof text)
    return 0;
  for (size_t i = 0; i < word->len; i++) {
    char c = word->text[i];
    text[i] = c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
  }
  text[word->len] = '\0';
  uint64_t type;
  if (word->len == 1 && text[0] == 'A')
    return DNS_TYPE_A;
  if (strncmp(text, "TYPE", 4) != 0 || text_parse_u64(text + 4, word->len - 4, UINT16_MAX, &type))
    type = (uint64_t)ldns_get_rr_type_by_name(text);
  bool meta = type == 0 || type == DNS_TYPE_OPT || (type >= 128 && type <= 255) || type > UINT16_MAX;
  return meta ? 0 : (uint16_t)type;
}

char *rdata_type_text(uint16_t type, char *buf)
{
  char *text = ldns_rr_type2str((ldns_rr_type)type);
  snprintf(buf, RDATA_TYPE_TEXT_MAX, "%s", text != NULL ? text : "?");
  free(text);
  return buf;
}

/* Length of the uncompressed name at p, 0 if there is none within `left` bytes. */
static size_t name_len(const uint8_t *p, size_t left)
{
  size_t n = 0;
  while (n < left && n < DNS_NAME_MAX) {
    size_t label = p[n];
    if (label == 0)
      return n + 1;
    if (label > DNS_LABEL_MAX)
      return 0;
    n += label + 1;
  }
  return 0;
}

/* How data is laid out: fixed bytes, then names, then fixed bytes. */
typedef struct layout {
  uint16_t type;
  uint8_t before, names, after;
  bool compress;
} layout_t;

static const layout_t layouts[] = {
    {DNS_TYPE_A, 4, 0, 0, false},    {DNS_TYPE_AAAA, 16, 0, 0, false}, {DNS_TYPE_NS, 0, 1, 0, true},
    {DNS_TYPE_CNAME, 0, 1, 0, true}, {DNS_TYPE_PTR, 0, 1, 0, true},    {DNS_TYPE_MX, 2, 1, 0, true},
    {DNS_TYPE_SOA, 0, 2, 20, true},  {DNS_TYPE_SRV, 6, 1, 0, false},   {DNS_TYPE_DNAME, 0, 1, 0, false},
};

static const layout_t *layout_of(uint16_t type)
{
  for (size_t i = 0; i < COUNT_OF(layouts); i++)
    if (layouts[i].type == type)
      return &layouts[i];
  return NULL;
}

bool rdata_names(uint16_t type, const uint8_t *rdata, size_t len, rdata_names_t *out)
{
  const layout_t *l = layout_of(type);
  out->count = 0;
  out->compress = false;
  if (l == NULL)
    return true;
  size_t at = l->before;
  if (at > len)
    return false;
  for (size_t i = 0; i < l->names; i++) {
    size_t n = name_len(rdata + at, len - at);
    if (n == 0)
      return false;
    out->at[i] = (uint16_t)at;
    out->len[i] = (uint8_t)n;
    at += n;
  }
  out->count = l->names;
  out->compress = l->compress;
  return len - at == l->after;
}

/* A priority and a name, then parameters that are not looked into (RFC 9460 section 2.2). The answer path
 * reads that name. */
static bool svcb_fine(const uint8_t *rdata, size_t len)
{
  return len > 2 && name_len(rdata + 2, len - 2) > 0;
}

/* What data must be besides what its form says. */
static const struct check {
  uint16_t type;
  bool (*fine)(const uint8_t *rdata, size_t len);
} checks[] = {
    {DNS_TYPE_SVCB, svcb_fine},
    {DNS_TYPE_HTTPS, svcb_fine},
};

static bool is_fine(uint16_t type, const uint8_t *rdata, size_t len)
{
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (checks[i].type == type && !checks[i].fine(rdata, len))
      return false;
  return true;
}

static int hex_digit(char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c = text_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3597 section 5: \# LENGTH HEX... */
static int read_generic(const scan_word_t *words, size_t count, uint8_t *out, size_t *len, diag_t *diag)
{
  uint64_t want;
  if (count < 2 || text_parse_u64(words[1].text, words[1].len, RDATA_MAX, &want))
    return diag_fail(diag, SMPL_EINVAL, "expected a length up to 65535 after \\#");
  size_t nibbles = 0;
  for (size_t i = 2; i < count; i++) {
    for (size_t j = 0; j < words[i].len; j++) {
      int d = hex_digit(words[i].text[j]);
      if (d < 0 || nibbles / 2 >= want)
        return diag_fail(diag, SMPL_EINVAL, "expected %u bytes in hexadecimal after \\#", (unsigned)want);
      out[nibbles / 2] = (uint8_t)(nibbles % 2 == 0 ? d << 4 : out[nibbles / 2] | d);
      nibbles++;
    }
  }
  if (nibbles != want * 2)
    return diag_fail(diag, SMPL_EINVAL, "expected %u bytes in hexadecimal after \\#, got %zu digits",
                     (unsigned)want, nibbles);
  *len = (size_t)want;
  return SMPL_OK;
}

static int read_address(uint16_t type, const scan_word_t *word, uint8_t *out, size_t *len, diag_t *diag)
{
  char text[INET6_ADDRSTRLEN];
  bool v4 = type == DNS_TYPE_A;
  *len = v4 ? 4 : 16;
  if (word->len < sizeof text) {
    memcpy(text, word->text, word->len);
    text[word->len] = '\0';
    if (inet_pton(v4 ? AF_INET : AF_INET6, text, out) == 1)
      return SMPL_OK;
  }
  return diag_fail(diag, SMPL_EINVAL, "expected an IPv%d address, got '%.*s'", v4 ? 4 : 6, shown(word),
                   word->text);
}

static int bad_name(int err, const scan_word_t *word, diag_t *diag)
{
  return diag_fail(diag, err, "%s: '%.*s'",
                   err == SMPL_ELIMIT ? "name too long: expected labels up to 63 bytes and names up to 255"
                                      : "expected a domain name",
                   shown(word), word->text);
}

/* Sixteen-bit numbers and then one name: NS, CNAME, PTR, DNAME, MX, SRV. Read here because these and
 * addresses are nearly all that big zones hold, and ldns takes 10 us a record (0.2 us here). */
static int read_plain(const layout_t *l, const scan_word_t *words, const dns_name_t *origin, uint8_t *out,
                      size_t *len, diag_t *diag)
{
  size_t at = 0;
  for (size_t i = 0; i < l->before / 2u; i++) {
    uint64_t n;
    if (text_parse_u64(words[i].text, words[i].len, UINT16_MAX, &n))
      return diag_fail(diag, SMPL_EINVAL, "expected a number up to 65535, got '%.*s'", shown(&words[i]),
                       words[i].text);
    out[at++] = (uint8_t)(n >> 8);
    out[at++] = (uint8_t)n;
  }
  const scan_word_t *word = &words[l->before / 2u];
  dns_name_t name;
  int err = rdata_name(word, origin, &name);
  if (err)
    return bad_name(err, word, diag);
  memcpy(out + at, name.wire, name.len);
  *len = at + name.len;
  return SMPL_OK;
}

/* ldns lets numbers wrap round and takes a minus sign, so they are checked before. */
static int check_numbers(uint16_t type, const scan_word_t *words, size_t count, diag_t *diag)
{
  const ldns_rr_descriptor *d = ldns_rr_descript(type);
  if (d == NULL)
    return SMPL_OK;
  for (size_t i = 0; i < count && i < ldns_rr_descriptor_maximum(d); i++) {
    uint32_t max = 0;
    uint64_t n;
    uint32_t seconds;
    switch (ldns_rr_descriptor_field_type(d, i)) {
    case LDNS_RDF_TYPE_INT8:
      max = UINT8_MAX;
      break;
    case LDNS_RDF_TYPE_INT16:
      max = UINT16_MAX;
      break;
    case LDNS_RDF_TYPE_INT32:
      max = UINT32_MAX;
      break;
    case LDNS_RDF_TYPE_PERIOD:
      if (rdata_seconds(&words[i], ZONE_TTL_MAX, &seconds))
        return diag_fail(diag, SMPL_EINVAL, "expected seconds up to %u, got '%.*s'", (unsigned)ZONE_TTL_MAX,
                         shown(&words[i]), words[i].text);
      continue;
    default:
      continue;
    }
    if (text_parse_u64(words[i].text, words[i].len, max, &n))
      return diag_fail(diag, SMPL_EINVAL, "expected a number up to %u, got '%.*s'", (unsigned)max,
                       shown(&words[i]), words[i].text);
  }
  return SMPL_OK;
}

static char *join_words(rdata_reader_t *r, const char *type, const scan_word_t *words, size_t count)
{
  int n = snprintf(r->text, r->text_cap, ". 0 IN %s", type);
  size_t used = (size_t)n;
  for (size_t i = 0; i < count; i++) {
    if (r->text_cap - used < words[i].len + 2)
      return NULL;
    r->text[used++] = ' ';
    memcpy(r->text + used, words[i].text, words[i].len);
    used += words[i].len;
  }
  r->text[used] = '\0';
  return r->text;
}

static int read_ldns(rdata_reader_t *r, uint16_t type, const scan_word_t *words, size_t count,
                     const dns_name_t *origin, uint8_t *out, size_t *len, diag_t *diag)
{
  char type_text[RDATA_TYPE_TEXT_MAX];
  rdata_type_text(type, type_text);
  int err = check_numbers(type, words, count, diag);
  if (err)
    return err;
  char *text = join_words(r, type_text, words, count);
  ldns_rdf *at = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, origin->len, origin->wire);
  ldns_rr *rr = NULL;
  if (text == NULL || at == NULL) {
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
    goto out;
  }
  ldns_status status = ldns_rr_new_frm_str(&rr, text, 0, at, NULL);
  if (status == LDNS_STATUS_OK) {
    ldns_buffer_clear(r->wire);
    status = ldns_rr_rdata2buffer_wire(r->wire, rr);
  }
  size_t n = status == LDNS_STATUS_OK ? ldns_buffer_position(r->wire) : 0;
  if (status != LDNS_STATUS_OK || n > RDATA_MAX) {
    err =
        diag_fail(diag, SMPL_EINVAL, "expected the data of a %s record (%s), got '%.*s%s'", type_text,
                  status == LDNS_STATUS_OK ? "too long" : ldns_get_errorstr_by_id(status),
                  count > 0 ? shown(&words[0]) : 0, count > 0 ? words[0].text : "", count > 1 ? " ..." : "");
    goto out;
  }
  memcpy(out, ldns_buffer_begin(r->wire), n);
  *len = n;
out:
  if (at != NULL)
    ldns_rdf_deep_free(at);
  if (rr != NULL)
    ldns_rr_free(rr);
  return err;
}

int rdata_read(rdata_reader_t *reader, uint16_t type, const scan_word_t *words, size_t count,
               const dns_name_t *origin, uint8_t *out, size_t *len, diag_t *diag)
{
  char text[RDATA_TYPE_TEXT_MAX];
  const layout_t *l = layout_of(type);
  bool address = type == DNS_TYPE_A || type == DNS_TYPE_AAAA;
  size_t want = l == NULL || type == DNS_TYPE_SOA ? 0 : address ? 1 : l->before / 2u + 1;
  int err;
  if (count > 0 && words[0].len == 2 && memcmp(words[0].text, "\\#", 2) == 0)
    err = read_generic(words, count, out, len, diag);
  else if (want != 0 && count != want)
    err = diag_fail(diag, SMPL_EINVAL, "expected %zu word%s of data in a %s record, got %zu", want,
                    want == 1 ? "" : "s", rdata_type_text(type, text), count);
  else if (address)
    err = read_address(type, &words[0], out, len, diag);
  else if (want != 0)
    err = read_plain(l, words, origin, out, len, diag);
  else
    err = read_ldns(reader, type, words, count, origin, out, len, diag);
  rdata_names_t names;
  if (!err && (!rdata_names(type, out, *len, &names) || !is_fine(type, out, *len)))
    err = diag_fail(diag, SMPL_EINVAL, "expected the data of a %s record, got other bytes",
                    rdata_type_text(type, text));
  return err;
}
