/* SPDX-License-Identifier: Apache-2.0 */
/* explain and matrix: they tell what the server's own code decides, step by step and name by name. */
#include "harness.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "resolver/control/explain.h"
#include "resolver/control/matrix.h"
#include "resolver/limits.h"
#include "resolver/view/snapshot.h"

#define CONF                                                                                                 \
  "listeners:\n  - {address: 127.0.0.1, port: 5300, views: [in, out]}\n"                                     \
  "  - {address: 127.0.0.2, port: 5300, views: [out]}\n"                                                     \
  "views:\n"                                                                                                 \
  "  - {name: in, clients: [10.0.0.0/8, 10.1.0.0/16], zones: [corp, example.org@in]}\n"                      \
  "  - {name: out, clients: [192.0.2.0/24], zones: [example.org@out]}\n"                                     \
  "zones:\n"                                                                                                 \
  "  - {name: corp, file: test_explain.corp.zone}\n"                                                         \
  "  - {name: example.org@in, file: test_explain.in.zone}\n"                                                 \
  "  - {name: example.org@out, file: test_explain.out.zone}\n"
#define HEAD "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n"

static void write_file(const char *path, const char *text)
{
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static snapshot_t *load(const char *in_zone)
{
  diag_t diag = {""};
  snapshot_t *s;
  write_file("test_explain.yaml", CONF);
  write_file("test_explain.corp.zone",
             HEAD "app A 10.0.0.7\n*.wild.deep A 10.0.0.8\nsub NS ns.sub\nns.sub A 10.0.0.9\n");
  write_file("test_explain.in.zone", in_zone);
  write_file("test_explain.out.zone", HEAD "www A 192.0.2.1\nm CNAME app.corp.\n");
  if (snapshot_load("test_explain.yaml", 1, &s, &diag))
    fail_msg("%s", diag.text);
  return s;
}

static int up(void **state)
{
  *state = load(HEAD "www A 10.0.0.2\nm CNAME app.corp.\nd DNAME corp.\nloop CNAME loop\n");
  return 0;
}

static int down(void **state)
{
  static const char *const files[] = {"test_explain.yaml", "test_explain.corp.zone", "test_explain.in.zone",
                                      "test_explain.out.zone"};
  snapshot_free(*state);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++)
    unlink(files[i]);
  return 0;
}

/* The explanation at 127.0.0.1; the caller releases it. */
static json_t *explained(const snapshot_t *s, const char *name, const char *type, const char *from)
{
  explain_question_t q;
  diag_t diag = {""};
  if (explain_read(name, type, from, "127.0.0.1:5300", &q, &diag))
    fail_msg("%s", diag.text);
  json_t *reply = explain(s, &q, &diag);
  assert_non_null(reply);
  assert_int_equal(json_array_size(json_object_get(reply, "listeners")), 1);
  json_t *e = json_incref(json_array_get(json_object_get(reply, "listeners"), 0));
  json_decref(reply);
  return e;
}

/* "view|network|name=zone:found,...|rcode" */
static void check(const snapshot_t *s, const char *name, const char *type, const char *from, const char *want)
{
  char got[2048];
  size_t i;
  json_t *step;
  json_t *e = explained(s, name, type, from);
  const char *view = json_string_value(json_object_get(e, "view"));
  const char *net = json_string_value(json_object_get(e, "network"));
  int n = snprintf(got, sizeof got, "%s|%s|", view != NULL ? view : "-", net != NULL ? net : "-");
  json_array_foreach(json_object_get(e, "steps"), i, step)
  {
    const char *zone = json_string_value(json_object_get(step, "zone"));
    n += snprintf(got + n, sizeof got - (size_t)n, "%s=%s:%s,",
                  json_string_value(json_object_get(step, "name")), zone != NULL ? zone : "-",
                  json_string_value(json_object_get(step, "found")));
  }
  snprintf(got + n, sizeof got - (size_t)n, "|%s",
           json_string_value(json_object_get(json_object_get(e, "answer"), "rcode")));
  json_decref(e);
  assert_string_equal(got, want);
}

static void every_step_of_an_answer_is_told(void **state)
{
  const snapshot_t *s = *state;
  check(s, "app.corp", NULL, "10.1.2.3", "in|10.1.0.0/16|app.corp.=corp:record,|NOERROR");
  check(s, "APP.Corp.", "AAAA", "10.2.2.3", "in|10.0.0.0/8|app.corp.=corp:no such type,|NOERROR");
  check(s, "m.example.org", "A", "10.2.2.3",
        "in|10.0.0.0/8|m.example.org.=example.org@in:alias,app.corp.=corp:record,|NOERROR");
  check(s, "app.d.example.org", "A", "10.2.2.3",
        "in|10.0.0.0/8|app.d.example.org.=example.org@in:dname,app.corp.=corp:record,|NOERROR");
  check(s, "m.example.org", "A", "192.0.2.9",
        "out|192.0.2.0/24|m.example.org.=example.org@out:alias,app.corp.=-:no zone,|NOERROR");
  check(s, "x.sub.corp", "A", "10.2.2.3", "in|10.0.0.0/8|x.sub.corp.=corp:delegation,|NOERROR");
  check(s, "no.corp", "A", "10.2.2.3", "in|10.0.0.0/8|no.corp.=corp:no such name,|NXDOMAIN");
  check(s, "app.corp", "A", "192.0.2.9", "out|192.0.2.0/24|app.corp.=-:no zone,|REFUSED");
  check(s, "app.corp", "A", "203.0.113.1", "-|-||REFUSED");
  check(s, "app.corp", "AXFR", "10.2.2.3", "in|10.0.0.0/8||REFUSED");
}

