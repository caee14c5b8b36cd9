/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/exposition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "app/http/metrics.h"
#include "common/net/prom_text.h"

enum { STATM_MAX = 256 }; /* bytes: seven numbers */

static void put_process(FILE *f, int statm)
{
  struct rusage usage;
  char text[STATM_MAX];
  ssize_t n = statm > 0 ? pread(statm, text, sizeof text - 1, 0) : 0;
  text[n > 0 ? n : 0] = '\0';
  char *at = strchr(text, ' '), *end = at; /* the second number: pages that are resident */
  long pages = at != NULL ? strtol(at, &end, 10) : 0;
  if (end != at)
    prom_number(f, "process_resident_memory_bytes", "gauge", "Resident memory.",
                (double)pages * (double)sysconf(_SC_PAGESIZE));
  if (getrusage(RUSAGE_SELF, &usage) == 0)
    prom_number(f, "process_cpu_seconds_total", "counter", "Time on the processor.",
                (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

/* What only grows is named so (https://prometheus.io/docs/practices/naming/). */
static void put_number(FILE *f, const char *name, const char *help, double value)
{
  static const char total[] = "_total";
  size_t len = strlen(name), tail = sizeof total - 1;
  bool counter = len > tail && strcmp(name + len - tail, total) == 0;
  prom_number(f, name, counter ? "counter" : "gauge", help, value);
}

void exposition_add(exposition_numbers_t *numbers, const char *name, const char *help, double value)
{
  if (numbers->count == EXPOSITION_NUMBERS_MAX)
    return;
  numbers->rows[numbers->count].name = name;
  numbers->rows[numbers->count].help = help;
  numbers->rows[numbers->count++].value = value;
}

char *exposition_text(const program_t *program, const exposition_numbers_t *numbers, size_t *len)
{
  char *text = NULL;
  FILE *f = open_memstream(&text, len);
  if (f == NULL)
    return NULL;
  prom_program(f, &program->about);
  prom_number(f, "smpl_app_draining", "gauge", "1 once the service is told to end.", program->leaving);
  prom_number(f, "smpl_app_restart_needed", "gauge",
              "1 while the configuration that was read last has what a restart alone puts in force.",
              program->restart);
  if (program->front != NULL)
    metrics_put(f, program->front);
  for (size_t i = 0; i < numbers->count; i++)
    put_number(f, numbers->rows[i].name, numbers->rows[i].help, numbers->rows[i].value);
  put_process(f, program->statm);
  if (fclose(f) != 0) {
    free(text);
    return NULL;
  }
  return text;
}
