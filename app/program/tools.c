/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/tools.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "app/program/settings.h"
#include "common/base/error.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_STOPPED = 130 };

typedef struct tool {
  const char *name;
  int verb;
  bool force, trust_keys; /* options that it takes */
  int needs;              /* arguments; without one, --trust-keys must be there */
  int most;
} tool_t;

static const tool_t tools[] = {
    {"backup", TOOL_BACKUP, true, false, 1, 1},
    {"restore", TOOL_RESTORE, false, true, 1, 1},
    {"resend", TOOL_RESEND, false, false, 0, 1},
};

typedef struct options {
  const tool_t *tool;
  const char *file, *argument;
  bool force, trust_keys;
  int arguments;
} options_t;

static const tool_t *tool_named(const char *name)
{
  for (size_t i = 0; i < sizeof tools / sizeof *tools; i++)
    if (strcmp(tools[i].name, name) == 0)
      return &tools[i];
  return NULL;
}

bool tools_named(int argc, char **argv)
{
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] != '-')
      return tool_named(argv[i]) != NULL;
    if (strcmp(argv[i], "-c") == 0)
      i++;
    else if (strcmp(argv[i], "--force") != 0 && strcmp(argv[i], "--trust-keys") != 0)
      return false;
  }
  return false;
}

static int usage_error(const char *what, const char *word)
{
  fprintf(stderr, "smpl-app: %s%s; try: smpl-app --help\n", what, word);
  return STATUS_USAGE;
}

static int take_word(options_t *o, const char *word)
{
  if (o->tool == NULL) {
    o->tool = tool_named(word);
    return STATUS_OK;
  }
  if (o->arguments++ == o->tool->most)
    return usage_error("too many arguments: ", word);
  o->argument = word;
  return STATUS_OK;
}

static int read_options(int argc, char **argv, options_t *o)
{
  int status = STATUS_OK;
  for (int i = 1; i < argc && status == STATUS_OK; i++) {
    if (strcmp(argv[i], "-c") == 0) {
      if (i + 1 == argc)
        return usage_error("a value is missing after ", argv[i]);
      o->file = argv[++i];
    } else if (strcmp(argv[i], "--force") == 0) {
      o->force = true;
    } else if (strcmp(argv[i], "--trust-keys") == 0) {
      o->trust_keys = true;
    } else if (argv[i][0] == '-') {
      return usage_error("unknown option ", argv[i]);
    } else {
      status = take_word(o, argv[i]);
    }
  }
  if (status != STATUS_OK)
    return status;
  if (o->file == NULL)
    return usage_error("a configuration file is missing: -c FILE", "");
  if ((o->force && !o->tool->force) || (o->trust_keys && !o->tool->trust_keys))
    return usage_error("that option does not go with ", o->tool->name);
  if (o->argument != NULL && o->argument[0] == '\0')
    return usage_error("an empty name after ", o->tool->name);
  if (o->arguments < o->tool->needs && !o->trust_keys)
    return usage_error("a file is missing after ", o->tool->name);
  return STATUS_OK;
}

static void say(void *ctx, const char *text)
{
  (void)ctx;
  printf("%s\n", text);
}

/* The signals are blocked: whoever works asks whether one has come. One that came stays for the next
 * question. */
static bool stop(void *ctx)
{
  bool *stopped = ctx;
  sigset_t set;
  sigpending(&set);
  *stopped = *stopped || sigismember(&set, SIGINT) == 1 || sigismember(&set, SIGTERM) == 1 ||
             sigismember(&set, SIGHUP) == 1;
  return *stopped;
}

static void hold_signals(void)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signal(SIGXFSZ, SIG_IGN); /* a full disk is an error, and so is a bounded file */
  signal(SIGPIPE, SIG_IGN);
}

int tools_main(int argc, char **argv, const service_t *const *services)
{
  options_t o = {.tool = NULL};
  diag_t diag = {.text = ""};
  settings_t settings;
  bool stopped = false;
  int status = read_options(argc, argv, &o);
  if (status != STATUS_OK)
    return status;
  int err = settings_load(o.file, services, &settings, &diag);
  if (err) {
    fprintf(stderr, "smpl-app: %s\n", diag.text);
    return STATUS_FAILED;
  }
  hold_signals();
  tool_call_t call = {.verb = o.tool->verb,
                      .database = settings.database,
                      .revocations = settings.revocations,
                      .sister_urls = settings.sister_urls,
                      .argument = o.argument,
                      .force = o.force,
                      .trust_keys = o.trust_keys,
                      .say = say,
                      .stop = stop,
                      .ctx = &stopped};
  err = settings.service->tool != NULL ? settings.service->tool(&call, &diag)
                                       : diag_fail(&diag, SMPL_EINVAL, "%s: not of the %s service",
                                                   o.tool->name, settings.service->name);
  if (err)
    fprintf(stderr, "smpl-app: %s\n", diag.text);
  settings_free(&settings);
  fflush(stdout);
  return !err ? STATUS_OK : stopped ? STATUS_STOPPED : STATUS_FAILED;
}