static void closest_encloser_and_wildcard_are_told(void **state)
{
  json_t *e = explained(*state, "a.b.wild.deep.corp", "A", "10.2.2.3");
  json_t *step = json_array_get(json_object_get(e, "steps"), 0);
  assert_string_equal(json_string_value(json_object_get(step, "closest_encloser")), "wild.deep.corp.");
  assert_string_equal(json_string_value(json_object_get(step, "wildcard")), "*.wild.deep.corp.");
  assert_true(json_is_false(json_object_get(step, "exists")));
  json_decref(e);
  e = explained(*state, "deep.corp", "A", "10.2.2.3"); /* an empty non-terminal */
  step = json_array_get(json_object_get(e, "steps"), 0);
  assert_true(json_is_true(json_object_get(step, "exists")));
  assert_string_equal(json_string_value(json_object_get(step, "closest_encloser")), "deep.corp.");
  assert_true(json_is_null(json_object_get(step, "wildcard")));
  json_decref(e);
}

static void circles_of_aliases_end(void **state)
{
  json_t *e = explained(*state, "loop.example.org", "A", "10.2.2.3");
  assert_int_equal(json_array_size(json_object_get(e, "steps")), 2);
  json_decref(e);
}

static void check_change(const snapshot_t *s, const char *name, const char *from, const char *want)
{
  json_t *e = explained(s, name, "A", from);
  const json_t *change = json_object_get(e, "change");
  assert_true(json_array_size(change) > 0);
  const char *text = json_string_value(json_array_get(change, 0));
  if (strstr(text, want) == NULL)
    fail_msg("expected: %s\ngot:      %s", want, text);
  json_decref(e);
}

static void refusals_say_what_would_have_to_change(void **state)
{
  check_change(*state, "app.corp", "192.0.2.9",
               "view 'in' has zone 'corp' for this name: give the client's network");
  check_change(*state, "app.corp", "203.0.113.1",
               "give view 'in', which has zone 'corp' for this name, a network");
  check_change(*state, "a.elsewhere", "192.0.2.9", "no view has a zone at or above this name");
  check_change(*state, "a.elsewhere", "203.0.113.1", "no view of this dns listener has a zone for this name");
}

static void bad_questions_are_named(void **state)
{
  static const char *const bad[][5] = {
      {"a..b", NULL, "10.0.0.1", NULL, "expected a name"},
      {"a", "NOPE", "10.0.0.1", NULL, "expected a record type"},
      {"a", "OPT", "10.0.0.1", NULL, "expected a record type"},
      {"a", "A", NULL, NULL, "--from ADDR"},
      {"a", "A", "10.0.0.256", NULL, "expected an IP address"},
      {"a", "A", "10.0.0.1", "127.0.0.1", "expected ADDR:PORT"},
      {NULL, "A", "10.0.0.1", NULL, "expected a name"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    explain_question_t q;
    diag_t diag = {""};
    assert_int_equal(explain_read(bad[i][0], bad[i][1], bad[i][2], bad[i][3], &q, &diag), SMPL_EINVAL);
    assert_non_null(strstr(diag.text, bad[i][4]));
  }
}

static void unknown_listener_is_named_with_those_there_are(void **state)
{
  explain_question_t q;
  diag_t diag = {""};
  assert_int_equal(explain_read("app.corp", NULL, "10.0.0.1", "127.0.0.3:53", &q, &diag), 0);
  assert_null(explain(*state, &q, &diag));
  assert_string_equal(diag.text, "no dns listener 127.0.0.3:53; there is 127.0.0.1:5300, 127.0.0.2:5300");
  /* without one, all are explained */
  diag = (diag_t){""};
  assert_int_equal(explain_read("app.corp", NULL, "10.0.0.1", NULL, &q, &diag), 0);
  json_t *reply = explain(*state, &q, &diag);
  const json_t *list = json_object_get(reply, "listeners");
  assert_int_equal(json_array_size(list), 2);
  assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "view")), "in");
  assert_true(json_is_null(json_object_get(json_array_get(list, 1), "view")));
  json_decref(reply);
}

static void check_cell(const json_t *table, const char *name, const char *view, const char *want)
{
  char text[512];
  matrix_cell_text(json_object_get(json_object_get(json_object_get(table, "names"), name), view), text,
                   sizeof text);
  assert_string_equal(text, want);
}

