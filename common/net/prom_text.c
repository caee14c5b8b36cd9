/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/prom_text.h"

#include <inttypes.h>

enum { PROM_NAME_MAX = 96 };

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

void prom_label(FILE *f, const char *value)
{
  fputc('"', f);
  for (; *value != '\0'; value++) {
    if (*value == '\\' || *value == '"')
      fputc('\\', f);
    if (*value == '\n')
      fputs("\\n", f);
    else
      fputc(*value, f);
  }
  fputc('"', f);
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
  fprintf(f, "%s{version=", name);
  prom_label(f, SMPL_VERSION);
  if (p->label != NULL) {
    fprintf(f, ",%s=", p->label);
    prom_label(f, p->value);
  }
  fputs("} 1\n", f);
}

static void put_reloads(FILE *f, const prom_program_t *p)
{
  char name[PROM_NAME_MAX];
  prom_head(f, own_name(name, sizeof name, p, "reloads_total"), "counter",
            "Reloads since the start, by result: ok, or failed and nothing changed.");
  fprintf(f, "%s{result=\"ok\"} %" PRIu64 "\n%s{result=\"failed\"} %" PRIu64 "\n", name, p->reloads, name,
          p->failures);
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
