/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/app/echo_service.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"

enum { KEY_AT = sizeof "sk_api_" - 1 };

/* Pending answers, so that close can wait for none. */
typedef struct echo {
  uv_loop_t *loop;
  request_t *held[ECHO_HELD_MAX]; /* answered by /api/v1/echo/release */
  size_t held_count;
} echo_t;

static int add_query(void *ctx, const char *name, const char *value)
{
  return json_object_set_new(ctx, name, json_string(value));
}

static json_t *describe(request_t *request)
{
  json_t *query = json_object();
  request_query_each(request, add_query, query);
  const char *word = request_parameter(request, "word");
  json_t *answer = json_object();
  json_object_set_new(answer, "word", word != NULL ? json_string(word) : json_null());
  json_object_set_new(answer, "query", query);
  if (request_bearer(request) != NULL)
    json_object_set_new(answer, "bearer", json_string(request_bearer(request)));
  if (request_body(request) != NULL)
    json_object_set_new(answer, "body", json_deep_copy(request_body(request)));
  return answer;
}

static void handle_echo(request_t *request, void *service)
{
  (void)service;
  request_set_header(request, "X-Echo", "yes");
  request_reply(request, 200, describe(request));
}

static void handle_delete(request_t *request, void *service)
{
  (void)service;
  request_reply_empty(request, 204);
}

static void handle_missing(request_t *request, void *service)
{
  (void)service;
  request_reply_error(request, 404, "Not Found", NULL, "word", "no %s here",
                      request_parameter(request, "word"));
}

/* The handler without any check of its own that the boundary must hold in spite of. */
static void handle_secret(request_t *request, void *service)
{
  (void)service;
  request_reply(request, 200, json_pack("{s:s}", "secret", ECHO_SECRET));
}

typedef struct later {
  uv_timer_t timer;
  request_t *request;
} later_t;

