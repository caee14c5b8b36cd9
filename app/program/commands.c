/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/commands.h"

#include <stdio.h>
#include <string.h>

#include "app/limits.h"
#include "app/program/check.h"
#include "app/program/client.h"
#include "app/program/openapi.h"
#include "app/program/settings.h"
#include "app/program/status.h"
#include "app/program/tools.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/conf/completion.h"
#include "common/net/control.h"

/* One row has all of a command: the table below. */
struct command {
  admin_command_t admin; /* first: what the running service has of it */
  /* Here; returns the exit status. */
  int (*run)(const command_t *command, const arguments_t *a);
  void (*print)(const json_t *reply); /* of those that the service answers */
  tool_verb_t verb;                   /* of those about the database */
};

/* ---- openapi, internal-key ---- */

static const service_t *service_named(const service_t *const *services, const char *name)
{
  for (size_t i = 0; services[i] != NULL; i++)
    if (strcmp(services[i]->name, name) == 0)
      return services[i];
  return NULL;
}

static int print_openapi(const service_t *service)
{
  diag_t diag = {.text = ""};
  json_t *document = NULL;
  route_source_t sources[SERVICE_SOURCES];
  built_in_sources(NULL, service, NULL, sources);
  if (openapi_document(service, sources, SERVICE_SOURCES, &document, &diag))
    return status_fail(&diag);
  int err = json_dumpf(document, stdout, JSON_INDENT(2));
  json_decref(document);
  putchar('\n');
  if (err != 0 || fflush(stdout) != 0) {
    fprintf(stderr, "smpl-app: the document could not be written\n");
    return STATUS_FAILED;
  }
  return STATUS_OK;
}

static int run_openapi(const command_t *command, const arguments_t *a)
{
  const service_t *const *services = a->services;
  diag_t diag = {.text = ""};
  (void)command;
  if (a->service != NULL) {
    const service_t *service = service_named(services, a->service);
    if (service != NULL)
      return print_openapi(service);
    fprintf(stderr, "smpl-app: no service '%s'; there is:", a->service);
    for (size_t i = 0; services[i] != NULL; i++)
      fprintf(stderr, " %s", services[i]->name);
    fprintf(stderr, "\n");
    return STATUS_FAILED;
  }
  settings_t settings;
  if (settings_load(a->config, services, &settings, &diag))
    return status_fail(&diag);
  int status = print_openapi(settings.service);
  settings_free(&settings);
  return status;
}

/* The key alone on standard output, so that it can go to a file; the line that accepts it beside it. */
static int run_internal_key(const command_t *command, const arguments_t *a)
{
  (void)command;
  (void)a;
  char key[KEY_TEXT_MAX];
  char hex[2 * KEY_HASH_LEN + 1];
  uint8_t hash[KEY_HASH_LEN];
  if (key_generate_internal(key) || key_hash(key, hash)) {
    fprintf(stderr, "smpl-app: no random numbers\n");
    return STATUS_FAILED;
  }
  text_hex(hex, hash, sizeof hash);
  bool written = puts(key) >= 0 && fflush(stdout) == 0;
  explicit_bzero(key, sizeof key);
  fprintf(stderr,
          "accepted by: internal_keys: [{name: NAME, sha256: \"%s\", operations: [provision]}]\n"
          "sent by: internal_key_file: FILE, which holds the key and has mode 0600\n",
          hex);
  return written ? STATUS_OK : STATUS_FAILED;
}

/* ---- the others ---- */

static int run_check(const command_t *command, const arguments_t *a)
{
  (void)command;
  return check_run(a->config, a->services);
}

static int run_tool(const command_t *command, const arguments_t *a)
{
  const tool_run_t tool = {.name = command->admin.row.name,
                           .verb = command->verb,
                           .config = a->config,
                           .argument = a->word_count > 0 ? a->words[0] : NULL,
                           .force = a->force,
                           .trust_keys = a->trust_keys};
  return tools_run(&tool, a->services);
}

static int run_asked(const command_t *command, const arguments_t *a)
{
  const client_ask_t ask = {.command = command->admin.row.name,
                            .timeout_ms = command->admin.row.timeout_ms,
                            .print = command->print,
                            .config = a->config,
                            .socket = a->socket,
                            .json = a->json};
  return client_ask(&ask, a->services);
}

/* ---- the options ---- */

enum { OPT_SERVICE = OPTION_LONG, OPT_SOCKET, OPT_JSON, OPT_FORCE, OPT_TRUST_KEYS, OPT_VERSION };

#define AT(member) .at = offsetof(arguments_t, member)

static const option_row_t own_options[] = {
    {'c', "config", "FILE", AT(config), .help = "the configuration, smpl-app.yaml(5)"},
    {OPT_SERVICE, "service", "SERVICE", AT(service),
     .help = "the service to document, in place of a configuration"},
    {OPT_SOCKET, "socket", "PATH", AT(socket),
     .help = "the control socket, in place of the one that the configuration names"},
    {OPT_JSON, "json", NULL, AT(json), .help = "prints the answer as JSON"},
    {OPT_FORCE, "force", NULL, AT(force), .help = "replaces an earlier backup of the same service"},
    {OPT_TRUST_KEYS, "trust-keys", NULL, AT(trust_keys),
     .help = "lets the API keys of the backup stay enabled, or enables them again"},
    {'h', "help", NULL, AT(help), .help = "prints this"},
    {OPT_VERSION, "version", NULL, AT(version), .help = "prints the version"},
};

