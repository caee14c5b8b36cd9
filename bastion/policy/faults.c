/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/diag.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { GROWN_BY = 64 };

static void keep(faults_t *f, fault_level_t level, const char *text)
{
  if (f->count >= FAULTS_MAX)
    return;
  if (f->count % GROWN_BY == 0) {
    fault_t *grown = reallocarray(f->list, f->count + GROWN_BY, sizeof *grown);
    if (grown == NULL)
      return;
    f->list = grown;
  }
  char *copy = strdup(text);
  if (copy != NULL)
    f->list[f->count++] = (fault_t){level, copy};
}

void faults_add(faults_t *f, fault_level_t level, const char *fmt, ...)
{
  char raw[DIAG_TEXT_MAX], text[DIAG_TEXT_MAX];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(raw, sizeof raw, fmt, ap);
  va_end(ap);
  text_printable(text, sizeof text, raw, n < 0 ? 0 : strlen(raw));
  if (level == FAULT_ERROR)
    f->errors++;
  else
    f->warnings++;
  keep(f, level, text);
}

void faults_log(const faults_t *f)
{
  size_t shown = f->count < FAULTS_SHOWN_MAX ? f->count : FAULTS_SHOWN_MAX;
  for (size_t i = 0; i < shown; i++)
    log_warn("%s", f->list[i].text);
  if (f->errors + f->warnings > shown)
    log_warn("%zu more like these; `check` tells them", f->errors + f->warnings - shown);
}

json_t *faults_json(const faults_t *f)
{
  json_t *lines = json_array();
  for (size_t i = 0; i < f->count && i < FAULTS_SHOWN_MAX; i++)
    json_array_append_new(lines, json_sprintf("%s%s", f->list[i].level == FAULT_WARNING ? "warning: " : "",
                                              f->list[i].text));
  return json_pack("{s:I, s:I, s:o}", "absent", (json_int_t)f->errors, "warnings", (json_int_t)f->warnings,
                   "lines", lines);
}

void faults_free(faults_t *f)
{
  for (size_t i = 0; i < f->count; i++)
    free(f->list[i].text);
  free(f->list);
  *f = (faults_t){0};
}
