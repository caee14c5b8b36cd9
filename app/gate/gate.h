/* SPDX-License-Identifier: Apache-2.0 */
/* Judges the form of a request. The gate decides on the bytes as they were sent, before any parser or decoder
 * sees them. It refuses a request that a later reader would have to repair, or could read differently
 * (invariant 6, 10). It admits less than RFC 9112 does; see app/README.md for the list. Pure functions: bytes
 * in, verdict and places out; no I/O, no state, no allocation, nothing read outside the given bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/limits.h"

/* Why a head is refused. The status is what the internal listener says; the public one says 404 where 404
 * stands here and the same 400 for all others. */
#define GATE_LIST(X)                                                                                         \
  X(ADMIT, "admitted", 200, "")                                                                              \
  X(MORE, "incomplete", 400, "the request ends before its head does")                                        \
  X(LINE_END, "line-end", 400, "lines must end with CR LF")                                                  \
  X(CONTROL, "control-byte", 400, "control characters are not allowed")                                      \
  X(HEAD_SIZE, "head-too-long", 431, "the head is longer than 32 KiB")                                       \
  X(REQUEST_LINE, "request-line", 400, "the request line must be METHOD SP target SP HTTP/1.1")              \
  X(METHOD, "method", 400, "unknown method")                                                                 \
  X(VERSION, "version", 400, "the version must be HTTP/1.0 or HTTP/1.1")                                     \
  X(TARGET_SIZE, "target-too-long", 414, "the target is longer than 8 KiB")                                  \
  X(TARGET_FORM, "target-form", 400, "the target must start with /")                                         \
  X(AUTHORITY, "authority", 400, "the target's authority must equal Host")                                   \
  X(PATH_BYTE, "path-byte", 400, "the path has a character that must be percent-encoded")                    \
  X(PATH_ESCAPE, "path-escape", 400, "the path has a percent-encoding that is not allowed")                  \
  X(PATH_UTF8, "path-utf8", 400, "the path's percent-encoding is not UTF-8")                                 \
  X(EMPTY_SEGMENT, "empty-segment", 400, "the path has an empty segment")                                    \
  X(DOT_SEGMENT, "dot-segment", 400, "the path has a . or .. segment")                                       \
  X(TRAILING_SLASH, "trailing-slash", 404, "no such path; try without the final /")                          \
  X(QUERY_BYTE, "query-byte", 400, "the query has a character that must be percent-encoded")                 \
  X(QUERY_ESCAPE, "query-escape", 400, "the query has a percent-encoding that is not allowed")               \
  X(QUERY_UTF8, "query-utf8", 400, "the query's percent-encoding is not UTF-8")                              \
  X(HEADER_FOLD, "header-fold", 400, "a header line must not start with white space")                        \
  X(HEADER_NAME, "header-name", 400, "a header name may have letters, digits and - only")                    \
  X(HEADER_NEAR_MISS, "header-near-miss", 400, "a header name looks like one that frames the message")       \
  X(HEADER_TWICE, "header-twice", 400, "a header that may stand once stands twice")                          \
  X(HEADER_COUNT, "too-many-headers", 431, "more than 100 headers")                                          \
  X(HOST_MISSING, "host-missing", 400, "Host is missing")                                                    \
  X(HOST, "host-malformed", 400, "Host must be a name or address with an optional port")                     \
  X(LENGTH, "content-length", 400, "Content-Length must be a decimal number")                                \
  X(TRANSFER_ENCODING, "transfer-encoding", 411, "Transfer-Encoding is not taken; send Content-Length")      \
  X(UPGRADE, "upgrade", 400, "Upgrade is not taken")                                                         \
  X(EXPECT, "expect", 400, "Expect may be 100-continue only, with HTTP/1.1")                                 \
  X(BODY, "body-not-allowed", 400, "this method or version takes no body")                                   \
  X(DISAGREE, "parsers-disagree", 400, "malformed request")

typedef enum gate_verdict {
#define GATE_ENUM(id, name, status, text) GATE_##id,
  GATE_LIST(GATE_ENUM)
#undef GATE_ENUM
      GATE_COUNT
} gate_verdict_t;

typedef enum gate_method {
  GATE_GET,
  GATE_HEAD,
  GATE_POST,
  GATE_PUT,
  GATE_DELETE,
  GATE_PATCH,
  GATE_OPTIONS,
  GATE_METHOD_COUNT
} gate_method_t;

/* A place in the head. */
typedef struct span {
  uint32_t at;
  uint32_t len;
} span_t;

typedef struct gate_header {
  span_t name;
  span_t value; /* without white space around it */
} gate_header_t;

typedef struct gate_head {
  gate_method_t method;
  unsigned minor;   /* of HTTP/1.x */
  span_t target;    /* as sent */
  span_t path;      /* the target's path, raw */
  span_t query;     /* after '?', raw; empty if there is none */
  span_t authority; /* of an absolute-form target; empty for the usual origin-form */
  span_t host;
  bool has_length;
  uint64_t length; /* Content-Length; 0 if absent */
  bool expect_continue;
  uint32_t header_count;
  gate_header_t headers[LIMIT_HEADERS];
} gate_head_t;

/* Looks for the end of the head in bytes[0..len), given that bytes[0..from) were scanned before. GATE_ADMIT:
 * *end is the length of the head, its empty line included. GATE_MORE: call again with from = len when there
 * are more bytes. Anything else: refused already. */
gate_verdict_t gate_scan(const uint8_t *bytes, size_t len, size_t from, size_t *end);

/* Decides on a whole head, as gate_scan measured it. *out is complete only with GATE_ADMIT. */
gate_verdict_t gate_head(const uint8_t *head, size_t len, gate_head_t *out);

/* The parts of that decision. */
gate_verdict_t gate_path(const uint8_t *path, size_t len);
gate_verdict_t gate_query(const uint8_t *query, size_t len);
gate_verdict_t gate_host(const uint8_t *host, size_t len);

/* A rule on an admitted path: equal to prefix, or, if open, beginning with prefix, which then ends with '/'.
 */
bool gate_rule(const uint8_t *path, size_t len, const uint8_t *prefix, size_t prefix_len, bool open);

const char *gate_reason(gate_verdict_t verdict); /* "dot-segment" */
const char *gate_text(gate_verdict_t verdict);   /* for people; no full stop */
int gate_status(gate_verdict_t verdict);         /* on an internal listener */
const char *gate_method_name(gate_method_t method);
