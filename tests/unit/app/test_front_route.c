/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/admit.h: rules, route tables, and that no byte string reaches an internal handler on a public
 * listener. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/http/admit.h"
#include "app/program/built_in.h"
#include "common/base/error.h"
#include "tests/unit/app/echo_service.h"

static rule_t rule(const char *text)
{
  rule_t parsed;
  assert_int_equal(rule_parse(text, &parsed), SMPL_OK);
  return parsed;
}

static bool matches(const char *text, const char *path)
{
  rule_t r = rule(text);
  return rule_match(&r, (const uint8_t *)path, strlen(path));
}

static void a_star_stands_for_everything_below(void **state)
{
  (void)state;
  assert_true(matches("/api/v1/*", "/api/v1/configs"));
  assert_true(matches("/api/v1/*", "/api/v1/configs/x/y"));
  assert_false(matches("/api/v1/*", "/api/v1"));
  assert_false(matches("/api/v1/*", "/api/v10/configs"));
  assert_false(matches("/api/v1/*", "/Api/v1/configs"));
  assert_true(matches("/*", "/"));
  assert_true(matches("/*", "/anything/at/all"));
  assert_true(matches("/api/v1/health", "/api/v1/health"));
  assert_false(matches("/api/v1/health", "/api/v1/health/x"));
}

static void malformed_rules_are_refused(void **state)
{
  (void)state;
  static const char *const bad[] = {"",           "api/v1/*",  "*",        "/api/v1*",   "/api/*/x",
                                    "/api//v1/*", "/api/../*", "/api/v1/", "/api/%2e/*", "/api/v1/**",
                                    "//*",        "/api v1/*", "/api?/*",  "/api/v1/*x"};
  rule_t parsed;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (rule_parse(bad[i], &parsed) != SMPL_EINVAL)
      fail_msg("%s was taken for a rule", bad[i]);
}

static void rules_are_bounded(void **state)
{
  (void)state;
  char text[LIMIT_RULE + 2];
  rule_t parsed;
  memset(text, 'a', sizeof text);
  text[0] = '/';
  text[LIMIT_RULE] = '\0';
  assert_int_equal(rule_parse(text, &parsed), SMPL_OK);
  text[LIMIT_RULE] = 'a';
  text[LIMIT_RULE + 1] = '\0';
  assert_int_equal(rule_parse(text, &parsed), SMPL_EINVAL);
}

static bool admits(const char *text, const char *pattern)
{
  rule_t r = rule(text);
  return rule_admits_pattern(&r, pattern);
}

static void a_rule_admits_the_routes_it_could_match(void **state)
{
  (void)state;
  assert_true(admits("/api/v1/*", "/api/v1/configs"));
  assert_true(admits("/api/v1/*", "/api/v1/configs/{id}"));
  assert_false(admits("/api/v1/*", "/api/v1"));
  assert_false(admits("/api/v1/*", "/internal/v1/health"));
  assert_false(admits("/api/v1/*", "/docs"));
  assert_false(admits("/api/v1/*", "/"));
  assert_true(admits("/*", "/"));
  assert_true(admits("/*", "/internal/v1/health"));
  assert_true(admits("/api/v1/configs/common", "/api/v1/configs/{id}"));
  assert_true(admits("/api/v1/configs/common/*", "/api/v1/configs/{id}/values"));
  assert_false(admits("/api/v1/configs/common/*", "/api/v1/configs/{id}"));
  assert_false(admits("/api/v1/flags/*", "/api/v1/configs/{id}"));
  assert_true(admits("/a/*", "/{any}/{thing}"));
}

