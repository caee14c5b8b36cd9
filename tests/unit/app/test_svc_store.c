/* SPDX-License-Identifier: Apache-2.0 */
/* The services over a store that answers later: the same answers as over a SQLite file, which answers short
 * reads at once. And the store's own limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/services/services.h"
#include "app/services/sister.h"
#include "app/services/stores.h"
#include "app/store/accounts.h"
#include "app/store/ident.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "tests/unit/app/svc_fake.h"
#include "tests/unit/app/svc_late.h"

static uv_loop_t loop;
static store_t *late; /* while services are opened over one */
static bool open_late;
static char account[UUID_TEXT_MAX], key[KEY_TEXT_MAX], key_id[UUID_TEXT_MAX];

/* ---- stand-ins ---- */

int __real_stores_open(const service_env_t *env, const char *service, store_t **out, diag_t *diag);
int __wrap_stores_open(const service_env_t *env, const char *service, store_t **out, diag_t *diag);
int __wrap_stores_open(const service_env_t *env, const char *service, store_t **out, diag_t *diag)
{
  int err = __real_stores_open(env, service, out, diag);
  if (!err && open_late)
    late = *out = late_new(&loop, *out);
  return err;
}

typedef struct question {
  uv_async_t turn; /* first */
  sister_cb cb;
  void *ctx;
} question_t;

static void on_question_closed(uv_handle_t *handle)
{
  free(handle);
}

static void on_question(uv_async_t *turn)
{
  question_t *q = (question_t *)turn;
  json_t *body =
      json_pack("{s:b, s:s, s:s, s:n}", "active", 1, "account", account, "key_id", account, "expires_in_ms");
  q->cb(q->ctx, &(sister_reply_t){.status = 200, .body = body});
  json_decref(body);
  uv_close((uv_handle_t *)turn, on_question_closed);
}

/* The account service's word on any key: it is of `account`. */
int __wrap_sisters_call(sisters_t *sisters, const sister_request_t *request, sister_cb cb, void *ctx);
int __wrap_sisters_call(sisters_t *sisters, const sister_request_t *request, sister_cb cb, void *ctx)
{
  question_t *q = calloc(1, sizeof *q);
  (void)sisters;
  assert_non_null(q);
  assert_string_equal(request->path, "/internal/v1/keys/introspect");
  q->cb = cb;
  q->ctx = ctx;
  assert_int_equal(uv_async_init(&loop, &q->turn, on_question), 0);
  uv_async_send(&q->turn);
  return SMPL_OK;
}

/* ---- a service, and what it is asked ---- */

static void *open_service(const service_t *service)
{
  static const char *const none[] = {NULL};
  void *state = NULL;
  diag_t diag = {""};
  const service_env_t env = {.loop = &loop,
                             .database = fake_path("t.db"),
                             .accounts_url = "http://app.internal",
                             .sister_urls = none};
  assert_int_equal(service->open(&env, &state, &diag), SMPL_OK);
  return state;
}

static void mark(void *ctx)
{
  *(bool *)ctx = true;
}

static void close_service(const service_t *service, void *state)
{
  bool closed = false;
  service->close(state, mark, &closed);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
}

static const route_t *route_of(const service_t *service, const char *operation)
{
  for (size_t i = 0; i < service->route_count; i++)
    if (strcmp(service->routes[i].operation_id, operation) == 0)
      return &service->routes[i];
  fail();
  return NULL;
}

/* What differs between two runs of the same: ids, keys, times. */
static void mask(json_t *value)
{
  const char *name;
  json_t *member;
  size_t i;
  uint64_t ms;
  json_array_foreach(value, i, member)
  {
    mask(member);
  }
  json_object_foreach(value, name, member)
  {
    if (strcmp(name, "last_used_at") != 0)
      mask(member);
    else /* nobody waits for it to be noted */
      json_object_set_new(value, name, json_null());
  }
  const char *text = json_string_value(value);
  if (text == NULL)
    return;
  if (uuid_valid(text) || strstr(text, account) != NULL ||
      strncmp(text, KEY_PREFIX, sizeof KEY_PREFIX - 1) == 0 || time_parse(text, &ms) == SMPL_OK)
    json_string_set(value, "?");
}

