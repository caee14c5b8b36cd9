/* SPDX-License-Identifier: Apache-2.0 */
#include "app/gate/gate.h"

/* The contracts in this file are proved by ./dev prove; app/README.md says what follows from them and what
 * does not. */

/* Bytes */

/*@ predicate digit(integer c) = '0' <= c <= '9';
  @ predicate alnum(integer c) = digit(c) || 'a' <= c <= 'z' || 'A' <= c <= 'Z';
  @ logic integer hex(integer c) =
  @   ('0' <= c && c <= '9') ? c - '0' : ('a' <= c && c <= 'f') ? c - 'a' + 10 :
  @   ('A' <= c && c <= 'F') ? c - 'A' + 10 : -1;
  @ predicate path_byte(integer c) = alnum(c) || c == '-' || c == '.' || c == '_' || c == '~' || c == '!' ||
  @   c == '&' || c == '(' || c == ')' || c == '*' || c == '+' || c == ',' ||
  @   c == '=' || c == ':' || c == '@';
  @ predicate hidden(integer c) = c < 0x20 || c == 0x7f || c == '.' || c == '/' || c == 92 || c == '%' ||
  @   c == ';' || c == '?' || c == '#';
  @*/

/*@ assigns \nothing;
  @ ensures \result <==> digit(c);
  @*/
static bool is_digit(uint8_t c)
{
  return c >= '0' && c <= '9';
}

/*@ assigns \nothing;
  @ ensures \result <==> alnum(c);
  @*/
