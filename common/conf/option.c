/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/option.h"

#include <string.h>

#include "common/conf/manual.h"

enum { HELP_COLUMN = 29, SHOWN_MAX = 96 };

const option_row_t *option_at(const option_set_t *set, size_t i)
{
  return (const option_row_t *)((const char *)set->rows + i * set->stride);
}

const void *option_find(const option_set_t *set, int letter)
{
  for (size_t i = 0; i < set->count; i++)
    if (option_at(set, i)->letter == letter)
      return option_at(set, i);
  return NULL;
}

bool option_is_optional(const option_row_t *row)
{
  return row->arg != NULL && strncmp(row->arg, "[=", 2) == 0;
}

bool option_takes_file(const option_row_t *row)
{
  return row->arg != NULL && strcmp(row->arg, "FILE") == 0;
}

static bool has_letter(const option_row_t *row)
{
  return row->letter < OPTION_LONG;
}

void option_table(const option_set_t *set, option_table_t *out)
{
  char *letters = out->letters;
  *out = (option_table_t){0};
  *letters++ = ':';
  for (size_t i = 0; i < set->count && i < OPTION_ROWS_MAX; i++) {
    const option_row_t *row = option_at(set, i);
    int has = row->arg == NULL          ? no_argument
              : option_is_optional(row) ? optional_argument
                                        : required_argument;
    out->longs[i] = (struct option){row->name, has, NULL, row->letter};
    if (!has_letter(row))
      continue;
    *letters++ = (char)row->letter;
    if (row->arg != NULL)
      *letters++ = ':';
  }
}

void option_store(const option_row_t *row, const char *value, void *out)
{
  char *at = (char *)out + row->at;
  if (row->arg == NULL)
    *(bool *)at = true;
  else
    *(const char **)at = value != NULL ? value : "";
}

/* ---- texts ---- */

static void print_row(const option_row_t *row, FILE *to)
{
  char shown[SHOWN_MAX];
  int n = snprintf(shown, sizeof shown, "  %c%c%s--%s%s%s", has_letter(row) ? '-' : ' ',
                   has_letter(row) ? (char)row->letter : ' ', has_letter(row) ? ", " : "  ", row->name,
                   row->arg != NULL && !option_is_optional(row) ? " " : "", row->arg != NULL ? row->arg : "");
  if (n + 1 < HELP_COLUMN)
    fprintf(to, "%-*s%s\n", HELP_COLUMN, shown, row->help);
  else
    fprintf(to, "%s\n%-*s%s\n", shown, HELP_COLUMN, "", row->help);
}

void option_print_usage(const option_set_t *set, FILE *to)
{
  for (size_t i = 0; i < set->count; i++)
    if (option_at(set, i)->help != NULL)
      print_row(option_at(set, i), to);
}

void option_print_manual(const option_set_t *set, FILE *to)
{
  for (size_t i = 0; i < set->count; i++) {
    const option_row_t *row = option_at(set, i);
    if (row->help == NULL)
      continue;
    if (has_letter(row))
      fprintf(to, "*-%c*, ", (char)row->letter);
    fprintf(to, "*--%s*%s", row->name, row->arg != NULL && !option_is_optional(row) ? " " : "");
    manual_print_syntax(row->arg != NULL ? row->arg : "", to);
    fputc('\n', to);
    manual_print_sentence(row->help, to);
  }
}

/* ---- what is wrong with a table ---- */

static bool is_twice(const option_set_t *set, size_t at)
{
  const option_row_t *row = option_at(set, at);
  for (size_t i = 0; i < at; i++) {
    const option_row_t *other = option_at(set, i);
    if (other->letter == row->letter || strcmp(other->name, row->name) == 0)
      return true;
  }
  return false;
}

const char *option_flaw(const option_set_t *set, char *buf, size_t cap)
{
  for (size_t i = 0; i < set->count; i++) {
    const option_row_t *row = option_at(set, i);
    bool named = row->name != NULL && row->name[0] != '\0';
    bool said = row->help == NULL || (row->help[0] != '\0' && strchr(row->help, '\n') == NULL);
    const char *flaw = !named                 ? "no name"
                       : is_twice(set, i)     ? "the letter or the name is there twice"
                       : !said                ? "help is not one line"
                       : i >= OPTION_ROWS_MAX ? "too many rows"
                                              : NULL;
    if (flaw == NULL)
      continue;
    snprintf(buf, cap, "row %zu (%s): %s", i + 1, named ? row->name : "", flaw);
    return buf;
  }
  return NULL;
}
