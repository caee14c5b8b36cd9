/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/sister.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/http/keys.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* How calls are made: a call keeps the way that it began with. */
struct sisters_way {
  size_t holders;
  lookup_t *lookup;
  char source[IP_TEXT_MAX]; /* "" for the system's choice */
  char key[KEY_TEXT_MAX];   /* internal; "": none */
};

typedef struct sister_call {
  sisters_t *owner;
  sisters_way_t *way;
  struct sister_call *next, *prev;
  uv_timer_t deadline;
  uint64_t ends_at;
  sister_cb cb;
  void *ctx;

  sister_url_t url;
  char method[8], path[SISTER_URL_MAX], request_id[128];
  char *body; /* JSON text, NULL for none */

  lookup_query_t *query; /* under way, or NULL */
  lookup_srvs_t
      srvs;   /* candidates in the order to try; one with port 80 or the URL's if there is no record */
  size_t srv; /* the one under way */
  lookup_addrs_t addrs; /* of it */
  size_t addr;
  unsigned tries;

  CURL *easy;
  struct curl_slist *headers, *connect_to;
  char error[CURL_ERROR_SIZE];
  char *response;
  size_t response_len;
} sister_call_t;

struct sisters {
  uv_loop_t *loop;
  sisters_way_t *way;
  CURLM *multi;
  uv_timer_t timer;
  sister_call_t *calls;
  size_t call_count;
  size_t handles; /* uv handles that are not closed yet */
  bool closing;
  void (*closed)(void *ctx);
  void *closed_ctx;
};

/* A descriptor of curl's that the loop watches. */
typedef struct watch {
  uv_poll_t poll;
  sisters_t *owner;
  curl_socket_t fd;
} watch_t;

void sisters_way_free(sisters_way_t *way)
{
  if (way == NULL || --way->holders > 0)
    return;
  lookup_free(way->lookup);
  explicit_bzero(way->key, sizeof way->key);
  free(way);
}

int sisters_way_new(lookup_t *lookup, const ip_t *source, const char *key, sisters_way_t **out)
{
  sisters_way_t *way = calloc(1, sizeof *way);
  *out = way;
  if (way == NULL)
    return SMPL_ENOMEM;
  way->holders = 1;
  way->lookup = lookup_hold(lookup);
  if (source != NULL)
    ip_format(source, way->source);
  if (key != NULL)
    memcpy(way->key, key, sizeof way->key);
  return SMPL_OK;
}

void sisters_use(sisters_t *s, sisters_way_t *way)
{
  sisters_way_free(s->way);
  s->way = way;
}

static void handle_closed(sisters_t *s)
{
  if (--s->handles > 0 || !s->closing)
    return;
  void (*closed)(void *) = s->closed;
  void *ctx = s->closed_ctx;
  sisters_way_free(s->way);
  free(s);
  curl_global_cleanup();
  closed(ctx);
}

/* ---- the end of a call ---- */

static void drop_transfer(sister_call_t *call)
{
  if (call->easy != NULL) {
    curl_multi_remove_handle(call->owner->multi, call->easy);
    curl_easy_cleanup(call->easy);
  }
  curl_slist_free_all(call->headers);
  curl_slist_free_all(call->connect_to);
  free(call->response);
  call->easy = NULL;
  call->headers = call->connect_to = NULL;
  call->response = NULL;
  call->response_len = 0;
}

static void on_call_closed(uv_handle_t *handle)
{
  sister_call_t *call = handle->data;
  sisters_t *s = call->owner;
  sisters_way_free(call->way);
  free(call->body);
  free(call);
  handle_closed(s);
}

static void end_call(sister_call_t *call)
{
  sisters_t *s = call->owner;
  if (call->query != NULL)
    lookup_cancel(call->query);
  call->query = NULL;
  drop_transfer(call);
  if (call->prev != NULL)
    call->prev->next = call->next;
  else
    s->calls = call->next;
  if (call->next != NULL)
    call->next->prev = call->prev;
  s->call_count--;
  uv_close((uv_handle_t *)&call->deadline, on_call_closed);
}

