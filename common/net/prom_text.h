/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' text format (version 0.0.4), as the programs' metrics are written in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a metric is: before its first sample, once. type is "counter", "gauge" or "histogram". */
void prom_head(FILE *f, const char *name, const char *type, const char *help);
/* A metric of one sample without labels, head and all. A count that may pass 2^53 goes by prom_count. */
void prom_number(FILE *f, const char *name, const char *type, const char *help, double value);
void prom_count(FILE *f, const char *name, const char *type, const char *help, uint64_t value);
/* Samples of a metric whose head is written: its labels are pairs of name and value, NULL behind the last. A
 * value is escaped as the format asks for; NULL is an empty one. The other one is for what is no count. */
void prom_sample(FILE *f, const char *name, uint64_t value, ...) __attribute__((sentinel));
void prom_sample_real(FILE *f, const char *name, double value, ...) __attribute__((sentinel));

/* Counts by upper bounds, and a last one for what is above them all. */
typedef struct prom_histogram {
  const uint64_t *bounds; /* in units; `buckets` less one */
  const uint64_t *counts;
  size_t buckets;
  double units; /* to a second */
  uint64_t sum; /* in units */
} prom_histogram_t;

/* All samples of a histogram in seconds; label may be NULL: none. */
void prom_histogram(FILE *f, const char *name, const char *label, const char *value,
                    const prom_histogram_t *h);

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
