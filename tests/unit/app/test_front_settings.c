/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the configuration file: complete, and the manual page says what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/program/settings_file.h"
#include "common/conf/reference.h"

enum { PAGE_MAX = 64 << 10, PARAGRAPH_MAX = 4096 };

static char page[PAGE_MAX];

static int read_page(void **state)
{
  (void)state;
  FILE *f = fopen(PAGE, "r");
  if (f == NULL)
    return -1;
  size_t len = fread(page, 1, sizeof page - 1, f);
  fclose(f);
  page[len] = '\0';
  return len > 0 && len < sizeof page - 1 ? 0 : -1;
}

static void each_row_is_complete(void **state)
{
  char flaw[256];
  (void)state;
  const char *found = conf_reference_flaw(&settings_file_map, flaw, sizeof flaw);
  if (found != NULL)
    fail_msg("%s", found);
}

/* What the page has of a key of the file's first level: its paragraph. */
static void paragraph(const char *key, char out[PARAGRAPH_MAX])
{
  char begin[64];
  snprintf(begin, sizeof begin, "\n\n*%s*", key);
  const char *at = strstr(page, begin);
  if (at == NULL) {
    fail_msg("the page lacks %s", key);
    return;
  }
  const char *end = strstr(at + 2, "\n\n");
  snprintf(out, PARAGRAPH_MAX, "%.*s", end != NULL ? (int)(end - at) : PARAGRAPH_MAX, at);
}

static void the_page_says_what_needs_a_restart(void **state)
{
  size_t fixed = 0;
  (void)state;
  for (size_t i = 0; i < settings_file_map.count; i++) {
    const conf_field_t *f = &settings_file_map.fields[i];
    char text[PARAGRAPH_MAX] = "";
    paragraph(f->key, text);
    bool said =
        strstr(text, "Needs a restart.") != NULL || strstr(text, "with another one is refused") != NULL;
    if (said != f->fixed)
      fail_msg("%s: the page and its row do not agree on whether a change needs a restart", f->key);
    fixed += f->fixed;
  }
  assert_true(fixed > 3 && fixed < settings_file_map.count);
}

/* "*free_bind* (true)": of true and false, as the rows have it. */
static void the_page_says_the_defaults(void **state)
{
  settings_file_t file = {.service = NULL};
  size_t switches = 0;
  (void)state;
  settings_file_map.defaults(&file);
  for (size_t i = 0; i < settings_file_map.count; i++) {
    const conf_field_t *f = &settings_file_map.fields[i];
    char wanted[64];
    if (f->scalar != &conf_bool)
      continue;
    bool value = *(const bool *)((const char *)&file + f->offset);
    snprintf(wanted, sizeof wanted, "\n*%s* (%s)\n", f->key, value ? "true" : "false");
    if (strstr(page, wanted) == NULL)
      fail_msg("the page lacks:%s", wanted);
    switches++;
  }
  assert_int_equal(switches, 2);
  char limits[128];
  snprintf(limits, sizeof limits,
           "*rate_limit* ({requests: %llu, burst: ", (unsigned long long)file.rate.requests);
  assert_non_null(strstr(page, limits));
  snprintf(limits, sizeof limits, "*drain* ({lag: %llus, finish: %llus})",
           (unsigned long long)file.drain.lag / 1000, (unsigned long long)file.drain.finish / 1000);
  assert_non_null(strstr(page, limits));
}

/* Keys inside others stand in the page by their own name. */
static void find_inner(const conf_map_t *map)
{
  for (size_t i = 0; i < map->count; i++) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "*%s*", map->fields[i].key);
    char braced[64];
    snprintf(braced, sizeof braced, "%s:", map->fields[i].key);
    if (strstr(page, wanted) == NULL && strstr(page, braced) == NULL)
      fail_msg("the page lacks %s, of %s", map->fields[i].key, map->what);
    if (map->fields[i].map != NULL)
      find_inner(map->fields[i].map);
  }
}

static void the_page_has_every_key(void **state)
{
  (void)state;
  find_inner(&settings_file_map);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_row_is_complete),
      cmocka_unit_test(the_page_says_what_needs_a_restart),
      cmocka_unit_test(the_page_says_the_defaults),
      cmocka_unit_test(the_page_has_every_key),
  };
  return cmocka_run_group_tests(tests, read_page, NULL);
}