typedef struct step {
  const char *operation, *id, *body; /* id: "account" and "key_id" for those; NULL */
  const char *query[4];
  int status;
  const char *bearer; /* NULL: key */
} step_t;

static const char *id_of(const step_t *step)
{
  if (step->id != NULL && strcmp(step->id, "account") == 0)
    return account;
  return step->id != NULL && strcmp(step->id, "key_id") == 0 ? key_id : step->id;
}

/* What later steps ask about. */
static void remember(const char *operation, const json_t *answer)
{
  if (json_object_get(answer, "data") == NULL)
    return; /* it was refused */
  const json_t *data = json_object_get(answer, "data");
  const json_t *made = json_array_get(json_object_get(answer, "included"), 0);
  if (strcmp(operation, "create_account") == 0)
    memcpy(account, json_string_value(json_object_get(data, "id")), sizeof account);
  else if (strcmp(operation, "create_api_key") == 0)
    made = data;
  else
    return;
  const json_t *attributes = json_object_get(made, "attributes");
  memcpy(key_id, json_string_value(json_object_get(made, "id")), sizeof key_id);
  memcpy(key, json_string_value(json_object_get(attributes, "key")), sizeof key);
}

static json_t *take_step(const service_t *service, void *state, const step_t *step)
{
  char body[512] = "";
  if (step->body != NULL)
    snprintf(body, sizeof body, step->body[0] == '%' ? "{\"key\": \"%s\"}" : "%s",
             step->body[0] == '%' ? key : step->body);
  request_t *r = fake_request(id_of(step), step->bearer != NULL ? step->bearer : key,
                              step->body != NULL ? body : NULL, step->query);
  route_of(service, step->operation)->handle(r, state);
  fake_wait(&loop, r);
  if (fake_status(r) != step->status)
    print_error("%s: %d %s\n", step->operation, fake_status(r), fake_error(r, "detail"));
  assert_int_equal(fake_status(r), step->status);
  assert_int_equal(fake_replies(r), 1);
  remember(step->operation, fake_json(r));
  json_t *seen = json_pack("{s:s, s:O?}", "operation", step->operation, "answer", fake_json(r));
  mask(seen);
  fake_request_free(r);
  return seen;
}

/* All answers, with what differs from run to run masked. */
static json_t *walk(const service_t *service, const step_t *steps, size_t count, bool over_late)
{
  json_t *seen = json_array();
  open_late = over_late;
  memcpy(key, "sk_api_x", sizeof "sk_api_x");
  fake_folder();
  uv_loop_init(&loop);
  void *state = open_service(service);
  for (size_t i = 0; i < count; i++)
    json_array_append_new(seen, take_step(service, state, &steps[i]));
  close_service(service, state);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  fake_folder_remove();
  late = NULL;
  return seen;
}

static void expect_same(const service_t *service, const step_t *steps, size_t count)
{
  json_t *at_once = walk(service, steps, count, false), *later = walk(service, steps, count, true);
  for (size_t i = 0; i < count; i++) {
    char *a = json_dumps(json_array_get(at_once, i), JSON_SORT_KEYS);
    char *b = json_dumps(json_array_get(later, i), JSON_SORT_KEYS);
    assert_string_equal(a, b);
    free(a);
    free(b);
  }
  json_decref(at_once);
  json_decref(later);
}

#define STRANGER "d290f1ee-6c54-4b01-90e6-d701748f0851"

