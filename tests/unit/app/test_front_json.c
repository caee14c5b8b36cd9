/* SPDX-License-Identifier: Apache-2.0 */
/* app/http/json_text.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "app/http/json_text.h"

static void numbers_are_written_short_and_read_back_the_same(void **state)
{
  (void)state;
  static const char *const texts[] = {"[0.1,2.5,1e300,-0.001]",
                                      "{\"a\":[{\"b\":0.3}],\"n\":9007199254740993}", "[0.30000000000000004]",
                                      "[5e-324,1.7976931348623157e308]"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    char *text = json_text(json);
    json_t *back = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_true(json_equal(json, back));
    json_decref(back);
    json_decref(json);
    free(text);
  }
  json_t *tenth = json_real(0.1);
  char *text = json_text(tenth);
  assert_string_equal(text, "0.1");
  free(text);
  json_decref(tenth);
  assert_null(json_text(NULL));
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(numbers_are_written_short_and_read_back_the_same)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