/* If a path matches both the rule and the pattern, then the rule must admit the pattern. */
static void a_route_that_a_rule_could_reach_is_never_left_out(void **state)
{
  (void)state;
  static const char *const rules[] = {"/*", "/a/*", "/a", "/a/b/*", "/b/a", "/a/b"};
  static const char *const patterns[] = {"/", "/a", "/{x}", "/a/{x}", "/{x}/b", "/a/b/a", "/{x}/{y}/{z}"};
  static const char *const paths[] = {"/", "/a", "/b", "/a/a", "/a/b", "/b/a", "/b/b", "/a/b/a", "/b/b/b"};
  for (size_t r = 0; r < 6; r++)
    for (size_t p = 0; p < 7; p++) {
      route_t route = {.method = METHOD_GET, .path = patterns[p]};
      route_source_t source = {&route, 1, NULL, NULL};
      rule_t all = rule("/*"), one = rule(rules[r]);
      router_t *router = NULL;
      assert_int_equal(router_new(&all, 1, &source, 1, &router, NULL), SMPL_OK);
      bool reached = false;
      for (size_t i = 0; i < 9; i++) {
        route_match_t match;
        router_find(router, (const uint8_t *)paths[i], strlen(paths[i]), METHOD_GET, &match);
        reached =
            reached || (match.route != NULL && rule_match(&one, (const uint8_t *)paths[i], strlen(paths[i])));
      }
      if (reached != rule_admits_pattern(&one, patterns[p]) && reached)
        fail_msg("rule %s, pattern %s", rules[r], patterns[p]);
      router_free(router);
    }
}

static router_t *echo_router(const rule_t *rules, size_t count)
{
  router_t *router = NULL;
  route_source_t sources[SERVICE_SOURCES];
  diag_t diag = {.text = ""};
  built_in_sources(NULL, &echo_service, NULL, sources);
  if (router_new(rules, count, sources, SERVICE_SOURCES, &router, &diag))
    fail_msg("%s", diag.text);
  return router;
}

static const char *found(const router_t *router, const char *path, method_t method, route_match_t *match)
{
  router_find(router, (const uint8_t *)path, strlen(path), method, match);
  return match->route != NULL ? match->route->operation_id : NULL;
}

static void routes_are_found_by_raw_segments(void **state)
{
  (void)state;
  rule_t all = rule("/*");
  router_t *router = echo_router(&all, 1);
  route_match_t match;
  assert_string_equal(found(router, "/api/v1/echo/x", METHOD_GET, &match), "echo_word");
  assert_int_equal(match.parameter_count, 1);
  assert_int_equal(match.parameters[0].at, 13);
  assert_int_equal(match.parameters[0].len, 1);
  assert_string_equal(found(router, "/api/v1/echo/later", METHOD_GET, &match), "later");
  assert_string_equal(found(router, "/api/v1/echo/later", METHOD_PUT, &match),
                      "put_word"); /* by the parameter's route */
  assert_null(found(router, "/api/v1/echo/x", METHOD_POST, &match));
  assert_int_equal(match.allowed, 1u << METHOD_GET | 1u << METHOD_PUT | 1u << METHOD_DELETE);
  assert_null(found(router, "/api/v1/ech%6f/x", METHOD_GET, &match));
  assert_int_equal(match.allowed, 0);
  assert_null(found(router, "/api/v1/echo/x/y", METHOD_GET, &match));
  assert_null(found(router, "/api/v1", METHOD_GET, &match));
  assert_null(found(router, "/API/v1/echo/x", METHOD_GET, &match));
  router_free(router);
}

static void the_public_table_contains_no_internal_route(void **state)
{
  (void)state;
  rule_t public = rule("/api/v1/*");
  router_t *router = echo_router(&public, 1);
  assert_true(router_count(router) > 0);
  for (size_t i = 0; i < router_count(router); i++) {
    assert_int_equal(router_route(router, i)->tier, TIER_API);
    assert_memory_equal(router_route(router, i)->path, "/api/v1/", 8);
  }
  router_free(router);
}

static void malformed_routes_are_refused(void **state)
{
  (void)state;
  static const char *const bad[] = {
      "api/v1",  "/api//v1", "/api/{}", "/api/x{id}",           "/api/{id",
      "/a/../b", "/a b",     "/a/",     "/{a}/{b}/{c}/{d}/{e}", "/1/2/3/4/5/6/7/8/9/10/11/12/13"};
  rule_t all = rule("/*");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    route_t route = {.method = METHOD_GET, .path = bad[i]};
    route_source_t source = {&route, 1, NULL, NULL};
    router_t *router = NULL;
    if (router_new(&all, 1, &source, 1, &router, NULL) == SMPL_OK)
      fail_msg("%s was taken for a route", bad[i]);
    assert_null(router);
  }
}