static void finish(sister_call_t *call, const sister_reply_t *reply)
{
  sister_cb cb = call->cb;
  void *ctx = call->ctx;
  end_call(call); /* first: the callback may close us */
  cb(ctx, reply);
}

static void fail(sister_call_t *call, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void fail(sister_call_t *call, int err, const char *fmt, ...)
{
  char text[SISTER_WHY_MAX], why[SISTER_WHY_MAX + SISTER_HOST_MAX + 2];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  snprintf(why, sizeof why, "%s: %s", call->url.host, text);
  finish(call, &(sister_reply_t){.err = err, .why = why});
}

static void on_deadline(uv_timer_t *timer)
{
  fail(timer->data, SMPL_ETIMEOUT, "no answer in time");
}

/* ---- the transfer ---- */

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
  sister_call_t *call = ctx;
  size_t len = size * count;
  if (len > SISTER_RESPONSE_MAX - call->response_len)
    return 0; /* makes curl fail with CURLE_WRITE_ERROR */
  char *grown = realloc(call->response, call->response_len + len + 1);
  if (grown == NULL)
    return 0;
  memcpy(grown + call->response_len, data, len);
  call->response = grown;
  call->response_len += len;
  return len;
}

static bool add_header(sister_call_t *call, const char *line)
{
  struct curl_slist *grown = curl_slist_append(call->headers, line);
  if (grown == NULL)
    return false;
  call->headers = grown;
  return true;
}

static bool set_headers(sister_call_t *call)
{
  char id[sizeof call->request_id + 16];
  char key[KEY_TEXT_MAX + 32];
  snprintf(id, sizeof id, "X-Request-Id: %s", call->request_id);
  snprintf(key, sizeof key, "Authorization: Bearer %s", call->way->key);
  bool keyed = call->way->key[0] == '\0' || add_header(call, key);
  explicit_bzero(key, sizeof key);
  return keyed && add_header(call, "Accept: application/json") && add_header(call, "Expect:") &&
         (call->body == NULL || add_header(call, "Content-Type: application/json")) &&
         (call->request_id[0] == '\0' || add_header(call, id));
}

/* The URL says the sister's name and port, CONNECT_TO the address that we found for it: curl resolves
 * nothing, and keeps connections apart by that address. */
static bool set_target(sister_call_t *call, const ip_t *ip, uint16_t port)
{
  char addr[IP_TEXT_MAX], host[IP_TEXT_MAX + 2 + SISTER_HOST_MAX], url[SISTER_URL_MAX + sizeof host + 32];
  char target[sizeof host + IP_TEXT_MAX + 32];
  ip_format(ip, addr);
  bool v6_host = call->url.literal && !ip_is_v4(&call->url.ip);
  snprintf(host, sizeof host, v6_host ? "[%s]" : "%s", call->url.host);
  snprintf(url, sizeof url, "http://%s:%u%s", host, port, call->path);
  snprintf(target, sizeof target, ip_is_v4(ip) ? "::%s:%u" : "::[%s]:%u", addr, port);
  call->connect_to = curl_slist_append(NULL, target);
  return call->connect_to != NULL && curl_easy_setopt(call->easy, CURLOPT_URL, url) == CURLE_OK &&
         curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to) == CURLE_OK;
}

static bool set_options(sister_call_t *call)
{
  CURL *e = call->easy;
  const char *source = call->way->source;
  bool ok = curl_easy_setopt(e, CURLOPT_PRIVATE, call) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_NOPROXY, "*") == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)SISTER_IDLE_S) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)SISTER_CONNECT_TIMEOUT_MS) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_USERAGENT, "smpl-app/" SMPL_VERSION) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->error) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_WRITEDATA, call) == CURLE_OK;
  if (source[0] != '\0') {
    char from[IP_TEXT_MAX + 8];
    snprintf(from, sizeof from, "host!%s", source);
    ok = ok && curl_easy_setopt(e, CURLOPT_INTERFACE, from) == CURLE_OK;
  }
  if (call->body != NULL)
    ok = ok && curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body) == CURLE_OK &&
         curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long)strlen(call->body)) == CURLE_OK;
  ok = ok && curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method) == CURLE_OK;
  return ok && set_headers(call) && curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers) == CURLE_OK;
}