static void accounts_answer_the_same_whenever_the_store_does(void **state)
{
  static const char made[] = "{\"data\": {\"type\": \"account\", \"attributes\": {\"name\": \"Acme\"}}}";
  static const char named[] = "{\"data\": {\"type\": \"api_key\", \"attributes\": {\"name\": \"n\"}}}";
  static const char renamed[] = "{\"data\": {\"type\": \"api_key\", \"attributes\": {\"name\": \"m\"}}}";
  static const step_t steps[] = {
      {.operation = "create_account", .body = made, .status = 201},
      {.operation = "create_account", .body = "{\"data\": {}}", .status = 400},
      {.operation = "get_account_by_id", .id = "account", .status = 200},
      {.operation = "get_account_by_id", .id = STRANGER, .status = 404},
      {.operation = "list_accounts", .query = {"meta[total]=true"}, .status = 200},
      {.operation = "get_account", .status = 200},
      {.operation = "create_api_key", .body = named, .status = 201},
      {.operation = "create_api_key_for_account", .id = "account", .body = named, .status = 201},
      {.operation = "create_api_key_for_account", .id = STRANGER, .body = named, .status = 404},
      {.operation = "get_api_key", .id = "key_id", .status = 200},
      {.operation = "get_api_key", .id = STRANGER, .status = 404},
      {.operation = "list_api_keys", .query = {"sort=created_at"}, .status = 200},
      {.operation = "update_api_key", .id = "key_id", .body = renamed, .status = 200},
      {.operation = "update_api_key", .id = STRANGER, .body = renamed, .status = 404},
      {.operation = "introspect_key", .body = "%", .status = 200},
      {.operation = "revoke_api_key", .id = "key_id", .status = 200},
      {.operation = "get_api_key", .id = "key_id", .status = 401}, /* with itself */
      {.operation = "introspect_key", .body = "%", .status = 200},
      {.operation = "delete_account", .id = "account", .status = 204},
      {.operation = "delete_account", .id = "account", .status = 404},
  };
  (void)state;
  expect_same(&accounts_service, steps, sizeof steps / sizeof *steps);
}

#define DOCUMENT(type, id, name, more)                                                                       \
  "{\"data\": {\"type\": \"" type "\", \"id\": \"" id "\", \"attributes\": {\"name\": \"" name "\"" more "}" \
  "}"                                                                                                        \
  "}"

static void products_answer_the_same_whenever_the_store_does(void **state)
{
  static const char tenant[] =
      "{\"data\": {\"type\": \"account\", \"attributes\": {\"name\": \"Acme\", \"key\": \"acme\"}}}";
  char bearer[KEY_TEXT_MAX];
  (void)state;
  assert_int_equal(key_generate(bearer), SMPL_OK);
  memcpy(account, STRANGER, sizeof account);
  const step_t configs[] = {
      {.operation = "list_configs", .status = 503, .bearer = bearer}, /* not told of the account yet */
      {.operation = "provision_account", .id = "account", .body = tenant, .status = 201},
      {.operation = "provision_account", .id = "account", .body = tenant, .status = 200},
      {.operation = "get_provisioned_account", .id = "account", .status = 200},
      {.operation = "list_provisioned_accounts", .query = {"size=1"}, .status = 200},
      {.operation = "create_config",
       .body = DOCUMENT("config", "web", "Web", ""),
       .status = 201,
       .bearer = bearer},
      {.operation = "create_config",
       .body = DOCUMENT("config", "web", "Web", ""),
       .status = 409,
       .bearer = bearer},
      {.operation = "get_config", .id = "web", .status = 200, .bearer = bearer},
      {.operation = "get_config", .id = "no", .status = 404, .bearer = bearer},
      {.operation = "list_configs", .query = {"sort=-key"}, .status = 200, .bearer = bearer},
      {.operation = "list_configs", .query = {"sort=no"}, .status = 400, .bearer = bearer},
      {.operation = "update_config",
       .id = "web",
       .body = DOCUMENT("config", "web", "W", ""),
       .status = 200,
       .bearer = bearer},
      {.operation = "delete_config", .id = "common", .status = 409, .bearer = bearer},
      {.operation = "delete_config", .id = "web", .status = 204, .bearer = bearer},
      {.operation = "forget_account", .id = "account", .status = 200},
      {.operation = "get_provisioned_account", .id = "account", .status = 404},
  };
  expect_same(&config_service, configs, sizeof configs / sizeof *configs);
}

/* ---- ends ---- */

static void *start_late(const service_t *service)
{
  open_late = true;
  fake_folder();
  uv_loop_init(&loop);
  return open_service(service);
}

static void end_late(void)
{
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  fake_folder_remove();
  late = NULL;
}

