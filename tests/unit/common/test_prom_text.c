/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/prom_text.h"

static void a_number_is_its_head_and_one_sample(void **state)
{
  char *text = NULL;
  size_t len = 0;
  (void)state;
  FILE *f = open_memstream(&text, &len);
  prom_number(f, "x_seconds", "gauge", "How long.", 0.25);
  prom_count(f, "x_total", "counter", "How many.", UINT64_MAX);
  prom_head(f, "y", "histogram", "Of times.");
  fclose(f);
  assert_string_equal(text, "# HELP x_seconds How long.\n# TYPE x_seconds gauge\nx_seconds 0.25\n"
                            "# HELP x_total How many.\n# TYPE x_total counter\nx_total 18446744073709551615\n"
                            "# HELP y Of times.\n# TYPE y histogram\n");
  free(text);
}

static void a_labels_value_cannot_end_its_line_or_its_quotes(void **state)
{
  char *text = NULL;
  size_t len = 0;
  (void)state;
  FILE *f = open_memstream(&text, &len);
  prom_label(f, "a\"b\\c\nd");
  fclose(f);
  assert_string_equal(text, "\"a\\\"b\\\\c\\nd\"");
  free(text);
}

static void every_program_says_the_same_of_itself(void **state)
{
  prom_program_t p = {.prefix = "smpl_x", .label = "service", .value = "config", .started_ms = 1500};
  char *text = NULL;
  size_t len = 0;
  (void)state;
  prom_reloaded(&p, true, 2500);
  prom_reloaded(&p, true, 3500);
  prom_reloaded(&p, false, 4500);
  FILE *f = open_memstream(&text, &len);
  prom_program(f, &p);
  fclose(f);
  static const char *const lines[] = {"\nsmpl_x_build_info{version=\"",
                                      "\",service=\"config\"} 1\n",
                                      "\nsmpl_x_start_time_seconds 1.5\n",
                                      "\nsmpl_x_reloads_total{result=\"ok\"} 2\n",
                                      "\nsmpl_x_reloads_total{result=\"failed\"} 1\n",
                                      "\nsmpl_x_last_reload_successful 0\n",
                                      "\nsmpl_x_config_loaded_timestamp_seconds 3.5\n"};
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    if (strstr(text, lines[i]) == NULL)
      fail_msg("no %s in\n%s", lines[i], text);
  free(text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_number_is_its_head_and_one_sample),
      cmocka_unit_test(every_program_says_the_same_of_itself),
      cmocka_unit_test(a_labels_value_cannot_end_its_line_or_its_quotes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
