/* SPDX-License-Identifier: Apache-2.0 */
/* common/conf/fixed.h and common/conf/reference.h: what a reload cannot change, and what a manual page says
 * of a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/ip.h"
#include "common/conf/fixed.h"
#include "common/conf/reference.h"

typedef struct listener {
  endpoint_t address;
  conf_list_t views;
} listener_t;

typedef struct limits {
  uint64_t grace, channels;
} limits_t;

typedef struct example {
  conf_list_t listeners;
  limits_t limits;
  limits_t frozen;
  const char *control;
  conf_list_t names;
  bool pin, loud;
  uint64_t odd;
} example_t;

static const conf_field_t listener_fields[] = {
    {"address", CONF_ONE, offsetof(listener_t, address), .scalar = &conf_endpoint, .required = true,
     .fixed = true, .doc = "where it listens"},
    {"views", CONF_MANY, offsetof(listener_t, views), .scalar = &conf_string, .most = 8,
     .doc = "what is seen"},
};
static const conf_map_t listener_map = {"a listener", sizeof(listener_t), listener_fields,
                                        COUNT_OF(listener_fields), NULL};

static const conf_field_t limits_fields[] = {
    {"grace", CONF_ONE, offsetof(limits_t, grace), .scalar = &conf_duration, .min = 1000, .max = 60000,
     .doc = "how long a client may take"},
    {"channels", CONF_ONE, offsetof(limits_t, channels), .scalar = &conf_uint, .min = 1, .max = 256,
     .fixed = true, .doc = "how many at once"},
};

static void limits_defaults(void *out)
{
  *(limits_t *)out = (limits_t){30000, 64};
}

static const conf_map_t limits_map = {"limits", sizeof(limits_t), limits_fields, COUNT_OF(limits_fields),
                                      limits_defaults};

static int parse_odd(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  *(uint64_t *)out = text[len - 1] == '1';
  return SMPL_OK;
}

/* A scalar that nobody can compare. */
static const conf_scalar_t odd_scalar = {.expected = "an odd_thing",
                                         .size = sizeof(uint64_t),
                                         .parse = parse_odd};

static const conf_field_t example_fields[] = {
    {"listeners", CONF_MAPS, offsetof(example_t, listeners), .map = &listener_map, .required = true,
     .most = 4, .doc = "who is served"},
    {"limits", CONF_MAP, offsetof(example_t, limits), .map = &limits_map, .doc = "how much"},
    {"frozen", CONF_MAP, offsetof(example_t, frozen), .map = &limits_map, .fixed = true, .doc = "as it was"},
    {"control", CONF_ONE, offsetof(example_t, control), .scalar = &conf_string, .fixed = true,
     .doc = "the socket"},
    {"names", CONF_ONE_OR_MANY, offsetof(example_t, names), .scalar = &conf_string, .fixed = true,
     .doc = "all <of> them"},
    {"pin", CONF_ONE, offsetof(example_t, pin), .scalar = &conf_bool, .fixed = true, .doc = "binds threads"},
    {"loud", CONF_ONE, offsetof(example_t, loud), .scalar = &conf_bool, .doc = "says more"},
    {"odd", CONF_ONE, offsetof(example_t, odd), .scalar = &odd_scalar, .doc = "is odd"},
};

static void example_defaults(void *out)
{
  example_t *e = out;
  e->control = "./x.sock";
  limits_defaults(&e->limits);
  limits_defaults(&e->frozen);
}

static const conf_map_t example_map = {"the configuration", sizeof(example_t), example_fields,
                                       COUNT_OF(example_fields), example_defaults};

static conf_t *load(const char *text, example_t *out)
{
  conf_t *conf = NULL;
  diag_t diag = {""};
  if (conf_parse("x.yaml", text, strlen(text), &example_map, out, &conf, &diag) != SMPL_OK)
    fail_msg("%s", diag.text);
  return conf;
}

