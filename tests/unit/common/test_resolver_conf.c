/* SPDX-License-Identifier: Apache-2.0 */
/* common/dns/resolver_conf.h: the one reading of `resolver:`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/dns/resolver_conf.h"

typedef struct file {
  resolver_conf_t resolver;
} file_t;

static const conf_field_t fields[] = {
    {"resolver", CONF_MAP, offsetof(file_t, resolver), .map = &resolver_conf_map},
};
static const conf_map_t map = {"the file", sizeof(file_t), fields, COUNT_OF(fields), NULL};

static int load(const char *text, file_t *out, conf_t **conf, diag_t *diag)
{
  int err = conf_parse("t.yaml", text, strlen(text), &map, out, conf, diag);
  return err ? err : resolver_conf_check(*conf, &out->resolver, diag);
}

static void servers_and_source_are_read_and_handed_to_lookups(void **state)
{
  (void)state;
  file_t file;
  conf_t *conf = NULL;
  diag_t diag = {{0}};
  assert_int_equal(load("resolver: {servers: ['10.0.0.1:53', '10.0.0.2:53', '10.0.0.3:53', '10.0.0.4:53'], "
                        "source: 10.0.0.9}\n",
                        &file, &conf, &diag),
                   SMPL_OK);
  lookup_conf_t lookup = resolver_conf_lookup(&file.resolver);
  assert_int_equal(lookup.server_count, LOOKUP_SERVERS_MAX);
  assert_int_equal(lookup.servers[3].port, 53);
  assert_ptr_equal(lookup.source, &file.resolver.source);
  conf_free(conf);
  assert_int_equal(load("resolver: {servers: ['[::1]:5300', '127.0.0.1:5300']}\n", &file, &conf, &diag),
                   SMPL_OK);
  assert_null(resolver_conf_lookup(&file.resolver).source);
  conf_free(conf);
}

static void what_cannot_be_asked_is_refused_where_it_stands(void **state)
{
  (void)state;
  static const char *const bad[][2] = {
      {"resolver: {servers: ['10.0.0.1:0']}\n", ": resolver: a server's port is from 1 to 65535, got 0"},
      {"resolver: {servers: ['10.0.0.1:53', '10.0.0.2:53', '10.0.0.1:53']}\n",
       ": resolver: 10.0.0.1:53 is there twice"},
      {"resolver: {servers: ['10.0.0.1:53', '[fd00::1]:53'], source: 10.0.0.9}\n",
       ": resolver: [fd00::1]:53 cannot be asked from 10.0.0.9, an address of the other family"},
      {"resolver: {servers: ['10.0.0.1:53', '10.0.0.2:53', '10.0.0.3:53', '10.0.0.4:53', '10.0.0.5:53']}\n",
       "5 items, more than the limit of 4"},
      {"resolver: {servers: []}\n", "servers"},
      {"resolver: {source: 10.0.0.9}\n", "servers"},
  };
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    file_t file;
    conf_t *conf = NULL;
    diag_t diag = {{0}};
    assert_int_not_equal(load(bad[i][0], &file, &conf, &diag), SMPL_OK);
    assert_memory_equal(diag.text, "t.yaml:1:", 9);
    if (strstr(diag.text, bad[i][1]) == NULL)
      fail_msg("'%s' is not in '%s'", bad[i][1], diag.text);
    conf_free(conf);
  }
}

static void equal_keys_are_the_same(void **state)
{
  (void)state;
  static const char *const texts[] = {"resolver: {servers: ['10.0.0.1:53', '10.0.0.2:53']}\n",
                                      "resolver: {servers: ['10.0.0.2:53', '10.0.0.1:53']}\n",
                                      "resolver: {servers: ['10.0.0.1:53']}\n",
                                      "resolver: {servers: ['10.0.0.1:53'], source: 10.0.0.9}\n",
                                      "resolver: {servers: ['10.0.0.1:53'], source: 10.0.0.8}\n"};
  enum { COUNT = COUNT_OF(texts) };
  file_t files[COUNT], again;
  conf_t *confs[COUNT], *conf;
  diag_t diag = {{0}};
  for (size_t i = 0; i < COUNT; i++)
    assert_int_equal(load(texts[i], &files[i], &confs[i], &diag), SMPL_OK);
  for (size_t i = 0; i < COUNT; i++) {
    assert_int_equal(load(texts[i], &again, &conf, &diag), SMPL_OK);
    for (size_t k = 0; k < COUNT; k++)
      assert_int_equal(resolver_conf_same(&again.resolver, &files[k].resolver), i == k);
    conf_free(conf);
  }
  for (size_t i = 0; i < COUNT; i++)
    conf_free(confs[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(servers_and_source_are_read_and_handed_to_lookups),
      cmocka_unit_test(what_cannot_be_asked_is_refused_where_it_stands),
      cmocka_unit_test(equal_keys_are_the_same),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
