/* SPDX-License-Identifier: Apache-2.0 */
/* Commands, one row each. A set of rows says which command is meant, who may give it, and how many words it
 * takes. It also gives the answer to an unknown or wrong one. The usage text, the words that a shell
 * completes and the list in the manual page come from the same rows. Command lines, control sockets and
 * smpl-control all use it.
 *
 * A row begins with a command_row_t. Behind it stands what its owner needs: handlers and printers of the
 * owner's own types.
 *
 *   typedef struct admin_command {
 *     command_row_t row;
 *     void (*run)(server_t *server, control_request_t *request, const json_t *body);
 *     void (*print)(const json_t *reply);
 *   } admin_command_t;
 *
 *   static const admin_command_t rows[] = {
 *     {{"reload", .role = ROLE_CHANGE, .timeout_ms = CONTROL_RELOAD_MS, .help = "reads the configuration
 * again"}, run_reload, print_reload},
 *   };
 *   static const char *const roles[] = {[ROLE_READ] = "read", [ROLE_CHANGE] = "change"};
 *   static const command_set_t commands = {COMMAND_ROWS(rows), .roles = roles, .role_count = 3};
 *
 * All functions are pure: they read the set and write what they are handed. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/count.h"
#include "common/base/diag.h"

enum {
  COMMAND_NAME_SHOWN = 40, /* bytes of an unknown word that a message repeats */
  COMMAND_HELP_MAX = 100,  /* bytes of a row's line of help */
  COMMAND_ROLE_NONE = 0,   /* its holder may give no command, and nobody may give a row that needs it */
  COMMAND_ROLE_ANY = 1,    /* the one role of sets that anybody may use who can reach them */
};

typedef struct command_row {
  const char *name;    /* "status", or two words: "audit verify" */
  const char *args;    /* the words behind it, as usage shows them: "NAME [TYPE]"; NULL: none */
  unsigned min, max;   /* how many words args stands for */
  const char *options; /* its own options, as usage shows them: "--from ADDR [--json]"; NULL: none */
  unsigned role;       /* the least role that may give it */
  uint64_t timeout_ms; /* how long a client waits for the answer; 0: it asks nobody */
  const char *help;    /* one line, without a full stop at its end */
  /* What a shell completes behind it: words, or the one word of a list that `PROGRAM completion` prints.
   * NULL: files if args has FILE, else nothing. */
  const char *completes;
} command_row_t;

typedef struct command_set {
  const void *rows; /* each begins with a command_row_t */
  size_t stride;    /* bytes from one row to the next */
  size_t count;
  const char *const
      *roles; /* the role's name at its number, higher ones may more; NULL: there is no such role */
  size_t role_count;
  const char *program; /* "smpl-bastion", in front of a command in usage; NULL: no command line */
} command_set_t;

/* For the initializer of a command_set_t: all rows of an array. */
#define COMMAND_ROWS(array) .rows = (array), .stride = sizeof *(array), .count = COUNT_OF(array)
/* The same for the roles of a set in which each row has COMMAND_ROLE_ANY. */
#define COMMAND_OPEN .roles = command_open_roles, .role_count = COMMAND_ROLE_ANY + 1

extern const char *const command_open_roles[COMMAND_ROLE_ANY + 1];

/* The row at i < count. */
const command_row_t *command_at(const command_set_t *set, size_t i);
/* The row of that name, to be cast to the owner's type; NULL: there is none. No role is asked for. */
const void *command_find(const command_set_t *set, const char *name);
/* Whether the role may give the command. A row without a role, and a role that the set does not name, mean
 * no. */
bool command_may(const command_set_t *set, const command_row_t *row, unsigned role);

/* Finds the command that a request names, and checks the role. name may be hostile; NULL: the request has
 * none. On success *row is the owner's row. Else it is NULL, diag has what to answer, and the result is
 * SMPL_EINVAL (no name), SMPL_ENOENT (unknown; the text names the nearest commands, or all) or SMPL_EDENIED.
 */
int command_take(const command_set_t *set, unsigned role, const char *name, const void **row, diag_t *diag);

/* The same for a command line. argv has argc words without options; the first one, or the first two, name the
 * command. *used tells how many did. The words behind them are counted: too few or too many is SMPL_EINVAL,
 * and the text shows how the command is used. */
int command_take_words(const command_set_t *set, unsigned role, int argc, char *const *argv, const void **row,
                       int *used, diag_t *diag);

/* Whether the row's options have this one ("--from"). row NULL: no. */
bool command_has_option(const command_row_t *row, const char *option);
/* SMPL_EINVAL, and the text names the commands that take it, if the row's options do not have this one. */
int command_check_option(const command_set_t *set, const command_row_t *row, const char *option,
                         diag_t *diag);

/* "status, reload and zones": the names that the role may give, with `last` before the last one. Cut to cap,
 * which is at least 1. Returns buf. */
char *command_names(const command_set_t *set, unsigned role, const char *last, char *buf, size_t cap);

/* How one command is used: "smpl-bastion explain USER TARGET[:PORT]". Cut to cap; returns buf. */
char *command_syntax(const command_set_t *set, const command_row_t *row, char *buf, size_t cap);

/* Writes the commands for --help: a line each, with help beside or below. */
void command_print_usage(const command_set_t *set, FILE *to);
/* The section of a manual page (scdoc) that lists the commands. */
void command_print_manual(const command_set_t *set, FILE *to);

/* For unit tests: what is wrong with the table. NULL: nothing. Else buf: a row without name, role or help, a
 * name that is there twice, words and args that do not agree. */
const char *command_flaw(const command_set_t *set, char *buf, size_t cap);
