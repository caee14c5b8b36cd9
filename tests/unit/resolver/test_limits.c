/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration and a master file may hold at most: at the limit it loads, one more is refused with
 * its place. */
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "resolver/limits.h"
#include "resolver/control/matrix.h"
#include "resolver/view/settings.h"
#include "resolver/zone/zone_text.h"

static const char path[] = "test_limits.yaml";

/* The configuration's beginning, `count` items printed by each, its end. */
typedef struct parts {
  const char *before;
  void (*each)(FILE *f, size_t i);
  const char *after;
} parts_t;

static int load(const parts_t *p, size_t count, diag_t *diag)
{
  settings_t s;
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fputs(p->before, f);
  for (size_t i = 0; i < count; i++)
    p->each(f, i);
  fputs(p->after, f);
  fclose(f);
  *diag = (diag_t){""};
  int err = settings_load(path, &s, diag);
  if (!err)
    settings_free(&s);
  unlink(path);
  return err;
}

static void check(const parts_t *p, size_t limit)
{
  diag_t diag;
  if (load(p, limit, &diag))
    fail_msg("%s", diag.text);
  assert_int_not_equal(load(p, limit + 1, &diag), 0);
  if (strncmp(diag.text, path, sizeof path - 1) != 0 || strstr(diag.text, "more than the limit of") == NULL)
    fail_msg("no place or limit in: %s", diag.text);
}

#define VIEW     "views:\n  - {name: v, clients: [127.0.0.0/8], zones: []}\n"
#define LISTENER "listeners:\n  - {address: 127.0.0.1, views: [v]}\n"

static void put_listener(FILE *f, size_t i)
{
  fprintf(f, "  - {address: 127.0.0.1, port: %zu, views: [v]}\n", 1000 + i);
}

static void put_view(FILE *f, size_t i)
{
  fprintf(f, "  - {name: v%zu, clients: [10.%zu.%zu.0/24]}\n", i, i / 256, i % 256);
}

static void put_zone(FILE *f, size_t i)
{
  fprintf(f, "  - {name: z%zu, file: z}\n", i);
}

static void put_worker(FILE *f, size_t i)
{
  (void)f;
  (void)i;
}

static void listeners_views_and_zones_are_limited(void **state)
{
  (void)state;
  check(&(parts_t){"listeners:\n", put_listener, VIEW}, LISTENERS_MAX);
  check(&(parts_t){"views:\n", put_view, "listeners:\n  - {address: 127.0.0.1, views: [v0]}\n"}, VIEWS_MAX);
  check(&(parts_t){LISTENER VIEW "zones:\n", put_zone, ""}, ZONES_MAX);
}

static void numbers_are_limited(void **state)
{
  (void)state;
  static const struct {
    const char *format;
    unsigned limit;
  } cases[] = {{LISTENER VIEW "workers: %u\n", WORKERS_MAX},
               {LISTENER VIEW "query_log: {file: x, sample: %u}\n", QUERY_LOG_SAMPLE_MAX}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    for (unsigned extra = 0; extra < 2; extra++) {
      char text[500];
      diag_t diag;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
      snprintf(text, sizeof text, cases[i].format, cases[i].limit + extra);
#pragma GCC diagnostic pop
      int err = load(&(parts_t){text, put_worker, ""}, 0, &diag);
      assert_int_equal(err != 0, extra);
      assert_int_equal(strstr(diag.text, "test_limits.yaml:5:") != NULL, extra);
    }
  }
}

/* ---- master files ---- */

#define HEAD "$TTL 60\n@ SOA ns a 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n"

static int load_zone(const char *file, const char *text, diag_t *diag)
{
  zone_contents_t *zone;
  dns_name_t origin;
  *diag = (diag_t){""};
  assert_int_equal(dns_name_from_text("org", &origin), 0);
  int err = zone_read_text("org", &origin, file, text, strlen(text), &zone, diag);
  zone_contents_free(zone);
  return err;
}

