/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/built_in.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/limits.h"
#include "app/program/exposition.h"
#include "app/program/openapi.h"
#include "app/http/reply.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* docs/assets.S.in */
extern const char docs_index[], docs_index_end[];
extern const char docs_initializer[], docs_initializer_end[];
extern const char docs_bundle[], docs_bundle_end[];
extern const char docs_css[], docs_css_end[];
extern const char docs_favicon[], docs_favicon_end[];
extern const char docs_license[], docs_license_end[];

enum { ETAG_MAX = 2 + 32 + 1 };

typedef struct asset {
  const char *path;
  const char *content_type;
  const char *encoding;
  const char *data, *end;
} asset_t;

static const asset_t assets[] = {
    {"/docs", "text/html; charset=utf-8", NULL, docs_index, docs_index_end},
    {"/docs/swagger-initializer.js", "text/javascript; charset=utf-8", NULL, docs_initializer,
     docs_initializer_end},
    {"/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", "gzip", docs_bundle, docs_bundle_end},
    {"/docs/swagger-ui.css", "text/css; charset=utf-8", "gzip", docs_css, docs_css_end},
    {"/docs/favicon-32x32.png", "image/png", NULL, docs_favicon, docs_favicon_end},
    {"/docs/LICENSE.txt", "text/plain; charset=utf-8", NULL, docs_license, docs_license_end},
    {"/favicon.ico", "image/png", NULL, docs_favicon, docs_favicon_end},
};

enum { ASSET_COUNT = sizeof assets / sizeof *assets };

/* An asset, or a text made for this service, ready to be served. */
typedef struct page {
  const char *path;
  reply_static_t reply;
  char etag[ETAG_MAX];
} page_t;

struct built_in {
  const service_t *service;
  const program_t *program;
  char *index;    /* docs/index.html with the service's title */
  char *document; /* the OpenAPI document as text */
  page_t pages[ASSET_COUNT + 1];
  shared_t *healthy, *ready; /* what is said when all is well */
  uint64_t storage_asked;    /* monotonic ms */
  int storage_err;           /* what it said then, and in words */
  char storage_why[DIAG_TEXT_MAX];
};

/* The usual case is asked for all the time, and is the same each time:
 * {"status":"ok","service":"config","version":"1.0",...}. */
static shared_t *make_fine(const service_t *service, const char *status)
{
  char *text = NULL;
  int n = asprintf(&text, "{\"status\":\"%s\",\"service\":\"%s\",\"version\":\"%s\"%s}", status,
                   service->name, SMPL_VERSION, service->check != NULL ? ",\"storage\":\"ok\"" : "");
  return n < 0 ? NULL : shared_new(text, (size_t)n);
}

/* 503 with the service and what is wrong with its storage, if anything. */
static void reply_unfit(request_t *request, const built_in_t *b, const char *status, const char *wrong)
{
  request_reply(request, 503,
                json_pack("{s:s,s:s,s:s,s:s*}", "status", status, "service", b->service->name, "version",
                          SMPL_VERSION, "storage", wrong));
}

/* A request that waits for what the service says of itself. Lives in its request. */
typedef struct asking {
  built_in_t *built_in;
  request_t *request;
  void (*checked)(struct asking *asking, const char *wrong);
  json_t *notices;
  exposition_numbers_t numbers;
} asking_t;

static asking_t *asking_new(request_t *request, built_in_t *b)
{
  asking_t *a = request_alloc(request, sizeof *a);
  if (a == NULL) {
    reply_unfit(request, b, "failing", NULL);
    return NULL;
  }
  a->built_in = b;
  a->request = request;
  return a;
}

static void say_storage(asking_t *a)
{
  const built_in_t *b = a->built_in;
  const char *why = b->storage_why[0] != '\0' ? b->storage_why : smpl_strerror(b->storage_err);
  a->checked(a, b->storage_err == SMPL_OK ? NULL : why);
}

static void on_storage(void *ctx, int err, const char *why)
{
  asking_t *a = ctx;
  built_in_t *b = a->built_in;
  b->storage_err = err;
  snprintf(b->storage_why, sizeof b->storage_why, "%s", err ? why : "");
  b->storage_asked = clock_mono_ms();
  say_storage(a);
}

