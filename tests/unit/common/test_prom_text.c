#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "common/prom_text.h"

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_number_is_its_head_and_one_sample),
      cmocka_unit_test(a_labels_value_cannot_end_its_line_or_its_quotes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