static void start_transfer(sister_call_t *call)
{
  const ip_t *ip = &call->addrs.addrs[call->addr];
  char addr[IP_TEXT_MAX];
  if (!ip_is_private(ip)) {
    fail(call, SMPL_EDENIED, "its address %s is not a private one", ip_format(ip, addr));
    return;
  }
  drop_transfer(call);
  call->tries++;
  call->easy = curl_easy_init();
  if (call->easy == NULL || !set_options(call) || !set_target(call, ip, call->srvs.srvs[call->srv].port) ||
      curl_multi_add_handle(call->owner->multi, call->easy) != CURLM_OK)
    fail(call, SMPL_ENOMEM, "out of memory");
}

static void look_up_target(sister_call_t *call);

/* The next address, or the next SRV record's first; false when there is none or enough were tried. */
static bool try_next(sister_call_t *call)
{
  if (call->tries >= SISTER_TRIES_MAX)
    return false;
  if (call->addr + 1 < call->addrs.count) {
    call->addr++;
    start_transfer(call);
    return true;
  }
  if (call->srv + 1 < call->srvs.count) {
    call->srv++;
    look_up_target(call);
    return true;
  }
  return false;
}

static void transfer_failed(sister_call_t *call, CURLcode code)
{
  char text[SISTER_WHY_MAX], at[ENDPOINT_TEXT_MAX];
  endpoint_t ep = {call->addrs.addrs[call->addr], call->srvs.srvs[call->srv].port};
  bool connecting =
      code == CURLE_COULDNT_CONNECT || (code == CURLE_OPERATION_TIMEDOUT && call->response_len == 0);
  if (code == CURLE_COULDNT_CONNECT && try_next(call))
    return;
  if (code == CURLE_WRITE_ERROR && call->response_len > 0)
    snprintf(text, sizeof text, "answer above %d bytes", SISTER_RESPONSE_MAX);
  else
    snprintf(text, sizeof text, "%s", call->error[0] != '\0' ? call->error : curl_easy_strerror(code));
  fail(call, connecting ? SMPL_ECLOSED : SMPL_EPROTO, "%s (at %s)", text, endpoint_format(&ep, at));
}

static void transfer_done(sister_call_t *call, CURLcode code)
{
  long status = 0;
  json_t *body = NULL;
  if (code != CURLE_OK || curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK) {
    transfer_failed(call, code);
    return;
  }
  if (call->response_len > 0) {
    body = json_loadb(call->response, call->response_len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    if (body == NULL) {
      fail(call, SMPL_EPROTO, "status %ld with a body that is no JSON", status);
      return;
    }
  }
  finish(call, &(sister_reply_t){.err = SMPL_OK, .status = (int)status, .body = body});
  json_decref(body);
}

static void reap(sisters_t *s)
{
  CURLMsg *msg;
  int left;
  while (s->multi != NULL && (msg = curl_multi_info_read(s->multi, &left)) != NULL) {
    sister_call_t *call = NULL;
    CURLcode code = msg->data.result;
    if (msg->msg == CURLMSG_DONE &&
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&call) == CURLE_OK)
      transfer_done(call, code);
  }
}