static bool is_alnum(uint8_t c)
{
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static uint8_t lower(uint8_t c)
{
  return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/*@ assigns \nothing;
  @ ensures \result == hex(c);
  @ ensures -1 <= \result <= 15;
  @*/
static int hex_value(uint8_t c)
{
  if (is_digit(c))
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  if (c >= 'A' && c <= 'F')
    return c - 'A' + 10;
  return -1;
}

/* RFC 3986 pchar without ; ' $ : those three mean something to some servers' own path syntax. */
/*@ assigns \nothing;
  @ ensures \result <==> path_byte(c);
  @*/
static bool is_path_byte(uint8_t c)
{
  if (is_alnum(c))
    return true;
  switch (c) {
  case '-':
  case '.':
  case '_':
  case '~': /* unreserved */
  case '!':
  case '&':
  case '(':
  case ')':
  case '*':
  case '+':
  case ',':
  case '=': /* sub-delims */
  case ':':
  case '@':
    return true;
  default:
    return false;
  }
}

/* RFC 3986 query, and the square brackets that browsers leave alone (page[number]). */
static bool is_query_byte(uint8_t c)
{
  return is_path_byte(c) || c == ';' || c == '\'' || c == '$' || c == '/' || c == '?' || c == '[' || c == ']';
}

/* Encoded, these would give a decoder another path than the bytes show. */
/*@ assigns \nothing;
  @ ensures \result <==> hidden(c);
  @*/
static bool is_hidden_path_byte(uint8_t c)
{
  return c < 0x20 || c == 0x7f || c == '.' || c == '/' || c == '\\' || c == '%' || c == ';' || c == '?' ||
         c == '#';
}

/* UTF-8, RFC 3629 §4, one decoded byte at a time. need: continuation bytes still to come, the next within
 * lo..hi. */
typedef struct utf8 {
  unsigned need;
  uint8_t lo, hi;
} utf8_t;

/*@ requires \valid(u);
  @ assigns *u;
  @*/
static bool utf8_first(utf8_t *u, uint8_t c)
{
  u->lo = 0x80;
  u->hi = 0xbf;
  if (c < 0x80) {
    u->need = 0;
    return true;
  }
  if (c < 0xc2 || c > 0xf4)
    return false;
  u->need = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
  if (c == 0xc2 || c == 0xe0)
    u->lo = 0xa0; /* U+0080 to U+009F are control characters; e0 80 to e0 9f is overlong */
  else if (c == 0xed)
    u->hi = 0x9f; /* surrogates */
  else if (c == 0xf0)
    u->lo = 0x90; /* overlong */
  else if (c == 0xf4)
    u->hi = 0x8f; /* above U+10FFFF */
  return true;
}

/*@ requires \valid(u);
  @ assigns *u;
  @*/
static bool utf8_next(utf8_t *u, uint8_t c)
{
  if (u->need == 0)
    return utf8_first(u, c);
  if (c < u->lo || c > u->hi)
    return false;
  u->lo = 0x80;
  u->hi = 0xbf;
  u->need--;
  return true;
}

/* Path and query */

/*@ predicate escape(uint8_t *s, integer end, integer i) =
  @   i + 2 < end && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0;
  @ // from at to end: what a segment is made of
  @ predicate clean(uint8_t *s, integer at, integer end) =
  @   \forall integer k; at <= k < end ==>
  @     path_byte(s[k]) || (s[k] == '%' && escape(s, end, k) && !hidden(hex(s[k + 1]) * 16 + hex(s[k + 2])));
  @ predicate dots(uint8_t *s, integer at, integer end) =
  @   s[at] == '.' && (end == at + 1 || (end == at + 2 && s[at + 1] == '.'));
  @ // not empty, no slash, no dot segment
  @ predicate segment(uint8_t *s, integer at, integer end) =
  @   at < end && clean(s, at, end) && !dots(s, at, end);
  @*/

/* The byte that %XX at s[i] stands for, or -1. */
/*@ requires i < end && \valid_read(s + (0 .. end - 1));
  @ assigns \nothing;
  @ ensures \result == -1 || (escape(s, end, i) && \result == hex(s[i + 1]) * 16 + hex(s[i + 2]));
  @ ensures -1 <= \result <= 255;
  @*/
static int escape_at(const uint8_t *s, size_t end, size_t i)
{
  if (end - i < 3)
    return -1;
  int high = hex_value(s[i + 1]);
  int low = hex_value(s[i + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* s[at..end) is what stands between two slashes. */
/*@ requires at <= end && end <= LIMIT_HEAD && \valid_read(s + (0 .. end - 1));
  @ assigns \nothing;
  @ ensures \result == GATE_ADMIT ==> segment(s, at, end);
  @*/
static gate_verdict_t gate_segment(const uint8_t *s, size_t at, size_t end)
{
  utf8_t u = {0, 0, 0};
  if (at == end)
    return GATE_EMPTY_SEGMENT;
  if (s[at] == '.' && (end - at == 1 || (end - at == 2 && s[at + 1] == '.')))
    return GATE_DOT_SEGMENT;
  /*@ loop invariant at <= i <= end;
    @ loop invariant clean(s, at, i);
    @ loop assigns i, u;
    @ loop variant end - i;
    @*/
  for (size_t i = at; i < end; i++) {
    uint8_t c = s[i];
    if (c == '%') {
      int value = escape_at(s, end, i);
      if (value < 0 || is_hidden_path_byte((uint8_t)value))
        return GATE_PATH_ESCAPE;
      c = (uint8_t)value;
      i += 2;
    } else if (!is_path_byte(c)) {
      return GATE_PATH_BYTE;
    }
    if (!utf8_next(&u, c))
      return GATE_PATH_UTF8;
  }
  return u.need == 0 ? GATE_ADMIT : GATE_PATH_UTF8;
}

/*@ // every byte before `at` is a slash, a byte that may stand in a path, or begins an escape that may
  @ predicate bytes_ok(uint8_t *p, integer at, integer len) =
  @   \forall integer k; 0 <= k < at ==> p[k] == '/' || path_byte(p[k]) ||
  @     (p[k] == '%' && escape(p, len, k) && !hidden(hex(p[k + 1]) * 16 + hex(p[k + 2])));
  @ // no segment that begins before `at` and ends in a slash there is empty or made of dots
  @ predicate segments_ok(uint8_t *p, integer at) =
  @   \forall integer k; 0 <= k < at - 1 && p[k] == '/' ==> p[k + 1] != '/' &&
  @     (p[k + 1] == '.' ==> k + 2 < at && p[k + 2] != '/' &&
  @       (p[k + 2] == '.' ==> k + 3 < at && p[k + 3] != '/'));
  @ // the same for the whole path, whose last segment ends with it
  @ predicate admitted(uint8_t *p, integer len) = len >= 1 && p[0] == '/' && bytes_ok(p, len, len) &&
  @   (len > 1 ==> \forall integer k; 0 <= k < len && p[k] == '/' ==> k + 1 < len && p[k + 1] != '/' &&
  @     (p[k + 1] == '.' ==> k + 2 < len && p[k + 2] != '/' &&
  @       (p[k + 2] == '.' ==> k + 3 < len && p[k + 3] != '/')));
  @*/

/*@ requires len <= LIMIT_HEAD && \valid_read(path + (0 .. len - 1));
  @ assigns \nothing;
  @ ensures \result == GATE_ADMIT ==> admitted(path, len);
  @*/
gate_verdict_t gate_path(const uint8_t *path, size_t len)
{
  if (len == 0 || path[0] != '/')
    return GATE_TARGET_FORM;
  if (len == 1)
    return GATE_ADMIT;
  size_t at = 1; /* where the segment begins */
  /*@ loop invariant 1 <= at <= len && path[at - 1] == '/';
    @ loop invariant bytes_ok(path, at, len);
    @ loop invariant segments_ok(path, at);
    @ loop assigns at;
    @ loop variant len - at;
    @*/
  for (;;) {
    size_t end = at;
    /*@ loop invariant at <= end <= len;
      @ loop invariant \forall integer k; at <= k < end ==> path[k] != '/';
      @ loop assigns end;
      @ loop variant len - end;
      @*/
    while (end < len && path[end] != '/')
      end++;
    if (end == len && end == at)
      return GATE_TRAILING_SLASH;
    gate_verdict_t verdict = gate_segment(path, at, end);
    if (verdict != GATE_ADMIT || end == len)
      return verdict;
    at = end + 1;
  }
}

gate_verdict_t gate_query(const uint8_t *query, size_t len)
{
  utf8_t u = {0, 0, 0};
  for (size_t i = 0; i < len; i++) {
    uint8_t c = query[i];
    if (c == '%') {
      int value = escape_at(query, len, i);
      if (value < 0x20 || value == 0x7f)
        return GATE_QUERY_ESCAPE;
      c = (uint8_t)value;
      i += 2;
    } else if (!is_query_byte(c)) {
      return GATE_QUERY_BYTE;
    }
    if (!utf8_next(&u, c))
      return GATE_QUERY_UTF8;
  }
  return u.need == 0 ? GATE_ADMIT : GATE_QUERY_UTF8;
}

/*@ requires \valid_read(path + (0 .. len - 1)) && \valid_read(prefix + (0 .. prefix_len - 1));
  @ assigns \nothing;
  @ ensures \result ==> prefix_len <= len && (open || len == prefix_len);
  @ ensures \result ==> \forall integer k; 0 <= k < prefix_len ==> path[k] == prefix[k];
  @*/
bool gate_rule(const uint8_t *path, size_t len, const uint8_t *prefix, size_t prefix_len, bool open)
{
  if (len < prefix_len || (!open && len != prefix_len))
    return false;
  /*@ loop invariant 0 <= i <= prefix_len;
    @ loop invariant \forall integer k; 0 <= k < i ==> path[k] == prefix[k];
    @ loop assigns i;
    @ loop variant prefix_len - i;
    @*/
  for (size_t i = 0; i < prefix_len; i++)
    if (path[i] != prefix[i])
      return false;
  return true;
}

/* Host */

static bool is_name_byte(uint8_t c)
{
  return is_alnum(c) || c == '-' || c == '.' || c == '_';
}

/* Where the host ends and ":port" or nothing follows; 0 if it is none. */
static size_t host_name_end(const uint8_t *host, size_t len)
{
  size_t i = 0;
  if (len > 0 && host[0] == '[') {
    for (i = 1; i < len && (hex_value(host[i]) >= 0 || host[i] == ':' || host[i] == '.'); i++)
      ;
    return i < len && i > 1 && host[i] == ']' ? i + 1 : 0;
  }
  while (i < len && is_name_byte(host[i]))
    i++;
  return i > 0 && host[0] != '.' && host[0] != '-' ? i : 0;
}

gate_verdict_t gate_host(const uint8_t *host, size_t len)
{
  if (len > LIMIT_HOST)
    return GATE_HOST;
  size_t i = host_name_end(host, len);
  if (i == 0)
    return GATE_HOST;
  if (i == len)
    return GATE_ADMIT;
  if (host[i] != ':' || len - i < 2 || len - i > 6)
    return GATE_HOST;
  uint32_t port = 0;
  for (i++; i < len; i++) {
    if (!is_digit(host[i]))
      return GATE_HOST;
    port = port * 10 + (uint32_t)(host[i] - '0');
  }
  return port <= 65535 ? GATE_ADMIT : GATE_HOST;
}

/* Finding the head */

gate_verdict_t gate_scan(const uint8_t *bytes, size_t len, size_t from, size_t *end)
{
  if (len > 0 && bytes[0] == '\r')
    return GATE_REQUEST_LINE; /* an empty line before the request */
  for (size_t i = from; i < len && i < LIMIT_HEAD; i++) {
    uint8_t c = bytes[i];
    bool after_cr = i > 0 && bytes[i - 1] == '\r';
    if (after_cr != (c == '\n'))
      return GATE_LINE_END;
    if (c == '\n' && i >= 3 && bytes[i - 2] == '\n') {
      *end = i + 1;
      return GATE_ADMIT;
    }
    if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f)
      return GATE_CONTROL;
  }
  return len >= LIMIT_HEAD ? GATE_HEAD_SIZE : GATE_MORE;
}

/* Request line */

static span_t span_of(size_t at, size_t end)
{
  return (span_t){(uint32_t)at, (uint32_t)(end - at)};
}

/* bytes[at..end) equals word, which has word_len bytes. */
static bool is_word(const uint8_t *bytes, size_t at, size_t end, const char *word, size_t word_len)
{
  if (end - at != word_len)
    return false;
  for (size_t i = 0; i < word_len; i++)
    if (bytes[at + i] != (uint8_t)word[i])
      return false;
  return true;
}

#define IS_WORD(bytes, at, end, word) is_word(bytes, at, end, word, sizeof(word) - 1)

static gate_verdict_t read_method(const uint8_t *head, size_t at, size_t end, gate_method_t *out)
{
  if (IS_WORD(head, at, end, "GET"))
    *out = GATE_GET;
  else if (IS_WORD(head, at, end, "PUT"))
    *out = GATE_PUT;
  else if (IS_WORD(head, at, end, "POST"))
    *out = GATE_POST;
  else if (IS_WORD(head, at, end, "HEAD"))
    *out = GATE_HEAD;
  else if (IS_WORD(head, at, end, "DELETE"))
    *out = GATE_DELETE;
  else if (IS_WORD(head, at, end, "PATCH"))
    *out = GATE_PATCH;
  else if (IS_WORD(head, at, end, "OPTIONS"))
    *out = GATE_OPTIONS;
  else
    return GATE_METHOD;
  return GATE_ADMIT;
}

static gate_verdict_t read_target(const uint8_t *head, size_t at, size_t end, gate_head_t *out)
{
  size_t path = at;
  if (end - at > LIMIT_TARGET)
    return GATE_TARGET_SIZE;
  out->target = span_of(at, end);
  out->authority = span_of(at, at);
  if (end - at > 7 && is_word(head, at, at + 7, "http://", 7)) {
    for (path = at + 7; path < end && head[path] != '/'; path++)
      ;
    out->authority = span_of(at + 7, path);
    if (gate_host(head + at + 7, path - at - 7) != GATE_ADMIT)
      return GATE_TARGET_FORM;
  }
  size_t mark = path;
  while (mark < end && head[mark] != '?')
    mark++;
  out->path = span_of(path, mark);
  out->query = mark < end ? span_of(mark + 1, end) : span_of(end, end);
  gate_verdict_t verdict = gate_path(head + path, mark - path);
  if (verdict != GATE_ADMIT)
    return verdict;
  return gate_query(head + out->query.at, out->query.len);
}

/* head[0..end) is the request line without its line end. */
static gate_verdict_t read_request_line(const uint8_t *head, size_t end, gate_head_t *out)
{
  size_t first = 0;
  while (first < end && head[first] != ' ')
    first++;
  size_t last = end;
  while (last > first && head[last - 1] != ' ')
    last--;
  if (first == 0 || last <= first + 2)
    return GATE_REQUEST_LINE; /* one space or none, or an empty target */
  if (IS_WORD(head, last, end, "HTTP/1.1"))
    out->minor = 1;
  else if (IS_WORD(head, last, end, "HTTP/1.0"))
    out->minor = 0;
  else
    return GATE_VERSION;
  gate_verdict_t verdict = read_method(head, 0, first, &out->method);
  if (verdict != GATE_ADMIT)
    return verdict;
  return read_target(head, first + 1, last - 1, out);
}

/* Headers */

/* The headers that decide where a message ends, whom it is for or who sent it: each at most once. */
typedef enum known {
  KNOWN_OTHER,
  KNOWN_HOST,
  KNOWN_LENGTH,
  KNOWN_TRANSFER_ENCODING,
  KNOWN_UPGRADE,
  KNOWN_EXPECT,
  KNOWN_CONTENT_TYPE,
  KNOWN_AUTHORIZATION,
  KNOWN_ORIGIN,
  KNOWN_FETCH_SITE,
  KNOWN_FETCH_MODE,
  KNOWN_FETCH_DEST,
  KNOWN_REQUEST_ID,
} known_t;

static bool same_name(const uint8_t *name, const char *word, size_t len)
{
  for (size_t i = 0; i < len; i++)
    if (lower(name[i]) != (uint8_t)word[i])
      return false;
  return true;
}

static known_t known_header(const uint8_t *name, size_t len)
{
  switch (len) {
  case 4:
    return same_name(name, "host", 4) ? KNOWN_HOST : KNOWN_OTHER;
  case 6:
    return same_name(name, "expect", 6)   ? KNOWN_EXPECT
           : same_name(name, "origin", 6) ? KNOWN_ORIGIN
                                          : KNOWN_OTHER;
  case 7:
    return same_name(name, "upgrade", 7) ? KNOWN_UPGRADE : KNOWN_OTHER;
  case 12:
    return same_name(name, "content-type", 12)   ? KNOWN_CONTENT_TYPE
           : same_name(name, "x-request-id", 12) ? KNOWN_REQUEST_ID
                                                 : KNOWN_OTHER;
  case 13:
    return same_name(name, "authorization", 13) ? KNOWN_AUTHORIZATION : KNOWN_OTHER;
  case 14:
    return same_name(name, "content-length", 14)   ? KNOWN_LENGTH
           : same_name(name, "sec-fetch-site", 14) ? KNOWN_FETCH_SITE
           : same_name(name, "sec-fetch-mode", 14) ? KNOWN_FETCH_MODE
           : same_name(name, "sec-fetch-dest", 14) ? KNOWN_FETCH_DEST
                                                   : KNOWN_OTHER;
  case 17:
    return same_name(name, "transfer-encoding", 17) ? KNOWN_TRANSFER_ENCODING : KNOWN_OTHER;
  default:
    return KNOWN_OTHER;
  }
}

/* The name, its hyphens left out, equals word: Content--Length, TransferEncoding, Ho-st. */
static bool squeezes_to(const uint8_t *name, size_t len, const char *word, size_t word_len)
{
  size_t at = 0;
  for (size_t i = 0; i < len; i++) {
    if (name[i] == '-')
      continue;
    if (at == word_len || lower(name[i]) != (uint8_t)word[at])
      return false;
    at++;
  }
  return at == word_len;
}

static bool is_near_miss(const uint8_t *name, size_t len)
{
  return squeezes_to(name, len, "host", 4) || squeezes_to(name, len, "contentlength", 13) ||
         squeezes_to(name, len, "transferencoding", 16);
}

static gate_verdict_t read_length(const uint8_t *value, size_t len, uint64_t *out)
{
  if (len == 0 || len > LIMIT_LENGTH_DIGITS || (len > 1 && value[0] == '0'))
    return GATE_LENGTH;
  uint64_t sum = 0;
  for (size_t i = 0; i < len; i++) {
    if (!is_digit(value[i]))
      return GATE_LENGTH;
    sum = sum * 10 + (uint64_t)(value[i] - '0');
  }
  *out = sum;
  return GATE_ADMIT;
}

/* What a known header means for the request as a whole. */
static gate_verdict_t take_known(const uint8_t *head, known_t known, span_t value, gate_head_t *out)
{
  switch (known) {
  case KNOWN_HOST:
    out->host = value;
    return gate_host(head + value.at, value.len);
  case KNOWN_LENGTH:
    out->has_length = true;
    return read_length(head + value.at, value.len, &out->length);
  case KNOWN_TRANSFER_ENCODING:
    return GATE_TRANSFER_ENCODING;
  case KNOWN_UPGRADE:
    return GATE_UPGRADE;
  case KNOWN_EXPECT:
    out->expect_continue = true;
    return value.len == 12 && same_name(head + value.at, "100-continue", 12) ? GATE_ADMIT : GATE_EXPECT;
  default:
    return GATE_ADMIT;
  }
}

static bool has_tab(const uint8_t *head, size_t at, size_t end)
{
  while (at < end && head[at] != '\t')
    at++;
  return at < end;
}

/* head[at..end) is one header line without its line end. */
static gate_verdict_t read_header(const uint8_t *head, size_t at, size_t end, uint32_t *seen,
                                  gate_head_t *out)
{
  if (head[at] == ' ' || head[at] == '\t')
    return GATE_HEADER_FOLD;
  size_t colon = at;
  while (colon < end && (is_alnum(head[colon]) || head[colon] == '-'))
    colon++;
  if (colon == at || colon == end || head[colon] != ':')
    return GATE_HEADER_NAME;
  if (out->header_count == LIMIT_HEADERS)
    return GATE_HEADER_COUNT;
  size_t from = colon + 1;
  while (from < end && (head[from] == ' ' || head[from] == '\t'))
    from++;
  size_t to = end;
  while (to > from && (head[to - 1] == ' ' || head[to - 1] == '\t'))
    to--;
  gate_header_t *header = &out->headers[out->header_count];
  header->name = span_of(at, colon);
  header->value = span_of(from, to);
  out->header_count++;
  known_t known = known_header(head + at, colon - at);
  if (known == KNOWN_OTHER)
    return is_near_miss(head + at, colon - at) ? GATE_HEADER_NEAR_MISS : GATE_ADMIT;
  if ((*seen & (1u << known)) != 0)
    return GATE_HEADER_TWICE;
  *seen |= 1u << known;
  if (known == KNOWN_LENGTH && to < end && has_tab(head, to, end))
    return GATE_LENGTH; /* parsers differ on a tab behind the digits */
  return take_known(head, known, header->value, out);
}

/* Where the line beginning at `at` ends: the place of its CR. len - 2 holds the last CR. */
static size_t line_end(const uint8_t *head, size_t len, size_t at)
{
  while (at < len - 2 && head[at] != '\r')
    at++;
  return at;
}

static bool takes_body(gate_method_t method)
{
  return method == GATE_POST || method == GATE_PUT || method == GATE_PATCH;
}

/* What only the head as a whole can tell. */
static gate_verdict_t check_whole(const uint8_t *head, uint32_t seen, const gate_head_t *out)
{
  if ((seen & (1u << KNOWN_HOST)) == 0)
    return GATE_HOST_MISSING;
  if (out->authority.len > 0) {
    if (out->authority.len != out->host.len)
      return GATE_AUTHORITY;
    for (uint32_t i = 0; i < out->host.len; i++)
      if (head[out->authority.at + i] != head[out->host.at + i])
        return GATE_AUTHORITY;
  }
  if (out->minor == 0 && out->has_length)
    return GATE_BODY;
  if (out->minor == 0 && out->expect_continue)
    return GATE_EXPECT;
  if (out->length > 0 && !takes_body(out->method))
    return GATE_BODY;
  return GATE_ADMIT;
}

gate_verdict_t gate_head(const uint8_t *head, size_t len, gate_head_t *out)
{
  uint32_t seen = 0;
  size_t end = 0;
  out->method = GATE_GET;
  out->minor = 1;
  out->header_count = 0;
  out->has_length = false;
  out->length = 0;
  out->expect_continue = false;
  out->host = span_of(0, 0);
  if (gate_scan(head, len, 0, &end) != GATE_ADMIT || end != len)
    return GATE_DISAGREE; /* not what gate_scan measured */
  end = line_end(head, len, 0);
  gate_verdict_t verdict = read_request_line(head, end, out);
  for (size_t at = end + 2; verdict == GATE_ADMIT && at < len - 2; at = end + 2) {
    end = line_end(head, len, at);
    verdict = read_header(head, at, end, &seen, out);
  }
  return verdict == GATE_ADMIT ? check_whole(head, seen, out) : verdict;
}

/* Names */

static const struct {
  const char *reason;
  const char *text;
  int status;
} verdicts[GATE_COUNT] = {
#define GATE_ROW(id, name, status, text) [GATE_##id] = {name, text, status},
    GATE_LIST(GATE_ROW)
#undef GATE_ROW
};

const char *gate_reason(gate_verdict_t verdict)
{
  return verdicts[verdict].reason;
}

const char *gate_text(gate_verdict_t verdict)
{
  return verdicts[verdict].text;
}

int gate_status(gate_verdict_t verdict)
{
  return verdicts[verdict].status;
}

const char *gate_method_name(gate_method_t method)
{
  static const char *const names[GATE_METHOD_COUNT] = {"GET",    "HEAD",  "POST",   "PUT",
                                                       "DELETE", "PATCH", "OPTIONS"};
  return (unsigned)method < GATE_METHOD_COUNT ? names[method] : "?";
}