static void routes_have_a_bounded_number_of_segments_and_parameters(void **state)
{
  (void)state;
  static const char *const fine[] = {"/{a}/{b}/{c}/{d}", "/1/2/3/4/5/6/7/8/9/10/11/12"};
  rule_t all = rule("/*");
  for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
    route_t route = {.method = METHOD_GET, .path = fine[i]};
    route_source_t source = {&route, 1, NULL, NULL};
    router_t *router = NULL;
    assert_int_equal(router_new(&all, 1, &source, 1, &router, NULL), SMPL_OK);
    router_free(router); /* one more of either is in the list above */
  }
}

static void two_routes_of_one_shape_are_refused(void **state)
{
  (void)state;
  rule_t all = rule("/*");
  route_t routes[] = {{.method = METHOD_GET, .path = "/a/{x}"}, {.method = METHOD_GET, .path = "/a/{y}"}};
  route_source_t source = {routes, 2, NULL, NULL};
  router_t *router = NULL;
  assert_int_equal(router_new(&all, 1, &source, 1, &router, NULL), SMPL_EEXIST);
  routes[1].method = METHOD_PUT;
  assert_int_equal(router_new(&all, 1, &source, 1, &router, NULL), SMPL_OK);
  router_free(router);
}

static void a_table_holds_a_bounded_number_of_routes(void **state)
{
  (void)state;
  static char paths[LIMIT_ROUTES + 1][16];
  static route_t routes[LIMIT_ROUTES + 1];
  rule_t all = rule("/*");
  router_t *router = NULL;
  for (size_t i = 0; i <= LIMIT_ROUTES; i++) {
    snprintf(paths[i], sizeof paths[i], "/r%zu", i);
    routes[i] = (route_t){.method = METHOD_GET, .path = paths[i]};
  }
  route_source_t source = {routes, LIMIT_ROUTES, NULL, NULL};
  assert_int_equal(router_new(&all, 1, &source, 1, &router, NULL), SMPL_OK);
  router_free(router);
  source.count++;
  assert_int_equal(router_new(&all, 1, &source, 1, &router, NULL), SMPL_ELIMIT);
}

/* ---- the decision as a whole ---- */

typedef struct fixture {
  rule_t rule;
  admit_conf_t conf;
} fixture_t;

static fixture_t public_front, internal_front;

static int set_up(void **state)
{
  static const char *const hosts[] = {"config.internal"};
  (void)state;
  public_front.rule = rule("/api/v1/*");
  internal_front.rule = rule("/*");
  public_front.conf = (admit_conf_t){.rules = &public_front.rule,
                                     .rule_count = 1,
                                     .own_address = "198.51.100.1",
                                     .router = echo_router(&public_front.rule, 1)};
  internal_front.conf = (admit_conf_t){.internal = true,
                                       .rules = &internal_front.rule,
                                       .rule_count = 1,
                                       .hosts = hosts,
                                       .host_count = 1,
                                       .own_address = "10.0.0.1",
                                       .router = echo_router(&internal_front.rule, 1)};
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  router_free((router_t *)(uintptr_t)public_front.conf.router);
  router_free((router_t *)(uintptr_t)internal_front.conf.router);
  return 0;
}

static admit_t decide(const fixture_t *fixture, const char *head, size_t len)
{
  static gate_head_t parsed;
  admit_t admit;
  admit_decide(&fixture->conf, (const uint8_t *)head, len, &parsed, &admit);
  return admit;
}

static const char *reason(const fixture_t *fixture, const char *head)
{
  admit_t admit = decide(fixture, head, strlen(head));
  return admit_reason(&admit);
}

#define HOST "\r\nHost: config.internal:8080\r\n"