static void write_file(const char *name, const char *text)
{
  FILE *f = fopen(name, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
}

static void includes_are_limited_in_depth(void **state)
{
  (void)state;
  char name[40];
  char text[40];
  diag_t diag;
  for (unsigned i = 1; i <= ZONE_INCLUDE_DEPTH_MAX + 1; i++) {
    snprintf(name, sizeof name, "test_limits.%u.zone", i);
    snprintf(text, sizeof text, "$INCLUDE test_limits.%u.zone\n", i + 1);
    write_file(name, i <= ZONE_INCLUDE_DEPTH_MAX ? text : "x 60 A 10.0.0.1\n");
  }
  /* from the second file on it is one less deep */
  assert_int_equal(load_zone("test_limits.zone", HEAD "$INCLUDE test_limits.2.zone\n", &diag), 0);
  assert_int_equal(load_zone("test_limits.zone", HEAD "$INCLUDE test_limits.1.zone\n", &diag), SMPL_EINVAL);
  assert_string_equal(diag.text, "test_limits.8.zone:1: expected $INCLUDE at most 8 files deep");
  for (unsigned i = 1; i <= ZONE_INCLUDE_DEPTH_MAX + 1; i++) {
    snprintf(name, sizeof name, "test_limits.%u.zone", i);
    unlink(name);
  }
}

static void includes_are_limited_in_number(void **state)
{
  (void)state;
  static char text[ZONE_INCLUDES_MAX * 40 + 200];
  diag_t diag;
  write_file("test_limits.1.zone", "; nothing\n");
  for (unsigned extra = 0; extra < 2; extra++) {
    size_t at = (size_t)snprintf(text, sizeof text, HEAD);
    for (unsigned i = 1; i < ZONE_INCLUDES_MAX + extra; i++) /* the zone's own file is one */
      at += (size_t)snprintf(text + at, sizeof text - at, "$INCLUDE test_limits.1.zone\n");
    int err = load_zone("test_limits.zone", text, &diag);
    assert_int_equal(err, extra == 0 ? 0 : SMPL_ELIMIT);
  }
  assert_non_null(strstr(diag.text, "at most 1000 files"));
  unlink("test_limits.1.zone");
}

static void generate_is_limited(void **state)
{
  (void)state;
  char text[200];
  diag_t diag;
  for (unsigned extra = 0; extra < 2; extra++) {
    snprintf(text, sizeof text, HEAD "$GENERATE 1-%u a$ A 10.0.0.1\n", ZONE_GENERATE_MAX + extra);
    assert_int_equal(load_zone("test_limits.zone", text, &diag) != 0, extra);
  }
  assert_non_null(strstr(diag.text, "test_limits.zone:5: "));
}

static void ttls_are_limited(void **state)
{
  (void)state;
  diag_t diag;
  assert_int_equal(load_zone("z", HEAD "a 2147483647 A 10.0.0.1\n", &diag), 0);
  assert_int_not_equal(load_zone("z", HEAD "a 2147483648 A 10.0.0.1\n", &diag), 0);
  assert_string_equal(diag.text, "z:5: expected a TTL from 0 to 2147483647 seconds, got '2147483648'");
}

/* Sparse, so that nothing is written; read up to the limit it would be a gigabyte. */
static void files_are_limited(void **state)
{
  (void)state;
  zone_contents_t *zone;
  dns_name_t origin;
  diag_t diag = {""};
  int fd = open("test_limits.big.zone", O_CREAT | O_RDWR | O_TRUNC, 0644);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, (off_t)ZONE_FILE_MAX + 1), 0);
  close(fd);
  assert_int_equal(dns_name_from_text("org", &origin), 0);
  assert_int_equal(zone_read_file("org", &origin, "test_limits.big.zone", &zone, &diag), SMPL_ELIMIT);
  assert_non_null(strstr(diag.text, "test_limits.big.zone"));
  unlink("test_limits.big.zone");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(listeners_views_and_zones_are_limited),
      cmocka_unit_test(numbers_are_limited),
      cmocka_unit_test(includes_are_limited_in_depth),
      cmocka_unit_test(includes_are_limited_in_number),
      cmocka_unit_test(generate_is_limited),
      cmocka_unit_test(ttls_are_limited),
      cmocka_unit_test(files_are_limited),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
