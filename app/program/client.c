/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/client.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/program/settings.h"
#include "common/net/control.h"
#include "common/base/error.h"

static long long number(const json_t *reply, const char *key)
{
  return (long long)json_integer_value(json_object_get(reply, key));
}

static const char *string(const json_t *reply, const char *key)
{
  const char *s = json_string_value(json_object_get(reply, key));
  return s != NULL ? s : "";
}

static void each(const json_t *list, const char *before, const char *behind, FILE *to)
{
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item) fprintf(to, "%s%s%s\n", before, json_string_value(item), behind);
}

void client_print_status(const json_t *r)
{
  printf("smpl-app %s, %s service, process %lld%s\n", string(r, "version"), string(r, "service"),
         number(r, "pid"), json_is_true(json_object_get(r, "ending")) ? ", ending" : "");
  printf("configuration  %s, loaded %s\n", string(r, "config"), string(r, "loaded"));
  printf("reloads        %lld, failed %lld\n", number(r, "reloads"), number(r, "failed_reloads"));
  if (string(r, "last_error")[0] != '\0')
    printf("last reload    failed: %s\n", string(r, "last_error"));
  each(json_object_get(r, "restart"), "needs a restart: ", "", stdout);
  printf("connections    %lld\n", number(r, "connections"));
}

void client_print_reload(const json_t *r)
{
  printf("reloaded; %lld connections were ended by it\n", number(r, "ended"));
  fflush(stdout);
  each(json_object_get(r, "restart"), "smpl-app: ", ": needs a restart; until then it stays as it was",
       stderr);
  each(json_object_get(r, "warnings"), "smpl-app: warning: ", "", stderr);
}

/* The socket's path, malloc'ed; NULL: unknown. wrong has what is wrong with the file, if anything. */
static char *find_socket(const char *config, const service_t *const *services, diag_t *wrong)
{
  settings_t settings;
  if (settings_load(config, services, &settings, wrong))
    return control_guess(config, NULL);
  char *path = settings.file->control != NULL ? strdup(settings.file->control) : NULL;
  settings_free(&settings);
  return path;
}

static int ask_at(const client_ask_t *ask, const char *path, const char *wrong)
{
  diag_t diag = {.text = ""};
  json_t *reply = NULL, *body = json_pack("{s:s}", "cmd", ask->command);
  int err = control_call(path, body, ask->timeout_ms, &reply, &diag);
  json_decref(body);
  if (err == SMPL_ECLOSED && wrong[0] != '\0')
    fprintf(stderr, "smpl-app: %s\n", wrong);
  if (err) {
    fprintf(stderr, "smpl-app: %s\n", diag.text);
  } else if (ask->json) {
    json_dumpf(reply, stdout, JSON_INDENT(2));
    putchar('\n');
  } else {
    ask->print(reply);
  }
  json_decref(reply);
  return control_exit(err);
}

int client_ask(const client_ask_t *ask, const service_t *const *services)
{
  diag_t wrong = {.text = ""};
  char *path = ask->socket != NULL ? strdup(ask->socket) : find_socket(ask->config, services, &wrong);
  int status = CONTROL_EXIT_FAILED;
  if (path != NULL)
    status = ask_at(ask, path, wrong.text);
  else if (wrong.text[0] != '\0')
    fprintf(stderr, "smpl-app: %s; so the control socket is not known: give it with --socket PATH\n",
            wrong.text);
  else
    fprintf(stderr,
            "smpl-app: %s names no control socket: add control: PATH and restart; until then SIGHUP reloads, "
            "and the "
            "log says with what result\n",
            ask->config);
  free(path);
  return status;
}
