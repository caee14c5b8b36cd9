/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/json_text.h"

#include <stdio.h>
#include <stdlib.h>

enum {
  DIGITS_LEAST = 15, /* every decimal of 15 digits survives a double */
  DIGITS_MOST = 17,  /* every double survives a decimal of 17 digits */
};

static int digits_of(double value)
{
  char text[40];
  int digits = DIGITS_LEAST;
  for (; digits < DIGITS_MOST; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value)
      break;
  }
  return digits;
}

/* The most digits that a number in the document needs. The depth is bounded where documents come in. */
static int digits_needed(const json_t *json)
{
  int most = DIGITS_LEAST;
  if (json_is_real(json))
    return digits_of(json_real_value(json));
  if (json_is_array(json)) {
    for (size_t i = 0; i < json_array_size(json) && most < DIGITS_MOST; i++) {
      int digits = digits_needed(json_array_get(json, i));
      most = digits > most ? digits : most;
    }
  } else if (json_is_object(json)) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
      int digits = digits_needed(value);
      most = digits > most ? digits : most;
    }
  }
  return most;
}

char *json_text(const json_t *json)
{
  return json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits_needed(json)));
}