static void on_timer_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_timer(uv_timer_t *timer)
{
  later_t *later = timer->data;
  request_reply(later->request, 200, describe(later->request));
  uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void handle_hold(request_t *request, void *service)
{
  echo_t *echo = service;
  if (echo->held_count < ECHO_HELD_MAX)
    echo->held[echo->held_count++] = request;
  else
    request_reply_error(request, 503, "Service Unavailable", NULL, NULL, "too many are held");
}

static void handle_release(request_t *request, void *service)
{
  echo_t *echo = service;
  size_t count = echo->held_count;
  echo->held_count = 0;
  for (size_t i = 0; i < count; i++)
    request_reply_empty(echo->held[i], 204);
  request_reply_empty(request, 204);
}

static uint64_t number(const request_t *request, const char *name)
{
  uint64_t value = 0;
  const char *text = request_query(request, name);
  if (text != NULL)
    text_parse_u64(text, strlen(text), 1 << 20, &value);
  return value;
}

static void start_later(const echo_t *echo, request_t *request, uv_timer_cb cb, uint64_t ms)
{
  later_t *later = calloc(1, sizeof *later);
  if (later == NULL) {
    request_reply_error(request, 500, "Internal Server Error", NULL, NULL, "out of memory");
    return;
  }
  later->request = request;
  uv_timer_init(echo->loop, &later->timer);
  later->timer.data = later;
  uv_timer_start(&later->timer, cb, ms, 0);
}

static void handle_later(request_t *request, void *service)
{
  start_later(service, request, on_timer, number(request, "ms"));
}

static void refuse_rate(request_t *request)
{
  request_reply_error(request, 429, "Too many requests", NULL, NULL, "slower, please");
}

/* Keys of a's are good, of b's bad and of e's ask too often; of c's, d's and f's the same a while later. */
static void on_judged(uv_timer_t *timer)
{
  later_t *later = timer->data;
  if (request_bearer(later->request)[KEY_AT] == 'c')
    request_go_on(later->request);
  else if (request_bearer(later->request)[KEY_AT] == 'f')
    refuse_rate(later->request);
  else
    request_reply_error(later->request, 401, "Unauthorized", NULL, NULL, "no such key, as it turns out");
  uv_close((uv_handle_t *)timer, on_timer_closed);
}

static void guard_echo(request_t *request, void *service)
{
  echo_t *echo = service;
  char kind = request_bearer(request)[KEY_AT];
  if (kind == 'a')
    request_go_on(request);
  else if (kind == 'b')
    request_reply_error(request, 401, "Unauthorized", NULL, NULL, "no such key");
  else if (kind == 'e')
    refuse_rate(request);
  else
    start_later(echo, request, on_judged, 300);
}

static void handle_big(request_t *request, void *service)
{
  (void)service;
  size_t len = (size_t)number(request, "kb") * 1024;
  char *text = malloc(len + 1);
  if (text == NULL) {
    request_reply_error(request, 500, "Internal Server Error", NULL, NULL, "out of memory");
    return;
  }
  memset(text, 'x', len);
  text[len] = '\0';
  request_reply(request, 200, json_pack("{s:s}", "text", text));
  free(text);
}

extern const char echo_api[], echo_api_end[];

static const api_file_t api[] = {
    {"echo_api.json", echo_api, echo_api_end},
    {NULL, NULL, NULL},
};

static const route_t routes[] = {
    {.method = METHOD_GET,
     .path = "/api/v1/echo/{word}",
     .tier = TIER_API,
     .handle = handle_echo,
     .operation_id = "echo_word"},
    {.method = METHOD_PUT,
     .path = "/api/v1/echo/{word}",
     .tier = TIER_API,
     .handle = handle_echo,
     .operation_id = "put_word",
     .operation = OPERATION_CUSTOMER,
     .request_schema = "Echo"},
    {.method = METHOD_DELETE,
     .path = "/api/v1/echo/{word}",
     .tier = TIER_API,
     .handle = handle_delete,
     .operation_id = "delete_word"},
    {.method = METHOD_POST,
     .path = "/api/v1/echo",
     .tier = TIER_API,
     .handle = handle_echo,
     .operation_id = "post_echo",
     .request_schema = "Echo"},
    {.method = METHOD_GET,
     .path = "/api/v1/echo/later",
     .tier = TIER_API,
     .handle = handle_later,
     .operation_id = "later"},
    {.method = METHOD_POST,
     .path = "/api/v1/echo/hold",
     .tier = TIER_API,
     .handle = handle_hold,
     .operation_id = "hold",
     .request_schema = "Echo"},
    {.method = METHOD_POST,
     .path = "/api/v1/echo/release",
     .tier = TIER_API,
     .handle = handle_release,
     .operation_id = "release"},
    {.method = METHOD_GET,
     .path = "/api/v1/echo/big",
     .tier = TIER_API,
     .handle = handle_big,
     .operation_id = "big"},
    {.method = METHOD_GET,
     .path = "/api/v1/missing/{word}",
     .tier = TIER_API,
     .handle = handle_missing,
     .operation_id = "missing"},
    {.method = METHOD_GET,
     .path = "/internal/v1/secret",
     .tier = TIER_INTERNAL,
     .handle = handle_secret,
     .operation_id = "secret"},
    {.method = METHOD_GET,
     .path = "/internal/v1/echo/{word}",
     .tier = TIER_INTERNAL,
     .handle = handle_echo,
     .operation_id = "internal_echo"},
    {.method = METHOD_POST,
     .path = "/internal/v1/echo",
     .tier = TIER_INTERNAL,
     .handle = handle_echo,
     .operation_id = "internal_post",
     .request_schema = "Echo"},
};

static int open_echo(const service_env_t *env, void **state, diag_t *diag)
{
  echo_t *echo = calloc(1, sizeof *echo);
  if (echo == NULL)
    return diag_fail(diag, -1, "out of memory");
  echo->loop = env->loop;
  *state = echo;
  return 0;
}

static void close_echo(void *state, void (*done)(void *ctx), void *ctx)
{
  free(state);
  done(ctx);
}

static void check_echo(void *state, void (*done)(void *ctx, int err, const char *why), void *ctx)
{
  done(ctx, state != NULL ? 0 : -1, "");
}

const service_t echo_service = {
    .name = "accounts", /* the one name that needs neither a resolver nor another service */
    .title = "Echo",
    .description = "Answers with what it was asked.",
    .routes = routes,
    .route_count = sizeof routes / sizeof *routes,
    .api = api,
    .open = open_echo,
    .close = close_echo,
    .check = check_echo,
    .guard = guard_echo,
};
