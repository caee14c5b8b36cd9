/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/prom_text.h"

#include <inttypes.h>
#include <stdarg.h>

enum { PROM_NAME_MAX = 96, PROM_BOUND_MAX = 32 };

void prom_head(FILE *f, const char *name, const char *type, const char *help)
{
  fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void prom_number(FILE *f, const char *name, const char *type, const char *help, double value)
{
  prom_head(f, name, type, help);
  fprintf(f, "%s %.15g\n", name, value);
}

void prom_count(FILE *f, const char *name, const char *type, const char *help, uint64_t value)
{
  prom_head(f, name, type, help);
  fprintf(f, "%s %" PRIu64 "\n", name, value);
}

static void put_value(FILE *f, const char *value)
{
  fputc('"', f);
  for (; value != NULL && *value != '\0'; value++) {
    if (*value == '\\' || *value == '"')
      fputc('\\', f);
    if (*value == '\n')
      fputs("\\n", f);
    else
      fputc(*value, f);
  }
  fputc('"', f);
}

/* name{label="value",label="value"} */
static void put_name(FILE *f, const char *name, va_list labels)
{
  char before = '{';
  fputs(name, f);
  for (const char *label; (label = va_arg(labels, const char *)) != NULL; before = ',') {
    fprintf(f, "%c%s=", before, label);
    put_value(f, va_arg(labels, const char *));
  }
  fputs(before == ',' ? "} " : " ", f);
}

void prom_sample(FILE *f, const char *name, uint64_t value, ...)
{
  va_list labels;
  va_start(labels, value);
  put_name(f, name, labels);
  va_end(labels);
  fprintf(f, "%" PRIu64 "\n", value);
}

void prom_sample_real(FILE *f, const char *name, double value, ...)
{
  va_list labels;
  va_start(labels, value);
  put_name(f, name, labels);
  va_end(labels);
  fprintf(f, "%.15g\n", value);
}

/* A histogram has at most one label beside `le`: a missing one ends the pairs before it is read. */
static void put_bucket(FILE *f, const char *name, const char *label, const char *value, const char *le,
                       uint64_t count)
{
  if (label != NULL)
    prom_sample(f, name, count, label, value, "le", le, NULL);
  else
    prom_sample(f, name, count, "le", le, NULL);
}

void prom_histogram(FILE *f, const char *name, const char *label, const char *value,
                    const prom_histogram_t *h)
{
  char whole[PROM_NAME_MAX], bound[PROM_BOUND_MAX];
  uint64_t total = 0;
  snprintf(whole, sizeof whole, "%s_bucket", name);
  for (size_t i = 0; i < h->buckets; i++) {
    total += h->counts[i];
    snprintf(bound, sizeof bound, "%g", i + 1 < h->buckets ? (double)h->bounds[i] / h->units : 0);
    put_bucket(f, whole, label, value, i + 1 < h->buckets ? bound : "+Inf", total);
  }
  snprintf(whole, sizeof whole, "%s_sum", name);
  prom_sample_real(f, whole, (double)h->sum / h->units, label, value, NULL);
  snprintf(whole, sizeof whole, "%s_count", name);
  prom_sample(f, whole, total, label, value, NULL);
}

void prom_reloaded(prom_program_t *program, bool took_effect, uint64_t now_ms)
{
  program->last_failed = !took_effect;
  if (took_effect) {
    program->reloads++;
    program->loaded_ms = now_ms;
  } else {
    program->failures++;
  }
}

/* PREFIX_NAME; buf of cap bytes. */
static const char *own_name(char *buf, size_t cap, const prom_program_t *p, const char *name)
{
  snprintf(buf, cap, "%s_%s", p->prefix, name);
  return buf;
}

static void put_build(FILE *f, const prom_program_t *p)
{
  char name[PROM_NAME_MAX];
  prom_head(f, own_name(name, sizeof name, p, "build_info"), "gauge", "Which version runs: always 1.");
  prom_sample(f, name, 1, "version", SMPL_VERSION, p->label, p->value, NULL);
}

static void put_reloads(FILE *f, const prom_program_t *p)
{
  char name[PROM_NAME_MAX];
  prom_head(f, own_name(name, sizeof name, p, "reloads_total"), "counter",
            "Reloads since the start, by result: ok, or failed and nothing changed.");
  prom_sample(f, name, p->reloads, "result", "ok", NULL);
  prom_sample(f, name, p->failures, "result", "failed", NULL);
  prom_number(f, own_name(name, sizeof name, p, "last_reload_successful"), "gauge",
              "0 while the file is one that the last reload refused.", !p->last_failed);
  prom_number(f, own_name(name, sizeof name, p, "config_loaded_timestamp_seconds"), "gauge",
              "When the configuration in force was read.",
              (double)(p->loaded_ms != 0 ? p->loaded_ms : p->started_ms) / 1e3);
}

void prom_program(FILE *f, const prom_program_t *p)
{
  char name[PROM_NAME_MAX];
  put_build(f, p);
  prom_number(f, own_name(name, sizeof name, p, "start_time_seconds"), "gauge",
              "When the process began to serve.", (double)p->started_ms / 1e3);
  put_reloads(f, p);
}
