/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/app/svc_fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"

enum { BLOCKS_MAX = 64, WAIT_SECONDS = 20 };

struct request {
  turns_key_t share;
  const char *id, *bearer;
  ip_t source;
  rate_t rate;
  json_t *body;
  const char *const *query;
  void *blocks[BLOCKS_MAX];
  size_t block_count;
  int replies, status;
  json_t *json;
  char header[256];
};

request_t *fake_request(const char *id, const char *bearer, const char *body, const char *const *query)
{
  request_t *r = calloc(1, sizeof *r);
  assert_non_null(r);
  r->id = id;
  r->bearer = bearer;
  r->query = query;
  fake_set_source(r, "192.0.2.1");
  if (body != NULL) {
    r->body = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(r->body);
  }
  return r;
}

void fake_set_source(request_t *r, const char *address)
{
  assert_int_equal(ip_parse(address, &r->source), SMPL_OK);
}

void fake_request_free(request_t *r)
{
  for (size_t i = 0; i < r->block_count; i++)
    free(r->blocks[i]);
  json_decref(r->body);
  json_decref(r->json);
  free(r);
}

int fake_replies(const request_t *r)
{
  return r->replies;
}

int fake_status(const request_t *r)
{
  return r->status;
}

const json_t *fake_json(const request_t *r)
{
  return r->json;
}

const char *fake_header(const request_t *r)
{
  return r->header;
}

const char *fake_error(const request_t *r, const char *member)
{
  const json_t *error = json_array_get(json_object_get(r->json, "errors"), 0);
  const char *text = json_string_value(json_object_get(error, member));
  if (text == NULL)
    text = json_string_value(json_object_get(json_object_get(error, "source"), member));
  return text != NULL ? text : "";
}

turns_key_t request_share(const request_t *r)
{
  return r->share;
}

void request_is_of(request_t *r, const char *account)
{
  r->share = turns_key(account, strlen(account));
}

void request_work(request_t *r, void (*work)(void *ctx), void (*done)(void *ctx), void *ctx)
{
  (void)r;
  work(ctx);
  done(ctx);
}

static void on_late(uv_timer_t *timer)
{
  *(int *)timer->data = 1;
}

void fake_wait(uv_loop_t *loop, const request_t *r)
{
  int late = 0;
  uv_timer_t timer;
  uv_timer_init(loop, &timer);
  timer.data = &late;
  uv_timer_start(&timer, on_late, WAIT_SECONDS * 1000, 0);
  while (r->replies == 0 && !late)
    uv_run(loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
  assert_int_equal(late, 0);
}

static char folder[64];

const char *fake_folder(void)
{
  snprintf(folder, sizeof folder, "/tmp/smpl-svc-XXXXXX");
  assert_non_null(mkdtemp(folder));
  return folder;
}

const char *fake_path(const char *name)
{
  static char path[400];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

void fake_folder_remove(void)
{
  DIR *dir = opendir(folder);
  assert_non_null(dir);
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
    if (entry->d_name[0] != '.')
      unlink(fake_path(entry->d_name));
  closedir(dir);
  rmdir(folder);
}

/* ---- app/http/handler.h ---- */

const char *request_parameter(const request_t *r, const char *name)
{
  return strcmp(name, "id") == 0 ? r->id : NULL;
}

const char *request_query(const request_t *r, const char *name)
{
  size_t len = strlen(name);
  for (const char *const *q = r->query; q != NULL && *q != NULL; q++)
    if (strncmp(*q, name, len) == 0 && (*q)[len] == '=')
      return *q + len + 1;
  return NULL;
}

int request_query_each(const request_t *r, int (*each)(void *ctx, const char *name, const char *value),
                       void *ctx)
{
  for (const char *const *q = r->query; q != NULL && *q != NULL; q++) {
    char name[128];
    const char *equals = strchr(*q, '=');
    snprintf(name, sizeof name, "%.*s", (int)(equals - *q), *q);
    int err = each(ctx, name, equals + 1);
    if (err)
      return err;
  }
  return 0;
}

const ip_t *request_source(const request_t *r)
{
  return &r->source;
}

const char *request_caller(const request_t *r)
{
  (void)r;
  return "tester";
}

void request_set_rate(request_t *r, const rate_t *rate)
{
  r->rate = *rate;
}

bool request_is_rated(const request_t *r)
{
  return r->rate.limit > 0;
}

const char *request_bearer(const request_t *r)
{
  return r->bearer;
}

const char *request_target(const request_t *r, size_t *len)
{
  const char *target = r->id != NULL ? r->id : "";
  *len = strlen(target);
  return target;
}

void request_keep_body(request_t *r, void (*keep)(void *ctx, shared_t *body), void *ctx)
{
  (void)r;
  (void)keep;
  (void)ctx;
}

void request_reply_kept(request_t *r, shared_t *body)
{
  request_reply(r, 200, json_loadb(body->bytes, body->len, 0, NULL));
}

const json_t *request_body(const request_t *r)
{
  return r->body;
}

const char *request_id(const request_t *r)
{
  (void)r;
  return "test-request";
}

void request_go_on(request_t *r)
{
  r->replies++;
  r->status = 0;
}

void *request_alloc(request_t *r, size_t size)
{
  assert_true(r->block_count < BLOCKS_MAX);
  void *block = calloc(1, size);
  r->blocks[r->block_count++] = block;
  return block;
}

void request_reply(request_t *r, int status, json_t *json)
{
  r->replies++;
  r->status = status;
  json_decref(r->json);
  r->json = json;
}

void request_reply_text(request_t *r, int status, char *json)
{
  request_reply(r, status, json_loads(json, 0, NULL));
  free(json);
}

void request_reply_empty(request_t *r, int status)
{
  request_reply(r, status, NULL);
}

void request_reply_error(request_t *r, int status, const char *title, const char *pointer,
                         const char *parameter, const char *fmt, ...)
{
  char detail[1024];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(detail, sizeof detail, fmt, ap);
  va_end(ap);
  request_reply(r, status,
                json_pack("{s:[{s:s, s:s, s:{s:s*, s:s*}}]}", "errors", "title", title, "detail", detail,
                          "source", "pointer", pointer, "parameter", parameter));
}

void request_set_header(request_t *r, const char *name, const char *value)
{
  snprintf(r->header, sizeof r->header, "%s: %s", name, value);
}
