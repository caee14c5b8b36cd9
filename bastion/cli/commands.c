/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/audit/audit.h"
#include "bastion/broker/admin.h"
#include "bastion/cli/check.h"
#include "bastion/policy/config.h"
#include "bastion/policy/explain.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/conf/completion.h"
#include "common/net/control.h"

typedef struct command command_t;

/* One row has all of a command: the table below. */
struct command {
  admin_command_t admin; /* first: what the broker has of it */
  /* Here; returns the exit status. argv has the words behind the command. */
  int (*run)(const command_t *command, options_t *o, int argc, char **argv);
  int (*ask)(const operator_args_t *args, diag_t *diag);
  int (*take)(options_t *o, int argc, char **argv);
};

enum { WATCH_S = 2, WATCH_MAX_S = 3600 };

static const char default_socket[] = "bastion.sock";

/* ---- explain ---- */

static int explain_offline(const options_t *o)
{
  diag_t diag = {""};
  config_t *c;
  char host[MSG_HOST_MAX];
  uint16_t port;
  if (explain_split(o->asked.target, host, sizeof host, &port, &diag) || config_load(o->config, &c, &diag))
    return options_fail(&diag);
  json_t *d = explain_decision(c, o->asked.user, host, port);
  config_free(c);
  int status = EXIT_FAILED;
  if (!json_is_true(json_object_get(d, "ok"))) {
    fprintf(stderr, "smpl-bastion: %s\n", json_string_value(json_object_get(d, "error")));
  } else {
    status = json_is_true(json_object_get(d, "allowed")) ? EXIT_FINE : EXIT_FAILED;
    if (o->asked.json) {
      json_dumpf(d, stdout, JSON_INDENT(2));
      putchar('\n');
    } else {
      explain_print(d);
    }
  }
  json_decref(d);
  return status;
}

static int run_explain(const command_t *command, options_t *o, int argc, char **argv)
{
  diag_t diag = {""};
  bool allowed = false;
  (void)argc;
  o->asked.timeout_ms = command->admin.row.timeout_ms;
  o->asked.user = argv[0];
  o->asked.target = argv[1];
  if (o->asked.socket == NULL && o->config != NULL)
    return explain_offline(o);
  if (o->asked.socket == NULL)
    o->asked.socket = default_socket;
  int err = operator_explain(&o->asked, &allowed, &diag);
  if (err) {
    options_fail(&diag);
    return control_exit(err);
  }
  return allowed ? EXIT_FINE : EXIT_FAILED;
}

/* ---- commands that ask a running bastion ---- */

/* -1: go on; else the exit status. */
static int take_session(options_t *o, int argc, char **argv)
{
  o->asked.id = argc == 1 ? argv[0] : NULL;
  if ((o->asked.id != NULL) + (o->asked.user != NULL) + (o->asked.target != NULL) != 1)
    return options_fail_usage("terminate needs one of a session's id, --user U and --target T");
  return -1;
}

static int take_watch(options_t *o, int argc, char **argv)
{
  uint64_t seconds = WATCH_S;
  (void)argc;
  (void)argv;
  if (o->watch == NULL)
    return -1;
  if (o->watch[0] != '\0' &&
      (text_parse_u64(o->watch, strlen(o->watch), WATCH_MAX_S, &seconds) || seconds == 0))
    return options_fail_usage("--watch takes seconds, from 1 to 3600");
  o->asked.watch_s = (unsigned)seconds;
  return -1;
}

static int take_who(options_t *o, int argc, char **argv)
{
  (void)argc;
  o->asked.who = argv[0];
  return -1;
}

static int take_who_and_why(options_t *o, int argc, char **argv)
{
  return o->asked.reason != NULL ? take_who(o, argc, argv) : options_fail_usage("block needs --reason TEXT");
}

/* The running bastion is not to be out of reach because of a file that it has not taken: it is asked where
 * the file seems to say, and tells itself what is wrong. Only where nobody answers is the file's fault
 * told here. */
static int ask_by_guess(const command_t *command, options_t *o, const diag_t *wrong)
{
  diag_t diag = {""};
  char *path = control_guess(o->config, default_socket);
  if (path == NULL || command->admin.answer == NULL) { /* which reads the audit that the file names */
    free(path);
    return options_fail(wrong);
  }
  o->asked.socket = path;
  int err = command->ask(&o->asked, &diag);
  free(path);
  if (err == SMPL_ECLOSED)
    options_fail(wrong);
  if (err)
    options_fail(&diag);
  return control_exit(err);
}

static int run_asked(const command_t *command, options_t *o, int argc, char **argv)
{
  diag_t diag = {""};
  config_t *c = NULL;
  int status = command->take != NULL ? command->take(o, argc, argv) : -1;
  if (status >= 0)
    return status;
  o->asked.timeout_ms = command->admin.row.timeout_ms;
  bool broken = o->config != NULL && config_load_paths(o->config, &c, &diag) != SMPL_OK;
  if (broken && o->asked.socket == NULL)
    return ask_by_guess(command, o, &diag);
  if (broken && command->admin.answer == NULL)
    return options_fail(&diag);
  diag.text[0] = '\0';
  if (o->asked.socket == NULL)
    o->asked.socket = c != NULL ? c->control : default_socket;
  o->asked.audit = c != NULL ? c->audit : "audit.jsonl";
  int err = command->ask(&o->asked, &diag);
  config_free(c);
  if (err)
    options_fail(&diag);
  return control_exit(err);
}

static bool is_hash(const char *text)
{
  return strlen(text) == AUDIT_HASH_TEXT - 1 && strspn(text, "0123456789abcdefABCDEF") == AUDIT_HASH_TEXT - 1;
}

