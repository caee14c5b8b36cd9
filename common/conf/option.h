/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a command line, one row each. The same rows make the table for getopt_long, the usage text,
 * completion and the section of the manual page.
 *
 * A row begins with an option_row_t. Behind it stands what its owner needs.
 *
 *   static const option_row_t rows[] = {
 *     {'c', "config", "FILE", offsetof(arguments_t, config), .help = "the configuration"},
 *     {'h', "help", NULL, offsetof(arguments_t, help), .help = "prints this"},
 *   };
 *   static const option_set_t options = {OPTION_ROWS(rows)};
 *
 * All functions are pure, but for option_store: it writes what it is handed. Any thread. */
#pragma once

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum {
  OPTION_LONG = 256,    /* a letter from here on: the option has its name alone */
  OPTION_ROWS_MAX = 32, /* rows of one set */
};

typedef struct option_row {
  int letter;            /* of ASCII: -x; no two rows have the same */
  const char *name;      /* --name */
  const char *arg;       /* "FILE"; "[=PATH]": may be left out; NULL: the option takes no value */
  size_t at;             /* where option_store writes, in the owner's struct */
  const char *help;      /* one line, without a full stop; NULL: shown with the commands that take it */
  const char *completes; /* the list that `PROGRAM completion` prints for its value; NULL: none */
} option_row_t;

typedef struct option_set {
  const void *rows; /* each begins with an option_row_t */
  size_t stride;    /* bytes from one row to the next */
  size_t count;
} option_set_t;

/* For the initializer of an option_set_t: all rows of an array. */
#define OPTION_ROWS(array)                                                                                   \
  .rows = (array), .stride = sizeof *(array), .count = sizeof(array) / sizeof *(array)

/* The rows as getopt_long takes them, with their ends. */
typedef struct option_table {
  struct option longs[OPTION_ROWS_MAX + 1];
  char letters[2 * OPTION_ROWS_MAX + 2]; /* begins with a colon: a missing value is told apart */
} option_table_t;

/* The row at i < count. */
const option_row_t *option_at(const option_set_t *set, size_t i);
/* The row of what getopt_long returned, to be cast to the owner's type; NULL: there is none. */
const void *option_find(const option_set_t *set, int letter);
/* Whether the value may be left out. */
bool option_is_optional(const option_row_t *row);
/* Whether its value is a file. */
bool option_takes_file(const option_row_t *row);

void option_table(const option_set_t *set, option_table_t *out);
/* Writes at row->at in out: a const char * for a row with arg ("" if the value was left out), else true. */
void option_store(const option_row_t *row, const char *value, void *out);

/* Writes the options for --help: a line each, with help beside or below. */
void option_print_usage(const option_set_t *set, FILE *to);
/* The section of a manual page (scdoc) that lists the options. */
void option_print_manual(const option_set_t *set, FILE *to);

/* For unit tests: what is wrong with the table. NULL: nothing. Else buf: a row without a name, a letter or a
 * name that is there twice, more rows than OPTION_ROWS_MAX. */
const char *option_flaw(const option_set_t *set, char *buf, size_t cap);