/* ---- curl on the loop ---- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
  watch_t *w = poll->data;
  sisters_t *s = w->owner;
  int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;
  flags |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
  flags |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
  curl_multi_socket_action(s->multi, w->fd, flags, &running);
  reap(s);
}

static void on_timer(uv_timer_t *timer)
{
  sisters_t *s = timer->data;
  int running;
  curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  reap(s);
}

static int set_timer(CURLM *multi, long ms, void *ctx)
{
  sisters_t *s = ctx;
  (void)multi;
  if (s->closing)
    return 0;
  if (ms < 0)
    uv_timer_stop(&s->timer);
  else
    uv_timer_start(&s->timer, on_timer, (uint64_t)ms, 0);
  return 0;
}

static void on_watch_closed(uv_handle_t *handle)
{
  watch_t *w = handle->data;
  sisters_t *s = w->owner;
  free(w);
  handle_closed(s);
}

static watch_t *new_watch(sisters_t *s, curl_socket_t fd)
{
  watch_t *w = calloc(1, sizeof *w);
  if (w == NULL)
    return NULL;
  if (uv_poll_init_socket(s->loop, &w->poll, fd) != 0) {
    free(w);
    return NULL;
  }
  w->poll.data = w;
  w->owner = s;
  w->fd = fd;
  s->handles++;
  curl_multi_assign(s->multi, fd, w);
  return w;
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *assigned)
{
  sisters_t *s = ctx;
  watch_t *w = assigned;
  (void)easy;
  if (what == CURL_POLL_REMOVE) {
    if (w != NULL) {
      uv_poll_stop(&w->poll);
      uv_close((uv_handle_t *)&w->poll, on_watch_closed);
      curl_multi_assign(s->multi, fd, NULL);
    }
    return 0;
  }
  if (w == NULL && (w = new_watch(s, fd)) == NULL)
    return -1;
  int events =
      ((what & CURL_POLL_IN) != 0 ? UV_READABLE : 0) | ((what & CURL_POLL_OUT) != 0 ? UV_WRITABLE : 0);
  return uv_poll_start(&w->poll, events, on_poll) == 0 ? 0 : -1;
}

/* ---- names ---- */

static const char *lookup_why(int err)
{
  switch (err) {
  case SMPL_ENOENT:
    return "no such name";
  case SMPL_EINVAL:
    return "no address";
  case SMPL_EDENIED:
    return "the resolver refuses to answer";
  case SMPL_ECLOSED:
    return "the resolver cannot be reached";
  case SMPL_ETIMEOUT:
    return "the resolver does not answer";
  default:
    return smpl_strerror(err);
  }
}

static void on_addresses(void *ctx, int err, const lookup_addrs_t *result)
{
  sister_call_t *call = ctx;
  char target[DNS_NAME_TEXT_MAX];
  call->query = NULL;
  if (err) {
    dns_name_to_text(&call->srvs.srvs[call->srv].target, target);
    if (!try_next(call))
      fail(call, err, "%.200s: %s", target, lookup_why(err));
    return;
  }
  call->addrs = *result;
  call->addr = 0;
  start_transfer(call);
}

static void look_up_target(sister_call_t *call)
{
  call->addrs.count = 0;
  call->addr = 0;
  int err = lookup_addresses(call->way->lookup, NULL, &call->srvs.srvs[call->srv].target, on_addresses, call,
                             &call->query);
  if (err) {
    call->query = NULL;
    fail(call, err, "cannot look its address up: %s", smpl_strerror(err));
  }
}

static void use_name_itself(sister_call_t *call, uint16_t port)
{
  call->srvs.count = 1;
  call->srvs.srvs[0] = (lookup_srv_t){.port = port, .target = call->url.name};
}

static void on_services(void *ctx, int err, const lookup_srvs_t *result)
{
  sister_call_t *call = ctx;
  call->query = NULL;
  if (err == SMPL_ENOENT || err == SMPL_EINVAL) {
    use_name_itself(call, 80);
  } else if (err) {
    fail(call, err, "%s", lookup_why(err));
    return;
  } else {
    call->srvs = *result;
  }
  if (call->srvs.srvs[0].target.len == 1) /* the root: RFC 2782, "decidedly not available" */
    fail(call, SMPL_ENOENT, "its SRV record says that there is no such service");
  else
    look_up_target(call);
}

/* Leads to a callback in a later turn of the loop, or to an error here. */
static int start_lookup(sister_call_t *call)
{
  lookup_t *lookup = call->way->lookup;
  call->srv = 0;
  if (call->url.port == 0)
    return lookup_services(lookup, NULL, &call->url.service, on_services, call, &call->query);
  use_name_itself(call, call->url.port);
  return lookup_addresses(lookup, NULL, &call->url.name, on_addresses, call, &call->query);
}