static int run_verify(const command_t *command, options_t *o, int argc, char **argv)
{
  diag_t diag = {""};
  config_t *c = NULL;
  (void)command;
  if (o->head != NULL && !is_hash(o->head))
    return options_fail_usage("--head takes a SHA-256 in hex, such as status --json and the metrics tell it");
  if (o->config != NULL && argc == 0 && config_load_paths(o->config, &c, &diag))
    return options_fail(&diag);
  o->asked.audit = c != NULL ? c->audit : "audit.jsonl";
  int err = operator_verify(&o->asked, o->head, argv, argc, &diag);
  config_free(c);
  return err ? options_fail(&diag) : EXIT_FINE;
}

static int run_completion(const command_t *command, options_t *o, int argc, char **argv)
{
  const completion_t completion = {.commands = &commands_all, .options = &option_rows};
  diag_t diag = {""};
  (void)command;
  (void)o;
  (void)argc;
  return completion_print(&completion, argv[0], stdout, &diag) ? options_fail_usage(diag.text) : EXIT_FINE;
}

/* ---- the table ---- */

static int run_check(const command_t *command, options_t *o, int argc, char **argv)
{
  (void)command;
  (void)argc;
  (void)argv;
  return check_run(o);
}

enum {
  ASK_MS = 15000,
  FILES_MAX = 100000, /* of one audit, as a shell may name them */
  LOCAL = 4,          /* rows that ask no bastion: the control socket has those behind them */
};

/* Name, arguments, how many words, options, role, time for the answer, help; who answers it in the broker;
 * who runs it here, and what that needs: who prints the answer, who takes the words. */
static const command_t rows[] = {
    {{{"check", NULL, 0, 0, "-c FILE", ROLE_READ, 0,
       .help = "says what is wrong with the configuration and the keys that it names"},
      NULL},
     .run = run_check},
    {{{"history", NULL, 0, 0, "[--user U] [--target T] [--since T] [--until T] [--json]", ROLE_READ, 0,
       .help = "lists sessions and failed logins of the audit; T is a time: 2h, 2026-11-23"},
      NULL},
     .run = run_asked,
     .ask = operator_history},
    {{{"audit verify", "[FILE...]", 0, FILES_MAX, "[--head HASH] [--json]", ROLE_READ, 0,
       .help = "checks the audit's chain; HASH is one that was kept elsewhere"},
      NULL},
     .run = run_verify},
    {{{"completion", "bash|zsh|fish", 1, 1, NULL, ROLE_READ, 0,
       .help = "prints a script that completes commands in your shell", .completes = COMPLETION_SHELLS},
      NULL},
     .run = run_completion},
    {{{"explain", "USER TARGET[:PORT]", 2, 2, "[--json]", ROLE_READ, ASK_MS,
       .help = "tells the decision and its reason; with -c FILE it asks no bastion"},
      admin_explain},
     .run = run_explain},
    {{{"sessions", NULL, 0, 0, "[--watch[=SECONDS]] [--json]", ROLE_READ, ASK_MS,
       .help = "lists live sessions"},
      admin_sessions},
     .run = run_asked,
     .ask = operator_sessions,
     .take = take_watch},
    {{{"status", NULL, 0, 0, "[--json]", ROLE_READ, ASK_MS, .help = "shows walls, counts and the audit"},
      admin_status},
     .run = run_asked,
     .ask = operator_status},
    {{{"terminate", "[ID]", 0, 1, "[--user U] [--target T[:PORT]] [--reason TEXT]", ROLE_TERMINATE, ASK_MS,
       .help = "ends sessions now; their users can sign in again"},
      admin_terminate},
     .run = run_asked,
     .ask = operator_terminate,
     .take = take_session},
    {{{"block", "USER|FINGERPRINT", 1, 1, "--reason TEXT", ROLE_TERMINATE, ASK_MS,
       .help = "ends somebody's sessions and keeps them out, across restarts"},
      admin_block},
     .run = run_asked,
     .ask = operator_block,
     .take = take_who_and_why},
    {{{"unblock", "USER|FINGERPRINT", 1, 1, "[--reason TEXT]", ROLE_TERMINATE, ASK_MS,
       .help = "lets them in again"},
      admin_unblock},
     .run = run_asked,
     .ask = operator_unblock,
     .take = take_who},
    {{{"blocks", NULL, 0, 0, "[--json]", ROLE_READ, ASK_MS,
       .help = "lists who is blocked, since when, by whom and why"},
      admin_blocks},
     .run = run_asked,
     .ask = operator_blocks},
    {{{"reload", NULL, 0, 0, NULL, ROLE_TERMINATE, CONTROL_RELOAD_MS,
       .help = "has the configuration read again; live sessions are judged by it"},
      admin_reload},
     .run = run_asked,
     .ask = operator_reload},
};

const command_set_t commands_all = {COMMAND_ROWS(rows), .roles = role_names, .role_count = ROLE_TERMINATE + 1,
                                    .program = "smpl-bastion"};
const command_set_t commands_asked = {.rows = rows + LOCAL,
                                      .stride = sizeof *rows,
                                      .count = COUNT_OF(rows) - LOCAL,
                                      .roles = role_names,
                                      .role_count = ROLE_TERMINATE + 1};

int commands_run(options_t *o, int argc, char **argv)
{
  diag_t diag = {""};
  const void *row;
  int used;
  if (command_take_words(&commands_all, ROLE_TERMINATE, argc, argv, &row, &used, &diag))
    return options_fail_usage(diag.text);
  const command_t *command = row;
  return command->run(command, o, argc - used, argv + used);
}
