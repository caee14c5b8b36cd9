/* Prometheus' text format (version 0.0.4), as the programs' metrics are written in. */
#pragma once

#include <stdint.h>
#include <stdio.h>

/* What a metric is: before its first sample, once. type is "counter", "gauge" or "histogram". */
void prom_head(FILE *f, const char *name, const char *type, const char *help);
/* A metric of one sample without labels, head and all. A count that may pass 2^53 goes by prom_count. */
void prom_number(FILE *f, const char *name, const char *type, const char *help, double value);
void prom_count(FILE *f, const char *name, const char *type, const char *help, uint64_t value);
/* A label's value in quotes, escaped as the format asks for. */
void prom_label(FILE *f, const char *value);
