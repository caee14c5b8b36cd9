/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/reference.h"

#include <stdlib.h>
#include <string.h>

#include "common/conf/manual.h"

enum { VALUE_MAX = 128, PREFIX_MAX = 128 };

static void print_type(const conf_field_t *f, FILE *to)
{
  static const char *const before[] = {
      [CONF_ONE] = "",          [CONF_MANY] = "a list of: ",        [CONF_ONE_OR_MANY] = "one or a list of: ",
      [CONF_MAP] = "a mapping", [CONF_MAPS] = "a list of mappings", [CONF_ONE_OR_MAP] = "",
  };
  fputs(before[f->shape], to);
  if (f->scalar != NULL)
    manual_print_text(f->scalar->expected, to);
  if (f->shape == CONF_ONE_OR_MAP) {
    manual_print_text(f->map->fields[0].scalar->expected, to);
    fputs(", or a mapping", to);
  }
}

static void print_bounds(const conf_field_t *f, FILE *to)
{
  char lo[VALUE_MAX], hi[VALUE_MAX];
  bool number = f->scalar != NULL && f->scalar->is_number;
  if (f->most != 0)
    fprintf(to, "; at most %zu items", f->most);
  if (!number || (f->min == 0 && f->max == 0))
    return;
  f->scalar->format(&f->min, lo, sizeof lo);
  f->scalar->format(&f->max, hi, sizeof hi);
  if (f->max == 0)
    fprintf(to, ", at least %s", lo);
  else
    fprintf(to, ", from %s to %s", lo, hi);
}

/* Zero is a default only where that is a value by itself: nothing at all and 0 look alike. */
static bool is_zero(const void *value, size_t size)
{
  const unsigned char *bytes = value;
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != 0)
      return false;
  return true;
}

static void print_default(const conf_field_t *f, const void *value, FILE *to)
{
  char text[VALUE_MAX];
  if (f->required) {
    fputs("; required", to);
    return;
  }
  if (f->shape != CONF_ONE || f->scalar->format == NULL || f->is_private ||
      (f->scalar != &conf_bool && is_zero(value, f->scalar->size)))
    return;
  fputs("; default ", to);
  manual_print_text(f->scalar->format(value, text, sizeof text), to);
}

static void print_map(const conf_map_t *map, const char *prefix, bool fixed, FILE *to);

static void print_field(const conf_field_t *f, const char *prefix, const void *value, bool fixed, FILE *to)
{
  char inner[PREFIX_MAX];
  fputc('*', to);
  manual_print_text(prefix, to);
  manual_print_text(f->key, to);
  fputs("* (", to);
  print_type(f, to);
  print_bounds(f, to);
  print_default(f, value, to);
  fputs(f->fixed || fixed ? "; a change needs a restart)\n" : ")\n", to);
  if (f->doc != NULL && f->doc[0] != '\0')
    manual_print_sentence(f->doc, to);
  else
    fputc('\n', to);
  if (f->map == NULL)
    return;
  snprintf(inner, sizeof inner, "%s%s%s.", prefix, f->key, f->shape == CONF_MAPS ? "[]" : "");
  print_map(f->map, inner, f->fixed || fixed, to);
}

static void print_map(const conf_map_t *map, const char *prefix, bool fixed, FILE *to)
{
  char *values = calloc(1, map->size);
  if (values == NULL)
    return;
  if (map->defaults != NULL)
    map->defaults(values);
  for (size_t i = 0; i < map->count; i++)
    print_field(&map->fields[i], prefix, values + map->fields[i].offset, fixed, to);
  free(values);
}

void conf_reference_print(const conf_map_t *map, FILE *to)
{
  print_map(map, "", false, to);
}

/* ---- what is wrong with a table ---- */

static bool can_compare(const conf_field_t *f)
{
  if (f->map == NULL)
    return f->scalar->same != NULL;
  for (size_t i = 0; i < f->map->count; i++)
    if (!can_compare(&f->map->fields[i]))
      return false;
  return true;
}

static bool is_twice(const conf_map_t *map, size_t at)
{
  for (size_t i = 0; i < at; i++)
    if (strcmp(map->fields[i].key, map->fields[at].key) == 0)
      return true;
  return false;
}

const char *conf_reference_flaw(const conf_map_t *map, char *buf, size_t cap)
{
  for (size_t i = 0; i < map->count; i++) {
    const conf_field_t *f = &map->fields[i];
    bool said =
        f->doc != NULL && f->doc[0] != '\0' && strlen(f->doc) <= CONF_DOC_MAX && strchr(f->doc, '\n') == NULL;
    bool bounded = f->min != 0 || f->max != 0, number = f->scalar != NULL && f->scalar->is_number;
    const char *flaw = is_twice(map, i)              ? "the key is there twice"
                       : !said                       ? "doc is not one line"
                       : bounded && !number          ? "min or max of what is no number"
                       : f->fixed && !can_compare(f) ? "fixed, and the values cannot be compared"
                                                     : NULL;
    if (flaw != NULL) {
      snprintf(buf, cap, "%s: %s: %s", map->what, f->key, flaw);
      return buf;
    }
    if (f->map != NULL && conf_reference_flaw(f->map, buf, cap) != NULL)
      return buf;
  }
  return NULL;
}