static const char *compare(const char *before, const char *after)
{
  static diag_t diag;
  example_t was, is;
  conf_t *old = load(before, &was), *fresh = load(after, &is);
  diag.text[0] = '\0';
  int err = conf_fixed_check(fresh, &example_map, &was, &is, &diag);
  assert_int_equal(err, diag.text[0] != '\0' ? SMPL_EINVAL : SMPL_OK);
  assert_true((conf_fixed_each(&example_map, &was, &is, NULL, NULL) > 0) == (err != SMPL_OK));
  conf_free(old);
  conf_free(fresh);
  return diag.text;
}

#define ONE "listeners: [{address: \"127.0.0.1:53\", views: [a]}]\n"

static void what_may_change_is_let_through(void **state)
{
  (void)state;
  assert_string_equal(compare(ONE, ONE), "");
  assert_string_equal(compare(ONE, "listeners: [{address: \"127.0.0.1:53\", views: [b, c]}]\n"), "");
  assert_string_equal(compare(ONE "loud: false\n", ONE "loud: true\n"), "");
  assert_string_equal(compare(ONE "limits: {grace: 2s}\n", ONE "limits: {grace: 3s}\n"), "");
  assert_string_equal(compare(ONE "odd: 1\n", ONE "odd: 2\n"), "");
}

static void the_same_value_written_otherwise_is_no_change(void **state)
{
  (void)state;
  assert_string_equal(compare(ONE, ONE "control: ./x.sock\n"), "");
  assert_string_equal(compare(ONE, ONE "limits: {channels: 64}\n"), "");
  assert_string_equal(compare(ONE "frozen: {grace: 60s}\n", ONE "frozen: {grace: 1m}\n"), "");
  assert_string_equal(compare(ONE "names: a\n", ONE "names: [a]\n"), "");
}

static void a_change_of_what_is_fixed_names_its_place(void **state)
{
  (void)state;
  assert_string_equal(compare(ONE, ONE "control: other\n"), "x.yaml:2:10: control: a change needs a restart");
  assert_string_equal(compare(ONE, ONE "pin: true\n"), "x.yaml:2:6: pin: a change needs a restart");
  assert_string_equal(compare(ONE, ONE "limits:\n  channels: 65\n"),
                      "x.yaml:3:13: channels: a change needs a restart");
  assert_string_equal(compare(ONE, "listeners: [{address: \"127.0.0.1:54\", views: [a]}]\n"),
                      "x.yaml:1:24: address: a change needs a restart");
}

static void a_key_that_is_gone_names_the_file(void **state)
{
  (void)state;
  assert_string_equal(compare(ONE "pin: true\n", ONE), "x.yaml: pin: a change needs a restart");
  assert_string_equal(compare(ONE "names: [a]\n", ONE), "x.yaml: names: a change needs a restart");
}

static void all_inside_a_fixed_mapping_and_list_is_fixed(void **state)
{
  (void)state;
  assert_string_equal(compare(ONE, ONE "frozen: {grace: 2s}\n"),
                      "x.yaml:2:17: frozen: a change needs a restart");
  assert_string_equal(compare(ONE "names: [a, b]\n", ONE "names: [a]\n"),
                      "x.yaml:2:1: names: a change needs a restart");
  assert_string_equal(compare(ONE "names: [a, b]\n", ONE "names: [b, a]\n"),
                      "x.yaml:2:1: names: a change needs a restart");
}

static void another_number_of_mappings_with_something_fixed_is_a_change(void **state)
{
  (void)state;
  assert_string_equal(compare(ONE, "listeners:\n"
                                   "  - {address: \"127.0.0.1:53\", views: [a]}\n"
                                   "  - {address: \"127.0.0.2:53\", views: [a]}\n"),
                      "x.yaml:1:1: listeners: a change needs a restart");
}

static void each_change_is_told(void **state)
{
  (void)state;
  example_t was, is;
  conf_t *old = load(ONE, &was),
         *fresh = load(ONE "pin: true\ncontrol: y\nlimits: {channels: 1}\nloud: true\n", &is);
  assert_int_equal(conf_fixed_each(&example_map, &was, &is, NULL, NULL), 3);
  conf_free(old);
  conf_free(fresh);
}