static void matrix_tells_names_by_views(void **state)
{
  diag_t diag = {""};
  json_t *t = matrix(*state, &diag);
  assert_non_null(t);
  check_cell(t, "www.example.org.", "in", "A 10.0.0.2");
  check_cell(t, "www.example.org.", "out", "A 192.0.2.1");
  check_cell(t, "app.corp.", "in", "A 10.0.0.7");
  check_cell(t, "app.corp.", "out", "refused");
  check_cell(t, "m.example.org.", "out", "CNAME app.corp.");
  check_cell(t, "d.example.org.", "in", "DNAME corp.");
  check_cell(t, "d.example.org.", "out", "no such name");
  check_cell(t, "sub.corp.", "in", "delegation to ns.sub.corp.");
  check_cell(t, "corp.", "in", "NS ns.corp.");
  json_decref(t);
}

static void matrix_differences_name_the_cell(void **state)
{
  diag_t diag = {""};
  json_t *t = matrix(*state, &diag);
  json_t *other = json_deep_copy(t);
  json_t *lines = matrix_differences(other, t);
  assert_int_equal(json_array_size(lines), 0);
  json_decref(lines);
  json_t *names = json_object_get(other, "names");
  json_object_set_new(json_object_get(names, "app.corp."), "out", json_pack("[s]", "A 10.0.0.7"));
  json_object_del(names, "www.example.org.");
  lines = matrix_differences(other, t);
  assert_int_equal(json_array_size(lines), 3);
  assert_string_equal(json_string_value(json_array_get(lines, 0)),
                      "app.corp. in view 'out': expected A 10.0.0.7; is refused");
  assert_string_equal(json_string_value(json_array_get(lines, 1)),
                      "www.example.org. in view 'in': expected not in the table; is A 10.0.0.2");
  json_decref(lines);
  json_object_set_new(names, "app.corp.", json_integer(1));
  assert_null(matrix_differences(other, t));
  json_object_clear(other);
  assert_null(matrix_differences(other, t));
  json_decref(other);
  json_decref(t);
}

static snapshot_t *load_big(unsigned in_names)
{
  char text[256];
  snprintf(text, sizeof text, HEAD "$GENERATE 1-%u h$ A 10.0.0.1\n", in_names);
  return load(text);
}

static void matrix_is_bounded(void **state)
{
  (void)state;
  /* two views; corp and both zones of example.org have 6 and 3 distinct pairs of name and type beside h1,
   * h2, ... */
  enum { OTHERS = 6 + 4, MOST = MATRIX_QUESTIONS_MAX / 2 - OTHERS };
  diag_t diag = {""};
  snapshot_t *s = load_big(MOST);
  json_t *t = matrix(s, &diag);
  snapshot_free(s);
  assert_non_null(t);
  json_decref(t);
  s = load_big(MOST + 1);
  assert_null(matrix(s, &diag));
  snapshot_free(s);
  assert_non_null(strstr(diag.text, "at most 200000"));
}

/* Half of the table's questions and some more, in an overlay and in its base alike: each is one question. */
static void names_that_an_overlay_shares_with_its_base_count_once(void **state)
{
  (void)state;
  enum { NAMES = MATRIX_QUESTIONS_MAX / 2 + 1000 };
  char text[256];
  diag_t diag = {""};
  snapshot_t *s;
  write_file("test_explain_over.yaml",
             "listeners:\n  - {address: 127.0.0.1, port: 5300, views: [in]}\n"
             "views:\n  - {name: in, clients: [10.0.0.0/8], zones: [org@over]}\n"
             "zones:\n  - {name: org@base, file: test_explain_over.zone}\n"
             "  - {name: org@over, file: test_explain_over.zone, on_missing: base, base: org@base}\n");
  snprintf(text, sizeof text, HEAD "$GENERATE 1-%u h$ A 10.0.0.1\n", (unsigned)NAMES);
  write_file("test_explain_over.zone", text);
  if (snapshot_load("test_explain_over.yaml", 1, &s, &diag))
    fail_msg("%s", diag.text);
  json_t *t = matrix(s, &diag);
  if (t == NULL)
    fail_msg("%s", diag.text);
  assert_int_equal(json_object_size(json_object_get(t, "names")), NAMES + 2);
  json_decref(t);
  snapshot_free(s);
  unlink("test_explain_over.yaml");
  unlink("test_explain_over.zone");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_step_of_an_answer_is_told),
      cmocka_unit_test(closest_encloser_and_wildcard_are_told),
      cmocka_unit_test(circles_of_aliases_end),
      cmocka_unit_test(refusals_say_what_would_have_to_change),
      cmocka_unit_test(bad_questions_are_named),
      cmocka_unit_test(unknown_listener_is_named_with_those_there_are),
      cmocka_unit_test(matrix_tells_names_by_views),
      cmocka_unit_test(matrix_differences_name_the_cell),
      cmocka_unit_test(matrix_is_bounded),
      cmocka_unit_test(names_that_an_overlay_shares_with_its_base_count_once),
  };
  return cmocka_run_group_tests(tests, up, down);
}