static void each_refusal_has_its_reason(void **state)
{
  (void)state;
  assert_string_equal(reason(&public_front, "GET /api/v1/echo/x HTTP/1.1" HOST "\r\n"), "admitted");
  assert_string_equal(reason(&public_front, "GET /internal/v1/secret HTTP/1.1" HOST "\r\n"), "no-rule");
  assert_string_equal(reason(&public_front, "GET / HTTP/1.1" HOST "\r\n"), "no-rule");
  assert_string_equal(reason(&public_front, "GET /api/v1/none HTTP/1.1" HOST "\r\n"), "no-route");
  assert_string_equal(reason(&public_front, "PATCH /api/v1/echo/x HTTP/1.1" HOST "\r\n"),
                      "method-not-allowed");
  assert_string_equal(reason(&public_front, "PATCH /api/v1/none HTTP/1.1" HOST "\r\n"), "no-route");
  assert_string_equal(reason(&public_front, "PATCH /internal/v1/secret HTTP/1.1" HOST "\r\n"), "no-rule");
  assert_string_equal(reason(&internal_front, "GET /internal/v1/secret HTTP/1.1" HOST "\r\n"), "admitted");
  assert_string_equal(reason(&internal_front, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
                      "host-unknown");
  assert_string_equal(reason(&internal_front, "GET / HTTP/1.1" HOST "Origin: http://evil.example\r\n\r\n"),
                      "cross-site");
  assert_string_equal(reason(&internal_front, "GET / HTTP/1.1" HOST "Sec-Fetch-Site: cross-site\r\n\r\n"),
                      "cross-site");
  assert_string_equal(reason(&internal_front, "GET /x/ HTTP/1.1" HOST "\r\n"), "trailing-slash");
}

static void media_types_are_checked_once_a_route_matched(void **state)
{
  (void)state;
  static const struct {
    const char *headers, *reason;
  } cases[] = {
      {"Content-Type: application/json\r\nContent-Length: 2\r\n", "admitted"},
      {"Content-Type: Application/VND.api+JSON; charset=utf-8\r\nContent-Length: 2\r\n", "admitted"},
      {"Content-Type: text/plain\r\nContent-Length: 2\r\n", "media-type"},
      {"Content-Type: application/jsonx\r\nContent-Length: 2\r\n", "media-type"},
      {"Content-Length: 2\r\n", "media-type"},
      {"Content-Type: application/json\r\n", "body-missing"},
      {"Content-Type: application/json\r\nContent-Length: 0\r\n", "body-missing"},
      {"Content-Type: application/json\r\nContent-Length: 1048576\r\n", "admitted"},
      {"Content-Type: application/json\r\nContent-Length: 1048577\r\n", "body-too-long"},
      {"Content-Type: application/json\r\nContent-Length: 2\r\nAccept: text/html\r\n", "not-acceptable"},
      {"Content-Type: application/json\r\nContent-Length: 2\r\nAccept: text/html, */*;q=0.1\r\n", "admitted"},
      {"Content-Type: application/json\r\nContent-Length: 2\r\nAccept: application/json;q=0.0\r\n",
       "not-acceptable"},
      {"Content-Type: application/json\r\nContent-Length: 2\r\nAccept: application/vnd.api+json\r\n",
       "admitted"},
      {"Content-Type: application/json\r\nContent-Length: 2\r\nAccept:\r\n", "admitted"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char head[512];
    snprintf(head, sizeof head, "POST /api/v1/echo HTTP/1.1" HOST "%s\r\n", cases[i].headers);
    if (strcmp(reason(&public_front, head), cases[i].reason) != 0)
      fail_msg("%s: %s, expected %s", cases[i].headers, reason(&public_front, head), cases[i].reason);
  }
}

static void query_parameters_are_bounded(void **state)
{
  (void)state;
  char head[2048];
  for (int more = -1; more <= 1; more++) {
    int n = snprintf(head, sizeof head, "GET /api/v1/echo/x?a");
    for (int i = 1; i < LIMIT_QUERY_PARAMETERS + more; i++)
      n += snprintf(head + n, sizeof head - (size_t)n, "&a");
    snprintf(head + n, sizeof head - (size_t)n, " HTTP/1.1" HOST "\r\n");
    assert_string_equal(reason(&public_front, head), more > 0 ? "too-many-parameters" : "admitted");
  }
}

static const char *const pieces[] = {"/",   "api", "v1",   "internal", "secret", "echo",   "x",  ".",
                                     "..",  "%2e", "%2f",  "%5c",      "\\",     ";",      "?",  "//",
                                     "%00", " ",   "docs", "http://h", "*",      "%c0%af", "\t", "\r\n"};

/* The property: whatever the target, a public listener runs routes of the api tier alone, for paths that say
 * so. */
static void check_public(const char *target, size_t *admitted)
{
  static const char *const methods[] = {"GET", "POST"};
  for (size_t i = 0; i < 2; i++) {
    char head[512];
    int len = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: h\r\n\r\n", methods[i], target);
    admit_t admit = decide(&public_front, head, (size_t)len);
    if (admit.verdict != ADMIT_OK && admit.match.route != NULL)
      fail_msg("%s: refused, and yet a route", target);
    if (admit.match.route == NULL)
      continue;
    ++*admitted;
    if (admit.match.route->tier != TIER_API || strstr(target, "/api/v1/") == NULL ||
        strstr(target, "/../") != NULL)
      fail_msg("%s reaches %s", target, admit.match.route->path);
  }
}

static void no_target_of_up_to_six_pieces_reaches_an_internal_handler(void **state)
{
  (void)state;
  size_t count = sizeof pieces / sizeof *pieces, admitted = 0;
  static const char *const starts[] = {"", "/api/v1/", "/internal/v1/"};
  for (size_t s = 0; s < 3; s++)
    for (size_t n = 0; n < count * count * count * count; n++) {
      char target[256];
      snprintf(target, sizeof target, "%s%s%s%s%s", starts[s], pieces[n % count], pieces[n / count % count],
               pieces[n / count / count % count], pieces[n / count / count / count]);
      check_public(target, &admitted);
    }
  assert_true(admitted > 10);
}

/* Bytes of well-formed requests to every route, changed at random. */
static void no_changed_request_reaches_an_internal_handler(void **state)
{
  (void)state;
  static const char *const seeds[] = {
      "GET /api/v1/echo/x HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET /internal/v1/secret HTTP/1.1\r\nHost: h\r\n\r\n",
      "GET /api/v1/../../internal/v1/secret HTTP/1.1\r\nHost: h\r\n\r\n",
      "POST /api/v1/echo HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n",
      "GET http://h/internal/v1/secret HTTP/1.1\r\nHost: h\r\n\r\n",
  };
  static const char bytes[] = "/%.2eEfF5cC;?# \t\r\nHh:0\\\0\xff";
  srand(20261123);
  for (size_t round = 0; round < 300000; round++) {
    char head[256];
    const char *seed = seeds[round % 5];
    size_t len = strlen(seed);
    memcpy(head, seed, len);
    for (int changes = 1 + rand() % 4; changes > 0; changes--) {
      size_t at = (size_t)rand() % len;
      int kind = rand() % 3;
      if (kind == 0 && len > 8) {
        memmove(head + at, head + at + 1, --len - at);
      } else {
        if (kind == 1 && len + 1 < sizeof head)
          memmove(head + at + 1, head + at, len++ - at);
        head[at] = bytes[(size_t)rand() % (sizeof bytes - 1)];
      }
    }
    admit_t admit = decide(&public_front, head, len);
    if (admit.match.route != NULL && admit.match.route->tier != TIER_API)
      fail_msg("a changed request reaches %s", admit.match.route->path);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_star_stands_for_everything_below),
      cmocka_unit_test(malformed_rules_are_refused),
      cmocka_unit_test(rules_are_bounded),
      cmocka_unit_test(a_rule_admits_the_routes_it_could_match),
      cmocka_unit_test(a_route_that_a_rule_could_reach_is_never_left_out),
      cmocka_unit_test(routes_are_found_by_raw_segments),
      cmocka_unit_test(the_public_table_contains_no_internal_route),
      cmocka_unit_test(malformed_routes_are_refused),
      cmocka_unit_test(routes_have_a_bounded_number_of_segments_and_parameters),
      cmocka_unit_test(two_routes_of_one_shape_are_refused),
      cmocka_unit_test(a_table_holds_a_bounded_number_of_routes),
      cmocka_unit_test(each_refusal_has_its_reason),
      cmocka_unit_test(media_types_are_checked_once_a_route_matched),
      cmocka_unit_test(query_parameters_are_bounded),
      cmocka_unit_test(no_target_of_up_to_six_pieces_reaches_an_internal_handler),
      cmocka_unit_test(no_changed_request_reaches_an_internal_handler),
  };
  return cmocka_run_group_tests_name("front route", tests, set_up, tear_down);
}