/* Fails closed: whoever writes such a row sees it at the first reload, and in the table's own test before. */
static void what_cannot_be_compared_counts_as_changed(void **state)
{
  (void)state;
  const conf_field_t fields[] = {{"odd", CONF_ONE, 0, .scalar = &odd_scalar, .fixed = true, .doc = "is odd"}};
  const conf_map_t map = {"odd", sizeof(uint64_t), fields, COUNT_OF(fields), NULL};
  uint64_t was = 1, is = 1;
  char flaw[DIAG_TEXT_MAX];
  assert_int_equal(conf_fixed_each(&map, &was, &is, NULL, NULL), 1);
  assert_string_equal(conf_reference_flaw(&map, flaw, sizeof flaw),
                      "odd: odd: fixed, and the values cannot be compared");
}

static char *reference(const conf_map_t *map)
{
  char *out = NULL;
  size_t len = 0;
  FILE *to = open_memstream(&out, &len);
  assert_non_null(to);
  conf_reference_print(map, to);
  fclose(to);
  return out;
}

static void a_reference_has_type_bounds_default_and_what_needs_a_restart(void **state)
{
  (void)state;
  char *text = reference(&example_map);
  static const char *const lines[] = {
      "*listeners* (a list of mappings; at most 4 items; required)\n\tWho is served.\n",
      "*listeners[].address* (an address with port such as 127.0.0.1:53 or [::1]:53; required; a change "
      "needs a "
      "restart)\n\tWhere it listens.\n",
      "*listeners[].views* (a list of: text; at most 8 items)\n\tWhat is seen.\n",
      "*limits.grace* (a duration such as 500ms, 30s, 20m or 8h, from 1s to 1m; default 30s)\n",
      "*limits.channels* (a whole number, from 1 to 256; default 64; a change needs a restart)\n",
      "*frozen* (a mapping; a change needs a restart)\n",
      "*frozen.grace* (a duration such as 500ms, 30s, 20m or 8h, from 1s to 1m; default 30s; a change needs "
      "a "
      "restart)\n",
      "*control* (text; default ./x.sock; a change needs a restart)\n",
      "*names* (one or a list of: text; a change needs a restart)\n\tAll \\<of\\> them.\n",
      "*pin* (true or false; default false; a change needs a restart)\n",
      "*odd* (an odd\\_thing)\n",
  };
  for (size_t i = 0; i < COUNT_OF(lines); i++)
    if (strstr(text, lines[i]) == NULL)
      fail_msg("missing: %s in:\n%s", lines[i], text);
  free(text);
}

static void a_table_without_documentation_is_found(void **state)
{
  (void)state;
  char flaw[DIAG_TEXT_MAX];
  assert_null(conf_reference_flaw(&example_map, flaw, sizeof flaw));
  conf_field_t fields[] = {{"a", CONF_ONE, 0, .scalar = &conf_bool, .doc = "does"},
                           {"b", CONF_ONE, 1, .scalar = &conf_bool}};
  const conf_map_t map = {"m", 2, fields, COUNT_OF(fields), NULL};
  assert_string_equal(conf_reference_flaw(&map, flaw, sizeof flaw), "m: b: doc is not one line");
  fields[1].doc = "two\nlines";
  assert_string_equal(conf_reference_flaw(&map, flaw, sizeof flaw), "m: b: doc is not one line");
  fields[1].doc = "does";
  fields[1].max = 2;
  assert_string_equal(conf_reference_flaw(&map, flaw, sizeof flaw), "m: b: min or max of what is no number");
  fields[1] = fields[0];
  assert_string_equal(conf_reference_flaw(&map, flaw, sizeof flaw), "m: a: the key is there twice");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_may_change_is_let_through),
      cmocka_unit_test(the_same_value_written_otherwise_is_no_change),
      cmocka_unit_test(a_change_of_what_is_fixed_names_its_place),
      cmocka_unit_test(a_key_that_is_gone_names_the_file),
      cmocka_unit_test(all_inside_a_fixed_mapping_and_list_is_fixed),
      cmocka_unit_test(another_number_of_mappings_with_something_fixed_is_a_change),
      cmocka_unit_test(each_change_is_told),
      cmocka_unit_test(what_cannot_be_compared_counts_as_changed),
      cmocka_unit_test(a_reference_has_type_bounds_default_and_what_needs_a_restart),
      cmocka_unit_test(a_table_without_documentation_is_found),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
