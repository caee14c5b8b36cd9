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

static void a_sample_has_its_labels_and_none_can_end_its_line_or_its_quotes(void **state)
{
  char *text = NULL;
  size_t len = 0;
  (void)state;
  FILE *f = open_memstream(&text, &len);
  prom_sample(f, "x", UINT64_MAX, NULL);
  prom_sample(f, "x", 1, "a", "one", NULL);
  prom_sample_real(f, "x", 0.25, "a", NULL, "b", "a\"b\\c\nd", NULL);
  fclose(f);
  assert_string_equal(text, "x 18446744073709551615\nx{a=\"one\"} 1\nx{a=\"\",b=\"a\\\"b\\\\c\\nd\"} 0.25\n");
  free(text);
}

static void a_histogram_adds_up_its_counts(void **state)
{
  static const uint64_t bounds[] = {10, 2500}, counts[] = {1, 2, 4};
  char *text = NULL;
  size_t len = 0;
  (void)state;
  FILE *f = open_memstream(&text, &len);
  prom_histogram_t h = {.bounds = bounds, .counts = counts, .buckets = 3, .units = 1e6, .sum = 1500000};
  prom_histogram(f, "x", NULL, NULL, &h);
  prom_histogram(f, "y", "at", "z", &h);
  fclose(f);
  assert_string_equal(text, "x_bucket{le=\"1e-05\"} 1\nx_bucket{le=\"0.0025\"} 3\nx_bucket{le=\"+Inf\"} 7\n"
                            "x_sum 1.5\nx_count 7\n"
                            "y_bucket{at=\"z\",le=\"1e-05\"} 1\ny_bucket{at=\"z\",le=\"0.0025\"} 3\n"
                            "y_bucket{at=\"z\",le=\"+Inf\"} 7\ny_sum{at=\"z\"} 1.5\ny_count{at=\"z\"} 7\n");
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
      cmocka_unit_test(a_sample_has_its_labels_and_none_can_end_its_line_or_its_quotes),
      cmocka_unit_test(a_histogram_adds_up_its_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
