/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/http/text_out.h"
#include "app/http/json_text.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* A public front's two refusals: no date, no id, nothing that tells one refusal from another. */
#define PLAIN(status_line, length)                                                                           \
  "HTTP/1.1 " status_line "\r\nContent-Type: application/vnd.api+json\r\nContent-Length: " length            \
  "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
static const char plain_404_head[] = PLAIN("404 Not Found", "50");
static const char plain_404_body[] = "{\"errors\":[{\"status\":\"404\",\"title\":\"Not Found\"}]}\n";
static const char plain_400_head[] = PLAIN("400 Bad Request", "52");
static const char plain_400_body[] = "{\"errors\":[{\"status\":\"400\",\"title\":\"Bad Request\"}]}\n";
_Static_assert(sizeof plain_404_body - 1 == 50 && sizeof plain_400_body - 1 == 52, "Content-Length says so");

/* What a browser must know of everything that an internal listener serves. */
static const char browser_headers[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
    "'none'\r\n"
    "X-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n";

enum { HEAD_CAP = 1024 + sizeof browser_headers + LIMIT_REPLY_HEADERS };

static const struct {
  int status;
  const char *text;
} statuses[] = {
    {200, "200 OK"},
    {201, "201 Created"},
    {202, "202 Accepted"},
    {204, "204 No Content"},
    {304, "304 Not Modified"},
    {307, "307 Temporary Redirect"},
    {400, "400 Bad Request"},
    {401, "401 Unauthorized"},
    {402, "402 Payment Required"},
    {403, "403 Forbidden"},
    {404, "404 Not Found"},
    {405, "405 Method Not Allowed"},
    {406, "406 Not Acceptable"},
    {409, "409 Conflict"},
    {411, "411 Length Required"},
    {412, "412 Precondition Failed"},
    {413, "413 Content Too Large"},
    {414, "414 URI Too Long"},
    {415, "415 Unsupported Media Type"},
    {421, "421 Misdirected Request"},
    {422, "422 Unprocessable Content"},
    {428, "428 Precondition Required"},
    {429, "429 Too Many Requests"},
    {431, "431 Request Header Fields Too Large"},
    {500, "500 Internal Server Error"},
    {502, "502 Bad Gateway"},
    {503, "503 Service Unavailable"},
    {504, "504 Gateway Timeout"},
    {507, "507 Insufficient Storage"},
};

/* "404 Not Found"; NULL for a status that we never give. */
static const char *status_text(int status)
{
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
    if (statuses[i].status == status)
      return statuses[i].text;
  return NULL;
}

/* RFC 9110 §5.6.7, formatted once a second. */
static const char *date_now(reply_date_t *date)
{
  uint64_t second = clock_wall_ms() / 1000;
  if (second != date->second) {
    time_t at = (time_t)second;
    struct tm tm;
    gmtime_r(&at, &tm);
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    snprintf(date->text, sizeof date->text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
             tm.tm_mday % 100, months[tm.tm_mon % 12], (tm.tm_year + 1900) % 10000, tm.tm_hour % 100,
             tm.tm_min % 100, tm.tm_sec % 100);
    date->second = second;
  }
  return date->text;
}

static bool is_internal(const request_t *request)
{
  return request->desk->internal;
}

static void log_request(const request_t *request, const uint8_t *head, size_t head_len, int status,
                        size_t bytes)
{
  bool admitted = request->admit.verdict == ADMIT_OK;
  uint64_t us = request->started_us > 0 ? clock_mono_us() - request->started_us : 0;
  stats_count(request->desk->stats, &request->admit, status, bytes, us);
  access_line_t line = {
      .listener = request->desk->listener,
      .client = request->client,
      .peer = request->peer[0] != '\0' ? request->peer : NULL,
      .class = admit_class(&request->admit),
      .verdict = admitted ? "admitted" : "refused",
      .reason = admit_reason(&request->admit),
      .rule = request->admit.rule != NULL ? request->admit.rule->text : NULL,
      .head = head,
      .head_len = head_len,
      .status = status,
      .bytes = bytes,
      .us = us,
      .caller = request_caller(request),
      .id = request->id[0] != '\0' ? request->id : NULL,
  };
  access_write(request->desk->access, &line);
}

typedef struct reply {
  int status;
  const char *content_type; /* NULL: no body */
  const char *encoding;
  const char *etag;
  const char *cache;
  const void *body;
  size_t len;
  shared_t *owned; /* whose body it is; NULL: static */
  bool close;
} reply_t;

static void compose_rate(const rate_t *rate, text_out_t *out)
{
  OUT_LITERAL(out, "RateLimit-Limit: ");
  out_u64(out, rate->limit);
  OUT_LITERAL(out, "\r\nRateLimit-Remaining: ");
  out_u64(out, rate->left);
  OUT_LITERAL(out, "\r\nRateLimit-Reset: ");
  out_u64(out, rate->reset_s);
  OUT_LITERAL(out, "\r\n");
}

/* Composes the head of an ordinary answer into out. */
static void compose(request_t *request, const reply_t *reply, bool keep, text_out_t *out)
{
  const char *status = status_text(reply->status);
  OUT_LITERAL(out, "HTTP/1.1 ");
  out_text(out, status != NULL ? status : "500 Internal Server Error");
  OUT_LITERAL(out, "\r\nDate: ");
  out_text(out, date_now(request->desk->date));
  if (reply->content_type != NULL) {
    OUT_LITERAL(out, "\r\nContent-Type: ");
    out_text(out, reply->content_type);
  }
  if (reply->status != 204 && reply->status != 304) {
    OUT_LITERAL(out, "\r\nContent-Length: ");
    out_u64(out, reply->len);
  }
  if (reply->encoding != NULL) {
    OUT_LITERAL(out, "\r\nContent-Encoding: ");
    out_text(out, reply->encoding);
  }
  if (reply->etag != NULL) {
    OUT_LITERAL(out, "\r\nETag: ");
    out_text(out, reply->etag);
  }
  OUT_LITERAL(out, "\r\nCache-Control: ");
  out_text(out, reply->cache);
  OUT_LITERAL(out, "\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: ");
  out_text(out, request->id);
  OUT_LITERAL(out, "\r\n");
  if (is_internal(request))
    OUT_LITERAL(out, browser_headers);
  if (request->rate.limit > 0)
    compose_rate(&request->rate, out);
  out_bytes(out, request->reply_headers, request->reply_headers_len);
  if (!keep)
    OUT_LITERAL(out, "Connection: close\r\n");
  else if (request->head.minor == 0)
    OUT_LITERAL(out, "Connection: keep-alive\r\n");
  OUT_LITERAL(out, "\r\n");
}

/* Whether the connection goes on behind what has not come of the body. It does for a customer who asks too
 * often: coming again would cost both more than the request did. A client that was to wait for our word may
 * send the rest or not, so that nobody knows what comes next. */
static bool is_rest_passed_over(const request_t *request, int status)
{
  uint64_t left = request->head.length - request->body_have;
  bool waits = request->head.expect_continue && !request->more;
  return left == 0 || (status == 429 && left <= LIMIT_SKIP && !waits);
}

static void send_reply(request_t *request, const reply_t *reply)
{
  char head[HEAD_CAP];
  text_out_t out = {.buf = head, .cap = sizeof head};
  bool keep = request->admit.keep_alive && is_rest_passed_over(request, reply->status) && !reply->close &&
              !request->desk->calls->ends(request);
  compose(request, reply, keep, &out);
  bool head_only = request->head.method == GATE_HEAD;
  log_request(request, request->bytes, request->length, reply->status, head_only ? 0 : reply->len);
  answer_t answer = {
      .head = head,
      .head_len = out.len,
      .body = reply->body,
      .body_len = head_only ? 0 : reply->len,
      .owned = reply->owned,
      .keep = keep && !out.over,
  };
  request->desk->calls->answer(request, &answer);
}

void request_go_on(request_t *request)
{
  request->desk->calls->go_on(request);
}

/* Every reply to a request that a handler had passes here once. */
static bool begin_reply(request_t *request)
{
  if (request->replied) {
    log_error("a handler replied twice to request %s", request->id);
    return false;
  }
  request->replied = true;
  return true;
}

static const char *media_type(const request_t *request)
{
  const route_t *route = request->admit.match.route;
  return route != NULL && route->tier == TIER_INTERNAL ? "application/json" : "application/vnd.api+json";
}

/* Answers with those bytes, taken over. NULL: they could not be made, 500. */
static void reply_bytes(request_t *request, int status, const char *content_type, char *text, size_t len,
                        bool close)
{
  static const char failed[] = "{\"errors\":[{\"status\":\"500\",\"title\":\"Internal Server Error\"}]}";
  shared_t *body = text != NULL ? shared_new(text, len) : NULL;
  reply_t reply = {.status = status,
                   .content_type = content_type,
                   .cache = "no-store",
                   .body = failed,
                   .len = sizeof failed - 1,
                   .owned = body,
                   .close = close};
  if (body != NULL) {
    reply.body = body->bytes;
    reply.len = body->len;
  } else {
    log_error("request %s: no answer could be composed (status %d)", request->id, status);
    reply.status = 500;
    reply.content_type = media_type(request);
  }
  if (body != NULL && request->keep != NULL && status == 200 && request->reply_headers_len == 0)
    request->keep(request->keep_ctx, body);
  send_reply(request, &reply);
}

static void reply_json(request_t *request, int status, json_t *json, const char *content_type, bool close)
{
  char *text = status_text(status) != NULL ? json_text(json) : NULL;
  json_decref(json);
  reply_bytes(request, status, content_type, text, text != NULL ? strlen(text) : 0, close);
}

void request_reply(request_t *request, int status, json_t *json)
{
  if (begin_reply(request))
    reply_json(request, status, json, media_type(request), false);
  else
    json_decref(json);
}

void request_reply_text(request_t *request, int status, char *json)
{
  if (begin_reply(request))
    reply_bytes(request, status, media_type(request), json, json != NULL ? strlen(json) : 0, false);
  else
    free(json);
}

void request_keep_body(request_t *request, void (*keep)(void *ctx, shared_t *body), void *ctx)
{
  request->keep = keep;
  request->keep_ctx = ctx;
}

void request_reply_kept(request_t *request, shared_t *body)
{
  reply_t reply = {.status = 200,
                   .content_type = media_type(request),
                   .cache = "no-store",
                   .body = body->bytes,
                   .len = body->len};
  if (!begin_reply(request))
    return;
  reply.owned = shared_take(body);
  send_reply(request, &reply);
}

void request_reply_empty(request_t *request, int status)
{
  reply_t reply = {.status = status, .cache = "no-store", .body = ""};
  if (begin_reply(request))
    send_reply(request, &reply);
}

/* {"errors":[{...}]}; NULL when out of memory. */
static json_t *error_document(int status, const char *title, const char *pointer, const char *parameter,
                              const char *detail)
{
  char number[8];
  snprintf(number, sizeof number, "%d", status);
  json_t *source = NULL;
  if (pointer != NULL)
    source = json_pack("{s:s}", "pointer", pointer);
  else if (parameter != NULL)
    source = json_pack("{s:s}", "parameter", parameter);
  return json_pack("{s:[{s:s,s:s,s:s*,s:o*}]}", "errors", "status", number, "title", title, "detail",
                   detail[0] != '\0' ? detail : NULL, "source", source);
}

void request_reply_error(request_t *request, int status, const char *title, const char *pointer,
                         const char *parameter, const char *fmt, ...)
{
  char detail[1024], safe[1024];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(detail, sizeof detail, fmt, ap);
  va_end(ap);
  size_t len = n < 0 ? 0 : (size_t)n < sizeof detail ? (size_t)n : sizeof detail - 1;
  text_printable(safe, sizeof safe, detail, len);
  request_reply(request, status, error_document(status, title, pointer, parameter, safe));
}

/* A name or value with a line end would be a header of the client's making. */
static bool is_header_text(const char *text)
{
  for (; *text != '\0'; text++)
    if ((uint8_t)*text < 0x20 || *text == 0x7f)
      return false;
  return true;
}

void request_set_header(request_t *request, const char *name, const char *value)
{
  if (request->reply_headers == NULL)
    request->reply_headers = request_alloc(request, LIMIT_REPLY_HEADERS);
  text_out_t out = {.buf = request->reply_headers,
                    .cap = LIMIT_REPLY_HEADERS,
                    .len = request->reply_headers_len};
  if (request->reply_headers == NULL || !is_header_text(name) || !is_header_text(value)) {
    log_error("request %s: header %s was left out of the reply", request->id, name);
    return;
  }
  out_text(&out, name);
  OUT_LITERAL(&out, ": ");
  out_text(&out, value);
  OUT_LITERAL(&out, "\r\n");
  if (out.over)
    log_error("request %s: header %s was left out of the reply", request->id, name);
  else
    request->reply_headers_len = out.len;
}

/* Refusals */

static void refuse_plain(request_t *request, const uint8_t *head, size_t head_len)
{
  bool missing = admit_status(&request->admit) == 404 || request->admit.verdict == ADMIT_HOST_UNKNOWN;
  bool head_only = request->head.method == GATE_HEAD;
  answer_t answer = {
      .head = missing ? plain_404_head : plain_400_head,
      .head_len = missing ? sizeof plain_404_head - 1 : sizeof plain_400_head - 1,
      .body = missing ? plain_404_body : plain_400_body,
      .body_len = head_only ? 0
                  : missing ? sizeof plain_404_body - 1
                            : sizeof plain_400_body - 1,
  };
  log_request(request, head, head_len, missing ? 404 : 400, answer.body_len);
  request->desk->calls->answer(request, &answer);
}

static void set_allow(request_t *request)
{
  static const char *const names[METHOD_COUNT] = {"GET, HEAD", "POST", "PUT", "DELETE"};
  char allow[64];
  text_out_t out = {.buf = allow, .cap = sizeof allow - 1};
  for (unsigned i = 0; i < METHOD_COUNT; i++) {
    if ((request->admit.match.allowed & (1u << i)) == 0)
      continue;
    if (out.len > 0)
      OUT_LITERAL(&out, ", ");
    out_text(&out, names[i]);
  }
  allow[out.len] = '\0';
  request_set_header(request, "Allow", allow);
}

/* "404 Not Found" without its number. */
static const char *title_of(int status)
{
  const char *text = status_text(status);
  return text != NULL ? text + 4 : "Error";
}

void reply_refusal(request_t *request, const uint8_t *head, size_t head_len)
{
  const admit_t *admit = &request->admit;
  if (!is_internal(request) && admit_is_plain(admit->verdict)) {
    refuse_plain(request, head, head_len);
    return;
  }
  int status = admit_status(admit);
  if (admit->verdict == ADMIT_METHOD)
    set_allow(request);
  if (status == 503)
    request_set_header(request, "Retry-After", "1");
  if (status == 401)
    request_set_header(request, "WWW-Authenticate", "Bearer");
  if (request->bytes == NULL) {
    request->bytes = request_alloc(request, head_len);
    request->length = request->bytes != NULL ? head_len : 0;
    if (request->bytes != NULL)
      memcpy(request->bytes, head, head_len);
  }
  bool close = admit->verdict == ADMIT_GATE || request->head.length > 0;
  json_t *document = error_document(status, title_of(status), NULL, NULL, admit_text(admit));
  reply_json(request, status, document, "application/vnd.api+json", close);
}

/* Pages */

/* If-None-Match lists the tag, or is "*" (RFC 9110 §13.1.2). */
static bool client_has(const request_t *request, const char *etag)
{
  const char *match = request_header(request, "if-none-match");
  return match != NULL && etag != NULL && (strcmp(match, "*") == 0 || strstr(match, etag) != NULL);
}

void reply_static(request_t *request, const reply_static_t *what)
{
  reply_t reply = {.status = 200,
                   .content_type = what->content_type,
                   .encoding = what->encoding,
                   .etag = what->etag,
                   .cache = "no-cache",
                   .body = what->data,
                   .len = what->len};
  if (client_has(request, what->etag))
    reply = (reply_t){.status = 304, .etag = what->etag, .cache = "no-cache", .body = ""};
  if (begin_reply(request))
    send_reply(request, &reply);
}

void reply_text(request_t *request, const char *content_type, char *text, size_t len)
{
  if (begin_reply(request))
    reply_bytes(request, 200, content_type, text, len, false);
  else
    free(text);
}

void reply_redirect(request_t *request, const char *location)
{
  request_set_header(request, "Location", location);
  request_reply_empty(request, 307);
}
