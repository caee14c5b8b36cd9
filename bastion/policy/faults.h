/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a configuration that count as absent when it takes effect: lines of keys files that cannot be
 * read, files that are gone, groups in which nobody is left. Each counts as absent, so that whoever left is
 * out whatever else is wrong. One list a load. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "bastion/limits.h"

typedef enum fault_level {
  FAULT_WARNING, /* may well be meant: nobody is left in a group */
  FAULT_ERROR,   /* somebody has to mend it */
} fault_level_t;

typedef struct fault {
  fault_level_t level;
  char *text; /* one line: "path:line: what is wrong" */
} fault_t;

typedef struct faults {
  fault_t *list;
  size_t count; /* of list */
  size_t warnings, errors;
} faults_t;

/* Takes all-zero faults. Without memory for the text it is counted still. */
void faults_add(faults_t *faults, fault_level_t level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* One warning a fault, up to FAULTS_SHOWN_MAX, and how many more there are. */
void faults_log(const faults_t *faults);
/* {"absent": errors, "warnings": N, "lines": ["path:line: what is wrong", ...]}, up to FAULTS_SHOWN_MAX
 * lines; a warning begins with "warning: ". */
json_t *faults_json(const faults_t *faults);
/* Leaves all-zero faults. */
void faults_free(faults_t *faults);
