/* SPDX-License-Identifier: Apache-2.0 */
#include "app/gate/head.h"

#include <llhttp.h>
#include <string.h>

/* What llhttp reports, compared with the gate's reading as it comes. llhttp gets the whole head in one piece,
 * so every span is whole. */
typedef struct second_reading {
  const uint8_t *head;
  const gate_head_t *gate;
  uint32_t header; /* the header that name and value are compared with next */
  bool value_seen; /* a second value span would be a folded line */
  bool target_same;
  bool same; /* false once anything differed */
  bool complete;
} second_reading_t;

static bool is_span(const second_reading_t *r, const char *at, size_t len, span_t span)
{
  return (const uint8_t *)at == r->head + span.at && len == span.len;
}

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
  second_reading_t *r = parser->data;
  r->target_same = is_span(r, at, len, r->gate->target);
  return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
  second_reading_t *r = parser->data;
  if (r->header >= r->gate->header_count || !is_span(r, at, len, r->gate->headers[r->header].name))
    r->same = false;
  r->value_seen = false;
  return r->same ? 0 : HPE_USER;
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
  second_reading_t *r = parser->data;
  if (r->value_seen || r->header >= r->gate->header_count) {
    r->same = false;
    return HPE_USER;
  }
  r->value_seen = true;
  while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t'))
    len--;
  span_t value = r->gate->headers[r->header].value;
  if (value.len != len || (len > 0 && (const uint8_t *)at != r->head + value.at))
    r->same = false;
  return r->same ? 0 : HPE_USER;
}

static int on_header_value_complete(llhttp_t *parser)
{
  second_reading_t *r = parser->data;
  if (r->header < r->gate->header_count && !r->value_seen && r->gate->headers[r->header].value.len > 0)
    r->same = false;
  r->header++;
  return r->same ? 0 : HPE_USER;
}

static bool method_same(unsigned method, gate_method_t gate)
{
  static const uint8_t methods[GATE_METHOD_COUNT] = {
      [GATE_GET] = HTTP_GET,         [GATE_HEAD] = HTTP_HEAD,     [GATE_POST] = HTTP_POST,
      [GATE_PUT] = HTTP_PUT,         [GATE_DELETE] = HTTP_DELETE, [GATE_PATCH] = HTTP_PATCH,
      [GATE_OPTIONS] = HTTP_OPTIONS,
  };
  return methods[gate] == method;
}

static int on_headers_complete(llhttp_t *parser)
{
  second_reading_t *r = parser->data;
  const gate_head_t *gate = r->gate;
  r->complete = true;
  if (!r->target_same || r->header != gate->header_count || !method_same(parser->method, gate->method) ||
      parser->http_major != 1 || parser->http_minor != gate->minor || parser->upgrade != 0 ||
      (parser->flags & (F_CHUNKED | F_TRANSFER_ENCODING)) != 0 ||
      ((parser->flags & F_CONTENT_LENGTH) != 0) != gate->has_length || parser->content_length != gate->length)
    r->same = false;
  return HPE_PAUSED; /* the body is ours to collect */
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
};

gate_verdict_t head_read(const uint8_t *head, size_t len, gate_head_t *out, bool *keep_alive)
{
  *keep_alive = false;
  gate_verdict_t verdict = gate_head(head, len, out);
  if (verdict != GATE_ADMIT)
    return verdict;
  second_reading_t reading = {.head = head, .gate = out, .same = true};
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  parser.data = &reading;
  llhttp_errno_t err = llhttp_execute(&parser, (const char *)head, len);
  *keep_alive = llhttp_should_keep_alive(&parser) != 0;
  return err == HPE_PAUSED && reading.complete && reading.same ? GATE_ADMIT : GATE_DISAGREE;
}