const option_set_t option_rows = {OPTION_ROWS(own_options)};

static int run_completion(const command_t *command, const arguments_t *a)
{
  const completion_t completion = {.commands = &commands, .options = &option_rows};
  diag_t diag = {.text = ""};
  (void)command;
  return completion_print(&completion, a->words[0], stdout, &diag) ? status_fail(&diag) : STATUS_OK;
}

/* ---- the table ---- */

#define ASKED "[-c FILE | --socket PATH] [--json]"

static const command_t rows[] = {
    {{{"check", .options = "-c FILE", .role = COMMANDS_ROLE,
       .help = "says what is wrong with the configuration, or what follows from it"},
      NULL},
     .run = run_check},
    {{{"reload", .options = ASKED, .role = ADMIN_ROLE, .timeout_ms = CONTROL_RELOAD_MS,
       .help = "has the running service read its configuration again, as SIGHUP does, and tells the result"},
      admin_reload},
     .run = run_asked,
     .print = client_print_reload},
    {{{"status", .options = ASKED, .role = ADMIN_ROLE, .timeout_ms = LIMIT_ASK_MS,
       .help = "shows the running service and its last reload"},
      admin_status},
     .run = run_asked,
     .print = client_print_status},
    {{{"openapi", .options = "[-c FILE | --service SERVICE]", .role = COMMANDS_ROLE,
       .help = "prints the service's OpenAPI document"},
      NULL},
     .run = run_openapi},
    {{{"internal-key", .role = COMMANDS_ROLE,
       .help = "prints a new internal key, and its line for internal_keys"},
      NULL},
     .run = run_internal_key},
    {{{"backup", "OUT", 1, 1, .options = "-c FILE [--force]", .role = COMMANDS_ROLE,
       .help = "copies the database of the running service to OUT"},
      NULL},
     .run = run_tool,
     .verb = TOOL_BACKUP},
    {{{"restore", "[BACKUP]", 0, 1, .options = "-c FILE [--trust-keys]", .role = COMMANDS_ROLE,
       .help = "puts BACKUP in the database's place; the service must be stopped"},
      NULL},
     .run = run_tool,
     .verb = TOOL_RESTORE},
    {{{"resend", "[SISTER]", 0, 1, .options = "-c FILE", .role = COMMANDS_ROLE,
       .help = "tells sister services of all accounts again"},
      NULL},
     .run = run_tool,
     .verb = TOOL_RESEND},
    {{{"completion", "bash|zsh|fish", 1, 1, .role = COMMANDS_ROLE,
       .help = "prints a script that completes commands in your shell", .completes = COMPLETION_SHELLS},
      NULL},
     .run = run_completion},
};

static const char *const roles[] = {[ADMIN_ROLE] = "asked", [COMMANDS_ROLE] = "command line"};

const command_set_t commands = {COMMAND_ROWS(rows), .roles = roles, .role_count = COMMANDS_ROLE + 1,
                                .program = "smpl-app"};

/* ---- what goes with what ---- */

static int check_options(const command_row_t *row, const arguments_t *a, diag_t *diag)
{
  const struct {
    const char *name;
    bool given;
  } options[] = {{"--service", a->service != NULL},
                 {"--socket", a->socket != NULL},
                 {"--json", a->json},
                 {"--force", a->force},
                 {"--trust-keys", a->trust_keys}};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    int err = options[i].given ? command_check_option(&commands, row, options[i].name, diag) : SMPL_OK;
    if (err)
      return err;
  }
  return SMPL_OK;
}

static int check_words(const command_t *command, const arguments_t *a, diag_t *diag)
{
  const char *name = command->admin.row.name;
  if (a->word_count > 0 && a->words[0][0] == '\0')
    return diag_fail(diag, SMPL_EINVAL, "an empty name after %s", name);
  if (command->verb == TOOL_RESTORE && a->word_count == 0 && !a->trust_keys)
    return diag_fail(diag, SMPL_EINVAL, "a file is missing after %s", name);
  return SMPL_OK;
}

static int check_config(const command_row_t *row, const arguments_t *a, diag_t *diag)
{
  bool takes = row == NULL || command_has_option(row, "-c");
  bool found = a->config != NULL || a->service != NULL || a->socket != NULL;
  if (!takes && a->config != NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s takes no configuration", row->name);
  if (takes && !found)
    return diag_fail(diag, SMPL_EINVAL, "a configuration file is missing: -c FILE");
  return SMPL_OK;
}

static int check_together(const command_t *command, const arguments_t *a, diag_t *diag)
{
  const command_row_t *row = command != NULL ? &command->admin.row : NULL;
  int err = check_options(row, a, diag);
  if (!err)
    err = check_config(row, a, diag);
  return err || command == NULL ? err : check_words(command, a, diag);
}

int commands_take(int argc, char **argv, arguments_t *a, const command_t **out, diag_t *diag)
{
  const void *row = NULL;
  int used = 0, err = SMPL_OK;
  if (argc > 0)
    err = command_take_words(&commands, COMMANDS_ROLE, argc, argv, &row, &used, diag);
  *out = row;
  a->words = argv + used;
  a->word_count = argc - used;
  return err ? err : check_together(row, a, diag);
}

int commands_run(const command_t *command, const arguments_t *a)
{
  return command->run(command, a);
}
