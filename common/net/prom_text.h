/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' text format (version 0.0.4), as the programs' metrics are written in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What a metric is: before its first sample, once. type is "counter", "gauge" or "histogram". */
void prom_head(FILE *f, const char *name, const char *type, const char *help);
/* A metric of one sample without labels, head and all. A count that may pass 2^53 goes by prom_count. */
void prom_number(FILE *f, const char *name, const char *type, const char *help, double value);
void prom_count(FILE *f, const char *name, const char *type, const char *help, uint64_t value);
/* What every program says of itself, under one convention: PREFIX_build_info, PREFIX_start_time_seconds,
 * PREFIX_reloads_total{result}, PREFIX_last_reload_successful and PREFIX_config_loaded_timestamp_seconds. */
typedef struct prom_program {
  const char *prefix;         /* "smpl_resolver" */
  const char *label, *value;  /* one more label of build_info; NULL: none */
  uint64_t started_ms;        /* wall clock */
  uint64_t loaded_ms;         /* when the configuration in force was read; 0: as started_ms */
  uint64_t reloads, failures; /* since the start: took effect, changed nothing */
  bool last_failed;
} prom_program_t;

/* A reload took effect, or changed nothing. now_ms: wall clock. */
void prom_reloaded(prom_program_t *program, bool took_effect, uint64_t now_ms);
void prom_program(FILE *f, const prom_program_t *program);

/* A label's value in quotes, escaped as the format asks for. */
void prom_label(FILE *f, const char *value);
