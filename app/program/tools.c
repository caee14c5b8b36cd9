/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/tools.h"

#include <signal.h>
#include <stdio.h>

#include "app/program/settings.h"
#include "app/program/status.h"
#include "common/base/error.h"

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

int tools_run(const tool_run_t *tool, const service_t *const *services)
{
  diag_t diag = {.text = ""};
  settings_t settings;
  bool stopped = false;
  if (settings_load(tool->config, services, &settings, &diag))
    return status_fail(&diag);
  hold_signals();
  tool_call_t call = {.verb = tool->verb,
                      .database = settings.file->database,
                      .revocations = settings.file->revocations,
                      .sister_urls = settings.sister_urls,
                      .argument = tool->argument,
                      .force = tool->force,
                      .trust_keys = tool->trust_keys,
                      .say = say,
                      .stop = stop,
                      .ctx = &stopped};
  int err = settings.service->tool != NULL ? settings.service->tool(&call, &diag)
                                           : diag_fail(&diag, SMPL_EINVAL, "%s: not of the %s service",
                                                       tool->name, settings.service->name);
  if (err)
    status_fail(&diag);
  settings_free(&settings);
  fflush(stdout);
  return !err ? STATUS_OK : stopped ? STATUS_STOPPED : STATUS_FAILED;
}