/* The service is closed while nothing has been answered: all is, before it is closed. */
static void what_is_under_way_is_answered_before_the_store_is_closed(void **state)
{
  enum { MANY = 20 };
  char bearer[KEY_TEXT_MAX];
  request_t *requests[MANY];
  (void)state;
  assert_int_equal(key_generate(bearer), SMPL_OK);
  void *service = start_late(&accounts_service);
  late_hold(late, true);
  const route_t *route = route_of(&accounts_service, "get_api_key");
  for (size_t i = 0; i < MANY; i++) {
    requests[i] = fake_request(STRANGER, bearer, NULL, NULL);
    route->handle(requests[i], service);
    assert_int_equal(fake_replies(requests[i]), 0); /* it is held until the answer comes */
  }
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_true(late_waiting(late) >= MANY);
  close_service(&accounts_service, service);
  for (size_t i = 0; i < MANY; i++) {
    assert_int_equal(fake_replies(requests[i]), 1);
    assert_int_equal(fake_status(requests[i]), 401);
    fake_request_free(requests[i]);
  }
  end_late();
}

typedef struct said {
  bool done;
  size_t numbers;
  int err;
} said_t;

static void say_number(void *ctx, const char *name, const char *help, double value)
{
  (void)name;
  (void)help;
  (void)value;
  ((said_t *)ctx)->numbers++;
}

static void said_all(void *ctx)
{
  ((said_t *)ctx)->done = true;
}

static void said_check(void *ctx, int err, const char *why)
{
  (void)why;
  ((said_t *)ctx)->err = err;
  ((said_t *)ctx)->done = true;
}

static void metrics_and_health_wait_for_the_store(void **state)
{
  said_t numbers = {false}, health = {.err = -1};
  (void)state;
  void *service = start_late(&accounts_service);
  accounts_service.gauges(service, say_number, said_all, &numbers);
  accounts_service.check(service, said_check, &health);
  assert_true(!numbers.done && !health.done);
  while (!numbers.done || !health.done)
    uv_run(&loop, UV_RUN_ONCE);
  assert_int_equal(numbers.numbers, 6);
  assert_int_equal(health.err, SMPL_OK);
  close_service(&accounts_service, service);
  end_late();
}

/* ---- the limit ---- */

typedef struct counted {
  store_call_t call; /* first */
  int err;
  bool done;
} counted_t;

static void on_counted(store_call_t *call, int err)
{
  ((counted_t *)call)->err = err;
  ((counted_t *)call)->done = true;
}

static void so_many_calls_are_under_way_and_no_more(void **state)
{
  counted_t *calls = calloc(STORE_CALLS_MAX + 1, sizeof *calls);
  diag_t diag = {""};
  store_t *store = NULL;
  bool closed = false;
  (void)state;
  assert_non_null(calls);
  fake_folder();
  uv_loop_init(&loop);
  const service_env_t env = {.loop = &loop, .database = fake_path("t.db")};
  open_late = false;
  assert_int_equal(stores_open(&env, "accounts", &store, &diag), SMPL_OK);
  store = late_new(&loop, store);
  for (size_t i = 0; i <= STORE_CALLS_MAX; i++) {
    calls[i].call = (store_call_t){.op = STORE_CHECK, .done = on_counted};
    store_ask(store, &calls[i].call);
    assert_int_equal(calls[i].done, i == STORE_CALLS_MAX);
  }
  assert_int_equal(calls[STORE_CALLS_MAX].err, SMPL_ELIMIT);
  store_close(store, mark, &closed);
  counted_t after = {.call = {.op = STORE_CHECK, .done = on_counted}};
  store_ask(store, &after.call);
  assert_true(after.done && after.err == SMPL_ECLOSED);
  while (!closed)
    uv_run(&loop, UV_RUN_ONCE);
  for (size_t i = 0; i < STORE_CALLS_MAX; i++)
    assert_true(calls[i].done && calls[i].err == SMPL_OK);
  free(calls);
  end_late();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accounts_answer_the_same_whenever_the_store_does),
      cmocka_unit_test(products_answer_the_same_whenever_the_store_does),
      cmocka_unit_test(what_is_under_way_is_answered_before_the_store_is_closed),
      cmocka_unit_test(metrics_and_health_wait_for_the_store),
      cmocka_unit_test(so_many_calls_are_under_way_and_no_more),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