static void on_literal(uv_timer_t *timer)
{
  sister_call_t *call = timer->data;
  uint64_t now = clock_mono_ms();
  uv_timer_start(&call->deadline, on_deadline, call->ends_at > now ? call->ends_at - now : 0, 0);
  call->srvs.count = 1;
  call->srvs.srvs[0].port = call->url.port != 0 ? call->url.port : 80;
  call->addrs.count = 1;
  call->addrs.addrs[0] = call->url.ip;
  start_transfer(call);
}

/* ---- calls ---- */

static int fill_call(sister_call_t *call, const sister_request_t *request)
{
  int err = sister_url_parse(request->base_url, &call->url, NULL);
  if (!err)
    err = text_copy(call->method, sizeof call->method, request->method);
  if (!err)
    err = text_copy(call->path, sizeof call->path, request->path);
  if (!err && request->request_id != NULL)
    err = text_copy(call->request_id, sizeof call->request_id, request->request_id);
  if (!err && request->body != NULL && (call->body = json_dumps(request->body, JSON_COMPACT)) == NULL)
    err = SMPL_ENOMEM;
  return err;
}

int sisters_call(sisters_t *s, const sister_request_t *request, sister_cb cb, void *ctx)
{
  if (s->call_count == SISTER_CALLS_MAX)
    return SMPL_ELIMIT;
  sister_call_t *call = calloc(1, sizeof *call);
  if (call == NULL)
    return SMPL_ENOMEM;
  int err = fill_call(call, request);
  call->owner = s;
  call->way = s->way;
  call->way->holders++;
  call->cb = cb;
  call->ctx = ctx;
  if (!err && !call->url.literal)
    err = start_lookup(call);
  if (err) {
    sisters_way_free(call->way);
    free(call->body);
    free(call);
    return err;
  }
  uv_timer_init(s->loop, &call->deadline);
  call->deadline.data = call;
  s->handles++;
  s->call_count++;
  call->next = s->calls;
  if (call->next != NULL)
    call->next->prev = call;
  s->calls = call;
  call->ends_at = clock_mono_ms() + request->timeout_ms;
  if (call->url.literal)
    uv_timer_start(&call->deadline, on_literal, 0, 0);
  else
    uv_timer_start(&call->deadline, on_deadline, request->timeout_ms, 0);
  return SMPL_OK;
}

static bool set_multi(sisters_t *s)
{
  return curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, set_socket) == CURLM_OK &&
         curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s) == CURLM_OK &&
         curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
         curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s) == CURLM_OK &&
         curl_multi_setopt(s->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)SISTER_CONNECTIONS_MAX) ==
             CURLM_OK &&
         curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)SISTER_CONNECTIONS_MAX) == CURLM_OK;
}

int sisters_new(uv_loop_t *loop, lookup_t *lookup, const ip_t *source, const char *key, sisters_t **out,
                diag_t *diag)
{
  *out = NULL;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return diag_fail(diag, SMPL_ENOMEM, "cannot start libcurl");
  sisters_t *s = calloc(1, sizeof *s);
  if (s != NULL)
    s->multi = curl_multi_init();
  if (s == NULL || s->multi == NULL || !set_multi(s) || sisters_way_new(lookup, source, key, &s->way)) {
    if (s != NULL)
      curl_multi_cleanup(s->multi);
    free(s);
    curl_global_cleanup();
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  s->loop = loop;
  uv_timer_init(loop, &s->timer);
  s->timer.data = s;
  s->handles = 1;
  *out = s;
  return SMPL_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
  handle_closed(handle->data);
}

void sisters_close(sisters_t *s, void (*done)(void *ctx), void *ctx)
{
  s->closing = true;
  s->closed = done;
  s->closed_ctx = ctx;
  while (s->calls != NULL)
    end_call(s->calls);
  curl_multi_cleanup(s->multi);
  s->multi = NULL;
  uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}