/* Calls checked with NULL, or why the service's storage does not answer. An answer counts for
 * LIMIT_HEALTH_MS: many balancers and monitors ask often. */
static void ask_storage(asking_t *a, void (*checked)(asking_t *asking, const char *wrong))
{
  const built_in_t *b = a->built_in;
  a->checked = checked;
  if (b->service->check == NULL)
    checked(a, NULL);
  else if (b->storage_asked == 0 || clock_mono_ms() - b->storage_asked >= LIMIT_HEALTH_MS)
    b->service->check(b->program->service, on_storage, a);
  else
    say_storage(a);
}

static void on_health(asking_t *a, const char *wrong)
{
  if (wrong == NULL)
    request_reply_kept(a->request, a->built_in->healthy);
  else
    reply_unfit(a->request, a->built_in, "failing", wrong);
}

static void handle_health(request_t *request, void *context)
{
  asking_t *a = asking_new(request, context);
  if (a != NULL)
    ask_storage(a, on_health);
}

static void add_notice(void *ctx, const char *text)
{
  asking_t *a = ctx;
  json_array_append_new(a->notices, json_string(text));
}

/* What an operator has to look into, if there is anything. */
static void reply_ready(void *ctx)
{
  const asking_t *a = ctx;
  const built_in_t *b = a->built_in;
  if (json_array_size(a->notices) > 0) {
    request_reply(a->request, 200,
                  json_pack("{s:s,s:s,s:s,s:s,s:o}", "status", "ready", "service", b->service->name,
                            "version", SMPL_VERSION, "storage", "ok", "notices", a->notices));
    return;
  }
  json_decref(a->notices);
  request_reply_kept(a->request, b->ready);
}

static void on_ready(asking_t *a, const char *wrong)
{
  const built_in_t *b = a->built_in;
  if (wrong != NULL) {
    reply_unfit(a->request, b, "failing", wrong);
    return;
  }
  a->notices = b->service->notices != NULL ? json_array() : NULL;
  if (a->notices != NULL)
    b->service->notices(b->program->service, add_notice, reply_ready, a);
  else
    reply_ready(a);
}

/* What a balancer asks before it sends requests here: no, once the program is told to end. */
static void handle_ready(request_t *request, void *context)
{
  built_in_t *b = context;
  if (b->program->leaving) {
    reply_unfit(request, b, "draining", NULL);
    return;
  }
  asking_t *a = asking_new(request, b);
  if (a != NULL)
    ask_storage(a, on_ready);
}

static void reply_metrics(void *ctx)
{
  const asking_t *a = ctx;
  const built_in_t *b = a->built_in;
  size_t len = 0;
  char *text = exposition_text(b->program, &a->numbers, &len);
  reply_text(a->request, "text/plain; version=0.0.4; charset=utf-8", text, len);
}

static void add_number(void *ctx, const char *name, const char *help, double value)
{
  asking_t *a = ctx;
  exposition_add(&a->numbers, name, help, value);
}

static void handle_metrics(request_t *request, void *context)
{
  asking_t *a = asking_new(request, context);
  if (a == NULL)
    return;
  const built_in_t *b = a->built_in;
  if (b->service->gauges != NULL && b->program->service != NULL)
    b->service->gauges(b->program->service, add_number, reply_metrics, a);
  else
    reply_metrics(a);
}

static void handle_root(request_t *request, void *context)
{
  (void)context;
  reply_redirect(request, "/docs");
}

static void handle_page(request_t *request, void *context)
{
  const built_in_t *b = context;
  const char *path = request->admit.match.route->path;
  size_t i = 0;
  while (i < ASSET_COUNT && strcmp(b->pages[i].path, path) != 0)
    i++;
  reply_static(request, &b->pages[i].reply);
}

#define PAGE(at)                                                                                             \
  {                                                                                                          \
    .method = METHOD_GET, .path = (at), .tier = TIER_INTERNAL, .handle = handle_page                         \
  }

static const route_t routes[] = {
    {.method = METHOD_GET,
     .path = "/internal/v1/health",
     .tier = TIER_INTERNAL,
     .handle = handle_health,
     .operation_id = "health"},
    {.method = METHOD_GET,
     .path = "/internal/v1/ready",
     .tier = TIER_INTERNAL,
     .handle = handle_ready,
     .operation_id = "ready"},
    {.method = METHOD_GET, .path = "/internal/v1/metrics", .tier = TIER_INTERNAL, .handle = handle_metrics},
    {.method = METHOD_GET, .path = "/", .tier = TIER_INTERNAL, .handle = handle_root},
    PAGE("/docs"),
    PAGE("/docs/swagger-initializer.js"),
    PAGE("/docs/swagger-ui-bundle.js"),
    PAGE("/docs/swagger-ui.css"),
    PAGE("/docs/favicon-32x32.png"),
    PAGE("/docs/LICENSE.txt"),
    PAGE("/favicon.ico"),
    PAGE("/openapi.json"),
};

/* A strong tag: the first half of the SHA-256 of the bytes served. */
static int set_page(page_t *page, const char *path, const asset_t *from, const char *data, size_t len,
                    diag_t *diag)
{
  unsigned char digest[32];
  char hex[33];
  size_t digest_len = 0;
  if (EVP_Q_digest(NULL, "SHA256", NULL, data, len, digest, &digest_len) != 1 || digest_len != sizeof digest)
    return diag_fail(diag, SMPL_ESYS, "SHA-256 failed");
  text_hex(hex, digest, 16);
  snprintf(page->etag, sizeof page->etag, "\"%s\"", hex);
  page->path = path;
  page->reply = (reply_static_t){.content_type = from != NULL ? from->content_type : "application/json",
                                 .encoding = from != NULL ? from->encoding : NULL,
                                 .etag = page->etag,
                                 .data = data,
                                 .len = len};
  return SMPL_OK;
}

/* docs/index.html with {{title}} filled in. */
static char *write_index(const char *title)
{
  static const char mark[] = "{{title}}";
  size_t len = (size_t)(docs_index_end - docs_index);
  const char *at = memmem(docs_index, len, mark, sizeof mark - 1);
  if (at == NULL)
    return NULL;
  const char *rest = at + sizeof mark - 1;
  char *text = NULL;
  int n = asprintf(&text, "%.*s%s%.*s", (int)(at - docs_index), docs_index, title,
                   (int)(docs_index_end - rest), rest);
  return n < 0 ? NULL : text;
}

static int make_pages(built_in_t *b, diag_t *diag)
{
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < ASSET_COUNT; i++) {
    const asset_t *a = &assets[i];
    const char *data = a->data == docs_index ? b->index : a->data;
    size_t len = a->data == docs_index ? strlen(b->index) : (size_t)(a->end - a->data);
    err = set_page(&b->pages[i], a->path, a, data, len, diag);
  }
  return err ? err
             : set_page(&b->pages[ASSET_COUNT], "/openapi.json", NULL, b->document, strlen(b->document),
                        diag);
}

int built_in_new(const service_t *service, const program_t *program, built_in_t **out, diag_t *diag)
{
  json_t *document = NULL;
  route_source_t sources[SERVICE_SOURCES];
  *out = NULL;
  built_in_t *b = calloc(1, sizeof *b);
  if (b == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  b->service = service;
  b->program = program;
  built_in_sources(b, service, NULL, sources);
  int err = openapi_document(service, sources, SERVICE_SOURCES, &document, diag);
  if (!err) {
    b->document = json_dumps(document, JSON_COMPACT);
    b->index = write_index(service->title);
    b->healthy = make_fine(service, "ok");
    b->ready = make_fine(service, "ready");
    if (b->document == NULL || b->index == NULL || b->healthy == NULL || b->ready == NULL)
      err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  json_decref(document);
  if (!err)
    err = make_pages(b, diag);
  if (err)
    built_in_free(b);
  else
    *out = b;
  return err;
}

void built_in_free(built_in_t *built_in)
{
  if (built_in == NULL)
    return;
  free(built_in->index);
  free(built_in->document);
  shared_drop(built_in->healthy);
  shared_drop(built_in->ready);
  free(built_in);
}

void built_in_sources(const built_in_t *built_in, const service_t *service, void *state,
                      route_source_t sources[SERVICE_SOURCES])
{
  sources[0] = (route_source_t){service->routes, service->route_count, state, service->guard};
  sources[1] = (route_source_t){routes, sizeof routes / sizeof *routes, (void *)(uintptr_t)built_in, NULL};
}
